package deliver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// agenda is a store with a delivery that falls due at a time, and notes when it was asked what is due, and for what is.
type agenda struct {
	memory
	due time.Time

	mu            sync.Mutex
	began         time.Time
	looks, leases []time.Duration // since began
}

func (a *agenda) Due(_ context.Context, within time.Duration, _, _ int) ([]queue.DueEndpoint, error) {
	if within != lookAhead {
		return nil, nil // the janitor
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks = append(a.looks, time.Since(a.began))
	if a.due.IsZero() || time.Until(a.due) > within {
		return nil, nil
	}
	return []queue.DueEndpoint{{Endpoint: "t/a", At: a.due}}, nil
}

func (a *agenda) Lease(context.Context, []queue.LeaseRequest) ([]*event.Delivery, []queue.LeaseProgress, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leases = append(a.leases, time.Since(a.began))
	return nil, []queue.LeaseProgress{{}}, nil
}

// within says whether one of some times is at most 50 ms after another.
func within(all []time.Duration, at time.Duration) bool {
	return slices.ContainsFunc(all, func(d time.Duration) bool { return at <= d && d <= at+50*time.Millisecond })
}

// The store is asked once a second. What falls due before that is not late.
func TestWhatFallsDueBetweenTwoLooksIsLeasedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &agenda{began: time.Now(), due: time.Now().Add(1300 * time.Millisecond)}
		runPool(t, a, newEndpoint(t, "http://127.0.0.1:1"))
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		if !within(a.leases, 1300*time.Millisecond) || a.leases[0] < 1300*time.Millisecond {
			t.Errorf("leased after %v", a.leases)
		}
	})
}

func TestARetryIsLookedForWhenItIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &agenda{began: time.Now()}
		e := newEndpoint(t, "http://127.0.0.1:1") // nothing listens there
		e.Policy.Retry = []time.Duration{300 * time.Millisecond}
		p := runPool(t, a, e)
		a.failures.Store(2) // it is not given up for that
		p.Start(map[string]int{}, []*event.Delivery{newDelivery(time.Minute)})
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		os := a.outcomes()
		if len(os) != 1 || os[0].Kind != queue.Retry {
			t.Fatalf("settled: %+v", os)
		}
		if due := os[0].Due.Sub(a.began); !within(a.looks, due) {
			t.Errorf("due after %s, and looked for after %v", due, a.looks)
		}
	})
}

// runPool runs a pool until the bubble ends.
func runPool(t *testing.T, s Store, e *Endpoint) *Pool {
	t.Helper()
	p, err := New(
		Options{Store: s, Settings: Settings{Egress: loopback, OrphanGrace: time.Hour, Endpoints: []*Endpoint{e}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { time.Sleep(time.Minute) }) // the crew's goroutines rest, and then end
	runs(t, p)
	return p
}

// What a dead replica held is attempted by another after that time, and a live one has to end its attempt, and to
// settle it, before.
func TestALeaseLastsForTwoAttemptsAndSomeTimeToSettle(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, "http://127.0.0.1:1")
	j := newJanitor(t, &memory{}, Settings{Egress: loopback, Endpoints: []*Endpoint{e}})
	if got := j.pool.Lease(e.Name); got != 2*e.Timeout+5*time.Second {
		t.Errorf("%s for a timeout of %s", got, e.Timeout)
	}
}

// stocked is a store that has deliveries for t/a, and whose leases fail so often before they succeed.
type stocked struct {
	agenda
	fails, left int
	asked       []int // for how many deliveries, each time that they were given
}

func (s *stocked) Lease(_ context.Context, asks []queue.LeaseRequest) (
	ds []*event.Delivery, looked []queue.LeaseProgress, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return nil, nil, errors.New("no redis")
	}
	n := min(asks[0].Most, s.left)
	s.left -= n
	s.asked = append(s.asked, asks[0].Most)
	for range n {
		ds = append(ds, newDelivery(time.Minute))
	}
	return ds, []queue.LeaseProgress{{N: n}}, nil
}

// After a lease that failed, and after one that gave as much as was asked for, the feeder asks again.
func TestTheFeederGoesOnAfterAnErrorAndWhileThereIsMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stocked{agenda: agenda{began: time.Now(), due: time.Now()}, fails: 2, left: 10}
		e := newEndpoint(t, "http://127.0.0.1:1") // nothing listens there
		e.MaxInFlight = 2
		p := runPool(t, s, e)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s.fails > 0 || s.left > 0 || len(s.outcomes()) != 10 {
			t.Errorf("%d leases are to fail, %d deliveries are left, %d settled: asked for %v", s.fails, s.left,
				len(s.outcomes()), s.asked)
		}
		if n := p.endpoint("t/a").inFlight.Load(); n != 0 {
			t.Errorf("%d slots are taken", n)
		}
	})
}
