package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

const (
	// replayLife is how long a replay is listed after it was asked for.
	replayLife = 30 * 24 * time.Hour
	// replayClaim is how long a replica keeps a replay that it does nothing with.
	replayClaim = 10 * time.Second
	// openOf, openOfOperator and openOfAll are how many replays of a tenant, of the operator and of all may be open,
	// running or not. listedOf is how many of each are kept, the latest.
	openOf         = 10
	openOfOperator = 100
	openOfAll      = 1000
	listedOf       = 200
)

// NewReplay writes a replay down, for any replica to work off; see lua/newreplay.lua. It is running from now on. The
// error is event.ErrTooMany if too many are open already.
func (s *Store) NewReplay(ctx context.Context, r event.Replay) (made event.Replay, err error) {
	defer db.Wrap(&err, "begin a replay")
	if err := s.db.EnsureClock(ctx); err != nil {
		return r, err
	}
	now := s.db.Now()
	random := make([]byte, 12)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	r.ID = "rpl_" + strconv.FormatInt(now.UnixMilli(), 36) + hex.EncodeToString(random)
	r.State = event.ReplayRunning
	r.Created = time.UnixMilli(now.UnixMilli())

	own, all := openOf, openOfAll
	if r.Tenant == "" {
		own, all = openOfOperator, 0
	}
	n := 0
	err = s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		n, err = newReplayScript.Run(ctx, s.db.Client, []string{s.db.Prefix},
			now.UnixMilli(), r.ID, r.Tenant, r.Filter, replayLife.Milliseconds(), own, all, listedOf).Int()
		return err
	})
	if err == nil && n == 0 {
		err = event.ErrTooMany
	}
	return r, err
}

// Replays lists replays of the last 30 days, the latest first: at most most of them from the cursor of an earlier page
// on, and the cursor of the next page. tenant is whose replays; empty: all.
func (s *Store) Replays(ctx context.Context, tenant, cursor string, most int) ([]event.Replay, string, error) {
	list := s.db.Key("replays")
	if tenant != "" {
		list = s.tenantReplaysKey(tenant)
	}
	until, offset, err := readReplayCursor(cursor)
	if err != nil {
		return nil, "", err
	}

	var page []redis.Z
	err = s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		page, err = s.db.Client.ZRevRangeByScoreWithScores(ctx, list, &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(until, 10), Offset: offset, Count: int64(most),
		}).Result()
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("list replays: %w", err)
	}

	// New replays do not shift later pages: all pages begin at the first replay of the first page.
	ids := make([]string, len(page))
	for i, z := range page {
		ids[i], _ = z.Member.(string)
	}
	if offset == 0 && len(page) > 0 {
		until = int64(page[0].Score)
	}
	out, err := s.replays(ctx, ids)
	if err != nil || len(ids) < most {
		return out, "", err
	}
	return out, fmt.Sprintf("%d-%d", until, offset+int64(len(ids))), nil
}

// readReplayCursor reads when the first replay of the first page was asked for (ms), and how many were listed since.
func readReplayCursor(cursor string) (until, offset int64, err error) {
	if cursor == "" {
		return math.MaxInt64, 0, nil
	}
	first, passed, _ := strings.Cut(cursor, "-")
	until, errUntil := strconv.ParseInt(first, 10, 64)
	offset, errOffset := strconv.ParseInt(passed, 10, 64)
	if errUntil != nil || errOffset != nil || until < 0 || offset < 0 {
		return 0, 0, event.ErrCursor
	}
	return until, offset, nil
}

// replays reads some replays. It skips those that have expired.
func (s *Store) replays(ctx context.Context, ids []string) ([]event.Replay, error) {
	found := make([]*redis.MapStringStringCmd, len(ids))
	err := s.db.Slices(ctx, len(ids), db.SliceCommands/2, func(p redis.Pipeliner, i int) {
		found[i] = p.HGetAll(ctx, s.replayKey(ids[i]))
	})
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}

	var out []event.Replay
	for i, id := range ids {
		f := found[i].Val()
		if f["state"] == "" {
			continue
		}
		r := event.Replay{
			ID: id, Tenant: f["tenant"], Filter: []byte(f["filter"]), State: event.ReplayState(f["state"]), Cursor: f["cursor"],
			Created: time.UnixMilli(db.Number(f["created"])), Looked: db.Number(f["looked"]), Matched: db.Number(f["matched"]),
			Queued: db.Number(f["queued"]), Skipped: db.Number(f["skipped"]), Dead: db.Number(f["dead"]),
			LookedTo: lookedTo(f["cursor"]), Why: f["why"],
		}
		if f["ended"] != "" {
			r.Ended = time.UnixMilli(db.Number(f["ended"]))
		}
		out = append(out, r)
	}
	return out, nil
}

// lookedTo is about the time up to which a replay at a cursor has looked at events: when the chunk began. Zero: it has
// no cursor, or one of another kind.
func lookedTo(cursor string) time.Time {
	at, err := readPlace(cursor)
	if err != nil || at.chunk == 0 {
		return time.Time{}
	}
	return time.UnixMilli(at.chunk)
}

// Replay gives one replay, and whether there is one of that name.
func (s *Store) Replay(ctx context.Context, id string) (*event.Replay, bool, error) {
	found, err := s.replays(ctx, []string{id})
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	return &found[0], true, nil
}

// CancelReplay ends a replay. It says whether it was running. why is why the relay does that; empty: a person does.
func (s *Store) CancelReplay(ctx context.Context, id, why string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	n, err := cancelScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, s.db.Now().UnixMilli(), id, why).Int()
	if err != nil {
		return false, fmt.Errorf("cancel a replay: %w", err)
	}
	return n == 1, nil
}

// OpenReplays returns all replays that are to be worked off, in the order in which they were asked for.
func (s *Store) OpenReplays(ctx context.Context) (out []event.OpenReplay, err error) {
	defer db.Wrap(&err, "look for replays")
	const most = db.SliceCommands / 2
	for from := int64(0); ; from += most {
		var ids []string
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			ids, err = s.db.Client.ZRange(ctx, s.db.Key("yopen"), from, from+most-1).Result()
			return err
		})
		if err != nil {
			return nil, err
		}

		fields := make([]*redis.SliceCmd, len(ids))
		held := make([]*redis.IntCmd, len(ids))
		err = s.db.Slices(ctx, len(ids), most, func(p redis.Pipeliner, i int) {
			fields[i] = p.HMGet(ctx, s.replayKey(ids[i]), "state", "tenant")
			held[i] = p.Exists(ctx, s.replayHolderKey(ids[i]))
		})
		if err != nil {
			return nil, err
		}
		for i, id := range ids {
			f := fields[i].Val()
			if len(f) != 2 || f[0] == nil {
				continue // it has expired
			}
			tenant, _ := f[1].(string)
			out = append(out, event.OpenReplay{ID: id, Tenant: tenant, Taken: held[i].Val() > 0})
		}

		if len(ids) < most {
			return out, nil
		}
	}
}

// ClaimReplay gives a replay to the caller to work off: for ten seconds, and for ten more with each page; see
// lua/claimreplay.lua. It returns false if another replica has it, or if most of its tenant's other open replays are
// being worked off already.
func (s *Store) ClaimReplay(ctx context.Context, id string, others []string, most int) (*event.Replay, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	args := []any{id, s.db.ID, replayClaim.Milliseconds(), most}
	for _, other := range others {
		args = append(args, other)
	}

	n, err := claimReplayScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, args...).Int()
	if err != nil {
		return nil, false, fmt.Errorf("take a replay up: %w", err)
	}
	if n == 0 {
		return nil, false, nil
	}
	return s.Replay(ctx, id)
}

// adoptReplays puts replays of an older version into the lists of their tenants. It is no script: it runs once, at the
// start, and only adds what is missing, so it may be cut short, or run in several replicas at once.
func (s *Store) adoptReplays(ctx context.Context) (err error) {
	defer db.Wrap(&err, "list replays")
	const most = db.SliceCommands
	for from := int64(0); ; from += most {
		var found []redis.Z
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			found, err = s.db.Client.ZRangeWithScores(ctx, s.db.Key("replays"), from, from+most-1).Result()
			return err
		})
		if err != nil {
			return err
		}

		tenants := make([]*redis.StringCmd, len(found))
		err = s.db.Slices(ctx, len(found), most, func(p redis.Pipeliner, i int) {
			id, _ := found[i].Member.(string)
			tenants[i] = p.HGet(ctx, s.replayKey(id), "tenant")
		})
		if err != nil {
			return err
		}
		err = s.db.Slices(ctx, len(found), most, func(p redis.Pipeliner, i int) {
			if tenant, err := tenants[i].Result(); err == nil {
				p.ZAddNX(ctx, s.tenantReplaysKey(tenant), found[i])
				p.Expire(ctx, s.tenantReplaysKey(tenant), replayLife)
			}
		})
		if err != nil || len(found) < most {
			return err
		}
	}
}

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

// ReleaseReplay lets another replica claim a replay that the caller has claimed, if it has not ended.
func (s *Store) ReleaseReplay(ctx context.Context, id string) {
	s.db.Release(ctx, "replay", id, s.db.ID)
}
