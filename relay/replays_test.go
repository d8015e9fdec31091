package relay_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

type replayState struct {
	ID, State                        string
	Looked, Matched, Queued, Skipped int
}

// ended waits until a replay is done.
func ended(t *testing.T, a *apiClient, key, prefix, id string) (r replayState) {
	t.Helper()
	until(t, "the replay is done", func() bool {
		r = ok[replayState](a, key, "GET", prefix+"/replays/"+id, "")
		return r.State == "done"
	})
	return r
}

// deliverAll pushes updates of so many waybills, and waits until they are at shop's endpoint.
func deliverAll(t *testing.T, a *apiClient, n int) {
	t.Helper()
	var items []string
	for i := range n {
		items = append(items, item(fmt.Sprint(7000+i), "signed", "2026-11-23 09:00:00"))
	}
	a.taken(callback(items...))
	until(t, "all is delivered", func() bool {
		st := ok[struct {
			Open int
			Last time.Time `json:"last_event_at"`
		}](a, adminToken, "GET", "/admin/v1/status", "")
		return st.Open == 0 && !st.Last.IsZero()
	})
}

func TestASlowReplayHoldsUpNobodyElses(t *testing.T) {
	t.Parallel()
	shop, other := newTenant(t, nil), newTenant(t, nil)
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+
		"}\nlimits: {reads: 100000, replays: 2}\n"+twoTenants(shop.URL, other.URL))
	deliverAll(t, a, 50)

	// Two run, the others wait; what is more is refused.
	var slow []string
	for range 10 {
		slow = append(slow, ok[replayState](a, shopKey, "POST", "/v1/replays", `{"rate":1}`).ID)
	}
	if status, text := a.call(shopKey, "POST", "/v1/replays", `{"rate":1}`); status != http.StatusTooManyRequests ||
		!strings.Contains(text, "limits.replays") {
		t.Errorf("one more: %d %s", status, text)
	}
	until(t, "status says so", func() bool {
		return ok[struct{ Replays int }](a, shopKey, "GET", "/v1/status", "").Replays == 10
	})
	for key, prefix := range map[string]string{otherKey: "/v1", adminToken: "/admin/v1"} {
		r := ok[replayState](a, key, "POST", prefix+"/replays", `{"rate":10000}`)
		if r = ended(t, a, key, prefix, r.ID); r.Queued == 0 {
			t.Errorf("%s: %+v", prefix, r)
		}
	}
	working := 0
	for _, id := range slow {
		if r := ok[replayState](a, shopKey, "GET", "/v1/replays/"+id, ""); r.State != "running" {
			t.Errorf("%+v", r)
		} else if r.Looked > 0 {
			working++
		}
	}
	if working > 2 {
		t.Errorf("%d of a tenant's replays are worked off, want 2 at most", working)
	}
}

func TestAReplayEndsWhoseEndpointAReloadTakesAway(t *testing.T) {
	t.Parallel()
	var hang atomic.Bool
	release := make(chan struct{})
	defer close(release)
	shop := newTenant(t, func(http.ResponseWriter, int, received) {
		if hang.Load() {
			<-release
		}
	})
	yaml := withToken(redisserver.Start(t).URL()) + "admin: {token: " + adminToken + "}\n" +
		strings.ReplaceAll(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]", "retry: [10ms, 1h], timeout: 1s")
	a := startAPI(t, yaml)
	const n = 9 // events; of their deliveries, each that finds no slot waits for one, 2 s at most
	deliverAll(t, a, n)
	hang.Store(true)
	r := ok[replayState](a, adminToken, "POST", "/admin/v1/replays", `{"rate":10000}`)
	until(t, "it has begun", func() bool {
		return ok[replayState](a, adminToken, "GET", "/admin/v1/replays/"+r.ID, "").Queued > 0
	})
	a.mustReload(strings.Replace(strings.Replace(yaml, "{name: orders,", "{name: moved,", 1), "{to: orders}",
		"{to: moved}", 1))
	if r = ended(t, a, adminToken, "/admin/v1", r.ID); r.Queued >= 2*n || r.Looked != n {
		t.Errorf("%+v: nothing was left of it when the endpoint went", r)
	}
}

// An endpoint that always has something to do, and few slots, gets what is sent again all the same.
func TestAReplayGetsItsTurnAtAnEndpointThatIsNeverIdle(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	shop := newTenant(t, func(_ http.ResponseWriter, _ int, r received) {
		if strings.Contains(r.body, "stuck") {
			<-release
		}
	})
	t.Cleanup(func() { close(release) })
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, shop.URL), "retry: [10ms, 1h]", "max_in_flight: 4, timeout: 60s", 1))
	deliverAll(t, a, 6)
	a.push("application/json", callback(item("stuck", "collected", "1")))
	// 6 to each of two endpoints, and the stuck one
	until(t, "one attempt is under way", func() bool { return len(shop.all()) >= 13 })
	r := ok[replayState](a, shopKey, "POST", "/v1/replays", `{"rate":10000,"endpoint":"orders","status":"signed"}`)
	if r = ended(t, a, shopKey, "/v1", r.ID); r.Queued != 6 {
		t.Errorf("%+v", r)
	}
	until(t, "all is sent again", func() bool {
		n := 0
		for _, r := range shop.all() {
			if r.header.Get("Kuairelay-Reason") == "replay" {
				n++
			}
		}
		return n == 6
	})
}

// TestAReplayEndsBeforeItSendsMoreThanExpected: what it routes again is counted while it is sent.
func TestAReplayEndsBeforeItSendsMoreThanExpected(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t).URL()
	shop := newTenant(t, nil)
	before := startAPI(t, withToken(url)+"admin: {token: "+adminToken+"}\n")
	var items []string
	for i := range 30 {
		items = append(items, item(fmt.Sprint(6000+i), "collected", "2026-11-23 09:00:00"))
	}
	before.taken(callback(items...))
	a := startAPI(t, withToken(url)+"admin: {token: "+adminToken+"}\n"+twoTenants(shop.URL, shop.URL))
	before.stop()

	type replay struct {
		ID, State, Why string
		Queued         int
	}
	at := func(body, state string) (r replay) {
		t.Helper()
		r = ok[replay](a, adminToken, "POST", "/admin/v1/replays", body)
		until(t, "the replay is "+state, func() bool {
			r = ok[replay](a, adminToken, "GET", "/admin/v1/replays/"+r.ID, "")
			return r.State == state
		})
		return r
	}
	counted := at(`{"reroute":true,"dry_run":true}`, "done")
	r := at(`{"reroute":true,"expect":10,"rate":100}`, "cancelled")
	if counted.Queued != 30 || r.Queued == 0 || r.Queued > 11 || !strings.Contains(r.Why, "the 10 that were expected") {
		t.Errorf("of %d: %+v", counted.Queued, r)
	}
	if r := at(`{"reroute":true,"expect":29,"rate":10000}`, "done"); r.Queued < 19 || r.Why != "" {
		t.Errorf("the others: %+v", r)
	}
	shop.wait(30)
}
