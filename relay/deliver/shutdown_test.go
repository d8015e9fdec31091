package deliver

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
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

// newEndpoint is t/a at the URL, with two slots.
func newEndpoint(t *testing.T, url string) *Endpoint {
	t.Helper()
	key, err := signature.ParseKey(signature.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	return &Endpoint{Name: "t/a", URL: url, Keys: []Key{{Key: key}}, Timeout: 10 * time.Second, MaxInFlight: 2,
		Policy: Policy{MaxAge: time.Hour, Retry: []time.Duration{time.Hour}}}
}

func TestAnAttemptThatIsCutOffAtTheEndOfTheGraceIsWrittenDown(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began <- struct{}{}
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	m := &memory{}
	p, err := New(Options{Store: m, ShutdownGrace: 10 * time.Millisecond,
		Settings: Settings{Egress: loopback, Endpoints: []*Endpoint{newEndpoint(t, server.URL)}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()

	p.Start(map[string]int{}, []*event.Delivery{newDelivery(time.Minute)})
	<-began
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if os := m.outcomes(); len(os) != 1 || os[0].Kind == queue.Delivered {
		t.Errorf("the next replica has to wait for the lease to lapse: %+v", os)
	}
}

func TestAPoolThatHasEndedAttemptsNothing(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	m := &memory{}
	p, err := New(
		Options{Store: m, Settings: Settings{Egress: loopback, Endpoints: []*Endpoint{newEndpoint(t, server.URL)}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}

	p.Start(map[string]int{}, []*event.Delivery{newDelivery(time.Minute)})
	p.working.Wait()
	if n, settled := requests.Load(), m.outcomes(); n != 0 || len(settled) != 0 {
		t.Errorf("%d requests, and calls of a store that may be closed: %+v", n, settled)
	}
}

// outage is a store that is away until back is closed, and takes outcomes only after it was asked for what is due.
type outage struct {
	memory
	back  chan struct{}
	mu    sync.Mutex
	order []string // of the calls that succeeded
}

func (o *outage) did(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.order = append(o.order, what)
}

func (o *outage) done() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.order)
}

func (o *outage) Due(context.Context, time.Duration, int, int) ([]queue.DueEndpoint, error) {
	select {
	case <-o.back:
		o.did("due")
		return []queue.DueEndpoint{{Endpoint: "t/a", At: time.Now()}}, nil
	default:
		return nil, errors.New("no redis")
	}
}

func (o *outage) Lease(context.Context, []queue.LeaseRequest) ([]*event.Delivery, []queue.LeaseProgress, error) {
	o.did("lease")
	return nil, []queue.LeaseProgress{{}}, nil
}

func (o *outage) Settle(ctx context.Context, outcomes ...queue.Outcome) ([]queue.Settled, error) {
	if len(o.done()) == 0 {
		return nil, errors.New("no redis")
	}
	o.did("settle")
	return o.memory.Settle(ctx, outcomes...)
}

func TestAfterAnOutageHeldOutcomesAreSettledBeforeAnythingIsLeased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // it waits for them for a while only
		o := &outage{back: make(chan struct{})}
		p, err := New(Options{Store: o, Settings: Settings{Egress: answering(t, func(*http.Request) int { return 200 }),
			Endpoints: []*Endpoint{newEndpoint(t, "http://receiver.example/")}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { time.Sleep(time.Minute) }) // the crew's goroutines rest, and then end
		runs(t, p)

		p.Start(map[string]int{}, []*event.Delivery{newDelivery(time.Minute)})
		wait(t, "the outcome is held", func() bool { return p.Held() == 1 })
		close(o.back)
		wait(t, "it leases again", func() bool { return slices.Contains(o.done(), "lease") })
		if got := o.done(); slices.Index(got, "lease") < slices.Index(got, "settle") || !slices.Contains(got, "settle") {
			t.Errorf("what was attempted meanwhile may be attempted again: %v", got)
		}
	})
}

func TestTheLatencyOfDeliveriesIsThatOfTheDelivered(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	m.use(1, nil)
	count := func() (n uint64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "kuairelay_delivery_latency_seconds" {
				for _, series := range f.GetMetric() {
					n += series.GetHistogram().GetSampleCount()
				}
			}
		}
		return n
	}

	d := newDelivery(time.Minute)
	for _, step := range []struct {
		kind    queue.OutcomeKind
		settled bool
		want    uint64
	}{{queue.Retry, true, 0}, {queue.Dead, true, 0}, {queue.Delivered, false, 0}, {queue.Delivered, true, 1}} {
		m.observe(queue.Outcome{Delivery: d, Kind: step.kind, Attempt: &event.Attempt{Status: 200}}, step.settled, time.Now())
		if n := count(); n != step.want {
			t.Errorf("after outcome %c (settled: %t) %d latencies were observed, want %d", step.kind, step.settled, n, step.want)
		}
	}
}

// A histogram is a dozen series: of many endpoints there is one for all.
func TestTheTimesOfManyEndpointsAreOneSeries(t *testing.T) {
	t.Parallel()
	for _, labelled := range []bool{false, true} {
		h := newHistograms(labelled)
		h.duration.WithLabelValues(h.of("t/a")...).Observe(1)
		h.duration.WithLabelValues(h.of("t/b")...).Observe(1)
		series := make(chan prometheus.Metric, 9)
		h.duration.Collect(series)
		if n, want := len(series), map[bool]int{false: 1, true: 2}[labelled]; n != want {
			t.Errorf("by endpoint %t: %d series of two endpoints", labelled, n)
		}
	}
}
