package storetest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// silentChecks are those of waybills that nothing is heard of.
var silentChecks = map[string]func(*testing.T, *bench){
	"AWaybillThatIsSilentForLongIsAskedForOnce":             checkSilentOnce,
	"WhatIsHeardOfAWaybillPutsItsQueryOff":                  checkSilentHeard,
	"AWaybillIsNotAskedForMoreOftenThanItMay":               checkSilentInterval,
	"TheLongestSilentComesFirstAndNoDayHasMoreThanItsQuota": checkSilentBudget,
	"SignedAndRefusedWaybillsAreNotAskedFor":                checkSilentEnded,
	"NewsThatNoCallbackBroughtSubscribesAWaybillAgain":      checkSilentAgain,
	"AnAnswerThatTellsNothingHasEachAskedForAlone":          checkSilentAlone,
	"AWaybillThatWasNotAskedForIsDueAgain":                  checkSilentUnasked,
	"AnEventThatNoCallbackBroughtSaysSo":                    checkReconcileReason,
}

// day is a span of silence.
const day = 24 * time.Hour

// listening opens two stores that ask for waybills that are silent for a day, and their clock.
func listening(t *testing.T, b *bench) (one, two *replica, clock *shifted) {
	t.Helper()
	return pair(t, b, func(set *settings) {
		set.Silence = ledger.Silence{After: day, Interval: 6 * time.Hour, Budget: 1000, ResubscribeAfter: 2}
		set.SubscriptionTTL = 60 * day
		set.Retention = 2 * day
	})
}

// listened subscribes waybills that the provider accepts, and listens for them.
func listened(t *testing.T, s *replica, codes ...string) {
	t.Helper()
	for part := range slices.Chunk(codes, 10) {
		live(t, s, "t", part...)
	}
	listen(t, s)
}

func listen(t *testing.T, s *replica) {
	t.Helper()
	for cursor, begun := uint64(0), false; !begun || cursor != 0; begun = true {
		var err error
		if cursor, err = s.ListenFor(t.Context(), "t", cursor, false); err != nil {
			t.Fatal(err)
		}
	}
}

// silent takes waybills to ask for.
func silent(t *testing.T, s *replica, most int) (codes []string) {
	t.Helper()
	looked(t, s)
	got, _, _, err := s.TakeSilent(t.Context(), most)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range got {
		codes = append(codes, w.Code)
	}
	return codes
}

// hear writes an answer down, and returns what is to be subscribed again.
func hear(t *testing.T, s *replica, h ledger.Heard, codes ...string) []event.Waybill {
	t.Helper()
	answers := map[event.Waybill]ledger.Heard{}
	for _, w := range zt(codes...) {
		answers[w] = h
	}
	again, err := s.Heard(t.Context(), answers)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func checkSilentOnce(t *testing.T, b *bench) {
	one, two, clock := listening(t, b)
	codes := make([]string, 50)
	for i := range codes {
		codes[i] = fmt.Sprintf("%03d", i)
	}
	listened(t, one, codes...)
	listen(t, two) // once more changes nothing
	if got := silent(t, one, 100); got != nil {
		t.Fatalf("taken before anything was silent: %v", got)
	}

	clock.forward(day + time.Minute)
	var mu sync.Mutex
	asked := map[string]int{}
	var running sync.WaitGroup
	for _, s := range []*replica{one, two, one, two} {
		running.Go(func() {
			for range 3 {
				for _, code := range silent(t, s, 20) {
					mu.Lock()
					asked[code]++
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	if got := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, codes) {
		t.Fatalf("asked for %d waybills of %d", len(got), len(codes))
	}
	for code, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", code, n)
		}
	}
	if work, err := two.Work(t.Context()); work.Queries != 50 || err != nil {
		t.Errorf("%d queries today: %v", work.Queries, err)
	}
}

func checkSilentHeard(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	listened(t, s, "1", "2", "3")
	clock.forward(20 * time.Hour)
	acceptOne(t, s, update("1", "a"), nil)
	first := update("2", "a")
	acceptOne(t, s, first, nil)
	clock.forward(5 * time.Hour)
	if got := silent(t, s, 100); !slices.Equal(got, []string{"3"}) {
		t.Fatalf("silent are %v, want 3", got)
	}

	// An update that comes again is heard, too.
	clock.forward(14 * time.Hour)
	acceptOne(t, s, update("2", "a"), nil)
	clock.forward(6 * time.Hour)
	hear(t, s, ledger.Unchanged, "3")
	if got := silent(t, s, 100); !slices.Equal(got, []string{"1"}) {
		t.Errorf("silent are %v, want 1", got)
	}
}

func checkSilentInterval(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	listened(t, s, "1", "2")
	clock.forward(day + time.Minute)
	if got := silent(t, s, 100); len(got) != 2 {
		t.Fatalf("silent are %v", got)
	}
	hear(t, s, ledger.Unknown, "1") // heard of 1; there was no answer about 2
	for range 5 {
		clock.forward(time.Hour)
		if got := silent(t, s, 100); got != nil {
			t.Fatalf("asked again too early: %v", got)
		}
	}
	clock.forward(time.Hour + time.Minute)
	if got := silent(t, s, 100); !slices.Equal(got, []string{"2"}) {
		t.Errorf("silent are %v, want 2", got)
	}
	clock.forward(18 * time.Hour)
	if got := silent(t, s, 100); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"1", "2"}) {
		t.Errorf("silent are %v, want both", got)
	}
}

func checkSilentBudget(t *testing.T, b *bench) {
	one, two, clock := pair(t, b, func(set *settings) {
		set.Silence = ledger.Silence{After: day, Interval: time.Hour, Budget: 3, ResubscribeAfter: 2}
		set.SubscriptionTTL = 60 * day
	})
	for _, code := range []string{"d", "b", "a", "c"} {
		listened(t, one, code)
		clock.forward(time.Minute)
	}
	clock.forward(day)
	if got := slices.Concat(silent(t, one, 2), silent(t, two, 2)); !slices.Equal(got, []string{"d", "b", "a"}) {
		t.Fatalf("taken are %v, want those that are silent for the longest time, as many as the day has", got)
	}
	looked(t, two)
	if got, _, spent, err := two.TakeSilent(t.Context(), 10); got != nil || !spent || err != nil {
		t.Errorf("beyond the budget: %v, %v, %v", got, spent, err)
	}
	hear(t, one, ledger.Unchanged, "a", "b", "d")
	clock.forward(23 * time.Hour)
	clock.forward(time.Hour - time.Minute)
	looked(t, one)
	got, _, _, err := one.TakeSilent(t.Context(), 1)
	if err != nil || len(got) != 1 || got[0].Code != "c" {
		t.Errorf("on the next day: %v, %v, want c", got, err)
	}
}

func checkSilentEnded(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	listened(t, s, "1", "2", "3")
	acceptOne(t, s, update("1", "signed"), nil)
	subscribe(t, s, "t", "4")
	claim(t, s, "c", "4")
	if _, err := s.Answered(t.Context(), "c", zt("4"), ledger.Refused, ledger.Answer{Code: 201103}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unsubscribe(t.Context(), "t", zt("2")[0]); err != nil {
		t.Fatal(err)
	}
	listen(t, s)
	clock.forward(day + time.Minute)
	if got := silent(t, s, 100); !slices.Equal(got, []string{"3"}) {
		t.Errorf("silent are %v, want 3", got)
	}

	// One that moves again is listened for again.
	acceptOne(t, s, update("1", "returned"), nil)
	listen(t, s)
	clock.forward(day + time.Minute)
	hear(t, s, ledger.Unchanged, "3")
	if got := silent(t, s, 100); !slices.Equal(got, []string{"1"}) {
		t.Errorf("silent are %v, want 1", got)
	}
}

func checkSilentAgain(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	listened(t, s, "1")
	for i, want := range []int{0, 1, 1} {
		clock.forward(day + time.Minute)
		if got := silent(t, s, 100); len(got) != 1 {
			t.Fatalf("silent are %v", got)
		}
		if again := hear(t, s, ledger.Missed, "1"); len(again) != want {
			t.Errorf("after answer %d, %v are to be subscribed again, want %d", i+1, again, want)
		}
	}
	hear(t, s, ledger.Resubscribed, "1")
	clock.forward(day + time.Minute)
	silent(t, s, 100)
	if again := hear(t, s, ledger.Missed, "1"); again != nil {
		t.Errorf("once it is subscribed again, the count does not begin anew")
	}
}

func checkSilentAlone(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	listened(t, s, "1", "2")
	clock.forward(day + time.Minute)
	silent(t, s, 100)
	hear(t, s, ledger.Unclear, "1", "2")
	clock.forward(6*time.Hour + time.Minute)
	looked(t, s)
	got, _, _, err := s.TakeSilent(t.Context(), 100)
	if err != nil || len(got) != 2 || !got[0].Alone || !got[1].Alone {
		t.Errorf("taken are %+v, %v, want both, each alone", got, err)
	}
}

func checkSilentUnasked(t *testing.T, b *bench) {
	s, _, clock := listening(t, b)
	listened(t, s, "1", "2")
	clock.forward(day + time.Minute)
	silent(t, s, 100)
	hear(t, s, ledger.Unasked, "1")
	if work, err := s.Work(t.Context()); work.Queries != 1 || err != nil {
		t.Errorf("%d queries today, want one: %v", work.Queries, err)
	}
	if got := silent(t, s, 100); !slices.Equal(got, []string{"1"}) {
		t.Errorf("silent are %v, want 1", got)
	}
}

func checkReconcileReason(t *testing.T, b *bench) {
	s := b.open(t, options{})
	e := update("1", "a")
	e.Origin = &event.Origin{ID: event.NewCallbackID(time.Now()), From: event.FromQuery, Form: event.FormJSON, Items: 1}
	acceptOne(t, s, e, to("t/a"))
	d := takeOne(t, s, "t/a")
	if d.Reason != event.ReasonReconcile {
		t.Errorf("the reason of the delivery is %q", d.Reason)
	}
	found, _, err := s.Event(t.Context(), e.ID, "")
	if err != nil || found == nil || found.Deliveries[0].Reason != event.ReasonReconcile {
		t.Errorf("people see %+v, %v", found, err)
	}
}
