package store

import (
	"context"
	"encoding/binary"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

// stored is what Redis has of an event (e:<id>): db/lua/lib/event.lua says what stands where.
type stored struct {
	id         string // evt_…
	sequence   int64
	accepted   time.Time
	record     string
	deliveries []storedDelivery
	body       string // or as much of it as was read
}

// storedDelivery is the state of a delivery.
type storedDelivery struct {
	endpoint      string
	state, reason byte
	attempts      int
	when          time.Time // zero: none
	status        int       // of the answer that delivered it
	took          time.Duration
}

// The places of a head, as db/lua/lib/event.lua counts them, less one.
const (
	headCount, headForm, headAccepted, headSequence = 3, 5, 7, 13

	headHash, headRecord, headStates = 31, 60, 63

	stateBytes = 26
)

// headBytes is the last byte of what is read of an event for its head, and lineBytes for the first line of its body as
// well. Few need more.
const (
	headBytes = 255
	lineBytes = 4095
)

// headLength is how long the head of a value is, of which at least headCount bytes were read.
func headLength(value string) int { return number(value[:headCount]) }

// readValue reads an event with the id that keys have of it. It returns nil if the value, or what was read of it, has
// no whole head.
func readValue(short, value string) *stored {
	if len(value) < headStates || len(value) < headLength(value) {
		return nil
	}
	head, n := headLength(value), number(value[headCount:headForm])
	wide := value[headForm] == 'w'
	width := 1
	if wide {
		width = stateBytes
	}
	record := number(value[headRecord:headStates])
	if head < headStates+n*width+record+1 {
		return nil
	}
	id := joinID(short, value[headHash:headRecord])
	if id == "" {
		return nil
	}

	states, text := value[headStates:][:n*width], value[headStates+n*width:head]
	v := &stored{
		id: id, sequence: int64(number(value[headSequence:][:6])), accepted: millisTime(value[headAccepted:headSequence]),
		record: text[:record], deliveries: make([]storedDelivery, n), body: value[head:],
	}
	_, names, _ := strings.Cut(text[record:], "\t") // behind the brand
	for i := range v.deliveries {
		d := &v.deliveries[i]
		d.endpoint, names, _ = strings.Cut(names, "\t")
		d.state, d.reason = states[i*width], 'n'
		if wide {
			d.read(states[i*width:][:stateBytes])
		}
	}
	return v
}

// read reads the bytes of a state.
func (d *storedDelivery) read(b string) {
	const when, answer, took, base, none = 16, 22, 23, 200, 255
	d.reason = b[1]
	d.attempts = number(b[2:4])
	d.when = millisTime(b[when:answer])
	if b[answer] != none {
		d.status = base + int(b[answer])
	}
	d.took = time.Duration(number(b[took:])) * time.Millisecond
}

// since is when the age of an open delivery began: with its event, or later, if it was redriven, replayed, or caught up
// with.
func (d *storedDelivery) since(accepted time.Time) time.Time {
	if d.when.IsZero() {
		return accepted
	}
	return d.when
}

// of returns the state of the delivery to an endpoint, nil if there is none.
func (v *stored) of(endpoint string) *storedDelivery {
	for i := range v.deliveries {
		if v.deliveries[i].endpoint == endpoint {
			return &v.deliveries[i]
		}
	}
	return nil
}

// event decodes the body, or the first line of it.
func (v *stored) event() (*event.Event, error) {
	e, err := decodeBody(v.body)
	if err != nil {
		return nil, err
	}
	e.ID = v.id
	e.Sequence = v.sequence
	e.AcceptedAt = v.accepted
	return e, nil
}

// number reads bytes, the highest first.
func number(b string) int {
	var all [8]byte
	copy(all[len(all)-len(b):], b)
	return int(binary.BigEndian.Uint64(all[:])) //nolint:gosec // at most six bytes
}

// millisTime reads a time (ms); 0 is none.
func millisTime(b string) time.Time {
	if n := number(b); n > 0 {
		return time.UnixMilli(int64(n))
	}
	return time.Time{}
}

// readHeads reads the heads of events; nil is an event that is not there.
func (s *Store) readHeads(ctx context.Context, shorts []string) ([]*stored, error) {
	return s.readFirst(ctx, shorts, false)
}

// readLines reads the heads of events, and the first line of their bodies; nil is an event that is not there.
func (s *Store) readLines(ctx context.Context, shorts []string) ([]*stored, error) {
	return s.readFirst(ctx, shorts, true)
}

func (s *Store) readFirst(ctx context.Context, shorts []string, line bool) ([]*stored, error) {
	last := headBytes
	if line {
		last = lineBytes
	}
	values := make([]*redis.StringCmd, len(shorts))
	err := s.db.Slices(ctx, len(shorts), db.SliceCommands, func(p redis.Pipeliner, i int) {
		values[i] = p.GetRange(ctx, s.eventKey(shorts[i]), 0, int64(last))
	})
	if err != nil {
		return nil, err
	}

	// Some have very many endpoints, or very long texts.
	var long []int
	for i, value := range values {
		v := value.Val()
		if len(v) > last && (headLength(v) > len(v) || line && !strings.Contains(v[headLength(v):], "\n")) {
			long = append(long, i)
		}
	}
	err = s.db.Slices(ctx, len(long), 1, func(p redis.Pipeliner, i int) {
		at := long[i]
		end := int64(headLength(values[at].Val()) + last)
		values[at] = p.GetRange(ctx, s.eventKey(shorts[at]), 0, end)
	})
	if err != nil {
		return nil, err
	}

	out := make([]*stored, len(shorts))
	for i, short := range shorts {
		out[i] = readValue(short, values[i].Val())
		if out[i] != nil {
			first, _, _ := strings.Cut(out[i].body, "\n")
			out[i].body = first + "\n"
		}
	}
	return out, nil
}

// readSome reads events: the first ones whole, as many as have together about so many bytes (0: none), and of the rest
// the first line of their bodies. It returns how many are whole.
func (s *Store) readSome(ctx context.Context, shorts []string, most int64) (found []*stored, whole int, err error) {
	if most > 0 {
		if found, err = s.readEvents(ctx, shorts, most); err != nil {
			return nil, 0, err
		}
	}
	lines, err := s.readLines(ctx, shorts[len(found):])
	return append(found, lines...), len(found), err
}

// readEvents reads whole events, the first ones: as many as have together at most so many bytes, but at least one. nil
// is an event that is not there.
func (s *Store) readEvents(ctx context.Context, shorts []string, most int64) ([]*stored, error) {
	keys := make([]string, len(shorts))
	for i, short := range shorts {
		keys[i] = s.eventKey(short)
	}
	values, err := s.db.ReadStrings(ctx, keys, most)
	if err != nil {
		return nil, err
	}

	out := make([]*stored, len(values))
	for i, value := range values {
		if int64(len(value)) > db.SliceBytes {
			if value, err = s.settled(ctx, keys[i], value); err != nil {
				return nil, err
			}
		}
		out[i] = readValue(shorts[i], value)
	}
	return out, nil
}

// settled returns a large value that was read in parts, or reads it again if its head has become longer meanwhile, so
// that the parts do not fit together. That happens once or twice in the life of an event.
func (s *Store) settled(ctx context.Context, key, value string) (string, error) {
	const most = 5
	for range most {
		var length *redis.IntCmd
		var head *redis.StringCmd
		err := s.db.Slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
			length = p.StrLen(ctx, key)
			head = p.GetRange(ctx, key, 0, headForm)
		})
		if err != nil {
			return "", err
		}
		if length.Val() == int64(len(value)) && strings.HasPrefix(value, head.Val()) {
			return value, nil
		}

		values, err := s.db.ReadStrings(ctx, []string{key}, 0)
		if err != nil || len(values) != 1 {
			return "", err
		}
		value = values[0]
	}
	return "", nil
}
