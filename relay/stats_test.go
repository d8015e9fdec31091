package relay_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

// counts is what a series sums up to.
type counts struct {
	Of    string
	Total struct {
		Delivered, Failed, Dead int64
		Failures, Answers       map[string]int64
		Events                  map[string]int64
		Attempt, Delivery       *struct {
			P95MS int64 `json:"p95_ms"`
		}
	}
	Points []struct{ Delivered int64 }
}

func TestStatisticsOutliveTheProcessAndATenantSeesItsOwn(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	shop := newTenant(t, func(w http.ResponseWriter, n int, _ received) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	other := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusNotFound) })
	yaml := withToken(redis.URL()) + "admin: {token: " + adminToken + "}\n" + twoTenants(shop.URL, other.URL)
	first := startAPI(t, yaml)
	first.mustPush(callback(item("1", "signed", "2026-11-23 09:00:00"), item("2", "collected", "2026-11-23 09:00:00")))
	first.mustPush(callback(item("2", "collected", "2026-11-23 09:00:00")))
	first.post("/callback/wrong-token", "application/json", callback(item("3", "signed", "2026-11-23 09:00:00")))
	shop.wait(3) // one of them twice
	other.wait(1)
	until(t, "all outcomes are settled", func() bool {
		return first.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == "2" &&
			first.metric(`kuairelay_attempts_total{endpoint="other/mail",outcome="retry"}`) != "" &&
			first.metric(`kuairelay_events_total{result="duplicate"}`) == "1"
	})
	until(t, "they are counted in Redis", func() bool {
		total := ok[counts](first, adminToken, "GET", "/admin/v1/stats", "").Total
		return total.Delivered == 2 && total.Failures["denied"] > 0
	})
	first.stop()
	must(t, <-first.done)
	first.done <- nil

	a := startAPI(t, yaml)
	mine := ok[counts](a, shopKey, "GET", "/v1/stats?endpoint=orders", "")
	if total := mine.Total; mine.Of != "shop/orders" || total.Delivered != 2 || total.Failed != 1 || total.Dead != 0 ||
		total.Failures["5xx"] != 1 || total.Attempt == nil || total.Delivery == nil || len(mine.Points) != 288 {
		t.Errorf("shop/orders: %+v of %d points", total, len(mine.Points))
	}
	if all := ok[counts](a, shopKey, "GET", "/v1/stats?step=1h", ""); all.Of != "shop" || all.Total.Delivered != 2 ||
		all.Total.Failures["denied"] != 0 {
		t.Errorf("shop: %+v", all)
	}
	if spare := ok[counts](a, shopKey, "GET", "/v1/stats?endpoint=shop/spare", ""); spare.Total.Delivered != 0 {
		t.Errorf("shop/spare: %+v", spare.Total)
	}
	for _, query := range []string{"?endpoint=shop/orders", "?tenant=shop", "?of=callbacks"} {
		if status, text := a.call(otherKey, "GET", "/v1/stats"+query, ""); status != http.StatusBadRequest {
			t.Errorf("other asks for %s: %d %s", query, status, text)
		}
	}
	if theirs := ok[counts](a, otherKey, "GET", "/v1/stats", ""); theirs.Total.Delivered != 0 ||
		theirs.Total.Failures["denied"] < 1 || len(theirs.Total.Answers) > 0 {
		t.Errorf("other: %+v", theirs.Total)
	}

	everything := ok[counts](a, adminToken, "GET", "/admin/v1/stats?since=1h&step=1m", "")
	if total := everything.Total; everything.Of != "all" || total.Delivered != 2 || total.Failures["5xx"] != 1 ||
		total.Failures["denied"] < 1 {
		t.Errorf("all: %+v", total)
	}
	came := ok[counts](a, adminToken, "GET", "/admin/v1/stats?of=callbacks", "").Total
	if want := "map[refused:1 success:2] map[duplicate:1 new:2]"; fmt.Sprint(came.Answers, came.Events) != want {
		t.Errorf("callbacks: %v, %v, want %s", came.Answers, came.Events, want)
	}
}

func TestWithoutHistoryNothingIsCounted(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	shop := newTenant(t, nil)
	yaml := withToken(redis.URL()) + "admin: {token: " + adminToken + "}\nconsole: {history: 0}\n" +
		twoTenants(shop.URL, shop.URL)
	a := startAPI(t, yaml)
	a.push("application/json", callback(item("1", "signed", "2026-11-23 09:00:00")))
	shop.wait(2)
	if status, text := a.call(shopKey, "GET", "/v1/stats", ""); status != http.StatusNotFound ||
		!strings.Contains(text, "console.history is 0") {
		t.Errorf("%d %s", status, text)
	}
	a.stop()
	must(t, <-a.done)
	a.done <- nil
	for _, prefix := range []string{"m", "m5", "mh", "mc"} {
		if keys, err := redis.Do("KEYS", "{kuairelay}2:"+prefix+":*"); err != nil || keys != "" {
			t.Errorf("keys of %s: %q (%v)", prefix, keys, err)
		}
	}
}
