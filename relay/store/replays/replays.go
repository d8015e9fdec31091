// Package replays keeps the list of replays in Redis: which were asked for, who works each off, and how far it is. To
// send a page of one is for package store, which notes in the same script how far the replay is then (ReplayPage).
package replays

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
)

//go:embed lua
var luaFiles embed.FS

// The scripts are the state changes of the list; see those of package store.
var (
	newReplayScript   = script("newreplay")
	claimReplayScript = script("claimreplay")
	cancelScript      = script("cancel")
)

func script(name string, parts ...string) *redis.Script {
	return db.NewScript(luaFiles, name, parts...)
}

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

// List is one replica's access to the list. All methods may be called at the same time.
type List struct{ db *db.DB }

// New makes a List in a Redis. It starts nothing.
func New(d *db.DB) *List { return &List{d} }

// The keys of the list; db/lua/lib/base.lua says what each holds.
func (l *List) replayKey(id string) string            { return l.db.Key("y:" + id) }
func (l *List) replayHolderKey(id string) string      { return l.db.Key("yl:" + id) }
func (l *List) tenantReplaysKey(tenant string) string { return l.db.Key("yt:" + tenant) }

// NewReplay writes a replay down, for any replica to work off; see lua/newreplay.lua. It is running from now on. The
// error is event.ErrTooMany if too many are open already.
func (l *List) NewReplay(ctx context.Context, r event.Replay) (made event.Replay, err error) {
	defer db.Wrap(&err, "begin a replay")
	if err := l.db.EnsureClock(ctx); err != nil {
		return r, err
	}
	now := l.db.Now()
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
	err = l.db.InTurn(ctx, func(ctx context.Context) (err error) {
		n, err = newReplayScript.Run(ctx, l.db.Client, []string{l.db.Prefix},
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
func (l *List) Replays(ctx context.Context, tenant, cursor string, most int) ([]event.Replay, string, error) {
	list := l.db.Key("replays")
	if tenant != "" {
		list = l.tenantReplaysKey(tenant)
	}
	until, offset, err := readReplayCursor(cursor)
	if err != nil {
		return nil, "", err
	}

	var page []redis.Z
	err = l.db.InTurn(ctx, func(ctx context.Context) (err error) {
		page, err = l.db.Client.ZRevRangeByScoreWithScores(ctx, list, &redis.ZRangeBy{
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
	out, err := l.replays(ctx, ids)
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
func (l *List) replays(ctx context.Context, ids []string) ([]event.Replay, error) {
	found := make([]*redis.MapStringStringCmd, len(ids))
	err := l.db.Slices(ctx, len(ids), db.SliceCommands/2, func(p redis.Pipeliner, i int) {
		found[i] = p.HGetAll(ctx, l.replayKey(ids[i]))
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
			LookedTo: store.ListedAt(f["cursor"]), Why: f["why"],
		}
		if f["ended"] != "" {
			r.Ended = time.UnixMilli(db.Number(f["ended"]))
		}
		out = append(out, r)
	}
	return out, nil
}

// Replay gives one replay, and whether there is one of that name.
func (l *List) Replay(ctx context.Context, id string) (*event.Replay, bool, error) {
	found, err := l.replays(ctx, []string{id})
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	return &found[0], true, nil
}

// CancelReplay ends a replay. It says whether it was running. why is why the relay does that; empty: a person does.
func (l *List) CancelReplay(ctx context.Context, id, why string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, l.db.Timeout)
	defer cancel()
	n, err := cancelScript.Run(ctx, l.db.Client, []string{l.db.Prefix}, l.db.Now().UnixMilli(), id, why).Int()
	if err != nil {
		return false, fmt.Errorf("cancel a replay: %w", err)
	}
	return n == 1, nil
}

// OpenReplays returns all replays that are to be worked off, in the order in which they were asked for.
func (l *List) OpenReplays(ctx context.Context) (out []event.OpenReplay, err error) {
	defer db.Wrap(&err, "look for replays")
	const most = db.SliceCommands / 2
	for from := int64(0); ; from += most {
		var ids []string
		err := l.db.InTurn(ctx, func(ctx context.Context) (err error) {
			ids, err = l.db.Client.ZRange(ctx, l.db.Key("yopen"), from, from+most-1).Result()
			return err
		})
		if err != nil {
			return nil, err
		}

		fields := make([]*redis.SliceCmd, len(ids))
		held := make([]*redis.IntCmd, len(ids))
		err = l.db.Slices(ctx, len(ids), most, func(p redis.Pipeliner, i int) {
			fields[i] = p.HMGet(ctx, l.replayKey(ids[i]), "state", "tenant")
			held[i] = p.Exists(ctx, l.replayHolderKey(ids[i]))
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
func (l *List) ClaimReplay(ctx context.Context, id string, others []string, most int) (*event.Replay, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, l.db.Timeout)
	defer cancel()
	args := []any{id, l.db.ID, replayClaim.Milliseconds(), most}
	for _, other := range others {
		args = append(args, other)
	}

	n, err := claimReplayScript.Run(ctx, l.db.Client, []string{l.db.Prefix}, args...).Int()
	if err != nil {
		return nil, false, fmt.Errorf("take a replay up: %w", err)
	}
	if n == 0 {
		return nil, false, nil
	}
	return l.Replay(ctx, id)
}

// Adopt puts replays of an older version into the lists of their tenants. It is no script: it runs once, at the
// start, and only adds what is missing, so it may be cut short, or run in several replicas at once.
func (l *List) Adopt(ctx context.Context) (err error) {
	defer db.Wrap(&err, "list replays")
	const most = db.SliceCommands
	for from := int64(0); ; from += most {
		var found []redis.Z
		err := l.db.InTurn(ctx, func(ctx context.Context) (err error) {
			found, err = l.db.Client.ZRangeWithScores(ctx, l.db.Key("replays"), from, from+most-1).Result()
			return err
		})
		if err != nil {
			return err
		}

		tenants := make([]*redis.StringCmd, len(found))
		err = l.db.Slices(ctx, len(found), most, func(p redis.Pipeliner, i int) {
			id, _ := found[i].Member.(string)
			tenants[i] = p.HGet(ctx, l.replayKey(id), "tenant")
		})
		if err != nil {
			return err
		}
		err = l.db.Slices(ctx, len(found), most, func(p redis.Pipeliner, i int) {
			if tenant, err := tenants[i].Result(); err == nil {
				p.ZAddNX(ctx, l.tenantReplaysKey(tenant), found[i])
				p.Expire(ctx, l.tenantReplaysKey(tenant), replayLife)
			}
		})
		if err != nil || len(found) < most {
			return err
		}
	}
}

// ReleaseReplay lets another replica claim a replay that the caller has claimed, if it has not ended.
func (l *List) ReleaseReplay(ctx context.Context, id string) {
	l.db.Release(ctx, "replay", id, l.db.ID)
}
