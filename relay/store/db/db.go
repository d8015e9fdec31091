// Package db reaches the Redis that everything is kept in: with one client, whose health is known, on one clock, by
// scripts that are asked again after a lost reply, and by reads in slices that leave Redis to others in between.
// Without a URL it runs an embedded Redis in this process's memory.
//
// What is kept, and how, is for the packages above it to know. Only the table of keys at the head of lua/lib/base.lua
// is that of all of them: all keys share one hash tag, and a script may touch any of them.
package db

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options of a DB. A zero field means its default.
type Options struct {
	// URL of Redis, in the forms of go-redis: redis[s]://user:password@host:port/db; Sentinel with
	// ?master_name=…&addr=…; Cluster with ?addr=…. Empty: embedded.
	URL string
	// Tag is the hash tag of all keys: two with different tags share nothing. Default "kuairelay".
	Tag string
	// WaitReplicas is how many Redis replicas must have what is written durably. Default 0.
	WaitReplicas int
	// Timeout of one round trip. Default 1 s, 5 s if embedded.
	Timeout time.Duration
	// Clock is the local clock; tests replace it. Default time.Now.
	Clock func() time.Time
	// AnyForm has it use a Redis whose data are in another form, to move them.
	AnyForm bool
}

// DB is one replica's access to Redis. All methods may be called at the same time.
type DB struct {
	// Client makes commands. While Redis is down, they fail at once.
	Client redis.UniversalClient
	// Prefix is what all keys begin with, and the one key that a script is given.
	Prefix string
	// ID tells this process from all others.
	ID string
	// Timeout is that of one round trip.
	Timeout time.Duration

	waitReplicas int
	anyForm      bool
	memory       *embedded // nil with a real Redis
	clock        clock
	health       *health
	calls        atomic.Uint64
	firstCall    [callBytes]byte // what is random in the id of a call

	turn   chan struct{} // of what is read, see InTurn
	worked time.Duration // by those who had the turn since the last rest; whoever has it uses this
}

// New makes a DB. It opens no connection and starts nothing. The error for an invalid URL does not repeat the URL,
// which may hold a password.
func New(o Options) (*DB, error) {
	if o.Timeout == 0 {
		o.Timeout = time.Second
		if o.URL == "" { // it can be slow, but not out of reach
			o.Timeout = 5 * time.Second
		}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}

	id := make([]byte, 6)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	d := &DB{
		Prefix:       "{" + cmp.Or(o.Tag, "kuairelay") + "}" + Form + ":",
		ID:           base64.RawURLEncoding.EncodeToString(id),
		Timeout:      o.Timeout,
		waitReplicas: o.WaitReplicas,
		anyForm:      o.AnyForm,
		turn:         make(chan struct{}, 1),
	}
	_, _ = rand.Read(d.firstCall[:])
	d.clock.local = o.Clock
	d.clock.read = d.readClock
	var err error
	if d.Client, d.memory, err = connect(o.URL); err != nil {
		return nil, err
	}
	d.health = newHealth(o.Timeout, d.probe)
	d.health.server = serverOf(o.URL)
	d.health.enter = func(ctx context.Context) error { return d.checkForm(ctx, false) }
	d.health.entered.Store(d.memory != nil || o.AnyForm)
	d.Client.AddHook(gate{d.health})
	return d, nil
}

// OnAvailability sets a function that is called when Redis is not Up, and stays so after a first probe, with the
// reason; and when it is Up again, with how long that took. It has to come before the first call.
func (d *DB) OnAvailability(changed func(now Availability, why string, after time.Duration)) {
	d.health.changed = changed
}

// Embedded says whether everything lives in this process's memory.
func (d *DB) Embedded() bool { return d.memory != nil }

// Run keeps the clock in step with Redis, and lets the keys of an embedded Redis expire. It returns nil when ctx is
// cancelled.
func (d *DB) Run(ctx context.Context) error {
	sync := time.NewTicker(10 * time.Second)
	defer sync.Stop()
	var expire <-chan time.Time
	if d.memory != nil {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		expire = tick.C
	}

	// After a failure the last offset stays in use. The next call reports that Redis is down.
	_ = d.EnsureClock(ctx)
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sync.C:
			_ = d.clock.sync(ctx)
		case <-expire:
			// miniredis' own ClockTTL would check every key before every command.
			now := time.Now()
			d.memory.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Close closes the connections, and ends an embedded Redis with all its data.
func (d *DB) Close() error {
	d.health.close()
	err := d.Client.Close()
	if d.memory != nil {
		d.memory.Close()
	}
	return err
}

// Key is a key by its name.
func (d *DB) Key(name string) string { return d.Prefix + name }

// Now returns the time by the clock of Redis, as far as it is known. All replicas have the same.
func (d *DB) Now() time.Time { return d.clock.now() }

// EnsureClock asks for the time if it was never told. Before that it tries the commands that will be needed, and looks
// in which form the data are.
func (d *DB) EnsureClock(ctx context.Context) error {
	if d.clock.synced() {
		return nil
	}
	if err := d.tryCommands(entering(ctx)); err != nil {
		d.health.saw(err)
		return err
	}
	if err := d.clock.sync(ctx); err != nil {
		return err
	}
	err := d.checkForm(ctx, true)
	d.health.saw(err)
	return err
}

// Ready returns nil if Redis would accept an event now.
func (d *DB) Ready(ctx context.Context) error {
	if err := d.Available(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	if err := d.check(ctx); err != nil {
		if t := d.health.troubleOf(err); t != nil {
			d.health.set(t)
			return t
		}
		return fmt.Errorf("write to redis: %w", err)
	}
	return nil
}

// probe is Ready for the prober: it asks Redis even if that is down, tries all commands, looks in which form the data
// are, and updates the clock and what is known of the Cluster.
func (d *DB) probe(ctx context.Context) error {
	err := d.tryCommands(ctx)
	if err == nil {
		err = d.checkForm(ctx, true)
	}
	if err == nil {
		err = d.check(ctx)
	}
	if cluster, ok := d.Client.(*redis.ClusterClient); ok && err != nil {
		cluster.ReloadState(ctx)
	}
	if err == nil {
		err = d.clock.sync(ctx)
	}
	return err
}

func (d *DB) check(ctx context.Context) error {
	if d.waitReplicas == 0 {
		return readyScript.Run(ctx, d.Client, []string{d.Prefix}).Err()
	}
	conn, err := d.conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := readyScript.Run(ctx, conn, []string{d.Prefix}).Err(); err != nil {
		return err
	}
	return d.replicated(ctx, conn)
}

// readClock asks for the time of the store; see lua/clock.lua.
func (d *DB) readClock(ctx context.Context, moves int64, step time.Duration) (time.Time, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	t, err := clockScript.Run(ctx, d.Client, []string{d.Prefix}, moves, step.Milliseconds()).Int64Slice()
	if err == nil && len(t) != 2 {
		err = ErrShape
	}
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("ask redis for the time: %w", err)
	}
	return time.UnixMicro(t[0]), t[1], nil
}

// RoundTrip runs commands in one round trip. What is not there is no error.
func (d *DB) RoundTrip(ctx context.Context, fill func(redis.Pipeliner)) error {
	_, err := d.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		fill(p)
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}
