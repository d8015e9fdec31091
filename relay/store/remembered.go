package store

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// Remembered returns what the record of a waybill remembers of its updates under some brands, and whether there is such
// a record. It lives on when the events are gone: for dedupe.window, or for retention where that is longer.
func (s *Store) Remembered(ctx context.Context, code string, brands []string) (r event.Remembered, ok bool, err error) {
	defer db.Wrap(&err, "look at a waybill")
	fields := []string{"q"}
	for _, brand := range brands {
		fields = append(fields, "s:"+brand)
	}
	var answer *redis.SliceCmd
	err = s.db.Slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
		answer = p.HMGet(ctx, s.recordKey(code), fields...)
	})
	if err != nil {
		return event.Remembered{}, false, err
	}

	v := answer.Val()
	if len(v) != len(fields) || v[0] == nil {
		return event.Remembered{}, false, nil
	}
	r.AcceptedAt = time.UnixMilli(db.Number(v[0])) // a sequence is the time of its acceptance, or somewhat later
	for i, brand := range brands {
		const at, sequence, status = 0, 6, 12 // see the table of keys
		known, _ := v[1+i].(string)
		if len(known) < status {
			continue
		}
		one := event.LastStatus{CPCode: brand, Status: known[status:], TrackedAt: millisTime(known[at:sequence]),
			AcceptedAt: millisTime(known[sequence:status])}
		r.Statuses = append(r.Statuses, one)
	}
	return r, true, nil
}

// DuplicateOf returns the accepted event that an event would be a duplicate of if it came now: its id, when it was
// accepted, and whether there is one. lua/accept.lua decides in the same way.
func (s *Store) DuplicateOf(ctx context.Context, e *event.Event) (id string, at time.Time, ok bool, err error) {
	defer db.Wrap(&err, "look for a duplicate")
	row, err := newAcceptRow(queue.Routed{Event: e})
	if err != nil {
		return "", time.Time{}, false, err
	}
	var answer *redis.SliceCmd
	err = s.db.Slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
		answer = p.HMGet(ctx, s.db.Key(row.record), "i:"+row.short(), "q")
	})
	if err != nil {
		return "", time.Time{}, false, err
	}
	v := answer.Val()
	if len(v) != 2 || v[0] == nil {
		return "", time.Time{}, false, nil
	}

	// It is known, but if that was too long ago, it would be a new occurrence.
	known, _ := v[0].(string)
	sequence, occurrence, _ := strings.Cut(known, " ")
	at = time.UnixMilli(db.Number(sequence))
	set := s.settings()
	window := set.Window
	switch last := db.Number(sequence) == db.Number(v[1]); {
	case e.Bare && last:
		window = max(set.Window, set.BareWindow)
	case e.Bare:
		window = set.BareWindow
	}
	if s.db.Now().Sub(at) >= window {
		return "", time.Time{}, false, nil
	}
	id = e.ID
	if occurrence != "" {
		id += "-" + occurrence
	}
	return id, at, true, nil
}
