package storetest

import (
	"fmt"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// breaker opens after 3 failures in a row, or 3 that are half of a minute's attempts; it cools off for 5 s, 10 s, 20 s,
// 40 s.
var breaker = map[string]queue.Pacing{"t/a": {
	Breaker: queue.Breaker{Failures: 3, Ratio: 0.5, Window: time.Minute, CoolOff: 5 * time.Second,
		MaxCoolOff: 40 * time.Second}}}

// slack is more than the clocks of twins differ by.
const slack = 200 * time.Millisecond

// opened fails the test unless the breaker was opened, after before, for the span given, with so many failed probes.
func opened(t *testing.T, s *replica, c *queue.BreakerChange, before time.Time, span time.Duration, probes int) {
	t.Helper()
	if c == nil || !c.Open || c.Probes != probes {
		t.Fatalf("%+v, want it open with %d failed probes", c, probes)
	}
	if least, most := before.Add(span-slack), s.Now().Add(span+slack); c.Until.Before(least) || c.Until.After(most) {
		t.Fatalf("open until %s, want %s to %s", c.Until, least, most)
	}
}

func (b *bench) regulated(t *testing.T, clock *shifted, flows map[string]queue.Pacing) *replica {
	t.Helper()
	return b.open(t, options{Clock: clock.now, Settings: settings{Pacing: flows}})
}

// twins opens two stores whose clocks agree. A store takes its time from an answer of Redis, which comes late on a busy
// machine: then another pair is opened.
func (b *bench) twins(t *testing.T, clock *shifted, flows map[string]queue.Pacing) (one, other *replica) {
	t.Helper()
	until(t, "the clocks of two stores agree", func() bool {
		one, other = b.regulated(t, clock, flows), b.regulated(t, clock, flows)
		take(t, one, "t/none", 1) // asks Redis for its time
		take(t, other, "t/none", 1)
		return one.Now().Sub(other.Now()).Abs() < slack/2
	})
	return one, other
}

func fails(o *queue.Outcome)   { o.Signal, o.Attempt.Status = queue.Fails, 500 }
func answers(o *queue.Outcome) { o.Signal = queue.Answers }

// gather accepts one event of each of so many waybills for t/a, and leases none of them.
func gather(t *testing.T, s *replica, name string, n int) {
	t.Helper()
	var entries []queue.Routed
	for i := range n {
		entries = append(entries, queue.Routed{Event: update(fmt.Sprint(name, i), "a"), To: to("t/a")})
	}
	accept(t, s, entries...)
}

// fail settles so many deliveries of t/a as failed, each due again in an hour, and returns the last that was said of
// the breaker.
func fail(t *testing.T, s *replica, n int) (last *queue.BreakerChange) {
	t.Helper()
	for range n {
		last = settle(t, s, takeOne(t, s, "t/a"), queue.Retry, fails, dueIn(s, time.Hour)).Breaker
	}
	return last
}

func parkedAs(t *testing.T, s *replica) queue.Parked {
	t.Helper()
	p, err := s.Parked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p["t/a"]
}

func checkBreakerCycle(t *testing.T, b *bench) {
	clock := &shifted{}
	s, other := b.twins(t, clock, breaker)
	gather(t, s, "w", 40)

	// Three failures open it, whichever replica writes them down.
	inFlight := takeFor(t, s, "t/a", 3, time.Hour)
	if c := fail(t, s, 2); c != nil {
		t.Fatalf("after two failures: %+v", c)
	}
	before := s.Now()
	opened(t, s, fail(t, other, 1), before, 5*time.Second, 0)
	if parkedAs(t, s) != "open" {
		t.Fatalf("its state is %s", parkedAs(t, s))
	}

	// What was in flight does not change it.
	if c := settle(t, s, inFlight[0], queue.Retry, fails, dueIn(s, time.Hour)).Breaker; c != nil {
		t.Errorf("what was in flight when it opened changed it: %+v", c)
	}
	if got := settle(t, s, inFlight[1], queue.Delivered, answers); got.Late || got.Breaker != nil {
		t.Errorf("what was in flight is not delivered, or changed it: %+v", got)
	}

	// While it is open nothing is leased, nor due before it has cooled off. Then there is one probe, over all replicas.
	// A probe that fails opens it for twice as long, up to a bound.
	cool := 5 * time.Second
	for probes := 1; probes <= 5; probes++ {
		got := acceptOne(t, s, update(fmt.Sprint("x", probes), "a"), slot(to("t/a")))
		if n := len(take(t, s, "t/a", 10)) + len(got.Leased); n != 0 || len(got.Queued) != 0 {
			t.Fatalf("while it is open %d are leased, and %d said to be due", n, len(got.Queued))
		}
		if due, err := s.Due(t.Context(), 0, 0, 10); err != nil || len(due) != 0 {
			t.Errorf("due while it is open: %v, %v", due, err)
		}
		if due, err := s.Due(t.Context(), cool+slack, 0, 10); err != nil || len(due) != 1 {
			t.Errorf("due when it has cooled off: %v, %v", due, err)
		}

		clock.forward(cool + slack)
		probe := take(t, s, "t/a", 10)
		if len(probe) != 1 || len(take(t, other, "t/a", 10)) != 0 {
			t.Fatalf("probe %d: %v, and more", probes, contents(probe))
		}
		cool = min(2*cool, 40*time.Second)
		before := s.Now()
		opened(t, s, settle(t, s, probe[0], queue.Retry, fails, dueIn(s, time.Hour)).Breaker, before, cool, probes)
	}

	// A probe that is answered closes it.
	clock.forward(cool + slack)
	probe := takeOne(t, other, "t/a")
	if c := settle(t, other, probe, queue.Delivered, answers).Breaker; c == nil || c.Open || parkedAs(t, s) != "" {
		t.Fatalf("it does not close: %+v, %s", c, parkedAs(t, s))
	}

	// An attempt from before says nothing of the endpoint any more.
	long := func(o *queue.Outcome) { o.Attempt.Duration = time.Minute }
	if c := settle(t, s, inFlight[2], queue.Retry, fails, long, dueIn(s, time.Hour)).Breaker; c != nil {
		t.Errorf("an attempt that began before it closed opened it again: %+v", c)
	}

	// What has gathered is let go at a growing pace.
	width := 1
	for ; width < 8; width *= 2 { // one, two, four: each that is answered makes room for one more
		ds := take(t, s, "t/a", 20)
		if len(ds) != width || len(take(t, other, "t/a", 20)) != 0 {
			t.Fatalf("%d leased at a width of %d", len(ds), width)
		}
		if got := acceptOne(t, s, update(fmt.Sprint("y", width), "a"), slot(to("t/a"))); len(got.Leased) != 0 ||
			len(got.Queued) != 1 {
			t.Errorf("above a width of %d: %+v", width, got)
		}
		for _, d := range ds {
			settle(t, s, d, queue.Delivered, answers)
		}
	}
}

func checkBreakerRelapse(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, breaker)
	gather(t, s, "w", 40)
	fail(t, s, 3)
	clock.forward(5*time.Second + slack)
	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered, answers)
	before := s.Now()
	opened(t, s, fail(t, s, 1), before, 10*time.Second, 1) // for longer than at first
	clock.forward(10*time.Second + slack)
	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered, answers)
	for range 3 { // a width of 4
		settle(t, s, takeOne(t, s, "t/a"), queue.Delivered, answers)
	}
	if c := fail(t, s, 2); c != nil { // 2, 1
		t.Errorf("two failures at a width of 4: %+v", c)
	}
	if c := fail(t, s, 1); c == nil || !c.Open {
		t.Errorf("and a third: %+v", c)
	}
}

func checkBreakerRatio(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, breaker)
	gather(t, s, "w", 60)
	step := func(good bool) *queue.BreakerChange {
		if good {
			return settle(t, s, takeOne(t, s, "t/a"), queue.Delivered, answers).Breaker
		}
		return fail(t, s, 1)
	}
	for i := range 20 { // one in three fails
		if c := step(i%3 != 0); c != nil {
			t.Fatalf("attempt %d: %+v", i+1, c)
		}
	}
	clock.forward(2 * time.Minute)
	for i := range 4 { // a window of its own, in which every other one fails
		if c := step(i%2 != 0); c != nil {
			t.Fatalf("attempt %d of the second minute: %+v", i+1, c)
		}
	}
	if c := step(false); c == nil || !c.Open {
		t.Errorf("three of five: %+v", c)
	}
}

func checkBreakerProbe(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, breaker)
	gather(t, s, "w", 20)
	fail(t, s, 3)
	clock.forward(5*time.Second + slack)
	takeOne(t, s, "t/a") // a probe whose relay dies
	clock.forward(lease / 2)
	if n := len(take(t, s, "t/a", 10)); n != 0 {
		t.Fatalf("%d leased beside the probe", n)
	}

	clock.forward(lease/2 + slack)
	released := takeOne(t, s, "t/a")
	if c := settle(t, s, released, queue.Released, func(o *queue.Outcome) { o.Attempt = nil }).Breaker; c != nil {
		t.Errorf("a probe that was not sent: %+v", c)
	}
	refused := takeOne(t, s, "t/a")
	if c := settle(t, s, refused, queue.Dead, because("forbidden: …")).Breaker; c != nil {
		t.Errorf("a probe that the guard refused: %+v", c)
	}

	before, notYet := s.Now(), func(o *queue.Outcome) { o.Attempt.RetryAfter = 30 * time.Second }
	opened(t, s, settle(t, s, takeOne(t, s, "t/a"), queue.Retry, fails, dueIn(s, time.Hour), notYet).Breaker, before,
		30*time.Second, 1)
	clock.forward(30*time.Second + slack)
	if c := settle(t, s, takeOne(t, s, "t/a"), queue.Dead, answers,
		because("the receiver refuses this body: 422")).Breaker; c == nil || c.Open {
		t.Errorf("a probe that is refused is answered: %+v", c)
	}
}

func checkBreakerAndOthers(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, breaker)
	gather(t, s, "w", 5)
	fail(t, s, 3)

	// Another endpoint gets the same events, and its line moves.
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: slot(to("t/a", "t/b"))},
		queue.Routed{Event: update("1", "b"), To: to("t/b")})[0]
	if len(got.Leased) != 1 || got.Leased[0].Endpoint != "t/b" || len(got.Queued) != 0 {
		t.Fatalf("%+v", got)
	}
	if n := settle(t, s, got.Leased[0], queue.Delivered, answers, next).Next; n == nil {
		t.Error("the other endpoint's line does not move")
	}

	// Paused, it stays so when the breaker would have cooled off.
	if err := s.Park(t.Context(), "t/a", event.Actor{}); err != nil || parkedAs(t, s) != "paused" {
		t.Fatal(err, parkedAs(t, s))
	}
	clock.forward(time.Hour)
	if n := len(take(t, s, "t/a", 10)); n != 0 {
		t.Errorf("%d leased while it is paused", n)
	}

	// Resumed, it is let go at a growing pace.
	if err := s.Resume(t.Context(), "t/a", event.Actor{}); err != nil || parkedAs(t, s) != "" {
		t.Fatal(err, parkedAs(t, s))
	}
	if n := len(take(t, s, "t/a", 10)); n != 1 {
		t.Errorf("%d leased after resume, want 1", n)
	}
	clock.forward(2 * time.Minute)
	if n := len(take(t, s, "t/a", 10)); n != 6 {
		t.Errorf("%d leased after the time of the ramp, want all 6", n)
	}
}

func checkTwice(t *testing.T, b *bench) {
	s, other := b.open(t, options{}), b.open(t, options{})
	known := func(s *replica) map[string]time.Time {
		t.Helper()
		all, err := s.Distrusted(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}

	// Nobody is distrusted at first.
	if all := known(s); len(all) != 0 {
		t.Errorf("%v", all)
	}

	// The first time counts, and all replicas see it.
	for _, name := range []string{"t/a", "t/b", "t/a"} {
		if err := s.Distrust(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	since := known(other)
	if len(since) != 2 || s.Now().Sub(since["t/a"]).Abs() > time.Minute {
		t.Errorf("%v", since)
	}
	if err := other.Park(t.Context(), "t/a", event.Actor{}); err != nil || len(known(s)) != 2 {
		t.Errorf("paused: %v, %v", known(s), err)
	}
	if err := other.Resume(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if all := known(s); len(all) != 1 || all["t/b"].IsZero() {
		t.Errorf("resumed: %v", all)
	}
}

func checkLimitedLine(t *testing.T, b *bench) {
	s := b.regulated(t, &shifted{}, map[string]queue.Pacing{"t/a": {Rate: 100}})
	got := settleLine(t, s, queue.Delivered, acceptLine(t, s, "1", "t/a", "abcde"))
	for got[0].Next == nil { // the rate had no room for it yet: the queue has it
		ds := take(t, s, "t/a", 1)
		if len(ds) == 1 {
			got = settleLine(t, s, queue.Delivered, ds[0])
			break
		}
	}
	if len(got[0].Line) != 0 {
		t.Errorf("%v were handed over past the rate", contents(got[0].Line))
	}

	// Nor are they where a ramp lets one go at a time.
	s = (&bench{Backend: b.Backend, tag: b.tag + "b"}).regulated(t, &shifted{}, breaker)
	head := acceptLine(t, s, "1", "t/a", "abcde")
	if err := s.Park(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Resume(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if got := settleLine(t, s, queue.Delivered, head); len(got[0].Line) != 0 {
		t.Errorf("%v were handed over past the ramp", contents(got[0].Line))
	}
}

func checkRampLapses(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	gather(t, s, "w", 3)
	if err := s.Park(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Resume(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}

	const short = 10 * time.Second // well under what a ramp takes at most
	if ds := takeFor(t, s, "t/a", 10, short); len(ds) != 1 {
		t.Fatalf("a ramp begins with one, not %d", len(ds))
	}
	if ds := takeFor(t, s, "t/a", 10, short); len(ds) != 0 {
		t.Fatalf("%d more while that one is under way", len(ds))
	}
	clock.forward(short + slack) // its replica has died
	if ds := takeFor(t, s, "t/a", 10, short); len(ds) != 1 {
		t.Errorf("%d after its lease has lapsed, want one", len(ds))
	}
}

func checkResumeForgives(t *testing.T, b *bench) {
	s := b.regulated(t, &shifted{}, breaker)
	gather(t, s, "w", 3)
	give := func() *queue.BreakerChange {
		return settle(t, s, takeOne(t, s, "t/a"), queue.Dead, fails, because("no")).Breaker
	}
	for range 2 {
		if c := give(); c != nil {
			t.Fatalf("after too few failures: %+v", c)
		}
	}
	last := takeOne(t, s, "t/a")
	settle(t, s, last, queue.Dead, because("no"))

	if err := s.Park(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Resume(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	gather(t, s, "x", 1)
	if c := give(); c != nil {
		t.Errorf("the first failure after a person resumed it opens the breaker: %+v", c)
	}
}
