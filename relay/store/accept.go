package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// The bounds of one script call.
const (
	maxEvents     = 64
	maxDeliveries = 512
	maxBytes      = 1 << 20
	maxOutcomes   = 64
)

type acceptCall struct {
	rows       []acceptRow
	deliveries int
	bytes      int
}

// span is how long the caller needs the answer: until the leases that it may bring lapse.
func (c acceptCall) span() time.Duration {
	var span time.Duration
	for _, row := range c.rows {
		for _, to := range row.To {
			if to.Slot {
				span = max(span, to.Lease)
			}
		}
	}
	return span
}

// acceptAnswer is the result for a call's rows. short is a trouble if fewer Redis replicas have them than are wanted.
type acceptAnswer struct {
	rows  []queue.Accepted
	short error
}

type acceptRow struct {
	queue.Routed
	hash, record string // hash is the id, with all of the hash
	body         []byte
}

// short is the id as keys have it.
func (r acceptRow) short() string { return r.hash[:shortHash] + r.hash[hashLength:] }

// with returns the call with one more row.
func (c acceptCall) with(row acceptRow) acceptCall {
	return acceptCall{rows: append(c.rows, row), deliveries: c.deliveries + len(row.To), bytes: c.bytes + len(row.body)}
}

// weight is what a call costs, in deliveries.
func (c acceptCall) weight() int {
	const perEvent = maxDeliveries / maxEvents
	return max(len(c.rows)*perEvent, c.deliveries, c.bytes/(maxBytes/maxDeliveries))
}

// Accept makes events durable with their deliveries, in the order given, and drops duplicates; see lua/accept.lua. On
// return every event has its ID (with the suffix of a recurrence), Sequence and AcceptedAt. More than 64 events or 512
// deliveries take several scripts; an event is never split. After an error the answers to a part may be there. Their
// leases are the caller's. More may have been accepted than that: asked again, those events are duplicates.
//
// A call that meets trouble is kept, and asked again when Redis is back, as long as the leases that it may bring have
// not lapsed. So once its turn has come, Accept may take that long, even if ctx ends.
func (s *Store) Accept(ctx context.Context, routed []queue.Routed) ([]queue.Accepted, error) {
	out := make([]queue.Accepted, 0, len(routed))
	var call acceptCall
	flush := func() error {
		if len(call.rows) == 0 {
			return nil
		}
		answer, err := s.accepts.Ask(ctx, call)
		if err != nil {
			return fmt.Errorf("accept events: %w", err)
		}

		out = append(out, answer.rows...)
		call = acceptCall{}
		if answer.short != nil {
			return fmt.Errorf("accept events: %w", answer.short)
		}
		return nil
	}

	// An event that would make the call too large begins the next one.
	for _, e := range routed {
		row, err := newAcceptRow(e)
		if err != nil {
			return out, fmt.Errorf("accept events: %w", err)
		}
		next := call.with(row)
		if len(call.rows) > 0 && next.weight() > maxDeliveries {
			if err := flush(); err != nil {
				return out, err
			}
			next = acceptCall{}.with(row)
		}
		call = next
	}

	err := flush()
	return out, err
}

// tracked encodes an event's tracks for lua/accept.lua: "" if none has a time, otherwise when the newest was (ms), 0 if
// that is unknown. It is "-" for an event that is no update of the parcel.
func tracked(e *event.Event) any {
	switch {
	case e.Own():
		return "-"
	case e.Bare:
		return ""
	case e.TrackedAt.IsZero():
		return 0
	}
	return max(0, e.TrackedAt.UnixMilli())
}

func newAcceptRow(e queue.Routed) (acceptRow, error) {
	hash, err := hashOf(e.Event.ID)
	if err != nil {
		return acceptRow{}, err
	}
	row := acceptRow{Routed: e, hash: hash, record: "w:" + e.Event.WaybillCode, body: encodeBody(e.Event)}
	if e.Event.WaybillCode == "" {
		row.record = "n:" + row.short()
	}
	return row, nil
}

// acceptAll makes one script call of many Accepts. Either all of them succeed, or none.
func (s *Store) acceptAll(calls []acceptCall) ([]acceptAnswer, error) {
	span := 2 * s.db.Timeout
	rows := 0
	for _, c := range calls {
		span = max(span, c.span())
		rows += len(c.rows)
	}
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return nil, err
	}

	local := time.Now() // before the call, so that leases are never taken for longer than they are
	token := s.db.NewCall()
	args, endpoints := s.acceptArgs(calls, s.db.Now(), token)
	answer, short := s.db.DoDurably(ctx, acceptScript, args)
	if answer == nil && short != nil {
		return nil, short
	}
	if len(answer) != rows {
		return nil, db.ErrShape
	}

	// Each caller gets its own rows.
	out := make([]acceptAnswer, len(calls))
	at := 0
	for i, c := range calls {
		out[i] = acceptAnswer{make([]queue.Accepted, len(c.rows)), short}
		for j, row := range c.rows {
			accepted, err := readAccepted(row, answer[at], endpoints, token, local)
			if err != nil {
				return nil, err
			}
			out[i].rows[j] = accepted
			at++
		}
	}
	return out, nil
}

// acceptArgs lists the arguments of lua/accept.lua, and the endpoints by their index there.
func (s *Store) acceptArgs(calls []acceptCall, now time.Time, token string) ([]any, []queue.Candidate) {
	// Each endpoint is named once, with the slots that are reserved for it; rows have its index.
	index := make(map[string]int)
	var endpoints []queue.Candidate
	var slots []int
	rows := 0
	deliveries := 0
	for _, c := range calls {
		rows += len(c.rows)
		for _, row := range c.rows {
			deliveries += len(row.To)
			for _, to := range row.To {
				i, known := index[to.Endpoint]
				if !known {
					i = len(endpoints)
					index[to.Endpoint] = i
					endpoints = append(endpoints, to)
					slots = append(slots, 0)
				}
				if to.Slot {
					slots[i]++
				}
			}
		}
	}

	set := s.settings()
	args := make([]any, 0, 10+5*len(endpoints)+7*rows+2*deliveries)
	args = append(args, now.UnixMilli(), token, set.Window.Milliseconds(), set.BareWindow.Milliseconds(),
		set.Retention.Milliseconds(), set.SubscriptionTTL.Milliseconds(), set.SignedTTL.Milliseconds(),
		strings.Join(s.o.Brands, " "), len(endpoints), rows)
	for i, e := range endpoints {
		args = append(args, e.Endpoint, e.Lease.Milliseconds(), slots[i], db.Flag(e.Ordered), s.pacingOf(e.Endpoint).rate)
	}
	for _, c := range calls {
		for _, row := range c.rows {
			e := row.Event
			args = append(args, row.hash, row.record, e.CPCode, e.Status, tracked(e), row.body, len(row.To))
			for _, to := range row.To {
				args = append(args, index[to.Endpoint]+1, int(to.When))
			}
		}
	}
	return args, endpoints
}

// readAccepted reads the answer of lua/accept.lua for one event: 0 or 1 (new), id, sequence, accepted at (ms), number
// of deliveries, and the index of each endpoint that gets it: negative if the delivery is queued, positive if it is
// leased to the caller.
func readAccepted(row acceptRow, answer any, endpoints []queue.Candidate, token string, local time.Time) (
	queue.Accepted, error,
) {
	a, ok := answer.([]any)
	if !ok || len(a) < 5 {
		return queue.Accepted{}, db.ErrShape
	}
	short, _ := a[1].(string)
	if len(short) < shortHash {
		return queue.Accepted{}, db.ErrShape
	}
	id, err := longID(row.hash[:hashLength] + short[shortHash:])
	if err != nil {
		return queue.Accepted{}, err
	}

	e := row.Event
	e.ID = id
	e.Sequence = db.Number(a[2])
	e.AcceptedAt = time.UnixMilli(db.Number(a[3]))
	out := queue.Accepted{Duplicate: db.Number(a[0]) == 0, Deliveries: int(db.Number(a[4]))}
	for _, v := range a[5:] {
		i := db.Number(v)
		if i < 0 {
			out.Queued = append(out.Queued, endpoints[-i-1].Endpoint)
			continue
		}
		c := endpoints[i-1]
		out.Leased = append(out.Leased, &event.Delivery{
			Event: e, Endpoint: c.Endpoint, Reason: e.Reason(), Since: e.AcceptedAt,
			Token: token, LeaseEnds: local.Add(c.Lease),
		})
	}
	return out, nil
}

// header is the first line of a stored body: what is known of an event in addition to its data.
type header struct {
	Origin      string `json:"cb"` // see appendOrigin; a body of an older version has none
	Type        string `json:"type"`
	WaybillCode string `json:"waybill_code,omitempty"`
	CPCode      string `json:"cp_code,omitempty"`
	Status      string `json:"status,omitempty"`
	ReceivedAt  int64  `json:"received_at"` // ms
}

// encodeBody writes the header by hand. Every event needs it, and reflection took longer than everything else on the
// way.
func encodeBody(e *event.Event) []byte {
	body := make([]byte, 0, 192+len(e.Data))
	body = appendOrigin(append(body, `{"cb":"`...), e)
	body = append(body, `","type":`...)
	body, _ = jsontext.AppendQuote(body, e.Type) // what is not UTF-8 is replaced
	for _, m := range [...]struct{ before, value string }{
		{`,"waybill_code":`, e.WaybillCode}, {`,"cp_code":`, e.CPCode}, {`,"status":`, e.Status},
	} {
		if m.value != "" {
			body, _ = jsontext.AppendQuote(append(body, m.before...), m.value)
		}
	}

	body = strconv.AppendInt(append(body, `,"received_at":`...), e.ReceivedAt.UnixMilli(), 10)
	return append(append(body, "}\n"...), e.Data...)
}

// decodeBody reads a body that encodeBody has written, or as much as there is of a part of it.
func decodeBody(body string) (*event.Event, error) {
	first, data, found := strings.Cut(body, "\n")
	if !found {
		return nil, errors.New("decode event: the stored body has no header")
	}

	var h header
	if err := json.Unmarshal([]byte(first), &h); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	e := &event.Event{
		Type: h.Type, WaybillCode: h.WaybillCode, CPCode: h.CPCode, Status: h.Status,
		Data: []byte(data), ReceivedAt: time.UnixMilli(h.ReceivedAt),
	}
	readOrigin(h.Origin, e)
	return e, nil
}
