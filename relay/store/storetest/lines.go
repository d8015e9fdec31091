package storetest

import (
	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"slices"
	"testing"
	"time"
)

func checkLines(t *testing.T, b *bench) {
	s := b.open(t, options{})
	endpoints := []string{"t/a", "t/b", "t/c"}
	heads := map[string]*event.Delivery{}
	had := map[string]string{} // the statuses that each endpoint had, in their order
	push := func(status string) {
		for _, d := range acceptOne(t, s, update("1", status), slot(to(endpoints...))).Leased {
			if heads[d.Endpoint] != nil {
				t.Fatalf("%s: %s is leased while %s is open", d.Endpoint, status, heads[d.Endpoint].Event.Status)
			}
			heads[d.Endpoint] = d
		}
	}
	deliver := func(endpoint string) {
		had[endpoint] += heads[endpoint].Event.Status
		heads[endpoint] = settle(t, s, heads[endpoint], queue.Delivered, next).Next
	}

	// One endpoint is ahead of the others, runs empty, and gets a head of its own; then another one.
	push("a")
	push("b")
	deliver("t/a")
	deliver("t/a")
	push("c")
	deliver("t/b")
	deliver("t/a")
	push("d")
	push("e")

	// All get all updates in their order, and a line that is over does not hold the next update back.
	for _, endpoint := range endpoints {
		for heads[endpoint] != nil {
			deliver(endpoint)
		}
		if had[endpoint] != "abcde" {
			t.Errorf("%s had %s", endpoint, had[endpoint])
		}
	}
	push("f")
	if heads["t/a"] == nil || heads["t/b"] == nil || heads["t/c"] == nil {
		t.Errorf("after all is delivered: %v", heads)
	}
}

// acceptLine accepts updates of a waybill in the order of their statuses, and returns the first, leased.
func acceptLine(t *testing.T, s *replica, waybill, endpoint, statuses string) *event.Delivery {
	t.Helper()
	var entries []queue.Routed
	for _, status := range statuses {
		entries = append(entries, queue.Routed{Event: update(waybill, string(status)), To: slot(to(endpoint))})
	}
	got := accept(t, s, entries...)
	if len(got[0].Leased) != 1 {
		t.Fatalf("the first of a line is not leased: %+v", got[0])
	}
	return got[0].Leased[0]
}

func checkRun(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := settleLine(t, s, queue.Delivered, acceptLine(t, s, "1", "t/a", "abcdef"))
	if got[0].Next == nil || got[0].Next.Event.Status != "b" ||
		!slices.Equal(contents(got[0].Line), []string{"1:c", "1:d", "1:e", "1:f"}) {
		t.Fatalf("after the first comes %+v", got[0])
	}

	// Nobody else gets any of them.
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Fatalf("%v can be leased beside the head", contents(ds))
	}

	// The run is settled in one call.
	line := append([]*event.Delivery{got[0].Next}, got[0].Line[:2]...)
	for range 2 { // the second time because the answer was lost
		got = settleLine(t, s, queue.Delivered, line...)
		if last := got[2]; last.Late || last.Next == nil || last.Next.Event.Status != "e" || got[0].Next != nil ||
			got[1].Next != nil {
			t.Fatalf("after a run comes %+v", got)
		}
	}
	if d, err := s.Depths(t.Context(), []string{"t/a"}); err != nil || d[0].Open != 1 || d[0].Waiting != 1 {
		t.Errorf("%+v, %v, want 1 open, and 1 that waits", d, err)
	}

	if n := settle(t, s, got[2].Next, queue.Delivered, next).Next; n == nil || n.Event.Status != "f" {
		t.Errorf("then comes %+v", n)
	}
}

func checkRunHad(t *testing.T, b *bench) {
	s := b.open(t, options{})
	ask := func(had, behind int, ds ...*event.Delivery) queue.Settled {
		t.Helper()
		var outcomes []queue.Outcome
		for _, d := range ds {
			outcomes = append(outcomes, queue.Outcome{Delivery: d, Kind: queue.Delivered})
		}
		last := &outcomes[len(ds)-1]
		last.Next, last.Held, last.Wanted = lease, had, behind
		got, err := s.Settle(t.Context(), outcomes...)
		if err != nil {
			t.Fatal(err)
		}
		return got[len(ds)-1]
	}

	// The holder of a head asks for two more of its line.
	first := ask(0, 2, acceptLine(t, s, "1", "t/a", "abcdef"))
	if !first.Leased || first.Next == nil || !slices.Equal(contents(first.Line), []string{"1:c", "1:d"}) {
		t.Fatalf("after the first comes %+v", first)
	}

	// What it has already is not sent again.
	c, d := first.Line[0], first.Line[1]
	second := ask(2, 1, first.Next)
	if !second.Leased || second.Next != nil || !slices.Equal(contents(second.Line), []string{"1:e"}) {
		t.Fatalf("behind c and d comes %+v", second)
	}

	if again := ask(2, 1, first.Next); !again.Leased || again.Next != nil || len(again.Line) != 0 {
		t.Errorf("asked again: %+v", again)
	}

	// It may settle those that it had.
	if third := ask(1, 5, c, d); !third.Leased || !slices.Equal(contents(third.Line), []string{"1:f"}) {
		t.Errorf("behind e comes %+v", third)
	}

	// An endpoint that is parked gives nothing.
	if err := s.Park(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if fourth := ask(1, 5, second.Line[0]); fourth.Late || fourth.Leased || len(fourth.Line) != 0 {
		t.Errorf("at an endpoint that is parked: %+v", fourth)
	}
}

func checkRunEnds(t *testing.T, b *bench) {
	s := b.open(t, options{})
	for _, kind := range []queue.OutcomeKind{queue.Retry, queue.Dead, queue.Released} {
		waybill, endpoint := string(rune(kind)), "t/"+string(rune(kind))
		first := settleLine(t, s, queue.Delivered, acceptLine(t, s, waybill, endpoint, "abcd"))[0]
		got := settleLine(t, s, kind, first.Next, first.Line[0])[1]
		ds := take(t, s, endpoint, 10)
		switch {
		case kind == queue.Dead && (got.Next == nil || got.Next.Event.Status != "d"):
			t.Errorf("behind a dead letter comes %+v", got)
		case kind != queue.Dead && got.Next != nil:
			t.Errorf("%c: %v overtook its predecessor", kind, got.Next.Event.Status)
		case kind == queue.Released && !slices.Equal(contents(ds), []string{waybill + ":c"}), kind != queue.Released &&
			len(ds) != 0:
			t.Errorf("%c: due is %v", kind, contents(ds))
		}
	}
}

func checkRunWithoutLease(t *testing.T, b *bench) {
	clock := &shifted{}
	slow, quick := b.open(t, options{}), b.open(t, options{Clock: clock.now})
	first := settleLine(t, slow, queue.Delivered, acceptLine(t, slow, "1", "t/a", "abcd"))[0]
	if ds := take(t, quick, "t/a", 1); len(ds) != 0 {
		t.Fatal("a lease that holds was taken")
	}
	clock.forward(2 * lease)
	taken := takeOne(t, quick, "t/a")
	// The one that is slow delivered the next two, and its outcome of the first of them is lost.
	if got := settle(t, slow, first.Line[0], queue.Delivered, next); got.Late || got.Next != nil {
		t.Errorf("what was delivered is settled as %+v", got)
	}
	if got := settle(t, quick, taken, queue.Delivered, next); got.Late || got.Next == nil || got.Next.Event.Status != "d" {
		t.Errorf("then comes %+v", got)
	}
}

func checkTwoHolders(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	first := settleLine(t, s, queue.Delivered, acceptLine(t, s, "1", "t/a", "abcd"))[0]
	clock.forward(2 * lease)
	again := takeOne(t, s, "t/a")
	// Whoever has the lease settles first, and leaves the line; what the other one says of the next is too late.
	got, err := s.Settle(t.Context(), queue.Outcome{Delivery: again, Kind: queue.Delivered},
		queue.Outcome{Delivery: first.Next, Kind: queue.Delivered},
		queue.Outcome{Delivery: first.Line[0], Kind: queue.Retry, Due: s.Now().Add(time.Hour)})
	if err != nil || got[0].Late || !got[1].Late || !got[2].Late {
		t.Fatalf("%+v, %v", got, err)
	}
	clock.forward(2 * lease)
	if ds := take(t, s, "t/a", 10); !slices.Equal(contents(ds), []string{"1:c"}) {
		t.Errorf("due is %v", contents(ds))
	}
}

func checkDeadMovesOn(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: slot(to("t/a"))},
		queue.Routed{Event: update("1", "b"), To: to("t/a")})
	if n := settle(t, s, got[0].Leased[0], queue.Dead, because("no"), next).Next; n == nil || n.Event.Status != "b" {
		t.Fatalf("successor of a dead letter: %+v", n)
	}
}
