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
	file     *spool.File // that it comes from; nil: from kuaidihelp
	refused  bool        // and so on its way to quarantine
	large    bool        // parsed is the first part of it
	part     bool        // parsed is one part of it
	// routed is closed once its events are routed, which asks nobody: what follows is up to Redis. Nil: nobody waits.
	routed chan struct{}
}

// outcome is what became of callbacks, all together and one by one.
type outcome struct {
	sum  event.Summary
	each []event.Summary
	err  error
}

// begin makes callbacks durable in Redis, in a goroutine of its own: who waits for it can go away. It ends by itself,
// and closes the channel.
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

// acceptLarge takes one callback to Redis part by part. After an error, or the end of ctx, some parts of it are there.
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

// acceptCallbacks makes callbacks durable in Redis. What was not understood goes first: it is kept once however often
// it comes, so that a callback which fails halfway can be taken again.
func (in *Intake) acceptCallbacks(ctx context.Context, all []pending) (o outcome) {
	var rejected []event.Quarantined
	var events []*event.Event
	for _, p := range all {
		for _, x := range p.parsed.Rejected {
			rejected = append(rejected, quarantined(p.callback, x))
		}
		events = append(events, p.parsed.Events...)
	}

	// Routes are matched in memory, before anything is written: one script can then do the rest.
	entries := in.match(events)
	for _, p := range all {
		if p.routed != nil {
			close(p.routed)
		}
	}

	// What is in the spool was answered success, and a callback that has events besides is not refused for one item: then
	// the oldest in quarantine make place.
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
		accepted, o.err = in.accept(ctx, entries, tracked)
	}

	// Each callback gets the answers to its own events, which stand in its order.
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
		in.log.Error("the quarantine is full, and its oldest went", zap.Int("lost", pushed))
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
		ReceivedAt: cb.ReceivedAt,
		Reason:     x.Reason,
		Headers:    cb.Headers,
		Raw:        x.Raw,
	}
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
