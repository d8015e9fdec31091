package cli_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

type diffed struct {
	Events  int
	Changes []struct {
		Waybill string `json:"waybill_code"`
		Gained  []moved
		Lost    []moved
	}
	URLs []string
}

type moved struct{ Endpoint, Only string }

// routesOf is a config of a tenant with two endpoints, and these routes.
func routesOf(t *testing.T, routes, more string) string {
	t.Helper()
	return write(t, "config.yaml", fmt.Sprintf(`callback: {tokens: [callback-token]}
tenants:
  - name: shop
    endpoints:
      - {name: a, url: 'https://a.example/%s', secrets: [%s]}
      - {name: b, url: 'https://b.example/', secrets: [%s]}
    routes: [%s]
`, more, secret, secret, routes))
}

func TestDiffSaysWhatGoesElsewhereAndWhatThatDependsOn(t *testing.T) {
	t.Parallel()
	const always, ifSubscribed, ifChanged = "{to: a}", "{to: a, match: {subscribed: true}}",
		"{to: a, match: {changed: status}}"
	const event = `{"waybill_code":"770","cp_code":"sto","status":"signed"}`
	a, only := moved{Endpoint: "shop/a"}, func(what string) moved { return moved{"shop/a", what} }
	for name, c := range map[string]struct {
		before, after string
		gained, lost  []moved
	}{
		"the same":              {always, always, nil, nil},
		"another route as well": {always, always + "," + ifSubscribed, nil, nil},
		"nothing any more":      {always, "{to: b, match: {status: no}}", nil, []moved{a}},
		"another endpoint":      {always, "{to: b}", []moved{{Endpoint: "shop/b"}}, []moved{a}},
		"a status less": {"{to: a, match: {status: [signed, question]}}", "{to: a, match: {status: question}}",
			nil, []moved{a}},
		"only what is subscribed": {always, ifSubscribed, nil,
			[]moved{only("unless the tenant has subscribed the waybill")}},
		"all, not the subscribed": {ifSubscribed, always, []moved{only("unless the tenant has subscribed the waybill")},
			nil},
		"the subscribed as well": {"", ifSubscribed, []moved{only("if the tenant has subscribed the waybill")}, nil},
		"no subscribed any more": {ifSubscribed, "", nil, []moved{only("if the tenant has subscribed the waybill")}},
		"another condition": {ifSubscribed, ifChanged, []moved{only("if the status changed")},
			[]moved{only("if the tenant has subscribed the waybill")}},
		"a when that is false": {always, "{to: a, when: 'event.status != \"signed\"'}", nil, []moved{a}},
		"one of two conditions": {ifSubscribed + "," + ifChanged, ifChanged, []moved{only("if the status changed")},
			[]moved{only("if the tenant has subscribed the waybill, or the status changed")}},
		"a when that the data meet": {"{to: a, when: 'event.data.cp_code == \"sto\"'}", always, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, stderr := run(t, event, "diff", "--events", "-", "-o", "json", routesOf(t, c.before, ""),
				routesOf(t, c.after, ""))
			if code != 0 {
				t.Fatalf("exit %d: %s", code, stderr)
			}
			d := parse[diffed](t, out)
			var gained, lost []moved
			for _, e := range d.Changes {
				gained, lost = append(gained, e.Gained...), append(lost, e.Lost...)
			}
			if d.Events != 1 || !slices.Equal(gained, c.gained) || !slices.Equal(lost, c.lost) {
				t.Errorf("gained %v, want %v; lost %v, want %v", gained, c.gained, lost, c.lost)
			}
		})
	}
}

func TestDiffReadsEventsOfARunningRelayOrOfAFile(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, "")
	for i := range 120 { // more than a page
		s.push(fmt.Sprint(5000+i), map[bool]string{true: "signed", false: "collected"}[i%10 == 0])
	}
	before, after := routesOf(t, "{to: [a, b]}", ""),
		routesOf(t, "{to: a}, {to: b, when: 'len(event.tracks) > 0 && event.data.status == \"signed\"'}", "elsewhere")
	out := s.says("diff "+before+" "+after, "WAYBILL", "5001", "shop/b",
		"108 of 120 events would go elsewhere\n  shop/b: 0 gained, 108 lost\n  shop/a has another URL\n")
	if strings.Contains(out, "5010") {
		t.Errorf("what was signed for goes where it went:\n%s", out)
	}
	s.says("diff -n 7 "+before+" "+before, "0 of 7 events would go elsewhere\n")
	// A saved list says the same, and so do items and callbacks.
	list := write(t, "events.json", s.says("events --data -n 200 -o json"))
	again := s.says("diff --events "+list+" "+before+" "+after, "108 of 120 events")
	if again != out {
		t.Errorf("from the file:\n%s\nfrom the relay:\n%s", again, out)
	}
	raw := write(t, "raw.jsonl", `{"waybill_code":"1","cp_code":"sto","status":"collected"}
`+`{"type":"express_sub_msg","data":[{"waybill_code":"2","cp_code":"sto","status":"collected"},`+
		`{"waybill_code":"3","cp_code":"sto","status":"signed"}]}
`)
	s.says("diff --events "+raw+" "+before+" "+after, "3 of 3 events") // a bare item has no tracks
}

func TestDiffSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := routesOf(t, "{to: a}", "")
	one, two := routesOf(t, "{to: nobody}", ""), routesOf(t, "{to: a, matches: {}}", "")
	for name, c := range map[string]struct {
		in   string
		args []string
		want string
		code int
	}{
		"one file":               {"", []string{good}, "diff needs OLD and NEW", 2},
		"a file that is missing": {"", []string{good, "none.yaml"}, "no such file", 1},
		"no events":              {"", []string{"--events", "none.json", good, good}, "no such file", 1},
		"no JSON": {`{"waybill_code":"1","cp_code":"zt","status":"signed"} {`,
			[]string{"--events", "-", good, good}, "-: behind event 1: unexpected EOF", 1},
		"no event": {`[{"waybill_code":"1","cp_code":"zt","status":"signed"},{"a":1}]`,
			[]string{"--events", "-", good, good}, "-: event 2: the event cannot be understood: item 0: no waybill code", 1},
		"no relay":  {"", []string{"--url", "http://127.0.0.1:1", good, good}, "no relay answers", 1},
		"no number": {"", []string{"-n", "0", good, good}, "--number must be at least 1", 2},
	} {
		code, out, stderr := run(t, c.in, append([]string{"diff"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s%s", name, code, out, stderr)
		}
	}
	code, _, stderr := run(t, "", "diff", one, two)
	if code != 1 || !strings.Contains(stderr, one+":7: ") || !strings.Contains(stderr, two+":7: ") {
		t.Errorf("exit %d: not the mistakes of both files: %s", code, stderr)
	}
}
