package relay_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// pushMany pushes one update of each of so many waybills, 50 to a callback.
func (r *running) pushMany(n int) {
	r.t.Helper()
	for from := 0; from < n; from += 50 {
		var items []string
		for i := from; i < min(n, from+50); i++ {
			items = append(items, item(fmt.Sprint("w", i), "signed", "1"))
		}
		if status, answer := r.push("application/json", callback(items...)); status != 200 {
			r.t.Fatalf("answer %d %s", status, answer)
		}
	}
}

// delivered is how many deliveries of an endpoint the relay has made.
func (r *running) delivered(endpoint string) int {
	n, _ := strconv.Atoi(r.metric(`kuairelay_deliveries_total{endpoint="` + endpoint + `",outcome="delivered"}`))
	return n
}

// Nine endpoints get everything while the tenth is stuck, in each way in which one can be.
func TestOneBadEndpointIsNoAffairOfTheOthers(t *testing.T) {
	t.Parallel()
	const events, inFlight = 300, 4
	release := make(chan struct{})
	for name, bad := range map[string]func(http.ResponseWriter, int, received){
		"hangs":  func(http.ResponseWriter, int, received) { <-release },
		"errors": func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusInternalServerError) },
		"resets": func(w http.ResponseWriter, _ int, _ received) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var now, most atomic.Int64
			stuck := newTenant(t, func(w http.ResponseWriter, n int, r received) {
				if held := now.Add(1); held > most.Load() {
					most.Store(held)
				}
				bad(w, n, r)
				now.Add(-1)
			})
			good := newTenant(t, nil)
			var eps, names strings.Builder
			for i := range 9 {
				fmt.Fprintf(&eps, "      - {name: e%d, url: '%s/%d', secrets: [%s]}\n", i, good.URL, i, secret)
				fmt.Fprintf(&names, "e%d, ", i)
			}
			r := start(t, "redis: {url: '"+redisserver.Start(t).URL()+"'}\n"+fmt.Sprintf(`
tenants:
  - name: t
    endpoints:
%s      - {name: stuck, url: '%s', secrets: [%s], max_in_flight: %d, timeout: 60s}
    routes: [{to: [%sstuck]}]
`, eps.String(), stuck.URL, secret, inFlight, names.String()))
			r.pushMany(events)
			good.wait(9 * events)
			for i := range 9 {
				until(t, "each of the nine has everything", func() bool { return r.delivered(fmt.Sprint("t/e", i)) == events })
			}
			slots := int64(inFlight)
			if name != "errors" { // it does not answer at all
				slots = 2
			}
			if n := r.delivered("t/stuck"); n != 0 || most.Load() > slots {
				t.Errorf("the stuck one has %d, and had %d requests at the same time, want %d at most", n, most.Load(), slots)
			}
			if name == "hangs" {
				close(release)
			}
		})
	}
}

// Each update is one script to accept it, and one to settle its delivery to the good endpoint: nobody asks for what is
// owed to those that hang, have no slot left, or are paused.
func TestABadEndpointCostsItsNeighboursNoRoundTrip(t *testing.T) {
	t.Parallel()
	const events = 200
	release := make(chan struct{})
	defer close(release)
	good, stuck := newTenant(t, nil), newTenant(t, func(http.ResponseWriter, int, received) { <-release })
	redis := redisserver.Start(t)
	r := start(t, "redis: {url: '"+redis.URL()+"'}\n"+fmt.Sprintf(`
tenants:
  - name: t
    api_keys: [%[4]s]
    endpoints:
      - {name: good, url: '%[1]s', secrets: [%[3]s]}
      - {name: hangs, url: '%[2]s', secrets: [%[3]s], max_in_flight: 2, timeout: 60s}
      - {name: paused, url: '%[2]s', secrets: [%[3]s]}
    routes: [{to: [good, hangs, paused]}]
`, good.URL, stuck.URL, secret, shopKey))
	if status, text, _ := r.patient("POST", "/v1/endpoints/paused/pause", shopKey, ""); status != 200 {
		t.Fatalf("answer %d %s", status, text)
	}
	push := func(from, to int) {
		for i := from; i < to; i++ {
			r.push("application/json", callback(item(fmt.Sprint("w", i), "signed", "1")))
			until(t, "the good endpoint has it", func() bool { return r.delivered("t/good") == i+1 })
		}
	}
	push(0, 5)
	until(t, "the slots are taken", func() bool { return len(stuck.all()) == 2 })
	spooled := func() int { return r.count(`kuairelay_spool_callbacks_total{result="written"}`) }
	before, spooledBefore, began := scripts(t, redis), spooled(), time.Now()
	push(5, 5+events)
	// A busy machine takes longer, in which a relay does other things, and asks twice for what Redis took too long for.
	n, took, twice := scripts(t, redis)-before, time.Since(began), spooled()-spooledBefore
	t.Logf("%d scripts for %d updates in %s, %d of them by way of the spool", n, events, took, twice)
	if n > events*5/2+3*twice+10*int(took.Seconds()) {
		t.Errorf("%d scripts for %d updates in %s, %d of them by way of the spool", n, events, took, twice)
	}
}

// scripts is how many Redis has run.
func scripts(t *testing.T, s *redisserver.Server) int {
	t.Helper()
	n, err := s.Calls("evalsha")
	must(t, err)
	return n
}

func TestAnEndpointThatFailsIsLeftAloneUntilAProbeIsAnswered(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	head := "redis: {url: '" + redisserver.Start(t).URL() + "'}\n"
	config := head + one(shop.URL, ", max_in_flight: 4, retry: [10ms, 10ms, 10ms, 10ms, 10ms, "+
		"10ms, 10ms, 10ms, 10ms, 10ms], "+
		"breaker: {failures: 5, cool_off: 300ms, max_cool_off: 600ms}")
	r, other := start(t, config), start(t, config)
	began := time.Now()
	r.pushMany(200)
	until(t, "the breaker opens", func() bool {
		return r.metric(`kuairelay_endpoint_parked{endpoint="shop/orders",state="open"}`) == "1"
	})
	until(t, "two probes fail", func() bool {
		return len(r.logs.FilterMessageSnippet("breaker stays open").All())+
			len(other.logs.FilterMessageSnippet("breaker stays open").All()) >= 2
	})
	// In flight when it opened: what two replicas have room for, and then one probe after each cool-off, the first 300 ms.
	if n, most := len(shop.all()), 5+2*4+int(time.Since(began)/(300*time.Millisecond))+1; n > most {
		t.Errorf("%d requests while it is down, want %d at most", n, most)
	}
	down.Store(false)
	until(t, "all is delivered", func() bool { return r.delivered("shop/orders")+other.delivered("shop/orders") == 200 })
	for _, x := range []*running{r, other} {
		if n := x.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="dead"}`); n != "" {
			t.Errorf("%s dead letters", n)
		}
	}
	var lines []string
	for _, x := range []*running{r, other} {
		for _, e := range x.logs.FilterMessageSnippet("breaker").All() {
			lines = append(lines, strings.SplitN(e.Message, ":", 2)[0])
		}
	}
	for _, want := range []string{"breaker opened", "breaker stays open", "breaker closed"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if r.metric(`kuairelay_breaker_changes_total{endpoint="shop/orders",state="closed"}`)+
		other.metric(`kuairelay_breaker_changes_total{endpoint="shop/orders",state="closed"}`) == "" {
		t.Error("no metric says that it closed")
	}
}

func TestAParkedEndpointKeepsNoMoreThanItsBacklogAndTheRestAreDeadLetters(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t).URL()
	s := openStores(t, db.Options{URL: redis})
	if err := s.Park(t.Context(), "shop/orders", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	// The janitors of two relays come as often as the shortest age asks for, and at the same time.
	yaml := "redis: {url: '" + redis + "'}\ndelivery: {max_age: 100s}\n" + one(shop.URL, ", max_backlog: 30")
	r := start(t, yaml)
	for range 3 {
		start(t, yaml)
	}
	r.pushMany(100)
	dead70 := func() bool { return r.metric(`kuairelay_queue_depth{endpoint="shop/orders",state="dead"}`) == "70" }
	until(t, "what is above is given up", dead70)
	dead := deadLetters(t, redis, "shop/orders")
	if dead[0].Reason != "more than max_backlog 30 deliveries at an endpoint that is paused" {
		t.Errorf("reason %q", dead[0].Reason)
	}
	if len(shop.all()) != 0 {
		t.Errorf("a paused endpoint got %d requests", len(shop.all()))
	}
	if err := s.Resume(t.Context(), "shop/orders", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	shop.wait(30)
	until(t, "the rest is delivered", func() bool {
		return r.metric(`kuairelay_queue_depth{endpoint="shop/orders",state="open"}`) == "0"
	})
	if n := len(shop.all()); n != 30 {
		t.Errorf("the endpoint got %d requests", n)
	}
}

func TestAPausedEndpointsDeliveriesEndAfterTheRetention(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusGone) })
	redis := redisserver.Start(t).URL()
	r := start(t, "redis: {url: '"+redis+"'}\nretention: 2s\ndelivery: {max_age: 100s}\n"+one(shop.URL, ""))
	r.pushMany(10)
	until(t, "all are dead letters", func() bool { return len(deadLetters(t, redis, "shop/orders")) == 10 })
	if d := deadLetters(t, redis, "shop/orders")[0]; d.Reason != "older than the retention of "+
		"2s, at an endpoint that is gone" {
		t.Errorf("reason %q", d.Reason)
	}
}

// Two replicas share the rate of an endpoint. What is counted is when requests arrive, so a second in which this
// machine did not let the test, or its Redis, run for a while says nothing, and is left out.
func TestTwoReplicasShareARateToTheSecond(t *testing.T) {
	t.Parallel()
	var arrived seconds
	shop := newTenant(t, func(http.ResponseWriter, int, received) { arrived.add() })
	redis := redisserver.Start(t)
	config := "redis: {url: '" + redis.URL() + "'}\n" + one(shop.URL, ", rate: 50")
	replicas := []*running{start(t, config), start(t, config)}
	stalls := watchStalls(t, redis)
	for i := range 400 {
		replicas[i%2].push("application/json", callback(item(fmt.Sprint("w", i), "signed", "1")))
	}
	shop.wait(400)
	least, most, judged := arrived.windows(stalls)
	t.Logf("400 at 50 a second took %s; of %d seconds without a stall the one with the fewest "+
		"had %d, that with the most %d",
		arrived.span(), judged, least, most)
	if span := arrived.span(); span < 7500*time.Millisecond {
		t.Errorf("400 at 50 a second took %s", span)
	}
	// More than the rate is never sent. Fewer may arrive where the machine is busy; one replica alone would send half of
	// them.
	if judged > 0 && (most > 55 || least < 35) {
		t.Errorf("%d to %d in a second, want 35 to 55", least, most)
	}
}

// seconds counts what arrives in each span of a second.
type seconds struct {
	mu sync.Mutex
	at []time.Time
}

func (s *seconds) add() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
}

func (s *seconds) span() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[len(s.at)-1].Sub(s.at[0])
}

// windows looks at every second that begins with an arrival, ends before the last one, and has no stall near it.
func (s *seconds) windows(stalls func() []time.Time) (least, most, judged int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	least = len(s.at)
	for i, from := range s.at {
		till := from.Add(time.Second)
		if till.After(s.at[len(s.at)-1]) {
			break
		}
		if slices.ContainsFunc(stalls(), func(at time.Time) bool {
			return at.After(from.Add(-200*time.Millisecond)) && at.Before(till.Add(200*time.Millisecond))
		}) {
			continue
		}
		n := 0
		for _, at := range s.at[i:] {
			if at.Before(till) {
				n++
			}
		}
		least, most, judged = min(least, n), max(most, n), judged+1
	}
	return least, most, judged
}

// watchStalls notes when this process did not run for a while though it wanted to, or Redis did not answer it.
func watchStalls(t *testing.T, redis *redisserver.Server) func() []time.Time {
	var mu sync.Mutex
	var at []time.Time
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if _, err := redis.Do("PING"); err != nil {
				return // the test is over
			}
			if time.Since(last) > 50*time.Millisecond {
				mu.Lock()
				at = append(at, time.Now())
				mu.Unlock()
			}
		}
	}()
	return func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(at)
	}
}
