package deliver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/signature"
)

// loopback lets tests deliver to themselves.
var loopback = Egress{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128")}}

// memory is a store of leased deliveries that only remembers what was settled.
type memory struct {
	failures atomic.Int64 // of Settle that are still to come

	mu      sync.Mutex
	settled []queue.Outcome
	calls   []int                      // how many outcomes each Settle had
	line    line                       // of one waybill, the head first; empty if there is none
	waits   func(line []queue.Outcome) // if it is there, what a Settle waits for
	twice   map[string]time.Time
}

func (m *memory) Now() time.Time { return time.Now() }
func (m *memory) Due(context.Context, time.Duration, int, int) ([]queue.DueEndpoint, error) {
	return nil, nil
}
func (m *memory) Lease(context.Context, []queue.LeaseRequest) ([]*event.Delivery, []queue.LeaseProgress, error) {
	return nil, nil, nil
}
func (m *memory) Distrust(_ context.Context, endpoint string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.twice == nil {
		m.twice = make(map[string]time.Time)
	}
	m.twice[endpoint] = time.Now()
	return nil
}
func (m *memory) Distrusted(context.Context) (map[string]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.twice), nil
}
func (m *memory) Parked(context.Context) (map[string]queue.Parked, error) { return nil, nil }
func (m *memory) TryLock(context.Context, string, time.Duration) (func(), bool, error) {
	return func() {}, true, nil
}
func (m *memory) Backlog(context.Context, string) (int, error) { return 0, nil }
func (m *memory) Orphans(context.Context, []string, time.Duration) ([]string, error) {
	return nil, nil
}
func (m *memory) Settle(ctx context.Context, line ...queue.Outcome) ([]queue.Settled, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if m.failures.Add(-1) >= 0 {
		return nil, errors.New("no redis")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waits != nil {
		m.waits(line)
	}
	m.settled, m.calls = append(m.settled, line...), append(m.calls, len(line))
	answers := make([]queue.Settled, len(line))
	for i, o := range line {
		if len(m.line) == 0 || m.line[0] != o.Delivery || o.Kind != queue.Delivered {
			continue
		}
		m.line = m.line[1:]
		if o.Next == 0 || len(m.line) == 0 {
			continue
		}
		answers[i].Leased, answers[i].Line = true, m.line[o.Held:min(max(1, o.Held)+o.Wanted, len(m.line))]
		if o.Held == 0 {
			answers[i].Next, answers[i].Line = m.line[0], answers[i].Line[1:]
		}
	}
	return answers, nil
}

func (m *memory) outcomes() []queue.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]queue.Outcome(nil), m.settled...)
}

func newDelivery(leaseLeft time.Duration) *event.Delivery {
	return &event.Delivery{Event: &event.Event{ID: "evt_1", Type: event.TypeWaybill, Data: []byte(`{}`),
		AcceptedAt: time.Now()},
		Endpoint: "t/a", Reason: event.ReasonNew, Since: time.Now(), LeaseEnds: time.Now().Add(leaseLeft)}
}

// newPool runs a pool with one endpoint that answers 200, and counts its requests.
func newPool(t *testing.T, m *memory) (p *Pool, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	return poolTo(t, m, loopback, server.URL), requests
}

// poolTo runs a pool with one endpoint.
func poolTo(t *testing.T, m *memory, egress Egress, url string) *Pool {
	t.Helper()
	key, err := signature.ParseKey(signature.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(
		Options{Store: m, Settings: Settings{Egress: egress,
			Endpoints: []*Endpoint{{Name: "t/a", URL: url, Keys: []Key{{Key: key}},
				Timeout: 10 * time.Second, MaxInFlight: 2, Policy: Policy{MaxAge: time.Hour}}}}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, p)
	return p
}

// runs runs a pool until the test ends, or its bubble.
func runs(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestNoAttemptStartsThatCouldOutliveItsLease(t *testing.T) {
	t.Parallel()
	m := &memory{}
	p, requests := newPool(t, m)
	p.Start(map[string]int{}, []*event.Delivery{newDelivery(9 * time.Second)})
	wait(t, "it is handed back", func() bool { return len(m.outcomes()) == 1 })
	if o := m.outcomes()[0]; o.Kind != queue.Released || o.Attempt != nil || requests.Load() != 0 {
		t.Errorf("%+v after %d requests", o, requests.Load())
	}
}

func TestADeliveryPastMaxAgeIsNotAttempted(t *testing.T) {
	t.Parallel()
	m := &memory{}
	p, requests := newPool(t, m)
	d := newDelivery(time.Minute)
	d.Since = time.Now().Add(-2 * time.Hour)
	p.Start(map[string]int{}, []*event.Delivery{d})
	wait(t, "it is given up", func() bool { return len(m.outcomes()) == 1 })
	if o := m.outcomes()[0]; o.Kind != queue.Dead || !strings.Contains(o.Reason, "max_age") || requests.Load() != 0 {
		t.Errorf("%+v after %d requests", o, requests.Load())
	}
}

// answering dials a receiver that answers each request at once, or when the test lets it. No network is between them:
// in a bubble, time stands still meanwhile. Its connections end with the test.
func answering(t *testing.T, answer func(*http.Request) int) Egress {
	t.Helper()
	return Egress{Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })
		go func() {
			in := bufio.NewReader(theirs)
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				say(theirs, fmt.Sprintf("HTTP/1.1 %d Answer\r\nContent-Length: 0\r\n\r\n", answer(r)))
			}
		}()
		return ours, nil
	}}
}

func TestALineIsAttemptedInRunsAndEachEndsWithAFailure(t *testing.T) {
	t.Parallel()
	const failing = 50
	for _, c := range []struct {
		name  string
		takes time.Duration // each answer
		calls func(calls []int) bool
	}{
		{"quick", 0, func(calls []int) bool { return slices.Max(calls) > 1 && slices.Max(calls) <= partMost }},
		{"slow", partFor + time.Millisecond, func(calls []int) bool { return slices.Max(calls) == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got []string // one is attempted at a time
				egress := answering(t, func(r *http.Request) int {
					time.Sleep(c.takes)
					if got = append(got, r.Header.Get("Kuairelay-Sequence")); len(got) > failing {
						return http.StatusInternalServerError
					}
					return http.StatusOK
				})
				key, err := signature.ParseKey(signature.NewSecret())
				if err != nil {
					t.Fatal(err)
				}
				m := &memory{}
				for i := range 2 * failing {
					d := newDelivery(time.Hour)
					d.Event.Sequence = int64(i)
					m.line = append(m.line, d)
				}
				p, err := New(
					Options{Store: m, Settings: Settings{Egress: egress,
						Endpoints: []*Endpoint{{Name: "t/a", URL: "http://receiver.example/", Keys: []Key{{Key: key}},
							Timeout: time.Minute, MaxInFlight: 4, Policy: Policy{MaxAge: time.Hour, Retry: []time.Duration{time.Hour}}}}}})
				if err != nil {
					t.Fatal(err)
				}
				p.Start(map[string]int{}, []*event.Delivery{m.line[0]})
				p.working.Wait()
				for i, sequence := range got {
					if sequence != strconv.Itoa(i) {
						t.Fatalf("attempt %d is of update %s", i, sequence)
					}
				}
				os := m.outcomes()
				if len(got) != failing+1 || len(os) != failing+1 || os[failing].Kind != queue.Retry {
					t.Errorf("%d attempts, %d outcomes, the last is %c", len(got), len(os), os[len(os)-1].Kind)
				}
				if !c.calls(m.calls) {
					t.Errorf("they were settled in calls of %v", m.calls)
				}
				time.Sleep(time.Minute) // the crew's goroutines rest, and then end
			})
		})
	}
}

func TestTheNextOfALineAreAttemptedWhileTheOnesBeforeAreSettled(t *testing.T) {
	t.Parallel()
	const all = 200
	m := &memory{}
	for range all {
		m.line = append(m.line, newDelivery(time.Hour))
	}
	// Over a network, an attempt may take so long on a busy machine that each is settled before the next is made.
	requests := new(atomic.Int64)
	p := poolTo(t, m, answering(t, func(*http.Request) int { requests.Add(1); return http.StatusOK }),
		"http://receiver.example/")
	aside := 0
	m.waits = func(line []queue.Outcome) {
		if line[len(line)-1].Held > 0 {
			aside++
			wait(t, "an attempt beyond what is being settled", func() bool {
				return int(requests.Load()) > len(m.settled)+len(line)
			})
		}
	}
	p.Start(map[string]int{}, []*event.Delivery{m.line[0]})
	wait(t, "all are settled", func() bool { return len(m.outcomes()) == all })
	if n := requests.Load(); n != all {
		t.Errorf("%d attempts of %d", n, all)
	}
	if m.mu.Lock(); aside == 0 {
		t.Error("none was settled while the next were attempted")
	}
	m.mu.Unlock()
}

func TestAnOutcomeIsHeldUntilTheStoreTakesIt(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.failures.Store(1_000_000)
	p, requests := newPool(t, m)
	for i, want := range []bool{true, true, false} {
		if got := p.Reserve("t/a"); got != want {
			t.Fatalf("slot %d: %t, and there are two", i+1, got)
		}
	}
	p.Start(map[string]int{"t/a": 2}, []*event.Delivery{newDelivery(time.Minute)})
	wait(t, "the attempt is made", func() bool { return requests.Load() == 1 })
	wait(t, "the outcome is held", func() bool { return p.Held() == 1 })
	for i := range 8 {
		if got := p.Reserve("t/a"); got != (i < 7) {
			t.Errorf("slot %d: %t, and one of eight is held by the unsettled outcome", i+1, got)
		}
	}
	m.failures.Store(0)
	p.Start(map[string]int{"t/a": 7}, nil)
	wait(t, "it is settled", func() bool { return len(m.outcomes()) == 1 })
	if o := m.outcomes()[0]; o.Kind != queue.Delivered || requests.Load() != 1 {
		t.Errorf("%+v after %d requests", o, requests.Load())
	}
	wait(t, "all slots are free", func() bool { return p.endpoint("t/a").inFlight.Load() == 0 })
}

func TestADeliveryWhoseEndTheStoreDoesNotTakeIsNotCountedAsEnded(t *testing.T) {
	t.Parallel()
	p, err := New(Options{Store: &memory{}})
	if err != nil {
		t.Fatal(err)
	}
	counted := func() int {
		series := make(chan prometheus.Metric, 10)
		p.metrics.deliveries.Collect(series)
		return len(series)
	}
	for _, kind := range []queue.OutcomeKind{queue.Dead, queue.Delivered} {
		o := queue.Outcome{Delivery: newDelivery(time.Minute), Kind: kind}
		p.report(o, queue.Settled{}, errors.New("no redis"))
		p.report(o, queue.Settled{Late: true}, nil)
	}
	if n := counted(); n != 0 {
		t.Errorf("%d outcomes are counted", n)
	}
	p.report(queue.Outcome{Delivery: newDelivery(time.Minute), Kind: queue.Dead}, queue.Settled{}, nil)
	if n := counted(); n != 1 {
		t.Errorf("%d outcomes are counted", n)
	}
}

func TestLeasesOfAnotherCallersSlotsKeepTheSum(t *testing.T) {
	t.Parallel()
	m := &memory{}
	p, _ := newPool(t, m)
	if !p.Reserve("t/a") {
		t.Fatal("no slot")
	}
	p.Start(map[string]int{}, []*event.Delivery{newDelivery(time.Minute)}) // got the lease, had no slot
	p.Start(map[string]int{"t/a": 1}, nil)                                 // had the slot, got no lease
	wait(t, "all slots are free", func() bool { return len(m.outcomes()) == 1 && p.endpoint("t/a").inFlight.Load() == 0 })
}

func TestNetworkErrorsAreNamedByTheirClass(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	reset := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}))
	t.Cleanup(reset.Close)
	secure := httptest.NewTLSServer(nil)
	t.Cleanup(secure.Close)
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(release) })
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			_, _ = conn.Write([]byte("HTTP/1.1 {\"phone\":\"13800138000\"}" + strings.Repeat("x", 1<<20) + "\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	key, err := signature.ParseKey(signature.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	for url, class := range map[string]string{
		closed.URL: "refused: nothing listens at 127.0.0.1:",
		reset.URL:  "reset: ", secure.URL: "tls: ", silent.URL: "timeout: ",
		"http://" + echo.Addr().String(): "protocol: ",
	} {
		timeout := time.Minute
		if url == silent.URL {
			timeout = 100 * time.Millisecond
		}
		c, err := newClient(&Endpoint{URL: url, Keys: []Key{{Key: key}}, Timeout: timeout, MaxInFlight: 1}, loopback, "test")
		if err != nil {
			t.Fatal(err)
		}
		a := c.post(t.Context(), newDelivery(time.Minute), time.Now())
		if !strings.HasPrefix(a.Err, class) || len(a.Err) > 250 || strings.Contains(a.Err, "13800138000") {
			t.Errorf("%s: %q, want %s", url, a.Err, class)
		}
		c.close()
	}
	if got := describeError(&net.OpError{Op: "dial",
		Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}); !strings.HasPrefix(got, "dns: ") {
		t.Errorf("a name that does not resolve: %q", got)
	}
}

func TestBodiesOfEventsWithOddTypesAndStatuses(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 8*3600))
	for _, c := range []struct{ format, typ, status, want string }{
		{"standard", event.TypeWaybill, "signed", `{"type":"waybill.signed",` +
			`"timestamp":"2026-01-01T19:04:05.678Z","data":{"a":1}}`},
		{"standard", event.TypeWaybill, "",
			`{"type":"waybill.updated","timestamp":"2026-01-01T19:04:05.678Z","data":{"a":1}}`},
		{"standard", event.TypeWaybill, "已签收\"", `{"type":"waybill.updated",` +
			`"timestamp":"2026-01-01T19:04:05.678Z","data":{"a":1}}`},
		{"standard", "print_status", "", `{"type":"callback.print_status",` +
			`"timestamp":"2026-01-01T19:04:05.678Z","data":{"a":1}}`},
		{"standard", "a\"b", "", `{"type":"callback.other","timestamp":"2026-01-01T19:04:05.678Z","data":{"a":1}}`},
		{"standard", event.TypeTest, "signed", `{"type":"test","timestamp":"2026-01-01T19:04:05.678Z","data":{"a":1}}`},
		{"kuaidihelp", event.TypeWaybill, "signed", `{"type":"express_sub_msg","data":[{"a":1}]}`},
		{"kuaidihelp", "print_status", "", `{"a":1}`},
	} {
		got := Body(c.format, &event.Event{Type: c.typ, Status: c.status, Data: []byte(`{"a":1}`), AcceptedAt: at})
		if string(got) != c.want {
			t.Errorf("%s %s %s: %s", c.format, c.typ, c.status, got)
		}
	}
}

func TestAnEndpointHasAllItsSlotsOnlyWhileItAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 5 * time.Second
		e := &endpoint{}
		e.client.Store(&client{endpoint: Endpoint{MaxInFlight: 32}})
		quick := event.Attempt{Status: 200, Duration: timeout / 10}
		refuses, hangs := event.Attempt{Status: 500, Duration: time.Second},
			event.Attempt{Err: "timeout", Duration: 10 * time.Second}
		for _, step := range []struct {
			ended event.Attempt
			after time.Duration // since the one before ended
			slots int
			more  bool
		}{
			{hangs, 10 * time.Second, 2, false},
			{refuses, time.Second, 32, true},
			{refuses, time.Second, 32, false},
			{hangs, 9 * time.Second, 32, false}, // another was answered meanwhile
			{hangs, 2 * time.Second, 2, false},
			{hangs, time.Second, 2, false},
			{refuses, time.Second, 32, true},
			{quick, time.Second, ahead * 32, true},
			{quick, time.Second, ahead * 32, false},
			{hangs, time.Second, 32, false},
		} {
			time.Sleep(step.after)
			more, slots := e.noteAttempt(step.ended, timeout), 0
			for e.reserve() {
				slots++
			}
			e.inFlight.Store(0)
			if slots != step.slots || more != step.more {
				t.Errorf("%d slots, more %v, want %+v", slots, more, step)
			}
		}
	})
}

func TestWhatIsHeldAheadGrowsWithWhatTheEndpointTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		c := &client{endpoint: Endpoint{MaxInFlight: 32}}
		for _, step := range []struct {
			attempts int
			in       time.Duration
			slots    int
		}{
			{100, 2 * time.Second, ahead * 32},
			{800, 2 * time.Second, 400},
			{10_000, 2 * time.Second, aheadMost},
			{2, 20 * time.Second, ahead * 32},
		} {
			for range step.attempts {
				time.Sleep(step.in / time.Duration(step.attempts))
				e.noteAttempt(event.Attempt{Status: 200, Duration: time.Millisecond}, time.Second)
			}
			if got := e.slots(c); got != step.slots {
				t.Errorf("%d slots after %+v", got, step)
			}
		}
	})
}

func TestAWorkerDoesNotWaitForTheStoreWhileOthersWaitForIt(t *testing.T) {
	t.Parallel()
	const all = 10
	m := &memory{}
	m.failures.Store(1 << 40)
	p, requests := newPool(t, m) // with two workers
	var ds []*event.Delivery
	for range all {
		ds = append(ds, newDelivery(time.Hour))
	}
	p.Start(map[string]int{}, ds)
	wait(t, "both workers wait, after as many outcomes were put aside", func() bool { return p.Held() == 4 })
	if n := requests.Load(); n != 4 {
		t.Errorf("%d attempts while nothing can be settled", n)
	}
	m.failures.Store(0)
	wait(t, "all are settled", func() bool { return len(m.outcomes()) == all })
	for _, o := range m.outcomes() {
		if o.Kind != queue.Delivered {
			t.Errorf("%+v", o)
		}
	}
	wait(t, "the slots are free", func() bool { return p.endpoint("t/a").inFlight.Load() == 0 })
}

func TestWhatIsLeasedAheadWaitsForAnAttemptToEnd(t *testing.T) {
	t.Parallel()
	const workers, all = 8, 40
	key, err := signature.ParseKey(signature.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]map[queue.OutcomeKind]int{
		http.StatusOK:   {queue.Delivered: all},
		0:               {queue.Retry: workers, queue.Released: all - workers}, // cut off
		http.StatusGone: {queue.Gone: workers, queue.Released: all - workers},
	} {
		var now, most atomic.Int64
		proceed := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			defer now.Add(-1)
			if n := now.Add(1); n > workers {
				most.Store(n)
			}
			<-proceed
			if status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(status)
		}))
		m := &memory{}
		p, err := New(
			Options{Store: m, Settings: Settings{Egress: loopback,
				Endpoints: []*Endpoint{{Name: "t/a", URL: server.URL, Keys: []Key{{Key: key}},
					Timeout: time.Minute, MaxInFlight: workers,
					Policy: Policy{MaxAge: time.Hour, Retry: []time.Duration{time.Hour}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		e := p.endpoint("t/a")
		e.inFlight.Store(all)
		for range all {
			p.start(e, line{newDelivery(10 * time.Minute)})
		}
		wait(t, "as many attempts as there may be", func() bool { return now.Load() == workers })
		close(proceed)
		p.working.Wait()
		got := make(map[queue.OutcomeKind]int)
		for _, o := range m.outcomes() {
			got[o.Kind]++
		}
		if !maps.Equal(got, want) || most.Load() > 0 || e.inFlight.Load() != 0 {
			t.Errorf("answer %d: %v, want %v; %d slots taken, %d attempts at the same time", status, got, want,
				e.inFlight.Load(), most.Load())
		}
		server.Close()
	}
}

func TestFullEndpointsWithABacklogDoNotHideAHealthyOne(t *testing.T) {
	t.Parallel()
	key, err := signature.ParseKey(signature.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	var eps []*Endpoint
	for i := range 2000 {
		eps = append(eps, &Endpoint{Name: fmt.Sprint("t/", i), URL: "http://127.0.0.1:1", Keys: []Key{{Key: key}},
			MaxInFlight: 1})
	}
	p, err := New(Options{Store: &memory{}, Settings: Settings{Egress: loopback, Endpoints: eps}})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range eps {
		if i != 1234 && !p.Reserve(e.Name) {
			t.Fatal("no slot")
		}
		p.feeder.hungry[p.endpoint(e.Name)] = struct{}{}
	}
	if _, asks := p.feeder.asks(); len(asks) != 1 || asks[0].Endpoint != "t/1234" {
		t.Errorf("asks: %+v", asks)
	}
}

// A reload may take an endpoint out of the config while its deliveries wait here.
func TestADeliveryWhoseEndpointIsGoneIsHandedBack(t *testing.T) {
	t.Parallel()
	p, requests := newPool(t, &memory{})
	e := p.endpoint("t/a")
	if err := p.Use(Settings{Egress: loopback}); err != nil {
		t.Fatal(err)
	}
	if o := p.attempt(e, newDelivery(time.Hour)); o.Kind != queue.Released || requests.Load() != 0 {
		t.Errorf("%+v after %d requests", o, requests.Load())
	}
	e.inFlight.Store(0)
	if e.reserve() || e.inFlight.Load() != 0 {
		t.Errorf("a slot of it is reserved: %d in flight", e.inFlight.Load())
	}
}
