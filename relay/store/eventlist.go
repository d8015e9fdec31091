package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

const (
	// maxPage bounds the events that one call of the script loads, and lookMost its cost (see lua/events.lua). Redis does
	// nothing else during a call, which takes less than a millisecond.
	maxPage  = 12
	lookMost = 250
	// pageCalls is how many calls may look for the events of a page. Then the page is returned as it is.
	pageCalls = 64
)

// Events returns a page of the list of all events by the time of their acceptance, without their data and tracks. An
// event is in the list for as long as it is in Redis.
func (s *Store) Events(ctx context.Context, q event.Query) (event.Page, error) {
	var page event.Page
	if q.Endpoints != nil && len(q.Endpoints) == 0 {
		page.End = true
		return page, nil
	}
	place, err := s.placeOf(ctx, q)
	if err != nil {
		return page, err
	}

	q.Most = max(q.Most, 1)
	codes := codesOf(q.Endpoints)
	mine := setOf(q.Endpoints)
	begun := false // what is looked at is within the time that was asked for
	for calls := 1; ; calls++ {
		want := min(maxPage, q.Most-len(page.Events))
		if q.Match != nil {
			want = maxPage
		}
		part, err := s.eventRows(ctx, q, codes, place, want)
		if err != nil {
			return page, fmt.Errorf("list events: %w", err)
		}

		// Rows that are left when the page is full are read again with the next page.
		for i, e := range part.rows {
			if !begun {
				begun = reaches(q, e.AcceptedAt)
				page.Back = e.turned(q.Newer, begun).String()
			}
			page.Looked++
			page.BackTo = earlier(page.BackTo, e.AcceptedAt)
			if !owedTo(mine, e.Record) || !q.Takes(e.Record) {
				continue
			}
			e.Next = e.after.String()
			page.Events = append(page.Events, e.Record)
			if len(page.Events) == q.Most && i < len(part.rows)-1 {
				part = eventPart{next: e.after}
				break
			}
		}

		place = part.next
		page.End = part.over
		page.BackTo = earlier(page.BackTo, part.passed)
		if part.over && !q.Newer {
			return page, nil
		}
		if part.over || len(page.Events) >= q.Most || calls == pageCalls {
			page.Next = place.String()
			return page, nil
		}
	}
}

// reaches says whether a query that has come to a time is past the bound at which it begins.
func reaches(q event.Query, at time.Time) bool {
	if q.Newer {
		return q.Since.IsZero() || !at.Before(q.Since)
	}
	return q.Until.IsZero() || at.Before(q.Until)
}

// earlier is the earlier one of two times. Zero is no time.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// owedTo says whether an event is or was owed to one of some endpoints; nil: to any.
func owedTo(endpoints map[string]bool, e *event.Record) bool {
	return endpoints == nil ||
		slices.ContainsFunc(e.Deliveries, func(o event.DeliveryRecord) bool { return endpoints[o.Endpoint] })
}

func setOf(endpoints []string) map[string]bool {
	if endpoints == nil {
		return nil
	}
	set := make(map[string]bool, len(endpoints))
	for _, ep := range endpoints {
		set[ep] = true
	}
	return set
}

// codesOf returns the codes of endpoints in the list of events, each once. code() of lua/lib/list.lua makes the same.
func codesOf(endpoints []string) string {
	seen := make(map[uint16]bool, len(endpoints))
	codes := make([]byte, 0, 2*len(endpoints))
	for _, ep := range endpoints {
		h := uint16(0)
		for i := range len(ep) {
			h = h*31 + uint16(ep[i])
		}
		if !seen[h] {
			seen[h] = true
			codes = binary.BigEndian.AppendUint16(codes, h)
		}
	}
	return string(codes)
}

// place is a place in the list of events: a chunk, and an index in it. Going to older events, an index past the end
// means the last one, and -1 the chunk before.
type place struct {
	chunk int64
	index int
}

func (p place) String() string {
	if p.chunk == 0 {
		return ""
	}
	return strconv.FormatInt(p.chunk, 36) + "." + strconv.Itoa(p.index)
}

// readPlace reads the cursor of a page.
func readPlace(cursor string) (place, error) {
	first, second, _ := strings.Cut(cursor, ".")
	chunk, errChunk := strconv.ParseInt(first, 36, 64)
	index, errIndex := strconv.Atoi(second)
	if errChunk != nil || errIndex != nil || chunk < 0 || index < -1 {
		return place{}, event.ErrCursor
	}
	return place{chunk, index}, nil
}

// ListedAt is about when the event was listed that a cursor of Events stands at: when its chunk began. Zero: the cursor
// is empty, or of another kind.
func ListedAt(cursor string) time.Time {
	at, err := readPlace(cursor)
	if err != nil || at.chunk == 0 {
		return time.Time{}
	}
	return time.UnixMilli(at.chunk)
}

// placeOf returns where a query begins; the zero place if there is nothing yet.
func (s *Store) placeOf(ctx context.Context, q event.Query) (place, error) {
	if q.Cursor != "" {
		return readPlace(q.Cursor)
	}

	// An event is in the last chunk that began before it, or, if the clocks of replicas differ a little, in the one next
	// to that.
	by := redis.ZRangeArgs{Key: s.db.Key("log"), ByScore: true, Rev: true, Start: "+inf", Stop: "-inf", Count: 1}
	switch {
	case !q.Newer && !q.Until.IsZero():
		by.Start = strconv.FormatInt(q.Until.Add(time.Second).UnixMilli(), 10)
	case q.Newer && !q.Since.IsZero():
		by.Start = strconv.FormatInt(q.Since.Add(-time.Second).UnixMilli(), 10)
	case q.Newer:
		by.Rev, by.Start, by.Stop = false, "-inf", "+inf"
	}
	var first []string
	err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		first, err = s.db.Client.ZRangeArgs(ctx, by).Result()
		if err == nil && len(first) == 0 && q.Newer { // all events came later
			first, err = s.db.Client.ZRange(ctx, s.db.Key("log"), 0, 0).Result()
		}
		return err
	})
	if err != nil {
		return place{}, fmt.Errorf("list events: %w", err)
	}

	var p place
	if len(first) > 0 {
		p.chunk = db.Number(first[0])
	}
	if !q.Newer {
		p.index = 1 << 30
	}
	return p, nil
}

// placedEvent is an event of a page, with the place of what comes after it.
type placedEvent struct {
	*event.Record
	after place
}

// turned returns the place where a page in the other direction begins: with what comes before the event, in the
// direction of its page, or with the event itself, which the page does not reach.
func (e placedEvent) turned(newer, reached bool) place {
	step := 1 // after stands one further than the event
	if reached {
		step = 2
	}
	if newer {
		step = -step
	}
	return place{chunk: e.after.chunk, index: e.after.index + step}
}

// eventPart is a part of a page.
type eventPart struct {
	rows []placedEvent
	next place // where the next part begins
	over bool  // it is the last one
	// passed is when the chunk began that the part has left last; zero: it has left none.
	passed time.Time
}

// eventRows asks for one part of a page: at most so many rows from a place on.
func (s *Store) eventRows(ctx context.Context, q event.Query, codes string, at place, most int) (
	part eventPart, err error,
) {
	if at.chunk == 0 {
		return eventPart{next: at, over: true}, nil
	}

	// The script goes to older events (o) or to newer ones (n), up to the last chunk that may have a wanted one.
	direction := "o"
	stop := int64(0)
	if !q.Since.IsZero() {
		stop = q.Since.Add(-2 * time.Hour).UnixMilli() // no chunk is open for longer than an hour
	}
	if q.Newer {
		direction = "n"
		stop = int64(1) << 53
		if !q.Until.IsZero() {
			stop = q.Until.Add(time.Second).UnixMilli()
		}
	}
	var answer []any
	err = s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		answer, err = eventsScript.Run(ctx, s.db.Client, []string{s.db.Prefix},
			direction, at.chunk, at.index, stop, most, lookMost, codes).Slice()
		return err
	})
	if err == nil && len(answer) != 5 {
		err = db.ErrShape
	}
	if err != nil {
		return part, err
	}

	part.next = place{db.Number(answer[0]), int(db.Number(answer[1]))}
	part.over = db.Number(answer[2]) == 1
	if left := db.Number(answer[4]); left > 0 {
		part.passed = time.UnixMilli(left)
	}
	list, _ := answer[3].([]any)
	for _, v := range list {
		row, _ := v.([]any)
		if len(row) != 5 {
			return part, db.ErrShape
		}
		short, _ := row[0].(string)
		head, _ := row[1].(string)
		v := readValue(short, head)
		if v == nil {
			return part, db.ErrShape
		}
		e := readStored(v, fieldsOf(row[2]))
		withoutEntries(e)
		part.rows = append(part.rows, placedEvent{e, place{db.Number(row[3]), int(db.Number(row[4]))}})
	}
	return part, nil
}

// fieldsOf reads a hash from the answer of a script.
func fieldsOf(v any) map[string]string {
	list, _ := v.([]any)
	out := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		out[name], _ = list[i+1].(string)
	}
	return out
}

// readStored makes a record of an event and the fields of f:<id>. If its body cannot be read, its record still names
// the waybill.
func readStored(v *stored, rare map[string]string) *event.Record {
	out := &event.Record{}
	if e, err := v.event(); err == nil {
		out.Event = *e
	} else if code, ok := strings.CutPrefix(v.record, "w:"); ok {
		out.WaybillCode = code
	}
	out.ID = v.id
	out.Sequence = v.sequence
	out.AcceptedAt = v.accepted
	if r := strings.Fields(rare["r"]); len(r) == 4 {
		out.Repeats = int(db.Number(r[0]))
		out.LastRepeat = time.UnixMilli(db.Number(r[1]))
	}
	for digit := range 10 {
		if id := wordOf(rare["r"+strconv.Itoa(digit)]); id != "" {
			out.RepeatedIn = append(out.RepeatedIn, event.CallbackPrefix+id)
		}
	}
	slices.Sort(out.RepeatedIn) // ids sort by time

	for i := range v.deliveries {
		d := &v.deliveries[i]
		owed := readOwed(d, rare["!"+d.endpoint], rare["@"+d.endpoint])
		if owed.Reason == event.ReasonNew {
			owed.Reason = out.Event.Reason()
		}
		if owed.State.Open() {
			owed.Since = d.since(v.accepted)
		}
		out.Deliveries = append(out.Deliveries, owed)
	}
	slices.SortFunc(out.Deliveries, func(a, b event.DeliveryRecord) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return out
}

// readOwed reads the state of a delivery, why it was given up, and its attempts that failed, "<entry> <status>
// <duration, ms>" with ; between them. lookupText replaces the entry.
func readOwed(d *storedDelivery, why, failed string) event.DeliveryRecord {
	o := event.DeliveryRecord{Endpoint: d.endpoint, Attempts: d.attempts, Reason: reasons[string(d.reason)],
		State: event.StateQueued}
	for _, attempt := range strings.Split(failed, ";") {
		if f := strings.Fields(attempt); len(f) == 3 {
			ms, _, _ := strings.Cut(f[0], "-")
			r := readRecord(ms, f[1], f[2])
			r.Text = f[0]
			o.Records = append(o.Records, r)
		}
	}

	switch d.state {
	case 'q':
		if o.Attempts > 0 {
			o.State = event.StateRetrying
		}
	case 'l':
		o.State = event.StateSending
	case 'w':
		o.State = event.StateWaiting
	case 'd':
		o.State = event.StateDelivered
		o.Records = append(o.Records, event.AttemptRecord{At: d.when, Status: d.status, Duration: d.took, N: o.Attempts})
	case 'x':
		o.State = event.StateDead
		o.Why = why
	case 'm':
		o.State = event.StateDismissed
		o.Why = why
	}
	return o
}

// withoutEntries takes the ids of entries out of an event whose texts are not looked up.
func withoutEntries(e *event.Record) {
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Records {
			e.Deliveries[i].Records[j].Text = ""
		}
	}
}

// trim deletes what has been closed for long, and takes it out of the list of events; see lua/trim.lua.
func (s *Store) trim(ctx context.Context) (err error) {
	defer db.Wrap(&err, "trim the list of events")
	const most = 200 // events in a part of a chunk
	if err := s.db.EnsureClock(ctx); err != nil {
		return err
	}
	at := []int64{0, 0, 0, 0} // the chunk, and how far it was looked through
	for {
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			set := s.settings()
			at, err = trimScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, s.db.Now().UnixMilli(),
				set.Retention.Milliseconds(), set.DeadLetterRetention.Milliseconds(), most,
				at[0], at[1], at[2], at[3]).Int64Slice()
			return err
		})
		switch {
		case err != nil:
			return err
		case len(at) != 4:
			return db.ErrShape
		case at[0] == 0:
			return nil
		case at[1] == 0: // that chunk is done
			at[0] = 0
		}
	}
}
