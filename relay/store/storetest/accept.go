package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

func checkWindow(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	first := update("1", "a")
	acceptOne(t, s, first, to("t/a"))
	clock.forward(71 * time.Hour)
	again := update("1", "a")
	if got := acceptOne(t, s, again, to("t/a")); !got.Duplicate || got.Deliveries != 0 || again.ID != first.ID ||
		!again.AcceptedAt.Equal(first.AcceptedAt) {
		t.Errorf("within the window: %+v of %s", got, again.ID)
	}
	clock.forward(2 * time.Hour)
	for _, suffix := range []string{"-2", "-3"} {
		e := update("1", "a")
		if got := acceptOne(t, s, e, to("t/a")); got.Duplicate || e.ID != first.ID+suffix {
			t.Errorf("past the window: %+v, id %s, want %s", got, e.ID, suffix)
		}
		e = update("1", "a")
		if got := acceptOne(t, s, e, to("t/a")); !got.Duplicate || e.ID != first.ID+suffix {
			t.Errorf("duplicate of a recurrence: %+v, id %s", got, e.ID)
		}
		clock.forward(73 * time.Hour)
	}
}

func checkBare(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	a := bare("1", "a")
	acceptOne(t, s, a, to("t/a"))
	clock.forward(5 * time.Hour)
	if !acceptOne(t, s, bare("1", "a"), to("t/a")).Duplicate {
		t.Error("equal to the last one accepted, but not a duplicate")
	}
	acceptOne(t, s, bare("1", "b"), to("t/a"))
	third := bare("1", "a")
	if acceptOne(t, s, third, to("t/a")).Duplicate || third.ID != a.ID+"-2" {
		t.Errorf("A B A: the third is %s", third.ID)
	}
	acceptOne(t, s, bare("1", "c"), to("t/a"))
	clock.forward(time.Hour)
	if !acceptOne(t, s, bare("1", "a"), to("t/a")).Duplicate {
		t.Error("seen within the bare window, but not a duplicate")
	}
	if acceptOne(t, s, bare("2", "a"), to("t/a")).Duplicate {
		t.Error("another waybill is a duplicate")
	}
}

func checkSameCall(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: to("t/a")},
		queue.Routed{Event: update("1", "b"), To: to("t/a")},
		queue.Routed{Event: update("1", "a"), To: to("t/a")})
	if got[0].Duplicate || got[1].Duplicate || !got[2].Duplicate {
		t.Errorf("%+v", got)
	}
}

func checkConcurrentDuplicates(t *testing.T, b *bench) {
	stores := []*replica{b.open(t, options{}), b.open(t, options{})}
	var fresh, dups, leased atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 1000 / 64 {
				out, err := stores[i%2].Accept(t.Context(), []queue.Routed{{Event: update("1", "a"), To: slot(to("t/a", "t/b"))}})
				if err != nil {
					t.Error(err)
					return
				}
				if out[0].Duplicate {
					dups.Add(1)
				} else {
					fresh.Add(1)
				}
				leased.Add(int64(len(out[0].Leased)))
			}
		})
	}
	wg.Wait()
	if fresh.Load() != 1 || dups.Load() != 64*(1000/64)-1 || leased.Load() != 2 {
		t.Errorf("%d new, %d duplicates, %d leased", fresh.Load(), dups.Load(), leased.Load())
	}
}

func checkPrune(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now,
		Settings: settings{Retention: 100 * time.Millisecond, Window: time.Hour}})
	for i := range 40 {
		acceptOne(t, s, update("1", fmt.Sprint(i)), nil)
	}

	// The record remembers 41 events, of which one is still there.
	acceptOne(t, s, update("1", "held"), to("t/a")) // its event is open: the record has to know it
	until(t, "the events are gone", func() bool {
		tidy(t, s)
		return len(b.Keys(t, b.prefix()+"e:")) == 1
	})

	// Behind the window, further events prune it.
	clock.forward(2 * time.Hour)
	for i := range 40 {
		acceptOne(t, s, update("1", fmt.Sprint("later", i)), to("t/a"))
	}

	// What was pruned is new again; of an event that is still there it is a recurrence.
	e := update("1", "0")
	if acceptOne(t, s, e, to("t/a")).Duplicate || e.ID != update("1", "0").ID {
		t.Errorf("forgotten content comes as %s", e.ID)
	}
	e = update("1", "held")
	if acceptOne(t, s, e, to("t/a")).Duplicate || e.ID != update("1", "held").ID+"-2" {
		t.Errorf("content of an event that is still there comes as %s", e.ID)
	}
}

func checkChanged(t *testing.T, b *bench) {
	s := b.open(t, options{})
	changed := []queue.Candidate{{Endpoint: "t/a", When: event.IfChanged, Lease: lease},
		{Endpoint: "t/b", When: event.IfChanged | event.Always, Lease: lease}}
	n := 0
	push := func(brand, status string) int {
		n++
		e := update("1", fmt.Sprint(n))
		e.Status, e.CPCode = status, brand
		return acceptOne(t, s, e, changed).Deliveries
	}

	// Only an endpoint with another condition gets an update that changes nothing.
	for i, step := range []struct {
		brand, status string
		want          int
	}{
		{"zt", "collected", 2}, // the first counts as a change
		{"zt", "collected", 1},
		{"zt", "sending", 2},
		{"zt", "", 1},        // an absent status neither matches
		{"zt", "sending", 1}, // nor overwrites
		{"zt", "collected", 2},
		{"sto", "collected", 2}, // the same number of another brand is another parcel
	} {
		if got := push(step.brand, step.status); got != step.want {
			t.Errorf("step %d (%s %q): %d deliveries, want %d", i, step.brand, step.status, got, step.want)
		}
	}

	if !acceptOne(t, s, update("2", "x"), changed).Duplicate &&
		acceptOne(t, s, update("2", "x"), changed).Deliveries != 0 {
		t.Error("a duplicate was delivered")
	}
}

func checkSequence(t *testing.T, b *bench) {
	s := b.open(t, options{})
	last := int64(0)
	for i := range 100 {
		e := update("1", fmt.Sprint(i))
		acceptOne(t, s, e, to("t/a"))
		if e.Sequence <= last {
			t.Fatalf("sequence %d after %d", e.Sequence, last)
		}
		last = e.Sequence
	}
}

func checkBig(t *testing.T, b *bench) {
	s := b.open(t, options{})
	var routed []queue.Routed
	n := b.some(3000)
	for i := range n {
		routed = append(routed, queue.Routed{Event: update(fmt.Sprint(i%7), fmt.Sprint(i)), To: to("t/a")})
	}
	accept(t, s, routed...)

	// Each waybill's sequence grows.
	last := map[string]int64{}
	for i, e := range routed {
		if e.Event.Sequence <= last[e.Event.WaybillCode] {
			t.Fatalf("item %d: sequence %d after %d", i, e.Event.Sequence, last[e.Event.WaybillCode])
		}
		last[e.Event.WaybillCode] = e.Event.Sequence
	}

	// The updates of a waybill are leased in their order.
	due := map[string]int{}
	for seen, rounds := 0, 0; seen < n; rounds++ {
		if rounds > n {
			t.Fatalf("%d of %d were leased", seen, n)
		}
		var delivered []queue.Outcome
		for _, d := range take(t, s, "t/a", 100) {
			w := d.Event.WaybillCode
			if got, err := strconv.Atoi(d.Event.Status); err != nil || got%7 != int(w[0]-'0') || got/7 != due[w] {
				t.Fatalf("waybill %s: got update %s, want the one in place %d", w, d.Event.Status, due[w])
			}
			due[w]++
			seen++
			delivered = append(delivered, queue.Outcome{Delivery: d, Kind: queue.Delivered})
		}
		if _, err := s.Settle(t.Context(), delivered...); err != nil {
			t.Fatal(err)
		}
	}
}

func checkWide(t *testing.T, b *bench) {
	s := b.open(t, options{})
	var names []string
	for i := range 1200 {
		names = append(names, fmt.Sprintf("t%d/a", i))
	}
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: slot(to(names...))},
		queue.Routed{Event: update("1", "b"), To: slot(to(names...))})
	if len(got[0].Leased) != 1200 || got[0].Deliveries != 1200 || len(got[1].Leased) != 0 || got[1].Deliveries != 1200 {
		t.Fatalf("%d leased of %d, %d of %d", len(got[0].Leased), got[0].Deliveries, len(got[1].Leased), got[1].Deliveries)
	}
	for _, d := range []*event.Delivery{got[0].Leased[0], got[0].Leased[777], got[0].Leased[1199]} {
		if n := settle(t, s, d, queue.Delivered, next).Next; n == nil || n.Event.Status != "b" {
			t.Errorf("successor at %s: %+v", d.Endpoint, n)
		}
	}
}

func checkInvalidID(t *testing.T, b *bench) {
	s := b.open(t, options{})
	bad := update("1", "a")
	bad.ID = "evt_123"
	if _, err := s.Accept(t.Context(), []queue.Routed{{Event: bad}}); err == nil {
		t.Error("an invalid id was accepted")
	}
	if keys := b.Keys(t, b.prefix()); len(keys) != 0 {
		t.Errorf("it left %v", keys)
	}
}

func checkQuarantine(t *testing.T, b *bench) {
	s := b.open(t, options{})
	q := event.Quarantined{ID: "q1", ReceivedAt: time.UnixMilli(1_700_000_000_000).UTC(), Reason: "no",
		Raw: []byte("\xff\x00{"), Headers: map[string]string{"Content-Type": "x"}}
	for range 3 {
		if _, err := s.Quarantine(t.Context(), []event.Quarantined{q, {ID: "q2"}}, false); err != nil {
			t.Fatal(err)
		}
	}

	// It holds more than one call can write.
	many := make([]event.Quarantined, 3000)
	for i := range many {
		many[i] = event.Quarantined{ID: fmt.Sprint("z", i), Raw: []byte("x")} // behind q1 and q2 in the same millisecond
	}
	if _, err := s.Quarantine(t.Context(), many, false); err != nil {
		t.Fatal(err)
	}

	// They are counted, and listed page by page.
	if n, err := s.CountQuarantined(t.Context(), s.Now().Add(-time.Hour)); n.All != 3002 || n.New != 3002 || err != nil {
		t.Errorf("%+v are counted, %v", n, err)
	}
	if got, next, err := s.Quarantined(t.Context(), 0, 5000); err != nil || len(got) != 3002 || next != 0 {
		t.Fatalf("%d in quarantine, next %d, %v", len(got), next, err)
	}
	if got, next, err := s.Quarantined(t.Context(), 10, 20); err != nil || len(got) != 20 || next != 30 {
		t.Fatalf("%d in a page, next %d, %v", len(got), next, err)
	}

	got, _, err := s.Quarantined(t.Context(), 3000, 10)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}

	// What was kept comes back as it was.
	i := slices.IndexFunc(got, func(q event.Quarantined) bool { return q.ID == "q1" })
	if i < 0 || string(got[i].Raw) != string(q.Raw) || got[i].Reason != "no" || got[i].Headers["Content-Type"] != "x" ||
		!got[i].ReceivedAt.Equal(q.ReceivedAt) {
		t.Errorf("%+v", got)
	}
}

func checkQuarantineIsBounded(t *testing.T, b *bench) {
	s := b.open(t, options{QuarantineCount: 5, QuarantineBytes: 10_000})
	keep := func(push bool, id string, size int) (int, error) {
		return s.Quarantine(t.Context(), []event.Quarantined{{ID: id, Raw: make([]byte, size)}}, push)
	}
	must := func(want int, pushed int, err error) {
		t.Helper()
		if err != nil || pushed != want {
			t.Fatalf("%d made place, not %d; %v", pushed, want, err)
		}
	}

	// The same one takes its place once.
	for _, id := range []string{"1", "2", "3", "4", "5", "5", "1"} {
		n, err := keep(false, id, 10)
		must(0, n, err)
	}

	// One more is refused, or makes an older one give way.
	if _, err := keep(false, "6", 10); !errors.Is(err, event.ErrQuarantineFull) {
		t.Errorf("a sixth one: %v", err)
	}
	n, err := keep(true, "6", 10)
	must(1, n, err)

	// So are more bytes.
	if _, err := keep(false, "7", 6000); !errors.Is(err, event.ErrQuarantineFull) {
		t.Errorf("one that is large: %v", err)
	}
	n, err = keep(true, "7", 6000)
	must(1, n, err)
	n, err = keep(true, "8", 6000) // there is room for one such
	must(5, n, err)
	if n, err := s.CountQuarantined(t.Context(), time.Time{}); n.All != 1 || err != nil {
		t.Errorf("%+v are left, %v", n, err)
	}

	// What is taken out makes room.
	if n, err := s.Unquarantine(t.Context(), "8", "none"); n != 1 || err != nil {
		t.Fatalf("%d were there, %v", n, err)
	}
	n, err = keep(false, "9", 6000)
	must(0, n, err)
}

func checkAPageOfQuarantineHasABudget(t *testing.T, b *bench) {
	s := b.open(t, options{})
	for i := range 5 {
		if _, err := s.Quarantine(t.Context(), []event.Quarantined{{ID: fmt.Sprint(i), Raw: make([]byte, 4<<20)}},
			false); err != nil {
			t.Fatal(err)
		}
	}
	seen, offset := 0, 0
	for range 5 {
		page, next, err := s.Quarantined(t.Context(), offset, 100)
		if err != nil || len(page) != 1 {
			t.Fatalf("%d in a page, %v", len(page), err)
		}
		seen, offset = seen+len(page), next
	}
	if seen != 5 || offset != 0 {
		t.Errorf("%d seen, next %d", seen, offset)
	}
}
