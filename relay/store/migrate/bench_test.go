package migrate_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/migrate"
)

// fixture is what the version before has kept: testdata/fill.txt has made it.
type fixture struct {
	Now  int64 // by the time of the store (ms)
	Keys []struct {
		Name string
		Life int64 // ms, 0: it does not expire
		Dump []byte
	}
}

func unzip(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// bench is a Redis that holds the fixture with a hash tag of its own.
type bench struct {
	*testing.T
	*db.DB   // one that may use data of any form
	kept     fixture
	url, tag string
	by       atomic.Int64 // the local clock
}

var tags atomic.Int64

// newBench fills a Redis with those keys of the fixture that are wanted; nil: all. Its clock says the time at which
// they were kept.
func newBench(t *testing.T, url string, wanted func(name string) bool) *bench {
	t.Helper()
	b := &bench{T: t, url: url, tag: fmt.Sprint("m", tags.Add(1))}
	if err := json.Unmarshal(unzip(t, "kept.json.gz"), &b.kept); err != nil {
		t.Fatal(err)
	}
	d, err := db.New(db.Options{URL: url, Tag: b.tag, AnyForm: true, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	b.DB = d

	b.restore(wanted)
	offset := b.kept.Now - time.Now().UnixMilli()
	b.ok(d.Client.HSet(t.Context(), b.old("clock"), "offset", offset, "moves", 1, "last", b.kept.Now).Err())
	return b
}

// restore writes keys of the fixture.
func (b *bench) restore(wanted func(name string) bool) {
	b.Helper()
	for _, k := range b.kept.Keys {
		if wanted == nil || wanted(k.Name) {
			b.ok(b.Client.RestoreReplace(b.Context(), b.old(k.Name), time.Duration(k.Life)*time.Millisecond,
				string(k.Dump)).Err())
		}
	}
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// old is a key of the version before.
func (b *bench) old(name string) string { return "{" + b.tag + "}:" + name }

// keys lists all keys with the tag, without that.
func (b *bench) keys() (names []string) {
	b.Helper()
	node, err := b.Node(b.Context())
	b.ok(err)
	tag := "{" + b.tag + "}"
	keys, err := node.Keys(b.Context(), tag+"*").Result()
	b.ok(err)
	for _, k := range keys {
		names = append(names, strings.TrimPrefix(k, tag))
	}
	slices.Sort(names)
	return names
}

// migrate runs a migration to its end.
func (b *bench) migrate(o migrate.Options) migrate.Result {
	b.Helper()
	result, err := migrate.Run(b.Context(), b.DB, o)
	b.ok(err)
	return result
}

// open opens the store as a relay does.
func (b *bench) open() *kept {
	b.Helper()
	k := open(b.T, b.url, b.tag, func() time.Time { return time.Now().Add(time.Duration(b.by.Load())) })
	b.ok(k.EnsureClock(b.Context()))
	return k
}

// sameAsBefore compares what is told of a store with what the version before told. Its list of events had lost one that
// is open, which is listed again.
func (b *bench) sameAsBefore(k *kept) {
	b.Helper()
	before, after := make(map[string]any), make(map[string]any)
	b.ok(json.Unmarshal(unzip(b.T, "kept.txt.gz"), &before))
	b.ok(json.Unmarshal(describe(b.T, k), &after))
	for what, want := range before {
		got := after[what]
		if list, ok := got.([]any); ok && (what == "older" || what == "newer" || strings.HasPrefix(what, "listed ")) {
			got = slices.DeleteFunc(list, func(v any) bool {
				e, _ := v.(map[string]any)
				return v == b.lost() || e["ID"] == b.lost()
			})
		}
		wanted, have := lines(b.T, want), lines(b.T, got)
		for i := range max(len(wanted), len(have)) {
			if i >= len(wanted) || i >= len(have) || wanted[i] != have[i] {
				from := max(0, i-25)
				b.Errorf("%s was\n%s\nand is\n%s", what, strings.Join(wanted[from:min(i+3, len(wanted))], "\n"),
					strings.Join(have[from:min(i+3, len(have))], "\n"))
				break
			}
		}
	}
	page, err := k.Events(b.Context(), event.Query{Endpoints: []string{"crm/lost"}, Most: 9})
	if err != nil || len(page.Events) != 1 || page.Events[0].ID != b.lost() {
		b.Errorf("the event that was not listed: %+v, %v", page.Events, err)
	}
	if len(after) != len(before)+1 {
		b.Errorf("%d things are told, and %d were", len(after), len(before))
	}
}

// lost is the id of the event that the list of events had lost.
func (b *bench) lost() string {
	return "evt_" + hex.EncodeToString(sum("lost", "b"))
}

// sum is the hash of an event of the fixture.
func sum(code, status string) []byte {
	sum := sha256.Sum256([]byte(code + "\x00" + status))
	return sum[:]
}

// hash is the id of an event of the fixture as its keys have it.
func hash(code, status string) string { return base64.RawURLEncoding.EncodeToString(sum(code, status)) }

func lines(t *testing.T, v any) []string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// noneLeft fails the test if a key of the version before is left.
func (b *bench) noneLeft() {
	b.Helper()
	for _, key := range b.keys() {
		if key != ":form" && !strings.HasPrefix(key, db.Form+":") {
			b.Errorf("%s is left", key)
		}
	}
	if form := b.Client.Get(b.Context(), b.FormKey()).Val(); form != db.Form {
		b.Errorf("the data are in form %q", form)
	}
}

// livesAsBefore checks that records, entries of the ledger and the like live for as long as they would have, and that
// events and their list live on: trim deletes them.
func (b *bench) livesAsBefore() {
	b.Helper()
	for _, k := range b.kept.Keys {
		family, id, _ := strings.Cut(k.Name, ":")
		name := k.Name
		switch {
		case slices.Contains([]string{"r", "rep", "reps", "only", "e", "b", "g"}, family):
			continue
		case slices.Contains([]string{"v", "c", "log", "logt"}, family):
			k.Life = 0
		case family == "n":
			name = "n:" + id[:14]
		}
		life := b.Client.PTTL(b.Context(), b.Key(name)).Val()
		wanted := time.Duration(k.Life) * time.Millisecond
		if family == "c" && life == -2 {
			b.Errorf("%s is lost", name)
		}
		if k.Life == 0 && life != -1 && life != -2 || k.Life > 0 && (life > wanted || life < wanted-5*time.Minute) {
			b.Errorf("%s lives for %s, and would have lived for %s", name, life, wanted)
		}
	}
	for _, key := range b.keys() {
		if strings.HasPrefix(key, "2:e:") && b.Client.PTTL(b.Context(), "{"+b.tag+"}"+key).Val() != -1 {
			b.Errorf("%s expires", key)
		}
	}
}

// deliverAll delivers everything that was open: each once, and the updates of a waybill in their order at an endpoint.
func (b *bench) deliverAll(k *kept) {
	b.Helper()
	before := make(map[string]json.RawMessage)
	b.ok(json.Unmarshal(unzip(b.T, "kept.txt.gz"), &before))
	wanted := make(map[string]int) // by the id of the event and the endpoint
	for what, text := range before {
		var e event.Record
		if !strings.HasPrefix(what, "waybill ") && !strings.HasPrefix(what, "event ") {
			continue
		}
		all := []event.Record{e}
		if text[0] == '[' {
			b.ok(json.Unmarshal(text, &all))
		} else {
			b.ok(json.Unmarshal(text, &all[0]))
		}
		for _, e := range all {
			for _, d := range e.Deliveries {
				if d.State.Open() {
					wanted[e.ID+" "+d.Endpoint] = 0
				}
			}
		}
	}

	b.by.Add(int64(3 * time.Hour)) // all leases have lapsed, and retries are due
	type line struct{ endpoint, waybill, reason string }
	latest := make(map[line]int64)
	for idle := 0; idle < 2; idle++ {
		due, err := k.Due(b.Context(), time.Hour, 0, 1000)
		b.ok(err)
		all := slices.Clone(endpoints)
		for _, d := range due {
			all = append(all, d.Endpoint)
		}
		for _, ep := range all {
			ds, _, err := k.Lease(b.Context(), []queue.LeaseRequest{{Endpoint: ep, Lease: time.Minute, Most: 3, Parked: true}})
			b.ok(err)
			for _, d := range ds {
				idle = -1
				wanted[d.Event.ID+" "+ep]++
				of := line{ep, d.Event.WaybillCode, ""}
				if d.Reason == event.ReasonReplay || d.Reason == event.ReasonRedrive {
					of.reason = string(d.Reason)
				}
				if d.Event.WaybillCode != "" && d.Event.Sequence <= latest[of] {
					b.Errorf("%s at %s: %d comes after %d", d.Event.WaybillCode, ep, d.Event.Sequence, latest[of])
				}
				latest[of] = d.Event.Sequence
				if len(d.Event.Data) == 0 {
					b.Errorf("%s has no data", d.Event.ID)
				}
				got, err := k.Settle(b.Context(), queue.Outcome{Delivery: d, Kind: queue.Delivered,
					Attempt: &event.Attempt{Status: 200}})
				b.ok(err)
				if got[0].Late {
					b.Errorf("%s at %s is settled too late", d.Event.ID, ep)
				}
			}
		}
	}
	if len(wanted) < 40 {
		b.Errorf("only %d deliveries were open", len(wanted))
	}
	for delivery, n := range wanted {
		if n != 1 {
			b.Errorf("%s was delivered %d times", delivery, n)
		}
	}

	// Nothing counts as open any more, and every record ends.
	for _, key := range b.keys() {
		family, _, _ := strings.Cut(strings.TrimPrefix(key, "2:"), ":")
		switch life := b.Client.PTTL(b.Context(), "{"+b.tag+"}"+key).Val(); {
		case family == "q" || family == "l" || family == "wait":
			b.Errorf("%s is left", key)
		case (family == "w" || family == "n" || family == "yh") && life < 0:
			b.Errorf("%s lives on: %v", key, b.Client.HGetAll(b.Context(), "{"+b.tag+"}"+key).Val())
		}
	}
}

// trimAll lets time pass until every event is deleted, but for the last ones of waybills that are subscribed.
func (b *bench) trimAll(k *kept) {
	b.Helper()
	last := make(map[string]bool)
	for _, key := range b.keys() {
		if strings.HasPrefix(key, "2:s:") {
			last["2:e:"+b.Client.HGet(b.Context(), "{"+b.tag+"}"+key, "e").Val()] = true
		}
	}
	count := func() (n int) {
		for _, key := range b.keys() {
			if strings.HasPrefix(key, "2:e:") || strings.HasPrefix(key, "2:f:") {
				n++
			}
		}
		return n
	}
	all := count()
	b.by.Add(int64(time.Hour))
	b.ok(k.Tidy(b.Context()))
	if early := count(); early < all/2 {
		b.Errorf("%d of %d are left an hour later", early, all)
	}
	for range 4 {
		b.by.Add(int64(20 * 24 * time.Hour))
		b.ok(k.Tidy(b.Context()))
	}
	for _, key := range b.keys() {
		if (strings.HasPrefix(key, "2:e:") && !last[key]) || strings.HasPrefix(key, "2:f:") {
			b.Errorf("%s is never deleted", key)
		}
	}
}

// acceptNew accepts an event of a waybill, and returns what delivers it.
func (b *bench) acceptNew(k *kept, code string) (deliver func()) {
	b.Helper()
	e := &event.Event{
		ID: "evt_" + hex.EncodeToString(sum(code, "new")), Type: event.TypeWaybill, WaybillCode: code, CPCode: "zt",
		Status: "new", Data: []byte("{}"),
	}
	accepted, err := k.Accept(b.Context(), []queue.Routed{{Event: e, To: []queue.Candidate{
		{Endpoint: "new/alone", When: event.Always, Ordered: true, Slot: true, Lease: time.Minute},
	}}})
	b.ok(err)
	return func() {
		_, err := k.Settle(b.Context(), queue.Outcome{Delivery: accepted[0].Leased[0], Kind: queue.Delivered,
			Attempt: &event.Attempt{Status: 200}})
		b.ok(err)
	}
}
