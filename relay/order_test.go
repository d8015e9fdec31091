package relay_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// testOrder pushes updates of some waybills back to back to two endpoints that answer 500 to half of the attempts, one
// of them with a breaker that opens again and again, and checks that each has its first sight of the updates in the
// order of acceptance.
func testOrder(t *testing.T, redis string, updates, waybills int) {
	t.Helper()
	flaky := func(w http.ResponseWriter, _ int, _ received) {
		if rand.IntN(2) == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	a, b := newTenant(t, flaky), newTenant(t, flaky)
	steady := newTenant(t, nil)
	r := start(t, redis+`
delivery: {retry: [`+strings.Repeat("5ms, ", 29)+`5ms]}
tenants:
  - name: t
    endpoints:
      - {name: a, url: "`+a.URL+`", secrets: [`+secret+`], breaker: {failures: 0}}
      - {name: b, url: "`+b.URL+`", secrets: [`+secret+`], breaker: {failures: 4, cool_off: 1ms, max_cool_off: 5ms}}
      - {name: steady, url: "`+steady.URL+`", secrets: [`+secret+`]}
    routes: [{to: [a, b, steady]}]
`)
	for i := range updates {
		for w := range waybills {
			if status, _ := r.push("application/json",
				callback(item(strconv.Itoa(w), "sending", fmt.Sprintf("%05d", i)))); status != 200 {
				t.Fatalf("answer %d", status)
			}
		}
	}
	for name, x := range map[string]*tenant{"a": a, "b": b, "steady": steady} {
		until(t, name+" has everything", func() bool {
			return r.metric(`kuairelay_deliveries_total{endpoint="t/`+name+`",outcome="delivered"}`) == strconv.Itoa(
				updates*waybills)
		})
		checkOrder(t, name, x.all(), updates*waybills)
	}
}

// checkOrder checks that the first attempts of each waybill's updates come in the order of their tracks' time, none
// missing.
func checkOrder(t *testing.T, name string, got []received, total int) {
	t.Helper()
	last, seen := map[string]string{}, map[string]bool{}
	for _, r := range got {
		id := r.header.Get("Webhook-Id")
		if seen[id] {
			continue
		}
		seen[id] = true
		var body struct {
			Data struct {
				Waybill string                  `json:"waybill_code"`
				Tracks  []struct{ Time string } `json:"data"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(r.body), &body); err != nil {
			t.Fatal(err)
		}
		w, at := body.Data.Waybill, body.Data.Tracks[0].Time
		if at <= last[w] {
			t.Errorf("%s: waybill %s: %s came after %s", name, w, at, last[w])
		}
		last[w] = at
	}
	if len(seen) != total {
		t.Errorf("%s: %d of %d events", name, len(seen), total)
	}
}

func TestAStuckUpdateHoldsBackOnlyItsOwnWaybillAtItsOwnEndpoint(t *testing.T) {
	t.Parallel()
	picky := newTenant(t, func(w http.ResponseWriter, _ int, r received) {
		if strings.Contains(r.body, `"waybill_code":"stuck"`) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	other := newTenant(t, nil)
	r := start(t, `
tenants:
  - name: t
    endpoints:
      - {name: picky, url: "`+picky.URL+`", secrets: [`+secret+`], retry: [1h]}
      - {name: other, url: "`+other.URL+`", secrets: [`+secret+`]}
    routes: [{to: [picky, other]}]
`)
	for i := range 20 {
		at := strconv.Itoa(i)
		r.push("application/json", callback(item("stuck", "sending", at), item("free", "sending", at)))
	}
	other.wait(40)
	until(t, "the other waybill is through", func() bool {
		return r.metric(`kuairelay_deliveries_total{endpoint="t/picky",outcome="delivered"}`) == "20"
	})
	if got := len(picky.all()); got != 21 {
		t.Errorf("%d requests, want 20 and one of the stuck update", got)
	}
	until(t, "19 wait behind the stuck update", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="t/picky",state="waiting"}`) == "19"
	})
}

func TestReplicasWhoseClocksAreMinutesApartStealNothing(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	shop := newTenant(t, func(_ http.ResponseWriter, n int, _ received) {
		if n > 2 { // each replica has to have an answer before it makes many attempts at one time
			<-release
		}
	})
	yaml := "redis: {url: '" + redisserver.Start(t).URL() + "'}" + one(shop.URL, ", timeout: 60s, max_in_flight: 100")
	right := start(t, yaml)
	// A lease is shorter: twice the timeout, and some seconds.
	wrong := startAt(t, func() time.Time { return time.Now().Add(4 * time.Minute) }, yaml)
	delivered := func(r *running) string {
		return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`)
	}
	for i, r := range []*running{right, wrong} {
		r.push("application/json", callback(item(strconv.Itoa(-i), "sending", "1")))
		until(t, "the endpoint answers it", func() bool { return delivered(r) == "1" })
	}
	for i := range 40 {
		[]*running{right, wrong}[i%2].push("application/json", callback(item(strconv.Itoa(1000+i), "sending", "1")))
	}
	shop.wait(42)
	// A replica that looked at another's leases by a clock that is so far off would take them at its next look.
	began := time.Now()
	until(t, "both have looked for due deliveries several times", func() bool { return time.Since(began) > 3*time.Second })
	close(release)
	for _, r := range []*running{right, wrong} {
		until(t, "its own are delivered", func() bool { return delivered(r) == "21" })
	}
	if n := len(shop.all()); n != 42 {
		t.Errorf("%d attempts of 42 deliveries", n)
	}
}
