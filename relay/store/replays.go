package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
)

const (
	// replayLife is how long a replay is listed after it was asked for.
	replayLife = 30 * 24 * time.Hour
	// replayClaim is how long a replay is left to a replica that does nothing with it.
	replayClaim = 10 * time.Second
	maxReplays  = 1000
)

// NewReplay writes a replay down, for any replica to work off. It is "running" from now on.
func (s *Store) NewReplay(ctx context.Context, r event.Replay) (event.Replay, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return r, fmt.Errorf("begin a replay: %w", err)
	}
	now := s.Now()
	r.ID, r.State, r.Created = "rpl_"+strconv.FormatInt(now.UnixMilli(), 36)+s.newCall()[:4], "running", time.UnixMilli(now.UnixMilli())
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, s.key("y:"+r.ID), "tenant", r.Tenant, "filter", r.Filter, "state", r.State, "created", now.UnixMilli())
		p.Expire(ctx, s.key("y:"+r.ID), replayLife)
		for _, list := range []string{"replays", "yopen"} {
			p.ZAdd(ctx, s.key(list), redis.Z{Score: float64(now.UnixMilli()), Member: r.ID})
			p.ZRemRangeByScore(ctx, s.key(list), "-inf", strconv.FormatInt(now.Add(-replayLife).UnixMilli(), 10))
			p.Expire(ctx, s.key(list), replayLife)
		}
		return nil
	})
	if err != nil {
		return r, fmt.Errorf("begin a replay: %w", err)
	}
	return r, nil
}

// Replays lists all replays of the last 30 days, the latest first, at most a thousand.
func (s *Store) Replays(ctx context.Context) ([]event.Replay, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	ids, err := s.client.ZRevRange(ctx, s.key("replays"), 0, maxReplays-1).Result()
	if err != nil {
		return nil, fmt.Errorf("list replays: %w", err)
	}
	return s.replays(ctx, ids)
}

func (s *Store) replays(ctx context.Context, ids []string) ([]event.Replay, error) {
	found := make([]*redis.MapStringStringCmd, len(ids))
	if err := s.pipelined(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			found[i] = p.HGetAll(ctx, s.key("y:"+id))
		}
	}); err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	var out []event.Replay
	for i, id := range ids {
		f := found[i].Val()
		if f["state"] == "" {
			continue
		}
		r := event.Replay{ID: id, Tenant: f["tenant"], Filter: []byte(f["filter"]), State: f["state"], Cursor: f["cursor"],
			Created: time.UnixMilli(number(f["created"])), Looked: number(f["looked"]), Matched: number(f["matched"]),
			Queued: number(f["queued"]), Skipped: number(f["skipped"])}
		if f["ended"] != "" {
			r.Ended = time.UnixMilli(number(f["ended"]))
		}
		out = append(out, r)
	}
	return out, nil
}

// Replay gives one replay; nil if there is none of that name.
func (s *Store) Replay(ctx context.Context, id string) (*event.Replay, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	found, err := s.replays(ctx, []string{id})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// CancelReplay ends a replay. It says whether it was running.
func (s *Store) CancelReplay(ctx context.Context, id string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	n, err := cancelScript.Run(ctx, s.client, []string{s.prefix}, s.Now().UnixMilli(), id).Int()
	if err != nil {
		return false, fmt.Errorf("cancel a replay: %w", err)
	}
	return n == 1, nil
}

// ClaimReplay gives a running replay that no other replica works off; nil if there is none. It is the caller's for ten
// seconds, and again with each page.
func (s *Store) ClaimReplay(ctx context.Context) (*event.Replay, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	ids, err := s.client.ZRange(ctx, s.key("yopen"), 0, maxReplays-1).Result()
	if err != nil {
		return nil, fmt.Errorf("look for replays: %w", err)
	}
	for _, id := range ids {
		mine, err := s.client.SetNX(ctx, s.key("yl:"+id), s.replica, replayClaim).Result()
		if err != nil {
			return nil, fmt.Errorf("claim a replay: %w", err)
		}
		if mine {
			return s.Replay(ctx, id)
		}
	}
	return nil, nil
}

// ReplayPage sends one page of a replay that the caller has claimed; see lua/replay.lua. It returns what is leased to the
// caller, and false if the replay is its no more.
func (s *Store) ReplayPage(ctx context.Context, id string, page event.ReplayPage) ([]*event.Delivery, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return nil, false, fmt.Errorf("replay events: %w", err)
	}
	state := "running"
	if page.Done {
		state = "done"
	}
	local, spans := time.Now(), make(map[string]time.Duration)
	args := []any{s.Now().UnixMilli(), s.newCall(), id, s.replica, page.Cursor, state, page.Looked, page.Matched, page.Counted, s.settings().Retention.Milliseconds()}
	for _, r := range page.Resends {
		short, err := shortID(r.EventID)
		if err != nil {
			return nil, false, fmt.Errorf("replay events: %w", err)
		}
		spans[r.Endpoint] = max(spans[r.Endpoint], r.Lease)
		args = append(args, short, r.Endpoint, r.Lease.Milliseconds(), flag(r.Add))
	}
	answer, err := s.run(ctx, replayScript, args)
	if err != nil {
		return nil, false, fmt.Errorf("replay events: %w", err)
	}
	if len(answer) == 0 || number(answer[0]) == 0 {
		return nil, false, nil
	}
	if len(answer) != 3 {
		return nil, false, fmt.Errorf("replay events: %w", errShape)
	}
	out, err := readDeliveries(answer[1], local, spans)
	if err != nil {
		return nil, false, fmt.Errorf("replay events: %w", err)
	}
	return out, true, nil
}

// LetGoReplay lets another replica have a replay that the caller has claimed, if it is not at its end.
func (s *Store) LetGoReplay(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if held, err := s.client.Get(ctx, s.key("yl:"+id)).Result(); err == nil && held == s.replica {
		s.client.Del(ctx, s.key("yl:"+id)) // if that fails, the claim ends by itself
	}
}
