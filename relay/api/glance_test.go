package api

import (
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/queue"
)

// twoWithTrouble are endpoints of two tenants; the first has dead letters.
func twoWithTrouble() (*counting, []Tenant) {
	store := &counting{health: map[string]queue.EndpointHealth{
		"shop/orders": {Endpoint: "shop/orders", Dead: 7},
	}}
	return store, []Tenant{
		{Name: "shop", Endpoints: []Endpoint{{ID: "shop/orders"}}},
		{Name: "crm", Endpoints: []Endpoint{{ID: "crm/sync"}}},
	}
}

func TestAGlanceShowsWhatTheReaderMaySee(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, tenants := twoWithTrouble()
		b := statusBench(store, tenants...)
		b.o.ReplicaStatus = func() ReplicaStatus {
			return ReplicaStatus{Status: Degraded, RedisState: "full", Durable: true}
		}
		operator := b.Glance(t.Context(), "")
		critical := operator.Critical
		if operator.Dead != 7 || operator.Needs != 2 || len(critical) != 1 || critical[0].Code != RedisFull {
			t.Errorf("the operator sees %+v", operator)
		}
		if shop := b.Glance(t.Context(), "shop"); shop.Dead != 7 || shop.Needs != 1 || shop.Critical != nil {
			t.Errorf("shop sees %+v", shop)
		}
		if crm := b.Glance(t.Context(), "crm"); crm.Dead != 0 || crm.Needs != 0 {
			t.Errorf("crm sees %+v", crm)
		}
	})
}

// However many pages are open, glances ask for no more than snapshots do.
func TestGlancesAskForNothingBesideTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, tenants := twoWithTrouble()
		b := statusBench(store, tenants...)
		for range 100 {
			for _, tenant := range []string{"", "shop", "crm"} {
				b.Glance(t.Context(), tenant)
			}
		}
		if store.asked["busy"] != 1 || store.asked["events"] != 0 {
			t.Errorf("it asked %v", store.asked)
		}
	})
}

// What somebody did is in the next glance of its tenant and of the operator.
func TestAGlanceShowsAnActAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, tenants := twoWithTrouble()
		b := statusBench(store, tenants...)
		b.Glance(t.Context(), "")
		b.Glance(t.Context(), "shop")
		store.health = nil
		pauses(t, b, "shop")
		for _, reader := range []string{"shop", ""} {
			if g := b.Glance(t.Context(), reader); g.Dead != 0 {
				t.Errorf("after the act %q sees %+v", reader, g)
			}
		}
	})
}

func TestAGlanceDoesNotWaitForASlowRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, tenants := twoWithTrouble()
		b := statusBench(store, tenants...)
		b.Glance(t.Context(), "")
		time.Sleep(3 * time.Second)
		store.took = 10 * time.Minute
		began := time.Now()
		for range 20 {
			if g := b.Glance(t.Context(), ""); g.Dead != 7 {
				t.Errorf("it shows %+v instead of the one before", g)
			}
		}
		if took := time.Since(began); took > 20*glanceWaits {
			t.Errorf("20 pages took %s", took)
		}

		// What is too old is not shown as if it were so now.
		time.Sleep(2 * glanceKept)
		if g := b.Glance(t.Context(), ""); g.Dead != 0 {
			t.Errorf("after two minutes it shows %+v", g)
		}
		time.Sleep(time.Hour) // until the last one is made
	})
}
