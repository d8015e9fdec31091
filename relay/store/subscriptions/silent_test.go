package subscriptions

import (
	"strconv"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

// commandsOf counts the commands that a Redis has done, those of scripts included.
func commandsOf(t *testing.T, server *redisserver.Server) int {
	t.Helper()
	n, err := server.Calls()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func usedMemory(t *testing.T, server *redisserver.Server) int64 {
	t.Helper()
	info, err := server.Info("memory")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(info["used_memory"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWatchingManyWaybillsCostsLittle(t *testing.T) {
	t.Parallel()
	const waybills = 20_000
	server := redisserver.Start(t)
	s := newLedger(t, db.Options{URL: server.URL(), Timeout: time.Minute}, Settings{
		Silence: ledger.Silence{After: 24 * time.Hour, Interval: 6 * time.Hour, Budget: waybills},
		Watches: map[string]ledger.Watch{
			"t": {NotCollected: 24 * time.Hour, Stalled: 48 * time.Hour, NotPickedUp: 48 * time.Hour},
		},
	})
	if _, _, err := s.Watch(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	now := s.db.Now()
	all := make([]ledger.Subscription, waybills)
	for i := range all {
		all[i] = ledger.Subscription{Tenant: "t", State: ledger.Live, Since: now, Expires: now.Add(60 * 24 * time.Hour),
			Waybill: event.Waybill{CPCode: "zt", Code: strconv.Itoa(777_005_949_000_000 + i)}}
	}
	if _, err := s.Import(t.Context(), all); err != nil {
		t.Fatal(err)
	}

	pass := func() {
		for cursor, begun := uint64(0), false; !begun || cursor != 0; begun = true {
			var err error
			if cursor, err = s.ListenFor(t.Context(), "t", cursor, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := usedMemory(t, server)
	pass()
	noted, err := s.db.Client.ZCard(t.Context(), s.db.Key("silent")).Result()
	if err != nil || noted != waybills {
		t.Fatalf("%d of %d are noted: %v", noted, waybills, err)
	}
	// Tenants were told of each, which is more than when nothing is due.
	at := make([]event.Waybill, 0, 100)
	for i, x := range all {
		if at = append(at, x.Waybill); len(at) == cap(at) || i == len(all)-1 {
			if err := s.ToldStuck(t.Context(), now, at); err != nil {
				t.Fatal(err)
			}
			at = at[:0]
		}
	}
	each := float64(usedMemory(t, server)-before) / waybills
	t.Logf("%.0f bytes of Redis for each waybill", each)
	if each >= 200 {
		t.Errorf("each waybill takes %.0f bytes of Redis, want less than 200", each)
	}

	// Every hour the ledger is looked over, and every 5 s each replica looks what is due.
	from := commandsOf(t, server)
	pass()
	over := float64(commandsOf(t, server) - from)
	from = commandsOf(t, server)
	const looks = 100
	for range looks {
		if got, _, n, err := s.Look(t.Context(), 100); err != nil || got != nil || n != 0 {
			t.Fatalf("%v, %d, %v", got, n, err)
		}
		if got, _, _, err := s.TakeSilent(t.Context(), 100); err != nil || got != nil {
			t.Fatalf("%v, %v", got, err)
		}
	}
	look := float64(commandsOf(t, server)-from) / looks
	const replicas, every, hour = 3, 5, 3600
	perSecond := over*100_000/waybills/hour + look*replicas/every
	t.Logf("%.1f commands to look over 100 waybills, %.1f to look what is due: %.1f a second for 100,000 at 3 replicas",
		100*over/waybills, look, perSecond)
	if perSecond >= 5 {
		t.Errorf("%.1f commands a second with nothing due, want less than 5", perSecond)
	}
}
