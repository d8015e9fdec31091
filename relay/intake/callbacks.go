package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/queue"
	"kuairelay/relay/spool"
)

// pending is a callback on its way to Redis.
type pending struct {
	callback *event.Callback
	parsed   kuaidihelp.Result
	file     *spool.File // in the spool that it comes from; nil: it comes from kuaidihelp
	refused  bool        // it goes to quarantine
	large    bool        // parsed is the first part of it
	part     bool        // parsed is one part of it
	// routed is closed once its events are routed, which is done without Redis: the rest depends on Redis. Nil: nobody
	// waits.
	routed chan struct{}
}

// outcome is what became of callbacks, all together (sum) and each.
type outcome struct {
	sum  event.Summary
	each []event.Summary
	err  error
}

// begin makes callbacks durable in Redis, in a goroutine of its own, which ends by itself and closes the channel. The
// caller need not wait for it.
func (in *Intake) begin(ctx context.Context, all []pending) <-chan outcome {
	done := make(chan outcome, 1)
	in.workers.Go(func() {
		defer close(done)
		if len(all) == 1 && all[0].large {
			done <- in.acceptLarge(ctx, all[0])
			return
		}
		done <- in.acceptCallbacks(ctx, all)
	})
	return done
}

// acceptLarge makes one callback durable in Redis, part by part. After an error, or the end of ctx, some parts of it
// are there.
func (in *Intake) acceptLarge(ctx context.Context, whole pending) (all outcome) {
	cb := whole.callback
	for part := range in.parts(cb) {
		all.err = ctx.Err()
		if all.err != nil {
			break
		}

		one := in.acceptCallbacks(ctx, []pending{{callback: cb, parsed: part, file: whole.file, part: true}})
		all.sum.Add(one.sum)
		all.err = one.err
		if all.err != nil {
			break
		}
	}
	all.each = []event.Summary{all.sum}
	return all
}

// acceptCallbacks makes callbacks durable in Redis. What was not understood goes first: it is kept once, however often
// it comes, so a callback that fails halfway can be accepted again.
func (in *Intake) acceptCallbacks(ctx context.Context, all []pending) (o outcome) {
	var rejected []event.Quarantined
	var events []*event.Event
	for _, p := range all {
		for _, x := range p.parsed.Rejected {
			rejected = append(rejected, quarantined(p.callback, x))
		}
		events = append(events, p.parsed.Events...)
	}

	// Routes are matched in memory, before anything is written, so that one script can do the rest.
	routed := in.match(events)
	for _, p := range all {
		if p.routed != nil {
			close(p.routed)
		}
	}

	// Callbacks in the spool were answered success, and a callback that also has events is not refused because of one
	// item. For these, the oldest in quarantine are removed if there is no room.
	push := len(events) > 0 || all[0].file != nil
	o.err = in.quarantine(ctx, rejected, push)
	if o.err != nil {
		return o
	}

	var accepted []queue.Accepted
	if len(events) > 0 {
		var tracked func([]queue.Accepted)
		if in.undelivered != nil {
			tracked = in.undelivered.track(all)
		}
		accepted, o.err = in.accept(ctx, routed, tracked)
	}

	// Each callback gets the results of its own events, which are in its order.
	o.each = make([]event.Summary, len(all))
	for i, p := range all {
		n := min(len(p.parsed.Events), len(accepted))
		o.each[i] = summarize(accepted[:n])
		o.each[i].Quarantined = len(p.parsed.Rejected)
		o.sum.Add(o.each[i])
		accepted = accepted[n:]
	}
	return o
}

// quarantine keeps what was not understood, if there is anything.
func (in *Intake) quarantine(ctx context.Context, rejected []event.Quarantined, push bool) error {
	if len(rejected) == 0 {
		return nil
	}
	pushed, err := in.o.Store.Quarantine(ctx, rejected, push)
	if pushed > 0 {
		in.pushed.Add(int64(pushed))
		in.log.Error("the quarantine is full: its oldest entries are lost", zap.Int("lost", pushed))
	}
	return err
}

func summarize(accepted []queue.Accepted) (sum event.Summary) {
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

func quarantined(cb *event.Callback, x kuaidihelp.Rejected) event.Quarantined {
	sum := sha256.Sum256(x.Raw)
	return event.Quarantined{
		ID:         "qtn_" + hex.EncodeToString(sum[:]),
		Callback:   cb.ID,
		ReceivedAt: cb.ReceivedAt,
		Reason:     x.Reason,
		Headers:    cb.Headers,
		Raw:        x.Raw,
	}
}

// waybillsOf returns the waybills of events.
func waybillsOf(events []*event.Event) []string {
	var out []string
	for _, e := range events {
		if e.WaybillCode != "" {
			out = append(out, e.WaybillCode)
		}
	}
	return out
}
