package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// counting is a store that counts what it is asked. Only the endpoints in health have something.
type counting struct {
	endpointStore
	eventStore
	replayStore
	quarantineStore

	mu        sync.Mutex
	asked     map[string]int // questions of each kind
	detailed  []string       // endpoints whose health was asked for
	health    map[string]queue.EndpointHealth
	delivered map[string]time.Time
	took      time.Duration
	err       error
}

func (s *counting) note(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[what]++
	return s.err
}

func (s *counting) Busy(context.Context) (all []queue.BusyEndpoint, err error) {
	time.Sleep(s.took) // in a bubble
	for name := range s.health {
		all = append(all, queue.BusyEndpoint{Endpoint: name, LatestDead: noon.Add(-time.Minute)})
	}
	slices.SortFunc(all, func(a, b queue.BusyEndpoint) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return all, s.note("busy")
}

func (s *counting) Health(_ context.Context, endpoints []string, _ int) (all []queue.EndpointHealth, err error) {
	for _, name := range endpoints {
		s.detailed = append(s.detailed, name)
		all = append(all, s.health[name])
	}
	return all, s.note("health")
}

func (s *counting) LastDelivered(_ context.Context, endpoints []string) (all []time.Time, err error) {
	for _, name := range endpoints {
		_ = s.note("delivered")
		all = append(all, s.delivered[name])
	}
	return all, s.err
}

func (s *counting) OpenReplays(context.Context) ([]event.OpenReplay, error) {
	return nil, s.note("replays")
}

func (s *counting) Events(context.Context, event.Query) (event.Page, error) {
	return event.Page{Events: []*event.Record{{Event: event.Event{AcceptedAt: noon}}}}, s.note("events")
}

func (s *counting) CountQuarantined(context.Context, time.Time) (event.QuarantineCount, error) {
	return event.QuarantineCount{}, s.note("quarantine")
}

// statusBench is an API whose status is asked of a store.
func statusBench(s *counting, tenants ...Tenant) *bench {
	b := newBench(Options{})
	b.latest.until, b.latest.soon = time.Time{}, time.Time{}
	b.endpoints, b.events, b.replays, b.quarantine = s, s, s, s
	if len(tenants) > 0 {
		b.Use(Settings{Tenants: tenants})
	}
	return b
}

func mustStatus(t *testing.T, b *bench, tenant string) Status {
	t.Helper()
	s, err := ask(b, readStatus, tenant, "/", "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// manyEndpoints are so many of one tenant.
func manyEndpoints(n int) Tenant {
	many := Tenant{Name: "many"}
	for i := range n {
		many.Endpoints = append(many.Endpoints, Endpoint{ID: fmt.Sprintf("many/e%05d", i)})
	}
	return many
}

func TestAStatusOfTenThousandEndpointsAsksOnlyForThoseThatHaveSomething(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &counting{health: map[string]queue.EndpointHealth{
			"many/e00007": {Endpoint: "many/e00007", Open: 3}, "many/e09999": {Endpoint: "many/e09999", Dead: 1},
		}}
		b := statusBench(store, manyEndpoints(10_000))
		for range 100 {
			if s := mustStatus(t, b, ""); s.Endpoints != 10_000 || s.Open != 3 || s.Dead != 1 || s.States["idle"] != 10_000 {
				t.Fatalf("%+v", s)
			}
			if s := mustStatus(t, b, "many"); s.Open != 3 {
				t.Fatalf("%+v", s)
			}
		}
		if want := []string{"many/e00007", "many/e09999"}; !slices.Equal(store.detailed, want) {
			t.Errorf("the health of %v was asked for, want %v", store.detailed, want)
		}
		if store.asked["busy"] != 1 || store.asked["delivered"] != idleLooks || store.asked["events"] != 2 {
			t.Errorf("asked %v", store.asked)
		}
		time.Sleep(2100 * time.Millisecond)
		mustStatus(t, b, "")
		if store.asked["busy"] != 2 {
			t.Errorf("after two seconds it asked %v", store.asked)
		}
	})
}

func TestASnapshotIsTakenForAFiftiethOfTheTimeAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &counting{took: time.Second}
		b := statusBench(store)
		mustStatus(t, b, "shop")
		time.Sleep(49 * time.Second)
		mustStatus(t, b, "")
		if store.asked["busy"] != 1 {
			t.Errorf("asked %v", store.asked)
		}
		time.Sleep(2 * time.Second)
		mustStatus(t, b, "")
		if store.asked["busy"] != 2 {
			t.Errorf("later it asked %v", store.asked)
		}

		// One that failed is taken again soon.
		store.err = errors.New("no answer")
		time.Sleep(time.Minute)
		if s := mustStatus(t, b, ""); !s.Partial {
			t.Errorf("%+v", s)
		}
		store.err = nil
		time.Sleep(2100 * time.Millisecond)
		if s := mustStatus(t, b, ""); s.Partial || len(s.Problems) > 0 {
			t.Errorf("when Redis answers again: %+v", s)
		}
	})
}

// pauses has a tenant, or the operator, do something.
func pauses(t *testing.T, b *bench, tenant string) {
	t.Helper()
	b.audit = &notes{}
	pause := route{act: actPause, handler: doing(func(*call) error { return nil })}
	if _, err := ask(b, pause.answer, tenant, "/", ""); err != nil {
		t.Fatal(err)
	}
}

// Who pauses an endpoint looks at once whether it is paused.
func TestAfterAnActASnapshotIsTakenSoonButForATenthOfTheTimeAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &counting{took: time.Second}
		b := statusBench(store)
		act := func() { pauses(t, b, "shop") }
		mustStatus(t, b, "shop")
		for range 9 {
			time.Sleep(time.Second)
			act()
			mustStatus(t, b, "")
		}
		if store.asked["busy"] != 1 {
			t.Errorf("within ten times as long as it took it asked %v", store.asked)
		}
		time.Sleep(time.Second)
		mustStatus(t, b, "")
		mustStatus(t, b, "shop")
		if store.asked["busy"] != 2 {
			t.Errorf("after the act it asked %v", store.asked)
		}
		time.Sleep(20 * time.Second)
		mustStatus(t, b, "")
		if store.asked["busy"] != 2 {
			t.Errorf("when nobody acts any more it asked %v", store.asked)
		}
	})
}

func TestThoseWhoAskTogetherGetOneSnapshot(t *testing.T) {
	t.Parallel()
	store := &counting{}
	b := statusBench(store)
	var together sync.WaitGroup
	for i := range 20 {
		together.Go(func() { mustStatus(t, b, []string{"", "shop", "other"}[i%3]) })
	}
	together.Wait()
	if store.asked["busy"] != 1 || store.asked["events"] != 3 {
		t.Errorf("asked %v", store.asked)
	}
}

func TestAnEndpointThatHasNothingIsAsItWasLastKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &counting{health: map[string]queue.EndpointHealth{"shop/a": {Endpoint: "shop/a", Open: 1,
			FailedInRow: 2, Latest: []event.AttemptRecord{{At: noon.Add(-time.Minute), Status: 503}}}}}
		b := statusBench(store)
		states := func() string {
			time.Sleep(2100 * time.Millisecond)
			return fmt.Sprint(mustStatus(t, b, "").States)
		}
		if got := states(); got != "map[failing:1 idle:3]" {
			t.Errorf("while it fails: %s", got)
		}
		store.health = nil
		if got := states(); got != "map[failing:1 idle:3]" {
			t.Errorf("when its last delivery was dismissed: %s", got)
		}
		store.delivered = map[string]time.Time{"shop/a": noon, "shop/b": noon}
		if got := states(); got != "map[idle:2 ok:2]" {
			t.Errorf("when something was delivered: %s", got)
		}
		store.delivered = nil
		if got := states(); got != "map[idle:4]" {
			t.Errorf("when its history has ended: %s", got)
		}
	})
}

func TestTheWorstTwentyEndpointsAreShown(t *testing.T) {
	t.Parallel()
	store := &counting{health: map[string]queue.EndpointHealth{}}
	for i := range 40 {
		name := fmt.Sprintf("many/e%05d", i)
		store.health[name] = queue.EndpointHealth{Endpoint: name, Dead: int64(i + 1)}
	}
	store.health["many/e00041"] = queue.EndpointHealth{Endpoint: "many/e00041", Parked: queue.ParkedGone}
	store.health["many/e00042"] = queue.EndpointHealth{Endpoint: "many/e00042", Open: 5, FailedInRow: 2,
		Latest: []event.AttemptRecord{{At: noon, Status: 503}, {At: noon, Status: 503}}}
	store.health["many/e00043"] = queue.EndpointHealth{Endpoint: "many/e00043", Parked: queue.ParkedPaused, Open: 9}
	s := mustStatus(t, statusBench(store, manyEndpoints(50)), "many")
	var got []string
	for _, e := range s.Attention {
		got = append(got, e.Endpoint)
	}
	want := []string{"many/e00041", "many/e00042", "many/e00043", "many/e00039", "many/e00038"}
	if len(got) != 20 || !slices.Equal(got[:5], want) {
		t.Errorf("%v, want %v first", got, want)
	}
	if s.Dead != 820 || s.States["gone"] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestATenantSeesItsOwnProblemsAlone(t *testing.T) {
	t.Parallel()
	failing := []event.AttemptRecord{{At: noon.Add(-time.Minute), Status: 503}, {At: noon.Add(-time.Hour), Status: 503}}
	store := &counting{health: map[string]queue.EndpointHealth{
		"shop/a":     {Endpoint: "shop/a", Latest: failing, FailedInRow: 2},
		"other/mail": {Endpoint: "other/mail", Latest: failing, FailedInRow: 2},
		"gone/away":  {Endpoint: "gone/away", Open: 1},
	}}
	b := newBench(Options{
		ReplicaStatus: func() ReplicaStatus {
			return ReplicaStatus{RedisState: "down", RedisWhy: "redis at 10.0.0.1 is down", Embedded: true,
				Advice: []Advice{{Name: "no_aof"}}, Restart: []string{"spool.dir"}, Silent: true}
		},
		WhenFailures: func() []WhenFailure {
			return []WhenFailure{{Tenant: "other", Route: "o.yaml:1", Latest: noon},
				{Tenant: "shop", Route: "s.yaml:1", Latest: noon}}
		},
		Replicas: func(context.Context) ([]Replica, error) {
			return []Replica{{ID: "a", Config: ReplicaConfig{Fingerprint: "1"}}, {ID: "b"}}, nil
		},
	})
	b.latest.until, b.latest.soon = time.Time{}, time.Time{}
	b.endpoints, b.events, b.replays, b.quarantine = store, store, store, store
	codes := func(tenant string) (all []string) {
		for _, p := range mustStatus(t, b, tenant).ProblemList {
			all = append(all, p.Code+" "+p.Subject)
		}
		return all
	}
	if got := codes("shop"); !slices.Equal(got, []string{EndpointFails + " shop/a", WhenFails + " tenant shop"}) {
		t.Errorf("a tenant is told of %v", got)
	}
	if got := codes(""); len(got) != 11 {
		t.Errorf("the operator is told of %v", got)
	}
}
