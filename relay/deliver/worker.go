package deliver

import (
	"context"
	"math/rand/v2"
	"time"

	"kuairelay/relay/event"
)

// work attempts a line, and then what waits: the rest of that line last. What is not attempted any more is handed back. After a delivery
// the worker does not wait if others do: it is settled aside. If the relay dies, what is being settled comes again: so that is as many as
// there may be attempts at most.
func (p *Pool) work(e *endpoint, l line) {
	defer p.working.Done()
	for back := false; l != nil; {
		outcomes := []event.Outcome{{Delivery: l[0], Kind: event.Released}}
		if !back {
			outcomes = p.run(e, l)
		}
		if outcomes[len(outcomes)-1].Kind == event.Delivered {
			if l, back = e.turnAside(); l != nil {
				p.working.Add(1)
				p.workers.Go(func() { p.finish(e, outcomes) })
				continue
			}
		}
		l, back = e.turn(p.end(e, outcomes))
	}
}

// asideMost is enough to keep the store busy, however many attempts there are.
const asideMost = 64

// finish settles outcomes aside, and has what comes next in their line attempted.
func (p *Pool) finish(e *endpoint, outcomes []event.Outcome) {
	rest := p.end(e, outcomes)
	e.mu.Lock()
	e.aside--
	e.mu.Unlock()
	if rest != nil && e.begin(rest) {
		p.work(e, rest)
		return
	}
	p.working.Done()
}

// end settles the outcomes of a line, and gives its slot back, unless something comes next in it.
func (p *Pool) end(e *endpoint, outcomes []event.Outcome) (rest line) {
	if end := p.settle(e, outcomes); end.Next != nil {
		return append(line{end.Next}, end.Line...)
	}
	e.release(p, 1)
	if e.client.Load().rated() {
		p.feeder.feed(e)
	}
	return nil
}

const (
	// runFor is how long the deliveries of one line are attempted before they are settled. If the relay dies, the endpoint gets those
	// again, and the ones that are attempted meanwhile, so it is short.
	runFor = 10 * time.Millisecond
	// runMost is how many that are at most.
	runMost = 32
)

// run attempts the deliveries of a line one after the other, as long as each is delivered. While some are settled, the next are
// attempted: so two parts of the line are in hand, if there is so much of it and nothing else waits for the worker. It returns the
// outcomes that are still to be settled.
func (p *Pool) run(e *endpoint, l line) []event.Outcome {
	for settling := (chan event.Settled)(nil); ; {
		outcomes := p.part(e, l)
		l = l[len(outcomes):]
		leased := true
		if settling != nil {
			end := <-settling
			leased, l = end.Leased, append(l, end.Line...)
		}
		last := &outcomes[len(outcomes)-1]
		if last.Kind != event.Delivered || !leased || !e.quick.Load() || !e.idle() {
			return outcomes
		}
		most := max(1, min(runMost, int(runFor/max(last.Attempt.Duration, 1))))
		if len(l) == 0 {
			last.Wanted = 2*most - 1
			return outcomes
		}
		last.Held, last.Wanted = len(l), max(0, 2*most-len(l))
		settling = make(chan event.Settled, 1)
		p.working.Add(1)
		p.workers.Go(func() {
			defer p.working.Done()
			settling <- p.settle(e, outcomes)
		})
	}
}

// part attempts a line as long as each is delivered, and that does not take long.
func (p *Pool) part(e *endpoint, l line) []event.Outcome {
	outcomes := make([]event.Outcome, 0, min(len(l), runMost))
	for began := time.Now(); len(outcomes) < min(len(l), runMost); {
		o := p.attempt(e, l[len(outcomes)])
		outcomes = append(outcomes, o)
		if o.Kind != event.Delivered || time.Since(began) > runFor {
			break
		}
	}
	return outcomes
}

// attempt tries a delivery once, unless it is too late for that, and says what is to become of it. One whose endpoint is in the
// config no more is handed back.
func (p *Pool) attempt(e *endpoint, d *event.Delivery) event.Outcome {
	c := e.client.Load()
	if c == nil {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	set, now := &c.endpoint, p.o.Store.Now()
	if d.Damaged != "" {
		return event.Outcome{Delivery: d, Kind: event.Dead, Reason: d.Damaged}
	}
	if set.Policy.expired(now, d.Since) {
		return event.Outcome{Delivery: d, Kind: event.Dead, Reason: set.Policy.expiry()}
	}
	// A lease that could lapse during the attempt would let another replica make it at the same time.
	if p.isStopping() || time.Until(d.LeaseEnds) <= set.Timeout {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	a := c.post(p.attempts, d, now)
	if p.attempts.Err() != nil && a.Err != "" {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	if e.heard(a, set.Timeout) && e.hungry.Load() {
		p.feeder.feed(e)
	}
	v := Decide(a, d.Attempts+1, set.Policy, p.o.Store.Now(), d.Since, rand.Float64())
	return event.Outcome{Delivery: d, Kind: v.Kind, Due: v.Due, Reason: v.Reason, Attempt: &a, Signal: signalOf(a)}
}

// settle writes the outcomes of a line down, however long that takes: the slot stays taken, so that what is held in memory is bounded.
// It returns what became of the last, and with it what comes next in the line.
func (p *Pool) settle(e *endpoint, outcomes []event.Outcome) event.Settled {
	last := &outcomes[len(outcomes)-1]
	if !p.isStopping() {
		last.Next = e.client.Load().lease()
	}
	settled, err := p.write(outcomes)
	for i, o := range outcomes {
		p.report(o, settled[i], err)
		b := settled[i].Breaker
		if b != nil {
			p.reportBreaker(e, o, *b)
		}
		switch {
		case o.Kind == event.Gone, b != nil && b.Open:
			e.handBack()
		case b != nil:
			p.feeder.feed(e)
		}
	}
	if last.Kind == event.Retry {
		p.feeder.lookBy(time.Now().Add(last.Due.Sub(p.o.Store.Now()) + time.Millisecond))
	}
	return settled[len(settled)-1]
}

// write settles the outcomes of a line, and again after an error, until the pool is stopped for good or they are worth nothing any
// more: once the lease has lapsed, only a delivered one is. There is an answer for each, though it says nothing after an error.
func (p *Pool) write(outcomes []event.Outcome) ([]event.Settled, error) {
	first := true
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		settled, err := p.o.Store.Settle(context.WithoutCancel(p.attempts), outcomes...)
		if err == nil {
			return settled, nil
		}
		settled = make([]event.Settled, len(outcomes))
		if o := outcomes[0]; o.Kind != event.Delivered && time.Now().After(o.Delivery.LeaseEnds) {
			return settled, err
		}
		if first {
			first = false
			p.held.Add(1)
			defer p.held.Add(-1)
		}
		select {
		case <-p.attempts.Done():
			return settled, err
		case <-time.After(wait + rand.N(wait)):
		}
	}
}
