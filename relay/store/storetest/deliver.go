package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

func checkSlots(t *testing.T, b *bench) {
	s := b.open(t, options{})
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
	s := b.open(t, options{})
	overdue := update("1", "a")
	acceptOne(t, s, overdue, to("t/a"))
	until(t, "the first is due for a millisecond", func() bool {
		return s.Now().UnixMilli() > overdue.AcceptedAt.UnixMilli()
	})

	if got := acceptOne(t, s, update("2", "a"), slot(to("t/a"))); len(got.Leased) != 0 || len(got.Queued) != 1 {
		t.Fatalf("behind a backlog: %+v", got)
	}
	for _, got := range accept(t, s, queue.Routed{Event: update("3", "a"), To: slot(to("t/a"))},
		queue.Routed{Event: update("4", "a"), To: slot(to("t/a"))}) {
		if len(got.Leased) != 0 {
			t.Errorf("the second of a call behind a backlog: %+v", got)
		}
	}
	if ds := take(t, s, "t/a", 1); !slices.Equal(contents(ds), []string{"1:a"}) {
		t.Errorf("first comes %v", contents(ds))
	}
}

func checkOrder(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := accept(t, s,
		queue.Routed{Event: update("1", "a"), To: slot(to("t/a"))},
		queue.Routed{Event: update("1", "b"), To: slot(to("t/a"))},
		queue.Routed{Event: update("1", "c"), To: slot(to("t/a"))},
		queue.Routed{Event: update("2", "a"), To: slot(to("t/a"))})

	if len(got[0].Leased) != 1 || len(got[1].Leased) != 0 || len(got[2].Leased) != 0 || len(got[3].Leased) != 1 {
		t.Fatalf("leased %d %d %d %d, want only the first of each waybill", len(got[0].Leased), len(got[1].Leased),
			len(got[2].Leased), len(got[3].Leased))
	}

	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Fatalf("%v overtook their predecessor", contents(ds))
	}

	d := got[0].Leased[0]
	for _, want := range []string{"b", "c"} {
		n := settle(t, s, d, queue.Delivered, next).Next
		if n == nil || n.Event.Status != want || n.Reason != event.ReasonNew || n.Event.Sequence <= d.Event.Sequence {
			t.Fatalf("successor %+v, want %s", n, want)
		}
		d = n
	}
	if n := settle(t, s, d, queue.Delivered, next).Next; n != nil {
		t.Errorf("a successor after the last: %v", n.Event.Status)
	}
	if got := acceptOne(t, s, update("1", "d"), slot(to("t/a"))); len(got.Leased) != 1 {
		t.Errorf("after the line is empty: %+v", got)
	}
}

func checkSettledTwice(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: slot(to("t/a"))},
		queue.Routed{Event: update("1", "b"), To: to("t/a")})
	for range 2 {
		if n := settle(t, s, got[0].Leased[0], queue.Delivered, next).Next; n == nil || n.Event.Status != "b" {
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
	s := b.open(t, options{Clock: clock.now})
	head := acceptLine(t, s, "1", "t/a", "ab")
	if n := settle(t, s, head, queue.Delivered, next).Next; n == nil || n.Event.Status != "b" {
		t.Fatalf("successor %+v", n)
	}

	// The lease of the successor lapses, and another replica has it by now.
	clock.forward(2 * lease)
	other := takeOne(t, s, "t/a")
	if n := settle(t, s, head, queue.Delivered, next).Next; n != nil {
		t.Errorf("%s was handed out, though another replica holds it", n.Event.Status)
	}
	if settle(t, s, other, queue.Retry, dueIn(s, time.Hour)).Late {
		t.Error("the other replica has lost its lease")
	}
}

func checkEvicted(t *testing.T, b *bench) {
	s := b.open(t, options{})
	lost, kept := update("1", "a"), update("2", "a")
	accept(t, s, queue.Routed{Event: lost, To: to("t/a")}, queue.Routed{Event: kept, To: to("t/a")})
	b.Delete(t, b.prefix()+"e:"+shortID(t, lost))

	ds := take(t, s, "t/a", 10)
	if len(ds) != 1 || ds[0].Event.ID != kept.ID {
		t.Fatalf("leased %v", contents(ds))
	}
	settle(t, s, ds[0], queue.Delivered)
	if queue := b.prefix() + "q:t/a"; len(b.Keys(t, queue)) != 0 {
		t.Error("an event that Redis has lost is still in the queue")
	}
}

func checkNoRoom(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: slot(to("t/a"))},
		queue.Routed{Event: update("1", "b"), To: to("t/a")})
	if n := settle(t, s, got[0].Leased[0], queue.Delivered).Next; n != nil {
		t.Fatalf("a successor that was not asked for")
	}
	if d := takeOne(t, s, "t/a"); d.Event.Status != "b" {
		t.Errorf("due: %s", d.Event.Status)
	}
}

func checkRetryHolds(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := accept(t, s,
		queue.Routed{Event: update("1", "a"), To: slot(to("t/a", "t/b"))},
		queue.Routed{Event: update("1", "b"), To: slot(to("t/a", "t/b"))},
		queue.Routed{Event: update("2", "a"), To: slot(to("t/a"))})
	settle(t, s, got[0].Leased[0], queue.Retry, dueIn(s, time.Hour))
	if n := settle(t, s, got[0].Leased[1], queue.Delivered, next).Next; n == nil || n.Endpoint != "t/b" {
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
	s := b.open(t, options{})
	cs := slot(to("t/a"))
	cs[0].Ordered = false
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: cs}, queue.Routed{Event: update("1", "b"), To: cs})
	if len(got[0].Leased) != 1 || len(got[1].Leased) != 1 {
		t.Errorf("%+v", got)
	}
}

func checkFencing(t *testing.T, b *bench) {
	clock := &shifted{}
	slow, quick := b.open(t, options{}), b.open(t, options{Clock: clock.now})
	accept(t, slow, queue.Routed{Event: update("1", "a"), To: to("t/a")},
		queue.Routed{Event: update("1", "b"), To: to("t/a")})
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
	if !settle(t, slow, old, queue.Retry, dueIn(slow, 0)).Late || !settle(t, slow, old, queue.Dead).Late ||
		!settle(t, slow, old, queue.Released).Late {
		t.Error("a lapsed holder changed the delivery")
	}
	if got := settle(t, slow, old, queue.Delivered, next); got.Late || got.Next == nil || got.Next.Event.Status != "b" {
		t.Errorf("delivered by a lapsed holder: %+v", got)
	}
	if got := settle(t, quick, taken, queue.Delivered, next); !got.Late || got.Next != nil {
		t.Errorf("delivered a second time: %+v", got)
	}
}

func checkLapse(t *testing.T, b *bench) {
	s, other := b.open(t, options{}), b.open(t, options{})
	acceptOne(t, s, update("1", "a"), to("t/a"))
	if ds := takeFor(t, s, "t/a", 1, 50*time.Millisecond); len(ds) != 1 {
		t.Fatal("not leased")
	}
	until(t, "the lease falls due", func() bool { return len(take(t, other, "t/a", 1)) == 1 })
}

func checkClocks(t *testing.T, b *bench) {
	ahead := &shifted{}
	ahead.forward(time.Minute)
	right, wrong := b.open(t, options{}), b.open(t, options{Clock: ahead.now})
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
	s := b.open(t, options{})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, queue.Released, func(o *queue.Outcome) { o.Attempt = nil })
	if d := takeOne(t, s, "t/a"); d.Attempts != 0 || d.Reason != event.ReasonNew {
		t.Errorf("after a release: %d attempts, reason %s", d.Attempts, d.Reason)
	}
}

func checkGone(t *testing.T, b *bench) {
	s := b.open(t, options{})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, queue.Gone)
	if got := acceptOne(t, s, update("2", "a"), slot(to("t/a"))); len(got.Leased) != 0 || got.Deliveries != 1 ||
		len(got.Queued) != 0 {
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

	if err := s.Resume(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if due, err := s.Due(t.Context(), 0, 0, 10); err != nil || len(due) != 1 {
		t.Errorf("due after resume: %v, %v", due, err)
	}
	settle(t, s, takeOne(t, s, "t/a"), queue.Delivered) // what has gathered is let go at a growing pace
	if ds := take(t, s, "t/a", 10); len(ds) != 1 {
		t.Errorf("after resume: %v", contents(ds))
	}
}

func checkAcceptedBefore(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	acceptOne(t, s, update("1", "a"), to("t/a"))
	clock.forward(time.Hour)
	acceptOne(t, s, update("2", "a"), to("t/a"))
	if err := s.Park(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	ds, looked, err := s.Lease(t.Context(),
		[]queue.LeaseRequest{{Endpoint: "t/a", Lease: lease, Most: 10, Parked: true, OpenBefore: s.Now().Add(-time.Minute)}})
	if err != nil || !slices.Equal(contents(ds), []string{"1:a"}) || looked[0].N != 2 {
		t.Errorf("%v, looked at %v, %v", contents(ds), looked, err)
	}
}

func checkAgedBehindManyOthers(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	push := func(name string, n int) {
		var entries []queue.Routed
		for i := range n {
			entries = append(entries, queue.Routed{Event: update(fmt.Sprint(name, i), "a"), To: to("t/a")})
		}
		accept(t, s, entries...)
	}

	// Fifty old deliveries are due behind 250 young ones.
	push("old", 50)
	for _, d := range take(t, s, "t/a", 50) {
		settle(t, s, d, queue.Retry, dueIn(s, 2*time.Hour))
	}
	clock.forward(time.Hour)
	push("young", 250) // due before the old ones, most of them at the same time
	clock.forward(90 * time.Minute)

	// A parked endpoint's aged deliveries are asked for, page by page.
	ask := queue.LeaseRequest{Endpoint: "t/a", Lease: lease, Most: 40, Parked: true,
		OpenBefore: s.Now().Add(-2 * time.Hour)}
	old := 0
	for round := 0; ; round++ {
		ds, looked, err := s.Lease(t.Context(), []queue.LeaseRequest{ask})
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
	s := b.open(t, options{})
	var got []queue.Accepted
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
	s := b.open(t, options{})
	e := update("77\"\n运", "a")
	e.Type, e.CPCode, e.Status = "x\ny", "brand\"", "状态"
	e.Data = []byte("{\"a\":\"\\u4e2d\\n中\",\n\"n\":1.50e3,\"z\":\"\x7f\"}\n")
	acceptOne(t, s, e, to("t/a"))
	got := takeOne(t, s, "t/a").Event
	if string(got.Data) != string(e.Data) || got.Type != e.Type || got.CPCode != e.CPCode || got.Status != e.Status ||
		got.WaybillCode != e.WaybillCode {
		t.Errorf("got %+v", got)
	}
	if !got.ReceivedAt.Equal(e.ReceivedAt) || !got.AcceptedAt.Equal(e.AcceptedAt) || got.Sequence != e.Sequence ||
		got.ID != e.ID {
		t.Errorf("got %+v, want %+v", got, e)
	}
}

func checkLate(t *testing.T, b *bench) {
	s := b.open(t, options{})
	d := &event.Delivery{Event: update("1", "a"), Endpoint: "t/a", Token: "none"}
	if got := settle(t, s, d, queue.Delivered, next); !got.Late {
		t.Errorf("%+v", got)
	}
}
