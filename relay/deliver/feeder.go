package deliver

import (
	"context"
	"sync"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

const (
	// lookAhead is how often the feeder asks the store for due endpoints, and how far ahead the answer reaches.
	lookAhead = time.Second
	// duePage is how many endpoints one answer lists.
	duePage = 1000
	// heldWait is how long new leases wait for outcomes that the store did not take while it was down.
	heldWait = 2 * time.Second
	// leaseMost is how many deliveries are leased in one round trip, and leaseEach how many of one endpoint. Redis settles
	// nothing while it leases: with more of one endpoint, its workers would have to wait.
	leaseMost = 256
	leaseEach = 64
)

// feeder fills free slots from the store: with retries and backlogs as they fall due, and with what other replicas left
// behind. Nobody watches for relays that have died: a delivery whose lease has lapsed is due like any other.
type feeder struct {
	pool        *Pool
	wake        chan struct{}
	look, lease complaints
	failed      bool // the latest look failed

	mu sync.Mutex
	// hungry are the endpoints that have a free slot and may have more due.
	hungry map[*endpoint]struct{}
	// next is when to ask for due endpoints again.
	next time.Time
}

func newFeeder(p *Pool) feeder {
	return feeder{
		pool:   p,
		wake:   make(chan struct{}, 1),
		hungry: make(map[*endpoint]struct{}),
		look:   complaints{log: p.log},
		lease:  complaints{log: p.log},
	}
}

// feed makes the feeder fill the endpoint's free slots.
func (f *feeder) feed(e *endpoint) {
	f.markHungry(e)
	f.wakeUp()
}

// markHungry notes that the store may have more for the endpoint than there are slots for.
func (f *feeder) markHungry(e *endpoint) {
	e.hungry.Store(true)
	f.mu.Lock()
	f.hungry[e] = struct{}{}
	f.mu.Unlock()
}

// lookBy makes the feeder ask for due endpoints at the time given at the latest.
func (f *feeder) lookBy(at time.Time) {
	f.mu.Lock()
	sooner := at.Before(f.next)
	if sooner {
		f.next = at
	}
	f.mu.Unlock()
	if sooner {
		f.wakeUp()
	}
}

func (f *feeder) wakeUp() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feeder) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-timer.C:
		}
		f.mu.Lock()
		look := !time.Now().Before(f.next)
		if look {
			f.next = time.Now().Add(lookAhead)
		}
		f.mu.Unlock()
		if look {
			f.lookForDue(ctx)
		}
		f.fill(ctx)
		f.mu.Lock()
		timer.Reset(time.Until(f.next))
		f.mu.Unlock()
	}
}

// lookForDue marks the endpoints with something due as hungry. For those that fall due before the next look, it moves
// that look forward.
func (f *feeder) lookForDue(ctx context.Context) {
	for offset := 0; ; offset += duePage {
		page, err := f.pool.o.Store.Due(ctx, lookAhead, offset, duePage)
		failed := f.failed
		f.failed = f.look.about("look for due deliveries", err)
		if f.failed {
			return
		}
		if failed { // settle first what was attempted meanwhile: its leases may have lapsed
			f.pool.AwaitHeld(ctx, heldWait)
		}
		now := f.pool.o.Store.Now()
		for _, d := range page {
			e := f.pool.endpoint(d.Endpoint)
			if e == nil || e.client.Load() == nil {
				continue // another replica may know it; if none does, the janitor ends it
			}
			if d.At.After(now) && !e.client.Load().rated() {
				f.lookBy(time.Now().Add(d.At.Sub(now) + time.Millisecond))
				continue
			}
			f.markHungry(e)
		}
		if len(page) < duePage {
			return
		}
	}
}

// fill leases for the free slots of hungry endpoints until they are full, or nothing more is due.
func (f *feeder) fill(ctx context.Context) {
	for ctx.Err() == nil {
		free, asks := f.asks()
		if len(asks) == 0 {
			return
		}

		ds, looked, err := f.pool.o.Store.Lease(ctx, asks)
		got := make(map[string][]*event.Delivery, len(asks))
		for _, d := range ds {
			got[d.Endpoint] = append(got[d.Endpoint], d)
		}

		failed := f.lease.about("lease deliveries", err)
		for i, a := range asks {
			e := free[i]
			for _, d := range got[a.Endpoint] {
				f.pool.start(e, line{d})
			}
			if n := a.Most - len(got[a.Endpoint]); n > 0 {
				e.free(int64(n)) // slots that nothing was leased for
			}

			if failed {
				continue // the next look finds it again
			}
			switch l := looked[i]; {
			case l.Limited && l.Again > 0:
				f.rest(e, l.Again)
			case l.Limited:
				e.hungry.Store(true) // it is fed when one of its attempts ends
			case l.N >= a.Most:
				f.markHungry(e)
			}
		}
		if failed {
			return
		}
	}
}

// rest makes the feeder feed an endpoint when its rate allows something again, and not before.
func (f *feeder) rest(e *endpoint, d time.Duration) {
	e.resting.Store(true)
	time.AfterFunc(d, func() {
		e.resting.Store(false)
		f.feed(e)
	})
}

// asks takes the free slots of hungry endpoints, and returns a request for each: its share of one round trip. An
// endpoint without a free slot is fed again when it has one, a resting one when its pause is over.
func (f *feeder) asks() (free []*endpoint, asks []queue.LeaseRequest) {
	f.mu.Lock()
	for e := range f.hungry {
		if len(free) == leaseMost {
			break
		}
		delete(f.hungry, e)
		if !e.resting.Load() && e.reserve() {
			e.hungry.Store(false) // before it is fed: what comes due meanwhile makes it hungry again
			free = append(free, e)
		}
	}
	f.mu.Unlock()
	asks = make([]queue.LeaseRequest, len(free))
	for i, e := range free {
		n := 1
		for n < min(leaseEach, leaseMost/len(free)) && e.reserve() {
			n++
		}
		asks[i] = queue.LeaseRequest{Endpoint: e.name, Lease: e.client.Load().lease(), Most: n}
	}
	return free, asks
}
