package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store"
)

// ledgerChecks are those of subscriptions.
var ledgerChecks = map[string]func(*testing.T, *bench){
	"OnlyOneGetsTheClaimOfAWaybill":                        checkClaim,
	"AClaimThatLapsesIsTakenOver":                          checkClaimLapses,
	"AnAnswerThatComesTooLateChangesNothing":               checkLateAnswer,
	"ARefusedWaybillIsPendingAgainForTheNextSubscription":          checkRefused,
	"CallsOfAllReplicasStandInOneLine":                     checkTurns,
	"EveryConditionIsDecidedByTheStatusAndTheSubscription": checkConditions,
	"AnEventWithoutABrandIsOfAnyThatIsSubscribed":          checkNoBrand,
	"ALateSubscriptionIsCaughtUpOnceAndBehindWhatWaits":            checkCatchUp,
	"ACatchUpIsStaleWhenANewerEventHasCome":                checkCatchUpStale,
	"ACatchUpBehindAStuckUpdateKeepsItsReasonAndItsAge":    checkCatchUpWaits,
	"AnEventFromBeforeTheFirstSubscriptionIsCaughtUpWith":          checkCatchUpBefore,
	"ACatchUpThatIsOpenNeverExpires":                       checkCatchUpStays,
	"TheLastEventLivesAsLongAsItsEntry":                    checkLastEventLives,
	"ARenewedEntryKeepsItsLastEvent":                       checkRenewed,
	"TheLedgerForgetsASignedParcelSooner":                  checkSignedExpires,
	"AParcelThatMovesAfterItWasSignedForIsLiveAgain":       checkMovesAgain,
	"ASignedParcelTakesNoOtherSubscriptionWithIt":          checkSignedAlone,
	"ATenantHasNoMoreSubscriptionsThanItMay":               checkMax,
	"ARefusedWaybillThatIsPushedAllTheSameIsLive":          checkRefusedIsPushed,
	"ALateUpdateIsNotTheLastOne":                           checkLateUpdate,
	"ALateUpdateFromBeforeTheFirstSubscriptionIsNotTheLastOne":     checkLateBefore,
	"ALateUpdateIsNoChangeOfTheStatus":                     checkLateStatus,
	"ATenantThatUnsubscribesGetsNothing":               checkUnsubscribe,
	"UnfinishedWorkIsHandedOutToOne":                       checkTodo,
	"ReplicasThatDieInTurnLeaveNothingPendingForAMinute":   checkTakenOver,
	"LimitsCountOverReplicas":                              checkLimits,
	"TheLedgerCanBeExportedAndImported":                    checkImport,
	"ManySubscriptionsAreListedPageByPage":                 checkPages,
}

func zt(codes ...string) []event.Waybill {
	var out []event.Waybill
	for _, c := range codes {
		out = append(out, event.Waybill{CPCode: "zt", Code: c})
	}
	return out
}

func subscribe(t *testing.T, s *store.Store, tenant string, codes ...string) []event.SubscribeResult {
	t.Helper()
	got, err := s.Subscribe(t.Context(), tenant, zt(codes...))
	if err != nil || len(got) != len(codes) {
		t.Fatalf("%d answers to %d waybills: %v", len(got), len(codes), err)
	}
	return got
}

func claim(t *testing.T, s *store.Store, token string, codes ...string) (wait time.Duration, mine int) {
	t.Helper()
	wait, got, err := s.Claim(t.Context(), token, zt(codes...))
	if err != nil || len(got) != len(codes) {
		t.Fatalf("%d answers to %d claims: %v", len(got), len(codes), err)
	}
	for _, c := range got {
		if c.Mine {
			mine++
		}
	}
	return wait, mine
}

func answered(t *testing.T, s *store.Store, token string, state event.Upstream, a event.Answer, codes ...string) {
	t.Helper()
	if err := s.Answered(t.Context(), token, zt(codes...), state, a); err != nil {
		t.Fatal(err)
	}
}

// live subscribes waybills for a tenant, as far as the provider is concerned.
func live(t *testing.T, s *store.Store, tenant string, codes ...string) {
	t.Helper()
	subscribe(t, s, tenant, codes...)
	claim(t, s, "t", codes...)
	answered(t, s, "t", event.Live, event.Answer{UID: "u"}, codes...)
}

func state(t *testing.T, s *store.Store, tenant, code string) event.Upstream {
	t.Helper()
	got, ok, err := s.Subscription(t.Context(), tenant, zt(code)[0])
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return ""
	}
	return got.State
}

// under makes candidates that are owed an event under a condition.
func under(condition event.Conditions, endpoints ...string) []event.Candidate {
	cs := to(endpoints...)
	for i := range cs {
		cs[i].When = condition
	}
	return cs
}

func checkClaim(t *testing.T, b *bench) {
	stores := []*store.Store{b.open(t, store.Options{Settings: store.Settings{UpstreamRate: 1e6}}), b.open(t, store.Options{Settings: store.Settings{UpstreamRate: 1e6}})}
	codes := []string{"1", "2", "3"}
	var claimed atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for _, w := range subscribe(t, stores[i%2], fmt.Sprint("t", i%5), codes...) {
				if w.State != event.Pending || w.Already || w.CatchUp {
					t.Errorf("%+v", w)
				}
			}
			_, mine := claim(t, stores[i%2], fmt.Sprint("token", i), codes...)
			claimed.Add(int64(mine))
		})
	}
	wg.Wait()
	if claimed.Load() != 3 {
		t.Errorf("3 waybills were claimed %d times", claimed.Load())
	}
}

func checkClaimLapses(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now, Settings: store.Settings{ClaimTTL: 30 * time.Second}})
	subscribe(t, s, "a", "1")
	if _, mine := claim(t, s, "first", "1"); mine != 1 {
		t.Error("the first does not get it")
	}
	if _, mine := claim(t, s, "first", "1"); mine != 1 {
		t.Error("the first does not get it when it asks again")
	}
	clock.forward(29 * time.Second)
	if _, mine := claim(t, s, "second", "1"); mine != 0 {
		t.Error("the second gets what the first has")
	}
	clock.forward(2 * time.Second)
	if _, mine := claim(t, s, "second", "1"); mine != 1 {
		t.Error("the second does not get what has lapsed")
	}
	if _, mine := claim(t, s, "first", "1"); mine != 0 {
		t.Error("the first gets it back")
	}
	if got, err := s.Todo(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("handed out while it is claimed: %v %v", got, err)
	}
}

func checkLateAnswer(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	subscribe(t, s, "a", "1")
	claim(t, s, "first", "1")
	clock.forward(31 * time.Second)
	claim(t, s, "second", "1")
	answered(t, s, "first", event.Failed, event.Answer{Code: 504, Msg: "late"}, "1")
	if got := state(t, s, "a", "1"); got != event.Pending {
		t.Errorf("a failure of a lapsed claim made it %s", got)
	}
	answered(t, s, "first", event.Live, event.Answer{UID: "u1"}, "1")
	answered(t, s, "second", event.Failed, event.Answer{Code: 504}, "1")
	got, _, err := s.Subscription(t.Context(), "a", zt("1")[0])
	if err != nil || got.State != event.Live || got.Answer.UID != "u1" {
		t.Errorf("%+v %v", got, err)
	}
	answered(t, s, "x", event.Live, event.Answer{}, "unknown")
	if state(t, s, "a", "unknown") != "" {
		t.Error("an answer made an entry")
	}
}

func checkRefused(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	subscribe(t, s, "a", "1")
	claim(t, s, "x", "1")
	answered(t, s, "x", event.Failed, event.Answer{Code: 201101, Msg: "查询暂无记录", UID: "u"}, "1")
	got, _, err := s.Subscription(t.Context(), "a", zt("1")[0])
	if err != nil || got.State != event.Failed || got.Answer != (event.Answer{Code: 201101, Msg: "查询暂无记录", UID: "u"}) {
		t.Errorf("%+v %v", got, err)
	}
	if life := got.Expires.Sub(s.Now()); life > 7*24*time.Hour || life < 6*24*time.Hour {
		t.Errorf("a refused one is kept for %s", life)
	}
	if _, mine := claim(t, s, "y", "1"); mine != 0 {
		t.Error("it is asked for again, though nobody subscribed")
	}
	if w := subscribe(t, s, "b", "1")[0]; w.State != event.Pending {
		t.Errorf("%+v", w)
	}
	if _, mine := claim(t, s, "y", "1"); mine != 1 {
		t.Error("it is not asked for again")
	}
	answered(t, s, "y", event.Live, event.Answer{}, "1")
	if w := subscribe(t, s, "a", "1")[0]; w.State != event.Live || !w.Already {
		t.Errorf("%+v", w)
	}
}

func checkTurns(t *testing.T, b *bench) {
	a, c := b.open(t, store.Options{Settings: store.Settings{UpstreamRate: 0.05}}), b.open(t, store.Options{Settings: store.Settings{UpstreamRate: 0.05}})
	subscribe(t, a, "a", "1", "2", "3")
	for i, step := range []func() time.Duration{
		func() time.Duration { w, _ := claim(t, a, "1", "1"); return w },
		func() time.Duration { w, _ := claim(t, c, "2", "2"); return w },
		func() time.Duration { w, _ := claim(t, c, "3", "1"); return w }, // claims nothing, and takes no place
		func() time.Duration {
			w, err := a.Turn(t.Context())
			if err != nil {
				t.Error(err)
			}
			return w
		},
		func() time.Duration { w, _ := claim(t, c, "3", "3"); return w },
	} {
		want := time.Duration([]int{0, 20, 0, 40, 60}[i]) * time.Second
		if got := step(); got > want+time.Second || got < want-15*time.Second && want > 0 {
			t.Errorf("step %d waits %s, want nearly %s", i, got, want)
		}
	}
}

func checkConditions(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	for mask := event.Conditions(1); mask < 16; mask++ {
		for _, subscribed := range []bool{false, true} {
			for _, changed := range []bool{false, true} {
				code := fmt.Sprint(mask, subscribed, changed)
				acceptOne(t, s, update(code, "a"), nil)
				if subscribed {
					live(t, s, "t", code)
				} else {
					live(t, s, "other", code)
				}
				e := update(code, "b")
				if !changed {
					e.Status = "a"
				}
				want := mask&event.Always != 0 || changed && mask&event.IfChanged != 0 || subscribed && mask&event.IfSubscribed != 0 ||
					changed && subscribed && mask&event.IfChangedAndSubscribed != 0
				if got := acceptOne(t, s, e, under(mask, "t/a")).Deliveries == 1; got != want {
					t.Errorf("conditions %04b, subscribed %v, changed %v: %v, want %v", mask, subscribed, changed, got, want)
				}
			}
		}
	}
}

func checkNoBrand(t *testing.T, b *bench) {
	s := b.open(t, store.Options{Brands: []string{"sto", "zt"}})
	live(t, s, "t", "1")
	for brand, want := range map[string]int{"": 1, "zt": 1, "sto": 0} {
		e := update("1", "of "+brand)
		e.CPCode = brand
		if got := acceptOne(t, s, e, under(event.IfSubscribed, "t/a")).Deliveries; got != want {
			t.Errorf("brand %q: %d deliveries, want %d", brand, got, want)
		}
	}
}

// catchUp does what the relay does, for endpoints that every event is owed to.
func catchUp(t *testing.T, s *store.Store, tenant, code string, endpoints ...string) event.CaughtUp {
	t.Helper()
	last, err := s.Latest(t.Context(), zt(code)[0])
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
	s := b.open(t, store.Options{})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), under(event.IfSubscribed, "t/a", "u/a"))
	acceptOne(t, s, update("1", "b"), under(event.IfSubscribed, "t/a", "u/a"))

	// A tenant that subscribes later has to be caught up, once.
	if w := subscribe(t, s, "t", "1")[0]; !w.Already || w.CatchUp {
		t.Errorf("a subscription that was there: %+v", w)
	}
	if w := subscribe(t, s, "u", "1")[0]; w.State != event.Live || w.Already || !w.CatchUp {
		t.Errorf("a later subscription: %+v", w)
	}
	if n, err := s.Unfinished(t.Context()); err != nil || n != 1 {
		t.Errorf("%d unfinished, %v", n, err)
	}

	if got := catchUp(t, s, "u", "1", "u/a", "u/b"); got != (event.CaughtUp{Deliveries: 2, Queued: 2}) {
		t.Errorf("%+v", got)
	}
	if got := catchUp(t, s, "u", "1", "u/a", "u/b"); got != (event.CaughtUp{}) {
		t.Errorf("a second time: %+v", got)
	}
	if n, err := s.Unfinished(t.Context()); err != nil || n != 0 {
		t.Errorf("%d unfinished, %v", n, err)
	}

	// What it is caught up with comes before newer events.
	acceptOne(t, s, update("1", "c"), under(event.IfSubscribed, "t/a", "u/a"))
	d := takeOne(t, s, "u/a")
	if d.Reason != event.ReasonCatchUp || d.Event.Status != "b" || string(d.Event.Data) == "" || d.Event.WaybillCode != "1" {
		t.Errorf("%+v", d)
	}

	next := settle(t, s, d, event.Delivered, next).Next
	if next == nil || next.Event.Status != "c" || next.Reason != event.ReasonNew || next.Event.Sequence <= d.Event.Sequence {
		t.Errorf("%+v", next)
	}

	// The other tenant gets nothing twice.
	if got := contents(take(t, s, "t/a", 9)); !slices.Equal(got, []string{"1:a"}) {
		t.Errorf("the other tenant has %v", got)
	}
}

func checkCatchUpStale(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), under(event.IfSubscribed, "t/a"))
	subscribe(t, s, "u", "1")
	last, err := s.Latest(t.Context(), zt("1")[0])
	if err != nil || last.Status != "a" {
		t.Fatalf("%+v %v", last, err)
	}

	// A newer event comes before the catch-up.
	acceptOne(t, s, update("1", "b"), under(event.IfSubscribed, "t/a", "u/a"))
	got, err := s.CatchUp(t.Context(), "u", zt("1")[0], last, to("u/a"))
	if err != nil || got != (event.CaughtUp{Stale: true}) {
		t.Errorf("%+v %v", got, err)
	}
	if got := catchUp(t, s, "u", "1", "u/a"); got != (event.CaughtUp{}) {
		t.Errorf("the newer one is there already: %+v", got)
	}

	if got := contents(take(t, s, "u/a", 9)); !slices.Equal(got, []string{"1:b"}) {
		t.Errorf("%v", got)
	}
	// Nothing is known of this one, and nobody has subscribed it.
	live(t, s, "t", "2")
	if got := catchUp(t, s, "t", "2", "t/a"); got != (event.CaughtUp{}) {
		t.Errorf("%+v", got)
	}
	if got := catchUp(t, s, "nobody", "1", "nobody/a"); got != (event.CaughtUp{}) || len(take(t, s, "nobody/a", 9)) != 0 {
		t.Errorf("%+v", got)
	}
}

func checkCatchUpWaits(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), under(event.Always, "u/a")) // by another route, before u subscribed
	takeOne(t, s, "u/a")
	acceptOne(t, s, update("1", "b"), under(event.IfSubscribed, "u/a"))
	clock.forward(20 * 24 * time.Hour)
	subscribe(t, s, "u", "1")
	if got := catchUp(t, s, "u", "1", "u/a"); got != (event.CaughtUp{Deliveries: 1}) {
		t.Errorf("%+v", got)
	}
	settle(t, s, takeOne(t, s, "u/a"), event.Delivered) // the head, whose lease has lapsed
	got := takeOne(t, s, "u/a")
	if age := s.Now().Sub(got.Since); got.Reason != event.ReasonCatchUp || got.Event.Status != "b" || age > time.Minute || age < 0 {
		t.Errorf("%+v, its age is %s", got, age)
	}
	settle(t, s, got, event.Retry, dueIn(s, 0))
	if again := takeOne(t, s, "u/a"); again.Reason != event.ReasonRetry || s.Now().Sub(again.Since) > time.Minute {
		t.Errorf("%+v", again)
	}
}

func checkCatchUpBefore(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	for _, c := range []string{"a", "b", "c"} {
		acceptOne(t, s, update("1", c), nil)
	}
	other := update("1", "of another brand")
	other.CPCode = "sto"
	acceptOne(t, s, other, nil)
	clock.forward(20 * 24 * time.Hour)
	if w := subscribe(t, s, "t", "1")[0]; w.State != event.Pending || !w.CatchUp {
		t.Errorf("%+v", w)
	}
	if got := catchUp(t, s, "t", "1", "t/a"); got.Queued != 1 {
		t.Errorf("%+v", got)
	}
	if d := takeOne(t, s, "t/a"); d.Event.Status != "c" || d.Reason != event.ReasonCatchUp || s.Now().Sub(d.Since) > time.Minute {
		t.Errorf("%+v", d)
	}
}

func checkCatchUpStays(t *testing.T, b *bench) {
	const short = 100 * time.Millisecond
	s := b.open(t, store.Options{Settings: store.Settings{Retention: short, Window: short, DeadLetterRetention: short, SubscriptionTTL: 5 * time.Second}})
	keys := func(kind string) int { return len(b.Keys(t, "{"+b.tag+"}:"+kind+":")) }
	live(t, s, "t", "1", "2")
	for _, d := range acceptOne(t, s, update("1", "a"), slot(to("t/a"))).Leased {
		settle(t, s, d, event.Delivered)
	}
	acceptOne(t, s, update("2", "a"), to("t/stuck"))
	subscribe(t, s, "u", "1", "2")
	for _, code := range []string{"1", "2"} {
		if got := catchUp(t, s, "u", code, "u/"+code); got.Queued != 1 {
			t.Errorf("%+v", got)
		}
	}
	settle(t, s, takeOne(t, s, "u/2"), event.Delivered)
	until(t, "the ledger has forgotten both", func() bool { return keys("s") == 0 })
	if d := takeOne(t, s, "u/1"); d.Damaged != "" || d.Event.Status != "a" {
		t.Errorf("%+v", d)
	}
	if keys("w") != 2 || keys("b") != 2 || keys("e") != 2 {
		t.Errorf("%d records, %d bodies, %d events of 2 that are open", keys("w"), keys("b"), keys("e"))
	}
}

func checkLastEventLives(t *testing.T, b *bench) {
	const short = 200 * time.Millisecond
	s := b.open(t, store.Options{Settings: store.Settings{Retention: short, Window: short, DeadLetterRetention: short, SubscriptionTTL: 6 * time.Second}})
	live(t, s, "t", "1", "2")
	for _, code := range []string{"1", "2"} {
		for _, c := range []string{"a", "b"} {
			to := under(event.IfSubscribed, "t/a")
			if code == "2" {
				to = nil
			}
			for _, d := range acceptOne(t, s, update(code, c), slot(to)).Leased {
				settle(t, s, d, event.Delivered)
			}
		}
	}

	// The events expire, but for the last one of each waybill.
	bodies := func() int { return len(b.Keys(t, "{"+b.tag+"}:b:")) }
	until(t, "the older events are gone", func() bool { return bodies() == 2 })
	until(t, "their records, too", func() bool { return len(b.Keys(t, "{"+b.tag+"}:w:")) == 0 })

	// A tenant that subscribes later gets that.
	for _, code := range []string{"1", "2"} {
		subscribe(t, s, "u", code)
		if catchUp(t, s, "u", code, "u/a").Queued != 1 {
			t.Errorf("waybill %s has no last event", code)
		}
		if d := takeOne(t, s, "u/a"); d.Damaged != "" || d.Event.Status != "b" {
			t.Errorf("%+v", d)
		} else {
			settle(t, s, d, event.Delivered)
		}
	}

	if bodies() != 2 {
		t.Errorf("%d bodies after the catch-up", bodies())
	}

	// It ends with its entry.
	until(t, "no key is left", func() bool {
		return !slices.ContainsFunc(b.Keys(t, "{"+b.tag+"}:"), func(k string) bool {
			rest := strings.TrimPrefix(k, "{"+b.tag+"}:")
			return !strings.HasPrefix(rest, "r:") && !strings.HasPrefix(rest, "a:") && !strings.HasPrefix(rest, "g:") && rest != "clock"
		})
	})
}

func checkRenewed(t *testing.T, b *bench) {
	const ttl = 4 * time.Second
	s := b.open(t, store.Options{Settings: store.Settings{Retention: 100 * time.Millisecond, Window: 100 * time.Millisecond, SubscriptionTTL: ttl}})
	live(t, s, "t", "1")
	acceptOne(t, s, update("1", "a"), nil)
	began := time.Now()
	until(t, "the entry would have expired, had it not been renewed", func() bool {
		subscribe(t, s, "t", "1")
		return time.Since(began) > 2*ttl
	})
	if last, err := s.Latest(t.Context(), zt("1")[0]); err != nil || last == nil || last.Status != "a" {
		t.Errorf("%+v %v", last, err)
	}
}

func checkSignedExpires(t *testing.T, b *bench) {
	s := b.open(t, store.Options{Settings: store.Settings{SubscriptionTTL: 60 * time.Hour, SignedTTL: 7 * time.Hour}})
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
func lifeOf(t *testing.T, s *store.Store, tenant, code string) time.Duration {
	t.Helper()
	got, ok, err := s.Subscription(t.Context(), tenant, zt(code)[0])
	if err != nil || !ok {
		t.Fatalf("%v %v", ok, err)
	}
	return got.Expires.Sub(s.Now()).Round(time.Hour)
}

func checkMovesAgain(t *testing.T, b *bench) {
	const full, signed = 60 * time.Hour, 7 * time.Hour
	s := b.open(t, store.Options{Settings: store.Settings{SubscriptionTTL: full, SignedTTL: signed}})
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

	if page, _, err := s.Subscriptions(t.Context(), "t", "", 10); err != nil || len(page) != 2 || page[1].Expires.Sub(s.Now()) < full-time.Minute {
		t.Errorf("%+v %v", page, err)
	}
}

func checkSignedAlone(t *testing.T, b *bench) {
	s := b.open(t, store.Options{Settings: store.Settings{SignedTTL: 200 * time.Millisecond}})
	live(t, s, "t", "1", "2")
	acceptOne(t, s, update("1", "signed"), nil)
	until(t, "the ledger forgets the parcel that was signed for", func() bool { return len(b.Keys(t, "{"+b.tag+"}:s:")) == 1 })
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

func checkMax(t *testing.T, b *bench) {
	s := b.open(t, store.Options{Settings: store.Settings{SubscriptionsMax: 3}})
	for i, step := range []struct {
		tenant string
		codes  []string
		full   []bool
	}{
		{"t", []string{"1", "2"}, []bool{false, false}},
		{"t", []string{"3", "4", "1"}, []bool{false, true, false}}, // what it has is renewed
		{"u", []string{"4"}, []bool{false}},
		{"t", []string{"4"}, []bool{true}},
	} {
		for j, got := range subscribe(t, s, step.tenant, step.codes...) {
			if got.Full != step.full[j] {
				t.Errorf("step %d, waybill %s: %+v", i, step.codes[j], got)
			}
		}
	}
	if _, err := s.Unsubscribe(t.Context(), "t", zt("2")[0]); err != nil {
		t.Fatal(err)
	}
	if got := subscribe(t, s, "t", "4")[0]; got.Full || state(t, s, "t", "4") != event.Pending {
		t.Errorf("%+v", got)
	}
}

func checkRefusedIsPushed(t *testing.T, b *bench) {
	const full, short = 60 * time.Hour, 7 * time.Hour
	s := b.open(t, store.Options{Settings: store.Settings{SubscriptionTTL: full, SignedTTL: short}})
	for _, code := range []string{"moves", "arrives"} {
		subscribe(t, s, "t", code)
		claim(t, s, "x", code)
		answered(t, s, "x", event.Failed, event.Answer{Code: 201101, Msg: "查询暂无记录"}, code)
	}
	acceptOne(t, s, at(9, "moves", "1", "sending"), nil)
	if got := state(t, s, "t", "moves"); got != event.Live || lifeOf(t, s, "t", "moves") != full {
		t.Errorf("it is %s, and lives for %s", got, lifeOf(t, s, "t", "moves"))
	}
	if w := subscribe(t, s, "u", "moves")[0]; w.State != event.Live || !w.CatchUp {
		t.Errorf("another subscription: %+v", w)
	}
	acceptOne(t, s, at(9, "arrives", "1", "signed"), nil)
	if got := state(t, s, "t", "arrives"); got != event.Failed || lifeOf(t, s, "t", "arrives") != short {
		t.Errorf("it is %s, and lives for %s", got, lifeOf(t, s, "t", "arrives"))
	}
}

func checkLateUpdate(t *testing.T, b *bench) {
	s := b.open(t, store.Options{Settings: store.Settings{Window: 100 * time.Millisecond, Retention: 100 * time.Millisecond}})
	newest := func() *event.Event { return at(10, "1", "b", "signed") }
	live(t, s, "t", "1")
	acceptOne(t, s, newest(), nil)
	acceptOne(t, s, at(9, "1", "a", "sending"), nil)
	if !acceptOne(t, s, newest(), nil).Duplicate {
		t.Error("the newest one is none that came before")
	}
	if last, err := s.Latest(t.Context(), zt("1")[0]); err != nil || last == nil || last.Status != "signed" {
		t.Errorf("%+v %v", last, err)
	}
	// The ledger knows it for longer than the record of the waybill lives.
	until(t, "the record expires", func() bool { return len(b.Keys(t, "{"+b.tag+"}:w:")) == 0 })
	acceptOne(t, s, at(8, "1", "c", "collected"), nil)
	if last, err := s.Latest(t.Context(), zt("1")[0]); err != nil || last == nil || last.Status != "signed" {
		t.Errorf("%+v %v", last, err)
	}
	acceptOne(t, s, at(0, "1", "d", "sending"), nil)
	if last, err := s.Latest(t.Context(), zt("1")[0]); err != nil || last == nil || last.Status != "sending" {
		t.Errorf("one without a time that can be read: %+v %v", last, err)
	}
	acceptOne(t, s, at(9, "1", "e", "question"), nil)
	if last, err := s.Latest(t.Context(), zt("1")[0]); err != nil || last == nil || last.Status != "sending" {
		t.Errorf("after that: %+v %v", last, err)
	}
}

func checkLateBefore(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	acceptOne(t, s, at(10, "1", "b", "signed"), nil)
	acceptOne(t, s, at(9, "1", "a", "sending"), nil)
	subscribe(t, s, "t", "1")
	for range 2 {
		if last, err := s.Latest(t.Context(), zt("1")[0]); err != nil || last == nil || last.Status != "signed" {
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
	if last, err := s.Latest(t.Context(), zt("2")[0]); err != nil || last == nil || last.Status != "signed" {
		t.Errorf("%+v %v", last, err)
	}
}

func checkLateStatus(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
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

func checkUnsubscribe(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	live(t, s, "t", "1")
	live(t, s, "u", "1")
	for _, want := range []bool{true, false} {
		if was, err := s.Unsubscribe(t.Context(), "t", zt("1")[0]); err != nil || was != want {
			t.Errorf("%v %v", was, err)
		}
	}
	if got := acceptOne(t, s, update("1", "a"), under(event.IfSubscribed, "t/a", "u/a")).Deliveries; got != 1 {
		t.Errorf("%d deliveries", got)
	}
	if page, _, err := s.Subscriptions(t.Context(), "t", "", 10); err != nil || len(page) != 0 || state(t, s, "t", "1") != "" {
		t.Errorf("%+v %v", page, err)
	}
	if w := subscribe(t, s, "t", "1")[0]; w.State != event.Live || w.Already || !w.CatchUp {
		t.Errorf("subscribed anew: %+v", w)
	}
}

func checkTodo(t *testing.T, b *bench) {
	clock := &shifted{}
	a, c := b.open(t, store.Options{Clock: clock.now}), b.open(t, store.Options{Clock: clock.now})
	live(t, a, "t", "1")
	acceptOne(t, a, update("1", "a"), nil)
	subscribe(t, a, "u", "1") // has to be caught up
	subscribe(t, a, "u", "2") // has to be asked for

	// As long as whoever began it may still finish it, nothing is handed out.
	if got, err := a.Todo(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("before the time: %v %v", got, err)
	}

	// Then each piece is handed out to one.
	clock.forward(31 * time.Second)
	var all []event.UnfinishedWork
	for _, s := range []*store.Store{a, c, a} {
		got, err := s.Todo(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got...)
	}

	want := []event.UnfinishedWork{{Waybill: zt("1")[0], Tenant: "u"}, {Waybill: zt("2")[0]}}
	slices.SortFunc(all, func(x, y event.UnfinishedWork) int { return strings.Compare(x.Code, y.Code) })
	if !slices.Equal(all, want) {
		t.Errorf("%v", all)
	}

	// What is done is not handed out again.
	catchUp(t, a, "u", "1", "u/a")
	claim(t, a, "x", "2")
	answered(t, a, "x", event.Live, event.Answer{}, "2")
	clock.forward(31 * time.Second)
	if got, err := a.Todo(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("after it was done: %v %v", got, err)
	}
}

// checkTakenOver kills four replicas one after the other at the worst moments: when a subscription is written, when a claim is
// made, and when what is unfinished has been handed out.
func checkTakenOver(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, store.Options{Clock: clock.now})
	began := s.Now()
	subscribe(t, s, "a", "1")
	for _, dies := range []string{"before it claims", "with a claim", "before it claims", "with a claim"} {
		for {
			clock.forward(2 * time.Second) // as often as replicas look
			got, err := s.Todo(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 1 {
				break
			}
			if s.Now().Sub(began) > 5*time.Minute {
				t.Fatal("nobody takes it over")
			}
		}
		if dies == "with a claim" {
			if _, mine := claim(t, s, fmt.Sprint("token", s.Now()), "1"); mine != 1 {
				t.Error("whoever takes it over does not get it")
			}
		}
	}

	if pending := s.Now().Sub(began); pending > time.Minute {
		t.Errorf("after four replicas it has been pending for %s", pending)
	}
}

func checkLimits(t *testing.T, b *bench) {
	clock := &shifted{}
	stores := []*store.Store{b.open(t, store.Options{Clock: clock.now}), b.open(t, store.Options{Clock: clock.now})}

	// A rate of two a second, over both replicas.
	in := 0
	for i := range 30 {
		wait, quota, err := stores[i%2].Admit(t.Context(), "fast", event.Limits{Rate: 2}, 1)
		// Half a second, and what the replicas' clocks may differ; but not more at each refusal.
		if err != nil || quota || wait > 5*time.Second {
			t.Fatalf("%s %v %v", wait, quota, err)
		}
		if wait == 0 {
			in++
		}
	}
	if in < 2 || in == 30 { // a second's worth, and what comes in the time that the test takes
		t.Errorf("%d of 30 requests at once were let in, two a second", in)
	}

	// A quota by the day, of which a refused request uses nothing.
	daily := event.Limits{DailyQuota: 100}
	ask := func(n int) (bool, time.Duration) {
		wait, quota, err := stores[n%2].Admit(t.Context(), "daily", daily, n)
		if err != nil || quota != (wait > 0) {
			t.Fatalf("%s %v %v", wait, quota, err)
		}
		return wait == 0, wait
	}
	for i, step := range []struct {
		n  int
		ok bool
	}{{60, true}, {41, false}, {40, true}, {1, false}, {0, true}} {
		if ok, wait := ask(step.n); ok != step.ok || wait > 24*time.Hour {
			t.Errorf("step %d: %v, wait %s", i, ok, wait)
		}
	}

	// Without limits.
	if wait, _, err := stores[0].Admit(t.Context(), "free", event.Limits{}, 1_000_000); err != nil || wait != 0 {
		t.Errorf("without limits: %s %v", wait, err)
	}
}

func checkImport(t *testing.T, b *bench) {
	from := b.open(t, store.Options{})
	live(t, from, "t", "1", "2")
	subscribe(t, from, "u", "2", "3")
	claim(t, from, "x", "3")
	answered(t, from, "x", event.Failed, event.Answer{Code: 1008, Msg: "余额不足"}, "3")
	subscribe(t, from, "u", "4")

	// Subscriptions in each state are exported.
	var all []event.Subscription
	tenants, err := from.Subscribers(t.Context())
	if err != nil || !slices.Equal(tenants, []string{"t", "u"}) {
		t.Fatalf("%v %v", tenants, err)
	}
	for _, tenant := range tenants {
		page, _, err := from.Subscriptions(t.Context(), tenant, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
	}

	// Imported into another store, they are new once; one that has expired is passed over.
	anew := &bench{b.Backend, b.tag + "b"}
	into := anew.open(t, store.Options{})
	gone := all[0]
	gone.Code = "gone"
	gone.Expires = into.Now().Add(-time.Second)
	for _, want := range []int{5, 0} {
		if n, err := into.Import(t.Context(), append(all, gone)); err != nil || n != want {
			t.Errorf("%d new, want %d: %v", n, want, err)
		}
	}

	// They are as they were, and their work is taken up.
	for _, want := range all {
		got, ok, err := into.Subscription(t.Context(), want.Tenant, want.Waybill)
		if err != nil || !ok || got.State != want.State || got.Answer != want.Answer || !got.Since.Equal(want.Since) || got.Expires.Sub(want.Expires).Abs() > time.Second {
			t.Errorf("%+v (%v), want %+v: %v", got, ok, want, err)
		}
	}
	if w := subscribe(t, into, "v", "1")[0]; w.State != event.Live {
		t.Errorf("%+v", w)
	}
	if got, err := into.Todo(t.Context(), 10); err != nil || len(got) != 1 || got[0].Code != "4" {
		t.Errorf("what was pending is not taken up: %v %v", got, err)
	}
}

func checkPages(t *testing.T, b *bench) {
	s := b.open(t, store.Options{})
	var codes, got []string
	for i := range 250 {
		codes = append(codes, fmt.Sprintf("%04d", i))
	}
	subscribe(t, s, "t", codes...)
	subscribe(t, s, "u", "other")

	// The pages have each subscription once.
	cursor := ""
	for pages := 0; ; pages++ {
		page, next, err := s.Subscriptions(t.Context(), "t", cursor, 70)
		if err != nil || len(page) > 70 || pages > 4 {
			t.Fatalf("page %d has %d: %v", pages, len(page), err)
		}
		for _, x := range page {
			got = append(got, x.Code)
		}
		cursor = next
		if cursor == "" {
			break
		}
	}

	slices.Sort(got)
	if !slices.Equal(got, codes) {
		t.Errorf("%d of %d", len(got), len(codes))
	}

	// A cursor that is none of ours is refused.
	for _, bad := range []string{"x", "-1", "1", "1-x", "(1-0", "+inf-0"} {
		if _, _, err := s.Subscriptions(t.Context(), "t", bad, 10); err != event.ErrCursor {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}
