package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// noRecordChecks are those of waybills of which the provider has no record yet.
var noRecordChecks = map[string]func(*testing.T, *bench){
	"AWaybillWithoutARecordIsAskedForAgainUntilTheScheduleEnds":  checkNoRecordSchedule,
	"CallsInVainUseUpNoneOfTheSchedule":                          checkNoRecordInVain,
	"OneThatTheProviderRefusesLaterIsLostToo":                    checkNoRecordRefused,
	"ReplicasThatDieLeaveTheScheduleAsItWas":                     checkNoRecordDeaths,
	"ALossIsHandedOutUntilItWasToldOf":                           checkLossTold,
	"APushMakesAWaybillWithoutARecordLive":                       checkNoRecordPushed,
	"AWaybillWithoutARecordThatNobodyWantsIsNotAskedForAgain":    checkNoRecordUnwanted,
	"AnEntryOutlivesItsSchedule":                                 checkNoRecordLives,
	"ManyThatAreDueDelayNothingThatWasBegun":                     checkNoRecordMany,
	"WhatTheRelaySaysOfAWaybillIsNoUpdateOfIt":                   checkOwnEvent,
	"WithoutAScheduleAWaybillWithoutARecordFailsAtOnce":          checkNoRecordAtOnce,
	"AWaybillWithoutARecordThatIsSubscribedAgainBeginsItsOwnOne": checkNoRecordAgain,
}

// none is the provider's answer that it has no record.
var none = ledger.Answer{Code: 201101, Msg: "查询暂无记录", UID: "u"}

// scheduled opens a store with a schedule of two pauses, and its clock.
func scheduled(t *testing.T, b *bench) (*replica, *shifted) {
	t.Helper()
	clock := &shifted{}
	return b.open(t, scheduledOptions(clock)), clock
}

func scheduledOptions(clock *shifted) options {
	return options{Clock: clock.now, Settings: settings{
		NoRecord: []time.Duration{time.Hour, 3 * time.Hour}, ClaimTTL: 10 * time.Second, UpstreamRate: 1e6,
		SignedTTL: 7 * time.Hour,
	}}
}

// pair opens two stores with one clock, which have taken the time before it is moved.
func pair(t *testing.T, b *bench, change func(*settings)) (one, two *replica, clock *shifted) {
	t.Helper()
	clock = &shifted{}
	o := scheduledOptions(clock)
	change(&o.Settings)
	one, two = b.open(t, o), b.open(t, o)
	for _, s := range []*replica{one, two} {
		takenOver(t, s)
	}
	return one, two, clock
}

// takenOver is what a store hands out: waybills to ask for, and losses.
func takenOver(t *testing.T, s *replica) (ask []string, losses []ledger.Loss) {
	t.Helper()
	work, err := s.TakeOver(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range work {
		if w.Loss != nil {
			losses = append(losses, *w.Loss)
		} else if w.Tenant == "" {
			ask = append(ask, w.Code)
		}
	}
	return ask, losses
}

// begun subscribes a waybill, of which the provider has no record.
func begun(t *testing.T, s *replica, tenant, code string) ledger.AnswerResult {
	t.Helper()
	subscribe(t, s, tenant, code)
	return askedInVain(t, s, "first "+code, code, ledger.NoRecord, none)
}

// askedInVain claims a waybill and writes an answer down that is no success.
func askedInVain(t *testing.T, s *replica, token, code string, v ledger.Verdict,
	a ledger.Answer) ledger.AnswerResult {
	t.Helper()
	if _, mine := claim(t, s, token, code); mine != 1 {
		t.Fatalf("waybill %s cannot be claimed", code)
	}
	return answered(t, s, token, v, a, code)[0]
}

// isIn says whether a time is nearly so far ahead.
func isIn(s *replica, at time.Time, d time.Duration) bool {
	return at.Sub(s.Now()) > d-time.Minute && at.Sub(s.Now()) <= d
}

func checkNoRecordSchedule(t *testing.T, b *bench) {
	one, two, clock := pair(t, b, func(*settings) {})
	began := one.Now()
	got := begun(t, one, "a", "1")
	for i, wait := range []time.Duration{time.Hour, 3 * time.Hour} {
		if got.State != ledger.Pending || !isIn(one, got.RetryAt, wait) || got.Loss != nil {
			t.Fatalf("answer %d: %+v", i+1, got)
		}

		// Until it is due, nobody asks, and whoever subscribes it or looks at it learns when that is.
		clock.forward(wait - time.Minute)
		if ask, _ := takenOver(t, one); len(ask) != 0 {
			t.Errorf("before it is due it is handed out")
		}
		if _, mine := claim(t, two, "early", "1"); mine != 0 {
			t.Error("before it is due it can be claimed")
		}
		_, c, err := two.Claim(t.Context(), "early", zt("1"))
		if err != nil || c[0].State != ledger.Pending || !c[0].RetryAt.Equal(got.RetryAt) || c[0].Answer != none {
			t.Errorf("a claim gets %+v (%v)", c, err)
		}
		for _, tenant := range []string{"a", "b"} {
			w := subscribe(t, two, tenant, "1")[0]
			if w.State != ledger.Pending || w.Already || !w.RetryAt.Equal(got.RetryAt) || w.Answer != none {
				t.Errorf("%s subscribes it, and gets %+v", tenant, w)
			}
			x, _, err := two.Subscription(t.Context(), tenant, zt("1")[0])
			if err != nil || x.State != ledger.Pending || !x.RetryAt.Equal(got.RetryAt) || x.Answer != none {
				t.Errorf("%s has %+v (%v)", tenant, x, err)
			}
		}
		if work, err := one.Work(t.Context()); err != nil || work.Unfinished != 0 || work.NoRecord != 1 {
			t.Errorf("%+v (%v)", work, err)
		}

		// Then one replica gets it.
		clock.forward(2 * time.Minute)
		first, _ := takenOver(t, one)
		second, _ := takenOver(t, two)
		if !slices.Equal(first, []string{"1"}) || len(second) != 0 {
			t.Errorf("handed out: %v and %v", first, second)
		}
		_, c, err = one.Claim(t.Context(), "due", zt("1"))
		if err != nil || !c[0].Mine || !c[0].Unknown {
			t.Errorf("whoever gets it claims %+v (%v)", c, err)
		}
		if w := subscribe(t, two, "c", "1")[0]; w.State != ledger.Pending || !w.RetryAt.IsZero() {
			t.Errorf("while it is asked for, another gets %+v", w)
		}
		got = answered(t, one, "due", ledger.NoRecord, none, "1")[0]
	}

	// It has failed, and the tenants are to be told.
	loss := got.Loss
	if got.State != ledger.Failed || !got.RetryAt.IsZero() || loss == nil {
		t.Fatalf("at the end: %+v", got)
	}
	if loss.Waybill != zt("1")[0] || loss.Asked != 3 || loss.Answer != (ledger.Answer{Code: 201101, Msg: none.Msg}) ||
		loss.Since.Sub(began).Abs() > time.Minute {
		t.Errorf("the loss is %+v", loss)
	}
	if x, _, err := one.Subscription(t.Context(), "a", zt("1")[0]); err != nil || x.State != ledger.Failed ||
		!x.RetryAt.IsZero() || x.Answer != none || x.Expires.Sub(one.Now()) > 7*time.Hour {
		t.Errorf("the subscription is %+v (%v)", x, err)
	}
	if work, err := one.Work(t.Context()); err != nil || work.Unfinished != 1 || work.NoRecord != 0 {
		t.Errorf("%+v (%v)", work, err)
	}
	clock.forward(100 * time.Hour)
	if ask, _ := takenOver(t, one); len(ask) != 0 {
		t.Error("it is asked for again, although it has failed")
	}
}

func checkNoRecordInVain(t *testing.T, b *bench) {
	s, clock := scheduled(t, b)
	down := ledger.Answer{Code: 504, Msg: "no answer"}
	subscribe(t, s, "a", "new")
	if got := askedInVain(t, s, "x", "new", ledger.Unanswered, down); got.State != ledger.Failed || got.Loss != nil {
		t.Errorf("one that was never answered: %+v", got)
	}

	// One call in vain after each answer takes a pause, and the answers still have all of theirs.
	begun(t, s, "a", "1")
	for i, step := range []struct {
		verdict ledger.Verdict
		wait    time.Duration
	}{
		{ledger.Unanswered, time.Hour},
		{ledger.Unanswered, 3 * time.Hour},
		{ledger.NoRecord, 3 * time.Hour},
		{ledger.Unanswered, time.Hour},
	} {
		clock.forward(4 * time.Hour)
		a := down
		if step.verdict == ledger.NoRecord {
			a = none
		}
		got := askedInVain(t, s, fmt.Sprint("call", i), "1", step.verdict, a)
		if got.State != ledger.Pending || !isIn(s, got.RetryAt, step.wait) {
			t.Errorf("call %d: %+v", i, got)
		}
		if x, _, err := s.Subscription(t.Context(), "a", zt("1")[0]); err != nil || x.Answer != none {
			t.Errorf("the answer that counts is %+v (%v)", x.Answer, err)
		}
	}
	clock.forward(4 * time.Hour)
	if got := askedInVain(t, s, "last", "1", ledger.NoRecord, none); got.Loss == nil || got.Loss.Asked != 6 {
		t.Errorf("the last answer: %+v", got)
	}

	// A provider that never answers is not asked for ever.
	begun(t, s, "a", "2")
	for i := range 3 {
		clock.forward(4 * time.Hour)
		got := askedInVain(t, s, fmt.Sprint("vain", i), "2", ledger.Unanswered, down)
		if (got.State == ledger.Failed) != (i == 2) || (got.Loss != nil) != (i == 2) {
			t.Errorf("call %d: %+v", i, got)
		}
	}
}

func checkNoRecordRefused(t *testing.T, b *bench) {
	s, clock := scheduled(t, b)
	begun(t, s, "a", "1")
	clock.forward(2 * time.Hour)
	refused := ledger.Answer{Code: 201102, Msg: "bad  one\n", UID: "u2"}
	got := askedInVain(t, s, "x", "1", ledger.Refused, refused)
	if got.State != ledger.Failed || got.Loss == nil || got.Loss.Asked != 2 ||
		got.Loss.Answer != (ledger.Answer{Code: 201102, Msg: "bad  one\n"}) {
		t.Errorf("%+v", got)
	}
	subscribe(t, s, "a", "2")
	if got := askedInVain(t, s, "x", "2", ledger.Refused, refused); got.State != ledger.Failed || got.Loss != nil {
		t.Errorf("one that was refused at once: %+v", got)
	}
}

func checkNoRecordDeaths(t *testing.T, b *bench) {
	s, clock := scheduled(t, b)
	begun(t, s, "a", "1")
	clock.forward(time.Hour + time.Minute)

	// One replica dies when it has it, the next when it has claimed it, and a third has neither.
	if ask, _ := takenOver(t, s); len(ask) != 1 {
		t.Fatalf("handed out: %v", ask)
	}
	clock.forward(11 * time.Second)
	if ask, _ := takenOver(t, s); len(ask) != 1 {
		t.Fatalf("after the first has died: %v", ask)
	}
	claim(t, s, "second", "1")
	if _, mine := claim(t, s, "third", "1"); mine != 0 {
		t.Error("two have the claim")
	}
	clock.forward(11 * time.Second)
	if ask, _ := takenOver(t, s); len(ask) != 1 {
		t.Fatalf("after the second has died: %v", ask)
	}
	got := askedInVain(t, s, "third", "1", ledger.NoRecord, none)
	if got.State != ledger.Pending || !isIn(s, got.RetryAt, 3*time.Hour) {
		t.Errorf("the third has %+v", got)
	}

	// The answer of the second comes late, and so does the same of the third again.
	for _, token := range []string{"second", "third"} {
		late := answered(t, s, token, ledger.NoRecord, none, "1")[0]
		if late.State != ledger.Pending || !late.RetryAt.Equal(got.RetryAt) || late.Loss != nil {
			t.Errorf("the late answer of the %s: %+v", token, late)
		}
	}

	// A request that comes when it is due asks for it before the replicas do.
	clock.forward(3*time.Hour + time.Minute)
	if w := subscribe(t, s, "b", "1")[0]; !w.RetryAt.IsZero() {
		t.Errorf("when it is due: %+v", w)
	}
	claim(t, s, "request", "1")
	if ask, _ := takenOver(t, s); len(ask) != 0 {
		t.Error("it is handed out while a request asks for it")
	}
	answered(t, s, "request", ledger.Accepted, ledger.Answer{UID: "ok"}, "1")
	if got := state(t, s, "a", "1"); got != ledger.Live {
		t.Errorf("it is %s", got)
	}
	clock.forward(100 * time.Hour)
	if ask, losses := takenOver(t, s); len(ask)+len(losses) != 0 {
		t.Errorf("of one that is live, %v and %v are left", ask, losses)
	}
}

func checkLossTold(t *testing.T, b *bench) {
	s, other, clock := pair(t, b, func(set *settings) { set.NoRecord = nil })
	loss := begun(t, s, "a", "1").Loss
	if loss == nil {
		t.Fatal("there is no loss")
	}

	// Whoever has the answer tells of it; if that one dies, others do, one at a time. It stays what it was, whatever
	// becomes of the entry.
	if _, losses := takenOver(t, s); len(losses) != 0 {
		t.Error("it is handed out while it may still be told of")
	}
	subscribe(t, s, "b", "1")
	for range 2 {
		clock.forward(11 * time.Second)
		_, first := takenOver(t, other)
		_, second := takenOver(t, s)
		if len(first) != 1 || len(second) != 0 || first[0] != *loss {
			t.Errorf("handed out: %+v and %+v, want %+v", first, second, loss)
		}
	}
	if err := other.Told(t.Context(), *loss); err != nil {
		t.Fatal(err)
	}
	clock.forward(time.Hour)
	if _, losses := takenOver(t, s); len(losses) != 0 {
		t.Error("it is handed out although it was told of")
	}

	// Who has subscribed it is known as long as its entry lives.
	got, err := s.SubscribedBy(t.Context(), zt("1")[0], []string{"b", "nobody", "a"})
	if err != nil || !slices.Equal(got, []bool{true, false, true}) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := s.SubscribedBy(t.Context(), zt("2")[0], []string{"a"}); err != nil || slices.Contains(got, true) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := s.SubscribedBy(t.Context(), zt("1")[0], nil); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
}

func checkNoRecordPushed(t *testing.T, b *bench) {
	s, clock := scheduled(t, b)
	for code, status := range map[string]string{"moves": "sending", "arrives": "signed", "asked": "sending"} {
		begun(t, s, "a", code)
		if code == "asked" {
			clock.forward(2 * time.Hour)
			claim(t, s, "call", code)
		}
		if got := acceptOne(t, s, update(code, status), under(event.IfSubscribed, "a/x")).Deliveries; got != 1 {
			t.Errorf("%s: %d deliveries", code, got)
		}
		x, _, err := s.Subscription(t.Context(), "a", zt(code)[0])
		if err != nil || x.State != ledger.Live || !x.RetryAt.IsZero() || x.Answer != (ledger.Answer{}) {
			t.Errorf("%s: %+v (%v)", code, x, err)
		}
		if long := x.Expires.Sub(s.Now()) > 7*time.Hour; long != (status != "signed") {
			t.Errorf("%s expires at %s", code, x.Expires)
		}
	}
	if got := answered(t, s, "call", ledger.NoRecord, none, "asked")[0]; got.State != ledger.Live {
		t.Errorf("the answer that came after the push: %+v", got)
	}
	clock.forward(100 * time.Hour)
	if ask, losses := takenOver(t, s); len(ask)+len(losses) != 0 {
		t.Errorf("left: %v and %v", ask, losses)
	}

	// One that is asked for the first time stays pending until the answer comes.
	subscribe(t, s, "a", "new")
	acceptOne(t, s, update("new", "sending"), nil)
	if got := state(t, s, "a", "new"); got != ledger.Pending {
		t.Errorf("it is %s", got)
	}
}

func checkNoRecordUnwanted(t *testing.T, b *bench) {
	s, clock := scheduled(t, b)
	begun(t, s, "a", "1")
	begun(t, s, "a", "2")
	if _, err := s.Unsubscribe(t.Context(), "a", zt("1")[0]); err != nil {
		t.Fatal(err)
	}
	clock.forward(2 * time.Hour)
	if ask, _ := takenOver(t, s); !slices.Equal(ask, []string{"2"}) {
		t.Errorf("handed out: %v", ask)
	}

	// The last tenant leaves while the provider is being asked.
	claim(t, s, "x", "2")
	if _, err := s.Unsubscribe(t.Context(), "a", zt("2")[0]); err != nil {
		t.Fatal(err)
	}
	if got := answered(t, s, "x", ledger.NoRecord, none, "2")[0]; got.State != ledger.Failed || got.Loss != nil {
		t.Errorf("%+v", got)
	}

	// Whoever wants it again begins anew.
	if w := subscribe(t, s, "b", "1")[0]; w.State != ledger.Pending || !w.RetryAt.IsZero() {
		t.Errorf("%+v", w)
	}
	if got := askedInVain(t, s, "y", "1", ledger.NoRecord, none); !isIn(s, got.RetryAt, time.Hour) {
		t.Errorf("%+v", got)
	}
}

func checkNoRecordLives(t *testing.T, b *bench) {
	clock := &shifted{}
	o := scheduledOptions(clock)
	o.Settings.NoRecord = []time.Duration{100 * time.Hour}
	o.Settings.SubscriptionTTL = time.Hour
	s := b.open(t, o)
	begun(t, s, "a", "1")
	x, ok, err := s.Subscription(t.Context(), "a", zt("1")[0])
	if err != nil || !ok || x.Expires.Sub(x.RetryAt) < 23*time.Hour {
		t.Errorf("it is asked for again at %s, and expires at %s (%v)", x.RetryAt, x.Expires, err)
	}
	if page, _, err := s.Subscriptions(t.Context(), "a", "", 10); err != nil || len(page) != 1 {
		t.Errorf("%v %v", page, err)
	}
}

func checkNoRecordMany(t *testing.T, b *bench) {
	s, clock := scheduled(t, b)
	const many = 150
	codes := make([]string, many)
	for i := range codes {
		codes[i] = fmt.Sprint("many", i)
	}
	for part := range slices.Chunk(codes, 10) {
		subscribe(t, s, "a", part...)
		claim(t, s, "x", part...)
		answered(t, s, "x", ledger.NoRecord, none, part...)
	}
	clock.forward(2 * time.Hour)
	subscribe(t, s, "a", "begun")
	clock.forward(11 * time.Second) // its replica has died
	ask, _ := takenOver(t, s)
	if len(ask) != 100 || ask[0] != "begun" {
		t.Errorf("%d are handed out, the first is %s", len(ask), ask[0])
	}
	if rest, _ := takenOver(t, s); len(rest) != many-99 || slices.Contains(rest, "begun") {
		t.Errorf("then %d", len(rest))
	}
}

func checkNoRecordAtOnce(t *testing.T, b *bench) {
	s := b.open(t, options{})
	if got := begun(t, s, "a", "1"); got.State != ledger.Failed || !got.RetryAt.IsZero() || got.Loss == nil {
		t.Errorf("%+v", got)
	}
}

func checkNoRecordAgain(t *testing.T, b *bench) {
	s, clock := scheduled(t, b)
	var losses []ledger.Loss
	for range 2 {
		got := begun(t, s, "a", "1")
		for got.State == ledger.Pending {
			clock.forward(4 * time.Hour)
			got = askedInVain(t, s, fmt.Sprint(s.Now()), "1", ledger.NoRecord, none)
		}
		losses = append(losses, *got.Loss)
		clock.forward(time.Hour)
	}
	if losses[0].Asked != 3 || losses[1].Asked != 3 || !losses[1].Since.After(losses[0].Since) {
		t.Errorf("%+v", losses)
	}
}
