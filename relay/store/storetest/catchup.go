package storetest

import (
	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
	"slices"
	"testing"
	"time"
)

// catchUp does what the relay does, for endpoints that every event is owed to.
func catchUp(t *testing.T, s *replica, tenant, code string, endpoints ...string) queue.CatchUpResult {
	t.Helper()
	last, _, err := s.Latest(t.Context(), zt(code)[0])
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.CatchUp(t.Context(), tenant, zt(code)[0], last, to(endpoints...))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func checkCatchUp(t *testing.T, b *bench) {
	s := b.open(t, options{})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), under(event.IfSubscribed, "t/a", "u/a"))
	acceptOne(t, s, update("1", "b"), under(event.IfSubscribed, "t/a", "u/a"))

	// A tenant that subscribes later has to be caught up, once.
	if w := subscribe(t, s, "t", "1")[0]; !w.Already || w.CatchUp {
		t.Errorf("a subscription that was there: %+v", w)
	}
	if w := subscribe(t, s, "u", "1")[0]; w.State != ledger.Live || w.Already || !w.CatchUp {
		t.Errorf("a later subscription: %+v", w)
	}
	if work, err := s.Work(t.Context()); err != nil || work.Unfinished != 1 {
		t.Errorf("%d unfinished, %v", work.Unfinished, err)
	}

	if got := catchUp(t, s, "u", "1", "u/a", "u/b"); got != (queue.CatchUpResult{Deliveries: 2, Queued: 2}) {
		t.Errorf("%+v", got)
	}
	if got := catchUp(t, s, "u", "1", "u/a", "u/b"); got != (queue.CatchUpResult{}) {
		t.Errorf("a second time: %+v", got)
	}
	if work, err := s.Work(t.Context()); err != nil || work.Unfinished != 0 {
		t.Errorf("%d unfinished, %v", work.Unfinished, err)
	}

	// What it is caught up with comes before newer events.
	acceptOne(t, s, update("1", "c"), under(event.IfSubscribed, "t/a", "u/a"))
	d := takeOne(t, s, "u/a")
	if d.Reason != event.ReasonCatchUp || d.Event.Status != "b" || string(d.Event.Data) == "" ||
		d.Event.WaybillCode != "1" {
		t.Errorf("%+v", d)
	}

	next := settle(t, s, d, queue.Delivered, next).Next
	if next == nil || next.Event.Status != "c" || next.Reason != event.ReasonNew ||
		next.Event.Sequence <= d.Event.Sequence {
		t.Errorf("%+v", next)
	}

	// The other tenant gets nothing twice.
	if got := contents(take(t, s, "t/a", 9)); !slices.Equal(got, []string{"1:a"}) {
		t.Errorf("the other tenant has %v", got)
	}
}

func checkCatchUpStale(t *testing.T, b *bench) {
	s := b.open(t, options{})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), under(event.IfSubscribed, "t/a"))
	subscribe(t, s, "u", "1")
	last, ok, err := s.Latest(t.Context(), zt("1")[0])
	if err != nil || !ok || last.Status != "a" {
		t.Fatalf("%+v %v", last, err)
	}

	// A newer event comes before the catch-up.
	acceptOne(t, s, update("1", "b"), under(event.IfSubscribed, "t/a", "u/a"))
	got, err := s.CatchUp(t.Context(), "u", zt("1")[0], last, to("u/a"))
	if err != nil || got != (queue.CatchUpResult{Stale: true}) {
		t.Errorf("%+v %v", got, err)
	}
	if got := catchUp(t, s, "u", "1", "u/a"); got != (queue.CatchUpResult{}) {
		t.Errorf("the newer one is there already: %+v", got)
	}

	if got := contents(take(t, s, "u/a", 9)); !slices.Equal(got, []string{"1:b"}) {
		t.Errorf("%v", got)
	}
	// Nothing is known of this one, and nobody has subscribed it.
	live(t, s, "t", "2")
	if got := catchUp(t, s, "t", "2", "t/a"); got != (queue.CatchUpResult{}) {
		t.Errorf("%+v", got)
	}
	if got := catchUp(t, s, "nobody", "1", "nobody/a"); got != (queue.CatchUpResult{}) ||
		len(take(t, s, "nobody/a", 9)) != 0 {
		t.Errorf("%+v", got)
	}
}

func checkCatchUpWaits(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), under(event.Always, "u/a")) // by another route, before u subscribed
	takeOne(t, s, "u/a")
	acceptOne(t, s, update("1", "b"), under(event.IfSubscribed, "u/a"))
	clock.forward(20 * 24 * time.Hour)
	subscribe(t, s, "u", "1")
	if got := catchUp(t, s, "u", "1", "u/a"); got != (queue.CatchUpResult{Deliveries: 1}) {
		t.Errorf("%+v", got)
	}
	settle(t, s, takeOne(t, s, "u/a"), queue.Delivered) // the head, whose lease has lapsed
	got := takeOne(t, s, "u/a")
	if age := s.Now().Sub(got.Since); got.Reason != event.ReasonCatchUp || got.Event.Status != "b" || age > time.Minute ||
		age < 0 {
		t.Errorf("%+v, its age is %s", got, age)
	}
	settle(t, s, got, queue.Retry, dueIn(s, 0))
	if again := takeOne(t, s, "u/a"); again.Reason != event.ReasonRetry || s.Now().Sub(again.Since) > time.Minute {
		t.Errorf("%+v", again)
	}
}

func checkCatchUpBefore(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	for _, c := range []string{"a", "b", "c"} {
		acceptOne(t, s, update("1", c), nil)
	}
	other := update("1", "of another brand")
	other.CPCode = "sto"
	acceptOne(t, s, other, nil)
	clock.forward(20 * 24 * time.Hour)
	if w := subscribe(t, s, "t", "1")[0]; w.State != ledger.Pending || !w.CatchUp {
		t.Errorf("%+v", w)
	}
	if got := catchUp(t, s, "t", "1", "t/a"); got.Queued != 1 {
		t.Errorf("%+v", got)
	}
	if d := takeOne(t, s, "t/a"); d.Event.Status != "c" || d.Reason != event.ReasonCatchUp ||
		s.Now().Sub(d.Since) > time.Minute {
		t.Errorf("%+v", d)
	}
}

func checkCatchUpStays(t *testing.T, b *bench) {
	const short = 100 * time.Millisecond
	s := b.open(t,
		options{Settings: settings{Retention: short, Window: short, DeadLetterRetention: short,
			SubscriptionTTL: 5 * time.Second}})
	keys := func(kind string) int { return len(b.Keys(t, b.prefix()+kind+":")) }
	live(t, s, "t", "1", "2")
	for _, d := range acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased {
		settle(t, s, d, queue.Delivered)
	}
	acceptOne(t, s, update("2", "a"), to("t/stuck"))
	subscribe(t, s, "u", "1", "2")
	for _, code := range []string{"1", "2"} {
		if got := catchUp(t, s, "u", code, "u/"+code); got.Queued != 1 {
			t.Errorf("%+v", got)
		}
	}
	settle(t, s, takeOne(t, s, "u/2"), queue.Delivered)

	until(t, "the ledger has forgotten both", func() bool {
		tidy(t, s)
		return keys("s") == 0
	})
	if d := takeOne(t, s, "u/1"); d.Damaged != "" || d.Event.Status != "a" {
		t.Errorf("%+v", d)
	}
	if keys("w") != 2 || keys("e") != 2 {
		t.Errorf("%d records, %d events of 2 that are open", keys("w"), keys("e"))
	}
}

func checkCatchUpLost(t *testing.T, b *bench) {
	s := b.open(t, options{})
	live(t, s, "t", "1")
	e := update("1", "a")
	acceptOne(t, s, e, nil)
	b.Delete(t, b.prefix()+"e:"+shortID(t, e))
	subscribe(t, s, "u", "1")
	if got := catchUp(t, s, "u", "1", "u/a"); got != (queue.CatchUpResult{}) {
		t.Errorf("%+v", got)
	}
	if got := subscribe(t, s, "u", "1")[0]; got.CatchUp {
		t.Error("it is still to be caught up with")
	}
}
