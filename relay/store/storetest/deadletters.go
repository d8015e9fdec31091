package storetest

import (
	"fmt"
	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"slices"
	"strings"
	"testing"
	"time"
)

func checkDeadLetters(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	var want []string
	for i := range 30 {
		ep := fmt.Sprint("t/", i%3)
		d := acceptOne(t, s, update(fmt.Sprint(i), "a"), slot(to(ep))).Leased[0]
		settle(t, s, d, queue.Dead, because("refused"))
		want = append([]string{ep + " " + fmt.Sprint(i)}, want...)
		clock.forward(time.Second)
	}
	list := func(most int, endpoints ...string) (got []string) {
		cursor := ""
		for {
			ls, next, err := s.DeadLetters(t.Context(), endpoints, cursor, most)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range ls {
				got = append(got, l.Endpoint+" "+l.WaybillCode)
				if l.Reason != "refused" || l.Attempts != 1 || l.CPCode != "zt" || l.Status != "a" {
					t.Errorf("%+v", l)
				}
			}
			if next == "" {
				return got
			}
			cursor = next
		}
	}
	for _, most := range []int{1, 7, 100} {
		if got := list(most); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v", most, got)
		}
	}
	mine := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !strings.HasPrefix(s, "t/1 ") })
	if got := list(4, "t/1"); !slices.Equal(got, mine) {
		t.Errorf("of one endpoint: %v", got)
	}
	if _, _, err := s.DeadLetters(t.Context(), nil, "x y", 1); err == nil {
		t.Error("nonsense is taken for a cursor")
	}

	id := update("1", "a").ID
	if n, err := s.Dismiss(t.Context(), "t/1", id, update("0", "a").ID); n != 1 || err != nil {
		t.Errorf("dismissed %d, %v", n, err)
	}
	if n, err := s.Dismiss(t.Context(), "t/1", id); n != 0 || err != nil {
		t.Errorf("dismissed %d twice, %v", n, err)
	}
	if got := list(100, "t/1"); len(got) != 9 {
		t.Errorf("%v", got)
	}
	if e, ok, err := s.Event(t.Context(), id, ""); err != nil || !ok || e.Deliveries[0].State != event.StateDismissed ||
		e.Deliveries[0].Why != "refused" {
		t.Errorf("%+v, %v", e, err)
	}
}

func checkDismissedExpires(t *testing.T, b *bench) {
	s := b.open(t,
		options{Settings: settings{Retention: 100 * time.Millisecond, Window: 100 * time.Millisecond}})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, queue.Dead, because("no"))
	if n, err := s.Dismiss(t.Context(), "t/a", d.Event.ID); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	until(t, "a dismissed dead letter expires as a delivered event does", func() bool {
		tidy(t, s)
		return len(b.Keys(t, b.prefix()+"e:")) == 0
	})
}

func checkRedrive(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	d := acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0]
	settle(t, s, d, queue.Dead, because("the receiver refuses this body: 422"))

	// It is listed, with its reason.
	dead, _, err := s.DeadLetters(t.Context(), []string{"t/a"}, "", 10)
	if err != nil || len(dead) != 1 || dead[0].EventID != d.Event.ID ||
		dead[0].Reason != "the receiver refuses this body: 422" || dead[0].Attempts != 1 {
		t.Fatalf("%+v, %v", dead, err)
	}

	// It is redriven once.
	clock.forward(200 * time.Hour)
	if n, err := s.Redrive(t.Context(), "t/a", d.Event.ID); err != nil || n != 1 {
		t.Fatalf("redriven %d, %v", n, err)
	}
	if n, err := s.Redrive(t.Context(), "t/a", d.Event.ID); err != nil || n != 0 {
		t.Errorf("redriven twice: %d, %v", n, err)
	}
	if dead, _, err = s.DeadLetters(t.Context(), []string{"t/a"}, "", 10); err != nil || len(dead) != 0 {
		t.Errorf("%+v, %v", dead, err)
	}

	// It begins anew: attempts and age, but not sequence and acceptance.
	again := takeOne(t, s, "t/a")
	if again.Event.ID != d.Event.ID || again.Reason != event.ReasonRedrive || again.Attempts != 0 ||
		again.Event.Sequence != d.Event.Sequence {
		t.Errorf("%+v", again)
	}
	if s.Now().Sub(again.Since) > time.Minute || !again.Event.AcceptedAt.Equal(d.Event.AcceptedAt) {
		t.Errorf("its age did not begin anew, or its acceptance did: since %s, accepted %s", again.Since,
			again.Event.AcceptedAt)
	}

	// Its retry is a retry.
	settle(t, s, again, queue.Retry, dueIn(s, 0))
	again = takeOne(t, s, "t/a")
	if again.Reason != event.ReasonRetry || again.Attempts != 1 || s.Now().Sub(again.Since) > time.Minute {
		t.Errorf("its retry: %+v", again)
	}

	if settle(t, s, again, queue.Delivered).Late {
		t.Error("late")
	}
}

func checkRecordOfDeadLetter(t *testing.T, b *bench) {
	const short = 50 * time.Millisecond
	s := b.open(t,
		options{Settings: settings{Window: short, Retention: short, DeadLetterRetention: time.Hour}})
	settle(t, s, acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased[0], queue.Dead, because("no"))
	settle(t, s, acceptOne(t, s, update("1", "b"), slot(to("t/a"))).Leased[0], queue.Delivered)
	settle(t, s, acceptOne(t, s, update("2", "a"), slot(to("t/a"))).Leased[0], queue.Delivered)
	key := b.prefix() + "w:"
	until(t, "a record without a dead letter expires", func() bool { return !slices.Contains(b.Keys(t, key), key+"2") })
	if !slices.Contains(b.Keys(t, key), key+"1") {
		t.Error("the record of a dead letter has expired before it")
	}
}

func checkDeadLettersEnd(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	for i := range 2 {
		settle(t, s, acceptOne(t, s, update(fmt.Sprint(i), "a"), slot(to("t/a"))).Leased[0], queue.Dead, because("no"))
		clock.forward(500 * time.Hour)
	}
	settle(t, s, acceptOne(t, s, update("last", "a"), slot(to("t/a"))).Leased[0], queue.Dead, because("no"))
	if d, err := s.Depths(t.Context(), []string{"t/a"}); err != nil || d[0].Dead != 2 {
		t.Errorf("%+v, %v: the first is past its retention", d, err)
	}
}

func checkRedriveOutOfOrder(t *testing.T, b *bench) {
	s := b.open(t, options{})
	got := accept(t, s, queue.Routed{Event: update("1", "a"), To: slot(to("t/a"))},
		queue.Routed{Event: update("1", "b"), To: to("t/a")},
		queue.Routed{Event: update("1", "c"), To: to("t/a")})

	// A dead letter that is redriven does not take its old place in the line.
	bb := settle(t, s, got[0].Leased[0], queue.Dead, next).Next
	if _, err := s.Redrive(t.Context(), "t/a", got[0].Leased[0].Event.ID); err != nil {
		t.Fatal(err)
	}
	a := takeOne(t, s, "t/a")
	if n := settle(t, s, a, queue.Delivered, next).Next; n != nil {
		t.Fatalf("the redriven one gave way to %s, which has to wait for b", n.Event.Status)
	}
	if n := settle(t, s, bb, queue.Delivered, next).Next; n == nil || n.Event.Status != "c" {
		t.Errorf("successor of b: %+v", n)
	}

	// Nor does anything wait for one, though it was the head, and its event is open elsewhere.
	head := acceptOne(t, s, update("2", "a"), slot(to("t/b", "t/c")))
	settle(t, s, head.Leased[0], queue.Dead, next)
	if _, err := s.Redrive(t.Context(), "t/b", head.Leased[0].Event.ID); err != nil {
		t.Fatal(err)
	}
	settle(t, s, takeOne(t, s, "t/b"), queue.Retry, dueIn(s, time.Hour))

	got = accept(t, s, queue.Routed{Event: update("2", "b"), To: slot(to("t/b", "t/c"))},
		queue.Routed{Event: update("2", "c"), To: to("t/b")})
	if len(got[0].Leased) != 1 || got[0].Leased[0].Endpoint != "t/b" || len(got[1].Leased) != 0 {
		t.Fatalf("%+v", got)
	}
	if n := settle(t, s, got[0].Leased[0], queue.Delivered, next).Next; n == nil || n.Event.Status != "c" {
		t.Errorf("successor at t/b: %+v", n)
	}
	if n := settle(t, s, head.Leased[1], queue.Delivered, next).Next; n == nil || n.Event.Status != "b" {
		t.Errorf("successor at t/c: %+v", n)
	}
}
