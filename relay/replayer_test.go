package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/route"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// Each line is what is open, and which is taken up next; a * marks what is worked off already.
func TestTenantsAndTheOperatorTakeTurnsAtReplays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	t1, t2 := now.Add(-time.Minute), now.Add(-time.Second)
	for name, c := range map[string]struct {
		open   []event.OpenReplay
		served map[string]time.Time
		want   int
	}{
		"nothing":    {want: -1},
		"the oldest": {open: []event.OpenReplay{{ID: "a", Tenant: "x"}, {ID: "b", Tenant: "x"}}, want: 0},
		"another has it": {open: []event.OpenReplay{{ID: "a", Tenant: "x", Taken: true},
			{ID: "b", Tenant: "x"}}, want: 1},
		"of whom none runs": {open: []event.OpenReplay{{ID: "a", Tenant: "x", Taken: true},
			{ID: "b", Tenant: "x"}, {ID: "c", Tenant: "y"}}, want: 2},
		"the operator too": {open: []event.OpenReplay{{ID: "a", Tenant: "x", Taken: true},
			{ID: "b", Tenant: "x"}, {ID: "c"}}, want: 2},
		"no more than two of a tenant": {open: []event.OpenReplay{{ID: "a", Tenant: "x", Taken: true},
			{ID: "b", Tenant: "x", Taken: true}, {ID: "c", Tenant: "x"}}, want: -1},
		"of the operator as many as are": {open: []event.OpenReplay{{ID: "a", Taken: true}, {ID: "b", Taken: true},
			{ID: "c"}}, want: 2},
		"who waited longest": {open: []event.OpenReplay{{ID: "a", Tenant: "x"}, {ID: "b", Tenant: "y"}},
			served: map[string]time.Time{tenantTurn + "x": t2, tenantTurn + "y": t1}, want: 1},
		"which waited longest": {open: []event.OpenReplay{{ID: "a", Tenant: "x"}, {ID: "b", Tenant: "x"}},
			served: map[string]time.Time{"a": t2, "b": t1}, want: 1},
		"who was never served": {open: []event.OpenReplay{{ID: "a", Tenant: "x"}, {ID: "b", Tenant: "y"}},
			served: map[string]time.Time{tenantTurn + "x": t1}, want: 1},
	} {
		turns := turns{here: map[string]bool{}, served: map[string]time.Time{"gone": t1}}
		for k, v := range c.served {
			turns.served[k] = v
		}
		most := func(tenant string) int {
			if tenant == "" {
				return 0
			}
			return 2
		}
		if got := turns.next(c.open, most); got != c.want || turns.crowded {
			t.Errorf("%s: got %d, want %d; crowded: %v", name, got, c.want, turns.crowded)
		}
		if _, kept := turns.served["gone"]; kept {
			t.Errorf("%s: what has ended is remembered", name)
		}
	}
}

// A process has so many places. While others wait, a replay that had its turn lets another have its place.
func TestAReplayHasATurnWhileOthersWaitForItsPlace(t *testing.T) {
	t.Parallel()
	r := newReplayer(&replayer{})
	slots := func(string) int { return 0 }
	var open []event.OpenReplay
	for i := range replaysHere {
		o := event.OpenReplay{ID: fmt.Sprint(i), Tenant: fmt.Sprint(i)}
		r.begin(o, time.Now())
		open = append(open, o)
	}
	long := time.Now().Add(-2 * replayTurn)
	if r.next(open, slots) >= 0 || r.isOver(long) {
		t.Error("nobody waits, and a turn is over")
	}
	open = append(open, event.OpenReplay{ID: "next", Tenant: "next"})
	if r.next(open, slots) >= 0 || !r.isOver(long) || r.isOver(time.Now()) {
		t.Error("somebody waits, and the turn of who began long ago is not over, or that of who has just begun is")
	}
	r.end("3", true)
	if at := r.next(open, slots); at < 0 || open[at].ID != "next" {
		t.Errorf("next is %d", at)
	}
	<-r.wake
}

// An event that may be owed to a tenant is not passed over because Redis could not be asked.
func TestARerouteEndsWithTheErrorOfTheLedger(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	kept, err := openStores(db.Options{URL: redis.URL()},
		store.Options{Settings: store.Settings{Retention: time.Hour, Window: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	e := &event.Event{ID: "evt_" + strings.Repeat("1", 64), Type: event.TypeWaybill, WaybillCode: "1", CPCode: "zt",
		Data: []byte(`{"no":"1"}`), ReceivedAt: time.Now()}
	if _, err := kept.Accept(t.Context(), []queue.Routed{{Event: e}}); err != nil {
		t.Fatal(err)
	}
	table, err := route.New(
		route.Options{Rules: []route.Rule{{Tenant: "t", To: []string{"t/a"}, Match: route.Match{Subscribed: true}}}})
	if err != nil {
		t.Fatal(err)
	}
	r := newReplayer(&replayer{store: kept, match: func(e *event.Event) (to []queue.Candidate) {
		for _, c := range table.Match(e, nil) {
			to = append(to, queue.Candidate{Endpoint: c.ID, When: c.When})
		}
		return to
	}})
	plan := api.Plan{Reroute: true, Wants: func(event.DeliveryRecord) bool { return true }}

	const entry = "{kuairelay}2:s:zt 1"
	if _, err := redis.Do("SET", entry, "not a hash"); err != nil { // so that reading it fails
		t.Fatal(err)
	}
	if sends, err := r.wanted(t.Context(), plan, &event.Record{Event: *e}); err == nil {
		t.Errorf("sent to %+v", sends)
	}
	if _, err := redis.Do("DEL", entry); err != nil {
		t.Fatal(err)
	}
	if sends, err := r.wanted(t.Context(), plan, &event.Record{Event: *e}); err != nil || len(sends.resends) != 0 {
		t.Errorf("not subscribed, and sent to %+v (%v)", sends, err)
	}
	if _, err := kept.Subscribe(t.Context(), "t", []event.Waybill{{CPCode: "zt", Code: "1"}}); err != nil {
		t.Fatal(err)
	}
	if sends, err := r.wanted(t.Context(), plan, &event.Record{Event: *e}); err != nil || len(sends.resends) != 1 ||
		sends.resends[0].Endpoint != "t/a" || !sends.resends[0].Add {
		t.Errorf("subscribed, and sent to %+v (%v)", sends, err)
	}
}
