package relay_test

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// deadLetters reads them from Redis, as an endpoint that is in no config has no metric.
func deadLetters(t *testing.T, redis, endpoint string) []event.DeadLetter {
	t.Helper()
	s := openStores(t, db.Options{URL: redis})
	dead, _, err := s.DeadLetters(t.Context(), []string{endpoint}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return dead
}

func TestADeliveryIsGivenUpAtMaxAge(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusServiceUnavailable) })
	redis := redisserver.Start(t).URL()
	r := start(t, "redis: {url: '"+redis+"'}"+one(shop.URL, ", max_age: 500ms, retry: [100ms, 100ms, 1h]"))
	r.push("application/json", callback(item("1", "sending", "1"), item("1", "signed", "2")))
	until(t, "both updates are dead letters", func() bool { return len(deadLetters(t, redis, "shop/orders")) == 2 })
	for _, d := range deadLetters(t, redis, "shop/orders") {
		if !strings.Contains(d.Reason, "older than max_age 500ms") {
			t.Errorf("reason %q", d.Reason)
		}
	}
	if n := len(shop.all()); n > 4 {
		t.Errorf("%d attempts, though the schedule had an hour's pause", n)
	}
}

func TestMaxAgeHoldsForAGoneEndpointToo(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusGone) })
	redis := redisserver.Start(t).URL()
	r := start(t, "redis: {url: '"+redis+"'}"+one(shop.URL, ", max_age: 1s"))
	r.push("application/json", callback(item("1", "sending", "1"), item("1", "signed", "2"), item("2", "signed", "2")))
	until(t, "all are dead letters", func() bool { return len(deadLetters(t, redis, "shop/orders")) == 3 })
}

func TestAnEndpointThatNoReplicaKnowsBecomesDeadLettersAfterTheGrace(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusServiceUnavailable) })
	redis := redisserver.Start(t).URL()
	head := "redis: {url: '" + redis + "'}\n"
	before := start(t, head+one(shop.URL, ", retry: ["+strings.Repeat("100ms, ", 400)+"1h]"))
	before.push("application/json", callback(item("1", "sending", "1"), item("1", "signed", "2")))
	shop.wait(1)
	before.stop()
	if err := <-before.done; err != nil {
		t.Fatal(err)
	}
	before.done <- nil
	if n := len(deadLetters(t, redis, "shop/orders")); n != 0 {
		t.Fatalf("%d dead letters already", n)
	}
	start(t, head+"delivery: {orphan_grace: 1s}\n"+strings.ReplaceAll(one(shop.URL, ""), "orders", "renamed"))
	until(t, "both updates are dead letters", func() bool { return len(deadLetters(t, redis, "shop/orders")) == 2 })
	if d := deadLetters(t, redis, "shop/orders")[0]; !strings.Contains(d.Reason,
		"no replica has had the endpoint in its config for 1s") {
		t.Errorf("reason %q", d.Reason)
	}
}

// It counts goroutines, and so runs alone.
func TestAHangingEndpointHoldsNoMoreThanItsSlots(t *testing.T) {
	var now, most atomic.Int64
	release := make(chan struct{})
	shop := newTenant(t, func(http.ResponseWriter, int, received) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		now.Add(-1)
	})
	r := start(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}"+one(shop.URL, ", max_in_flight: 4, timeout: 60s"))
	shop.wait(0)
	goroutines := runtime.NumGoroutine()
	for i := range 20 {
		var items []string
		for j := range 100 {
			items = append(items, item(strconv.Itoa(i*100+j), "signed", "1"))
		}
		r.push("application/json", callback(items...))
	}
	shop.wait(2)
	until(t, "the backlog is in Redis", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="shop/orders",state="open"}`) == "2000"
	})
	if n := runtime.NumGoroutine() - goroutines; n > 500 {
		t.Errorf("2,000 deliveries took %d goroutines", n)
	}
	if n := most.Load(); n != 2 {
		t.Errorf("%d at the same time while none is answered, want 2", n)
	}
	close(release)
	shop.wait(2000)
	if n := most.Load(); n > 4 {
		t.Errorf("%d at the same time, want 4 at most", n)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	var times [2]atomic.Int64
	shop := newTenant(t, func(w http.ResponseWriter, n int, _ received) {
		times[min(n, 2)-1].Store(time.Now().UnixNano())
		if n == 1 {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	r := start(t, one(shop.URL, ", retry: [1ms]"))
	r.push("application/json", callback(item("1", "sending", "1")))
	shop.wait(2)
	if d := time.Duration(times[1].Load() - times[0].Load()); d < 1900*time.Millisecond {
		t.Errorf("asked to wait 2 s, it waited %s", d)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := newTenant(t, nil)
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	r := start(t, one(shop.URL, ", retry: [1ms]"))
	r.push("application/json", callback(item("1", "sending", "1")))
	until(t, "it is a dead letter", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="shop/orders",state="dead"}`) == "1"
	})
	if len(elsewhere.all()) != 0 || len(shop.all()) != 2 {
		t.Errorf("%d requests here and %d there", len(shop.all()), len(elsewhere.all()))
	}
}

func TestAnAnswerThatNeverEndsIsATimeoutAndALongOneIsCutOff(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, n int, _ received) {
		if n == 1 {
			for range 200 { // slower than the timeout, and shorter than what is read
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
			return
		}
		for range 1 << 14 {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	})
	r := start(t, one(shop.URL, ", retry: ["+strings.Repeat("1ms, ", 20)+"1h], timeout: 2s"))
	r.push("application/json", callback(item("1", "sending", "1")))
	until(t, "the long answer counts as delivered", func() bool {
		return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == "1"
	})
	if entries := r.logs.FilterMessage("attempt").FilterFieldKey("error").All(); len(entries) == 0 ||
		!strings.HasPrefix(entries[0].ContextMap()["error"].(string), "timeout") {
		t.Errorf("%+v", entries)
	}
}

func TestAReceiverThatSpokeToKuaidihelpBeforeGetsItsFormat(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	r := start(t, one(shop.URL, ", format: kuaidihelp"))
	it := item("1", "sending", "1")
	r.push("application/json", `{"type":"express_sub_msg","data":`+it+`}`)
	if got := shop.wait(1)[0].body; got != callback(it) {
		t.Errorf("body %s", got)
	}
}

func TestRoutesDecideWhoGetsWhat(t *testing.T) {
	t.Parallel()
	signed, changed, when := newTenant(t, nil), newTenant(t, nil), newTenant(t, nil)
	r := start(t, `
tenants:
  - name: t
    endpoints:
      - {name: signed, url: "`+signed.URL+`", secrets: [`+secret+`]}
      - {name: changed, url: "`+changed.URL+`", secrets: [`+secret+`]}
      - {name: when, url: "`+when.URL+`", secrets: [`+secret+`]}
    routes:
      - {to: signed, match: {status: [signed, question], waybill_code: "77*"}}
      - {to: changed, match: {changed: status}}
      - {to: when, when: 'len(event.tracks) > 0 and event.tracks[0].time == "3"'}
`)
	for _, it := range []string{item("771", "sending", "1"), item("771", "sending", "2"), item("771", "signed", "3"),
		item("881", "signed", "4")} {
		r.push("application/json", callback(it))
	}
	until(t, "all are delivered", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="t/changed",state="open"}`) == "0" &&
			r.metric(`kuairelay_deliveries_total{endpoint="t/changed",outcome="delivered"}`) == "3" &&
			r.metric(`kuairelay_deliveries_total{endpoint="t/signed",outcome="delivered"}`) == "1" &&
			r.metric(`kuairelay_deliveries_total{endpoint="t/when",outcome="delivered"}`) == "1"
	})
	until(t, "only the second event was owed to nobody", func() bool {
		return r.metric(`kuairelay_events_total{result="unrouted"}`) == "1"
	})
}

func TestWithManyEndpointsOnlyThoseThatHoldSomethingHaveQueueMetrics(t *testing.T) {
	t.Parallel()
	var yaml strings.Builder
	yaml.WriteString("redis: {url: '" + redisserver.Start(t).URL() + "'}\ntenants:\n  - name: t\n    endpoints:\n")
	for i := range 300 {
		yaml.WriteString("      - {name: e" + strconv.Itoa(i) + ", url: 'http://127.0.0.1:1', secrets: [" + secret + "]}\n")
	}
	yaml.WriteString("    routes: [{to: e7}]\n")
	r := start(t, yaml.String())
	r.push("application/json", callback(item("1", "sending", "1")))
	until(t, "the busy endpoint is shown", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="t/e7",state="open"}`) == "1"
	})
	_, all := r.get(r.admin + "/metrics")
	if n := strings.Count(all, "kuairelay_queue_oldest_age_seconds{"); n != 1 {
		t.Errorf("%d endpoints are shown", n)
	}
	if strings.Contains(all, `kuairelay_attempt_duration_seconds_bucket{endpoint=`) {
		t.Error("a histogram has an endpoint label")
	}
}
