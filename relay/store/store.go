// Package store keeps events and their deliveries in Redis: one Lua script per state change (folder lua), so that every
// step is atomic and can be asked again after a lost reply. Without a URL it runs an embedded Redis in this process's
// memory.
//
// The states of a delivery:
//
//	queued → leased → delivered
//	         leased → queued again (a retry, or released at shutdown) → leased
//	         leased → dead → redriven → queued
//	waiting behind an older update of its waybill → leased or queued, when that one is settled
//
// A lease that lapses leaves its delivery queued: it is due like any other, for whichever replica looks first. A 410
// leaves it queued too, and parks the endpoint.
//
// A few writes are no scripts, and need not be: LastCallback and Marker write one key each; TryLock and ReleaseReplay
// take back a claim that would end by itself within seconds; Orphans notes since when nobody knows an endpoint, which
// every replica may.
//
// Nothing that is open expires. The last settle of an event lets it expire after Options.Retention, or
// Options.DeadLetterRetention if it has a dead letter.
package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/queue"
	"kuairelay/relay/workers"
)

// Options of a Store. A zero field means its default.
type Options struct {
	// URL of Redis, in the forms of go-redis: redis[s]://user:password@host:port/db; Sentinel with
	// ?master_name=…&addr=…; Cluster with ?addr=…. Empty: embedded.
	URL string
	// Tag is the hash tag of all keys: two stores with different tags share nothing. Default "kuairelay".
	Tag string
	Settings
	// Brands are those that an event may be of that names none.
	Brands []string
	// History is how many attempts are kept per endpoint, about. Default 500.
	History int
	// WaitReplicas is how many Redis replicas must have an accepted event before it counts as durable. Default 0.
	WaitReplicas int
	// QuarantineCount and QuarantineBytes bound what is in quarantine, all together. Defaults 50,000 and 128 MiB.
	QuarantineCount, QuarantineBytes int
	// Timeout of one round trip. Default 1 s, 5 s if embedded.
	Timeout time.Duration
	// Clock is the local clock, a seam for tests. Default time.Now.
	Clock func() time.Time
}

// Listener is told what happens in a Store. A nil field means that nobody is.
type Listener struct {
	// State is called when Redis gets into another state than Up, and stays there after a first probe, and why; and
	// when it is Up again, after how long.
	State func(s Availability, why string, after time.Duration)
	// Delivered is called with events that were delivered to one more endpoint.
	Delivered func(ids []string)
}

// Settings of a Store are what may change while it runs (see Use). A zero field means its default. All replicas should
// have the same.
type Settings struct {
	// Window and BareWindow are dedupe.window and dedupe.bare_window. Defaults 72 h and 2 h.
	Window, BareWindow time.Duration
	// Retention of delivered events and DeadLetterRetention of the others. Defaults 48 h and 720 h.
	Retention, DeadLetterRetention time.Duration
	// SubscriptionTTL is how long the ledger keeps a waybill after it was last subscribed, SignedTTL how long after the
	// parcel was signed for, or the provider refused it. Defaults 60 and 7 days.
	SubscriptionTTL, SignedTTL time.Duration
	// SubscriptionsMax is how many waybills a tenant may have in the ledger at one time. Default 1,000,000.
	SubscriptionsMax int
	// ClaimTTL is how long one replica may take over a call to the provider, and over writing down what came of it,
	// before another takes it over. A replica that is killed costs that time, so that it is no longer than it must be.
	// Default 10 s.
	ClaimTTL time.Duration
	// UpstreamRate bounds the calls to the provider per second, over all replicas. Default 10.
	UpstreamRate float64
	// Pacing is that of endpoints, by name. One that is not among them has neither rate nor breaker.
	Pacing map[string]queue.Pacing
}

// settings are Settings with their defaults, and the pacing as the scripts read them.
type settings struct {
	Settings
	pacing map[string]pacing
}

// Use replaces the settings: what begins from now on keeps to the new ones.
func (s *Store) Use(set Settings) {
	set.Window = cmp.Or(set.Window, 72*time.Hour)
	set.BareWindow = cmp.Or(set.BareWindow, 2*time.Hour)
	set.Retention = cmp.Or(set.Retention, 48*time.Hour)
	set.DeadLetterRetention = cmp.Or(set.DeadLetterRetention, 720*time.Hour)
	set.SubscriptionTTL = cmp.Or(set.SubscriptionTTL, 60*24*time.Hour)
	set.SubscriptionsMax = cmp.Or(set.SubscriptionsMax, 1_000_000)
	set.SignedTTL = cmp.Or(set.SignedTTL, 7*24*time.Hour)
	set.ClaimTTL = cmp.Or(set.ClaimTTL, 10*time.Second)
	set.UpstreamRate = cmp.Or(set.UpstreamRate, 10)
	s.set.Store(&settings{set, encodePacing(set.Pacing)})
}

func (s *Store) settings() *settings { return s.set.Load() }

// Store is one replica's access to the shared state. All methods may be called at the same time.
type Store struct {
	o      Options
	prefix string
	client redis.UniversalClient
	memory *embedded // nil with a real Redis
	clock  clock
	health *health

	listener Listener

	replica string
	calls   atomic.Uint64
	set     atomic.Pointer[settings]

	turn   chan struct{} // of what is read, see aside
	worked time.Duration // by those who had the turn since the last rest; whoever has it uses this

	redriving chan struct{} // full until more dead letters may be redriven, see mayRedrive

	accepts workers.Batcher[acceptCall, acceptAnswer]
	settles workers.Batcher[[]settleCall, []queue.Settled]
}

// New makes a Store. It opens no connection and starts nothing; an invalid URL is an error that does not repeat it,
// because it may hold a password.
func New(o Options) (*Store, error) {
	o.Tag = cmp.Or(o.Tag, "kuairelay")
	o.History = cmp.Or(o.History, 500)
	if o.Timeout == 0 {
		o.Timeout = time.Second
		if o.URL == "" { // it cannot be out of reach, only slow
			o.Timeout = 5 * time.Second
		}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}

	id := make([]byte, 6)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	s := &Store{
		o: o, prefix: "{" + o.Tag + "}:", replica: base64.RawURLEncoding.EncodeToString(id),
		turn:      make(chan struct{}, 1),
		redriving: make(chan struct{}, 1),
	}
	s.Use(o.Settings)
	s.clock.local = o.Clock
	s.clock.read = s.readClock
	var err error
	if s.client, s.memory, err = connect(o.URL); err != nil {
		return nil, err
	}
	s.health = newHealth(o.Timeout, s.probe)
	s.health.server = serverOf(o.URL)
	s.client.AddHook(gate{s.health})

	// One call accepts at a time, so that it has more events: much of its price is that it is made. Two settle: what is
	// settled late keeps its slot for longer, and then new deliveries are queued, which costs more than the call.
	s.accepts = workers.Batcher[acceptCall, acceptAnswer]{
		Do: s.acceptAll, Weight: acceptCall.weight, Limit: maxDeliveries, Most: 1,
	}
	s.settles = workers.Batcher[[]settleCall, []queue.Settled]{
		Do: s.settleAll, Weight: func(line []settleCall) int { return len(line) }, Limit: maxOutcomes, Most: 2,
	}
	return s, nil
}

// Notify has l told what happens. It has to come before the first call.
func (s *Store) Notify(l Listener) {
	s.listener = l
	s.health.changed = l.State
}

// Embedded says whether the store lives in this process's memory.
func (s *Store) Embedded() bool { return s.memory != nil }

// Run keeps the clock in step with that of Redis, trims the list of events, and lets the keys of an embedded Redis
// expire. It returns nil when ctx is cancelled.
func (s *Store) Run(ctx context.Context) error {
	sync := time.NewTicker(10 * time.Second)
	defer sync.Stop()
	trim := time.NewTicker(time.Minute)
	defer trim.Stop()
	var expire <-chan time.Time
	if s.memory != nil {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		expire = tick.C
	}

	// A failure leaves the last offset in place; whoever uses Redis next reports that it is down.
	_ = s.clock.sync(ctx)
	_ = s.adoptReplays(ctx)
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sync.C:
			_ = s.clock.sync(ctx)
		case <-trim.C:
			_ = s.Trim(ctx) // what it leaves it finds the next time
		case <-expire:
			// Not miniredis' own ClockTTL: that looks at every key before every command.
			now := time.Now()
			s.memory.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Close closes the connections, and ends an embedded Redis with all its data.
func (s *Store) Close() error {
	s.health.close()
	err := s.client.Close()
	if s.memory != nil {
		s.memory.Close()
	}
	return err
}

// Now is the time by the clock of Redis, as far as it is known. Replicas agree on it.
func (s *Store) Now() time.Time { return s.clock.now() }

// Ready returns nil if Redis would accept an event now.
func (s *Store) Ready(ctx context.Context) error {
	if _, err := s.Availability(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if err := s.check(ctx); err != nil {
		if t := s.health.troubleOf(err); t != nil {
			s.health.set(t)
			return t
		}
		return fmt.Errorf("write to redis: %w", err)
	}
	return nil
}

// probe is Ready for the prober: it asks whatever is known, brings what is known of the Cluster up to date, and the
// clock.
func (s *Store) probe(ctx context.Context) error {
	err := s.check(ctx)
	if cluster, ok := s.client.(*redis.ClusterClient); ok && err != nil {
		cluster.ReloadState(ctx)
	}
	if err == nil {
		err = s.clock.sync(ctx)
	}
	return err
}

func (s *Store) check(ctx context.Context) error {
	if s.o.WaitReplicas == 0 {
		return readyScript.Run(ctx, s.client, []string{s.prefix}).Err()
	}
	conn, err := s.conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := readyScript.Run(ctx, conn, []string{s.prefix}).Err(); err != nil {
		return err
	}
	return s.replicated(ctx, conn)
}

// readClock asks for the time of the store; see lua/clock.lua.
func (s *Store) readClock(ctx context.Context, moves int64, step time.Duration) (time.Time, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	t, err := clockScript.Run(ctx, s.client, []string{s.prefix}, moves, step.Milliseconds()).Int64Slice()
	if err == nil && len(t) != 2 {
		err = errShape
	}
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("ask redis for the time: %w", err)
	}
	return time.UnixMicro(t[0]), t[1], nil
}

// wrap names the step that failed. A method that may fail in several places defers it.
func wrap(err *error, step string) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", step, *err)
	}
}

// newCall names one call of a script: unique over replicas and restarts, so that it can be asked again, and used as the
// token of the leases that it gives.
func (s *Store) newCall() string {
	return s.replica + strconv.FormatUint(s.calls.Add(1), 36)
}

// anySize is the size of an answer that may have any number of values.
const anySize = -1

// call runs a script whose first argument is the time of the store, in at most two round trips' time. size is how many
// values its answer has.
func (s *Store) call(ctx context.Context, script *redis.Script, size int, args ...any) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return nil, err
	}
	answer, err := s.run(ctx, script, append([]any{s.Now().UnixMilli()}, args...))
	if err == nil && size != anySize && len(answer) != size {
		err = errShape
	}
	return answer, err
}

// run runs a script, and asks again when Redis has got over a trouble, until ctx ends: a script that ran although its
// reply was lost gives the same answer to the same call id.
func (s *Store) run(ctx context.Context, script *redis.Script, args []any) ([]any, error) {
	return s.repeat(ctx, func(ctx context.Context) ([]any, error) {
		return script.Run(ctx, s.client, []string{s.prefix}, args...).Slice()
	})
}

func (s *Store) repeat(ctx context.Context, ask func(context.Context) ([]any, error)) ([]any, error) {
	for {
		if err := s.health.wait(ctx, false); err != nil {
			return nil, err
		}
		answer, err := s.once(ctx, ask)
		if t := troubleOf(err); t == nil || t.state != Down || ctx.Err() != nil {
			return answer, err
		}
		s.health.saw(err)
	}
}

func (s *Store) once(ctx context.Context, ask func(context.Context) ([]any, error)) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	return ask(ctx)
}
