package main

import (
	"context"
	"fmt"
	"time"

	"kuairelay/test/process"
)

// drain is what a backlog takes, and how it goes away.
type drain struct {
	Events, Deliveries int
	Body               float64 // mean length of a stored body
	Pending, Delivered stored
	// Before, Tenth and Peak are the relay's resident memory: when it is ready, when a tenth is delivered, and the most
	// after that.
	Before, Tenth, Peak float64
}

// stored is what Redis holds for all of a backlog, in bytes.
type stored struct {
	Used    float64 // used_memory, less what it was before, and less the buffers of clients and append-only file
	Bodies  float64 // of it what the bodies would take as keys of their own, keys included
	Records float64 // and of the waybills' records, which live for dedupe.window
	Events  int     // bodies there are
}

// beside is what a delivery takes beside the bodies.
func (d drain) beside(s stored) float64 { return (s.Used - s.Bodies) / float64(d.Deliveries) }

// fillers is how many push a backlog at once: with more, callbacks of 50 events would wait for longer than the relay
// lets them wait for Redis, and go to its spool.
const fillers = 4

// launchOn starts a relay with n healthy endpoints on a stand's Redis.
func launchOn(n int) func(*stand, context.Context) error {
	return func(st *stand, ctx context.Context) error { return st.launch(ctx, oneTenant(st.s.answering(n))) }
}

// measureDrain is W4, and with ten endpoints the other half of the memory figures. A relay whose endpoints hang, and
// that makes one attempt at a time, takes in the backlog. It is stopped, and hands that attempt back. Another one,
// which launch starts, delivers.
func measureDrain(n int, launch func(*stand, context.Context) error) measurement {
	return func(ctx context.Context, s *session) (f figures, err error) {
		st, err := s.newRelay(ctx, fmt.Sprintf("W4 1 to %d", n), "everysec", oneTenant(s.hanging(n, 5*time.Minute, 1)))
		if err != nil {
			return f, err
		}
		defer st.close()
		empty, err := usedMemory(st.redis)
		if err != nil {
			return f, err
		}
		d := drain{Events: s.backlog() / n, Deliveries: s.backlog()}
		p, err := s.load(ctx, st, loadOptions{Callers: fillers, Events: d.Events, Items: 50})
		if err == nil && p.Events != d.Events {
			err = fmt.Errorf("%d events pushed instead of %d", p.Events, d.Events)
		}
		if err != nil {
			return f, st.blame(err)
		}
		if d.Pending, d.Body, err = st.stored(empty); err == nil && d.Pending.Events != d.Events {
			err = fmt.Errorf("the backlog in Redis has %d events instead of %d: the rest is in the spool", d.Pending.Events,
				d.Events)
		}
		if err != nil {
			return f, st.blame(err)
		}
		st.process.Terminate()
		if f, err = s.deliver(ctx, st, n, &d, launch); err != nil {
			return f, st.blame(err)
		}
		d.Delivered, _, err = st.stored(empty)
		f.Drain = d
		return f, err
	}
}

// deliver starts what finds the backlog in its Redis, and waits until it is gone.
func (s *session) deliver(ctx context.Context, st *stand, n int, d *drain,
	launch func(*stand, context.Context) error) (f figures, err error) {
	if err := s.receiver.reset(ctx); err != nil {
		return f, err
	}
	before, err := st.readRedis()
	if err != nil {
		return f, err
	}
	if err := launch(st, ctx); err != nil {
		return f, err
	}
	profiled := st.profile(ctx, s.Duration)
	if d.Before, _, err = process.MemoryOf(st.process.PID()); err != nil {
		return f, err
	}
	err = s.receiver.wait(ctx, n, d.Events, stall, func(total int) {
		if now, _, err := process.MemoryOf(st.process.PID()); err == nil && total >= d.Deliveries/10 {
			if d.Tenth == 0 {
				d.Tenth = now
			}
			d.Peak = max(d.Peak, now)
		}
	})
	if err != nil {
		return f, err
	}
	time.Sleep(time.Second) // the last outcomes are being settled
	after, err := st.read()
	if err != nil {
		return f, err
	}
	if err := <-profiled; err != nil {
		return f, err
	}
	a, err := s.check(ctx, st, n, d.Events)
	if err != nil {
		return f, err
	}
	f = figures{Events: d.Events, Deliveries: d.Deliveries, CPU: after.process, RedisCPU: after.redis - before.redis,
		Commands: after.commandsSince(before)}
	first, last := a.Endpoints[0].First, a.Endpoints[0].Last
	for _, e := range a.Endpoints[1:n] {
		first, last = min(first, e.First), max(last, e.Last)
	}
	f.Seconds = float64(last-first) / 1e9
	_, f.RSS, err = process.MemoryOf(st.process.PID())
	return f, err
}

// stored measures what Redis holds beyond what it held when it was empty, and the mean length of a body.
func (st *stand) stored(empty float64) (out stored, body float64, err error) {
	used, err := usedMemory(st.redis)
	if err != nil {
		return out, 0, err
	}
	kinds, err := keysOf(st.redis)
	if err != nil {
		return out, 0, err
	}
	bodies := kinds["body"]
	out = stored{Used: used - empty, Bodies: bodies.Bytes, Records: kinds["w"].Bytes, Events: int(bodies.Keys)}
	return out, bodies.Length / max(bodies.Keys, 1), nil
}
