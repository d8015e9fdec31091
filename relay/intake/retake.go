package intake

import (
	"context"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// RetakeResult is the result of accepting a callback from quarantine.
type RetakeResult struct {
	// Events is how many it holds, and New how many of them are new.
	Events, New int
	// Rejected says why it, or a part of it, is still not understood; empty: all of it is.
	Rejected string
}

// Retake accepts a callback, or an item of one, from quarantine as if it had just come. body is its content, unpacked
// and in UTF-8.
func (in *Intake) Retake(ctx context.Context, q event.Quarantined, body []byte) (RetakeResult, error) {
	cb, parsed, more := in.reparse(q, body)
	out := RetakeResult{Events: len(parsed.Events)}
	if more {
		for range kuaidihelp.Waybills(cb.Headers["Content-Type"], cb.Body) {
			out.Events++
		}
	}
	if len(parsed.Rejected) > 0 {
		out.Rejected = parsed.Rejected[0].Reason
	}
	if len(parsed.Events) == 0 {
		return out, nil
	}

	sum, err := in.Keep(ctx, cb, parsed, more)
	out.New = sum.New
	return out, err
}

// LookResult is what a callback from quarantine would come to.
type LookResult struct {
	// Events and Rejected count its items that are understood, and those that are not. A callback that is not understood
	// as a whole is one.
	Events, Rejected int
	// Reason says why the first of these is not understood; empty: all is.
	Reason string
}

// Look says what Retake would find in a callback, or an item of one, from quarantine. It accepts nothing.
func (in *Intake) Look(q event.Quarantined, body []byte) LookResult {
	cb, first, more := in.reparse(q, body)
	var out LookResult
	add := func(part kuaidihelp.Result) {
		out.Events += len(part.Events)
		out.Rejected += len(part.Rejected)
		if out.Reason == "" && len(part.Rejected) > 0 {
			out.Reason = part.Rejected[0].Reason
		}
	}

	if !more {
		add(first)
		return out
	}
	for part := range in.parts(cb) {
		add(part)
	}
	return out
}

// reparse parses a callback from quarantine, or its first part. If nothing of it is understood, it may be an item: then
// it is parsed as the callback around this one. Which item of its callback it was is not known any more.
func (in *Intake) reparse(q event.Quarantined, body []byte) (
	cb *event.Callback, parsed kuaidihelp.Result, more bool,
) {
	cb = &event.Callback{ID: q.Callback, ReceivedAt: q.ReceivedAt, Headers: q.Headers, Body: body}
	parsed, more = in.Parse(cb)
	if len(parsed.Rejected) > 0 && len(parsed.Events) == 0 {
		item := &event.Callback{ReceivedAt: q.ReceivedAt, Body: kuaidihelp.WrapItem(q.Raw)}
		again, _ := in.Parse(item)
		if len(again.Rejected) == 0 {
			return item, again, false
		}
	}
	return cb, parsed, more
}
