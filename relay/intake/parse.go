package intake

import (
	"iter"
	"sync"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/spool"
)

// This file reads callbacks. To read a large one takes a processor for many milliseconds. If that happened on all
// processors at once, a small callback would wait for one at each of its steps. So large ones are read in turn, one at
// a time, whether they come from the provider or from the spool.

// whole is what a callback may have in it, so as to be taken as a whole.
var whole = kuaidihelp.Limit{Items: spool.LargeItems, Bytes: spool.LargeBytes}

// piece bounds what of a large callback is taken to Redis at one time: others are taken in between.
var piece = kuaidihelp.Limit{Items: 64, Bytes: 256 << 10}

// Parse parses a callback, or its first part if there are more, for Keep. One from the spool keeps the ids that it was
// given.
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
	return parsed, more
}

// parts parses a large callback part by part.
func (in *Intake) parts(cb *event.Callback) iter.Seq[kuaidihelp.Result] {
	return inTurn(in.large, kuaidihelp.ParseParts(cb.Headers["Content-Type"], cb.Body, cb.ReceivedAt, piece))
}

// inTurn yields what seq does. It holds turn while seq works, and not while a value is being used.
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
