package api

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// troubled are endpoints of two tenants, most of which have something.
func troubled() *counting {
	attempts := []event.AttemptRecord{{At: noon, Status: 200}}
	of := func(name string, h queue.EndpointHealth) queue.EndpointHealth {
		h.Endpoint = name
		h.Latest = attempts
		return h
	}
	return &counting{health: map[string]queue.EndpointHealth{
		"shop/a":      of("shop/a", queue.EndpointHealth{Open: 9}),
		"shop/b":      of("shop/b", queue.EndpointHealth{Parked: queue.ParkedPaused, Open: 5}),
		"shop/orders": of("shop/orders", queue.EndpointHealth{Parked: queue.ParkedOpen, Open: 2}),
		"other/mail":  of("other/mail", queue.EndpointHealth{Parked: queue.ParkedOpen, Open: 7}),
	}}
}

func TestEndpointsAreListedByTheirTrouble(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		tenant, query string
		want          []string
		next          string
		total         int
	}{
		{query: "sort=trouble", want: []string{"other/mail", "shop/orders", "shop/b", "shop/a"}, total: 4},
		{tenant: "shop", query: "sort=trouble", want: []string{"shop/orders", "shop/b", "shop/a"}, total: 3},
		{query: "sort=trouble&tenant=other", want: []string{"other/mail"}, total: 1},
		{query: "sort=name&name=OR", want: []string{"shop/orders"}, total: 1},
		{query: "sort=name&limit=2", want: []string{"other/mail", "shop/a"}, next: "0.0.shop/a", total: 4},
		{query: "sort=name&limit=2&cursor=0.0.shop/a", want: []string{"shop/b", "shop/orders"}, total: 4},
		{query: "sort=trouble&state=open&limit=1", want: []string{"other/mail"}, next: "1.7.other/mail", total: 2},
		{query: "sort=trouble&state=open&limit=1&cursor=1.7.other/mail", want: []string{"shop/orders"}, total: 2},
		// The one before has less by now: the next page goes on where that stood.
		{query: "sort=trouble&cursor=1.3.other/mail", want: []string{"shop/orders", "shop/b", "shop/a"}, total: 4},
		{query: "sort=trouble&state=gone", want: nil, total: 0},
	} {
		got, err := ask(statusBench(troubled()), listEndpoints, x.tenant, "/?"+x.query, "")
		var names []string
		for _, e := range got.Endpoints {
			names = append(names, e.Endpoint)
		}
		if err != nil || !slices.Equal(names, x.want) || got.Next != x.next || got.Total != x.total {
			t.Errorf("%q %s: %v of %d, next %q (%v), want %v of %d, next %q", x.tenant, x.query, names, got.Total, got.Next,
				err, x.want, x.total, x.next)
		}
	}

	got, err := ask(statusBench(troubled()), listEndpoints, "", "/?sort=name&state=paused", "")
	if err != nil || got.States["open"] != 2 || got.States["paused"] != 1 || got.States["ok"] != 1 {
		t.Errorf("%+v (%v)", got, err)
	}
	for query, why := range map[string]string{
		"sort=worst": "sort: must be", "sort=trouble&cursor=shop/a": "cursor:", "sort=trouble&cursor=1.x.shop/a": "cursor:",
	} {
		_, err := ask(statusBench(troubled()), listEndpoints, "", "/?"+query, "")
		refused(t, query, err, 400, why)
	}
}

// However many look at the pages of many endpoints, each that is shown is looked at once in two seconds.
func TestAListOfTenThousandEndpointsLooksAtThoseOfThePage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &counting{health: map[string]queue.EndpointHealth{}}
		many := manyEndpoints(10_000)
		for _, e := range many.Endpoints[:300] {
			store.health[e.ID] = queue.EndpointHealth{Endpoint: e.ID, Open: 1}
		}
		b := statusBench(store, many)
		mustStatus(t, b, "")
		before := len(store.detailed)
		for range 50 {
			got, err := ask(b, listEndpoints, "", "/?sort=trouble", "")
			if err != nil || len(got.Endpoints) != 100 || got.Total != 10_000 {
				t.Fatalf("%d of %d (%v)", len(got.Endpoints), got.Total, err)
			}
		}
		if looked := len(store.detailed) - before; looked != 100 {
			t.Errorf("%d endpoints were looked at", looked)
		}

		time.Sleep(1100 * time.Millisecond)
		b.health.changed("many/e00000", b.now())
		if _, err := ask(b, listEndpoints, "", "/?sort=trouble", ""); err != nil {
			t.Fatal(err)
		}
		if looked := len(store.detailed) - before; looked != 101 {
			t.Errorf("with one that was paused meanwhile, %d endpoints were looked at", looked)
		}
	})
}

// parking is a store that pauses endpoints. Its snapshots do not know it yet.
type parking struct {
	*counting
	parked string
}

func (p *parking) Park(_ context.Context, endpoint string, _ event.Actor) error {
	p.parked = endpoint
	return nil
}

func (p *parking) Health(_ context.Context, endpoints []string, latest int) (all []queue.EndpointHealth, err error) {
	for _, name := range endpoints {
		h := p.health[name]
		if name == p.parked && latest == sample {
			h.Parked = queue.ParkedPaused
		}
		all = append(all, h)
	}
	return all, nil
}

func TestAnEndpointThatWasPausedJustNowIsAmongThosePaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &parking{counting: troubled()}
		b := statusBench(store.counting)
		b.endpoints = store
		mustStatus(t, b, "")
		if err := store.Park(t.Context(), "shop/a", event.Actor{}); err != nil {
			t.Fatal(err)
		}
		b.health.changed("shop/a", b.now())
		for state, want := range map[string]string{"paused": "[shop/b shop/a]", "ok": "[]"} {
			got, err := ask(b, listEndpoints, "", "/?sort=name&state="+state, "")
			var names []string
			for _, e := range got.Endpoints {
				names = append(names, e.Endpoint)
			}
			slices.Reverse(names)
			if err != nil || fmt.Sprint(names) != want {
				t.Errorf("%s: %v (%v), want %s", state, names, err, want)
			}
		}
	})
}
