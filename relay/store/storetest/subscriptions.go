package storetest

import (
	"fmt"
	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"slices"
	"testing"
	"time"
)

func checkMax(t *testing.T, b *bench) {
	s := b.open(t, options{Settings: settings{SubscriptionsMax: 3}})
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
	if got := subscribe(t, s, "t", "4")[0]; got.Full || state(t, s, "t", "4") != ledger.Pending {
		t.Errorf("%+v", got)
	}
}

func checkCounts(t *testing.T, b *bench) {
	s := b.open(t, options{})
	counts := func(most int) string {
		t.Helper()
		c, err := s.CountSubscriptions(t.Context(), "t", most)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d of %d: %d live, %d pending; %d today", c.Looked, c.Total, c.States[ledger.Live],
			c.States[ledger.Pending], c.Today)
	}
	if got := counts(10); got != "0 of 0: 0 live, 0 pending; 0 today" {
		t.Error(got)
	}

	var codes []string
	for i := range 600 {
		codes = append(codes, fmt.Sprint("p", i))
	}
	subscribe(t, s, "t", codes...)
	live(t, s, "t", "1")
	live(t, s, "t", "2")
	live(t, s, "u", "3")
	if _, _, err := s.Admit(t.Context(), "t", ledger.Limits{DailyQuota: 1000}, 7); err != nil {
		t.Fatal(err)
	}
	if got := counts(1000); got != "602 of 602: 2 live, 600 pending; 7 today" {
		t.Error(got)
	}
	c, err := s.CountSubscriptions(t.Context(), "t", 550)
	if err != nil || c.Looked != 550 || c.Total != 602 || c.States[ledger.Live]+c.States[ledger.Pending] != 550 {
		t.Errorf("%+v, %v", c, err)
	}
}

func checkUnsubscribe(t *testing.T, b *bench) {
	s := b.open(t, options{})
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
	if page, _, err := s.Subscriptions(t.Context(), "t", "", 10); err != nil || len(page) != 0 ||
		state(t, s, "t", "1") != "" {
		t.Errorf("%+v %v", page, err)
	}
	if w := subscribe(t, s, "t", "1")[0]; w.State != ledger.Live || w.Already || !w.CatchUp {
		t.Errorf("subscribed anew: %+v", w)
	}
}

func checkLimits(t *testing.T, b *bench) {
	clock := &shifted{}
	stores := []*replica{b.open(t, options{Clock: clock.now}), b.open(t, options{Clock: clock.now})}

	// A rate of two a second, over both replicas.
	in := 0
	for i := range 30 {
		wait, quota, err := stores[i%2].Admit(t.Context(), "fast", ledger.Limits{Rate: 2}, 1)
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
	daily := ledger.Limits{DailyQuota: 100}
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
	if wait, _, err := stores[0].Admit(t.Context(), "free", ledger.Limits{}, 1_000_000); err != nil || wait != 0 {
		t.Errorf("without limits: %s %v", wait, err)
	}
}

func checkImport(t *testing.T, b *bench) {
	from := b.open(t, options{})
	live(t, from, "t", "1", "2")
	subscribe(t, from, "u", "2", "3")
	claim(t, from, "x", "3")
	answered(t, from, "x", ledger.Refused, ledger.Answer{Code: 1008, Msg: "余额不足"}, "3")
	subscribe(t, from, "u", "4")

	// Subscriptions in each state are exported.
	var all []ledger.Subscription
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
	into := anew.open(t, options{})
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
		if err != nil || !ok || got.State != want.State || got.Answer != want.Answer || !got.Since.Equal(want.Since) ||
			got.Expires.Sub(want.Expires).Abs() > time.Second {
			t.Errorf("%+v (%v), want %+v: %v", got, ok, want, err)
		}
	}
	if w := subscribe(t, into, "v", "1")[0]; w.State != ledger.Live {
		t.Errorf("%+v", w)
	}
	if got, err := into.TakeOver(t.Context(), 10); err != nil || len(got) != 1 || got[0].Code != "4" {
		t.Errorf("what was pending is not taken up: %v %v", got, err)
	}
}

func checkPages(t *testing.T, b *bench) {
	s := b.open(t, options{})
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
