package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kuairelay/test/process"
	"kuairelay/test/redisserver"
)

// figures are what one measurement gave. Each case fills in what it is about.
type figures struct {
	Events, Deliveries int
	Seconds            float64 // from the first push to the last delivery
	CPU, RedisCPU      float64 // seconds, of the relay or the reference, and of its Redis
	RSS                float64 // bytes, the most it ever was
	Latency, Answer    quantiles
	Calm               quantiles // of Latency at a low rate (W2 and W3), or without a replay
	Body               float64   // mean bytes of a callback
	Commands           map[string]redisserver.Command

	Drain  drain     // W4 and the case "memory"
	Idle   idle      // W7
	Routes routes    // W6
	Floods []flooded // reads
}

func (f figures) rate() float64   { return float64(f.Deliveries) / f.Seconds }
func (f figures) events() float64 { return float64(f.Events) / f.Seconds }

// cpu is the CPU time of relay and Redis together, in seconds per 1,000 deliveries.
func (f figures) cpu() float64 { return (f.CPU + f.RedisCPU) / float64(f.Deliveries) * 1000 }

// calls is how many commands Redis ran, and how many of them are scripts: round trips.
func (f figures) calls() (all, scripts int64) {
	for name, c := range f.Commands {
		all += c.Calls
		if isScript(name) {
			scripts += c.Calls
		}
	}
	return all, scripts
}

// stall is how long nothing may arrive before deliveries count as lost. A lease that lapses takes 35 s.
const stall = 60 * time.Second

// measure pushes callbacks to a stand, waits until every delivery that they owe to the first n endpoints has arrived,
// and checks that each did so once.
func (s *session) measure(ctx context.Context, st *stand, n int, o loadOptions) (f figures, err error) {
	if err := s.receiver.reset(ctx); err != nil {
		return f, err
	}
	profiled := st.profile(ctx, o.Duration)
	before, err := st.read()
	if err != nil {
		return f, err
	}
	load, err := s.load(ctx, st, o)
	if err != nil {
		return f, st.blame(err)
	}
	if err := s.receiver.wait(ctx, n, load.Events, stall, nil); err != nil {
		return f, st.blame(err)
	}
	time.Sleep(100 * time.Millisecond) // the last outcomes are being settled
	after, err := st.read()
	if err != nil {
		return f, err
	}
	if err := <-profiled; err != nil {
		return f, err
	}
	a, err := s.check(ctx, st, n, load.Events)
	if err != nil {
		return f, st.blame(err)
	}
	f = figures{
		Events: load.Events, Deliveries: load.Events * n, Body: float64(load.Bytes) / float64(load.Events),
		CPU: after.process - before.process, RedisCPU: after.redis - before.redis,
		Latency: a.Latency, Answer: load.Answer, Commands: after.commandsSince(before),
	}
	for _, e := range a.Endpoints[:n] {
		f.Seconds = max(f.Seconds, float64(e.Last-load.First)/1e9)
	}
	_, f.RSS, err = process.MemoryOf(st.process.PID())
	return f, err
}

// load pushes callbacks from a process of its own.
func (s *session) load(ctx context.Context, st *stand, o loadOptions) (p pushed, err error) {
	s.runs++
	o.URL, o.Run = st.push, s.runs
	err = call(ctx, "load", o, &p)
	return p, err
}

// check asks the receiver what has arrived, and whether that is what it should be.
func (s *session) check(ctx context.Context, st *stand, n, events int) (a arrivals, err error) {
	if err := s.receiver.ask(ctx, "arrivals", &a); err != nil {
		return a, err
	}
	for i, e := range a.Endpoints[:n] {
		if err := e.complete(events, st.redis != nil); err != nil {
			return a, fmt.Errorf("endpoint %d: %w", i, err)
		}
	}
	return a, nil
}

// warm lets a stand open its connections, and Redis learn its scripts.
func (s *session) warm(ctx context.Context, st *stand, n int) error {
	_, err := s.measure(ctx, st, n, loadOptions{Callers: callers, Events: 500})
	return err
}

// profile takes a CPU profile of the relay, and then one of its allocations since it started, if they are wanted. It
// gives their end.
func (st *stand) profile(ctx context.Context, d time.Duration) <-chan error {
	done := make(chan error, 1)
	if st.s.Profile == "" || st.admin == "" || d < time.Second {
		done <- nil
		return done
	}
	save := func(kind, page string) error {
		text, err := get(ctx, st.admin+"/debug/pprof/"+page)
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(st.name, " ", "-") + "." + kind + ".pprof"
		return os.WriteFile(filepath.Join(st.s.Profile, name), text, 0o600)
	}
	go func() {
		err := save("cpu", fmt.Sprintf("profile?seconds=%d", int(d.Seconds())))
		done <- errors.Join(err, save("allocs", "allocs"))
	}()
	return done
}
