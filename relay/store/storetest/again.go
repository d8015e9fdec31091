package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

func checkResend(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	resend := func(endpoint, id string, want bool) {
		t.Helper()
		if queued, err := s.Resend(t.Context(), endpoint, id); queued != want || err != nil {
			t.Errorf("%s to %s: %v, %v, want %v", id, endpoint, queued, err, want)
		}
	}

	// One event for each way in which a delivery is closed, and one that is open.
	var ids []string
	for i, kind := range []queue.OutcomeKind{queue.Delivered, queue.Dead, queue.Dead, queue.Retry} {
		e := update(fmt.Sprint(i), "a")
		d := acceptOne(t, s, e, slot(to("t/a"))).Leased[0]
		settle(t, s, d, kind, because("no"), dueIn(s, time.Hour))
		ids = append(ids, e.ID)
	}
	if n, err := s.Dismiss(t.Context(), "t/a", ids[2]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	before, _, err := s.Event(t.Context(), ids[0], "")
	if err != nil {
		t.Fatal(err)
	}

	// What is closed is sent once; what is open, owed elsewhere, or not there is not.
	for _, id := range ids[:3] {
		resend("t/a", id, true)
		resend("t/a", id, false)
	}
	resend("t/a", ids[3], false)
	resend("t/b", ids[0], false)
	resend("t/a", update("none", "a").ID, false)

	clock.forward(time.Millisecond)
	got := take(t, s, "t/a", 10)
	if len(got) != 3 {
		t.Fatalf("due are %v", contents(got))
	}
	for _, d := range got {
		if d.Reason != event.ReasonReplay || d.Attempts != 0 || d.Event.Sequence == 0 || len(d.Event.Data) == 0 {
			t.Errorf("%+v", d)
		}
		if d.Event.ID == ids[0] && d.Event.Sequence != before.Sequence {
			t.Errorf("its sequence was %d, and is %d", before.Sequence, d.Event.Sequence)
		}
		settle(t, s, d, queue.Delivered)
	}
	if ls, _, err := s.DeadLetters(t.Context(), nil, "", 10); len(ls) != 0 || err != nil {
		t.Errorf("dead letters: %v, %v", ls, err)
	}
}

func checkRetryAtOnce(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})

	// Ten wait for an attempt, one is being attempted, and one waits behind another.
	var waiting []string
	for i := range 10 {
		e := update(fmt.Sprint(i), "a")
		settle(t, s, acceptOne(t, s, e, slot(to("t/a"))).Leased[0], queue.Retry, dueIn(s, time.Hour))
		waiting = append(waiting, e.ID)
	}
	behind := update("0", "b")
	acceptOne(t, s, behind, to("t/a"))
	sending := acceptOne(t, s, update("sending", "a"), slot(to("t/a"))).Leased[0]
	if ds := take(t, s, "t/a", 20); len(ds) != 0 {
		t.Fatalf("before, due are %v", contents(ds))
	}

	// One by its name: again it gives the same answer, and changes nothing.
	for range 2 {
		got, err := s.Retry(t.Context(), "t/a", waiting[3], behind.ID, sending.Event.ID, update("none", "a").ID)
		if got != (queue.Retried{Due: 1}) || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if due, err := s.Due(t.Context(), 0, 0, 10); len(due) != 1 || err != nil {
		t.Errorf("due endpoints: %v, %v", due, err)
	}
	if d := takeOne(t, s, "t/a"); d.Event.ID != waiting[3] || d.Reason != event.ReasonRetry || d.Attempts != 1 {
		t.Errorf("%+v", d)
	}

	// All of them, in parts. What is being attempted is passed over.
	total, cursor := 0, ""
	for parts := 1; ; parts++ {
		got, next, err := s.RetryAll(t.Context(), "t/a", cursor, 4)
		if err != nil {
			t.Fatal(err)
		}
		total += got.Due
		if next == "" {
			if parts != 3 {
				t.Errorf("in %d parts", parts)
			}
			break
		}
		cursor = next
	}
	if total != 9 {
		t.Errorf("%d are due at once, want 9", total)
	}
	clock.forward(time.Millisecond)
	got := contents(take(t, s, "t/a", 20))
	slices.Sort(got)
	if want := []string{"0:a", "1:a", "2:a", "4:a", "5:a", "6:a", "7:a", "8:a", "9:a"}; !slices.Equal(got, want) {
		t.Errorf("due are %v, want %v", got, want)
	}
	if _, _, err := s.RetryAll(t.Context(), "t/a", "x", 4); err == nil {
		t.Error("nonsense is taken for a cursor")
	}

	// While a person has to resume the endpoint, nothing moves.
	settle(t, s, sending, queue.Retry, dueIn(s, time.Hour))
	if err := s.Park(t.Context(), "t/a", event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Retry(t.Context(), "t/a", sending.Event.ID); got != (queue.Retried{Parked: queue.ParkedPaused}) ||
		err != nil {
		t.Errorf("paused: %+v, %v", got, err)
	}
}

func checkRetryOfABreaker(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.regulated(t, clock, breaker)
	gather(t, s, "w", 10)
	if c := fail(t, s, 3); c == nil || !c.Open {
		t.Fatalf("the breaker: %+v", c)
	}
	for _, d := range take(t, s, "t/a", 10) {
		t.Errorf("%s is leased while the breaker is open", d.Event.WaybillCode)
	}

	// There is something due for the probe, so nothing is moved.
	all := func(due int) {
		t.Helper()
		got, next, err := s.RetryAll(t.Context(), "t/a", "", 100)
		if got != (queue.Retried{Due: due, Parked: queue.ParkedOpen}) || next != "" || err != nil {
			t.Errorf("%+v, next %q, %v, want %d due", got, next, err, due)
		}
	}
	all(0)

	// The probes fail, until nothing is due: then one is moved, and is the next probe.
	for range 7 {
		clock.forward(time.Minute)
		fail(t, s, 1)
	}
	all(1)
	all(0)
	if ds := take(t, s, "t/a", 10); len(ds) != 0 {
		t.Errorf("before the probe is due, %v are leased", contents(ds))
	}
	clock.forward(time.Minute)
	if ds := take(t, s, "t/a", 10); len(ds) != 1 || ds[0].Attempts != 1 {
		t.Errorf("the probe: %v", contents(ds))
	}
}

func checkCountDeadLetters(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	var at []time.Time
	for i := range 12 {
		d := acceptOne(t, s, update(fmt.Sprint(i), "a"), slot(to(fmt.Sprint("t/", i%3)))).Leased[0]
		settle(t, s, d, queue.Dead, because("no"))
		clock.forward(time.Minute)
		at = append(at, s.Now())
	}

	for _, x := range []struct {
		name         string
		endpoints    []string
		since, until time.Time
		want         int
	}{
		{name: "of all", want: 12},
		{name: "of one", endpoints: []string{"t/1"}, want: 4},
		{name: "of some", endpoints: []string{"t/0", "t/2", "t/none"}, want: 8},
		{name: "of nobody", endpoints: []string{}, want: 0},
		{name: "since", since: at[3].Add(-time.Second), want: 8},
		{name: "until", until: at[3].Add(-time.Second), want: 4},
		{name: "between, of one", endpoints: []string{"t/1"}, since: at[3].Add(-time.Second), until: at[8], want: 2},
	} {
		if n, err := s.CountDeadLetters(t.Context(), x.endpoints, x.since, x.until); n != x.want || err != nil {
			t.Errorf("%s: %d, %v, want %d", x.name, n, err, x.want)
		}
	}
}
