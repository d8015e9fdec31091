package relay_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// whys are the reasons that the API gives for each update of a waybill, one line for each.
func (r *running) whys(key, code string) []string {
	r.t.Helper()
	path := r.public + "/v1/waybills/" + code
	if key == adminToken {
		path = r.admin + "/admin/v1/waybills/" + code
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	_, text := r.do(req)
	var answer struct {
		Detail  string
		Verdict struct{ Code, Text, Next string }
		Events  []struct {
			Routes []struct {
				Tenant, Why string
				Matched     bool
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		r.t.Fatalf("%v: %s", err, text)
	}
	if answer.Detail != "" {
		return []string{"unknown: " + answer.Detail}
	}
	if len(answer.Events) == 0 {
		return []string{answer.Verdict.Code + ": " + answer.Verdict.Text + "; next: " + answer.Verdict.Next}
	}
	var all []string
	for _, e := range answer.Events {
		line := ""
		for _, x := range e.Routes {
			line += x.Tenant + map[bool]string{true: " yes: ", false: " no: "}[x.Matched] + x.Why + "\n"
		}
		all = append(all, line)
	}
	return all
}

func TestWhatTheStoreDecidedOfAPastUpdateIsTold(t *testing.T) {
	t.Parallel()
	shop, alerts, redis := newTenant(t, nil), newTenant(t, nil), redisserver.Start(t)
	provider := newProvider(t, fake.Options{})
	config := two(shop, alerts) + "  - name: watch\n    endpoints: [{name: all, url: '" + shop.URL + "', secrets: [" +
		secret + "]}]\n" +
		"    routes: [{to: all, match: {changed: status}}]\n"
	r := start(t, "admin: {token: "+adminToken+"}\n"+withToken(redis.URL())+account(provider.URL, "")+config)

	r.subscribe(shopKey, "zt", "1001")
	r.subscribe(alertsKey, "sto", "1001")
	r.mustPush(callback(item("1001", "collected", "1")))
	r.mustPush(callback(item("1001", "collected", "2")))
	until(t, "both are delivered", func() bool { return len(shop.all()) == 3 })
	got := r.whys(adminToken, "1001")
	if len(got) != 2 {
		t.Fatalf("%q", got)
	}
	for i, wants := range [][]string{
		{"shop yes: matches, if the tenant has subscribed the waybill\n",
			`alerts no: subscribed: the tenant has subscribed the waybill as sto, and this update is of "zt"`, "watch yes: "},
		{"shop yes: ", "watch no: changed: the status had not changed"},
	} {
		for _, want := range wants {
			if !strings.Contains(got[i], want) {
				t.Errorf("update %d: no %q in\n%s", i+1, want, got[i])
			}
		}
	}

	// Who subscribes later is told that it was later.
	r.subscribe(alertsKey, "zt", "1001")
	until(t, "the latest is caught up with", func() bool { return len(alerts.all()) == 1 })
	if got := r.whys(adminToken, "1001"); !strings.Contains(got[0], "alerts no: subscribed: the tenant has "+
		"subscribed the waybill since 20") || !strings.Contains(got[0], "after this update came") {
		t.Errorf("%q", got)
	}

	// An update that nobody has subscribed.
	r.taken(callback(item("1002", "collected", "1")))
	if got := r.whys(adminToken, "1002"); len(got) != 1 ||
		!strings.Contains(got[0], "shop no: subscribed: the tenant has not subscribed the waybill\n") {
		t.Errorf("%q", got)
	}
}

func TestAWaybillWithoutUpdatesIsLookedForElsewhere(t *testing.T) {
	t.Parallel()
	shop, alerts, redis := newTenant(t, nil), newTenant(t, nil), redisserver.Start(t)
	provider := newProvider(t, fake.Options{})
	r := start(t, "admin: {token: "+adminToken+"}\n"+withToken(redis.URL())+account(provider.URL, "")+two(shop, alerts))
	says := func(key, code string, wants ...string) {
		t.Helper()
		got := strings.Join(r.whys(key, code), "\n")
		for _, want := range append(wants, "no update of this waybill is known, or it is no longer kept; ") {
			if !strings.Contains(got, want) {
				t.Errorf("%s of %s: no %q in %s", key, code, want, got)
			}
		}
	}
	says(adminToken, "2001", "unknown: ", "no tenant has subscribed it", "no callback has come yet")
	says(shopKey, "2001", "unknown: ", "you have not subscribed it")

	r.subscribe(shopKey, "sto", "2001")
	says(adminToken, "2001", "awaited: ", "shop has subscribed it as sto since 20", "next: wait for the parcel to move")
	says(shopKey, "2001", "awaited: ", "you have subscribed it as sto since 20")
	says(alertsKey, "2001", "you have not subscribed it")

	// What it was subscribed as was wrong. Who has not subscribed it learns nothing of its updates.
	r.taken(callback(item("2001", "collected", "1")))
	says(shopKey, "2001", "other_brand: ",
		`1 of its updates came as "zt", but you have not subscribed it as that brand`)
	says(alertsKey, "2001", "you have not subscribed it")
	if got := r.whys(alertsKey, "2001"); strings.Contains(got[0], "came") {
		t.Errorf("another tenant is told of updates: %s", got)
	}

	// Not understood, refused, and not yet accepted.
	r.taken(`{"type":"express_sub_msg","data":[{"waybill_code":"2002"`)
	says(adminToken, "2002", "unknown: ", "no tenant has subscribed it") // the code is too short to look for
	r.taken(`{"type":"express_sub_msg","data":[{"waybill_code":"777002002"`)
	says(adminToken, "777002002", "quarantined: ", "names it was not understood (kuairelay quarantine show qtn_",
		"next: see why (kuairelay quarantine show qtn_")
	if got := r.whys(shopKey, "777002002"); strings.Contains(got[0], "quarantine") {
		t.Errorf("a tenant is told of quarantine: %s", got)
	}
	if status, _ := r.post("/callback/wrong-token", "application/json",
		callback(item("2003", "collected", "1"))); status != 404 {
		t.Errorf("%d", status)
	}
	says(adminToken, "2003", "callbacks with a wrong token or address are refused, the latest at 20")
	redis.Kill()
	r.mustPush(callback(item("2004", "collected", "1")))
	until(t, "it is said that redis is down, and that an update waits", func() bool {
		return strings.Contains(strings.Join(r.whys(adminToken, "2004"), ""),
			"spooled: an update of it waits in this replica's spool; nothing else is known: redis at "+redis.Addr+
				" is down: connection refused; next: see why redis does not take it")
	})
	if files, _ := filepath.Glob(filepath.Join(r.spool, "*", "*.callback")); len(files) != 1 {
		t.Errorf("spool: %v", files)
	}
}

func TestAWaybillIsNotUnknownWhileItsSubscriptionsCannotBeRead(t *testing.T) {
	t.Parallel()
	shop, alerts, redis := newTenant(t, nil), newTenant(t, nil), redisserver.Start(t)
	provider := newProvider(t, fake.Options{})
	r := start(t, withToken(redis.URL())+account(provider.URL, "")+two(shop, alerts))
	r.subscribe(shopKey, "zt", "2005")
	if status, text, _ := r.patient("GET", "/v1/waybills/2005", shopKey, ""); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	ask(t, redis, "SET", "{kuairelay}2:s:zt 2005", "not a hash") // so that reading it fails
	if status, text, _ := r.api("GET", "/v1/waybills/2005", shopKey, ""); status != 503 {
		t.Errorf("%d %s", status, text)
	}
}
