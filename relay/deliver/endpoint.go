package deliver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"kuairelay/relay/event"
)

// endpoint is the running state of one Endpoint. It stays the same when the settings change.
type endpoint struct {
	name  string
	trust trust
	// client is nil if the endpoint is no longer in the config.
	client atomic.Pointer[client]
	// inFlight is the number of slots that are taken: by deliveries that are attempted, that wait here for an attempt, or
	// that are about to be leased.
	inFlight atomic.Int64
	// freed is closed when a slot may be free for a caller of AwaitSome; nil if nobody waits.
	freed atomic.Pointer[chan struct{}]
	// answered is when the last answer came, good or bad, in ns since the epoch. 0: there was none, or an attempt that
	// began later got none.
	answered atomic.Int64
	// quick says that the latest attempt was delivered within a tenth of the time-out: deliveries that are leased ahead
	// are then attempted long before their leases get too short.
	quick atomic.Bool
	// hungry says that the store may have more deliveries due than there were slots for.
	hungry atomic.Bool
	// resting says that the rate of the endpoint allows nothing now. The feeder comes back when it does.
	resting atomic.Bool

	// pace is how many attempts end in aheadFor, as last counted.
	pace atomic.Int64

	mu         sync.Mutex
	waiting    []line    // leased ahead, the oldest first
	running    int       // workers: attempts, and outcomes that they wait for to be settled
	settling   int       // outcomes being settled aside: no worker waits for them
	toHandBack int       // how many of waiting are to be handed back
	since      time.Time // when the attempts of ended began to be counted, for pace
	ended      int
}

// line is a leased delivery, and the deliveries behind it that have been read already, in their order. It takes one
// slot.
type line []*event.Delivery

// setClient sets the client that makes attempts from now on; nil: none does.
func (e *endpoint) setClient(c *client) {
	if was := e.client.Swap(c); was != nil {
		was.close()
	}
	e.wake()
}

// silentSlots is how many attempts an endpoint that does not answer gets at the same time.
const silentSlots = 2

// Deliveries are leased ahead for an endpoint that is quick. They keep its connections busy, and a new event is handed
// over in memory, which costs half of queueing and leasing it. No other replica can take them, so they are few: ahead
// for each attempt that the endpoint may have at the same time, or as many as it takes in aheadFor, up to aheadMost.
const (
	ahead     = 4
	aheadFor  = time.Second
	aheadMost = 512
	paceFor   = 100 * time.Millisecond // for which attempts are counted: short, to be known before a queue has formed
)

// slots is how many deliveries of the endpoint may be held at the same time. None wait here if a rate says when they
// are attempted.
func (e *endpoint) slots(c *client) int {
	switch {
	case e.answered.Load() == 0:
		return min(c.endpoint.MaxInFlight, silentSlots)
	case e.quick.Load() && !c.endpoint.Rated:
		return max(ahead*c.endpoint.MaxInFlight, min(int(e.pace.Load()), aheadMost))
	}
	return c.endpoint.MaxInFlight
}

// count counts an attempt that ended now into pace.
func (e *endpoint) count(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended++
	if span := now.Sub(e.since); span >= paceFor {
		e.pace.Store(int64(float64(e.ended) * float64(aheadFor) / float64(span)))
		e.since = now
		e.ended = 0
	}
}

// noteAttempt notes an attempt that just ended, and returns true if the endpoint has more slots now. One attempt that
// hangs takes no slots away while others are answered. When the endpoint is no longer quick, deliveries that were
// leased ahead are handed back.
func (e *endpoint) noteAttempt(a event.Attempt, timeout time.Duration) (more bool) {
	now := time.Now()
	quick := a.Err == "" && a.Status/100 == 2 && a.Duration <= timeout/10
	e.count(now)
	was := e.quick.Swap(quick)
	if was && !quick {
		e.handBack()
	}
	if a.Err == "" {
		more = e.answered.Swap(now.UnixNano()) == 0 || quick && !was
		if more {
			e.wake()
		}
		return more
	}
	if last := e.answered.Load(); last < now.Add(-a.Duration).UnixNano() {
		e.answered.CompareAndSwap(last, 0)
	}
	return false
}

func (e *endpoint) reserve() bool {
	c := e.client.Load()
	for {
		n := e.inFlight.Load()
		if c == nil || n >= int64(e.slots(c)) {
			return false
		}
		if e.inFlight.CompareAndSwap(n, n+1) {
			break
		}
	}
	if e.client.Load() == nil { // Use may not have seen that a slot is taken, and may forget the endpoint
		e.free(1)
		return false
	}
	return true
}

// admit returns true if a new worker attempts the line. Otherwise the line waits for one of the present workers.
func (e *endpoint) admit(l line) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running > 0 && e.running >= e.workers() {
		e.waiting = append(e.waiting, l)
		return false
	}
	e.running++
	return true
}

// workers is how many attempts may be made at the same time.
func (e *endpoint) workers() int {
	if c := e.client.Load(); c != nil {
		return c.endpoint.MaxInFlight
	}
	return 1
}

// nothingWaits says that no line waits for a worker.
func (e *endpoint) nothingWaits() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting) == 0
}

// nextLine returns the line that a worker attempts next. rest is what is left of its last line; nil: nothing. back says
// that the line is handed back instead of attempted. Without a line the worker ends.
func (e *endpoint) nextLine(rest line) (l line, back bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if rest != nil {
		e.waiting = append(e.waiting, rest)
	}
	l, back = e.firstWaiting()
	if l == nil {
		e.running--
	}
	return l, back
}

// nextBeforeSettling returns another line for a worker whose outcomes are not settled yet: they are then settled aside.
// nil: the worker has to settle them itself.
func (e *endpoint) nextBeforeSettling() (l line, back bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.settling >= min(e.workers(), settlingMost) {
		return nil, false
	}
	l, back = e.firstWaiting()
	if l != nil {
		e.settling++
	}
	return l, back
}

// settledAside notes that outcomes have been settled aside.
func (e *endpoint) settledAside() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settling--
}

// firstWaiting takes the first waiting line, if a worker may go on. back is true if handBack was called while the line
// waited, or if the endpoint does not answer and has as many attempts as such an endpoint gets. e.mu is held.
func (e *endpoint) firstWaiting() (l line, back bool) {
	if len(e.waiting) == 0 || e.running > e.workers() {
		return nil, false
	}

	l = e.waiting[0]
	e.waiting[0] = nil // frees it
	e.waiting = e.waiting[1:]
	if len(e.waiting) == 0 {
		e.waiting = nil
	}

	if e.toHandBack > 0 {
		e.toHandBack--
		return l, true
	}
	return l, e.answered.Load() == 0 && e.running > silentSlots
}

// handBack marks the waiting deliveries to be handed back.
func (e *endpoint) handBack() {
	e.mu.Lock()
	e.toHandBack = len(e.waiting)
	e.mu.Unlock()
}

// free gives slots back, and returns how many are still taken.
func (e *endpoint) free(n int64) (taken int64) {
	taken = e.inFlight.Add(-n)
	if c := e.client.Load(); e.freed.Load() != nil && c != nil && taken < c.someSlots() {
		e.wake()
	}
	return taken
}

// wake lets the callers of AwaitSome try again.
func (e *endpoint) wake() {
	if freed := e.freed.Swap(nil); freed != nil {
		close(*freed)
	}
}

// nextFreed returns a channel that is closed when a slot may have become free after this call.
func (e *endpoint) nextFreed() <-chan struct{} {
	for {
		if freed := e.freed.Load(); freed != nil {
			return *freed
		}
		made := make(chan struct{})
		if e.freed.CompareAndSwap(nil, &made) {
			return made
		}
	}
}

// release gives slots back, and feeds the endpoint if the store may have more. If the endpoint holds many, it waits
// until half of the slots are free, because every round trip to the store costs the same.
func (e *endpoint) release(p *Pool, n int64) {
	left := e.free(n)
	if c := e.client.Load(); e.hungry.Load() && (c == nil || left <= int64(max(e.slots(c)/2, c.endpoint.MaxInFlight))) {
		p.feeder.feed(e)
	}
}

// Rated says whether the store keeps an endpoint to a rate.
func (p *Pool) Rated(name string) bool { return p.client(name).rated() }

func (c *client) rated() bool { return c != nil && c.endpoint.Rated }

// ReserveSome is Reserve for deliveries that must not delay others. It takes a slot while fewer than a quarter of the
// endpoint's slots are taken; of four to seven slots, while fewer than two are.
func (p *Pool) ReserveSome(name string) bool {
	e, c := p.endpoint(name), p.client(name)
	if c == nil {
		return false
	}
	return e.inFlight.Load() < c.someSlots() && e.reserve()
}

// someSlots is the number of taken slots from which on ReserveSome takes no other one.
func (c *client) someSlots() int64 {
	slots := c.endpoint.MaxInFlight
	return int64(max(1, min(slots/2, max(2, slots/4))))
}

// AwaitSome waits until ReserveSome takes a slot. It returns false if ctx ends before, or if the endpoint is not in the
// config.
func (p *Pool) AwaitSome(ctx context.Context, name string) bool {
	for {
		e := p.endpoint(name)
		if e == nil {
			return false
		}

		// From here on, no change is missed.
		freed := e.nextFreed()
		if p.ReserveSome(name) {
			return true
		}
		if p.client(name) == nil {
			return false
		}

		select {
		case <-ctx.Done():
			return false
		case <-freed:
		}
	}
}
