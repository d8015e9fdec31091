package relay_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/test/redisserver"
)

// logOf gives what the log of shop/orders tells, the latest first.
func (a *apiClient) logOf() (all []api.LogEntry, told []event.LogKind) {
	a.t.Helper()
	log := ok[api.EndpointLog](a, adminToken, "GET", "/admin/v1/endpoints/shop/orders/log", "")
	for _, e := range log.Entries {
		told = append(told, e.What)
	}
	return log.Entries, told
}

// Every replica sees that the config has changed, and one of them tells it.
func TestTheLogOfAnEndpointHasEachChangeOfTheConfigOnce(t *testing.T) {
	t.Parallel()
	base := withToken(redisserver.Start(t).URL()) + "admin: {token: " + adminToken + "}\n"
	plain := base + twoTenants("https://shop.example", "https://other.example")
	a, b := startAPI(t, plain), startAPI(t, plain)
	settled := func() {
		t.Helper()
		until(t, "all is told", func() bool { return a.relay.SettingsTold() && b.relay.SettingsTold() })
	}
	reload := func(yaml string) {
		t.Helper()
		a.mustReload(yaml)
		b.mustReload(yaml)
		settled()
	}
	settled()
	if _, told := a.logOf(); len(told) > 0 {
		t.Errorf("at first the log tells %v", told)
	}

	changed := strings.Replace(plain, "retry: [10ms, 1h]",
		"retry: [10ms, 2h], timeout: 7s, headers: {x-team: hunter2}", 1)
	changed = strings.Replace(changed, "?token=hidden", "?token=hunter3", 1)
	reload(changed)
	want := []api.SettingChange{
		{Key: "headers"}, {Key: "retry", Old: "10ms 1h", New: "10ms 2h"}, {Key: "timeout", Old: "15s", New: "7s"},
		{Key: "url"},
	}
	all, told := a.logOf()
	if len(told) != 1 || told[0] != event.LogChanged || !slices.Equal(all[0].Changes, want) || all[0].By != "" {
		t.Errorf("%+v, want %+v", all, want)
	}
	if _, text := a.call(shopKey, "GET", "/v1/endpoints/orders/log", ""); !strings.Contains(text, "timeout") ||
		strings.Contains(text, "hunter") {
		t.Errorf("a tenant is told %s", text)
	}

	// A replica that was restarted for the change tells of it too.
	restarted := strings.Replace(changed, "timeout: 7s", "timeout: 8s", 1)
	c := startAPI(t, restarted)
	until(t, "all is told", func() bool { return c.relay.SettingsTold() })
	reload(restarted)
	if all, told = a.logOf(); len(told) != 2 || all[0].Changes[0].New != "8s" {
		t.Errorf("%+v", all)
	}

	// Taken out and put back. The log outlives that.
	without := strings.Join(slices.DeleteFunc(strings.Split(restarted, "\n"), func(line string) bool {
		return strings.Contains(line, "name: orders")
	}), "\n")
	reload(strings.Replace(without, "{to: orders}", "{to: spare}", 1))
	reload(restarted)
	if _, told = a.logOf(); len(told) != 4 || told[0] != event.LogAdded || told[1] != event.LogRemoved {
		t.Errorf("%v", told)
	}
}

func TestAnEndpointThatFailsShowsSinceWhenAndWhy(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
		w.Header().Set("Server", "hall-9000")
		w.Header().Set("Retry-After", "7")
		http.Error(w, "not now", http.StatusServiceUnavailable)
	})
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]", "retry: [1h, 2h]", 1))
	began := time.Now().Add(-time.Minute)
	a.push("application/json", callback(item("1001", "collected", "2026-11-23 09:00:00")))
	shop.wait(1)
	until(t, "the attempt is settled", func() bool {
		return ok[api.EndpointHealth](a, shopKey, "GET", "/v1/endpoints/orders", "").Sample == 1
	})
	if h := ok[api.EndpointHealth](a, shopKey, "GET", "/v1/endpoints/orders", ""); h.State != api.EndpointOK {
		t.Errorf("after one failure: %+v", h)
	}

	a.push("application/json", callback(item("1002", "collected", "2026-11-23 09:00:00")))
	var h api.EndpointHealth
	until(t, "it is failing", func() bool {
		h = ok[api.EndpointHealth](a, shopKey, "GET", "/v1/endpoints/orders", "")
		return h.State == api.EndpointFailing
	})
	if h.InRow < 2 || h.FailingSince.Before(began) || time.Until(h.GivenUpFirstAt) < 160*time.Hour {
		t.Errorf("%+v", h)
	}
	s := h.Settings
	if s == nil || s.Timeout != "15s" || !slices.Equal(s.Retry, []string{"1h", "2h"}) || s.AttemptsMax != 3 ||
		s.MaxAge != "168h" || len(s.Secrets) != 1 || s.Breaker.Failures != 10 || !strings.Contains(s.At, "config.yaml:") {
		t.Errorf("%+v", s)
	}

	page := ok[api.EndpointAttempts](a, adminToken, "GET", "/admin/v1/endpoints/shop/orders/attempts?failed=true", "")
	first := page.Attempts[len(page.Attempts)-1]
	if first.Status != 503 || first.Number != 1 || first.Reason != "new" || first.Outcome != "retry" ||
		first.Headers["server"] != "hall-9000" || first.Headers["retry-after"] != "7" || first.Text != "not now\n" ||
		first.Replica == "" {
		t.Errorf("%+v", first)
	}
	page = ok[api.EndpointAttempts](a, shopKey, "GET", "/v1/endpoints/orders/attempts", "")
	if len(page.Attempts) < 2 || page.Attempts[0].Replica != "" {
		t.Errorf("%+v", page)
	}

	e := ok[api.Event](a, shopKey, "GET", "/v1/events/"+first.EventID, "")
	d := e.Deliveries[0]
	if d.AttemptsMax != 3 || time.Until(d.GivenUpAt) < 160*time.Hour || d.Tries[0].Headers["server"] != "hall-9000" ||
		d.Tries[0].Number != 1 {
		t.Errorf("%+v", d)
	}
}
