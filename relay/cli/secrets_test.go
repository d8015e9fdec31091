package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kuairelay/relay/config"
)

// mark stands in every value that a variable expands to in these tests, and must be in nothing that is printed. It is
// also part of base64, of a host, and of an expression.
const mark = "markedsecret"

// markedValues are forms that some key takes, or nearly takes, so that it is said what is wrong with them.
var markedValues = []string{
	mark,
	"MARKEDSECRET*",
	"! %zz #/?@ " + mark,
	"redis://:1/" + mark + "@127.0.0.1:1/0",
	"redis://:1?" + mark + "@127.0.0.1:1/0",
	"redis://:" + mark + "@127.0.0.1:1/" + mark,
	"redis://:" + mark + "@127.0.0.1:1/0#" + mark,
	"redis://" + mark + ":x",
	"http://u:1/" + mark + "@127.0.0.1:1/x",
	"http://u:" + mark + "@127.0.0.1:1",
	"https://" + mark + ".example/" + mark + "?" + mark + "=" + mark,
	"http://10.0.0.1/" + mark,
	`int("` + mark + `") > 0`,
	`event.data.` + mark + ` > 0`,
	`event.` + mark + ` == 1`,
	`event.status matches "` + mark + `("`,
	`{"waybill_code":"1","cp_code":"zt","status":"` + mark + `","data":[]}`,
	`{"` + mark + `":`,
	"whsec_" + mark + mark + mark + mark,
	"whsec_" + mark,
	"127.0.0.1:" + mark,
	mark + ":80",
	"1" + mark,
	"file:" + mark,
}

// markedBase is a config with one test that fails whenever its route does not match any more.
const markedBase = `{
	"server": {"listen": "127.0.0.1:0"}, "admin": {"listen": "127.0.0.1:0", "token": "operator-token-of-the-test"},
	"callback": {"tokens": ["callback-token-of-the-test"]}, "kuaidihelp": {"app_id": "1", "api_key": "the-shared-key"},
	"egress": {"allow_cidrs": ["127.0.0.0/8"]},
	"tenants": [{"name": "shop", "api_keys": ["api-key-of-the-test"],
		"endpoints": [{"name": "a", "url": "https://h.example/x", "secrets": ["` + secret + `"]}],
		"routes": [{"to": ["a"], "when": "event.data.n == 1",
			"match": {"type": "express_sub_msg", "cp_code": "zt", "status": "signed", "waybill_code": "1"}}],
		"tests": [
			{"name": "it", "reaches": ["a"],
				"event": {"waybill_code": "1", "cp_code": "zt", "status": "signed", "n": 1, "data": []}},
			{"name": "not it", "reaches": [],
				"event": {"waybill_code": "1", "cp_code": "zt", "status": "question", "n": 1, "data": []}}
		]}]
}`

// scalarKeys are the paths of all that is no mapping and no list in a JSON Schema; 0 is an item of a list.
func scalarKeys(schema map[string]any, path []string) (out [][]string) {
	below := func(key string, s any) {
		out = append(out, scalarKeys(s.(map[string]any), append(slices.Clone(path), key))...)
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, key := range sortedKeys(properties) {
		below(key, properties[key])
	}
	if items, ok := schema["items"]; ok {
		below("0", items)
	}
	if _, ok := schema["additionalProperties"].(map[string]any); ok {
		out = append(out, append(slices.Clone(path), "x-header"))
	}
	for _, option := range anySlice(schema["anyOf"]) {
		out = append(out, scalarKeys(option.(map[string]any), path)...)
	}
	if out == nil {
		return [][]string{path}
	}
	slices.SortFunc(out, slices.Compare)
	return slices.CompactFunc(out, slices.Equal)
}

func anySlice(v any) []any {
	out, _ := v.([]any)
	return out
}

func sortedKeys(m map[string]any) []string {
	keys := []string{}
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// with sets the value at a path in a tree of JSON, and gives the tree.
func with(tree any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if path[0] == "0" {
		list := anySlice(tree)
		if len(list) == 0 {
			list = []any{nil}
		}
		list[0] = with(list[0], path[1:], value)
		return list
	}
	object, ok := tree.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	object[path[0]] = with(object[path[0]], path[1:], value)
	return object
}

// markedConfigs calls do for a config with each key that takes a scalar set to a variable.
func markedConfigs(t *testing.T, do func(key, text string)) {
	t.Helper()
	schema, err := config.JSONSchema(false)
	if err != nil {
		t.Fatal(err)
	}
	keys := scalarKeys(parse[map[string]any](t, string(schema)), nil)
	if len(keys) < 60 {
		t.Fatalf("the schema has only the keys %v", keys)
	}
	for _, path := range keys {
		for _, written := range []string{"${TEST_VALUE}", "file:value"} {
			text, err := json.Marshal(with(parse[any](t, markedBase), path, written))
			if err != nil {
				t.Fatal(err)
			}
			do(strings.Join(path, ".")+" = "+written, string(text))
		}
	}
}

// hides fails the test if a mark, whole or in part, is in what was printed.
func hides(t *testing.T, what, printed string) {
	t.Helper()
	if i := strings.Index(strings.ToLower(printed), mark); i >= 0 {
		t.Errorf("%s shows an expanded value: …%s", what, printed[max(0, i-100):min(len(printed), i+100)])
	}
}

func TestNoCommandShowsWhatAVariableOrAFileHolds(t *testing.T) {
	dir := t.TempDir()
	file, base, event := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "base.yaml"),
		filepath.Join(dir, "event.json")
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(base, markedBase)
	put(event, `{"waybill_code":"1","cp_code":"zt","status":"signed","n":1,"data":[]}`)
	if code, stdout, stderr := run(t, "", "check", base); code != 0 {
		t.Fatalf("the base is wrong: %s%s", stdout, stderr)
	}
	good := 0
	markedConfigs(t, func(key, text string) {
		put(file, text)
		values := markedValues
		if strings.HasSuffix(key, "file:value") { // it goes the same way
			values = values[:2]
		}
		for _, value := range values {
			t.Setenv("TEST_VALUE", value)
			put(filepath.Join(dir, "value"), value)
			what := fmt.Sprintf("%s = %q", key, value)
			code, stdout, stderr := run(t, "", "check", file)
			hides(t, "check of "+what, stdout+stderr)
			if code == 1 && !strings.Contains(stderr, "test fails") {
				continue
			}
			good++
			for _, command := range [][]string{{"explain", "-c", file, event}, {"diff", "--events", event, base, file}} {
				_, stdout, stderr := run(t, "", command...)
				hides(t, command[0]+" of "+what, stdout+stderr)
			}
		}
	})
	if good < 100 {
		t.Errorf("only %d of the configs were right", good)
	}
}

func TestNoReloadAndNoAnswerOfTheAPIShowsWhatAVariableHolds(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	put := func(text string) {
		text = strings.TrimSuffix(strings.TrimSpace(text), "}") + `,"spool":{"dir":"` + filepath.Join(dir, "spool") + `"}}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(markedBase)
	relay := start(t, "", "serve", "-c", file)
	public, admin := after(t, relay.stderr, `"public":"`, `"`), after(t, relay.stderr, `"admin":"`, `"`)
	ask := func(method, path string) string {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer operator-token-of-the-test")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if code, stdout, stderr := run(t, "", "send", "--to", "http://"+public+"/callback/callback-token-of-the-test", "-n",
		"1"); code != 0 {
		t.Fatalf("%s%s", stdout, stderr)
	}
	waybill := parse[struct {
		Events []struct {
			WaybillCode string `json:"waybill_code"`
		}
	}](t, ask("GET", "/admin/v1/events")).Events[0].WaybillCode

	taken, asked := 0, 0
	markedConfigs(t, func(key, text string) {
		if strings.Contains(key, "file:") || strings.HasPrefix(key, "spool") || strings.HasPrefix(key, "admin.token") {
			return
		}
		for _, value := range []string{mark, "https://" + mark + ".example/" + mark + "?" + mark, `int("` + mark + `") > 0`} {
			t.Setenv("TEST_VALUE", value)
			what := fmt.Sprintf("%s = %q", key, value)
			asked++ // a config that is the same as the one before, but for the environment, would not be taken
			put(strings.TrimSuffix(text, "}") + strings.Repeat(" ", asked) + "}")
			answer := ask("POST", "/-/reload")
			hides(t, "the answer to a reload of "+what, answer)
			if !strings.Contains(answer, `"changed":true`) {
				continue
			}
			taken++
			hides(t, "the endpoints of "+what, ask("GET", "/admin/v1/endpoints"))
			hides(t, "the waybill of "+what, ask("GET", "/admin/v1/waybills/"+waybill))
		}
	})
	if taken < 30 {
		t.Errorf("only %d of the configs were taken", taken)
	}
	hides(t, "the log", relay.stderr.String())
}

func TestMistakesThatOnlyThePartsKnowAreToldAtOnceWithTheirLines(t *testing.T) {
	t.Parallel()
	good := "spool: {dir: " + t.TempDir() + "}\n" + anyPort("")
	file := write(t, "config.yaml", good)
	relay := start(t, "", "serve", "-c", file)
	admin := after(t, relay.stderr, `"admin":"`, `"`)
	bad := good + `redis: {url: "redis://:hunter2@127.0.0.1:6379/abc"}
retention: 5
tenants:
  - name: shop
    endpoints:
      - {name: a, url: "http://10.0.0.1/ok", secrets: [` + secret + `]}
      - {name: b, url: "http://127.0.0.1/ok", secrets: [` + secret + `]}
      - {name: c, url: "http://169.254.169.254/ok", secrets: [` + secret + `]}
    routes: [{to: [a, b, c], when: "nothing"}]
`
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{
		":7: redis.url: must end behind the host, or in / and the number of a database",
		":8: retention: must be a duration",
		":12: tenants[0].endpoints[0].url: a private address 10.0.0.1 is not allowed",
		":14: tenants[0].endpoints[2].url: a metadata address 169.254.169.254 is never allowed",
		":15: tenants[0].routes[0].when: ",
	}
	_, _, checked := run(t, "", "check", file)
	_, _, served := run(t, "", "serve", "-c", file)
	response, err := http.Post("http://"+admin+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer := parse[struct{ Errors []string }](t, func() string {
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}())
	for what, said := range map[string]string{"check": checked, "serve": served,
		"reload": strings.Join(answer.Errors, "\n") + "\n"} {
		lines := strings.Split(strings.TrimSpace(said), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%s says %q", what, said)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, file+want[i]) {
				t.Errorf("%s says %q, want %q", what, line, want[i])
			}
		}
	}
}
