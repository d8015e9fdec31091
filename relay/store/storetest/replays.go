package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// takeUp takes up the first replay that nobody works off; nil: there is none.
func takeUp(t *testing.T, s *replica) (*event.Replay, error) {
	t.Helper()
	open, err := s.OpenReplays(t.Context())
	if err != nil {
		return nil, err
	}
	for _, o := range open {
		if !o.Taken {
			r, _, err := s.ClaimReplay(t.Context(), o.ID, nil, 0)
			return r, err
		}
	}
	return nil, nil
}

// Tenants ask for replays at the same time, by two replicas whose clocks stand still.
func checkReplaysOfManyTenants(t *testing.T, b *bench) {
	stores := []*replica{b.open(t, options{}), b.open(t, options{})}
	const tenants, each = 8, 15
	var mu sync.Mutex
	of, refused := make(map[string]string), 0
	var asking sync.WaitGroup
	for n := range tenants {
		asking.Go(func() {
			tenant := fmt.Sprint("t", n)
			for i := range each {
				r, err := stores[i%2].NewReplay(t.Context(), event.Replay{Tenant: tenant, Filter: []byte(tenant)})
				mu.Lock()
				switch {
				case errors.Is(err, event.ErrTooMany):
					refused++
				case err != nil:
					t.Error(err)
				case of[r.ID] != "":
					t.Errorf("%s is of %s and %s", r.ID, of[r.ID], tenant)
				default:
					of[r.ID] = tenant
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	if len(of) != tenants*10 || refused != tenants*5 {
		t.Errorf("%d replays, %d refused, want ten of each tenant, and the others refused", len(of), refused)
	}
	if _, err := stores[0].NewReplay(t.Context(), event.Replay{}); err != nil {
		t.Errorf("of the operator: %v", err)
	}
	open, err := stores[0].OpenReplays(t.Context())
	if err != nil || len(open) != tenants*10+1 {
		t.Fatalf("%d are open, %v", len(open), err)
	}

	// Both replicas want all of one tenant's: two of them are let.
	var mine []string
	for _, o := range open {
		if of[o.ID] != o.Tenant {
			t.Errorf("%s is of %s, not of %s", o.ID, of[o.ID], o.Tenant)
		}
		if o.Tenant == "t3" {
			mine = append(mine, o.ID)
		}
	}
	taken := 0
	for i, id := range mine {
		others := slices.Delete(slices.Clone(mine), i, i+1)
		_, ok, err := stores[i%2].ClaimReplay(t.Context(), id, others, 2)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			taken++
		}
	}
	if taken != 2 {
		t.Errorf("%d of a tenant's replays run, want 2", taken)
	}

	// One that ends makes room for another.
	if was, err := stores[1].CancelReplay(t.Context(), mine[0], ""); !was || err != nil {
		t.Fatal(was, err)
	}
	if r, ok, err := stores[1].ClaimReplay(t.Context(), mine[0], mine[1:], 2); ok || err != nil {
		t.Errorf("took up what was cancelled: %v, %v", r, err)
	}
	if _, err := stores[1].NewReplay(t.Context(), event.Replay{Tenant: "t3"}); err != nil {
		t.Error(err)
	}
	page, next, err := stores[0].Replays(t.Context(), "t3", "", 6)
	if err != nil || len(page) != 6 || next == "" {
		t.Fatalf("%d replays, next %q, %v", len(page), next, err)
	}
	rest, next, err := stores[0].Replays(t.Context(), "t3", next, 6)
	if err != nil || len(rest) != 5 || next != "" {
		t.Errorf("then %d replays, next %q, %v", len(rest), next, err)
	}
	for _, r := range append(page, rest...) {
		if r.Tenant != "t3" {
			t.Errorf("%+v is in the list of t3", r)
		}
	}
}

// Of a tenant's replays that have ended, the latest are kept.
func checkReplaysThatAreKept(t *testing.T, b *bench) {
	clock := &shifted{} // their order is that of their times
	s := b.open(t, options{Clock: clock.now})
	first := ""
	for range 210 {
		clock.forward(50 * time.Millisecond)
		r, err := s.NewReplay(t.Context(), event.Replay{Tenant: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if was, err := s.CancelReplay(t.Context(), r.ID, ""); !was || err != nil {
			t.Fatal(was, err)
		}
		if first == "" {
			first = r.ID
		}
	}
	all, _, err := s.Replays(t.Context(), "", "", 500)
	if err != nil || len(all) != 200 {
		t.Errorf("%d are kept, want 200; %v", len(all), err)
	}
	if r, ok, err := s.Replay(t.Context(), first); ok || err != nil {
		t.Errorf("the oldest is still there: %v, %v", r, err)
	}
}

func checkReplay(t *testing.T, b *bench) {
	clock := &shifted{}
	s, other := b.open(t, options{Clock: clock.now}), b.open(t, options{Clock: clock.now})
	var ids []string
	for i := range 4 {
		e := update(fmt.Sprint(i), "a")
		d := acceptOne(t, s, e, slot(to("t/a"))).Leased[0]
		switch i {
		case 0, 1:
			settle(t, s, d, queue.Delivered)
		case 2:
			settle(t, s, d, queue.Dead, because("no"))
		}
		ids = append(ids, e.ID)
	}
	lone := update("lone", "a")
	acceptOne(t, s, lone, nil)
	asked, err := s.NewReplay(t.Context(), event.Replay{Tenant: "t", Filter: []byte(`{"x":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, mine, err := s.ReplayPage(t.Context(), asked.ID, event.ReplayPage{}); mine || err != nil {
		t.Errorf("a page of what was not claimed: %v, %v", mine, err)
	}
	r, err := takeUp(t, s)
	if err != nil || r == nil || r.ID != asked.ID || r.Tenant != "t" || string(r.Filter) != `{"x":1}` ||
		r.State != "running" {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := takeUp(t, other); r != nil || err != nil {
		t.Errorf("claimed twice: %+v, %v", r, err)
	}
	send := event.ReplayPage{Cursor: "here", Looked: 5, Matched: 4, Left: 2, Resends: []event.Resend{
		{EventID: ids[0], Endpoint: "t/a", Lease: lease}, {EventID: ids[1], Endpoint: "t/a"},
		{EventID: ids[2], Endpoint: "t/a"},
		{EventID: ids[3], Endpoint: "t/a"},                     // open
		{EventID: lone.ID, Endpoint: "t/a"},                    // not owed
		{EventID: lone.ID, Endpoint: "t/b", Add: true},         // owed from now on
		{EventID: update("gone", "a").ID, Endpoint: "t/a"},     // not there
		{EventID: ids[0], Endpoint: "t/a", Lease: time.Second}, // open by now
	}}
	leased, mine, err := s.ReplayPage(t.Context(), r.ID, send)
	if err != nil || !mine || len(leased) != 1 || leased[0].Event.ID != ids[0] || leased[0].Reason != event.ReasonReplay ||
		leased[0].Attempts != 0 {
		t.Fatalf("%+v %v %v", leased, mine, err)
	}
	clock.forward(time.Millisecond)
	var due []string
	for _, d := range append(take(t, s, "t/a", 10), take(t, s, "t/b", 10)...) {
		if d.Reason != event.ReasonReplay || len(d.Event.Data) == 0 {
			t.Errorf("%+v", d)
		}
		due = append(due, d.Event.WaybillCode)
		settle(t, s, d, queue.Delivered)
	}
	slices.Sort(due)
	if !slices.Equal(due, []string{"1", "2", "lone"}) {
		t.Errorf("due are %v", due)
	}
	settle(t, s, leased[0], queue.Delivered)
	if got := page(t, s, event.Query{Most: 10, Endpoints: []string{"t/b"}}); !slices.Equal(got, []string{"lone:a"}) {
		t.Errorf("of the new endpoint: %v", got)
	}
	if got := page(t, s, event.Query{Most: 10}); len(got) != 5 {
		t.Errorf("all: %v", got)
	}
	if ls, _, err := s.DeadLetters(t.Context(), nil, "", 10); len(ls) != 0 || err != nil {
		t.Errorf("dead letters: %v, %v", ls, err)
	}
	now, ok, err := s.Replay(t.Context(), r.ID)
	if err != nil || !ok || now.Cursor != "here" || now.Looked != 5 || now.Matched != 4 || now.Queued != 4 ||
		now.Skipped != 6 || now.Dead != 1 || now.Why != "" {
		t.Errorf("%+v, %v", now, err)
	}

	// Another replica goes on where it was.
	s.ReleaseReplay(t.Context(), r.ID)
	if r, err = takeUp(t, other); err != nil || r == nil || r.Cursor != "here" {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, mine, err := s.ReplayPage(t.Context(), r.ID, send); mine || err != nil {
		t.Errorf("a page of what another has: %v, %v", mine, err)
	}
	s.ReleaseReplay(t.Context(), r.ID) // it is not its own any more
	if _, mine, err := other.ReplayPage(t.Context(), r.ID, event.ReplayPage{Done: true}); !mine || err != nil {
		t.Errorf("the last page: %v, %v", mine, err)
	}
	if was, err := s.CancelReplay(t.Context(), r.ID, ""); was || err != nil {
		t.Errorf("cancelled what is done: %v, %v", was, err)
	}
	if r, err := takeUp(t, s); r != nil || err != nil {
		t.Errorf("claimed what is done: %+v, %v", r, err)
	}

	second, err := s.NewReplay(t.Context(), event.Replay{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = takeUp(t, s); err != nil {
		t.Fatal(err)
	}
	if was, err := other.CancelReplay(t.Context(), second.ID, ""); !was || err != nil {
		t.Errorf("%v, %v", was, err)
	}
	if _, mine, err := s.ReplayPage(t.Context(), second.ID, send); mine || err != nil {
		t.Errorf("a page of what was cancelled: %v, %v", mine, err)
	}
	all, next, err := s.Replays(t.Context(), "", "", 10)
	if err != nil || next != "" || len(all) != 2 || all[0].ID != second.ID && all[1].ID != second.ID {
		t.Errorf("%+v, %v", all, err)
	}
	for _, r := range all {
		if want := map[string]event.ReplayState{asked.ID: event.ReplayDone,
			second.ID: event.ReplayCancelled}[r.ID]; r.State != want || r.Ended.IsZero() {
			t.Errorf("%+v", r)
		}
	}
}
