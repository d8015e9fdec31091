package migrate_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
	"kuairelay/relay/stats"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/notices"
	"kuairelay/relay/store/replays"
	"kuairelay/relay/store/subscriptions"
)

// kept is everything that is kept in one Redis. This file is compiled with the version before, too: testdata/fill.txt
// describes with it what that version has kept.
type kept struct {
	*db.DB
	*store.Store
	*subscriptions.Ledger
	*replays.List
	*notices.Board
}

func init() { time.Local = time.UTC } // descriptions name times

// open opens the store of a Redis with a hash tag, by a local clock.
func open(t *testing.T, url, tag string, clock func() time.Time) *kept {
	t.Helper()
	d, err := db.New(db.Options{URL: url, Tag: tag, Clock: clock, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	breaker := queue.Breaker{Failures: 2, Ratio: 1, Window: time.Hour, CoolOff: 30 * time.Minute, MaxCoolOff: time.Hour}
	return &kept{
		DB: d,
		Store: store.New(d, store.Options{
			Settings: store.Settings{Pacing: map[string]queue.Pacing{"crm/broken": {Breaker: breaker}}},
			Brands:   brands, Replica: "old",
		}),
		Ledger: subscriptions.New(d, subscriptions.Settings{
			NoRecord: []time.Duration{time.Hour}, Silence: ledger.Silence{After: time.Hour, Interval: time.Hour, Budget: 9},
			Watches: map[string]ledger.Watch{"shop": {NotCollected: time.Hour, Stalled: time.Hour}},
		}),
		List:  replays.New(d),
		Board: notices.New(d),
	}
}

var (
	brands    = []string{"sto", "zt"}
	tenants   = []string{"crm", "shop"}
	endpoints = []string{"crm/broken", "crm/gone", "crm/lost", "crm/main", "crm/paused", "fan/01", "fan/12",
		"shop/logs", "shop/orders"}
	waybills = []string{"again", "catch", "done", "dup", "dead", "fan", "late", "lease", "line", "lost", "news", "norec",
		"pend", "plain", "refused", "retry", "sign", "twice"}
)

// minute is one that statistics are of.
const minute = 29_000_160

// describe is all that the packages tell of a store, as JSON.
func describe(t *testing.T, k *kept) []byte {
	t.Helper()
	ctx := t.Context()
	out := make(map[string]any)
	must := func(what string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		out[what] = v
	}

	var ids []string
	for _, newer := range []bool{false, true} {
		var records []*event.Record
		q := event.Query{Most: 7, Newer: newer}
		for {
			page, err := k.Events(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				ids = append(ids, e.ID)
				records = append(records, e)
			}
			if page.End || newer && len(page.Events) == 0 {
				break
			}
			q.Cursor = page.Next
		}
		must(map[bool]string{false: "older", true: "newer"}[newer], records, nil)
	}
	for _, id := range ids {
		e, ok, err := k.Event(ctx, id, "")
		if !ok {
			t.Errorf("%s is listed, and not there", id)
		}
		must("event "+id, e, err)
	}

	for _, code := range waybills {
		all, err := k.Waybill(ctx, code, "")
		must("waybill "+code, all, err)
		known, ok, err := k.Remembered(ctx, code, brands)
		must("remembered "+code, []any{known, ok}, err)
		subscribed, err := k.WaybillSubscriptions(ctx, code, brands, "")
		withoutExpiry(subscribed)
		must("subscribed "+code, subscribed, err)
		latest, ok, err := k.Latest(ctx, zt(code))
		must("latest "+code, []any{latest, ok}, err)
	}

	for _, ep := range endpoints {
		ids := []string{}
		page, err := k.Events(ctx, event.Query{Endpoints: []string{ep}, Most: 100})
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		must("listed "+ep, ids, err)
	}

	dead, next, err := k.DeadLetters(ctx, endpoints, "", 100)
	must("dead letters", []any{dead, next}, err)
	health, err := k.Health(ctx, endpoints, 5)
	must("health", health, err)
	depths, err := k.Depths(ctx, endpoints)
	must("depths", depths, err)
	parked, err := k.Parked(ctx)
	must("parked", parked, err)
	twice, err := k.Distrusted(ctx)
	must("distrusted", twice, err)
	settings, err := k.KnownSettings(ctx, endpoints)
	must("settings", settings, err)
	for _, ep := range endpoints {
		attempts, next, err := k.Attempts(ctx, queue.AttemptsQuery{Endpoint: ep, Most: 100})
		must("attempts "+ep, []any{attempts, next}, err)
		log, err := k.EndpointLog(ctx, ep)
		must("log "+ep, log, err)
	}

	for _, tenant := range tenants {
		page, next, err := k.Subscriptions(ctx, tenant, "", 100)
		withoutExpiry(page)
		must("subscriptions "+tenant, []any{page, next}, err)
		all, next, err := k.Replays(ctx, tenant, "", 100)
		must("replays "+tenant, []any{all, next}, err)
	}
	work, err := k.Work(ctx)
	must("work", work, err)
	open, err := k.OpenReplays(ctx)
	must("open replays", open, err)
	quarantine, more, err := k.Quarantined(ctx, 0, 100)
	must("quarantine", []any{quarantine, more}, err)
	acts, next, err := k.Acts(ctx, event.ActQuery{Match: func(*event.Act) bool { return true }, Most: 100})
	must("audit", []any{acts, next}, err)
	told, err := k.Notices(ctx)
	must("notices", told, err)
	last, err := k.LastCallback(ctx, time.Time{})
	must("last callback", last, err)
	span := stats.SpanOf(time.Unix((minute-60)*60, 0), time.Unix((minute+60)*60, 0), time.Minute)
	rows, err := k.Stats(ctx, span.Pages("shop/orders"))
	must("statistics", rows, err)

	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(text)
}

// withoutExpiry takes out what the store works out from the time that a key has left.
func withoutExpiry(all []ledger.Subscription) {
	for i := range all {
		all[i].Expires = time.Time{}
	}
}

// zt is a waybill of the brand that most have.
func zt(code string) event.Waybill { return event.Waybill{CPCode: "zt", Code: code} }
