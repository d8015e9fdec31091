package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kuairelay/test/process"
)

// callers is how many push at once, and how many the post loop has.
const callers = 32

// measurement is how a case is measured, once.
type measurement func(context.Context, *session) (figures, error)

// benchCase is one measurement of a round.
type benchCase struct {
	name   string
	serves []string // the cases that need it
	once   bool     // in the first round only
	run    measurement
}

// The names of the cases that are no W.
const (
	postLoop   = "post loop"
	serialLoop = "serial post loop"
	forwarder1 = "forwarder 1 → 1"
	forwarderX = "forwarder 1 → 10"
	durable    = "durable forwarder"
	bare       = "bare relay"
	bareDrain  = "bare drain"
	calls      = "calls"
	always     = "W1 always"
	fewRoutes  = "W6 three routes"
	memory     = "memory"
	replaying  = "replay"
	reads      = "reads"
)

// cases are all there are, in the order of a round.
var cases = []benchCase{
	{name: postLoop, serves: []string{"W1", "W2", "W4"}, run: measurePostLoop(callers)},
	{name: forwarder1, serves: []string{"W1"}, run: measureForwarder(1)},
	{name: durable, serves: []string{"W1"}, run: measureBare(durable, true)},
	{name: bare, serves: []string{"W1"}, run: measureBare(bare, false)},
	{name: "W1", serves: []string{"W6"}, run: measureOneToOne("W1", "everysec")},
	{name: calls, serves: []string{"W1"}, run: measureCalls},
	{name: always, serves: []string{"W1"}, run: measureOneToOne(always, "always")},
	{name: forwarderX, serves: []string{"W2"}, run: measureForwarder(endpoints)},
	{name: "W2", serves: []string{"W3"}, run: measureOneToTen("W2", 0)},
	{name: "W3", run: measureOneToTen("W3", 1)},
	{name: bareDrain, serves: []string{"W4"}, run: measureDrain(1, launchBare(false))},
	{name: "W4", serves: []string{memory}, run: measureDrain(1, launchOn(1))},
	{name: memory, once: true, run: measureDrain(endpoints, launchOn(endpoints))},
	{name: "W5", run: measureLatency},
	{name: replaying, run: measureReplay},
	{name: reads, run: measureReads},
	{name: fewRoutes, serves: []string{"W6"}, run: measureRoutes(fewRoutes, false)},
	{name: "W6", run: measureRoutes("W6", true)},
	{name: "W7", run: measureIdle},
	{name: serialLoop, serves: []string{"W8"}, run: measurePostLoop(1)},
	{name: "W8", run: measureOrder},
	{name: tenQuiet, serves: []string{tenHang, tenFail, tenReset}, run: measureTen(tenQuiet, "")},
	{name: tenHang, run: measureTen(tenHang, "hang")},
	{name: tenFail, run: measureTen(tenFail, "fail")},
	{name: tenReset, run: measureTen(tenReset, "reset")},
	{name: manyQuiet, serves: []string{manyHang}, run: measureThousand(manyQuiet, false)},
	{name: manyHang, run: measureThousand(manyHang, true)},
	{name: whens, run: measureWhens},
	{name: bodies, once: true, run: measureBodies},
	{name: large, once: true, run: measureLarge(large, false)},
	{name: largeAtStart, once: true, run: measureLarge(largeAtStart, true)},
}

// wanted says whether a case has to run for those that were asked for; none asks for all.
func (c benchCase) wanted(only []string) bool {
	if len(only) == 0 {
		return true
	}
	return slices.ContainsFunc(only, func(w string) bool { return w == c.name || slices.Contains(c.serves, w) })
}

// measurePostLoop posts signed bodies to the receiver.
func measurePostLoop(workers int) measurement {
	return func(ctx context.Context, s *session) (figures, error) {
		if err := s.receiver.reset(ctx); err != nil {
			return figures{}, err
		}
		s.runs++
		var p posted
		o := postOptions{URL: s.urls(1)[0], Run: s.runs, Workers: workers, Duration: s.Duration}
		if err := call(ctx, "postloop", o, &p); err != nil {
			return figures{}, err
		}
		var a arrivals
		if err := s.receiver.ask(ctx, "arrivals", &a); err != nil {
			return figures{}, err
		}
		f := figures{Events: p.Posts, Deliveries: p.Posts, Seconds: p.Seconds, CPU: p.CPU, Latency: a.Latency}
		return f, a.Endpoints[0].complete(p.Posts, true)
	}
}

// measureForwarder pushes callbacks to the forwarder, which posts them to n endpoints.
func measureForwarder(n int) measurement {
	return func(ctx context.Context, s *session) (figures, error) {
		st, err := s.newForwarder(ctx, n)
		if err != nil {
			return figures{}, err
		}
		defer st.close()
		return s.flood(ctx, st, n)
	}
}

// measureOneToOne is W1: every callback has one event, which goes to one endpoint.
func measureOneToOne(name, fsync string) measurement {
	return func(ctx context.Context, s *session) (figures, error) {
		st, err := s.newRelay(ctx, name, fsync, oneTenant(s.answering(1)))
		if err != nil {
			return figures{}, err
		}
		defer st.close()
		return s.flood(ctx, st, 1)
	}
}

// flood has callers push as fast as they are answered.
func (s *session) flood(ctx context.Context, st *stand, n int) (figures, error) {
	if err := s.warm(ctx, st, n); err != nil {
		return figures{}, err
	}
	return s.measure(ctx, st, n, loadOptions{Callers: callers, Duration: s.Duration})
}

// measureOneToTen is W2, where all ten answer, and W3, where one of them takes every request and never answers, so that
// each of its attempts ends with its time-out, many times in the course of the measurement. After the flood comes a
// time at a low rate: the latencies of a flood are those of a queue.
func measureOneToTen(name string, hanging int) measurement {
	return func(ctx context.Context, s *session) (figures, error) {
		n := endpoints - hanging
		all := append(s.answering(n), s.hanging(hanging, 2*time.Second, callers)...)
		st, err := s.newRelay(ctx, name, "everysec", oneTenant(all))
		if err != nil {
			return figures{}, err
		}
		defer st.close()
		f, err := s.flood(ctx, st, n)
		if err != nil {
			return figures{}, err
		}
		st.name += " calm"
		calm, err := s.measure(ctx, st, n, loadOptions{Rate: 50, Duration: s.Duration})
		f.Calm, f.RSS = calm.Latency, max(f.RSS, calm.RSS)
		return f, err
	}
}

// measureLatency is W5: 200 callbacks a second, one endpoint.
func measureLatency(ctx context.Context, s *session) (figures, error) {
	st, err := s.newRelay(ctx, "W5", "everysec", oneTenant(s.answering(1)))
	if err != nil {
		return figures{}, err
	}
	defer st.close()
	if err := s.warm(ctx, st, 1); err != nil {
		return figures{}, err
	}
	const rate = 200
	return s.measure(ctx, st, 1, loadOptions{Rate: rate, Duration: 2 * s.Duration})
}

// idle is what a relay does that has nothing to do.
type idle struct {
	Commands float64 // a second
	CPU      float64 // share of one core
}

// written is how long it takes at most until a relay has written down what it has counted. That is still part of the
// work.
const written = 12 * time.Second

// measureIdle is W7: a relay with ten endpoints that has been at work, and then gets nothing.
func measureIdle(ctx context.Context, s *session) (f figures, err error) {
	st, err := s.newRelay(ctx, "W7", "everysec", oneTenant(s.answering(endpoints)))
	if err != nil {
		return f, err
	}
	defer st.close()
	if err := s.warm(ctx, st, endpoints); err != nil {
		return f, err
	}
	settle := written
	if s.Quick {
		settle = 2 * time.Second
	}
	if err := pause(ctx, settle); err != nil {
		return f, err
	}
	before, err := st.read()
	if err != nil {
		return f, err
	}
	started := time.Now()
	if err := pause(ctx, 4*s.Duration); err != nil {
		return f, err
	}
	after, err := st.read()
	if err != nil {
		return f, err
	}
	f.Seconds, f.Commands = time.Since(started).Seconds(), after.commandsSince(before)
	all, _ := f.calls()
	f.Idle = idle{Commands: float64(all) / f.Seconds, CPU: (after.process - before.process) / f.Seconds}
	_, f.RSS, err = process.MemoryOf(st.process.PID())
	return f, err
}

// measureOrder is W8: 1,000 updates of one waybill to one endpoint, in callbacks of 100; and that with five waybills,
// one after the other, because 1,000 updates do not take long.
func measureOrder(ctx context.Context, s *session) (figures, error) {
	const updates, items = 1000, 100
	waybills := 5
	if s.Quick {
		waybills = 1
	}
	st, err := s.newRelay(ctx, "W8", "everysec", oneTenant(s.answering(1)))
	if err != nil {
		return figures{}, err
	}
	defer st.close()
	if err := s.warm(ctx, st, 1); err != nil {
		return figures{}, err
	}
	var sum figures
	for range waybills {
		f, err := s.measure(ctx, st, 1, loadOptions{Callers: 1, Events: updates, Items: items, One: true})
		if err != nil {
			return figures{}, err
		}
		var a arrivals
		if err := s.receiver.ask(ctx, "arrivals", &a); err != nil {
			return figures{}, err
		}
		if n := a.Endpoints[0].Disordered; n > 0 {
			return figures{}, st.blame(fmt.Errorf("%d of %d updates of one waybill came out of order", n, updates))
		}
		f.Events, f.Deliveries = f.Events+sum.Events, f.Deliveries+sum.Deliveries
		f.Seconds, f.CPU, f.RedisCPU = f.Seconds+sum.Seconds, f.CPU+sum.CPU, f.RedisCPU+sum.RedisCPU
		f.Commands = nil
		sum = f
	}
	return sum, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errors.New("stopped")
	case <-time.After(d):
		return nil
	}
}
