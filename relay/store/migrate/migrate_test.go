package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/migrate"
	"kuairelay/test/redisserver"
)

func TestWhatWasKeptIsMovedAndStaysTheSame(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func() string{
		"Redis":    func() string { return redisserver.Start(t).URL() },
		"Sentinel": func() string { return redisserver.StartSentinel(t).URL() },
		"Cluster":  func() string { return redisserver.StartCluster(t, 3).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, url(), nil)
			result := b.migrate(migrate.Options{})
			if len(result.Unreadable) > 0 || result.Nothing || result.Events != 40 || result.Entries != 7 {
				t.Errorf("%+v", result)
			}
			b.noneLeft()
			k := b.open()
			b.sameAsBefore(k)
			b.livesAsBefore()
			b.deliverAll(k)
			b.trimAll(k)
			if result = b.migrate(migrate.Options{}); !result.Nothing {
				t.Errorf("the next time: %+v", result)
			}
		})
	}
}

// A migration that ends after any of its steps, and begins again, moves the same.
func TestItMayEndAtAnyPointAndBeginAgain(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t).URL()
	for _, every := range []int{1, 2, 5, 17} {
		b := newBench(t, url, nil)
		for ends := 0; ; ends++ {
			ctx, cancel := context.WithCancel(t.Context())
			steps := 0
			_, err := migrate.Run(ctx, b.DB, migrate.Options{Most: 3, OnProgress: func(migrate.Result) {
				if steps++; steps == every {
					cancel()
				}
			}})
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) || ends > 300 {
				t.Fatal(err)
			}
			refused, err := db.New(db.Options{URL: url, Tag: b.tag})
			b.ok(err)
			if err := refused.EnsureClock(t.Context()); err == nil {
				t.Fatal("a relay takes a part of the data for all of it")
			}
			_ = refused.Close()
		}
		b.noneLeft()
		k := b.open()
		b.sameAsBefore(k)
		b.deliverAll(k)
	}
}

// What a relay of the version before has written meanwhile is added by a migration after that.
func TestWhatIsWrittenLaterIsAdded(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t).URL()

	// Of one waybill the version before writes everything later, when this one has an event of it already.
	ids := make(map[string]bool)
	for i := range 5 {
		ids[hash("line", fmt.Sprint(i))] = true
	}
	late := func(name string) bool {
		family, id, _ := strings.Cut(name, ":")
		return (family == "e" || family == "b") && ids[id] || name == "w:line" ||
			family == "l" && strings.HasSuffix(name, " w:line")
	}
	for _, closed := range []bool{false, true} {
		b := newBench(t, url, func(name string) bool { return !late(name) })
		places := make(map[string]map[string]float64) // in queues
		for _, ep := range []string{"shop/orders", "shop/logs"} {
			places[ep] = make(map[string]float64)
			for id := range ids {
				if at, err := b.Client.ZScore(t.Context(), b.old("q:"+ep), id).Result(); err == nil {
					places[ep][id] = at
					b.ok(b.Client.ZRem(t.Context(), b.old("q:"+ep), id).Err())
				}
			}
		}
		b.migrate(migrate.Options{})
		k := b.open()
		deliver := b.acceptNew(k, "line")
		if closed {
			deliver()
		}

		b.restore(late)
		for ep, all := range places {
			for id, at := range all {
				b.ok(b.Client.ZAdd(t.Context(), b.old("q:"+ep), redis.Z{Score: at, Member: id}).Err())
			}
		}
		if result := b.migrate(migrate.Options{}); result.Nothing || result.Events != 5 {
			t.Errorf("%+v", result)
		}
		b.noneLeft()
		if !closed {
			deliver()
		}
		open := b.Client.HGet(t.Context(), k.Key("w:line"), "o").Val()
		life := b.Client.PTTL(t.Context(), k.Key("w:line")).Val()
		if life != -1 || open != "5" {
			t.Errorf("the record lives for %s, and counts %s open events", life, open)
		}
		b.deliverAll(k)
	}

	// Everything is written once more, as it was: nothing is open twice, and what was closed meanwhile stays so.
	b := newBench(t, url, nil)
	b.migrate(migrate.Options{})
	b.restore(nil)
	b.migrate(migrate.Options{})
	b.noneLeft()
	page := fmt.Sprint("2:m:shop/orders:", minute/360)
	if row := b.Client.HVals(t.Context(), "{"+b.tag+"}"+page).Val(); !slices.Equal(row, []string{"A1jk"}) {
		t.Errorf("two times a thousand in base 36 are %q", row)
	}
	k := b.open()
	b.deliverAll(k)
	b.restore(nil)
	b.migrate(migrate.Options{})
	b.noneLeft()
	ds, _, err := k.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "shop/orders", Lease: time.Minute, Most: 9}})
	if err != nil || len(ds) > 0 {
		t.Errorf("what was delivered is sent again: %d, %v", len(ds), err)
	}
}

// What the list of events has lost altogether is listed again, and so is deleted when its time is over.
func TestEventsThatAreNotListedAreListed(t *testing.T) {
	t.Parallel()
	b := newBench(t, redisserver.Start(t).URL(), func(name string) bool {
		family, _, _ := strings.Cut(name, ":")
		return !slices.Contains([]string{"log", "logt", "v", "c"}, family)
	})
	b.migrate(migrate.Options{})
	b.noneLeft()
	k := b.open()
	page, err := k.Events(t.Context(), event.Query{Most: 100})
	if err != nil || len(page.Events) != 40 {
		t.Errorf("%d events are listed, %v", len(page.Events), err)
	}
	b.deliverAll(k)
	b.trimAll(k)
}

func TestWhatCannotBeReadStaysAndIsNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, redisserver.Start(t).URL(), nil)
	damaged := []string{"e:" + hash("fan", "a"), "e:" + hash("sign", "signed"), "w:done"}
	b.ok(b.Client.Set(t.Context(), b.old(damaged[0]), "?", 0).Err())
	b.ok(b.Client.HSet(t.Context(), b.old(damaged[1]), "shop/orders", "what?").Err())
	b.ok(b.Client.Set(t.Context(), b.old(damaged[2]), "?", 0).Err())
	kept := b.Client.HGetAll(t.Context(), b.old(damaged[1])).Val()

	// The others are moved, and the relay may begin.
	for range 2 {
		var named []string
		for _, u := range b.migrate(migrate.Options{}).Unreadable {
			if u.Why == "" {
				t.Errorf("%s: no reason", u.Key)
			}
			named = append(named, strings.TrimPrefix(u.Key, b.old("")))
		}
		for _, name := range damaged {
			if !slices.Contains(named, name) {
				t.Errorf("%s is not named: %v", name, named)
			}
		}
		if len(named) != len(damaged) {
			t.Errorf("named are %v", named)
		}
	}
	if left := b.Client.HGetAll(t.Context(), b.old(damaged[1])).Val(); !maps.Equal(left, kept) {
		t.Errorf("what cannot be read was %v, and is %v", kept, left)
	}
	k := b.open()

	// Somebody mends it.
	b.restore(func(name string) bool { return slices.Contains(damaged, name) })
	if result := b.migrate(migrate.Options{}); len(result.Unreadable) > 0 || result.Events != 2 {
		t.Errorf("%+v", result)
	}
	b.noneLeft()
	b.deliverAll(k)
}

func TestRelaysThatAreAliveAreNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, redisserver.Start(t).URL(), nil)
	before := b.keys()
	seen := func(age time.Duration) {
		at := float64(b.kept.Now - age.Milliseconds())
		b.ok(b.Client.ZAdd(t.Context(), b.old("reps"), redis.Z{Member: "box-1", Score: at}).Err())
	}
	seen(20 * time.Second)
	var alive *migrate.AliveError
	_, err := migrate.Run(t.Context(), b.DB, migrate.Options{})
	if !errors.As(err, &alive) || !slices.Equal(alive.Relays, []string{"box-1"}) || !slices.Equal(before, b.keys()) {
		t.Fatalf("%v", err)
	}
	if _, err = migrate.Run(t.Context(), b.DB, migrate.Options{Force: true}); err != nil {
		t.Error(err)
	}
	b.noneLeft()

	// One that writes all the time: what it writes after the end is for the next run.
	b = newBench(t, b.url, nil)
	writes := migrate.Options{OnProgress: func(migrate.Result) { seen(time.Second) }}
	if _, err = migrate.Run(t.Context(), b.DB, writes); err == nil || !strings.Contains(err.Error(), "one of its relays") {
		t.Error(err)
	}
	writes.Force = true
	if _, err = migrate.Run(t.Context(), b.DB, writes); err != nil {
		t.Error(err)
	}
	b.ok(b.Client.Del(t.Context(), b.old("reps")).Err())
	b.noneLeft()
	b.deliverAll(b.open())

	b = newBench(t, b.url, nil)
	seen(40 * time.Second)
	if _, err = migrate.Run(t.Context(), b.DB, migrate.Options{}); err != nil {
		t.Error(err)
	}
}

// The user that the relay has may run a migration.
func TestTheUserOfTheRelayMayMoveTheData(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	b := newBench(t, server.URL(), nil)
	rules := strings.Fields(strings.ReplaceAll(db.ACL(), "kuairelay", b.tag))
	if _, err := server.Do(append([]string{"ACL", "SETUSER", "relay", "on", ">secret"}, rules...)...); err != nil {
		t.Fatal(err)
	}
	d, err := db.New(db.Options{URL: "redis://relay:secret@" + server.Addr, Tag: b.tag, AnyForm: true})
	b.ok(err)
	t.Cleanup(func() { _ = d.Close() })
	for range 2 { // and to merge what is in both
		b.ok(b.Client.MSet(t.Context(), b.old("d:shop"), 3, b.old("queries"), "20000 2").Err())
		if result, err := migrate.Run(t.Context(), d, migrate.Options{}); err != nil || len(result.Unreadable) > 0 {
			t.Fatalf("%+v, %v", result, err)
		}
		b.noneLeft()
		b.restore(nil)
	}
	counts := b.Client.MGet(t.Context(), b.Key("d:shop"), b.Key("queries")).Val()
	if fmt.Sprint(counts) != "[6 20000 4]" {
		t.Errorf("the sums of two times 3 and 2 are %v", counts)
	}
}

func TestThereMayBeNothingToMove(t *testing.T) {
	t.Parallel()
	b := newBench(t, redisserver.Start(t).URL(), func(string) bool { return false })
	b.ok(b.Client.Del(t.Context(), b.old("clock")).Err())
	for range 2 {
		if result := b.migrate(migrate.Options{}); !result.Nothing {
			t.Errorf("%+v", result)
		}
	}
	b.open()

	b.ok(b.Client.Set(t.Context(), b.FormKey(), "3", 0).Err())
	if _, err := migrate.Run(t.Context(), b.DB, migrate.Options{}); err == nil || !strings.Contains(err.Error(), `"3"`) {
		t.Errorf("data of a newer version: %v", err)
	}
	d, err := db.New(db.Options{AnyForm: true})
	b.ok(err)
	t.Cleanup(func() { _ = d.Close() })
	if _, err := migrate.Run(t.Context(), d, migrate.Options{}); !errors.Is(err, migrate.ErrEmbedded) {
		t.Errorf("an embedded Redis: %v", err)
	}
}

// A Redis that is away for a while is waited for.
func TestItGoesOnAfterRedisWasAway(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	b := newBench(t, server.URL(), nil)
	steps, waited := 0, atomic.Bool{}
	back := make(chan error, 1)
	result := b.migrate(migrate.Options{
		Most: 5,
		OnProgress: func(migrate.Result) {
			if steps++; steps == 7 {
				server.Kill()
			}
		},
		OnTrouble: func(error) {
			if !waited.Swap(true) {
				go func() { back <- server.Restart() }()
			}
		},
	})
	if err := <-back; err != nil || len(result.Unreadable) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
	b.noneLeft()
	k := b.open()
	b.sameAsBefore(k)
	b.deliverAll(k)
}
