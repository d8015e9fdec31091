package kuaidihelp

import (
	"bytes"
	"fmt"
	"iter"
	"time"

	"kuairelay/relay/event"
)

// Limit says how much of a callback is in memory as events at one time. A zero field sets no limit.
type Limit struct {
	// Items of one part.
	Items int
	// Bytes that the items of one part come to. A larger item is a part of its own.
	Bytes int
}

// Parts reads one callback as Parse does, and yields what it came to in parts, in the order of its items: so a callback of a
// great many items is never in memory as events all at once. A callback that is not understood as a whole is one part. There is
// always at least one part, which may be empty.
func Parts(contentType string, body []byte, receivedAt time.Time, limit Limit) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		r := partReader{body: body, receivedAt: receivedAt, limit: limit, yield: yield}
		r.read(contentType)
		if !r.stopped {
			yield(r.part)
		}
	}
}

// First gives the first part of a callback, and whether there are more.
func First(contentType string, body []byte, receivedAt time.Time, limit Limit) (first Result, more bool) {
	n := 0
	for part := range Parts(contentType, body, receivedAt, limit) {
		n++
		if n > 1 {
			return first, true
		}
		first = part
	}
	return first, false
}

// Waybills names the waybills that the items of a callback are about, in their order and as often as they come. It is much
// cheaper than Parse, and names those of items that Parse would reject for another reason, too.
func Waybills(contentType string, body []byte) []string {
	var r codeReader
	p := parser{body: body, to: &r}
	_ = p.callback(contentType) // a callback that is not understood touches no waybill
	return r.codes
}

// codeReader takes no more than the waybill codes of items.
type codeReader struct{ codes []string }

func (r *codeReader) item(_ int, raw []byte) {
	var f fields
	members(raw, f.set)
	if code, err := waybillCode(f.waybill); err == nil {
		r.codes = append(r.codes, code)
	}
}

func (r *codeReader) other(string, []byte) error { return nil }

// partReader makes events of items, and yields them part by part; the last one stays in part.
type partReader struct {
	body       []byte
	receivedAt time.Time
	limit      Limit
	yield      func(Result) bool // nil without a limit
	parser     parser

	part     Result
	items    int  // in part
	bytes    int  // in part
	rejected int  // so far
	unlisted int  // items beyond maxRejected
	yielded  bool // a part
	stopped  bool // nothing more is wanted
}

// read reads the whole callback.
func (r *partReader) read(contentType string) {
	r.parser = parser{body: r.body, to: r}
	if err := r.parser.callback(contentType); err != nil {
		// Nothing was yielded yet: see flush.
		r.part, r.stopped, r.unlisted = Result{}, false, 0
		r.reject(r.body, err.Error())
	}
	if r.unlisted > 0 {
		r.reject(r.body, fmt.Sprintf("%d more items like these", r.unlisted))
	}
}

// item turns the n-th item into an event or a rejection.
func (r *partReader) item(n int, raw []byte) {
	if r.items > 0 && (r.limit.Items > 0 && r.items >= r.limit.Items || r.limit.Bytes > 0 && r.bytes+len(raw) > r.limit.Bytes) {
		r.flush()
	}
	if r.stopped {
		return
	}
	r.items++
	r.bytes += len(raw)
	e, err := newEvent(raw)
	switch {
	case err == nil:
		e.Data = r.own(raw)
		e.ReceivedAt = r.receivedAt
		e.TrackedAt = newestTrack(e.Tracks, r.receivedAt)
		r.part.Events = append(r.part.Events, e)
	case r.rejected < maxRejected:
		r.rejected++
		r.reject(r.own(raw), fmt.Sprintf("item %d: %v", n, err))
	default:
		r.unlisted++
	}
}

// other makes one event of a whole callback.
func (r *partReader) other(typ string, callback []byte) error {
	id, err := event.ID(typ, "", "", callback)
	if err != nil {
		return err
	}
	r.part.Events = append(r.part.Events, &event.Event{
		ID: id, Type: typ, Bare: true, Data: callback, ReceivedAt: r.receivedAt,
	})
	return nil
}

// flush yields a part. An array that is cut off is no callback, so its end is looked for before its first part is yielded.
func (r *partReader) flush() {
	if !r.yielded && r.parser.array != nil && !elements(r.parser.array, func([]byte) {}) {
		r.stopped = true
	}
	if !r.stopped {
		r.yielded = true
		r.stopped = !r.yield(r.part)
	}
	r.part, r.items, r.bytes = Result{}, 0, 0
}

// own copies an item that is a small part of its callback: else one event kept would keep the whole body in memory.
func (r *partReader) own(raw []byte) []byte {
	if len(raw) < len(r.body)/2 {
		return bytes.Clone(raw)
	}
	return raw
}

func (r *partReader) reject(raw []byte, reason string) {
	r.part.Rejected = append(r.part.Rejected, Rejected{Raw: raw, Reason: reason})
}
