package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/test/redisserver"
)

// Versions of the relay work beside each other, and after an upgrade the history of before is still there.
func TestAttemptsOfVersionsBesideEachOtherAreRead(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisserver.Start(t).URL())
	got, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "a", "t/a"), newRouted("2", "a", "t/a")})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range []queue.Outcome{
		{Kind: queue.Retry, Due: s.db.Now().Add(time.Hour), Attempt: &event.Attempt{Status: 503, Answer: []byte("busy")}},
		{Kind: queue.Delivered, Attempt: &event.Attempt{Status: 200}},
	} {
		o.Delivery = got[i].Leased[0]
		if _, err := s.Settle(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}

	// The version before reads these fields of an attempt that failed, and exactly five of one that delivered.
	entries, err := s.db.Client.XRange(t.Context(), s.failedKey("t/a"), "-", "+").Result()
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	hash, err := hashOf(got[0].Leased[0].Event.ID)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{"i": hash, "n": "1", "k": "r", "s": "503", "d": "0", "m": "busy"} {
		if is := entries[0].Values[field]; is != want {
			t.Errorf("field %s is %q, want %q", field, is, want)
		}
	}
	good, err := s.db.Client.LRange(t.Context(), s.deliveredKey("t/a"), 0, -1).Result()
	if err != nil || len(good) != 1 || len(strings.Fields(good[0])) != 5 {
		t.Errorf("%q, %v", good, err)
	}

	// What the version before wrote has no origin.
	err = s.db.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: s.failedKey("t/a"), Values: []string{
		"i", hash, "n", "3", "k", "x", "s", "0", "d", "15000", "m", "timeout: no whole answer in time",
	}}).Err()
	if err != nil {
		t.Fatal(err)
	}
	page, _, err := s.Attempts(t.Context(), queue.AttemptsQuery{Endpoint: "t/a", Failed: true, Most: 10})
	if err != nil || len(page) != 2 {
		t.Fatal(page, err)
	}
	if a := page[0]; a.N != 3 || a.Class != event.ClassTimeout || a.Kind != queue.Dead || a.Reason != "" ||
		a.Replica != "" || len(a.Headers) != 0 {
		t.Errorf("%+v", a)
	}
}

// The log of an endpoint is written by Go and by Lua: both forms are read, and what neither wrote is left out.
func TestALogEntryComesBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_123)
	e := event.LogEntry{
		At:      now,
		What:    event.LogChanged,
		By:      event.Actor{Name: "shop", Key: "deploy", From: "2001:db8::1"},
		N:       3,
		Of:      7,
		Status:  503,
		Text:    "\"busy\"\n",
		Replay:  "rpl_1",
		Changes: []event.SettingChange{{Key: "timeout", Old: "10s", New: "15s"}, {Key: "url"}},
	}
	if got, ok := readLogEntry(encodeLogEntry(e, now, "c1")); !ok || fmt.Sprint(got) != fmt.Sprint(e) {
		t.Errorf("%+v", got)
	}
	if got, ok := readLogEntry(`{"t":1,"k":"opened","n":3,"of":0,"s":500,"m":"` + "half \xe4\xb8" + `"}`); !ok ||
		got.Text != "half " || got.N != 3 {
		t.Errorf("%+v", got)
	}
	if got, ok := readLogEntry("nonsense"); ok {
		t.Errorf("%+v", got)
	}
}
