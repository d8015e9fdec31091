package relay_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
)

// testOrder pushes updates of some waybills back to back to two endpoints that answer 500 to half of the attempts, and
// checks that each of them has its first sight of the updates in the order of acceptance.
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
delivery: {retry: [5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms, 5ms]}
tenants:
  - name: t
    endpoints:
      - {name: a, url: "`+a.URL+`", secrets: [`+secret+`]}
      - {name: b, url: "`+b.URL+`", secrets: [`+secret+`]}
      - {name: steady, url: "`+steady.URL+`", secrets: [`+secret+`]}
    routes: [{to: [a, b, steady]}]
`)
	for i := range updates {
		for w := range waybills {
			if status, _ := r.push("application/json", callback(item(strconv.Itoa(w), "sending", fmt.Sprintf("%05d", i)))); status != 200 {
				t.Fatalf("answer %d", status)
			}
		}
	}
	for name, x := range map[string]*tenant{"a": a, "b": b, "steady": steady} {
		until(t, name+" has everything", func() bool {
			return r.metric(`kuairelay_deliveries_total{endpoint="t/`+name+`",outcome="delivered"}`) == strconv.Itoa(updates*waybills)
		})
		checkOrder(t, name, x.all(), updates*waybills)
	}
}

// checkOrder checks that the first attempts of each waybill's updates come in the order of their tracks' time, none missing.
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
