package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/subscriptions"
)

// Latest returns the last event of a waybill that is in the ledger, and whether one is known. The event has the fields
// that are stored; the others can be read from its data again.
func (s *Store) Latest(ctx context.Context, w event.Waybill) (e *event.Event, known bool, err error) {
	defer db.Wrap(&err, "read the last event of a waybill")
	ctx, cancel := context.WithTimeout(ctx, 2*s.db.Timeout)
	defer cancel()
	short, err := s.db.Client.HGet(ctx, s.entryKey(w), "e").Result()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}

	value, err := s.db.Client.Get(ctx, s.eventKey(short)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, false, err
	}
	v := readValue(short, value)
	if v == nil {
		return nil, false, nil // Redis has lost it: there is nothing to catch up with
	}
	if e, err = v.event(); err != nil {
		return &event.Event{ID: v.id, Sequence: v.sequence, AcceptedAt: v.accepted}, true, nil
	}
	return e, true, nil
}

// CatchUp queues the last event of a waybill for those of a tenant's endpoints that have no delivery of it; see
// lua/catchup.lua. Without an event, or without endpoints, it only notes that the tenant has been caught up.
func (s *Store) CatchUp(ctx context.Context, tenant string, w event.Waybill, e *event.Event, to []queue.Candidate) (
	result queue.CatchUpResult, err error,
) {
	defer db.Wrap(&err, "catch up")
	short := ""
	if e != nil {
		if short, err = shortID(e.ID); err != nil {
			return queue.CatchUpResult{}, err
		}
	}

	args := []any{s.db.NewCall(), tenant, subscriptions.Entry(w), short, s.settings().Retention.Milliseconds()}
	for _, c := range to {
		args = append(args, c.Endpoint, db.Flag(c.Ordered))
	}
	answer, err := s.db.Call(ctx, catchUpScript, 3, args...)
	if err != nil {
		return queue.CatchUpResult{}, err
	}
	return queue.CatchUpResult{
		Stale: db.Number(answer[0]) == 0, Deliveries: int(db.Number(answer[1])), Queued: int(db.Number(answer[2])),
	}, nil
}
