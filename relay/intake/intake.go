// Package intake makes callbacks durable: in Redis, or, if Redis does not take them in time, in the spool. From there
// it takes them to Redis later.
//
// Keep is called for each callback, and returns when it is durable:
//
//	Redis takes events              → routed, accepted in one script; attempts start at once
//	Redis is down, full or slow     → a file of the spool; the drain takes it to Redis, oldest first
//	an older one of its waybill is
//	in the spool                    → a file of the spool, behind that
//	Redis is embedded               → always a file of the spool, which stays until all its events are delivered
//	the spool cannot take it either → an error, and kuaidihelp sends the callback again
package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/logonce"
	"kuairelay/relay/queue"
	"kuairelay/relay/spool"
	"kuairelay/relay/stats"
	"kuairelay/relay/workers"
)

// acceptBudget is how long a callback waits for Redis before it goes to the spool. routeBudget is how long it waits
// before that for the expressions of tenants: if these are slow, Redis is not to blame.
const (
	acceptBudget = 300 * time.Millisecond
	routeBudget  = 200 * time.Millisecond
)

var errTooFast = errors.New("catch up: updates of the waybill come too fast")

// Store is what Intake needs of the store.
type Store interface {
	// Available returns nil if Redis takes events, as far as the last calls have shown, and otherwise why it does not.
	Available() error
	// WaitUp returns when Redis takes events, or with an error when ctx ends before.
	WaitUp(ctx context.Context) error
	// SuspectDown tells the store that Redis has not answered for so long: nobody waits for Redis before it takes a write.
	SuspectDown(span time.Duration)

	Accept(ctx context.Context, routed []queue.Routed) ([]queue.Accepted, error)
	// Quarantine keeps what was not understood. Without push the error is event.ErrQuarantineFull if there is no room;
	// with push the oldest are removed instead, and it returns how many.
	Quarantine(ctx context.Context, qs []event.Quarantined, push bool) (pushed int, err error)
	// Closed says of each event whether it is done with: nothing is open or dead.
	Closed(ctx context.Context, ids []string) ([]bool, error)
	// EventWithoutData returns an event, and whether it is there.
	EventWithoutData(ctx context.Context, id, tenant string) (*event.Record, bool, error)

	// SubscribedBy says of each of the tenants whether it has subscribed a waybill.
	SubscribedBy(ctx context.Context, w event.Waybill, tenants []string) ([]bool, error)
	// Latest returns the last known event of a waybill; nil if none is known.
	Latest(ctx context.Context, w event.Waybill) (*event.Event, bool, error)
	CatchUp(ctx context.Context, tenant string, w event.Waybill, last *event.Event,
		to []queue.Candidate) (queue.CatchUpResult, error)
}

// Pool is what Intake needs of the delivery pool.
type Pool interface {
	// Reserve takes a slot of an endpoint, if one is free. Each has to be given back by Start.
	Reserve(endpoint string) bool
	// Lease is how long deliveries of an endpoint are leased; 0 if the endpoint is unknown.
	Lease(endpoint string) time.Duration
	// Start attempts deliveries that were leased for reserved slots, and gives the other slots back.
	Start(reserved map[string]int, leased []*event.Delivery)
	// Feed says that something is due for an endpoint.
	Feed(endpoint string)
	// AwaitHeld returns when no outcome waits for Redis any more, or after a pause.
	AwaitHeld(ctx context.Context, most time.Duration)
}

// Options of an Intake. Store, Pool and Spool are required; another zero field means its default.
type Options struct {
	Store Store
	Pool  Pool
	Spool *spool.Spool
	// Replica names this relay in what it keeps of answers of the provider.
	Replica string
	// UntilDelivered keeps each callback in the spool until its events are delivered. It is for an embedded store, which
	// loses its data when the process ends.
	UntilDelivered bool
	// Permanent says of an error of Accept that the same call will fail again. Default: false.
	Permanent func(error) bool
	// Stats counts items of callbacks. Default: nothing does.
	Stats    *stats.Counters
	Logger   *zap.Logger
	Registry prometheus.Registerer
}

// Intake makes callbacks durable. All methods may be called at the same time.
type Intake struct {
	o           Options
	log         *zap.Logger
	spool       *spool.Spool
	undelivered *undelivered // nil with a real Redis
	drain       drainer
	routing     atomic.Pointer[routing]
	workers     *workers.Group
	metrics     *metrics

	large      sync.Locker      // one large callback is read or written at a time, to leave processor and disk to others
	slowRoutes logonce.Throttle // warned of
	pushed     atomic.Int64     // see Stats.Pushed
	adopted    chan struct{}
}

// New makes an Intake. It needs Use before the first callback, and Run. New does not touch the disk.
func New(o Options) *Intake {
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	if o.Permanent == nil {
		o.Permanent = func(error) bool { return false }
	}

	in := &Intake{
		o:       o,
		log:     o.Logger,
		spool:   o.Spool,
		workers: workers.New(),
		metrics: newMetrics(o.Registry, cmp.Or(o.Stats, stats.NewCounters(time.Now))),
		large:   new(sync.Mutex),
		adopted: make(chan struct{}),
	}
	in.drain.intake = in
	in.drain.parts = make(map[*spool.File]event.Summary)
	if o.UntilDelivered {
		in.undelivered = newUndelivered(in)
	}
	return in
}

// Run takes callbacks from the spool to Redis, also those of processes that have ended, until ctx ends.
func (in *Intake) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { in.adopt(ctx) })
	if in.undelivered != nil {
		running.Go(func() { in.undelivered.run(ctx) })
	}
	for range drainWorkers {
		running.Go(func() { in.drain.run(ctx) })
	}
	running.Wait()
}

// Adopted is closed when it is known what other processes have left in the spool. Until then, all callbacks go to the
// spool.
func (in *Intake) Adopted() <-chan struct{} { return in.adopted }

// Close removes the files whose events were delivered last, and closes the spool. Everything else must have ended.
func (in *Intake) Close() error {
	if in.undelivered != nil {
		in.undelivered.sweep(context.Background())
	}
	return in.spool.Close()
}

// Delivered takes notice of events that were delivered to one more endpoint.
func (in *Intake) Delivered(ids []string) {
	if in.undelivered != nil {
		in.undelivered.delivered(ids)
	}
}

// Stats is what has happened to callbacks since the start.
type Stats struct {
	// Drained and Quarantined are callbacks that the drain has taken to Redis: as events, and to quarantine.
	Drained, Quarantined int64
	// Pushed is how many were removed from a full quarantine, to keep something newer.
	Pushed int64
}

// Stats says what has happened to callbacks since the start.
func (in *Intake) Stats() Stats {
	return Stats{
		Drained:     in.drain.drained.Load(),
		Quarantined: in.drain.quarantined.Load(),
		Pushed:      in.pushed.Load(),
	}
}

// Keep returns when a callback is durable: in Redis, or in the spool, as the table above says. parsed is what the
// callback holds, or with more its first part.
//
// Keep owns parsed.Events until it returns. After an error, or if the summary says Spooled, it keeps them: the call to
// Redis may still be running.
func (in *Intake) Keep(ctx context.Context, cb *event.Callback, parsed kuaidihelp.Result,
	more bool) (event.Summary, error) {
	if more {
		return in.keepLarge(ctx, cb)
	}
	waybills := waybillsOf(parsed.Events)
	if in.undelivered != nil {
		return in.viaSpool(ctx, cb, waybills)
	}

	// If Redis does not take events, or an older update of the waybill waits in the spool, the callback goes to the spool
	// at once.
	why := in.o.Store.Available()
	if why != nil || in.spool.Touches(waybills) {
		_, err := in.spool.Put(cb, slices.Values(waybills), nil)
		if err != nil {
			return event.Summary{}, errors.Join(why, err)
		}
		return event.Summary{Spooled: true}, nil
	}

	p := pending{callback: cb, parsed: parsed, routed: make(chan struct{})}
	done := in.begin(context.WithoutCancel(ctx), []pending{p})
	o, ended := in.await(p.routed, done)
	if ended {
		in.metrics.count(o.sum)
		if o.err == nil || errors.Is(o.err, event.ErrQuarantineFull) {
			return o.sum, o.err
		}
	}

	// Redis took too long, or has failed. The call goes on by itself. If it succeeds, the file is withdrawn.
	twice := &askedTwice{}
	file, err := in.spool.Put(cb, slices.Values(waybills), twice)
	if err != nil {
		return in.lastChance(done, errors.Join(o.err, err))
	}
	go in.withdraw(done, file, twice)
	return event.Summary{Spooled: true}, nil
}

// keepLarge keeps a callback with more events than fit into memory. It goes to the spool, and from there to Redis in
// parts, which may take minutes.
func (in *Intake) keepLarge(ctx context.Context, cb *event.Callback) (event.Summary, error) {
	in.large.Lock()
	_, err := in.spool.Put(cb, kuaidihelp.Waybills(cb.Headers["Content-Type"], cb.Body), nil)
	in.large.Unlock()
	if err == nil {
		return event.Summary{Spooled: true}, nil
	}

	why := in.o.Store.Available()
	if in.undelivered != nil || why != nil || errors.Is(err, spool.ErrWaybills) {
		return event.Summary{}, errors.Join(why, err)
	}

	// Redis takes as much of it as it can while the provider waits. When the callback comes again, these events are
	// duplicates.
	o := in.acceptLarge(ctx, pending{callback: cb})
	in.metrics.count(o.sum)
	return o.sum, o.err
}

// await waits for the outcome of a callback, as long as its routing and then Redis may take.
func (in *Intake) await(routed <-chan struct{}, done <-chan outcome) (o outcome, ended bool) {
	budget := time.NewTimer(routeBudget)
	defer budget.Stop()
	select {
	case <-routed:
	case <-budget.C:
		if in.slowRoutes.Allow(time.Minute) {
			in.log.Warn("callbacks wait for the when expressions of routes, and go to the spool:"+
				" some expressions are costly, or the processor is busy", zap.Duration("longer_than", routeBudget))
		}
		return outcome{err: fmt.Errorf("the when expressions of its routes took longer than %s", routeBudget)}, false
	}

	budget.Reset(acceptBudget)
	select {
	case o = <-done:
		return o, true
	case <-budget.C:
		in.o.Store.SuspectDown(acceptBudget)
		return outcome{err: fmt.Errorf("redis did not answer within %s", acceptBudget)}, false
	}
}

// lastChance waits once more for Redis, if the spool does not take a callback; not if the callback has waited for the
// disk already. why is the error to return if Redis does not take it either.
func (in *Intake) lastChance(done <-chan outcome, why error) (event.Summary, error) {
	wait := acceptBudget
	if errors.Is(why, spool.ErrHangs) {
		wait = 0
	}
	select {
	case o, ended := <-done:
		in.metrics.count(o.sum)
		if ended && o.err == nil {
			return o.sum, nil
		}
	case <-time.After(wait):
	}
	return event.Summary{}, why
}

// withdraw takes a callback out of the spool if Redis has accepted it after the budget. If the drain was faster, Redis
// gets the callback twice.
func (in *Intake) withdraw(done <-chan outcome, file *spool.File, twice *askedTwice) {
	o, late := <-done // not late: it has failed before
	if late && o.err == nil && in.spool.Withdraw(file) {
		in.remove([]*spool.File{file})
		in.metrics.count(o.sum)
		return
	}
	twice.add(o.sum, in.metrics.count)
}

// askedTwice counts a callback once that Redis gets twice: from a call that took too long, and from the drain. Either
// may be the one that finds its events new.
type askedTwice struct {
	mu    sync.Mutex
	first *event.Summary
}

// add notes the result of one of the two calls, and counts when both are known.
func (t *askedTwice) add(sum event.Summary, count func(event.Summary)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == nil {
		t.first = &sum
		return
	}

	count(together(*t.first, sum))
}

// together sums up the results of two calls for the same callback. What is new to one of them is a duplicate to the
// other. A call that failed has a result for a part at most.
func together(a, b event.Summary) event.Summary {
	both := a
	both.Add(b)
	both.Duplicates = max(0, a.Duplicates-b.New, b.Duplicates-a.New)
	both.Quarantined = max(a.Quarantined, b.Quarantined)
	return both
}

// viaSpool keeps a callback in the spool, and waits a little for its outcome.
func (in *Intake) viaSpool(ctx context.Context, cb *event.Callback, waybills []string) (event.Summary, error) {
	became := make(chan event.Summary, 1)
	_, err := in.spool.Put(cb, slices.Values(waybills), became)
	if err != nil {
		return event.Summary{}, err
	}

	ctx, cancel := context.WithTimeout(ctx, acceptBudget)
	defer cancel()
	select {
	case sum := <-became:
		return sum, nil
	case <-ctx.Done():
		return event.Summary{Spooled: true}, nil
	}
}

// remove deletes files of the spool. If a file cannot be deleted, the next process takes it over, and its events are
// duplicates.
func (in *Intake) remove(files []*spool.File) {
	if len(files) == 0 {
		return
	}
	if err := in.spool.Remove(files); err != nil {
		in.log.Error("cannot remove files of the spool", zap.Error(err))
	}
}
