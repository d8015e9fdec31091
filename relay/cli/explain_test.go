package cli_test

import (
	"strings"
	"testing"
)

func TestExplainSaysWhoGetsAnEventAndWhyNotTheOthers(t *testing.T) {
	t.Parallel()
	const example = "../../config.example.yaml"
	const event = `{"waybill_code":"770","cp_code":"sto","status":"signed"}`
	code, stdout, stderr := run(t, event, "explain", "-c", example)
	if code != 0 || stderr != "" || !strings.Contains(stdout, "  yes  shop/orders\n") ||
		!strings.Contains(stdout, "  no   shop/alerts\n") ||
		!strings.Contains(stdout, `: status "signed" is none of question, allograph`) {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, "", "explain", "-c", example, "-o", "json", write(t, "event.json", event))
	got := parse[[]explained](t, stdout)
	if code != 0 || len(got) != 1 || got[0].Waybill != "770" || len(got[0].Endpoints) != 2 || !got[0].Endpoints[0].Owed ||
		got[0].Endpoints[1].Owed || got[0].Endpoints[1].Routes[0].Why == "" || got[0].Endpoints[1].Routes[0].At == "" {
		t.Errorf("%d\n%s", code, stdout)
	}
}

func TestExplainSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, stdin, want string
		args              []string
		code              int
	}{
		{"no config and no relay", `{"waybill_code":"1"}`, "no relay answers at 127.0.0.1:1: ",
			[]string{"--url", "http://127.0.0.1:1"}, 1},
		{"a config that is not there", "", "no such file", []string{"-c", "none.yaml"}, 1},
		{"an event that is not there", "", "no such file", []string{"-c", "../../config.example.yaml", "none.json"}, 1},
		{"two events", "", "either --waybill or EVENT.json",
			[]string{"-c", "../../config.example.yaml", "--waybill", "1", "event.json"}, 2},
		{"no waybill", `{"a":1}`, "the event cannot be understood: item 0: no waybill code",
			[]string{"-c", "../../config.example.yaml"}, 1},
		{"no JSON", `{"a":`, "the event cannot be understood", []string{"-c", "../../config.example.yaml"}, 1},
		{"nothing", ``, "the event cannot be understood: the body is empty", []string{"-c", "../../config.example.yaml"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, tt.stdin, append([]string{"explain"}, tt.args...)...)
			if code != tt.code || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("%d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestCheckRunsTheTestsOfTheTenants(t *testing.T) {
	t.Parallel()
	file := write(t, "config.yaml", `callback: {tokens: [long-enough]}
tenants:
  - name: shop
    endpoints: [{name: a, url: "https://h.example", secrets: [`+secret+`]}]
    routes: [{to: a, match: {status: signed}}]
    tests:
      - {name: good, event: {waybill_code: "1", status: signed}, reaches: [a]}
      - {name: bad, event: {waybill_code: "1", status: sending}, reaches: [a]}
`)
	code, stdout, stderr := run(t, "", "check", file)
	want := file + `:8: test fails: "bad": the event does not reach shop/a: the route at ` + file +
		`:5: status "sending" is not signed` + "\n"
	if code != 1 || stdout != "" || stderr != want {
		t.Errorf("%d\n%s%s\nwant\n%s", code, stdout, stderr, want)
	}
}

func TestSchemaPrintsTheSchemasOfBothKindsOfFile(t *testing.T) {
	t.Parallel()
	type schema struct {
		Schema     string `json:"$schema"`
		Properties map[string]any
	}
	code, stdout, _ := run(t, "", "schema")
	if got := parse[schema](t, stdout); code != 0 || got.Schema == "" || got.Properties["callback"] == nil {
		t.Errorf("%d\n%s", code, stdout)
	}
	code, stdout, _ = run(t, "", "schema", "--tenant")
	if got := parse[schema](t, stdout); code != 0 || got.Properties["endpoints"] == nil ||
		got.Properties["callback"] != nil {
		t.Errorf("%d\n%s", code, stdout)
	}
}
