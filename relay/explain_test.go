package relay_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kuairelay/relay"
	"kuairelay/relay/config"
	"kuairelay/relay/event"
)

// explainer loads a config of one tenant "shop" with the endpoints a and b, and the routes and tests given.
func explainer(t *testing.T, tenant string) *relay.Explainer {
	t.Helper()
	text := "callback: {tokens: [long-enough]}\ntenants:\n  - name: shop\n    endpoints:\n" +
		"      - {name: a, url: 'https://h.example', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}\n" +
		"      - {name: b, url: 'https://h.example', secrets: [whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA]}\n" + tenant +
		"  - name: other\n    endpoints: [{name: a, url: 'https://h.example', secrets: " +
		"[whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB]}]\n    routes: [{to: a}]\n"
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x, err := relay.NewExplainer(c)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestTheTestsOfATenantSayWhatTheyExpectedAndWhatHappens(t *testing.T) {
	t.Parallel()
	x := explainer(t, `    routes:
      - {to: a, match: {status: signed}}
      - {to: b, match: {changed: status, cp_code: zt}}
    tests:
      - {event: {waybill_code: 77, status: signed}, reaches: [a]}
      - {event: '{"type":"express_sub_msg","data":[{"waybill_code":"1","status":"signed"},`+
		`{"waybill_code":"2","cp_code":"zt","status":"x"}]}', reaches: [b, a]}
      - {event: {waybill_code: "77", status: sending}, reaches: []}
      - {name: spelt, event: {waybill_code: "77", cp_code: zt, status: signed}, reaches: [a]}
      - {event: {waybill_code: "77", status: sending}, reaches: [a]}
      - {event: {status: sending}, reaches: []}
      - {event: '{"type":"express_sub_msg","data":[]}', reaches: []}
      - {event: 'no JSON', reaches: []}
`)
	var got []string
	for _, m := range x.FailedTests() {
		_, after, _ := strings.Cut(m.String(), "c.yaml:")
		got = append(got, strings.ReplaceAll(after, m.Pos.File, "c.yaml"))
	}
	want := []string{
		`14: test fails: "spelt": the event reaches shop/b as well: the route at c.yaml:9: matches, if the status changed`,
		`15: test fails: the event does not reach shop/a: the route at c.yaml:8: status "sending" is not signed`,
		`16: test fails: the event cannot be understood: item 0: no waybill code`,
		`17: test fails: there is no event in it`,
		`18: test fails: the event cannot be understood: the body is neither JSON nor a form with a type`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestExplainSpeaksOfEveryEndpoint(t *testing.T) {
	t.Parallel()
	x := explainer(t, "    routes: [{to: [a], match: {status: signed}}, {to: a, match: {status: question}}]\n")
	events, err := relay.ReadEvents([]byte(` {"waybill_code":"77","status":"question"} `))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ex := range x.Explain(events[0]) {
		for _, r := range ex.Routes {
			got = append(got, ex.Endpoint+" "+map[bool]string{true: "yes", false: "no"}[r.Matched]+" "+r.Why)
		}
		if len(ex.Routes) == 0 {
			got = append(got, ex.Endpoint)
		}
	}
	want := `shop/a no status "question" is not signed` + "\n" + `shop/a yes matches` +
		"\nshop/b\nother/a yes matches every event"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestWhatTheRelaySaysIsExplainedByWhatTheTenantWants(t *testing.T) {
	t.Parallel()
	lost := &event.Event{Type: event.TypeLost, WaybillCode: "1", CPCode: "zt", Data: []byte(`{}`)}
	x := explainer(t, `    watch: {lost: true}
    routes:
      - {to: a}
      - {to: b, match: {type: express_sub_msg}}
`)
	const unwanted = "the tenant does not want to be told (watch.lost)"
	for i, want := range []struct {
		owed bool
		why  string
	}{
		{true, "matches, if the tenant has subscribed the waybill"},
		{false, `type "subscription.lost" is not express_sub_msg`},
		{false, unwanted},
	} {
		got := x.Explain(lost)[i]
		if got.Owed != want.owed || len(got.Routes) != 1 || got.Routes[0].Why != want.why {
			t.Errorf("%s: %+v", got.Endpoint, got)
		}
	}

	stuck := &event.Event{Type: event.TypeStalled, WaybillCode: "1", CPCode: "zt", Data: []byte(`{"after_s":172800}`)}
	x = explainer(t, `    watch: {stalled: 48h}
    routes:
      - {to: a}
      - {to: b, match: {status: signed}}
`)
	if got := x.Explain(stuck)[0]; !got.Owed {
		t.Errorf("a parcel that does not move: %+v", got)
	}
	stuck.Data = []byte(`{"after_s":86400}`)
	if got := x.Explain(stuck)[0]; got.Owed || got.Routes[0].Why !=
		"the tenant wants to be told after 48h0m0s (watch.stalled), and this is after 24h0m0s" {
		t.Errorf("with another span: %+v", got)
	}
	stuck.Type = event.TypeNotCollected
	if got := x.Explain(stuck)[0]; got.Owed || got.Routes[0].Why !=
		"the tenant does not want to be told (watch.not_collected)" {
		t.Errorf("of another kind: %+v", got)
	}

	// A person tries it with the webhook, in either format.
	for _, sample := range []string{
		`{"type":"waybill.stalled","timestamp":"2026-11-26T10:12:35.402Z","data":{"waybill_code":"1","cp_code":"zt",` +
			`"since":"2026-11-24T10:12:31.118Z","after_s":172800}}`,
		`{"type":"waybill.stalled","data":[{"waybill_code":"1","cp_code":"zt"}]}`,
	} {
		events, err := relay.ReadEvents([]byte(sample))
		if err != nil || len(events) != 1 || !events[0].Own() {
			t.Fatalf("%s: %+v, %v", sample, events, err)
		}
		if got := x.Explain(events[0]); !got[0].Owed || got[1].Owed {
			t.Errorf("%s: %+v", sample, got)
		}
	}
	for _, sample := range []string{
		`{"type":"waybill.stalled","data":{}}`, `{"type":"waybill.stalled"}`, `{"type":"print","data":{"waybill_code":"1"}}`,
		`{"type":"waybill.stalled","data":[{"waybill_code":"1"},{"waybill_code":"2"}]}`,
	} {
		if events, err := relay.ReadEvents([]byte(sample)); err != nil || events[0].Own() {
			t.Errorf("%s: %+v, %v", sample, events, err)
		}
	}

	update := &event.Event{Type: event.TypeWaybill, WaybillCode: "1", CPCode: "zt", Data: []byte(`{}`)}
	if got := x.Explain(update)[2]; !got.Owed || got.Condition() != "" {
		t.Errorf("an update: %+v", got)
	}
}
