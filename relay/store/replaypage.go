package store

import (
	"context"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

// ReplayPage sends one page of a replay that the caller has claimed; see lua/replay.lua. It returns what is leased to
// the caller, and false if another replica has taken the replay over.
func (s *Store) ReplayPage(ctx context.Context, id string, page event.ReplayPage) (
	leased []*event.Delivery, held bool, err error,
) {
	defer db.Wrap(&err, "replay events")
	if err := s.db.EnsureClock(ctx); err != nil {
		return nil, false, err
	}
	state := event.ReplayRunning
	if page.Done {
		state = event.ReplayDone
	}
	args := []any{
		s.db.Now().UnixMilli(), s.db.NewCall(), id, s.db.ID, page.Cursor, string(state), page.Looked, page.Matched,
		page.Counted, page.CountedDead, page.Left, s.settings().Retention.Milliseconds(),
	}
	spans := make(map[string]time.Duration)
	for _, r := range page.Resends {
		short, err := shortID(r.EventID)
		if err != nil {
			return nil, false, err
		}
		spans[r.Endpoint] = max(spans[r.Endpoint], r.Lease)
		args = append(args, short, r.Endpoint, r.Lease.Milliseconds(),
			db.Flag(r.Add)+2*db.Flag(!s.pacingOf(r.Endpoint).unordered))
	}

	local := time.Now() // before the call, so that leases are never taken for longer than they are
	var answer []any
	err = s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		answer, err = s.db.Do(ctx, replayScript, args)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if len(answer) == 0 || db.Number(answer[0]) == 0 {
		return nil, false, nil
	}
	if len(answer) != 3 {
		return nil, false, db.ErrShape
	}
	leased, err = readDeliveries(answer[1], local, spans)
	return leased, err == nil, err
}
