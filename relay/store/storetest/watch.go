package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// watchChecks are those of parcels that do not move, which tenants watch.
var watchChecks = map[string]func(*testing.T, *bench){
	"EachSilenceIsTakenByOneReplicaUntilItWasToldOf":         checkStuckOnce,
	"WhatATenantIsToldOfFollowsFromTheLastStatus":            checkStuckStages,
	"AnUpdateEndsASilenceAndTheNextOneIsToldOfAnew":          checkStuckAgain,
	"TenantsWithDifferentSpansAreToldEachAtItsTime":          checkStuckSpans,
	"ATenantThatSubscribesLaterIsToldLater":                  checkStuckLate,
	"NobodyIsToldOfAParcelThatWasSignedForOrIsNotSubscribed": checkStuckEnded,
	"AParcelThatMovesAfterItWasSignedForIsWatchedAgain":      checkStuckMovesAgain,
	"WhatIsWatchedMayChangeAndAllAreLookedAtAnew":            checkStuckChange,
	"AWaybillWithoutARecordIsNotCollected":                   checkStuckNoRecord,
	"OfAnImportedWaybillNobodyKnowsWhetherItWasCollected":    checkStuckImported,
	"WhatWaitsForAQueryDoesNotHoldUpWhatTenantsAreToldOf":    checkStuckBehindQueries,
}

// watching opens two stores with one clock, whose tenants watch their parcels.
func watching(t *testing.T, b *bench, watches map[string]ledger.Watch) (one, two *replica, clock *shifted) {
	t.Helper()
	one, two, clock = pair(t, b, func(set *settings) {
		set.Watches = watches
		set.SubscriptionTTL = 60 * day
		set.SignedTTL = 7 * day
		set.Retention = day
	})
	for _, s := range []*replica{one, two} {
		if _, _, err := s.Watch(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	return one, two, clock
}

// byT is what most checks watch: the tenant t with a span for each kind of silence.
var byT = map[string]ledger.Watch{"t": {NotCollected: day, Stalled: 2 * day, NotPickedUp: 3 * day}}

// looked has a store look at what is due.
func looked(t *testing.T, s *replica) (stuck []ledger.Stuck, at time.Time) {
	t.Helper()
	stuck, at, _, err := s.Look(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return stuck, at
}

// stuckNow is what tenants are to be told of, as "code type tenants after", and notes that they were.
func stuckNow(t *testing.T, s *replica) []string {
	t.Helper()
	stuck, at := looked(t, s)
	var waybills []event.Waybill
	for _, w := range stuck {
		waybills = append(waybills, w.Waybill)
	}
	if err := s.ToldStuck(t.Context(), at, waybills); err != nil {
		t.Fatal(err)
	}
	return texts(stuck)
}

func texts(stuck []ledger.Stuck) (out []string) {
	for _, w := range stuck {
		for _, x := range w.Tell {
			_, kind, _ := strings.Cut(w.Type, ".")
			tenants := slices.Sorted(slices.Values(x.Tenants))
			out = append(out, fmt.Sprintf("%s %s %s %gd", w.Code, kind, strings.Join(tenants, "+"), x.After.Hours()/24))
		}
	}
	slices.Sort(out)
	return out
}

// toldOf fails unless tenants are to be told of just this.
func toldOf(t *testing.T, s *replica, when string, want ...string) {
	t.Helper()
	if got := stuckNow(t, s); !slices.Equal(got, want) {
		t.Errorf("%s: told of %q, want %q", when, got, want)
	}
}

func checkStuckOnce(t *testing.T, b *bench) {
	one, two, clock := watching(t, b, byT)
	codes := make([]string, 40)
	for i := range codes {
		codes[i] = fmt.Sprintf("%03d", i)
	}
	listened(t, one, codes...)
	listen(t, two)
	clock.forward(day - time.Minute)
	toldOf(t, two, "before it is time")

	// Each is taken once. A replica that dies before it has told leaves it to another one, with the same content.
	clock.forward(2 * time.Minute)
	var mu sync.Mutex
	taken := map[string]ledger.Stuck{}
	var running sync.WaitGroup
	for _, s := range []*replica{one, two, one, two} {
		running.Go(func() {
			for range 2 {
				stuck, _, _, err := s.Look(t.Context(), 15)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, w := range stuck {
					if _, twice := taken[w.Code]; twice {
						t.Errorf("%s is taken twice", w.Code)
					}
					taken[w.Code] = w
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	if got := slices.Sorted(maps.Keys(taken)); !slices.Equal(got, codes) {
		t.Fatalf("%d of %d are taken", len(got), len(codes))
	}
	toldOf(t, one, "while another tells")
	clock.forward(time.Minute)
	again, at := looked(t, two)
	if len(again) != len(codes) {
		t.Fatalf("%d of %d are taken from a replica that died", len(again), len(codes))
	}
	for _, w := range again {
		if fmt.Sprint(w) != fmt.Sprint(taken[w.Code]) {
			t.Errorf("%+v is now %+v", taken[w.Code], w)
		}
	}
	if err := two.ToldStuck(t.Context(), at, zt(codes...)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		clock.forward(day)
		listen(t, one)
		toldOf(t, one, "after they were told of")
	}
}

func checkStuckStages(t *testing.T, b *bench) {
	s, _, clock := watching(t, b, byT)
	codes := strings.Fields("none collected sending delivering question other empty allograph signed late silent")
	listened(t, s, codes...)
	for _, code := range codes[1:9] {
		e := at(9, code, code, code)
		switch code {
		case "empty":
			e = at(0, code, code, "")
		case "other":
			e.Status = "at_customs"
		}
		acceptOne(t, s, e, nil)
	}

	// An update that is late changes nothing, and one may have no track.
	acceptOne(t, s, at(9, "late", "1", "allograph"), nil)
	acceptOne(t, s, at(8, "late", "2", "sending"), nil)
	acceptOne(t, s, at(0, "silent", "1", "sending"), nil)

	for i, want := range [][]string{
		{"empty not_collected t 1d", "none not_collected t 1d"},
		{"collected stalled t 2d", "delivering stalled t 2d", "other stalled t 2d", "question stalled t 2d",
			"sending stalled t 2d", "silent stalled t 2d"},
		{"allograph not_picked_up t 3d", "late not_picked_up t 3d"},
		nil,
	} {
		clock.forward(day + time.Minute)
		toldOf(t, s, fmt.Sprintf("on day %d", i+1), want...)
	}
}

func checkStuckAgain(t *testing.T, b *bench) {
	s, other, clock := watching(t, b, byT)
	listened(t, s, "1")
	clock.forward(day + time.Minute)
	toldOf(t, s, "first", "1 not_collected t 1d")
	first := update("1", "sending")
	acceptOne(t, s, first, nil)
	clock.forward(2*day - time.Minute)
	acceptOne(t, s, first, nil) // nothing new: the silence goes on
	toldOf(t, s, "after an update")
	clock.forward(2 * time.Minute)
	stuck, _ := looked(t, s)
	if len(stuck) != 1 || stuck[0].Status != "sending" || stuck[0].Tell[0].After != 2*day ||
		s.Now().Sub(stuck[0].Tell[0].Since) > 2*day+2*time.Minute {
		t.Fatalf("%+v", stuck)
	}

	// An update that comes while it is being told of ends it. The next silence is another one.
	acceptOne(t, s, update("1", "delivering"), nil)
	clock.forward(time.Minute)
	toldOf(t, other, "after the update came")
	clock.forward(2 * day)
	toldOf(t, other, "second silence", "1 stalled t 2d")
	clock.forward(10 * day)
	toldOf(t, other, "that goes on")
	acceptOne(t, s, update("1", "allograph"), nil)
	clock.forward(3*day + time.Minute)
	toldOf(t, s, "at the pick-up point", "1 not_picked_up t 3d")
}

func checkStuckSpans(t *testing.T, b *bench) {
	s, _, clock := watching(t, b, map[string]ledger.Watch{
		"t": {Stalled: day}, "u": {Stalled: day}, "v": {Stalled: 36 * time.Hour}, "w": {NotCollected: day},
	})
	for _, tenant := range []string{"t", "u", "v", "w", "x"} {
		live(t, s, tenant, "1")
	}
	listen(t, s)
	acceptOne(t, s, update("1", "sending"), nil)
	clock.forward(day + time.Minute)
	toldOf(t, s, "after a day", "1 stalled t+u 1d")
	clock.forward(11 * time.Hour)
	toldOf(t, s, "before 36 hours")
	clock.forward(time.Hour)
	toldOf(t, s, "after 36 hours", "1 stalled v 1.5d")
	clock.forward(10 * day)
	toldOf(t, s, "later")
}

func checkStuckLate(t *testing.T, b *bench) {
	s, _, clock := watching(t, b, map[string]ledger.Watch{"t": {Stalled: day}, "u": {Stalled: day}})
	listened(t, s, "1")
	acceptOne(t, s, update("1", "sending"), nil)
	clock.forward(day + time.Minute)
	toldOf(t, s, "first", "1 stalled t 1d")
	clock.forward(day)
	live(t, s, "u", "1")
	clock.forward(day - time.Minute)
	toldOf(t, s, "a day after another has subscribed it, nearly")
	clock.forward(2 * time.Minute)
	toldOf(t, s, "a day after another has subscribed it", "1 stalled u 1d")
}

func checkStuckEnded(t *testing.T, b *bench) {
	s, _, clock := watching(t, b, map[string]ledger.Watch{"t": {NotCollected: day, Stalled: day},
		"u": {NotCollected: day, Stalled: day}})
	listened(t, s, "signed", "left", "shared", "one", "expired")
	live(t, s, "u", "shared")
	acceptOne(t, s, update("signed", "sending"), nil)
	acceptOne(t, s, update("signed", "signed"), nil)
	for _, code := range []string{"left", "shared"} {
		if _, err := s.Unsubscribe(t.Context(), "t", zt(code)[0]); err != nil {
			t.Fatal(err)
		}
	}
	subscribe(t, s, "t", "failed")
	askedInVain(t, s, "f", "failed", ledger.Refused, none)
	b.Delete(t, b.prefix()+"s:zt expired")
	listen(t, s)
	clock.forward(day + time.Minute)
	toldOf(t, s, "after a day", "one not_collected t 1d", "shared not_collected u 1d")
}

func checkStuckMovesAgain(t *testing.T, b *bench) {
	s, _, clock := watching(t, b, byT)
	listened(t, s, "1")
	acceptOne(t, s, update("1", "signed"), nil)
	if life := lifeOf(t, s, "t", "1"); life != 7*day {
		t.Errorf("once it was signed for it lives for %s", life)
	}
	clock.forward(3 * day)
	toldOf(t, s, "once it was signed for")
	acceptOne(t, s, update("1", "returned"), nil)
	if life := lifeOf(t, s, "t", "1"); life != 60*day {
		t.Errorf("once it has moved again it lives for %s", life)
	}
	listen(t, s)
	clock.forward(2*day + time.Minute)
	toldOf(t, s, "once it has moved again", "1 stalled t 2d")
	acceptOne(t, s, update("1", "signed again"), nil)
	e := update("1", "and signed")
	e.Status = "signed"
	acceptOne(t, s, e, nil)
	clock.forward(6 * day)
	toldOf(t, s, "once it was signed for again")
}

func checkStuckChange(t *testing.T, b *bench) {
	s, other, clock := watching(t, b, nil)
	other.use(map[string]ledger.Watch{"t": {Stalled: 3 * day}})
	name, anew, err := other.Watch(t.Context(), false)
	if err != nil || !anew {
		t.Fatalf("%s, %v, %v", name, anew, err)
	}
	if _, again, err := s.Watch(t.Context(), true); err != nil || !again {
		t.Errorf("%v, %v", again, err)
	}
	listened(t, s, "1", "2")
	toldOf(t, s, "nobody watches them")

	// Those whose silence began before that are looked at as well. Until all are, it is said to each who asks.
	renew := func(w map[string]ledger.Watch) {
		t.Helper()
		other.use(w)
		name, anew, err := other.Watch(t.Context(), true)
		if err != nil || !anew {
			t.Fatalf("%s, %v, %v", name, anew, err)
		}
		for cursor, begun := uint64(0), false; !begun || cursor != 0; begun = true {
			if cursor, err = other.ListenFor(t.Context(), "t", cursor, true); err != nil {
				t.Fatal(err)
			}
		}
		if _, anew, _ := s.Watch(t.Context(), false); !anew {
			t.Error("it is not said that all are to be looked at")
		}
		if err := other.Listened(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, anew, _ := s.Watch(t.Context(), false); anew {
			t.Error("all are to be looked at once more")
		}
	}
	acceptOne(t, s, update("1", "sending"), nil)
	acceptOne(t, s, update("2", "sending"), nil)
	clock.forward(40 * time.Hour)
	renew(map[string]ledger.Watch{"t": {Stalled: 5 * day}})
	toldOf(t, s, "before it is time")
	renew(map[string]ledger.Watch{"t": {Stalled: day}})
	toldOf(t, s, "with a shorter span", "1 stalled t 1d", "2 stalled t 1d")
	renew(map[string]ledger.Watch{"t": {Stalled: 30 * time.Hour}})
	toldOf(t, s, "with one that was over before")
	renew(nil)
	acceptOne(t, s, update("1", "delivering"), nil)
	clock.forward(9 * day)
	toldOf(t, s, "when nobody watches them any more")
}

// use has a store take what tenants watch from another config.
func (r *replica) use(w map[string]ledger.Watch) {
	set := scheduledOptions(nil).Settings
	set.SubscriptionTTL = 60 * day
	set.Watches = w
	r.Ledger.Use(set.ofLedger())
}

func checkStuckNoRecord(t *testing.T, b *bench) {
	s, _, clock := pair(t, b, func(set *settings) {
		set.Watches = byT
		set.NoRecord = []time.Duration{30 * time.Hour, 30 * time.Hour}
	})
	if _, _, err := s.Watch(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	begun(t, s, "t", "1")
	listen(t, s)
	clock.forward(day + time.Minute)
	toldOf(t, s, "pending", "1 not_collected t 1d")
	clock.forward(6 * time.Hour)
	claim(t, s, "a", "1")
	answered(t, s, "a", ledger.Accepted, ledger.Answer{UID: "u"}, "1")
	clock.forward(day)
	toldOf(t, s, "live")
	acceptOne(t, s, update("1", "collected"), nil)
	clock.forward(2*day + time.Minute)
	toldOf(t, s, "collected", "1 stalled t 2d")
}

func checkStuckImported(t *testing.T, b *bench) {
	s, _, clock := watching(t, b, byT)
	now := s.Now()
	if _, err := s.Import(t.Context(), []ledger.Subscription{{Tenant: "t", Waybill: zt("1")[0], State: ledger.Live,
		Since: now.Add(-9 * day), Expires: now.Add(51 * day)}}); err != nil {
		t.Fatal(err)
	}
	listen(t, s)
	clock.forward(2 * day)
	toldOf(t, s, "imported")
	acceptOne(t, s, update("1", "sending"), nil)
	clock.forward(2*day + time.Minute)
	toldOf(t, s, "once an update has come", "1 stalled t 2d")
}

func checkStuckBehindQueries(t *testing.T, b *bench) {
	s, _, clock := pair(t, b, func(set *settings) {
		set.Silence = ledger.Silence{After: day, Interval: 6 * time.Hour, Budget: 1, ResubscribeAfter: 2}
		set.Watches = map[string]ledger.Watch{"t": {NotCollected: 2 * day}}
		set.SubscriptionTTL = 60 * day
	})
	if _, _, err := s.Watch(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	listened(t, s, "1", "2", "3")
	clock.forward(day + time.Minute)
	toldOf(t, s, "after a day")
	if got := silent(t, s, 10); len(got) != 1 {
		t.Fatalf("%v are asked for", got)
	}
	clock.forward(day)
	toldOf(t, s, "after two days", "1 not_collected t 2d", "2 not_collected t 2d", "3 not_collected t 2d")
	clock.forward(day)
	toldOf(t, s, "after three")

	// Being told of it changes nothing for the queries.
	if got := silent(t, s, 10); len(got) != 1 {
		t.Errorf("%v are asked for", got)
	}
}
