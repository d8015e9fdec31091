// Package store keeps events and their deliveries in Redis: one Lua script per state change (folder lua), so that every
// step is atomic and can be asked again after a lost reply. Package db reaches Redis; subscriptions and replays keep
// the ledger and the list of replays there.
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
// A few writes need no script: LastCallback writes one key; Orphans notes since when no replica knows an endpoint,
// which every replica may.
//
// Nothing that is open expires. The last settle of an event lets it expire after Options.Retention, or
// Options.DeadLetterRetention if it has a dead letter.
package store

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/subscriptions"
	"kuairelay/relay/workers"
)

// Options of a Store. A zero field means its default.
type Options struct {
	Settings
	// Brands are the brands that an event may have that names none.
	Brands []string
	// Replica is the name of this replica for people, the name of a host. Default: none is told.
	Replica string
	// History is about how many attempts are kept per endpoint. Default 500.
	History int
	// QuarantineCount and QuarantineBytes bound the quarantine as a whole. Defaults 50,000 and 128 MiB.
	QuarantineCount, QuarantineBytes int
	// AuditCount bounds the audit as a whole, and AuditShare what it has of one tenant; the operator has eight times as
	// much. Defaults 5,000 and 250.
	AuditCount, AuditShare int
}

// Settings of a Store are what may change while it runs (see Use). A zero field means its default. All replicas should
// have the same.
type Settings struct {
	// Window and BareWindow are dedupe.window and dedupe.bare_window. Defaults 72 h and 2 h.
	Window, BareWindow time.Duration
	// Retention of delivered events and DeadLetterRetention of the others. Defaults 48 h and 720 h.
	Retention, DeadLetterRetention time.Duration
	// SubscriptionTTL and SignedTTL are TTL and SignedTTL of subscriptions.Settings: an update of a waybill may make its
	// entry of the ledger live on.
	SubscriptionTTL, SignedTTL time.Duration
	// StatsTTL is how long statistics by minutes are kept. Default 25 h.
	StatsTTL time.Duration
	// Pacing has the pacing of endpoints by name. An endpoint that is not in it has neither rate nor breaker.
	Pacing map[string]queue.Pacing
}

// settings are Settings with their defaults, and the pacing as the scripts read them.
type settings struct {
	Settings
	pacing map[string]pacing
}

// Use replaces the settings for all that begins from now on.
func (s *Store) Use(set Settings) {
	set.Window = cmp.Or(set.Window, 72*time.Hour)
	set.BareWindow = cmp.Or(set.BareWindow, 2*time.Hour)
	set.Retention = cmp.Or(set.Retention, 48*time.Hour)
	set.DeadLetterRetention = cmp.Or(set.DeadLetterRetention, 720*time.Hour)
	set.SubscriptionTTL = cmp.Or(set.SubscriptionTTL, subscriptions.TTL)
	set.SignedTTL = cmp.Or(set.SignedTTL, subscriptions.SignedTTL)
	set.StatsTTL = cmp.Or(set.StatsTTL, 25*time.Hour)
	s.set.Store(&settings{set, encodePacing(set.Pacing)})
}

func (s *Store) settings() *settings { return s.set.Load() }

// Store is one replica's access to the shared state. All methods may be called at the same time.
type Store struct {
	o   Options
	db  *db.DB
	set atomic.Pointer[settings]

	onDelivered func(ids []string)

	redriving chan struct{} // full until more dead letters may be redriven, see mayRedrive

	accepts workers.Batcher[acceptCall, acceptAnswer]
	settles workers.Batcher[[]settleCall, []queue.Settled]
}

// New makes a Store in a Redis. It starts nothing.
func New(d *db.DB, o Options) *Store {
	o.History = cmp.Or(o.History, 500)
	s := &Store{o: o, db: d, redriving: make(chan struct{}, 1)}
	s.Use(o.Settings)

	// One call accepts at a time, so that it gets more events: much of the cost is the call itself. Two calls settle: an
	// outcome that is settled late keeps its slot for longer, new deliveries are then queued, and that costs more than the
	// call.
	s.accepts = workers.Batcher[acceptCall, acceptAnswer]{
		Do: s.acceptAll, Weight: acceptCall.weight, Limit: maxDeliveries, Most: 1,
	}
	s.settles = workers.Batcher[[]settleCall, []queue.Settled]{
		Do: s.settleAll, Weight: func(line []settleCall) int { return len(line) }, Limit: maxOutcomes, Most: 2,
	}
	return s
}

// OnDelivered sets a function that is called with the ids of events that were delivered to one more endpoint. It has to
// come before the first call.
func (s *Store) OnDelivered(delivered func(ids []string)) { s.onDelivered = delivered }

// Run does what Tidy does, every minute. It returns nil when ctx is cancelled.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = s.Tidy(ctx) // the next run finds what is left
		}
	}
}

// Tidy deletes the events that have been closed for long, and lets lines of updates that are sent again go on whose
// head is closed without having moved them.
func (s *Store) Tidy(ctx context.Context) error {
	return errors.Join(s.trim(ctx), s.advanceLines(ctx))
}
