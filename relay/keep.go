package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/spool"
	"kuairelay/relay/store"
	"kuairelay/relay/workers"
)

// acceptBudget is how long a callback waits for Redis before it goes to the spool, and routeBudget how long it waits before
// that for the expressions of tenants: if these are slow, Redis is not.
const (
	acceptBudget = 300 * time.Millisecond
	routeBudget  = 200 * time.Millisecond
)

// partItems and partBytes bound what of a large callback is taken to Redis at one time: others have their turn in between.
const (
	partItems = 64
	partBytes = 256 << 10
)

// keeper makes callbacks durable: in Redis, or, where that does not take them in time, in the spool, from where drain takes
// them to Redis later. With an embedded Redis every callback goes that way, and its file stays until it is delivered.
type keeper struct {
	acceptor *acceptor
	store    *store.Store
	spool    *spool.Spool
	open     *tracker // nil with a real Redis
	advice   *adviser
	count    func(event.Summary)
	slow     slowRoutes
	pushed   atomic.Int64 // out of quarantine by others
	large    sync.Mutex   // one large callback is written at a time: others have the rest of the processor, and of the disk
	crew     *workers.Crew
	log      *zap.Logger
}

// start runs what the spool needs, and returns when it is known what other processes have left in it, or soon.
func (k *keeper) start(ctx context.Context, running *sync.WaitGroup) {
	adopted := make(chan struct{})
	running.Go(func() { k.adopt(ctx, adopted) })
	running.Go(func() { k.advice.run(ctx) })
	if k.open != nil {
		running.Go(func() { k.open.run(ctx) })
	}
	select {
	case <-adopted:
	case <-time.After(time.Second):
	}
}

// close lets go of the spool, after everything else has ended.
func (k *keeper) close() error {
	if k.open != nil {
		k.open.look(context.Background()) // at the last deliveries
	}
	return k.spool.Close()
}

// onState logs what becomes of Redis.
func (k *keeper) onState(s store.State, why string, after time.Duration) {
	if s == store.Up {
		k.log.Info("redis takes events again", zap.Duration("after", after), zap.Int("spooled", k.spool.Stats().Waiting))
		return
	}
	k.log.Warn("redis cannot take events: callbacks go to the spool", zap.String("redis", k.store.Address()), zap.Stringer("state", s), zap.String("why", why))
}

func (k *keeper) onDelivered(ids []string) {
	if k.open != nil {
		k.open.onDelivered(ids)
	}
}

// waits says whether an update of a waybill waits in this replica's spool.
func (k *keeper) waits(waybill string) bool {
	return k.spool.Stats().Waiting > 0 && k.spool.Touches([]string{waybill})
}

// keep returns when a callback is durable. The events of parsed are its own until then, and after an error or with a summary
// that says Spooled for ever.
func (k *keeper) keep(ctx context.Context, cb *event.Callback, parsed kuaidihelp.Result, more bool) (event.Summary, error) {
	if more {
		return k.keepLarge(ctx, cb)
	}
	waybills := waybillsOf(parsed.Events)
	if k.open != nil {
		return k.viaSpool(ctx, cb, waybills)
	}
	state, why := k.store.State()
	if state != store.Up || k.spool.Touches(waybills) {
		if _, err := k.spool.Put(cb, slices.Values(waybills), nil); err != nil {
			return event.Summary{}, errors.Join(why, err)
		}
		return event.Summary{Spooled: true}, nil
	}
	t := taken{callback: cb, parsed: parsed, routed: make(chan struct{})}
	done := k.begin(context.WithoutCancel(ctx), []taken{t})
	o, ended := k.await(t.routed, done)
	if ended {
		k.count(o.sum)
		if o.err == nil || errors.Is(o.err, event.ErrQuarantineFull) {
			return o.sum, o.err
		}
	}
	file, err := k.spool.Put(cb, slices.Values(waybills), nil)
	if err != nil {
		return k.lastChance(done, errors.Join(o.err, err))
	}
	go k.withdraw(done, file)
	return event.Summary{Spooled: true}, nil
}

// keepLarge keeps a callback that has more in it than fits into memory as events. It goes to the spool, and from there to Redis in
// parts, which may take minutes.
func (k *keeper) keepLarge(ctx context.Context, cb *event.Callback) (event.Summary, error) {
	k.large.Lock()
	_, err := k.spool.Put(cb, kuaidihelp.Waybills(cb.Headers["Content-Type"], cb.Body), nil)
	k.large.Unlock()
	if err == nil {
		return event.Summary{Spooled: true}, nil
	}
	state, why := k.store.State()
	if k.open != nil || state != store.Up || errors.Is(err, spool.ErrWaybills) {
		return event.Summary{}, errors.Join(why, err)
	}
	// Redis takes as much of it as it can until the provider has waited long enough. When the callback comes again, that is known.
	o := k.takeParts(ctx, taken{callback: cb})
	k.count(o.sum)
	return o.sum, o.err
}

// takeParts takes one callback to Redis part by part. After an error, or the end of ctx, a part of it is there.
func (k *keeper) takeParts(ctx context.Context, whole taken) (all outcome) {
	cb := whole.callback
	for part := range kuaidihelp.Parts(cb.Headers["Content-Type"], cb.Body, cb.ReceivedAt, kuaidihelp.Limit{Items: partItems, Bytes: partBytes}) {
		if all.err = ctx.Err(); all.err != nil {
			break
		}
		one := k.take(ctx, []taken{{callback: cb, parsed: part, file: whole.file, part: true}})
		all.sum.Add(one.sum)
		if all.err = one.err; all.err != nil {
			break
		}
	}
	all.each = []event.Summary{all.sum}
	return all
}

// await waits for what becomes of a callback, as long as its routing and then Redis may take.
func (k *keeper) await(routed <-chan struct{}, done <-chan outcome) (o outcome, ended bool) {
	budget := time.NewTimer(routeBudget)
	defer budget.Stop()
	select {
	case <-routed:
	case <-budget.C:
		k.slow.warn(k.log)
		return outcome{err: fmt.Errorf("the when expressions of its routes took longer than %s", routeBudget)}, false
	}

	budget.Reset(acceptBudget)
	select {
	case o = <-done:
		return o, true
	case <-budget.C:
		k.store.Doubt(acceptBudget)
		return outcome{err: fmt.Errorf("redis did not answer within %s", acceptBudget)}, false
	}
}

// slowRoutes warns of callbacks that go to the spool because their routing takes long, once in a while.
type slowRoutes struct{ last atomic.Int64 }

func (s *slowRoutes) warn(log *zap.Logger) {
	now, last := time.Now().Unix(), s.last.Load()
	if now-last >= 60 && s.last.CompareAndSwap(last, now) {
		log.Warn("callbacks wait for the when expressions of routes, and go to the spool meanwhile: some expressions are costly, or the processor is busy",
			zap.Duration("longer_than", routeBudget))
	}
}

// lastChance is that Redis answers after all, when the spool does not take a callback.
func (k *keeper) lastChance(done <-chan outcome, why error) (event.Summary, error) {
	select {
	case o, ended := <-done:
		k.count(o.sum)
		if ended && o.err == nil {
			return o.sum, nil
		}
	case <-time.After(acceptBudget):
	}
	return event.Summary{}, why
}

// withdraw takes a callback from the spool, if Redis has accepted it after the budget: the call was left to itself. If the
// drain was faster, it counts the duplicates.
func (k *keeper) withdraw(done <-chan outcome, file *spool.File) {
	o, late := <-done
	if late && o.err == nil && k.spool.Withdraw(file) {
		k.remove([]*spool.File{file})
	} else {
		o.sum.Duplicates, o.sum.Quarantined = 0, 0
	}
	k.count(o.sum)
}

// viaSpool keeps a callback in the spool, and waits a little for what becomes of it.
func (k *keeper) viaSpool(ctx context.Context, cb *event.Callback, waybills []string) (event.Summary, error) {
	became := make(chan event.Summary, 1)
	if _, err := k.spool.Put(cb, slices.Values(waybills), became); err != nil {
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

// taken is a callback on its way to Redis, and the file that it came from, if any.
type taken struct {
	callback *event.Callback
	parsed   kuaidihelp.Result
	file     *spool.File
	refused  bool // and so on its way to quarantine
	large    bool // parsed is the first part of it
	part     bool // parsed is one part of it
	// routed is closed once its events have been routed, which asks nobody: what follows is up to Redis. Nil: nobody waits.
	routed chan struct{}
}

// outcome is what became of callbacks, all together and one by one.
type outcome struct {
	sum  event.Summary
	each []event.Summary
	err  error
}

// begin makes callbacks durable in Redis, in a goroutine of its own: who waits for it can go away. It ends by itself, and
// closes the channel.
func (k *keeper) begin(ctx context.Context, all []taken) <-chan outcome {
	done := make(chan outcome, 1)
	k.crew.Go(func() {
		defer close(done)
		if len(all) == 1 && all[0].large {
			done <- k.takeParts(ctx, all[0])
			return
		}
		done <- k.take(ctx, all)
	})
	return done
}

// take makes callbacks durable in Redis. What was not understood goes first: it is kept once
// however often it comes, so that a callback which fails halfway can be taken again.
func (k *keeper) take(ctx context.Context, all []taken) (o outcome) {
	var rejected []event.Quarantined
	var events []*event.Event
	for _, t := range all {
		for _, x := range t.parsed.Rejected {
			rejected = append(rejected, quarantined(t.callback, x.Raw, x.Reason))
		}
		events = append(events, t.parsed.Events...)
	}
	to := k.acceptor.match(events)
	for _, t := range all {
		if t.routed != nil {
			close(t.routed)
		}
	}
	if len(rejected) > 0 {
		// What is in the spool was answered success, and what has events besides is not refused for an item: then the oldest make place.
		push := len(events) > 0 || all[0].file != nil
		var pushed int
		pushed, o.err = k.store.Quarantine(ctx, rejected, push)
		if pushed > 0 {
			k.pushed.Add(int64(pushed))
			k.log.Error("the quarantine is full, and its oldest went", zap.Int("lost", pushed))
		}
		if o.err != nil {
			return o
		}
	}
	var accepted []event.Accepted
	if len(events) > 0 {
		var before func([]event.Accepted)
		if k.open != nil {
			before = k.open.before(all)
		}
		accepted, o.err = k.acceptor.accept(ctx, events, to, before)
	}
	o.each = make([]event.Summary, len(all))
	for i, t := range all {
		n := min(len(t.parsed.Events), len(accepted))
		o.each[i] = summarize(accepted[:n])
		o.each[i].Quarantined = len(t.parsed.Rejected)
		accepted = accepted[n:]
		o.sum.Add(o.each[i])
	}
	return o
}

func summarize(accepted []event.Accepted) (sum event.Summary) {
	for _, x := range accepted {
		switch {
		case x.Duplicate:
			sum.Duplicates++
		case x.Deliveries == 0:
			sum.Unrouted++
			sum.New++
		default:
			sum.New++
		}
		sum.Deliveries += x.Deliveries
	}
	return sum
}

func quarantined(cb *event.Callback, raw []byte, reason string) event.Quarantined {
	sum := sha256.Sum256(raw)
	return event.Quarantined{ID: "qtn_" + hex.EncodeToString(sum[:]), ReceivedAt: cb.ReceivedAt, Reason: reason, Headers: cb.Headers, Raw: raw}
}

// parse reads a callback that comes from the spool, or its first part if there are more.
func parse(cb *event.Callback) (parsed kuaidihelp.Result, more bool) {
	parsed, more = kuaidihelp.First(cb.Headers["Content-Type"], cb.Body, cb.ReceivedAt, whole)
	if len(cb.IDs) == len(parsed.Events) && !more {
		for i, id := range cb.IDs {
			parsed.Events[i].ID = id
		}
	}
	return parsed, more
}

// whole is what a callback may have in it, so as to be taken as a whole.
var whole = kuaidihelp.Limit{Items: spool.LargeItems, Bytes: spool.LargeBytes}

// reread gives an event as it came, with its tracks, which the store does not keep apart from its data.
func reread(e event.Event) *event.Event {
	if e.Type == event.TypeWaybill {
		if parsed := kuaidihelp.Parse("", withItem(e.Data), e.ReceivedAt); len(parsed.Events) == 1 {
			e.Tracks, e.Bare = parsed.Events[0].Tracks, parsed.Events[0].Bare
		}
	}
	return &e
}

// withItem is a callback with one item, which is JSON.
func withItem(item []byte) []byte {
	return slices.Concat([]byte(`{"type":"`+event.TypeWaybill+`","data":[`), item, []byte(`]}`))
}

// waybillsOf names those that events touch.
func waybillsOf(events []*event.Event) []string {
	var out []string
	for _, e := range events {
		if e.WaybillCode != "" {
			out = append(out, e.WaybillCode)
		}
	}
	return out
}
