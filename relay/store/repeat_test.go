package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/stats"
	"kuairelay/relay/store/db"
	"kuairelay/test/redisserver"
)

func newStore(t *testing.T, url string) *Store {
	t.Helper()
	return openStore(t, db.Options{URL: url, Timeout: 5 * time.Second}, Options{})
}

func openStore(t testing.TB, of db.Options, o Options) *Store {
	t.Helper()
	d, err := db.New(of)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.EnsureClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	return New(d, o)
}

func newRouted(waybill, content string, endpoints ...string) queue.Routed {
	sum := sha256.Sum256([]byte(waybill + "\x00" + content))
	e := queue.Routed{Event: &event.Event{ID: idPrefix + hex.EncodeToString(sum[:]), Type: event.TypeWaybill,
		WaybillCode: waybill, Data: []byte(`{}`)}}
	for _, ep := range endpoints {
		e.To = append(e.To, queue.Candidate{Endpoint: ep, When: event.Always, Ordered: true, Slot: true, Lease: time.Minute})
	}
	return e
}

// dump is everything that a store has in Redis, but for the clock and the times to live.
func dump(t *testing.T, s *Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	keys, err := s.db.Client.Keys(t.Context(), s.db.Prefix+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k == s.db.Key("clock") {
			continue
		}
		v, err := s.db.Client.Dump(t.Context(), k).Result()
		if err != nil {
			t.Fatal(err)
		}
		out[k] = v
	}
	return out
}

// A reply that is lost after the script ran is asked for again with the same call id: the answer has to be the same,
// and the second run may change nothing.
func TestEveryScriptAskedAgainGivesTheSameAnswerAndChangesNothing(t *testing.T) {
	t.Parallel()
	ahead := time.Duration(0)
	s := openStore(t, db.Options{URL: redisserver.Start(t).URL(), Timeout: 5 * time.Second,
		Clock: func() time.Time { return time.Now().Add(ahead) }}, Options{})
	twice := func(name string, script *redis.Script, args []any) []any {
		t.Helper()
		first, err := s.db.Do(t.Context(), script, args)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before := dump(t, s)
		second, err := s.db.Do(t.Context(), script, args)
		if err != nil {
			t.Fatalf("%s again: %v", name, err)
		}
		if fmt.Sprint(first) != fmt.Sprint(second) {
			t.Errorf("%s: first answer\n%v\nand then\n%v", name, first, second)
		}
		if after := dump(t, s); !reflect.DeepEqual(before, after) {
			t.Errorf("%s, asked again, changed something", name)
		}
		return first
	}
	acceptArgs := func(routed ...queue.Routed) []any {
		call := acceptCall{}
		for _, e := range routed {
			row, err := newAcceptRow(e)
			if err != nil {
				t.Fatal(err)
			}
			call.rows = append(call.rows, row)
		}
		args, _ := s.acceptArgs([]acceptCall{call}, s.db.Now(), s.db.NewCall())
		return args
	}
	twice("accept", acceptScript, acceptArgs(newRouted("1", "a", "t/a", "t/b"), newRouted("1", "b", "t/a"),
		newRouted("1", "a", "t/a"),
		newRouted("2", "a"), newRouted("3", "a", "t/a"), newRouted("4", "a", "t/a")))
	twice("accept a duplicate", acceptScript, acceptArgs(newRouted("1", "a", "t/a")))

	ahead = 2 * time.Minute // every lease has lapsed
	leased := twice("lease", leaseScript, s.leaseArgs([]queue.LeaseRequest{
		{Endpoint: "t/a", Lease: time.Minute, Most: 2}, {Endpoint: "t/b", Lease: time.Minute, Most: 10}}, s.db.Now(),
		s.db.NewCall()))
	rows := leased[1].([]any)
	if len(rows) != 3 {
		t.Fatalf("leased %d, want 3", len(rows))
	}
	for i, kind := range []queue.OutcomeKind{queue.Delivered, queue.Dead, queue.Retry, queue.Released, queue.Gone} {
		var d *event.Delivery
		if i < len(rows) {
			var err error
			if d, err = readDelivery(rows[i], time.Now(), map[string]time.Duration{}); err != nil {
				t.Fatal(err)
			}
		} else {
			got, err := s.Accept(t.Context(), []queue.Routed{newRouted(fmt.Sprint("w", i), "a", fmt.Sprint("t/x", i))})
			if err != nil {
				t.Fatal(err)
			}
			d = got[0].Leased[0]
		}
		short, err := shortID(d.Event.ID)
		if err != nil {
			t.Fatal(err)
		}
		o := queue.Outcome{Delivery: d, Kind: kind, Due: s.db.Now().Add(time.Hour), Reason: "no",
			Attempt: &event.Attempt{Status: 200}, Next: time.Minute}
		twice(outcomeName(kind), settleScript, s.settleArgs([]settleCall{{o, short}}, s.db.Now()))
	}
	dead, _, err := s.DeadLetters(t.Context(), []string{"t/a"}, "", 10)
	if err != nil || len(dead) != 1 {
		t.Fatalf("%v, %v", dead, err)
	}
	short, err := shortID(dead[0].EventID)
	if err != nil {
		t.Fatal(err)
	}
	twice("note", noteScript, []any{s.db.Now().UnixMilli(), "t/a", 60000, `{"t":1,"k":"redriven","n":2,"x":"c"}`})
	twice("note more", noteScript, []any{s.db.Now().UnixMilli(), "t/a", 60000, `{"t":2,"k":"redriven","n":2,"x":"d"}`})
	twice("settings", settingsScript, []any{s.db.Now().UnixMilli(), 60000, "t/a", "", "1", `{"k":"added"}`,
		"t/b", "", "1", ""})
	twice("redrive", redriveScript, []any{s.db.Now().UnixMilli(), s.db.NewCall(), "t/a", short})
	delivered, retrying := rows[0].([]any), rows[2].([]any)
	twice("resend", resendScript, []any{s.db.Now().UnixMilli(), s.db.NewCall(), delivered[0], 1, delivered[1]})
	twice("retry", retryScript, []any{s.db.Now().UnixMilli(), retrying[0], retrying[1]})
	twice("stats", statsScript, []any{s.db.ID, 1, 90_000, 900_000, "t/a", 29_000_000, "A1K2", "D1", "", "t/", 29_000_000,
		"A1", "", ""})

	note := func(act string) []any {
		return []any{s.db.Now().UnixMilli(), 1000, 2, 2, 1000, s.db.NewCall(), "t", act, 3}
	}
	twice("audit", auditScript, note("pause"))
	twice("audit an act like the latest", auditScript, note("pause"))
	twice("audit another act", auditScript, note("resume"))
	twice("audit one too many", auditScript, note("test"))
}

func outcomeName(k queue.OutcomeKind) string { return "settle " + string(rune(k)) }

func TestScriptsRefuseWrongArgumentsBeforeTheyWrite(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisserver.Start(t).URL())
	for name, c := range map[string]struct {
		script *redis.Script
		args   []any
	}{
		"accept without a header": {acceptScript, []any{1}},
		"accept with too few":     {acceptScript, []any{1, "c", 1, 1, 1, 1, 1, "", 0, 1, "id", "w:1", "", "", 0, "body", 1}},
		"accept with a bad index": {acceptScript,
			[]any{1, "c", 1, 1, 1, 1, 1, "", 0, 1, "id", "w:1", "", "", 0, "body", 1, 5, 1}},
		"accept with too many":     {acceptScript, []any{1, "c", 1, 1, 1, 1, 1, "", 0, 0, "more"}},
		"lease with too few":       {leaseScript, []any{1, "c", 1, 1, "t/a"}},
		"settle with too few":      {settleScript, []any{1, 1, 1, 1, 1, 1, 1}},
		"redrive without endpoint": {redriveScript, []any{1}},
		"resend without an event":  {resendScript, []any{1, "c", "t/a"}},
		"retry without endpoint":   {retryScript, []any{1}},
		"park without state":       {parkScript, []any{"t/a"}},
		"park without who does it": {parkScript, []any{1, "t/a", "paused"}},
		"note without an entry":    {noteScript, []any{1, "t/a", 1}},
		"settings without an end":  {settingsScript, []any{1, 1, "t/a", "", "1"}},
		"quarantine without body":  {quarantineScript, []any{1, 1, "id"}},
		"audit without an act":     {auditScript, []any{1, 1, 1, 1, 1, "c", "t"}},
		"beat without a replica":   {beatScript, []any{1, 1}},
		"beat with half a field":   {beatScript, []any{1, 1, "a", "x"}},
		"stats without a number":   {statsScript, []any{"r", "", 1, 1}},
		"stats with too few":       {statsScript, []any{"r", 1, 1, 1, "t/a", 1, "A1", ""}},
	} {
		_, err := s.db.Do(t.Context(), c.script, c.args)
		var refused redis.Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d := dump(t, s); len(d) != 0 {
		t.Errorf("they wrote %v", d)
	}
}

func TestAFullRedisTakesNoEventButSettlesAndFreesMemory(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	s := newStore(t, server.URL())
	first, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "a", "t/a"), newRouted("1", "b", "t/a")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Do("CONFIG", "SET", "maxmemory", "1"); err != nil {
		t.Fatal(err)
	}
	before := dump(t, s)
	both := []queue.Routed{newRouted("2", "a", "t/a"), newRouted("1", "c", "t/a")}
	if _, err := s.Accept(t.Context(), both); err == nil ||
		!strings.Contains(err.Error(), "it is full") {
		t.Errorf("accept: %v", err)
	}
	if err := s.AddStats(t.Context(), 1, []stats.Cell{{Subject: "t/a", Minute: 1, Counts: stats.Row{1}}}); err == nil ||
		!strings.Contains(err.Error(), "it is full") {
		t.Errorf("statistics: %v", err)
	}
	if !reflect.DeepEqual(before, dump(t, s)) {
		t.Error("a refused call left something behind")
	}
	d := first[0].Leased[0]
	got, err := s.Settle(t.Context(), queue.Outcome{Delivery: d, Kind: queue.Delivered,
		Attempt: &event.Attempt{Status: 200}, Next: time.Minute})
	if err != nil || got[0].Next == nil {
		t.Fatalf("settle: %+v, %v", got, err)
	}
	got, err = s.Settle(t.Context(), queue.Outcome{Delivery: got[0].Next, Kind: queue.Dead, Reason: "no",
		Attempt: &event.Attempt{Status: 422}})
	if err != nil || got[0].Late {
		t.Fatalf("settle: %+v, %v", got, err)
	}
	if n, err := s.Redrive(t.Context(), "t/a", "evt_"+hexOf("1", "b")); err != nil || n != 1 {
		t.Errorf("redrive: %d, %v", n, err)
	}
	if ds, _, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: time.Minute, Most: 1}}); err !=
		nil || len(ds) != 1 {
		t.Errorf("lease: %v, %v", ds, err)
	}
}

func hexOf(waybill, content string) string {
	sum := sha256.Sum256([]byte(waybill + "\x00" + content))
	return hex.EncodeToString(sum[:])
}

func TestAcceptWaitsForRedisReplicasThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := openStore(t, db.Options{URL: redisserver.Start(t).URL(), WaitReplicas: 1}, Options{})
	if _, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "a", "t/a")}); err == nil ||
		!strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("accept: %v", err)
	}
}

func TestIDsSurviveTheirShortForm(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", "-2", "-17"} {
		id := "evt_" + hexOf("1", suffix) + suffix
		hash, err := hashOf(id)
		if err != nil {
			t.Fatal(err)
		}
		if long, err := longID(hash); err != nil || long != id {
			t.Errorf("%s came back as %s, %v", id, long, err)
		}
		if short, err := shortID(id); err != nil || short != hash[:14]+suffix {
			t.Errorf("%s has the short form %s, %v", id, short, err)
		}
	}
	for _, bad := range []string{"", "evt_", "evt_00", hexOf("1", ""), "evt_" + strings.Repeat("z", 64)} {
		if short, err := shortID(bad); err == nil {
			t.Errorf("%q has the short form %q", bad, short)
		}
	}
}

func TestADeliveryWhoseBodyIsLostIsDamagedAndItsLineMovesOn(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	s := newStore(t, server.URL())
	a, b := newRouted("1", "a", "t/a"), newRouted("1", "b", "t/a")
	a.To[0].Slot, b.To[0].Slot = false, false
	if _, err := s.Accept(t.Context(), []queue.Routed{a, b}); err != nil {
		t.Fatal(err)
	}
	short, err := shortID(a.Event.ID)
	if err != nil {
		t.Fatal(err)
	}
	value := s.db.Client.Get(t.Context(), s.eventKey(short)).Val()
	head := headLength(value)
	if err := s.db.Client.Set(t.Context(), s.eventKey(short), value[:head], 0).Err(); err != nil {
		t.Fatal(err)
	}
	ds, _, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: time.Minute, Most: 10}})
	if err != nil || len(ds) != 1 || ds[0].Damaged == "" || ds[0].Event.ID != a.Event.ID {
		t.Fatalf("%+v, %v", ds, err)
	}
	got, err := s.Settle(t.Context(), queue.Outcome{Delivery: ds[0], Kind: queue.Dead, Reason: ds[0].Damaged,
		Next: time.Minute})
	if err != nil || got[0].Next == nil || got[0].Next.Event.ID != b.Event.ID || got[0].Next.Damaged != "" {
		t.Errorf("%+v, %v", got, err)
	}
	// A head that Redis has lost altogether does not hold up what is accepted later.
	short, err = shortID(b.Event.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Client.Del(t.Context(), s.eventKey(short), s.queueKey("t/a")).Err(); err != nil {
		t.Fatal(err)
	}
	out, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "c", "t/a")})
	if err != nil || len(out[0].Leased) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestOneLeaseTakesNoMoreThanAMegabyteOrOneDelivery(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisserver.Start(t).URL())
	for i := range 5 {
		e := newRouted(fmt.Sprint(i), "a", "t/a")
		e.To[0].Slot = false
		e.Event.Data = []byte(`{"x":"` + strings.Repeat("x", 400<<10) + `"}`)
		if _, err := s.Accept(t.Context(), []queue.Routed{e}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{3, 2} {
		ds, looked, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: time.Minute, Most: 10}})
		if err != nil || len(ds) != want {
			t.Fatalf("%d leased, want %d; %v", len(ds), want, err)
		}
		if more := looked[0].N == 10; more != (want == 3) {
			t.Errorf("looked at %d, after %d", looked[0].N, len(ds))
		}
	}
}

func TestARecordHasTheHeadOfManyEndpointsOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t, redisserver.Start(t).URL())
	got, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "a", "t/a", "t/b", "t/c"),
		newRouted("1", "b", "t/a", "t/b", "t/c")})
	if err != nil || len(got[0].Leased) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	heads := func() map[string]string {
		all, err := s.db.Client.HGetAll(t.Context(), s.db.Prefix+"w:1").Result()
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(all, func(field, _ string) bool { return field != "h" && !strings.HasPrefix(field, "h:") })
		return all
	}
	a, _ := shortID(got[0].Leased[0].Event.ID)
	if want := map[string]string{"h": a}; !maps.Equal(heads(), want) {
		t.Errorf("at first: %v", heads())
	}
	deliver := func(d *event.Delivery) *event.Delivery {
		settled, err := s.Settle(t.Context(), queue.Outcome{Delivery: d, Kind: queue.Delivered, Next: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return settled[0].Next
	}
	second := deliver(got[0].Leased[0])
	b, _ := shortID(second.Event.ID)
	if want := map[string]string{"h": a, "h:t/a": b}; !maps.Equal(heads(), want) {
		t.Errorf("when one is ahead: %v", heads())
	}
	middle := deliver(got[0].Leased[1])
	last := deliver(got[0].Leased[2])
	if want := map[string]string{"h": a, "h:t/a": b, "h:t/b": b, "h:t/c": b}; !maps.Equal(heads(), want) {
		t.Errorf("when one is done: %v", heads())
	}
	deliver(second)
	deliver(last)
	deliver(middle)
	// those of other calls are told by their states
	if want := map[string]string{"h:t/a": b, "h:t/c": b}; !maps.Equal(heads(), want) {
		t.Errorf("at last: %v", heads())
	}
	got, err = s.Accept(t.Context(), []queue.Routed{newRouted("1", "c", "t/a", "t/b"), newRouted("1", "d", "t/b", "t/c")})
	if err != nil || len(got[0].Leased) != 2 || len(got[1].Leased) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	c, _ := shortID(got[0].Leased[0].Event.ID)
	d, _ := shortID(got[1].Leased[0].Event.ID)
	if want := map[string]string{"h": c, "h:t/c": d}; !maps.Equal(heads(), want) {
		t.Errorf("afterwards: %v", heads())
	}
	if next := deliver(got[0].Leased[1]); next == nil || next.Event.ID != got[1].Leased[0].Event.ID {
		t.Errorf("at t/b comes %+v", next)
	}
}
