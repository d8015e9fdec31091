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
	cb := &event.Callback{ID: q.Callback, ReceivedAt: q.ReceivedAt, Headers: q.Headers, Body: body}
	parsed, more := in.Parse(cb)
	if len(parsed.Rejected) > 0 && len(parsed.Events) == 0 {
		// It may be an item. Which one of its callback is not known any more.
		item := &event.Callback{ReceivedAt: q.ReceivedAt, Body: kuaidihelp.WrapItem(q.Raw)}
		again, _ := in.Parse(item)
		if len(again.Rejected) == 0 {
			cb = item
			parsed = again
		}
	}

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
