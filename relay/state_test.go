package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
)

// parcelState is how a waybill stands, as a tenant is told.
type parcelState struct {
	WaybillCode  string    `json:"waybill_code"`
	CPCode       string    `json:"cp_code"`
	Status       string    `json:"status"`
	Sequence     int64     `json:"sequence"`
	ChangedAt    time.Time `json:"changed_at"`
	HeardAt      time.Time `json:"heard_at"`
	Source       string    `json:"source"`
	Stale        bool      `json:"stale"`
	StaleBecause string    `json:"stale_because"`
	Subscription string    `json:"subscription"`
	Tracks       []struct{ Time, Context, Status string }
}

// state asks how a waybill stands; query may be max_age. It fails the test unless the answer has a state.
func (r *running) state(key, code, query string) (parcelState, http.Header) {
	r.t.Helper()
	status, text, header := r.api("GET", "/v1/waybills/"+code+query, key, "")
	var answer struct{ State *parcelState }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.State == nil {
		r.t.Fatalf("%s: %d %s", code, status, text)
	}
	return *answer.State, header
}

// states asks how many waybills stand.
func (r *running) states(key, query, brand string, codes ...string) []parcelState {
	r.t.Helper()
	body, _ := json.Marshal(map[string]any{"cp_code": brand, "waybill_codes": codes})
	status, text, _ := r.api("POST", "/v1/waybills/states"+query, key, string(body))
	var answer struct{ States []parcelState }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.States == nil {
		r.t.Fatalf("%d %s", status, text)
	}
	return answer.States
}

func TestTheStateOfAParcelIsThatOfItsLastUpdate(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	r.subscribe(shopKey, "zt", "1001", "1002")

	none, _ := r.state(shopKey, "1001", "")
	if none.Status != "" || none.Source != "" || !none.HeardAt.IsZero() || none.Stale || none.Subscription != "live" ||
		none.CPCode != "zt" || none.WaybillCode != "1001" {
		t.Errorf("before any update: %+v", none)
	}

	before := time.Now().Add(-time.Second)
	r.pushed(parcelAt("1001", "sending", "2026-11-01 10:00:00"))
	shop.wait(1)
	sequence := shop.all()[0].header.Get("kuairelay-sequence")
	got, header := r.state(shopKey, "1001", "")
	if got.Status != "sending" || got.Source != "push" || fmt.Sprint(got.Sequence) != sequence ||
		got.ChangedAt.Before(before) || !got.HeardAt.Equal(got.ChangedAt) || len(got.Tracks) != 1 ||
		got.Tracks[0].Time != "2026-11-01 10:00:00" || got.Tracks[0].Context == "" {
		t.Errorf("after an update: %+v, sequence %s", got, sequence)
	}

	// What was delivered changes the answer, too.
	tag := header.Get("ETag")
	until(t, "the tag stays", func() bool {
		_, header := r.state(shopKey, "1001", "")
		same := header.Get("ETag") == tag
		tag = header.Get("ETag")
		return same
	})
	if status, body := r.tagged(shopKey, "1001", tag); status != http.StatusNotModified || body != "" {
		t.Errorf("with its tag: %d %s", status, body)
	}
	for _, list := range []string{`"x", ` + tag, strings.TrimPrefix(tag, "W/"), "*"} {
		if status, _ := r.tagged(shopKey, "1001", list); status != http.StatusNotModified {
			t.Errorf("with %s: %d", list, status)
		}
	}

	// An update that comes again is heard, and changes nothing else. An older one is heard, too.
	r.pushed(parcelAt("1001", "sending", "2026-11-01 10:00:00"))
	again, _ := r.state(shopKey, "1001", "")
	if !again.HeardAt.After(got.HeardAt) || !again.ChangedAt.Equal(got.ChangedAt) || again.Sequence != got.Sequence {
		t.Errorf("when it came again: %+v, before %+v", again, got)
	}
	if status, _ := r.tagged(shopKey, "1001", tag); status != http.StatusOK {
		t.Errorf("with an old tag: %d", status)
	}

	many := r.states(shopKey, "", "zt", "1002", "9999", "1001", "1001")
	if len(many) != 2 || many[0].WaybillCode != "1002" || many[1].Status != "sending" || many[1].Tracks != nil {
		t.Errorf("many: %+v", many)
	}
}

// tagged asks for a waybill with an If-None-Match.
func (r *running) tagged(key, code, list string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.public+"/v1/waybills/"+code, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("If-None-Match", list)
	return r.do(req)
}

func TestATenantLearnsNothingOfAParcelThatItHasNotSubscribed(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	r.subscribe(shopKey, "zt", "1001")
	r.subscribe(alertsKey, "sto", "1001") // the same number under another brand
	r.pushed(parcelAt("1001", "sending", "2026-11-01 10:00:00"))
	shop.wait(1)

	if got, _ := r.state(alertsKey, "1001", ""); got.CPCode != "sto" || got.Status != "" || got.Sequence != 0 {
		t.Errorf("alerts sees %+v", got)
	}
	if got := r.states(alertsKey, "", "zt", "1001"); len(got) != 0 {
		t.Errorf("alerts sees %+v", got)
	}
	if status, _, _ := r.api("DELETE", "/v1/subscriptions/sto/1001", alertsKey, ""); status != 204 {
		t.Fatal(status)
	}
	_, header := r.state(shopKey, "1001", "")
	for _, list := range []string{"*", header.Get("ETag")} {
		if status, text := r.tagged(alertsKey, "1001", list); status != 404 || strings.Contains(text, "sending") {
			t.Errorf("If-None-Match: %s: %d %s", list, status, text)
		}
	}
	if status, _, _ := r.api("GET", "/v1/waybills/1001", alertsKey, ""); status != 404 {
		t.Errorf("%d", status)
	}
}

func TestTheStatesOfAThousandWaybillsAreReadAtOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	codes := make([]string, 1001)
	for i := range codes {
		codes[i] = fmt.Sprint(7000 + i)
	}
	r.subscribe(shopKey, "zt", codes[:1000]...)
	if got := r.states(shopKey, "", "zt", codes[:1000]...); len(got) != 1000 || got[999].WaybillCode != "7999" {
		t.Errorf("%d states", len(got))
	}

	body := func(codes ...string) string {
		text, _ := json.Marshal(map[string]any{"cp_code": "zt", "waybill_codes": codes})
		return string(text)
	}
	for name, wrong := range map[string]struct{ body, want string }{
		"one too many":   {body(codes...), "1000 is the most"},
		"none":           {`{"cp_code":"zt","waybill_codes":[]}`, "missing"},
		"a line":         {body("1\n2"), "waybill_codes[0]"},
		"a long one":     {body("1", strings.Repeat("9", 65)), "waybill_codes[1]"},
		"no ASCII":       {body("运单"), "waybill_codes[0]"},
		"a bad brand":    {`{"cp_code":"z t","waybill_codes":["1"]}`, "cp_code"},
		"another key":    {`{"cp_code":"zt","waybill_codes":["1"],"tenant":"alerts"}`, "tenant"},
		"no JSON":        {`zt`, "JSON"},
		"too many bytes": {`{"cp_code":"zt","waybill_codes":["` + strings.Repeat("9", 300<<10) + `"]}`, "256 KiB"},
	} {
		status, text, _ := r.api("POST", "/v1/waybills/states", shopKey, wrong.body)
		if status/100 != 4 || !strings.Contains(text, wrong.want) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	for _, hostile := range []string{"{x}:s:zt", "@shop", "*", "%00", `"`, "../7000"} {
		if got := r.states(shopKey, "", "zt", hostile); len(got) != 0 {
			t.Errorf("%q: %+v", hostile, got)
		}
	}
}
