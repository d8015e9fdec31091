package relay_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"kuairelay/test/redisserver"
)

func TestACallbackReachesTheTenantSignedAndByteForByte(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, one(shop.URL, ""))
	odd := `{ "cp_code":"zt","waybill_code":773005949070187, "status":"signed" ,"w":1.50e2,"x":"\u4e2d\/" , ` +
		`"data":[{"time":"2026-11-23 10:00:00"}]}`
	if status, answer := r.push("application/json", callback(odd)); status != 200 || answer != "success" {
		t.Fatalf("answer %d %q", status, answer)
	}
	got := shop.wait(1)[0]
	var body struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != "waybill.signed" || string(body.Data) != odd || time.Since(body.Timestamp).Abs() > time.Minute {
		t.Errorf("body %s", got.body)
	}
	h := got.header
	if h.Get("Content-Type") != "application/json" || !strings.HasPrefix(h.Get("User-Agent"), "kuairelay/") ||
		!strings.HasPrefix(h.Get("Webhook-Id"), "evt_") || h.Get("Kuairelay-Reason") != "new" {
		t.Errorf("header %v", h)
	}
	if n, err := strconv.ParseInt(h.Get("Kuairelay-Sequence"), 10, 64); err != nil || n <= 0 {
		t.Errorf("sequence %q", h.Get("Kuairelay-Sequence"))
	}
	for series, want := range map[string]string{
		`kuairelay_callbacks_total{answer="success"}`:                            "1",
		`kuairelay_events_total{result="new"}`:                                   "1",
		`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`: "1",
		`kuairelay_attempts_total{endpoint="shop/orders",outcome="delivered"}`:   "1",
		`kuairelay_delivery_latency_seconds_count{endpoint="shop/orders"}`:       "1",
		`kuairelay_queue_depth{endpoint="shop/orders",state="open"}`:             "0",
		`kuairelay_queue_oldest_age_seconds{endpoint="shop/orders"}`:             "0",
	} {
		until(t, series+" is "+want, func() bool { return r.metric(series) == want })
	}
}

func TestAFailedAttemptIsRepeatedWithTheSameBytesAndSignedAnew(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, n int, _ received) {
		if n <= 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := start(t, one(shop.URL, ", retry: [10ms, 1100ms]"))
	r.push("application/json", callback(item("1", "signed", "2026-11-23 10:00:00")))
	got := shop.wait(3)
	for i, want := range []string{"new", "retry", "retry"} {
		if g := got[i].header.Get("Kuairelay-Reason"); g != want {
			t.Errorf("attempt %d: reason %s", i+1, g)
		}
		if got[i].body != got[0].body || got[i].header.Get("Webhook-Id") != got[0].header.Get("Webhook-Id") {
			t.Errorf("attempt %d sent other bytes, or another id", i+1)
		}
	}
	if got[2].header.Get("Webhook-Signature") == got[0].header.Get("Webhook-Signature") {
		t.Error("the last attempt, a second later, has the signature of the first")
	}
	until(t, "it is delivered", func() bool {
		return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == "1"
	})
}

// The trace id is that of the callback, or else follows from the event; each attempt is a span of its own, and the log
// has it.
func TestAttemptsOfAnEventJoinOneTrace(t *testing.T) {
	t.Parallel()
	const theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	for name, sent := range map[string]string{"theirs": theirs, "none": "", "broken": theirs + "-more"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newTenant(t, func(w http.ResponseWriter, n int, _ received) {
				if n == 1 {
					w.WriteHeader(http.StatusInternalServerError)
				}
			})
			r := start(t, one(shop.URL, ", retry: [10ms, 10ms]"))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.public+"/callback/"+token,
				strings.NewReader(callback(item("1", "signed", "2026-11-23 10:00:00"))))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Traceparent", sent)
			if status, answer := r.do(req); status != 200 || answer != "success" {
				t.Fatalf("answer %d %q", status, answer)
			}

			got := shop.wait(2)
			trace := "00-" + strings.TrimPrefix(got[0].header.Get("Webhook-Id"), "evt_")[:32] + "-"
			flags := "-01"
			if name == "theirs" {
				trace, flags = theirs[:len("00-4bf92f3577b34da6a3ce929d0e0e4736-")], "-00"
			}
			first, second := got[0].header.Get("Traceparent"), got[1].header.Get("Traceparent")
			for _, parent := range []string{first, second} {
				if len(parent) != len(theirs) || !strings.HasPrefix(parent, trace) || !strings.HasSuffix(parent, flags) ||
					parent == sent {
					t.Errorf("traceparent %s, want %s…%s", parent, trace, flags)
				}
				until(t, "the log has "+parent, func() bool {
					return r.logs.FilterMessage("attempt").FilterField(zap.String("traceparent", parent)).Len() == 1
				})
			}
			if first == second {
				t.Error("two attempts have one span")
			}
		})
	}
}

func TestFanOutRetriesEachEndpointAlone(t *testing.T) {
	t.Parallel()
	good := newTenant(t, nil)
	bad := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusUnprocessableEntity) })
	r := start(t, `
delivery: {retry: [10ms, 10ms, 10ms, 10ms]}
tenants:
  - name: a
    endpoints: [{name: x, url: "`+good.URL+`", secrets: [`+secret+`]}]
    routes: [{to: x}]
  - name: b
    endpoints: [{name: x, url: "`+bad.URL+`", secrets: [`+secret+`]}]
    routes: [{to: x, match: {cp_code: zt}}]
  - name: c
    endpoints: [{name: x, url: "`+bad.URL+`", secrets: [`+secret+`]}]
    routes: [{to: x, match: {cp_code: sto}}]
`)
	r.push("application/json", callback(item("1", "signed", "2026-11-23 10:00:00")))
	until(t, "the refusing endpoint has a dead letter", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="b/x",state="dead"}`) == "1"
	})
	if n := len(good.wait(1)); n != 1 {
		t.Errorf("the good endpoint got %d requests", n)
	}
	if n := len(bad.all()); n != 4 {
		t.Errorf("the refusing endpoint got %d requests, want 4", n)
	}
}

func TestAGoneEndpointIsAskedOnce(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusGone) })
	r := start(t, one(shop.URL, ", retry: [1ms]"))
	r.push("application/json", callback(item("1", "signed", "2026-11-23 10:00:00")))
	until(t, "it is parked as gone", func() bool {
		return r.metric(`kuairelay_endpoint_parked{endpoint="shop/orders",state="gone"}`) == "1"
	})
	r.push("application/json", callback(item("2", "signed", "2026-11-23 10:00:00")))
	until(t, "both stay open", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="shop/orders",state="open"}`) == "2"
	})
	if n := len(shop.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestSecretsRotateAndEachSigns(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil) // verifies with the second
	r := start(t, `
tenants:
  - name: shop
    endpoints: [{name: orders, url: "`+shop.URL+`", secrets: [whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA, `+secret+`]}]
    routes: [{to: orders}]
`)
	r.push("application/json", callback(item("1", "signed", "2026-11-23 10:00:00")))
	if s := strings.Fields(shop.wait(1)[0].header.Get("Webhook-Signature")); len(s) != 2 {
		t.Errorf("signatures: %v", s)
	}
}

func TestConnectionsAreBoundedAndReused(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, one(shop.URL, ", max_in_flight: 4"))
	began := time.Now()
	for i := range 20 {
		var items []string
		for j := range 20 {
			items = append(items, item(strconv.Itoa(i*20+j), "signed", "2026-11-23 10:00:00"))
		}
		r.push("application/json", callback(items...))
	}
	shop.wait(400)
	// Up to 64 connections rest after an answer, the longer the slower the machine is; the server sees their end later.
	open := func() int {
		shop.mu.Lock()
		defer shop.mu.Unlock()
		return shop.open
	}
	until(t, "no more are open than may rest", func() bool { return open() <= 64+4 })
	shop.mu.Lock()
	connected, most := shop.connected, shop.most
	shop.mu.Unlock()
	if most > 4+64+4 || connected > 200 {
		t.Errorf("400 deliveries, 4 in flight at most, took %d connections, %d of them at the same time", connected, most)
	}

	// None rests for longer than an answer took, and so no longer than all of this has taken.
	took, rests := time.Since(began), time.Now()
	until(t, "they have rested", func() bool { return time.Since(rests) > took })
	before := shop.connections()
	r.push("application/json", callback(item("again", "signed", "2026-11-23 10:00:00")))
	shop.wait(401)
	if n := shop.connections() - before; n > 0 {
		t.Errorf("%d connections are new, and many were free", n)
	}
}

func TestAWaybillsUpdatesArriveInOrderThoughTheEndpointFailsAtRandom(t *testing.T) {
	t.Parallel()
	testOrder(t, "", 12, 10)
}

func TestOrderOnRedis(t *testing.T) {
	t.Parallel()
	testOrder(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}", 30, 10)
}
