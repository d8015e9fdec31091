package kuaidihelp

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"time"

	"kuairelay/relay/event"
)

// Limit bounds how much of a callback is in memory as events at one time. A zero field sets no limit.
type Limit struct {
	// Items of one part.
	Items int
	// Bytes of the items of one part. An item with many tiny tracks counts as the memory of its tracks. An item larger
	// than Bytes is a part of its own.
	Bytes int
}

// ParseParts reads one callback as Parse does, and yields the result in parts, in the order of its items. So the events
// of a callback with very many items are never in memory all at once. A callback that is not understood as a whole is
// one part. There is always at least one part; it may be empty.
func ParseParts(contentType string, body []byte, receivedAt time.Time, limit Limit) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		r := partReader{body: body, receivedAt: receivedAt, limit: limit, yield: yield}
		r.read(contentType)
		if !r.stopped {
			yield(r.part)
		}
	}
}

// ParseFirst gives the first part of a callback, and whether there are more.
func ParseFirst(contentType string, body []byte, receivedAt time.Time, limit Limit) (first Result, more bool) {
	n := 0
	for part := range ParseParts(contentType, body, receivedAt, limit) {
		n++
		if n > 1 {
			return first, true
		}
		first = part
	}
	return first, false
}

// Waybills names the waybills of a callback's items, in order and as often as they come. It is much cheaper than Parse.
// It also names the waybills of items that Parse rejects for another reason.
func Waybills(contentType string, body []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		c, err := open(contentType, body)
		if err != nil || c.items == nil {
			return // a callback that is not understood names no waybill
		}
		if _, whole := c.items.left(c.items.first()); !whole {
			return
		}
		pos := c.items.first()
		for pos != none {
			raw, next, _ := c.items.item(pos)
			pos = next
			var f fields
			members(raw, f.set)
			if code, err := waybillCode(f.waybill); err == nil && !yield(code) {
				return
			}
		}
	}
}

// partReader makes events from items, and yields them part by part. The last part stays in part.
type partReader struct {
	body       []byte
	receivedAt time.Time
	note       string // that begins every reason
	limit      Limit
	yield      func(Result) bool // nil without a limit

	form    string
	items   items
	pos     int // of the next item
	n       int // how many were before it
	total   int // how many there are, once that is known
	part    Result
	count   int // of the items in part
	bytes   int // their size, see Limit
	yielded bool
	stopped bool // yield wants nothing more

	// rejected counts the items that were rejected one by one. rejectedSize is about the memory that they took. unlisted
	// counts the rejected items after these.
	rejected     int
	rejectedSize int
	unlisted     int
}

// read reads the whole callback.
func (r *partReader) read(contentType string) {
	r.note = charsetNote(contentType, r.body)
	err := r.readAll(contentType)
	if err != nil {
		// Nothing was yielded yet: see flush.
		r.part = Result{}
		r.stopped = false
		r.unlisted = 0
		r.reject(r.body, err.Error())
		return
	}
	if r.unlisted > 0 {
		r.reject(r.body, fmt.Sprintf("%d more items like these", r.unlisted))
	}
	r.total = r.n
	r.describe()
}

// describe notes in the part what is known of the whole callback.
func (r *partReader) describe() {
	r.part.Form = r.form
	r.part.Items = r.total
}

// readAll returns an error if the callback as a whole is not understood.
func (r *partReader) readAll(contentType string) error {
	c, err := open(contentType, r.body)
	if err != nil {
		return err
	}
	r.form = formOf(contentType, r.body)
	if c.items == nil {
		r.n = 1
		return r.other(c.typ, c.json)
	}

	r.items = c.items
	r.pos = r.items.first()
	for ; r.pos != none; r.n++ {
		raw, next, ok := r.items.item(r.pos)
		if !ok {
			return errCutOff
		}
		if err := r.item(raw); err != nil {
			return err
		}
		if r.stopped {
			return nil
		}
		r.pos = next
	}
	return nil
}

var errCutOff = errors.New("data is not a complete JSON array")

// item turns the next item into an event or a rejection.
func (r *partReader) item(raw []byte) error {
	e, err := newEvent(raw)
	size := len(raw)
	if err == nil {
		const trackSize = 48
		size = max(size, trackSize*len(e.Tracks))
	}
	if r.full(size) {
		if err := r.flush(); err != nil || r.stopped {
			return err
		}
	}

	r.count++
	r.bytes += size
	if err != nil {
		r.rejectItem(raw, err)
		return nil
	}

	e.Data = r.own(raw)
	e.ReceivedAt = r.receivedAt
	e.Item = r.n + 1
	e.TrackedAt = newestTrack(e.Tracks, r.receivedAt)
	r.part.Events = append(r.part.Events, e)
	return nil
}

// full says whether an item of that size must go into the next part.
func (r *partReader) full(size int) bool {
	if r.count == 0 {
		return false
	}
	return r.limit.Items > 0 && r.count >= r.limit.Items || r.limit.Bytes > 0 && r.bytes+size > r.limit.Bytes
}

// rejectItem rejects one item. If too many were rejected, it only counts the item.
func (r *partReader) rejectItem(raw []byte, err error) {
	if r.rejected == maxRejected || r.rejectedSize > 16<<10+4*len(r.body) {
		r.unlisted++
		return
	}
	const rejectionSize = 192 // about, without its bytes
	r.rejected++
	r.rejectedSize += rejectionSize + len(raw)
	r.reject(r.own(raw), fmt.Sprintf("item %d: %v", r.n, err))
}

// other makes one event from a whole callback.
func (r *partReader) other(typ string, callback []byte) error {
	id, err := event.ID(typ, "", "", callback)
	if err != nil {
		return err
	}
	r.part.Events = append(r.part.Events, &event.Event{
		ID: id, Type: typ, Bare: true, Data: callback, ReceivedAt: r.receivedAt, Item: 1,
	})
	return nil
}

// flush yields a part. Before the first part it looks for the end of the array: one that is cut off is no callback.
func (r *partReader) flush() error {
	if !r.yielded {
		left, whole := r.items.left(r.pos)
		if !whole {
			return errCutOff
		}
		r.total = r.n + left
	}
	r.yielded = true
	r.describe()
	r.stopped = !r.yield(r.part)
	r.part = Result{}
	r.count = 0
	r.bytes = 0
	return nil
}

// own copies an item that is a small part of its callback. Otherwise one event would keep the whole body in memory.
func (r *partReader) own(raw []byte) []byte {
	if len(raw) < len(r.body)/2 {
		return bytes.Clone(raw)
	}
	return raw
}

// reject adds a rejection to the part.
func (r *partReader) reject(raw []byte, reason string) {
	r.part.Rejected = append(r.part.Rejected, Rejected{Raw: raw, Reason: r.note + reason})
}
