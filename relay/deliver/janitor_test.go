package deliver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// attic is a store with a delivery to an endpoint that is in no config, which is due in a day.
type attic struct {
	memory
	left *event.Delivery
}

func (a *attic) Due(_ context.Context, within time.Duration, _, _ int) ([]queue.DueEndpoint, error) {
	if a.left == nil || within < 24*time.Hour {
		return nil, nil
	}
	return []queue.DueEndpoint{{Endpoint: a.left.Endpoint, At: time.Now().Add(24 * time.Hour)}}, nil
}

func (a *attic) Orphans(_ context.Context, unknown []string, _ time.Duration) ([]string, error) {
	return unknown, nil
}

func (a *attic) Lease(_ context.Context, asks []queue.LeaseRequest) ([]*event.Delivery, []queue.LeaseProgress, error) {
	if a.left == nil || asks[0].Endpoint != a.left.Endpoint || !asks[0].Parked {
		return nil, []queue.LeaseProgress{{}}, nil
	}
	return []*event.Delivery{a.left}, []queue.LeaseProgress{{N: 1}}, nil
}

func (a *attic) Settle(ctx context.Context, outcomes ...queue.Outcome) ([]queue.Settled, error) {
	settled, err := a.memory.Settle(ctx, outcomes...)
	if err == nil {
		a.left = nil
	}
	return settled, err
}

func newJanitor(t *testing.T, s Store, set Settings) *janitor {
	t.Helper()
	p, err := New(Options{Store: s, Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	return &janitor{pool: p, aged: make(map[string]time.Time)}
}

func TestAnOrphanIsGivenUpLongBeforeItIsDueThoughTheStoreFailsOnce(t *testing.T) {
	t.Parallel()
	a := &attic{left: newDelivery(time.Minute)}
	a.failures.Store(1)
	j := newJanitor(t, a, Settings{OrphanGrace: time.Hour})
	if err := j.sweep(t.Context()); err == nil || len(a.outcomes()) != 0 {
		t.Errorf("the error of the store is lost: %v", err)
	}
	if err := j.sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if os := a.outcomes(); len(os) != 1 || os[0].Kind != queue.Dead || !strings.Contains(os[0].Reason, "for 1h0m0s") {
		t.Errorf("settled: %+v", os)
	}
}

func TestAnEndpointOfTheConfigIsNoOrphan(t *testing.T) {
	t.Parallel()
	a := &attic{left: newDelivery(time.Minute)}
	j := newJanitor(t, a, Settings{OrphanGrace: time.Hour, Egress: loopback,
		Endpoints: []*Endpoint{newEndpoint(t, "http://127.0.0.1:1")}})
	if err := j.sweep(t.Context()); err != nil || a.left == nil {
		t.Errorf("given up: %+v (%v)", a.outcomes(), err)
	}
}

func TestTheJanitorSweepsAsOftenAsTheShortestSpanAsks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ grace, age, want time.Duration }{
		{24 * time.Hour, 72 * time.Hour, time.Minute},
		{5 * time.Minute, 0, 30 * time.Second},
		{time.Millisecond, 0, 100 * time.Millisecond},
		{time.Hour, 10 * time.Minute, 6 * time.Second},
		{time.Hour, time.Second, time.Second},
	} {
		e := newEndpoint(t, "http://127.0.0.1:1")
		e.Policy.MaxAge = c.age
		j := newJanitor(t, &memory{}, Settings{OrphanGrace: c.grace, Egress: loopback, Endpoints: []*Endpoint{e}})
		if got := j.pause(); got != c.want {
			t.Errorf("a grace of %s and a max_age of %s: every %s, want %s", c.grace, c.age, got, c.want)
		}
	}
}

// parked is a store with an endpoint that is parked, which notes what the janitor asks for.
type parked struct {
	memory
	state queue.Parked
	asks  []queue.LeaseRequest
	fail  bool
}

func (p *parked) Parked(context.Context) (map[string]queue.Parked, error) {
	return map[string]queue.Parked{"t/a": p.state}, nil
}

func (p *parked) Lease(_ context.Context, asks []queue.LeaseRequest) ([]*event.Delivery, []queue.LeaseProgress, error) {
	if p.fail {
		return nil, nil, errors.New("no redis")
	}
	p.asks = append(p.asks, asks...)
	return nil, []queue.LeaseProgress{{}}, nil
}

// What waits for a person is given up after the retention, what a breaker holds back only at max_age. It takes long,
// and so is done once in a while; after an error it is done with the next sweep.
func TestTheDeliveriesOfAParkedEndpointAreLookedThroughForTheirAge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state          queue.Parked
		age, retention time.Duration
		want           time.Duration // 0: nothing is given up
	}{
		{"paused", 72 * time.Hour, 24 * time.Hour, 24 * time.Hour}, {"gone", 0, 24 * time.Hour, 24 * time.Hour},
		{"paused", time.Hour, 24 * time.Hour, time.Hour}, {"paused", 0, 0, 0},
		{queue.ParkedOpen, 72 * time.Hour, 24 * time.Hour, 72 * time.Hour}, {queue.ParkedOpen, 0, 24 * time.Hour, 0},
	} {
		e := newEndpoint(t, "http://127.0.0.1:1")
		e.Policy.MaxAge = c.age
		p := &parked{state: c.state, fail: true}
		j := newJanitor(t, p, Settings{OrphanGrace: time.Hour, Retention: c.retention, Egress: loopback,
			Endpoints: []*Endpoint{e}})
		if err := j.sweep(t.Context()); (err != nil) != (c.want > 0) {
			t.Errorf("%+v: the store fails, %v", c, err)
		}
		p.fail = false
		before := time.Now()
		for range 2 {
			if err := j.sweep(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if c.want == 0 {
			if len(p.asks) != 0 {
				t.Errorf("%+v: asked %+v", c, p.asks)
			}
			continue
		}
		if len(p.asks) != 1 || !p.asks[0].Parked || p.asks[0].OpenBefore.Before(before.Add(-c.want)) ||
			p.asks[0].OpenBefore.After(time.Now().Add(-c.want)) {
			t.Errorf("%+v: asked %+v", c, p.asks)
		}
	}
}

// Of one endpoint a round trip leases as many as its workers can do without, of many their share.
func TestALeaseIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ endpoints, want int }{{1, 64}, {4, 64}, {8, 32}, {300, 1}} {
		var all []*Endpoint
		for i := range c.endpoints {
			e := newEndpoint(t, "http://127.0.0.1:1")
			e.Name, e.MaxInFlight = "t/"+strings.Repeat("a", i+1), 1000
			all = append(all, e)
		}
		j := newJanitor(t, &memory{}, Settings{Egress: loopback, Endpoints: all})
		for _, e := range all {
			of := j.pool.endpoint(e.Name)
			of.answered.Store(1)
			j.pool.feeder.markHungry(of)
		}
		free, asks := j.pool.feeder.asks()
		if len(free) != min(c.endpoints, leaseMost) || len(asks) != len(free) ||
			slices.ContainsFunc(asks, func(a queue.LeaseRequest) bool { return a.Most != c.want }) {
			t.Errorf("%d endpoints: %d asks, the first %+v, want %d of each", c.endpoints, len(asks), asks[0], c.want)
		}
	}
}

// heap is a store with so many deliveries above max_backlog, which fails at the end.
type heap struct {
	memory
	n, sheds int
	err      error
}

func (h *heap) Backlog(context.Context, string) (int, error) { return h.n, nil }

func (h *heap) Lease(_ context.Context, asks []queue.LeaseRequest) (
	ds []*event.Delivery, looked []queue.LeaseProgress, err error) {
	h.sheds++
	if h.n <= 150 && h.err != nil {
		return nil, nil, h.err
	}
	for range min(asks[0].Most, h.n) {
		ds = append(ds, newDelivery(time.Minute))
	}
	h.n -= len(ds)
	return ds, []queue.LeaseProgress{{N: len(ds)}}, nil
}

// What is above max_backlog is given up in parts until nothing is, or the store fails.
func TestTheWholeBacklogAboveTheBoundIsGivenUp(t *testing.T) {
	t.Parallel()
	away := errors.New("no redis")
	for _, c := range []struct {
		err         error
		left, sheds int
	}{{nil, 10, 3}, {away, 60, 3}} {
		h := &heap{n: 260, err: c.err}
		e := newEndpoint(t, "http://127.0.0.1:1")
		e.MaxBacklog = 10
		j := newJanitor(t, h, Settings{Egress: loopback, Endpoints: []*Endpoint{e}})
		err := j.boundBacklog(t.Context(), j.pool.client("t/a"), queue.ParkedPaused)
		if !errors.Is(err, c.err) || h.n != c.left || h.sheds != c.sheds {
			t.Errorf("%v: %d are left after %d leases, %v", c.err, h.n, h.sheds, err)
		}
	}
}
