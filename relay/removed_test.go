package relay_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// Every list of the operator knows a tenant that was removed, and says the same of it; what cannot work says why.
func TestEveryListKnowsATenantThatWasRemoved(t *testing.T) {
	t.Parallel()
	down := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusServiceUnavailable) })
	kuaidihelp := newProvider(t, fake.Options{})
	redis := redisserver.Start(t)
	staying := "server: {listen: '127.0.0.1:0'}\nadmin: {token: " + adminToken + "}\n" + withToken(redis.URL()) +
		account(kuaidihelp.URL, "") + "tenants:\n  - {name: shop, api_keys: [" + shopKey + "]}\n"
	five := "  - name: five\n    api_keys: [" + otherKey + "]\n    endpoints:\n" +
		"      - {name: paused, url: '" + down.URL + "', secrets: [" + secret + "]}\n" +
		"      - {name: dead, url: '" + down.URL + "', secrets: [" + secret + "], retry: [1ms]}\n" +
		"    routes: [{to: [paused, dead]}]\n"
	a := startAPI(t, staying+five)
	ok[any](a, adminToken, "POST", "/admin/v1/endpoints/five/paused/pause", "")
	ok[any](a, otherKey, "POST", "/v1/subscriptions", `{"cp_code":"zt","waybill_codes":["777"]}`)
	const update = `{"waybill_code":"777","cp_code":"zt","status":"signed"}`
	a.push("application/json", `{"type":"express_sub_msg","data":[`+update+`]}`)
	until(t, "there is a dead letter", func() bool {
		_, text := a.call(adminToken, "GET", "/admin/v1/dead-letters?tenant=five", "")
		return strings.Contains(text, "five/dead")
	})
	a.mustReload(staying)

	// The lists know it.
	for _, path := range []string{
		"/dead-letters", "/dead-letters?tenant=five", "/dead-letters?endpoint=five/dead",
		"/events?tenant=five", "/events?endpoint=five/paused,five/dead", "/endpoints", "/endpoints?tenant=five",
		"/subscriptions?tenant=five", "/subscriptions/summary", "/subscriptions/summary?tenant=five", "/status",
		"/waybills/777",
	} {
		until(t, path+" knows the tenant that was removed", func() bool {
			status, text := a.call(adminToken, "GET", "/admin/v1"+path, "")
			return status == http.StatusOK && (strings.Contains(text, "five") || strings.Contains(text, "777"))
		})
	}
	list := ok[struct {
		Endpoints []struct{ Endpoint, State string }
	}](a, adminToken, "GET", "/admin/v1/endpoints", "")
	if len(list.Endpoints) != 2 || list.Endpoints[0].State != "removed" || list.Endpoints[1].Endpoint != "five/paused" {
		t.Errorf("the endpoints are %+v", list)
	}

	// So does what shows one of them.
	one := ok[struct {
		Endpoint, State string
		Dead            int
	}](a, adminToken, "GET", "/admin/v1/endpoints/five/dead", "")
	if one.Endpoint != "five/dead" || one.State != "removed" || one.Dead != 1 {
		t.Errorf("the endpoint is %+v", one)
	}
	for _, path := range []string{"/attempts", "/log"} {
		if status, text := a.call(adminToken, "GET", "/admin/v1/endpoints/five/dead"+path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}

	page := newBrowser(t, a.admin).login(adminToken).get("/endpoints/five/dead")
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "It is in no config: it was removed or renamed.") {
		t.Errorf("its page: %d", page.StatusCode)
	}
	if _, forms := references(t, page.body); strings.Contains(strings.Join(forms, " "), "five/dead") ||
		strings.Contains(page.body, "five/dead/test") {
		t.Errorf("its page offers what cannot work: %q", forms)
	}

	// What needs the config says what becomes of it, and nothing advises what then fails.
	const becomes = "is in no config: it was removed or renamed; its open deliveries become dead letters after " +
		"delivery.orphan_grace, unless it is put back"
	for path, body := range map[string]string{
		"/endpoints/five/paused/resume": "", "/endpoints/five/paused/test": "",
		"/replays":              `{"tenant":"five","since":"` + time.Now().Add(-time.Hour).Format(time.RFC3339) + `"}`,
		"/dead-letters/redrive": `{"all":true,"filter":{"endpoint":"five/dead"}}`,
	} {
		if status, text := a.call(adminToken, "POST", "/admin/v1"+path, body); status/100 != 4 ||
			!strings.Contains(text, becomes) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	w := ok[struct{ Verdict struct{ Next string } }](a, adminToken, "GET", "/admin/v1/waybills/777", "")
	if !strings.HasPrefix(w.Verdict.Next, "put the endpoint back into the config") {
		t.Errorf("the advice is %q", w.Verdict.Next)
	}

	// A name that there never was is still a slip, and a tenant learns nothing of others.
	for _, path := range []string{"/events?tenant=fvie", "/dead-letters?endpoint=five/none", "/endpoints?tenant=fvie"} {
		if status, text := a.call(adminToken, "GET", "/admin/v1"+path, ""); status != 400 ||
			!strings.Contains(text, "there is no ") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, text := a.call(shopKey, "GET", "/v1/dead-letters?endpoint=five/dead", ""); status != 400 ||
		!strings.Contains(text, "is not yours") {
		t.Errorf("a tenant asks: %d %s", status, text)
	}
	if _, text := a.call(shopKey, "GET", "/v1/endpoints", ""); strings.Contains(text, "five") {
		t.Errorf("a tenant sees %s", text)
	}

	// What is not wanted is dismissed.
	done := ok[struct{ Done int }](a, adminToken, "POST", "/admin/v1/dead-letters/dismiss",
		`{"all":true,"filter":{"endpoint":"five/dead"}}`)
	if done.Done != 1 {
		t.Errorf("%d dead letters were dismissed", done.Done)
	}
}
