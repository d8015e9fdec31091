package intake

import (
	"iter"
	"sync"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/spool"
)

// This file parses callbacks. A large one takes a processor for many milliseconds. If all processors did that at once,
// a small callback would wait at each of its steps. So large ones are parsed one at a time, whether they come from the
// provider or from the spool.

// whole bounds a callback that is accepted as a whole.
var whole = kuaidihelp.Limit{Items: spool.LargeItems, Bytes: spool.LargeBytes}

// piece bounds one part of a large callback: other callbacks are accepted between two parts.
var piece = kuaidihelp.Limit{Items: 64, Bytes: 256 << 10}

// Parse parses a callback, or its first part if there are more, for Keep. A callback from the spool keeps the ids that
// it was given. Its events know the callback.
func (in *Intake) Parse(cb *event.Callback) (parsed kuaidihelp.Result, more bool) {
	if len(cb.Body) > spool.LargeBytes {
		in.large.Lock()
		defer in.large.Unlock()
	}

	parsed, more = kuaidihelp.ParseFirst(cb.Headers["Content-Type"], cb.Body, cb.ReceivedAt, whole)
	if len(cb.IDs) == len(parsed.Events) && !more {
		for i, id := range cb.IDs {
			parsed.Events[i].ID = id
		}
	}
	tell(parsed, cb)
	return parsed, more
}

// tell has events know the callback that they came in, if it has an id.
func tell(parsed kuaidihelp.Result, cb *event.Callback) {
	if cb.ID == "" || len(parsed.Events) == 0 {
		return
	}
	origin := &event.Origin{ID: cb.ID, From: cb.From, Replica: cb.Replica, Form: parsed.Form, Items: parsed.Items,
		Trace: event.ReadTrace(cb.Headers[event.TraceHeader])}
	for _, e := range parsed.Events {
		e.Origin = origin
	}
}

// parts parses a large callback part by part.
func (in *Intake) parts(cb *event.Callback) iter.Seq[kuaidihelp.Result] {
	all := inTurn(in.large, kuaidihelp.ParseParts(cb.Headers["Content-Type"], cb.Body, cb.ReceivedAt, piece))
	return func(yield func(kuaidihelp.Result) bool) {
		for part := range all {
			tell(part, cb)
			if !yield(part) {
				return
			}
		}
	}
}

// inTurn yields the values of seq. It holds turn while seq works, but not while a value is used.
func inTurn[T any](turn sync.Locker, seq iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		turn.Lock()
		defer turn.Unlock()
		use := func(value T) bool {
			turn.Unlock()
			defer turn.Lock()
			return yield(value)
		}
		for value := range seq {
			if !use(value) {
				return
			}
		}
	}
}
