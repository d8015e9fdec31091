package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store"
)

func checkSlots(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	got := acceptOne(t, s, update("1", "a"), slot(to("t/a", "t/b")))
	if len(got.Leased) != 2 || got.Deliveries != 2 || len(got.Queued) != 0 {
		t.Fatalf("with slots: %+v", got)
	}
	for _, d := range got.Leased {
		if d.Token == "" || d.Reason != event.ReasonNew || d.Event.Sequence == 0 || time.Until(d.LeaseEnds) < lease/2 {
			t.Errorf("leased %+v", d)
		}
	}
	got = acceptOne(t, s, update("2", "a"), to("t/a"))
	if len(got.Leased) != 0 || len(got.Queued) != 1 {
		t.Fatalf("without a slot: %+v", got)
	}
	if ds := take(t, s, "t/a", 10); !slices.Equal(contents(ds), []string{"2:a"}) {
		t.Errorf("due: %v, want only what was not leased before", contents(ds))
	}
}

func checkOverdueFirst(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	overdue := update("1", "a")
	acceptOne(t, s, overdue, to("t/a"))
	until(t, "the first is due for a millisecond", func() bool { return s.Now().UnixMilli() > overdue.AcceptedAt.UnixMilli() })

	if got := acceptOne(t, s, update("2", "a"), slot(to("t/a"))); len(got.Leased) != 0 || len(got.Queued) != 1 {
		t.Fatalf("behind a backlog: %+v", got)
	}
	for _, got := range accept(t, s, event.Entry{Event: update("3", "a"), To: slot(to("t/a"))}, event.Entry{Event: update("4", "a"), To: slot(to("t/a"))}) {
		if len(got.Leased) != 0 {
			t.Errorf("the second of a call behind a backlog: %+v", got)
		}
	}
	if ds := take(t, s, "t/a", 1); !slices.Equal(contents(ds), []string{"1:a"}) {
		t.Errorf("first comes %v", contents(ds))
	}
}

func checkOrder(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	got := accept(t, s,
		event.Entry{Event: update("1", "a"), To: slot(to("t/a"))}, event.Entry{Event: update("1", "b"), To: slot(to("t/a"))},
		event.Entry{Event: update("1", "c"), To: slot(to("t/a"))}, event.Entry{Event: update("2", "a"), To: slot(to("t/a"))})
	if len(got[0].Leased) != 1 || len(got[1].Leased) != 0 || len(got[2].Leased) != 0 || len(got[3].Leased) != 1 {
		t.Fatalf("leased %d %d %d %d, want only the first of each waybill", len(got[0].Leased), len(got[1].Leased), len(got[2].Leased), len(got[3].Leased))
	}
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Fatalf("%v overtook their predecessor", contents(ds))
	}
	d := got[0].Leased[0]
	for _, want := range []string{"b", "c"} {
		n := settle(t, s, d, event.Delivered, next).Next
		if n == nil || n.Event.Status != want || n.Reason != event.ReasonNew || n.Event.Sequence <= d.Event.Sequence {
			t.Fatalf("successor %+v, want %s", n, want)
		}
		d = n
	}
	if n := settle(t, s, d, event.Delivered, next).Next; n != nil {
		t.Errorf("a successor after the last: %v", n.Event.Status)
	}
	if got := acceptOne(t, s, update("1", "d"), slot(to("t/a"))); len(got.Leased) != 1 {
		t.Errorf("after the line is empty: %+v", got)
	}
}

func checkSettledTwice(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	got := accept(t, s, event.Entry{Event: update("1", "a"), To: slot(to("t/a"))}, event.Entry{Event: update("1", "b"), To: to("t/a")})
	for range 2 {
		if n := settle(t, s, got[0].Leased[0], event.Delivered, next).Next; n == nil || n.Event.Status != "b" {
			t.Fatalf("successor %+v", n)
		}
		clock.forward(lease * 2 / 3)
	}
	if ds := take(t, s, "t/a", 1); len(ds) != 0 {
		t.Error("the successor's lease is that of the first answer, and its holder counts from the second")
	}
}

func checkSettledTwiceByTwo(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	head := acceptLine(t, s, "1", "t/a", "ab")
	if n := settle(t, s, head, event.Delivered, next).Next; n == nil || n.Event.Status != "b" {
		t.Fatalf("successor %+v", n)
	}

	// The lease of the successor lapses, and another replica has it by now.
	clock.forward(2 * lease)
	other := takeOne(t, s, "t/a")
	if n := settle(t, s, head, event.Delivered, next).Next; n != nil {
		t.Errorf("%s was handed out, though another replica holds it", n.Event.Status)
	}
	if settle(t, s, other, event.Retry, dueIn(s, time.Hour)).Late {
		t.Error("the other replica has lost its lease")
	}
}

func checkEvicted(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	lost, kept := update("1", "a"), update("2", "a")
	accept(t, s, event.Entry{Event: lost, To: to("t/a")}, event.Entry{Event: kept, To: to("t/a")})
	b.Delete(t, "{"+b.tag+"}:e:"+shortID(t, lost))

	ds := take(t, s, "t/a", 10)
	if len(ds) != 1 || ds[0].Event.ID != kept.ID {
		t.Fatalf("leased %v", contents(ds))
	}
	settle(t, s, ds[0], event.Delivered)
	if queue := "{" + b.tag + "}:q:t/a"; len(b.Keys(t, queue)) != 0 {
		t.Error("an event that Redis has lost is still in the queue")
	}
}

func checkNoRoom(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	got := accept(t, s, event.Entry{Event: update("1", "a"), To: slot(to("t/a"))}, event.Entry{Event: update("1", "b"), To: to("t/a")})
	if n := settle(t, s, got[0].Leased[0], event.Delivered).Next; n != nil {
		t.Fatalf("a successor that was not asked for")
	}
	if d := takeOne(t, s, "t/a"); d.Event.Status != "b" {
		t.Errorf("due: %s", d.Event.Status)
	}
}

func checkRetryHolds(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	got := accept(t, s,
		event.Entry{Event: update("1", "a"), To: slot(to("t/a", "t/b"))}, event.Entry{Event: update("1", "b"), To: slot(to("t/a", "t/b"))},
		event.Entry{Event: update("2", "a"), To: slot(to("t/a"))})
	settle(t, s, got[0].Leased[0], event.Retry, dueIn(s, time.Hour))
	if n := settle(t, s, got[0].Leased[1], event.Delivered, next).Next; n == nil || n.Endpoint != "t/b" {
		t.Errorf("the other endpoint is held up: %+v", n)
	}
	if len(got[2].Leased) != 1 {
		t.Error("the other waybill is held up")
	}
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Errorf("%v overtook a retry", contents(ds))
	}
}

func checkUnordered(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	cs := slot(to("t/a"))
	cs[0].Ordered = false
	got := accept(t, s, event.Entry{Event: update("1", "a"), To: cs}, event.Entry{Event: update("1", "b"), To: cs})
	if len(got[0].Leased) != 1 || len(got[1].Leased) != 1 {
		t.Errorf("%+v", got)
	}
}

func checkLines(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
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
		heads[endpoint] = settle(t, s, heads[endpoint], event.Delivered, next).Next
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
func acceptLine(t *testing.T, s *store.Store, waybill, endpoint, statuses string) *event.Delivery {
	t.Helper()
	var entries []event.Entry
	for _, status := range statuses {
		entries = append(entries, event.Entry{Event: update(waybill, string(status)), To: slot(to(endpoint))})
	}
	got := accept(t, s, entries...)
	if len(got[0].Leased) != 1 {
		t.Fatalf("the first of a line is not leased: %+v", got[0])
	}
	return got[0].Leased[0]
}

func checkRun(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	got := settleLine(t, s, event.Delivered, acceptLine(t, s, "1", "t/a", "abcdef"))
	if got[0].Next == nil || got[0].Next.Event.Status != "b" || !slices.Equal(contents(got[0].Line), []string{"1:c", "1:d", "1:e", "1:f"}) {
		t.Fatalf("after the first comes %+v", got[0])
	}

	// Nobody else gets any of them.
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Fatalf("%v can be leased beside the head", contents(ds))
	}

	// The run is settled in one call.
	line := append([]*event.Delivery{got[0].Next}, got[0].Line[:2]...)
	for range 2 { // the second time because the answer was lost
		got = settleLine(t, s, event.Delivered, line...)
		if last := got[2]; last.Late || last.Next == nil || last.Next.Event.Status != "e" || got[0].Next != nil || got[1].Next != nil {
			t.Fatalf("after a run comes %+v", got)
		}
	}
	if d, err := s.Depths(t.Context(), []string{"t/a"}); err != nil || d[0].Open != 1 || d[0].Waiting != 1 {
		t.Errorf("%+v, %v, want 1 open, and 1 that waits", d, err)
	}

	if n := settle(t, s, got[2].Next, event.Delivered, next).Next; n == nil || n.Event.Status != "f" {
		t.Errorf("then comes %+v", n)
	}
}

func checkRunHad(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	ask := func(had, behind int, ds ...*event.Delivery) event.Settled {
		t.Helper()
		var outcomes []event.Outcome
		for _, d := range ds {
			outcomes = append(outcomes, event.Outcome{Delivery: d, Kind: event.Delivered})
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
	if err := s.Park(t.Context(), "t/a"); err != nil {
		t.Fatal(err)
	}
	if fourth := ask(1, 5, second.Line[0]); fourth.Late || fourth.Leased || len(fourth.Line) != 0 {
		t.Errorf("at an endpoint that is parked: %+v", fourth)
	}
}

func checkRunEnds(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	for _, kind := range []event.OutcomeKind{event.Retry, event.Dead, event.Released} {
		waybill, endpoint := string(rune(kind)), "t/"+string(rune(kind))
		first := settleLine(t, s, event.Delivered, acceptLine(t, s, waybill, endpoint, "abcd"))[0]
		got := settleLine(t, s, kind, first.Next, first.Line[0])[1]
		ds := take(t, s, endpoint, 10)
		switch {
		case kind == event.Dead && (got.Next == nil || got.Next.Event.Status != "d"):
			t.Errorf("behind a dead letter comes %+v", got)
		case kind != event.Dead && got.Next != nil:
			t.Errorf("%c: %v overtook its predecessor", kind, got.Next.Event.Status)
		case kind == event.Released && !slices.Equal(contents(ds), []string{waybill + ":c"}), kind != event.Released && len(ds) != 0:
			t.Errorf("%c: due is %v", kind, contents(ds))
		}
	}
}

func checkRunWithoutLease(t *testing.T, b *bench) {
	clock := &shifted{}
	slow, quick := b.open(t, store.Options{}), b.open(t, store.Options{Clock: clock.now})
	first := settleLine(t, slow, event.Delivered, acceptLine(t, slow, "1", "t/a", "abcd"))[0]
	if ds := take(t, quick, "t/a", 1); len(ds) != 0 {
		t.Fatal("a lease that holds was taken")
	}
	clock.forward(2 * lease)
	taken := takeOne(t, quick, "t/a")
	// The one that is slow delivered the next two, and its outcome of the first of them is lost.
	if got := settle(t, slow, first.Line[0], event.Delivered, next); got.Late || got.Next != nil {
		t.Errorf("what was delivered is settled as %+v", got)
	}
	if got := settle(t, quick, taken, event.Delivered, next); got.Late || got.Next == nil || got.Next.Event.Status != "d" {
		t.Errorf("then comes %+v", got)
	}
}

func checkTwoHolders(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	first := settleLine(t, s, event.Delivered, acceptLine(t, s, "1", "t/a", "abcd"))[0]
	clock.forward(2 * lease)
	again := takeOne(t, s, "t/a")
	// Whoever has the lease settles first, and leaves the line; what the other one says of the next is too late.
	got, err := s.Settle(t.Context(), event.Outcome{Delivery: again, Kind: event.Delivered},
		event.Outcome{Delivery: first.Next, Kind: event.Delivered}, event.Outcome{Delivery: first.Line[0], Kind: event.Retry, Due: s.Now().Add(time.Hour)})
	if err != nil || got[0].Late || !got[1].Late || !got[2].Late {
		t.Fatalf("%+v, %v", got, err)
	}
	clock.forward(2 * lease)
	if ds := take(t, s, "t/a", 10); !slices.Equal(contents(ds), []string{"1:c"}) {
		t.Errorf("due is %v", contents(ds))
	}
}

func checkDeadMovesOn(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	got := accept(t, s, event.Entry{Event: update("1", "a"), To: slot(to("t/a"))}, event.Entry{Event: update("1", "b"), To: to("t/a")})
	if n := settle(t, s, got[0].Leased[0], event.Dead, because("no"), next).Next; n == nil || n.Event.Status != "b" {
		t.Fatalf("successor of a dead letter: %+v", n)
	}
}

func checkFencing(t *testing.T, b *bench) {
	clock := &shifted{}
	slow, quick := b.open(t, store.Options{}), b.open(t, store.Options{Clock: clock.now})
	accept(t, slow, event.Entry{Event: update("1", "a"), To: to("t/a")}, event.Entry{Event: update("1", "b"), To: to("t/a")})
	old := takeOne(t, slow, "t/a")
	quick.Now()
	if ds := take(t, quick, "t/a", 1); len(ds) != 0 {
		t.Fatal("a lease that holds was taken")
	}
	clock.forward(2 * lease)
	taken := takeOne(t, quick, "t/a")
	if taken.Reason != event.ReasonRetry {
		t.Errorf("reason %s of a delivery that may have been attempted", taken.Reason)
	}
	if !settle(t, slow, old, event.Retry, dueIn(slow, 0)).Late || !settle(t, slow, old, event.Dead).Late || !settle(t, slow, old, event.Released).Late {
		t.Error("a lapsed holder changed the delivery")
	}
	if got := settle(t, slow, old, event.Delivered, next); got.Late || got.Next == nil || got.Next.Event.Status != "b" {
		t.Errorf("delivered by a lapsed holder: %+v", got)
	}
	if got := settle(t, quick, taken, event.Delivered, next); !got.Late || got.Next != nil {
		t.Errorf("delivered a second time: %+v", got)
	}
}

func checkLapse(t *testing.T, b *bench) {
	s, other := b.open(t, store.Options{}), b.open(t, store.Options{})
	acceptOne(t, s, update("1", "a"), to("t/a"))
	if ds := takeFor(t, s, "t/a", 1, 50*time.Millisecond); len(ds) != 1 {
		t.Fatal("not leased")
	}
	until(t, "the lease falls due", func() bool { return len(take(t, other, "t/a", 1)) == 1 })
}

func checkClocks(t *testing.T, b *bench) {
	ahead := &shifted{}
	ahead.forward(time.Minute)
	right, wrong := b.open(t, store.Options{}), b.open(t, store.Options{Clock: ahead.now})
	for i := range 20 {
		waybill := fmt.Sprint(i)
		holder, thief := right, wrong
		if i%2 == 1 {
			holder, thief = wrong, right
		}
		acceptOne(t, holder, update(waybill, "a"), to("t/a"))
		if ds := takeFor(t, holder, "t/a", 10, 30*time.Second); len(ds) != 1 {
			t.Fatalf("the holder leased %d", len(ds))
		}
		if ds := take(t, thief, "t/a", 10); len(ds) != 0 {
			t.Fatalf("a replica with another clock stole %v", contents(ds))
		}
	}
	if gap := right.Now().Sub(wrong.Now()).Abs(); gap > 5*time.Second {
		t.Errorf("the replicas disagree by %s", gap)
	}
}

func checkRelease(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, event.Released, func(o *event.Outcome) { o.Attempt = nil })
	if d := takeOne(t, s, "t/a"); d.Attempts != 0 || d.Reason != event.ReasonNew {
		t.Errorf("after a release: %d attempts, reason %s", d.Attempts, d.Reason)
	}
}

func checkGone(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, event.Gone)
	if got := acceptOne(t, s, update("2", "a"), slot(to("t/a"))); len(got.Leased) != 0 || got.Deliveries != 1 || len(got.Queued) != 0 {
		t.Errorf("a gone endpoint was given a new delivery, or it is said to be due: %+v", got)
	}
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Errorf("a gone endpoint was given %v", contents(ds))
	}
	if due, err := s.Due(t.Context(), time.Hour, 0, 10); err != nil || len(due) != 0 {
		t.Errorf("due: %v, %v", due, err)
	}
	if p, err := s.Parked(t.Context()); err != nil || p["t/a"] != "gone" {
		t.Errorf("parked: %v, %v", p, err)
	}
	if err := s.Resume(t.Context(), "t/a"); err != nil {
		t.Fatal(err)
	}
	if due, err := s.Due(t.Context(), 0, 0, 10); err != nil || len(due) != 1 {
		t.Errorf("due after resume: %v, %v", due, err)
	}
	settle(t, s, takeOne(t, s, "t/a"), event.Delivered) // what has gathered is let go at a growing pace
	if ds := take(t, s, "t/a", 10); len(ds) != 1 {
		t.Errorf("after resume: %v", contents(ds))
	}
}

func checkAcceptedBefore(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	acceptOne(t, s, update("1", "a"), to("t/a"))
	clock.forward(time.Hour)
	acceptOne(t, s, update("2", "a"), to("t/a"))
	if err := s.Park(t.Context(), "t/a"); err != nil {
		t.Fatal(err)
	}
	ds, looked, err := s.Lease(t.Context(), []event.LeaseRequest{{Endpoint: "t/a", Lease: lease, Most: 10, Parked: true, OpenBefore: s.Now().Add(-time.Minute)}})
	if err != nil || !slices.Equal(contents(ds), []string{"1:a"}) || looked[0].N != 2 {
		t.Errorf("%v, looked at %v, %v", contents(ds), looked, err)
	}
}

func checkAgedBehindManyOthers(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	push := func(name string, n int) {
		var entries []event.Entry
		for i := range n {
			entries = append(entries, event.Entry{Event: update(fmt.Sprint(name, i), "a"), To: to("t/a")})
		}
		accept(t, s, entries...)
	}

	// Fifty old deliveries are due behind 250 young ones.
	push("old", 50)
	for _, d := range take(t, s, "t/a", 50) {
		settle(t, s, d, event.Retry, dueIn(s, 2*time.Hour))
	}
	clock.forward(time.Hour)
	push("young", 250) // due before the old ones, most of them at the same time
	clock.forward(90 * time.Minute)

	// A parked endpoint's aged deliveries are asked for, page by page.
	ask := event.LeaseRequest{Endpoint: "t/a", Lease: lease, Most: 40, Parked: true, OpenBefore: s.Now().Add(-2 * time.Hour)}
	old := 0
	for round := 0; ; round++ {
		ds, looked, err := s.Lease(t.Context(), []event.LeaseRequest{ask})
		if err != nil {
			t.Fatal(err)
		}
		old += len(ds)
		if looked[0].N < ask.Most {
			break
		}
		if round > 30 {
			t.Fatal("it goes on for ever")
		}
		ask.From = looked[0].Next
	}

	if old != 50 {
		t.Errorf("%d of 50 old deliveries were found", old)
	}
}

func checkOtherType(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	var got []event.Accepted
	for i := range 2 {
		e := update("", fmt.Sprint(i))
		e.Type = "print_status"
		got = append(got, acceptOne(t, s, e, slot(to("t/a"))))
	}
	if len(got[0].Leased) != 1 || len(got[1].Leased) != 1 {
		t.Errorf("%+v", got)
	}
}

func checkBytes(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	e := update("77\"\n运", "a")
	e.Type, e.CPCode, e.Status = "x\ny", "brand\"", "状态"
	e.Data = []byte("{\"a\":\"\\u4e2d\\n中\",\n\"n\":1.50e3,\"z\":\"\x7f\"}\n")
	acceptOne(t, s, e, to("t/a"))
	got := takeOne(t, s, "t/a").Event
	if string(got.Data) != string(e.Data) || got.Type != e.Type || got.CPCode != e.CPCode || got.Status != e.Status || got.WaybillCode != e.WaybillCode {
		t.Errorf("got %+v", got)
	}
	if !got.ReceivedAt.Equal(e.ReceivedAt) || !got.AcceptedAt.Equal(e.AcceptedAt) || got.Sequence != e.Sequence || got.ID != e.ID {
		t.Errorf("got %+v, want %+v", got, e)
	}
}

func checkLate(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	d := &event.Delivery{Event: update("1", "a"), Endpoint: "t/a", Token: "none"}
	if got := settle(t, s, d, event.Delivered, next); !got.Late {
		t.Errorf("%+v", got)
	}
}

func checkDue(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	got := acceptOne(t, s, update("1", "a"), slot(to("t/a", "t/b", "t/c")))
	settle(t, s, got.Leased[0], event.Retry, dueIn(s, 40*time.Second))
	settle(t, s, got.Leased[1], event.Retry, dueIn(s, -time.Second))
	settle(t, s, got.Leased[2], event.Delivered)
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
	s := b.open(t, store.Options{})
	got := accept(t, s,
		event.Entry{Event: update("1", "a"), To: slot(to("t/a"))}, event.Entry{Event: update("1", "b"), To: to("t/a")},
		event.Entry{Event: update("2", "a"), To: slot(to("t/a"))}, event.Entry{Event: update("3", "a"), To: to("t/a")})
	settle(t, s, got[2].Leased[0], event.Dead, because("no"))

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
	settle(t, s, acceptOne(t, s, update("9", "a"), slot(to("t/c"))).Leased[0], event.Dead, because("no"))
	settle(t, s, acceptOne(t, s, update("9", "b"), slot(to("t/d"))).Leased[0], event.Delivered)
	if err := s.Park(t.Context(), "t/e"); err != nil {
		t.Fatal(err)
	}

	if got, err := s.Depths(t.Context(), []string{"t/c", "t/d"}); err != nil || !got[0].Delivered.IsZero() || time.Since(got[1].Delivered).Abs() > time.Minute {
		t.Errorf("%+v, %v: t/d alone has got anything", got, err)
	}
	if busy, err := s.Busy(t.Context()); err != nil || !slices.Equal(busy, []string{"t/a", "t/c", "t/e"}) {
		t.Errorf("busy: %v, %v; the duplicate for t/b is owed to nobody, and t/d is done", busy, err)
	}

	// An endpoint that has nothing is listed, too.
	if d := ds[1]; d.Open != 0 || d.Waiting != 0 || d.Dead != 0 || !d.Oldest.IsZero() {
		t.Errorf("%+v", d)
	}
}

func checkOrphans(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
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
	s := b.open(t, store.Options{History: 100})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	failed := func(o *event.Outcome) {
		o.Attempt = &event.Attempt{Status: 503, Duration: 12 * time.Millisecond, Answer: []byte("busy\xff")}
	}
	settle(t, s, d, event.Retry, dueIn(s, 0), failed)
	settle(t, s, takeOne(t, s, "t/a"), event.Delivered)

	got, err := s.Attempts(t.Context(), "t/a", 10)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if g := got[1]; g.EventID != d.Event.ID || g.N != 1 || g.Status != 503 || g.Duration != 12*time.Millisecond || g.Kind != byte(event.Retry) || g.Text != "busy\uFFFD" {
		t.Errorf("the first: %+v", g)
	}
	if g := got[0]; g.N != 2 || g.Status != 200 || g.Kind != byte(event.Delivered) || g.Text != "" || time.Since(g.At).Abs() > time.Minute {
		t.Errorf("the second: %+v", g)
	}

	// Of many attempts about as many are kept as the history is long.
	for i := range 600 {
		acceptOne(t, s, update(fmt.Sprint("many", i), "a"), to("t/a"))
	}
	for _, d := range take(t, s, "t/a", 600) {
		settle(t, s, d, event.Delivered)
	}
	if got, err = s.Attempts(t.Context(), "t/a", 1000); err != nil || len(got) < 100 || len(got) > 300 {
		t.Errorf("%d attempts are kept, want about 100; %v", len(got), err)
	}
}
