package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"kuairelay/relay/event"
	"kuairelay/relay/store"
)

// takeUp takes up the first replay that nobody works off; nil: there is none.
func takeUp(t *testing.T, s *store.Store) (*event.Replay, error) {
	t.Helper()
	open, err := s.OpenReplays(t.Context())
	if err != nil {
		return nil, err
	}
	for _, o := range open {
		if !o.Taken {
			return s.TakeReplay(t.Context(), o.ID, nil, 0)
		}
	}
	return nil, nil
}

// Tenants ask for replays at the same time, by two replicas whose clocks stand still.
func checkReplaysOfManyTenants(t *testing.T, b *bench) {
	stores := []*store.Store{b.open(t, store.Options{}), b.open(t, store.Options{})}
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
				case errors.Is(err, event.ErrBusy):
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
		r, err := stores[i%2].TakeReplay(t.Context(), id, others, 2)
		if err != nil {
			t.Fatal(err)
		}
		if r != nil {
			taken++
		}
	}
	if taken != 2 {
		t.Errorf("%d of a tenant's replays run, want 2", taken)
	}

	// One that ends makes room for another.
	if was, err := stores[1].CancelReplay(t.Context(), mine[0]); !was || err != nil {
		t.Fatal(was, err)
	}
	if r, err := stores[1].TakeReplay(t.Context(), mine[0], mine[1:], 2); r != nil || err != nil {
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
	s := b.open(t, store.Options{})
	first := ""
	for range 210 {
		r, err := s.NewReplay(t.Context(), event.Replay{Tenant: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if was, err := s.CancelReplay(t.Context(), r.ID); !was || err != nil {
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
	if r, err := s.Replay(t.Context(), first); r != nil || err != nil {
		t.Errorf("the oldest is still there: %v, %v", r, err)
	}
}
