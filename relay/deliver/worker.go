package deliver

import (
	"context"
	"math/rand/v2"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// The life of a line (a leased delivery, and what waits behind it), from its slot to the end of its slot:
//
//	leased ─ admit ─ all workers busy → waits in its endpoint until one of them takes it
//	              └─ work: attemptLine → attemptPart → attempt … → the outcomes:
//	                     the last one delivered, others wait → settled aside, the worker goes on with what waits
//	                     otherwise                           → settled, and then
//	                           the store gave a successor    → the same slot, behind what waits
//	                           nothing comes next            → the slot is released, and the feeder fills it
//
// What is not attempted any more (the endpoint fell silent, was parked, or is in the config no more; the relay stops)
// takes the same way with the outcome Released.

// work attempts a line, then the lines that wait, and last the rest of the first line. If other lines wait, the worker
// takes one at once, and another goroutine settles the outcomes. If the relay dies, what is not settled is sent again,
// so settlingMost bounds it.
func (p *Pool) work(e *endpoint, l line) {
	defer p.working.Done()

	back := false // l is handed back, unattempted
	for l != nil {
		outcomes := []queue.Outcome{{Delivery: l[0], Kind: queue.Released}}
		if !back {
			outcomes = p.attemptLine(e, l)
		}

		if outcomes[len(outcomes)-1].Kind == queue.Delivered {
			l, back = e.nextBeforeSettling()
			if l != nil {
				p.working.Add(1)
				p.workers.Go(func() { p.settleAside(e, outcomes) })
				continue
			}
		}

		rest := p.settleLine(e, outcomes)
		l, back = e.nextLine(rest)
	}
}

// settlingMost bounds the lines of an endpoint whose outcomes are settled aside at the same time. It is enough to keep
// the store busy.
const settlingMost = 64

// settleAside settles outcomes that no worker waits for, and starts what comes next in their line.
func (p *Pool) settleAside(e *endpoint, outcomes []queue.Outcome) {
	rest := p.settleLine(e, outcomes)
	e.settledAside()
	if rest != nil && e.admit(rest) {
		p.work(e, rest)
		return
	}
	p.working.Done()
}

// settleLine settles the outcomes of a line, and gives its slot back, unless something comes next in the line.
func (p *Pool) settleLine(e *endpoint, outcomes []queue.Outcome) (rest line) {
	settled := p.settle(e, outcomes)
	if settled.Next != nil {
		return append(line{settled.Next}, settled.Line...)
	}

	e.release(p, 1)
	if e.client.Load().rated() {
		p.feeder.feed(e)
	}
	return nil
}

const (
	// partFor is how long deliveries of one line are attempted before they are settled. If the relay dies, the endpoint
	// gets those again, and the ones that are attempted while they are settled, so it is short.
	partFor = 10 * time.Millisecond
	// partMost is how many deliveries that are at most.
	partMost = 32
)

// attemptLine attempts the deliveries of a line one after the other, as long as each is delivered. While one part of
// the line is settled, the next part is attempted, if there is one and no other line waits for the worker. It returns
// the outcomes that are still to be settled.
func (p *Pool) attemptLine(e *endpoint, l line) []queue.Outcome {
	var settling chan queue.Settled // of the part before
	for {
		outcomes := p.attemptPart(e, l)
		l = l[len(outcomes):]

		leased := true
		if settling != nil {
			settled := <-settling
			leased = settled.Leased
			l = append(l, settled.Line...)
		}

		last := &outcomes[len(outcomes)-1]
		if last.Kind != queue.Delivered || !leased || !e.quick.Load() || !e.nothingWaits() {
			return outcomes
		}

		// The line goes on: the store is told how many of its deliveries are held here, and how many more are attempted soon.
		most := max(1, min(partMost, int(partFor/max(last.Attempt.Duration, 1))))
		if len(l) == 0 {
			last.Wanted = 2*most - 1
			return outcomes
		}
		last.Held = len(l)
		last.Wanted = max(0, 2*most-len(l))

		settling = make(chan queue.Settled, 1)
		p.working.Add(1)
		p.workers.Go(func() {
			defer p.working.Done()
			settling <- p.settle(e, outcomes)
		})
	}
}

// attemptPart attempts a line as long as each delivery is delivered, and for partFor at most.
func (p *Pool) attemptPart(e *endpoint, l line) []queue.Outcome {
	most := min(len(l), partMost)
	outcomes := make([]queue.Outcome, 0, most)
	began := time.Now()
	for len(outcomes) < most {
		o := p.attempt(e, l[len(outcomes)])
		outcomes = append(outcomes, o)
		if o.Kind != queue.Delivered || time.Since(began) > partFor {
			break
		}
	}
	return outcomes
}

// attempt attempts a delivery once, unless it is too late for that, and returns the outcome. A delivery whose endpoint
// is no longer in the config is handed back.
func (p *Pool) attempt(e *endpoint, d *event.Delivery) queue.Outcome {
	released := queue.Outcome{Delivery: d, Kind: queue.Released}
	c := e.client.Load()
	if c == nil {
		return released
	}

	set := &c.endpoint
	now := p.o.Store.Now()
	if d.Damaged != "" {
		return queue.Outcome{Delivery: d, Kind: queue.Dead, Reason: d.Damaged}
	}
	if set.Policy.expired(now, d.Since) {
		return queue.Outcome{Delivery: d, Kind: queue.Dead, Reason: set.Policy.expiry()}
	}

	// A lease that could lapse during the attempt would let another replica make it at the same time.
	if p.isStopping() || time.Until(d.LeaseEnds) <= set.Timeout {
		return released
	}
	a := c.post(p.attempts, d, now)
	if p.attempts.Err() != nil && a.Err != "" {
		return released // it was cut short, which says nothing about the endpoint
	}

	if e.noteAttempt(a, set.Timeout) && e.hungry.Load() {
		p.feeder.feed(e)
	}
	v := Decide(a, d.Attempts+1, set.Policy, p.o.Store.Now(), d.Since, rand.Float64())
	return queue.Outcome{Delivery: d, Kind: v.Kind, Due: v.Due, Reason: v.Reason, Attempt: &a, Signal: signalOf(a)}
}

// settle settles the outcomes of a line, however long that takes: the slot stays taken, so that memory is bounded. It
// returns the result for the last one, with what comes next in the line.
func (p *Pool) settle(e *endpoint, outcomes []queue.Outcome) queue.Settled {
	last := &outcomes[len(outcomes)-1]
	if !p.isStopping() {
		last.Next = e.client.Load().lease()
	}
	settled, err := p.write(outcomes)

	for i, o := range outcomes {
		p.report(o, settled[i], err)
		breaker := settled[i].Breaker
		if breaker != nil {
			p.reportBreaker(e, o, *breaker)
		}
		switch {
		case o.Kind == queue.Gone, breaker != nil && breaker.Open:
			e.handBack()
		case breaker != nil:
			p.feeder.feed(e)
		}
	}

	if last.Kind == queue.Retry {
		p.feeder.lookBy(time.Now().Add(last.Due.Sub(p.o.Store.Now()) + time.Millisecond))
	}
	return settled[len(settled)-1]
}

// write settles the outcomes of a line. After an error it tries again until the pool is stopped for good, or until the
// outcomes are worth nothing: once the lease has lapsed, only a delivered one counts. There is a result for each, which
// says nothing after an error.
func (p *Pool) write(outcomes []queue.Outcome) ([]queue.Settled, error) {
	first := true
	wait := 50 * time.Millisecond
	for {
		settled, err := p.o.Store.Settle(context.WithoutCancel(p.attempts), outcomes...)
		if err == nil {
			return settled, nil
		}
		settled = make([]queue.Settled, len(outcomes))
		if o := outcomes[0]; o.Kind != queue.Delivered && time.Now().After(o.Delivery.LeaseEnds) {
			return settled, err
		}

		if first {
			first = false
			defer p.held.add()()
		}
		select {
		case <-p.attempts.Done():
			return settled, err
		case <-time.After(wait + rand.N(wait)):
		}
		wait = min(2*wait, 200*time.Millisecond)
	}
}
