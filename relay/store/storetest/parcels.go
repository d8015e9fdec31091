package storetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// parcelChecks are those of how waybills stand, and of asking the provider for them.
var parcelChecks = map[string]func(*testing.T, *bench){
	"AStateIsWhatWasHeardLast":                          checkParcels,
	"OfManyWhoWantToKnowOneAsks":                        checkAskForOnce,
	"AWaybillIsAskedForAgainOnlyAfterTheInterval":       checkAskForInterval,
	"AllQueriesOfADayHaveOneBudget":                     checkAskForBudget,
	"AWaybillThatIsNotLiveIsNotAskedFor":                checkAskForInactive,
	"AfterACallWithoutAnswerNobodyIsAskingAnyMore":      checkAskForFailed,
	"WhatWasAskedForOnDemandIsNoLongerSilentAtOnce":     checkAskForThenSilent,
	"AWaybillThatWasNotAskedForAfterAllCountsAsNothing": checkAskForUnasked,
}

// parcel reads how one waybill of t stands.
func parcel(t *testing.T, s *replica, code string) ledger.Parcel {
	t.Helper()
	found, err := s.Parcels(t.Context(), "t", zt(code), true)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %+v, %v", code, found, err)
	}
	return found[0]
}

// askFor takes waybills to ask for.
func askFor(t *testing.T, s *replica, codes ...string) []ledger.Leave {
	t.Helper()
	leaves, _, err := s.AskFor(t.Context(), zt(codes...))
	if err != nil {
		t.Fatal(err)
	}
	return leaves
}

func wantLeaves(t *testing.T, what string, got []ledger.Leave, want ...ledger.Leave) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func checkParcels(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	live(t, s, "t", "1", "2")
	subscribe(t, s, "t", "3")
	live(t, s, "u", "4")
	found, err := s.Parcels(t.Context(), "t", zt("3", "4", "1", "2", "5"), false)
	if err != nil || len(found) != 3 || found[0].Code != "3" || found[0].Subscription != ledger.Pending ||
		found[1].Subscription != ledger.Live || found[1].Last != nil || !found[1].HeardAt.IsZero() {
		t.Fatalf("%+v, %v", found, err)
	}
	if all, err := s.Parcels(t.Context(), "", zt("3", "4", "5"), false); err != nil || len(all) != 2 {
		t.Errorf("of any tenant: %+v, %v", all, err)
	}

	// An update, the same again, and an older one are heard; the older one is not the last.
	first := update("1", "a")
	first.Status = "sending"
	acceptOne(t, s, first, nil)
	was := parcel(t, s, "1")
	if was.Last == nil || was.Last.Status != "sending" || string(was.Last.Data) != string(first.Data) || was.Queried ||
		!was.HeardAt.Equal(was.Last.AcceptedAt) {
		t.Errorf("after an update: %+v, %+v", was, was.Last)
	}
	clock.forward(time.Hour)
	acceptOne(t, s, update("1", "a"), nil)
	if got := parcel(t, s, "1"); !got.HeardAt.After(was.HeardAt) || got.Last.Sequence != was.Last.Sequence || got.Queried {
		t.Errorf("when it came again: %+v", got)
	}

	// What a query says is heard, whether it is news or not.
	clock.forward(time.Hour)
	askFor(t, s, "1", "2")
	if !parcel(t, s, "1").Asking {
		t.Error("nobody is asking")
	}
	news := update("2", "b")
	news.Origin = &event.Origin{ID: event.NewCallbackID(time.Now()), From: event.FromQuery, Form: event.FormJSON, Items: 1}
	acceptOne(t, s, news, nil)
	if got := parcel(t, s, "2"); !got.Queried || got.Last == nil {
		t.Errorf("news by query: %+v", got)
	}
	hear(t, s, ledger.Unchanged, "1")
	if got := parcel(t, s, "1"); !got.Queried || got.Asking || got.HeardAt.Sub(was.HeardAt) < 2*time.Hour {
		t.Errorf("after a query: %+v", got)
	}
	acceptOne(t, s, update("1", "signed"), nil)
	if got := parcel(t, s, "1"); !got.Signed {
		t.Errorf("after it was signed for: %+v", got)
	}
}

func checkAskForOnce(t *testing.T, b *bench) {
	one, two, _ := listening(t, b)
	live(t, one, "t", "1", "2")
	var mu sync.Mutex
	given := map[ledger.Leave]int{}
	var running sync.WaitGroup
	for range 20 {
		for _, s := range []*replica{one, two} {
			running.Go(func() {
				leaves, _, err := s.AskFor(t.Context(), zt("1", "2", "1"))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, l := range leaves {
					given[l]++
				}
			})
		}
	}
	running.Wait()

	if given[ledger.LeaveGiven] != 2 || given[ledger.LeaveTaken] != 118 {
		t.Errorf("the leaves are %v, want each given once", given)
	}
	if work, err := two.Work(t.Context()); work.Queries != 2 || err != nil {
		t.Errorf("%d queries today: %v", work.Queries, err)
	}
}

func checkAskForInterval(t *testing.T, b *bench) {
	one, two, clock := listening(t, b)
	live(t, one, "t", "1", "2")
	askFor(t, one, "1", "2")
	hear(t, one, ledger.Unknown, "1")
	clock.forward(time.Minute) // whoever was to ask for 2 has died
	wantLeaves(t, "shortly after", askFor(t, two, "1", "2"), ledger.LeaveInterval, ledger.LeaveInterval)
	clock.forward(6*time.Hour - 2*time.Minute)
	wantLeaves(t, "before the interval ends", askFor(t, two, "1"), ledger.LeaveInterval)
	clock.forward(3 * time.Minute)
	wantLeaves(t, "after it", askFor(t, two, "1", "2"), ledger.LeaveGiven, ledger.LeaveGiven)
}

func checkAskForBudget(t *testing.T, b *bench) {
	one, two, clock := pair(t, b, func(set *settings) {
		set.Silence = ledger.Silence{After: day, Interval: time.Hour, Budget: 3, ResubscribeAfter: 2}
		set.SubscriptionTTL = 60 * day
	})
	listened(t, one, "1", "2", "3", "4", "5")
	clock.forward(day + time.Minute)
	if got := silent(t, one, 1); len(got) != 1 {
		t.Fatalf("silent are %v", got)
	}
	taken := askFor(t, two, "1", "2", "3", "4", "5")
	n := map[ledger.Leave]int{}
	for _, l := range taken {
		n[l]++
	}
	if n[ledger.LeaveTaken] != 1 || n[ledger.LeaveGiven] != 2 || n[ledger.LeaveBudget] != 2 {
		t.Errorf("the leaves are %v", taken)
	}
	if got, _, spent, err := one.TakeSilent(t.Context(), 10); got != nil || !spent || err != nil {
		t.Errorf("beyond the budget: %v, %v, %v", got, spent, err)
	}
	clock.forward(day)
	hear(t, one, ledger.Unchanged, "1", "2", "3")
	if got := askFor(t, one, "4", "5"); !slices.Equal(got, []ledger.Leave{ledger.LeaveGiven, ledger.LeaveGiven}) {
		t.Errorf("on the next day: %v", got)
	}
}

func checkAskForInactive(t *testing.T, b *bench) {
	s, _, _ := listening(t, b)
	live(t, s, "t", "1", "2")
	subscribe(t, s, "t", "3")
	acceptOne(t, s, update("1", "signed"), nil)
	wantLeaves(t, "signed, live, pending, unknown", askFor(t, s, "1", "2", "3", "4"),
		ledger.LeaveInactive, ledger.LeaveGiven, ledger.LeaveInactive, ledger.LeaveInactive)
	acceptOne(t, s, update("1", "returned"), nil)
	wantLeaves(t, "when it moves again", askFor(t, s, "1"), ledger.LeaveGiven)
}

func checkAskForFailed(t *testing.T, b *bench) {
	s, _, _ := listening(t, b)
	live(t, s, "t", "1", "2")
	askFor(t, s, "1", "2")
	hear(t, s, ledger.NoAnswer, "1")
	hear(t, s, ledger.Unclear, "2")
	for _, code := range []string{"1", "2"} {
		if got := parcel(t, s, code); got.Asking || !got.HeardAt.IsZero() {
			t.Errorf("%+v", got)
		}
	}
	wantLeaves(t, "after that", askFor(t, s, "1", "2"), ledger.LeaveInterval, ledger.LeaveInterval)
	if work, err := s.Work(t.Context()); work.Queries != 2 || err != nil {
		t.Errorf("%d queries today: %v", work.Queries, err)
	}
}

func checkAskForThenSilent(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	listened(t, s, "1")
	clock.forward(day + time.Minute)
	askFor(t, s, "1")
	if got := silent(t, s, 10); got != nil {
		t.Errorf("asked for, and silent: %v", got)
	}
	hear(t, s, ledger.NoAnswer, "1")
	clock.forward(6*time.Hour + time.Minute)
	if got := silent(t, s, 10); len(got) != 1 {
		t.Errorf("without an answer it is silent still: %v", got)
	}
}

func checkAskForUnasked(t *testing.T, b *bench) {
	s, _, _ := listening(t, b)
	live(t, s, "t", "1")
	askFor(t, s, "1")
	hear(t, s, ledger.Unasked, "1")
	if work, err := s.Work(t.Context()); work.Queries != 0 || err != nil {
		t.Errorf("%d queries today: %v", work.Queries, err)
	}
	wantLeaves(t, "then", askFor(t, s, "1"), ledger.LeaveGiven)
}
