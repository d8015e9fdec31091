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
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

// ledgerChecks are those of subscriptions.
var ledgerChecks = map[string]func(*testing.T, *bench){
	"OnlyOneGetsTheClaimOfAWaybill":                            checkClaim,
	"AClaimThatLapsesIsTakenOver":                              checkClaimLapses,
	"AnAnswerThatComesTooLateChangesNothing":                   checkLateAnswer,
	"ARefusedWaybillIsPendingAgainForTheNextSubscription":      checkRefused,
	"CallsOfAllReplicasStandInOneLine":                         checkTurns,
	"EveryConditionIsDecidedByTheStatusAndTheSubscription":     checkConditions,
	"AnEventWithoutABrandIsOfAnyThatIsSubscribed":              checkNoBrand,
	"ALateSubscriptionIsCaughtUpOnceAndBehindWhatWaits":        checkCatchUp,
	"ACatchUpIsStaleWhenANewerEventHasCome":                    checkCatchUpStale,
	"ACatchUpBehindAStuckUpdateKeepsItsReasonAndItsAge":        checkCatchUpWaits,
	"AnEventFromBeforeTheFirstSubscriptionIsCaughtUpWith":      checkCatchUpBefore,
	"ACatchUpThatIsOpenNeverExpires":                           checkCatchUpStays,
	"ACatchUpWithAnEventThatRedisHasLostEnds":                  checkCatchUpLost,
	"TheLastEventLivesAsLongAsItsEntry":                        checkLastEventLives,
	"ARenewedEntryKeepsItsLastEvent":                           checkRenewed,
	"TheLedgerForgetsASignedParcelSooner":                      checkSignedExpires,
	"AParcelThatMovesAfterItWasSignedForIsLiveAgain":           checkMovesAgain,
	"ASignedParcelTakesNoOtherSubscriptionWithIt":              checkSignedAlone,
	"ATenantHasNoMoreSubscriptionsThanItMay":                   checkMax,
	"ARefusedWaybillThatIsPushedAllTheSameIsLive":              checkRefusedIsPushed,
	"ALateUpdateIsNotTheLastOne":                               checkLateUpdate,
	"ALateUpdateFromBeforeTheFirstSubscriptionIsNotTheLastOne": checkLateBefore,
	"ALateUpdateIsNoChangeOfTheStatus":                         checkLateStatus,
	"ATenantThatUnsubscribesGetsNothing":                       checkUnsubscribe,
	"UnfinishedWorkIsHandedOutToOne":                           checkTakeOver,
	"ReplicasThatDieInTurnLeaveNothingPendingForAMinute":       checkTakenOver,
	"LimitsCountOverReplicas":                                  checkLimits,
	"TheLedgerCanBeExportedAndImported":                        checkImport,
	"ManySubscriptionsAreListedPageByPage":                     checkPages,
	"SubscriptionsAreCountedByTheirStates":                     checkCounts,
}

func zt(codes ...string) []event.Waybill {
	var out []event.Waybill
	for _, c := range codes {
		out = append(out, event.Waybill{CPCode: "zt", Code: c})
	}
	return out
}

func subscribe(t *testing.T, s *replica, tenant string, codes ...string) []ledger.SubscribeResult {
	t.Helper()
	got, err := s.Subscribe(t.Context(), tenant, zt(codes...))
	if err != nil || len(got) != len(codes) {
		t.Fatalf("%d answers to %d waybills: %v", len(got), len(codes), err)
	}
	return got
}

func claim(t *testing.T, s *replica, token string, codes ...string) (wait time.Duration, mine int) {
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

func answered(t *testing.T, s *replica, token string, v ledger.Verdict, a ledger.Answer,
	codes ...string) []ledger.AnswerResult {
	t.Helper()
	got, err := s.Answered(t.Context(), token, zt(codes...), v, a)
	if err != nil || len(got) != len(codes) {
		t.Fatalf("%d results of %d answers: %v", len(got), len(codes), err)
	}
	return got
}

// live subscribes waybills for a tenant, as far as the provider is concerned.
func live(t *testing.T, s *replica, tenant string, codes ...string) {
	t.Helper()
	subscribe(t, s, tenant, codes...)
	claim(t, s, "t", codes...)
	answered(t, s, "t", ledger.Accepted, ledger.Answer{UID: "u"}, codes...)
}

func state(t *testing.T, s *replica, tenant, code string) ledger.State {
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
func under(condition event.Conditions, endpoints ...string) []queue.Candidate {
	cs := to(endpoints...)
	for i := range cs {
		cs[i].When = condition
	}
	return cs
}

func checkClaim(t *testing.T, b *bench) {
	stores := []*replica{b.open(t, options{Settings: settings{UpstreamRate: 1e6}}),
		b.open(t, options{Settings: settings{UpstreamRate: 1e6}})}
	codes := []string{"1", "2", "3"}
	var claimed atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for _, w := range subscribe(t, stores[i%2], fmt.Sprint("t", i%5), codes...) {
				if w.State != ledger.Pending || w.Already || w.CatchUp {
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
	s := b.open(t, options{Clock: clock.now, Settings: settings{ClaimTTL: 30 * time.Second}})
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
	if got, err := s.TakeOver(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("handed out while it is claimed: %v %v", got, err)
	}
}

func checkLateAnswer(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	subscribe(t, s, "a", "1")
	claim(t, s, "first", "1")
	clock.forward(31 * time.Second)
	claim(t, s, "second", "1")
	answered(t, s, "first", ledger.Refused, ledger.Answer{Code: 504, Msg: "late"}, "1")
	if got := state(t, s, "a", "1"); got != ledger.Pending {
		t.Errorf("a failure of a lapsed claim made it %s", got)
	}
	answered(t, s, "first", ledger.Accepted, ledger.Answer{UID: "u1"}, "1")
	answered(t, s, "second", ledger.Refused, ledger.Answer{Code: 504}, "1")
	got, _, err := s.Subscription(t.Context(), "a", zt("1")[0])
	if err != nil || got.State != ledger.Live || got.Answer.UID != "u1" {
		t.Errorf("%+v %v", got, err)
	}
	answered(t, s, "x", ledger.Accepted, ledger.Answer{}, "unknown")
	if state(t, s, "a", "unknown") != "" {
		t.Error("an answer made an entry")
	}
}

func checkRefused(t *testing.T, b *bench) {
	s := b.open(t, options{})
	subscribe(t, s, "a", "1")
	claim(t, s, "x", "1")
	answered(t, s, "x", ledger.Refused, ledger.Answer{Code: 201101, Msg: "查询暂无记录", UID: "u"}, "1")
	got, _, err := s.Subscription(t.Context(), "a", zt("1")[0])
	if err != nil || got.State != ledger.Failed || got.Answer != (ledger.Answer{Code: 201101, Msg: "查询暂无记录", UID: "u"}) {
		t.Errorf("%+v %v", got, err)
	}
	if life := got.Expires.Sub(s.Now()); life > 7*24*time.Hour || life < 6*24*time.Hour {
		t.Errorf("a refused one is kept for %s", life)
	}
	if _, mine := claim(t, s, "y", "1"); mine != 0 {
		t.Error("it is asked for again, though nobody subscribed")
	}
	if w := subscribe(t, s, "b", "1")[0]; w.State != ledger.Pending {
		t.Errorf("%+v", w)
	}
	if _, mine := claim(t, s, "y", "1"); mine != 1 {
		t.Error("it is not asked for again")
	}
	answered(t, s, "y", ledger.Accepted, ledger.Answer{}, "1")
	if w := subscribe(t, s, "a", "1")[0]; w.State != ledger.Live || !w.Already {
		t.Errorf("%+v", w)
	}
}

func checkTurns(t *testing.T, b *bench) {
	a, c := b.open(t, options{Settings: settings{UpstreamRate: 0.05}}),
		b.open(t, options{Settings: settings{UpstreamRate: 0.05}})
	subscribe(t, a, "a", "1", "2", "3")
	for i, step := range []func() time.Duration{
		func() time.Duration { w, _ := claim(t, a, "1", "1"); return w },
		func() time.Duration { w, _ := claim(t, c, "2", "2"); return w },
		func() time.Duration { w, _ := claim(t, c, "3", "1"); return w }, // claims nothing, and takes no place
		func() time.Duration {
			w, err := a.ReserveCall(t.Context())
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
	s := b.open(t, options{})
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
				want := mask&event.Always != 0 || changed && mask&event.IfChanged != 0 || subscribed &&
					mask&event.IfSubscribed != 0 ||
					changed && subscribed && mask&event.IfChangedAndSubscribed != 0
				if got := acceptOne(t, s, e, under(mask, "t/a")).Deliveries == 1; got != want {
					t.Errorf("conditions %04b, subscribed %v, changed %v: %v, want %v", mask, subscribed, changed, got, want)
				}
			}
		}
	}
}

func checkNoBrand(t *testing.T, b *bench) {
	s := b.open(t, options{Brands: []string{"sto", "zt"}})
	live(t, s, "t", "1")
	for brand, want := range map[string]int{"": 1, "zt": 1, "sto": 0} {
		e := update("1", "of "+brand)
		e.CPCode = brand
		if got := acceptOne(t, s, e, under(event.IfSubscribed, "t/a")).Deliveries; got != want {
			t.Errorf("brand %q: %d deliveries, want %d", brand, got, want)
		}
	}
}

func checkTakeOver(t *testing.T, b *bench) {
	clock := &shifted{}
	a, c := b.open(t, options{Clock: clock.now}), b.open(t, options{Clock: clock.now})
	live(t, a, "t", "1")
	acceptOne(t, a, update("1", "a"), nil)
	subscribe(t, a, "u", "1") // has to be caught up
	subscribe(t, a, "u", "2") // has to be asked for

	// As long as whoever began it may still finish it, nothing is handed out.
	if got, err := a.TakeOver(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("before the time: %v %v", got, err)
	}

	// Then each piece is handed out to one.
	clock.forward(31 * time.Second)
	var all []ledger.UnfinishedWork
	for _, s := range []*replica{a, c, a} {
		got, err := s.TakeOver(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got...)
	}

	want := []ledger.UnfinishedWork{{Waybill: zt("1")[0], Tenant: "u"}, {Waybill: zt("2")[0]}}
	slices.SortFunc(all, func(x, y ledger.UnfinishedWork) int { return strings.Compare(x.Code, y.Code) })
	if !slices.Equal(all, want) {
		t.Errorf("%v", all)
	}

	// What is done is not handed out again.
	catchUp(t, a, "u", "1", "u/a")
	claim(t, a, "x", "2")
	answered(t, a, "x", ledger.Accepted, ledger.Answer{}, "2")
	clock.forward(31 * time.Second)
	if got, err := a.TakeOver(t.Context(), 10); err != nil || len(got) != 0 {
		t.Errorf("after it was done: %v %v", got, err)
	}
}

// checkTakenOver kills four replicas one after the other at the worst moments: when a subscription is written, when a
// claim is made, and when what is unfinished has been handed out.
func checkTakenOver(t *testing.T, b *bench) {
	clock := &shifted{}
	s := b.open(t, options{Clock: clock.now})
	began := s.Now()
	subscribe(t, s, "a", "1")
	for _, dies := range []string{"before it claims", "with a claim", "before it claims", "with a claim"} {
		for {
			clock.forward(2 * time.Second) // as often as replicas look
			got, err := s.TakeOver(t.Context(), 10)
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
