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
// A delivery whose lease has lapsed is still queued: it is due like any other, for the replica that looks first. An
// endpoint that answers 410 is parked, and the delivery stays queued.
//
// A few writes need no script: LastCallback and Marker write one key each; TryLock takes a lock that ends by itself;
// Orphans notes since when no replica knows an endpoint, which every replica may.
//
// Nothing that is open expires. The last settle of an event lets it expire after Options.Retention, or
// Options.DeadLetterRetention if it has a dead letter.
package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/ledger"
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
	// Brands are the brands that an event may have that names none.
	Brands []string
	// Replica is the name of this replica for people, the name of a host. Default: none is told.
	Replica string
	// History is about how many attempts are kept per endpoint. Default 500.
	History int
	// WaitReplicas is how many Redis replicas must have an accepted event before it counts as durable. Default 0.
	WaitReplicas int
	// QuarantineCount and QuarantineBytes bound the quarantine as a whole. Defaults 50,000 and 128 MiB.
	QuarantineCount, QuarantineBytes int
	// AuditCount bounds the audit as a whole, and AuditShare what it has of one tenant; the operator has eight times as
	// much. Defaults 5,000 and 250.
	AuditCount, AuditShare int
	// Timeout of one round trip. Default 1 s, 5 s if embedded.
	Timeout time.Duration
	// Clock is the local clock; tests replace it. Default time.Now.
	Clock func() time.Time
}

// Listener has functions that a Store calls. A field may be nil.
type Listener struct {
	// OnAvailability is called when Redis is not Up, and stays so after a first probe, with the reason; and when it is Up
	// again, with how long that took.
	OnAvailability func(s Availability, why string, after time.Duration)
	// OnDelivered is called with the ids of events that were delivered to one more endpoint.
	OnDelivered func(ids []string)
}

// Settings of a Store are what may change while it runs (see Use). A zero field means its default. All replicas should
// have the same.
type Settings struct {
	// Window and BareWindow are dedupe.window and dedupe.bare_window. Defaults 72 h and 2 h.
	Window, BareWindow time.Duration
	// Retention of delivered events and DeadLetterRetention of the others. Defaults 48 h and 720 h.
	Retention, DeadLetterRetention time.Duration
	// SubscriptionTTL is how long the ledger keeps a waybill after it was last subscribed. SignedTTL is how long it keeps
	// one after the parcel was signed for, or after the provider refused it. Defaults 60 and 7 days.
	SubscriptionTTL, SignedTTL time.Duration
	// NoRecord is when the provider is asked again for a waybill of which it has no record yet: the pause after each such
	// answer. When it ends, the waybill fails. Default: it fails at once.
	NoRecord []time.Duration
	// SubscriptionsMax is how many waybills a tenant may have in the ledger at one time. Default 1,000,000.
	SubscriptionsMax int
	// ClaimTTL is how long a replica may take for a call to the provider and for writing down the answer, before another
	// replica takes the work over. If a replica is killed, its work waits for that time, so it is short. Default 10 s.
	ClaimTTL time.Duration
	// UpstreamRate bounds the calls to the provider per second, over all replicas. Default 10.
	UpstreamRate float64
	// Silence says when the provider is asked how waybills stand, and QueryRate bounds these calls per second, over all
	// replicas. Default: it is not asked.
	Silence   ledger.Silence
	QueryRate float64
	// StatsTTL is how long statistics by minutes are kept. Default 25 h.
	StatsTTL time.Duration
	// Pacing has the pacing of endpoints by name. An endpoint that is not in it has neither rate nor breaker.
	Pacing map[string]queue.Pacing
}

// settings are Settings with their defaults, and the pacing as the scripts read them.
type settings struct {
	Settings
	pacing map[string]pacing
	// schedule is NoRecord as lua/answer.lua reads it.
	schedule string
}

// Use replaces the settings for all that begins from now on.
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
	set.StatsTTL = cmp.Or(set.StatsTTL, 25*time.Hour)
	var waits []string
	for _, wait := range set.NoRecord {
		waits = append(waits, strconv.FormatInt(max(1, wait.Milliseconds()), 10))
	}
	s.set.Store(&settings{set, encodePacing(set.Pacing), strings.Join(waits, " ")})
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

// New makes a Store. It opens no connection and starts nothing. The error for an invalid URL does not repeat the URL,
// which may hold a password.
func New(o Options) (*Store, error) {
	o.Tag = cmp.Or(o.Tag, "kuairelay")
	o.History = cmp.Or(o.History, 500)
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

	// One call accepts at a time, so that it gets more events: much of the cost is the call itself. Two calls settle: an
	// outcome that is settled late keeps its slot for longer, new deliveries are then queued, and that costs more than the
	// call.
	s.accepts = workers.Batcher[acceptCall, acceptAnswer]{
		Do: s.acceptAll, Weight: acceptCall.weight, Limit: maxDeliveries, Most: 1,
	}
	s.settles = workers.Batcher[[]settleCall, []queue.Settled]{
		Do: s.settleAll, Weight: func(line []settleCall) int { return len(line) }, Limit: maxOutcomes, Most: 2,
	}
	return s, nil
}

// Notify sets the listener. It has to come before the first call.
func (s *Store) Notify(l Listener) {
	s.listener = l
	s.health.changed = l.OnAvailability
}

// Embedded says whether the store lives in this process's memory.
func (s *Store) Embedded() bool { return s.memory != nil }

// Run keeps the clock in step with Redis, trims the list of events, has lines go on that stand still, and lets the keys
// of an embedded Redis expire. It returns nil when ctx is cancelled.
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

	// After a failure the last offset stays in use. The next call reports that Redis is down.
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
			_ = s.Tidy(ctx) // the next run finds what is left
		case <-expire:
			// miniredis' own ClockTTL would check every key before every command.
			now := time.Now()
			s.memory.FastForward(now.Sub(last))
			last = now
		}
	}
}

// Tidy takes what has expired out of the list of events, and lets lines of updates that are sent again go on whose head
// is closed without having moved them. Run does it every minute.
func (s *Store) Tidy(ctx context.Context) error {
	return errors.Join(s.trim(ctx), s.advanceLines(ctx))
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

// Now returns the time by the clock of Redis, as far as it is known. All replicas have the same.
func (s *Store) Now() time.Time { return s.clock.now() }

// Ready returns nil if Redis would accept an event now.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.Available(); err != nil {
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

// probe is Ready for the prober: it asks Redis even if that is down, and updates the clock and what is known of the
// Cluster.
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

// newCall returns the id of one call of a script. It is unique over replicas and restarts, so that the call can be
// asked again, and can serve as the token of the leases that the call brings.
func (s *Store) newCall() string {
	return s.replica + strconv.FormatUint(s.calls.Add(1), 36)
}

// anySize is the size of an answer that may have any number of values.
const anySize = -1

// call runs a script whose first argument is the time of the store. It takes at most two round trips. size is how many
// values the answer has.
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

// run runs a script, and asks again after each trouble of Redis, until ctx ends. A script that ran although its answer
// was lost gives the same answer to the same call id.
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
