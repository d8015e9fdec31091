package storetest

import (
	"fmt"
	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"slices"
	"testing"
	"time"
)

func checkDue(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := acceptOne(t, s, update("1", "a"), slot(to("t/a", "t/b", "t/c")))
	settle(t, s, got.Leased[0], queue.Retry, dueIn(s, 40*time.Second))
	settle(t, s, got.Leased[1], queue.Retry, dueIn(s, -time.Second))
	settle(t, s, got.Leased[2], queue.Delivered)
	names := func(within time.Duration) (out []string) {
		due, err := s.Due(t.Context(), within, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range due {
			out = append(out, d.Endpoint)
		}
		return out
	}
	if got := names(0); !slices.Equal(got, []string{"t/b"}) {
		t.Errorf("due now: %v", got)
	}
	if got := names(time.Hour); !slices.Equal(got, []string{"t/b", "t/a"}) {
		t.Errorf("due within the hour: %v", got)
	}
	takeOne(t, s, "t/b")
	if got := names(50 * time.Second); !slices.Equal(got, []string{"t/a"}) {
		t.Errorf("due while a lease holds: %v", got)
	}
}

func checkDepths(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := accept(t, s,
		queue.Routed{Event: update("1", "a"), To: slot(to("t/a"))}, queue.Routed{Event: update("1", "b"), To: to("t/a")},
		queue.Routed{Event: update("2", "a"), To: slot(to("t/a"))}, queue.Routed{Event: update("3", "a"), To: to("t/a")})
	settle(t, s, got[2].Leased[0], queue.Dead, because("no"))

	// One is leased, one queued, one waits, and one is dead.
	ds, err := s.Depths(t.Context(), []string{"t/a", "t/none"})
	if err != nil {
		t.Fatal(err)
	}
	if d := ds[0]; d.Open != 2 || d.Waiting != 1 || d.Dead != 1 || s.Now().Sub(d.Oldest).Abs() > 10*time.Second {
		t.Errorf("%+v", d)
	}

	// A duplicate owes nothing; a dead letter and a parked endpoint are work.
	acceptOne(t, s, update("1", "a"), to("t/b"))
	settle(t, s, acceptOne(t, s, update("9", "a"), slot(to("t/c"))).Leased[0], queue.Dead, because("no"))
	settle(t, s, acceptOne(t, s, update("9", "b"), slot(to("t/d"))).Leased[0], queue.Delivered)
	if err := s.Park(t.Context(), "t/e", event.Actor{}); err != nil {
		t.Fatal(err)
	}

	if got, err := s.Depths(t.Context(), []string{"t/c", "t/d"}); err != nil || !got[0].Delivered.IsZero() ||
		time.Since(got[1].Delivered).Abs() > time.Minute {
		t.Errorf("%+v, %v: t/d alone has got anything", got, err)
	}
	busy, err := s.Busy(t.Context())
	var names []string
	for _, b := range busy {
		names = append(names, b.Endpoint)
	}
	if err != nil || !slices.Equal(names, []string{"t/a", "t/c", "t/e"}) {
		t.Errorf("busy: %v, %v; the duplicate for t/b is owed to nobody, and t/d is done", names, err)
	}

	// An endpoint that has nothing is listed, too.
	if d := ds[1]; d.Open != 0 || d.Waiting != 0 || d.Dead != 0 || !d.Oldest.IsZero() {
		t.Errorf("%+v", d)
	}
}

func checkOrphans(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	acceptOne(t, s, update("1", "a"), to("t/a")) // sets the clock
	ask := func(unknown ...string) []string {
		t.Helper()
		got, err := s.Orphans(t.Context(), unknown, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := ask("t/a", "t/b"); len(got) != 0 {
		t.Errorf("orphans at first sight: %v", got)
	}
	clock.forward(50 * time.Minute)
	ask("t/a") // t/b is known to a replica, which drops its note
	ask("t/a", "t/b")
	clock.forward(15 * time.Minute)
	if got := ask("t/a", "t/b"); !slices.Equal(got, []string{"t/a"}) {
		t.Errorf("orphans: %v", got)
	}
}

func checkAttempts(t *testing.T, b *bench) {
	s := b.open(t, options{History: 100})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	failed := func(o *queue.Outcome) {
		o.Attempt = &event.Attempt{Status: 503, Duration: 12 * time.Millisecond, Answer: []byte("busy\xff")}
	}
	settle(t, s, d, queue.Retry, dueIn(s, 0), failed)
	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered)

	got, next, err := s.Attempts(t.Context(), queue.AttemptsQuery{Endpoint: "t/a", Most: 10})
	if err != nil || len(got) != 2 || next != "" {
		t.Fatalf("%+v, next %q, %v", got, next, err)
	}
	if g := got[1]; g.EventID != d.Event.ID || g.N != 1 || g.Status != 503 || g.Duration != 12*time.Millisecond ||
		g.Kind != queue.Retry || g.Text != "busy\uFFFD" {
		t.Errorf("the first: %+v", g)
	}
	if g := got[0]; g.N != 2 || g.Status != 200 || g.Kind != queue.Delivered || g.Text != "" ||
		time.Since(g.At).Abs() > time.Minute {
		t.Errorf("the second: %+v", g)
	}

	// Of many attempts about as many are kept as the history is long.
	for i := range 600 {
		acceptOne(t, s, update(fmt.Sprint("many", i), "a"), to("t/a"))
	}
	for _, d := range take(t, s, "t/a", 600) {
		settle(t, s, d, queue.Delivered)
	}
	got, _, err = s.Attempts(t.Context(), queue.AttemptsQuery{Endpoint: "t/a", Most: 1000})
	if err != nil || len(got) < 100 || len(got) > 300 {
		t.Errorf("%d attempts are kept, want about 100; %v", len(got), err)
	}
}

func checkHealth(t *testing.T, b *bench) {
	s := b.open(t, options{})
	for i := range 4 {
		d := acceptOne(t, s, update(fmt.Sprint(i), "a"), slot(to("t/a"))).Leased[0]
		if i == 0 {
			settle(t, s, d, queue.Retry, dueIn(s, time.Hour), func(o *queue.Outcome) {
				o.Attempt = &event.Attempt{Status: 500, Answer: []byte("oops")}
			})
			continue
		}
		settle(t, s, d, queue.Delivered)
	}

	if err := s.Park(t.Context(), "t/a", event.Actor{Name: "t", From: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Distrust(t.Context(), "t/a"); err != nil {
		t.Fatal(err)
	}

	hs, err := s.Health(t.Context(), []string{"t/none", "t/a"}, 10)
	if err != nil || len(hs) != 2 {
		t.Fatal(hs, err)
	}
	if h := hs[0]; h.Endpoint != "t/none" || h.Open+h.Waiting+h.Dead != 0 || h.Parked != "" || len(h.Latest) != 0 {
		t.Errorf("%+v", h)
	}

	// The latest attempts come first, and a failure says why. It was the first of them, but for some milliseconds by which
	// the time of the store is set at the next look.
	h := hs[1]
	if h.Open != 1 || h.Oldest.IsZero() || h.Parked != "paused" || s.Now().Sub(h.ParkedSince).Abs() > time.Minute ||
		len(h.Latest) != 4 {
		t.Fatalf("%+v", h)
	}
	failed := slices.IndexFunc(h.Latest, func(a event.AttemptRecord) bool { return a.Status == 500 && a.Text == "oops" })
	newestFirst := func(a, b event.AttemptRecord) int { return b.At.Compare(a.At) }
	if failed < 0 || !slices.IsSortedFunc(h.Latest, newestFirst) {
		t.Errorf("%+v", h.Latest)
	}
	if h.PausedBy != "t" || hs[0].PausedBy != "" {
		t.Errorf("paused by %q, the other by %q", h.PausedBy, hs[0].PausedBy)
	}
	if s.Now().Sub(h.AnswersTwice).Abs() > time.Minute || !hs[0].AnswersTwice.IsZero() {
		t.Errorf("answers twice since %s, the other %s", h.AnswersTwice, hs[0].AnswersTwice)
	}
}

func checkPausedTwice(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	look := func() queue.EndpointHealth {
		t.Helper()
		hs, err := s.Health(t.Context(), []string{"t/a"}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return hs[0]
	}
	if err := s.Park(t.Context(), "t/a", event.Actor{Name: "t"}); err != nil {
		t.Fatal(err)
	}
	first := look()

	// The first to pause it counts, until it is resumed.
	clock.forward(time.Hour)
	if err := s.Park(t.Context(), "t/a", event.Actor{Name: event.Operator}); err != nil {
		t.Fatal(err)
	}
	if h := look(); h.PausedBy != "t" || !h.ParkedSince.Equal(first.ParkedSince) {
		t.Errorf("paused by %q at %s, first at %s", h.PausedBy, h.ParkedSince, first.ParkedSince)
	}
	if err := s.Resume(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if h := look(); h.Parked != "" || h.PausedBy != "" {
		t.Errorf("resumed: %+v", h)
	}
	if err := s.Park(t.Context(), "t/a", event.Actor{Name: event.Operator}); err != nil {
		t.Fatal(err)
	}
	if h := look(); h.PausedBy != event.Operator {
		t.Errorf("paused again by %q", h.PausedBy)
	}
}

func checkLock(t *testing.T, b *bench) {
	one, other := b.open(t, options{}), b.open(t, options{})
	lock := func(s *replica, what string, span time.Duration) (unlock func(), locked bool) {
		t.Helper()
		unlock, locked, err := s.TryLock(t.Context(), what, span)
		if err != nil {
			t.Fatal(err)
		}
		return unlock, locked
	}

	unlock, locked := lock(one, "shed", time.Hour)
	if !locked {
		t.Fatal("nobody does it, and yet it may not be done")
	}
	notMine, locked := lock(other, "shed", time.Hour)
	if locked {
		t.Error("two do it at the same time")
	}
	if _, locked := lock(other, "something else", time.Hour); !locked {
		t.Error("something else may not be done")
	}
	notMine()
	if _, locked := lock(other, "shed", time.Hour); locked {
		t.Error("it was ended by who did not do it")
	}
	unlock()

	// The span is over before the first is done: another one has it, and keeps it.
	late, locked := lock(one, "shed", 50*time.Millisecond)
	if !locked {
		t.Fatal("it may not be done after it was ended")
	}
	until(t, "the span is over", func() bool { _, locked := lock(other, "shed", time.Hour); return locked })
	late()
	if _, locked := lock(one, "shed", time.Hour); locked {
		t.Error("who was late has ended what another does")
	}
}
