package storetest

import (
	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
	"slices"
	"strings"
	"testing"
	"time"
)

func checkLastEventLives(t *testing.T, b *bench) {
	const short = 200 * time.Millisecond
	s := b.open(t,
		options{Settings: settings{Retention: short, Window: short, DeadLetterRetention: short,
			SubscriptionTTL: 6 * time.Second}})
	live(t, s, "t", "1", "2")
	renewed := func() { subscribe(t, s, "t", "1", "2") } // on a busy machine the 6 s are soon over
	for _, code := range []string{"1", "2"} {
		for _, c := range []string{"a", "b"} {
			to := under(event.IfSubscribed, "t/a")
			if code == "2" {
				to = nil
			}
			for _, d := range acceptOne(t, s, update(code, c), slot(to)).Leased {
				settle(t, s, d, queue.Delivered)
			}
		}
	}

	// The events expire, but for the last one of each waybill.
	bodies := func() int { return len(b.Keys(t, b.prefix()+"e:")) }
	until(t, "the older events are gone", func() bool {
		renewed()
		tidy(t, s)
		return bodies() == 2
	})
	until(t, "their records, too", func() bool { renewed(); return len(b.Keys(t, b.prefix()+"w:")) == 0 })

	// A tenant that subscribes later gets that.
	for _, code := range []string{"1", "2"} {
		subscribe(t, s, "u", code)
		if catchUp(t, s, "u", code, "u/a").Queued != 1 {
			t.Errorf("waybill %s has no last event", code)
		}
		if d := takeOne(t, s, "u/a"); d.Damaged != "" || d.Event.Status != "b" {
			t.Errorf("%+v", d)
		} else {
			settle(t, s, d, queue.Delivered)
		}
	}

	if bodies() != 2 {
		t.Errorf("%d bodies after the catch-up", bodies())
	}

	// It ends with its entry.
	until(t, "no key is left", func() bool {
		tidy(t, s)
		return !slices.ContainsFunc(b.Keys(t, b.prefix()), func(k string) bool {
			rest := strings.TrimPrefix(k, b.prefix())
			return !strings.HasPrefix(rest, "r:") && !strings.HasPrefix(rest, "a:") && !strings.HasPrefix(rest, "g:") &&
				rest != "clock"
		})
	})
}

func checkRenewed(t *testing.T, b *bench) {
	const ttl = 4 * time.Second
	s := b.open(t,
		options{Settings: settings{Retention: 100 * time.Millisecond, Window: 100 * time.Millisecond,
			SubscriptionTTL: ttl}})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), nil)
	began := time.Now()
	until(t, "the entry would have expired, had it not been renewed", func() bool {
		subscribe(t, s, "t", "1")
		return time.Since(began) > 2*ttl
	})
	if last, ok, err := s.Latest(t.Context(), zt("1")[0]); err != nil || !ok || last.Status != "a" {
		t.Errorf("%+v %v", last, err)
	}
}

func checkSignedExpires(t *testing.T, b *bench) {
	s := b.open(t, options{Settings: settings{SubscriptionTTL: 60 * time.Hour, SignedTTL: 7 * time.Hour}})
	live(t, s, "t", "1", "2")
	acceptOne(t, s, update("1", "signed"), under(event.IfSubscribed, "t/a"))
	subscribe(t, s, "u", "1", "2") // the parcel is still signed for
	for code, want := range map[string]time.Duration{"1": 7 * time.Hour, "2": 60 * time.Hour} {
		got, ok, err := s.Subscription(t.Context(), "t", zt(code)[0])
		if life := got.Expires.Sub(s.Now()); err != nil || !ok || life > want+time.Second || life < want-time.Minute {
			t.Errorf("waybill %s expires in %s, want %s (%v)", code, life, want, err)
		}
	}
	// One that was signed for before the first subscription.
	acceptOne(t, s, update("3", "signed"), nil)
	subscribe(t, s, "t", "3")
	if got, _, _ := s.Subscription(t.Context(), "t", zt("3")[0]); got.Expires.Sub(s.Now()) > 8*time.Hour {
		t.Errorf("it expires at %s", got.Expires)
	}
	page, _, err := s.Subscriptions(t.Context(), "t", "", 10)
	if err != nil || len(page) != 3 || page[0].Code != "2" {
		t.Errorf("%+v %v", page, err)
	}
}

// at is an update whose newest track was in an hour of a day; 0: its time cannot be read.
func at(hour int, waybill, content, status string) *event.Event {
	e := update(waybill, content)
	e.Status = status
	if hour > 0 {
		e.TrackedAt = time.Date(2026, 11, 23, hour, 0, 0, 0, time.UTC)
	}
	return e
}

// lifeOf is for how long a tenant's subscription lives on.
func lifeOf(t *testing.T, s *replica, tenant, code string) time.Duration {
	t.Helper()
	got, ok, err := s.Subscription(t.Context(), tenant, zt(code)[0])
	if err != nil || !ok {
		t.Fatalf("%v %v", ok, err)
	}
	return got.Expires.Sub(s.Now()).Round(time.Hour)
}

func checkMovesAgain(t *testing.T, b *bench) {
	const full, signed = 60 * time.Hour, 7 * time.Hour
	s := b.open(t, options{Settings: settings{SubscriptionTTL: full, SignedTTL: signed}})
	subscribed := under(event.IfSubscribed, "t/a")

	// An event's own times decide; without times, the order in which events come.
	for code, steps := range map[string][]struct {
		event *event.Event
		life  time.Duration
	}{
		"times": {
			{at(9, "times", "1", "signed"), signed},
			{at(10, "times", "2", "sending"), full},
			{at(9, "times", "3", "signed"), full}, // late: the parcel has moved since
			{at(12, "times", "4", "signed"), signed},
			{at(11, "times", "5", "sending"), signed}, // late: it has arrived since
			{at(13, "times", "6", ""), full},
		},
		"none": {
			{at(0, "none", "1", "signed"), signed},
			{at(0, "none", "2", "sending"), full},
		},
	} {
		live(t, s, "t", code)
		for i, step := range steps {
			if n := acceptOne(t, s, step.event, subscribed).Deliveries; n != 1 {
				t.Errorf("%s, update %d is owed to %d endpoints", code, i+1, n)
			}
			if got := lifeOf(t, s, "t", code); got != step.life {
				t.Errorf("%s, after update %d the subscription lives for %s, want %s", code, i+1, got, step.life)
			}
			subscribe(t, s, "t", code) // renewed, it lives as long
			if got := lifeOf(t, s, "t", code); got != step.life {
				t.Errorf("%s, renewed after update %d it lives for %s, want %s", code, i+1, got, step.life)
			}
		}
	}

	if page, _, err := s.Subscriptions(t.Context(), "t", "", 10); err != nil || len(page) != 2 ||
		page[1].Expires.Sub(s.Now()) < full-time.Minute {
		t.Errorf("%+v %v", page, err)
	}
}

func checkSignedAlone(t *testing.T, b *bench) {
	s := b.open(t, options{Settings: settings{SignedTTL: 200 * time.Millisecond}})
	live(t, s, "t", "1", "2")
	acceptOne(t, s, update("1", "signed"), nil)
	until(t, "the ledger forgets the parcel that was signed for", func() bool {
		return len(b.Keys(t, b.prefix()+"s:")) == 1
	})
	page, _, err := s.Subscriptions(t.Context(), "t", "", 10)
	if err != nil || len(page) != 1 || page[0].Code != "2" {
		t.Errorf("%+v %v", page, err)
	}
	if all, err := s.Subscribers(t.Context()); err != nil || !slices.Equal(all, []string{"t"}) {
		t.Errorf("%v %v", all, err)
	}
	if got := acceptOne(t, s, update("2", "sending"), under(event.IfSubscribed, "t/a")).Deliveries; got != 1 {
		t.Errorf("%d deliveries", got)
	}
}

func checkRefusedIsPushed(t *testing.T, b *bench) {
	const full, short = 60 * time.Hour, 7 * time.Hour
	s := b.open(t, options{Settings: settings{SubscriptionTTL: full, SignedTTL: short}})
	for _, code := range []string{"moves", "arrives"} {
		subscribe(t, s, "t", code)
		claim(t, s, "x", code)
		answered(t, s, "x", ledger.Refused, ledger.Answer{Code: 201101, Msg: "查询暂无记录"}, code)
	}
	acceptOne(t, s, at(9, "moves", "1", "sending"), nil)
	if got := state(t, s, "t", "moves"); got != ledger.Live || lifeOf(t, s, "t", "moves") != full {
		t.Errorf("it is %s, and lives for %s", got, lifeOf(t, s, "t", "moves"))
	}
	if w := subscribe(t, s, "u", "moves")[0]; w.State != ledger.Live || !w.CatchUp {
		t.Errorf("another subscription: %+v", w)
	}
	acceptOne(t, s, at(9, "arrives", "1", "signed"), nil)
	if got := state(t, s, "t", "arrives"); got != ledger.Failed || lifeOf(t, s, "t", "arrives") != short {
		t.Errorf("it is %s, and lives for %s", got, lifeOf(t, s, "t", "arrives"))
	}
}

func checkLateUpdate(t *testing.T, b *bench) {
	// While the record lives, the newest one is a duplicate, also after a late one.
	long := b.open(t, options{})
	live(t, long, "t", "2")
	newest := func() *event.Event { return at(10, "2", "b", "signed") }
	acceptOne(t, long, newest(), nil)
	acceptOne(t, long, at(9, "2", "a", "sending"), nil)
	if !acceptOne(t, long, newest(), nil).Duplicate {
		t.Error("the newest one is none that came before")
	}

	s := b.open(t,
		options{Settings: settings{Window: 100 * time.Millisecond, Retention: 100 * time.Millisecond}})
	live(t, s, "t", "1")
	acceptOne(t, s, at(10, "1", "b", "signed"), nil)
	acceptOne(t, s, at(9, "1", "a", "sending"), nil)
	if last, ok, err := s.Latest(t.Context(), zt("1")[0]); err != nil || !ok || last.Status != "signed" {
		t.Errorf("%+v %v", last, err)
	}

	// The ledger knows it for longer than the record of the waybill lives.
	until(t, "the record expires", func() bool { return len(b.Keys(t, b.prefix()+"w:1")) == 0 })
	acceptOne(t, s, at(8, "1", "c", "collected"), nil)
	if last, ok, err := s.Latest(t.Context(), zt("1")[0]); err != nil || !ok || last.Status != "signed" {
		t.Errorf("%+v %v", last, err)
	}
	acceptOne(t, s, at(0, "1", "d", "sending"), nil)
	if last, ok, err := s.Latest(t.Context(), zt("1")[0]); err != nil || !ok || last.Status != "sending" {
		t.Errorf("one without a time that can be read: %+v %v", last, err)
	}
	acceptOne(t, s, at(9, "1", "e", "question"), nil)
	if last, ok, err := s.Latest(t.Context(), zt("1")[0]); err != nil || !ok || last.Status != "sending" {
		t.Errorf("after that: %+v %v", last, err)
	}
}

func checkLateBefore(t *testing.T, b *bench) {
	s := b.open(t, options{})
	acceptOne(t, s, at(10, "1", "b", "signed"), nil)
	acceptOne(t, s, at(9, "1", "a", "sending"), nil)
	subscribe(t, s, "t", "1")
	for range 2 {
		if last, ok, err := s.Latest(t.Context(), zt("1")[0]); err != nil || !ok || last.Status != "signed" {
			t.Errorf("%+v %v", last, err)
		}
		acceptOne(t, s, at(8, "1", "c", "collected"), nil)
	}
	// An update that does not name its brand counts for all.
	none := at(11, "2", "b", "signed")
	none.CPCode = ""
	acceptOne(t, s, at(10, "2", "a", "sending"), nil)
	acceptOne(t, s, none, nil)
	acceptOne(t, s, at(10, "2", "c", "sending"), nil)
	subscribe(t, s, "t", "2")
	if last, ok, err := s.Latest(t.Context(), zt("2")[0]); err != nil || !ok || last.Status != "signed" {
		t.Errorf("%+v %v", last, err)
	}
}

func checkLateStatus(t *testing.T, b *bench) {
	s := b.open(t, options{})
	for i, step := range []struct {
		event *event.Event
		want  int
	}{
		{at(10, "1", "1", "delivering"), 1},
		{at(9, "1", "2", "sending"), 0},     // late
		{at(11, "1", "3", "delivering"), 0}, // the same as the last one known
		{at(11, "1", "4", "signed"), 1},     // as new as that
		{at(0, "1", "5", "sending"), 1},     // nobody can say that it is late
		{at(10, "1", "6", "delivering"), 0}, // late
		{at(12, "1", "7", "delivering"), 1},
	} {
		if got := acceptOne(t, s, step.event, under(event.IfChanged, "t/a")).Deliveries; got != step.want {
			t.Errorf("update %d is owed to %d endpoints, want %d", i+1, got, step.want)
		}
	}
}
