package relay_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// The operator's token and the callback token are replaced without a gap, and one sees when the old one may go.
func TestNamedTokensAreReplacedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	const anns, bobs, newCallback = "anns-token-of-the-operator", "bobs-token-of-the-operator", "new-callback-token"
	ends := time.Now().Add(time.Hour)
	yaml := func(until time.Time) string {
		return "server: {listen: '127.0.0.1:0'}\n" +
			"admin: {token: " + adminToken + ", tokens: [{key: " + anns + ", name: ann}, " +
			"{key: " + bobs + ", name: bob, until: " + until.Format(time.RFC3339) + "}]}\n" +
			"callback: {tokens: [" + newCallback + ", {token: " + token + ", name: old, until: " + until.Format(time.RFC3339) +
			"}]}\n" + twoTenants(shop.URL, shop.URL) + withToken(redisserver.Start(t).URL())
	}
	config := yaml(ends)
	a := startAPI(t, config)

	// Who did it is in the audit by the name of the token; of admin.token, which has none, as before.
	for _, key := range []string{adminToken, anns, bobs} {
		ok[any](a, key, "POST", "/admin/v1/endpoints/shop/orders/pause", "")
		ok[any](a, key, "POST", "/admin/v1/endpoints/shop/orders/resume", "")
	}
	said := ok[acts](a, adminToken, "GET", "/admin/v1/audit", "").said()
	for _, want := range []string{
		"operator () pause shop/orders: 1 done", "operator (ann) pause shop/orders: 1 done",
		"operator (bob) resume shop/orders: 1 done",
	} {
		if !slices.Contains(said, want) {
			t.Errorf("the audit has no %q in %q", want, said)
		}
	}
	if status, text := a.call(shopKey, "GET", "/v1/audit", ""); status != 200 || strings.Contains(text, "ann") {
		t.Errorf("a tenant learns the names of the operator's tokens: %d %s", status, text)
	}

	// Callbacks come with either token, and the metric says with which.
	used := func(kind, token string) float64 {
		v, _ := strconv.ParseFloat(a.metric(`kuairelay_`+kind+`_token_used_timestamp_seconds{token="`+token+`"}`), 64)
		return v
	}
	const body = `{"type":"express_sub_msg","data":[{"waybill_code":"1","cp_code":"zt","status":"signed"}]}`
	now := float64(time.Now().Add(-time.Minute).Unix())
	if used("callback", "1")+used("callback", "old") != 0 || used("admin", "bob") < now || used("admin", "1") < now {
		t.Errorf("before any callback: %v, %v; of the operator: %v", used("callback", "1"), used("callback", "old"),
			used("admin", "bob"))
	}
	if status, _ := a.push("application/json", body); status != 200 || used("callback", "old") < now ||
		used("callback", "1") != 0 {
		t.Errorf("a callback with the old token: %d", status)
	}
	status, _ := a.post("/callback/"+newCallback, "application/json", body)
	if status != 200 || used("callback", "1") < now {
		t.Errorf("a callback with the new token: %d", status)
	}
	lines := a.logs.FilterMessage("callback").All()
	if got := lines[0].ContextMap(); got["token"] != int64(2) || got["token_name"] != "old" {
		t.Errorf("the line of a callback with the old token: %v", got)
	}

	// Tokens that have ended are none.
	past := time.Now().Add(-time.Second)
	a.mustReload(strings.ReplaceAll(config, ends.Format(time.RFC3339), past.Format(time.RFC3339)))
	if status, _ := a.push("application/json", body); status != http.StatusNotFound {
		t.Errorf("a callback with a token that has ended: %d", status)
	}
	if status, _ := a.call(bobs, "GET", "/admin/v1/status", ""); status != http.StatusUnauthorized {
		t.Errorf("a token of the operator that has ended: %d", status)
	}
	if status, _ := a.call(anns, "GET", "/admin/v1/status", ""); status != 200 {
		t.Errorf("a token of the operator without an end: %d", status)
	}
}
