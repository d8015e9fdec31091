package relay_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// explained is an answer of /explain.
type explained struct {
	Events []struct {
		ID, Status  string
		DuplicateOf struct{ ID string } `json:"duplicate_of"`
		Endpoints   []struct {
			Endpoint, State string
			Owed            bool
			Routes          []struct{ At, If, Today, Why string }
		}
	}
	EventsLeft int `json:"events_left_out"`
	Rejected   []string
}

// lines are what it says of each endpoint of the first event.
func (x explained) lines() string {
	out := ""
	for _, ep := range x.Events[0].Endpoints {
		out += fmt.Sprintf("%s %v", ep.Endpoint, ep.Owed)
		for _, r := range ep.Routes {
			out += fmt.Sprintf(" [%s|%s] %s", r.If, r.Today, r.Why)
		}
		out += "\n"
	}
	return out
}

func TestAnEventIsExplainedByTheRoutesInUseAndWhatRedisKnowsToday(t *testing.T) {
	t.Parallel()
	shop, alerts, redis := newTenant(t, nil), newTenant(t, nil), redisserver.Start(t)
	provider := newProvider(t, fake.Options{})
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redis.URL())+account(provider.URL, "")+
		two(shop, alerts)+"  - name: watch\n    api_keys: [watch-key-1234567]\n    endpoints: [{name: all, url: '"+shop.URL+
		"', secrets: ["+secret+"]}]\n"+
		"    routes: [{to: all, match: {changed: status}}, {to: all, match: {status: question}}]\n")
	explain := func(key, what string) explained {
		t.Helper()
		path := "/v1/explain"
		if key == adminToken {
			path = "/admin/v1/explain"
		}
		return ok[explained](a, key, "POST", path, what)
	}
	says := func(got explained, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(got.lines(), want) {
				t.Errorf("no %q in\n%s", want, got.lines())
			}
		}
	}
	update := item("7001", "collected", "2026-11-23 09:00:00")
	event := `{"event":` + update + `}`

	says(explain(adminToken, event),
		"shop/orders false [the tenant has subscribed the waybill|no] matches, if the tenant has subscribed the waybill; "+
			"today the tenant has not subscribed it\n",
		"watch/all true [the status changed|yes] matches, if the status changed; today no status of it is known")
	a.subscribe(shopKey, "zt", "7001")
	a.mustPush(callback(update))
	shop.wait(1)
	got := explain(adminToken, event)
	says(got, "shop/orders true [the tenant has subscribed the waybill|yes]", "; today the tenant has it subscribed since",
		"alerts/orders false", "watch/all false [the status changed|no]", `today the status is "collected" already`)
	if got.Events[0].DuplicateOf.ID != got.Events[0].ID {
		t.Errorf("a duplicate of %q", got.Events[0].DuplicateOf.ID)
	}
	signed := item("7001", "signed", "2026-11-24 09:00:00")
	says(explain(adminToken, `{"event":`+signed+`}`), `the status changes from "collected"`)
	says(explain(adminToken, `{"event":`+item("7001", "signed", "2026-11-22 09:00:00")+`}`), "it would be late")

	// The same as a form, and by what is here.
	form := "type=express_sub_msg&data=%5B" + strings.ReplaceAll(update, " ", "+") + "%5D"
	says(explain(adminToken, fmt.Sprintf(`{"content_type":"application/x-www-form-urlencoded","callback":%q}`,
		base64.StdEncoding.EncodeToString([]byte(form)))), "shop/orders true")
	says(explain(adminToken, `{"waybill_code":"7001"}`), "shop/orders true", "alerts/orders false")
	says(explain(adminToken, `{"event_id":"`+got.Events[0].ID+`"}`), "shop/orders true")

	// Nothing was accepted by that.
	if events := ok[listed](a, adminToken, "GET", "/admin/v1/events", ""); len(events.Events) != 1 {
		t.Errorf("%d events", len(events.Events))
	}

	// A tenant sees its own routes, and learns nothing of what is not its own.
	for key, want := range map[string]string{
		alertsKey: "alerts/orders false [the tenant has subscribed the waybill|no] matches, if the tenant has subscribed " +
			"the waybill; today the tenant has not subscribed it\n",
		"watch-key-1234567": "watch/all true [the status changed|] matches, if the status changed " +
			`[|] status "collected" is not question` + "\n",
	} {
		theirs := explain(key, event)
		if key == alertsKey && theirs.Events[0].DuplicateOf.ID != "" || theirs.lines() != want {
			t.Errorf("%s sees a duplicate of %q and\n%s", key, theirs.Events[0].DuplicateOf.ID, theirs.lines())
		}
	}
	for _, what := range []string{`{"waybill_code":"7001"}`, `{"event_id":"` + got.Events[0].ID + `"}`} {
		if status, text := a.call(alertsKey, "POST", "/v1/explain", what); status != 404 {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
}

func TestWhatCannotBeExplainedIsSaid(t *testing.T) {
	t.Parallel()
	shop, other := newTenant(t, nil), newTenant(t, nil)
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+twoTenants(shop.URL, other.URL))
	for body, want := range map[string]int{
		`{}`: 400, `{"event":{"waybill_code":"1"},"waybill_code":"1"}`: 400, `{"events":[]}`: 400,
		`{"waybill_code":"none"}`: 404, `{"event_id":"none"}`: 404,
		`{"event":{"waybill_code":"1","x":"` + strings.Repeat("x", 300<<10) + `"}}`: 413,
	} {
		if status, text := a.call(adminToken, "POST", "/admin/v1/explain", body); status != want {
			t.Errorf("%.50s: %d %s, want %d", body, status, text, want)
		}
	}

	// What would go to quarantine says why, beside what is understood; and of many events the first are explained.
	many := []string{`{"text":"no code"}`}
	for i := range 30 {
		many = append(many, item(fmt.Sprint("80", i), "signed", "2026-11-23 09:00:00"))
	}
	got := ok[explained](a, adminToken, "POST", "/admin/v1/explain", `{"event":`+callback(many...)+`}`)
	if len(got.Events) == 0 || len(got.Events) > 20 || len(got.Events)+got.EventsLeft != 30 || len(got.Rejected) != 1 ||
		!strings.Contains(got.Rejected[0], "no waybill code") {
		t.Errorf("%d events, %d left out, rejected %q", len(got.Events), got.EventsLeft, got.Rejected)
	}
	broken, err := json.Marshal(map[string]any{"callback": []byte("{")})
	if err != nil {
		t.Fatal(err)
	}
	if got := ok[explained](a, shopKey, "POST", "/v1/explain", string(broken)); len(got.Rejected) != 1 ||
		len(got.Events) != 0 {
		t.Errorf("%+v", got)
	}
}
