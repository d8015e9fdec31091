package subscriptions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
)

var china = time.FixedZone("UTC+8", 8*60*60)

// Admit lets a tenant's request for so many waybills in, or returns how long the tenant has to wait, and whether that
// is because of its daily quota. All replicas count together. A refused request uses up nothing.
func (l *Ledger) Admit(ctx context.Context, tenant string, limits ledger.Limits, waybills int) (
	wait time.Duration, quota bool, err error,
) {
	defer db.Wrap(&err, "admit request")
	if err := l.db.EnsureClock(ctx); err != nil {
		return 0, false, err
	}
	interval := 0.0
	if limits.Rate > 0 {
		interval = 1000 / limits.Rate
	}

	answer, err := l.db.Call(ctx, admitScript, 2, tenant, interval, max(1, limits.Rate), waybills, limits.DailyQuota,
		untilMidnight(l.db.Now()).Milliseconds())
	if err != nil {
		return 0, false, err
	}
	if db.Number(answer[0]) == 0 {
		return 0, false, nil
	}
	return time.Duration(max(db.Number(answer[1]), 1)) * time.Millisecond, db.Number(answer[0]) == 2, nil
}

// Subscription returns a tenant's subscription of a waybill, and whether there is one.
func (l *Ledger) Subscription(ctx context.Context, tenant string, w event.Waybill) (ledger.Subscription, bool, error) {
	found, err := l.subscriptions(ctx, tenant, []string{Entry(w)})
	if err != nil {
		return ledger.Subscription{}, false, fmt.Errorf("read subscription: %w", err)
	}
	if len(found) == 0 {
		return ledger.Subscription{}, false, nil
	}
	return found[0], true, nil
}

// Subscriptions lists the subscriptions of a tenant, those that expire last first: at most most of them, and where the
// next page begins, empty after the last one. from is empty for the first page. A subscription that is renewed between
// two pages may be missing from both.
func (l *Ledger) Subscriptions(ctx context.Context, tenant, from string, most int) (
	out []ledger.Subscription, next string, err error,
) {
	start, skip, err := readSubscriptionCursor(from)
	if err != nil {
		return nil, "", err
	}
	defer db.Wrap(&err, "list subscriptions")

	var page []redis.Z
	err = l.db.InTurn(ctx, func(ctx context.Context) (err error) {
		page, err = l.db.Client.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
			Key: l.subscribedKey(tenant), ByScore: true, Rev: true,
			Start: start, Stop: strconv.FormatInt(l.db.Now().UnixMilli(), 10), Offset: skip, Count: int64(most),
		}).Result()
		return err
	})
	if err != nil {
		return nil, "", err
	}

	names := make([]string, len(page))
	for i, z := range page {
		names[i], _ = z.Member.(string)
		if score := strconv.FormatInt(int64(z.Score), 10); score != start {
			start = score
			skip = 0
		}
		skip++
	}
	out, err = l.subscriptions(ctx, tenant, names)
	if err != nil || len(page) < most {
		return out, "", err
	}
	return out, fmt.Sprintf("%s-%d", start, skip), nil
}

// CountSubscriptions counts the subscriptions of a tenant, and of the most that end last how many are in each state.
func (l *Ledger) CountSubscriptions(ctx context.Context, tenant string, most int) (out ledger.Counts, err error) {
	defer db.Wrap(&err, "count subscriptions")
	const ranks = 500 // names read in one slice
	key := l.subscribedKey(tenant)
	var total *redis.IntCmd
	var today *redis.StringCmd
	err = l.db.Slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
		total = p.ZCount(ctx, key, strconv.FormatInt(l.db.Now().UnixMilli(), 10), "+inf")
		today = p.Get(ctx, l.db.Key("d:"+tenant))
	})
	if err != nil {
		return ledger.Counts{}, err
	}
	out.Total = int(total.Val())
	out.Today = int(db.Number(today.Val()))
	out.States = make(map[ledger.State]int)

	// Those that have ended come last, and are not looked at.
	most = min(most, out.Total)
	for from := 0; from < most; from += ranks {
		var names []string
		err := l.db.InTurn(ctx, func(ctx context.Context) (err error) {
			names, err = l.db.Client.ZRevRange(ctx, key, int64(from), int64(min(from+ranks, most)-1)).Result()
			return err
		})
		if err != nil {
			return ledger.Counts{}, err
		}
		states := make([]*redis.StringCmd, len(names))
		err = l.db.Slices(ctx, len(names), db.SliceCommands, func(p redis.Pipeliner, i int) {
			states[i] = p.HGet(ctx, l.entryKey(names[i]), "u")
		})
		if err != nil {
			return ledger.Counts{}, err
		}
		for _, state := range states {
			out.Looked++
			if known := upstreamStates[state.Val()]; known != "" { // it has just ended otherwise
				out.States[known]++
			}
		}
	}
	return out, nil
}

// readSubscriptionCursor reads where a page begins: when its first subscription expires (ms; +inf: never), and how many
// that expire then have been listed already.
func readSubscriptionCursor(from string) (start string, skip int64, err error) {
	if from == "" {
		return "+inf", 0, nil
	}
	start, passed, _ := strings.Cut(from, "-")
	skip, err = strconv.ParseInt(passed, 10, 64)
	if err != nil || skip < 0 || start == "" || strings.Trim(start, "0123456789") != "" {
		return "", 0, event.ErrCursor
	}
	return start, skip, nil
}

// subscriptions reads the subscriptions of some entries. It skips those that have ended.
func (l *Ledger) subscriptions(ctx context.Context, tenant string, entries []string) ([]ledger.Subscription, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	fields := make([]*redis.SliceCmd, len(entries))
	lives := make([]*redis.DurationCmd, len(entries))
	err := l.db.Slices(ctx, len(entries), db.SliceCommands/2, func(p redis.Pipeliner, i int) {
		fields[i] = p.HMGet(ctx, l.entryKey(entries[i]), "@"+tenant, "u", "c", "m", "i", "r", "t", "x")
		lives[i] = p.PTTL(ctx, l.entryKey(entries[i]))
	})
	if err != nil {
		return nil, err
	}

	now := l.db.Now()
	var out []ledger.Subscription
	for i, name := range entries {
		f := fields[i].Val()
		if len(f) != 8 || f[0] == nil {
			continue
		}
		state, _ := f[1].(string)
		found := ledger.Subscription{
			Tenant: tenant, Waybill: readEntry(name),
			Since: time.UnixMilli(db.Number(f[0])), Expires: now.Add(lives[i].Val()),
			State: upstreamStates[state], Answer: readAnswer(f[2], f[3], f[4]),
		}
		if found.State == ledger.Pending && f[5] != nil && f[6] == nil { // see db/lua/lib/ledger.lua
			found.RetryAt = timeOf(f[7])
		}
		out = append(out, found)
	}
	return out, nil
}

// subscribersShown is about how many tenants are shown that have subscribed a waybill under one brand.
const subscribersShown = 100

// WaybillSubscriptions returns the subscriptions of a waybill under some brands, of one tenant, or of all (tenant is
// empty): about a hundred of each brand. It is never nil without an error.
func (l *Ledger) WaybillSubscriptions(ctx context.Context, code string, brands []string, tenant string) (
	out []ledger.Subscription, err error,
) {
	defer db.Wrap(&err, "read subscriptions of a waybill")
	ctx, cancel := context.WithTimeout(ctx, 2*l.db.Timeout)
	defer cancel()
	entries := make([]string, len(brands))
	for i, brand := range brands {
		entries[i] = Entry(event.Waybill{CPCode: brand, Code: code})
	}
	tenants := map[string][]string{tenant: entries}
	if tenant == "" {
		if tenants, err = l.subscribersOf(ctx, entries); err != nil {
			return nil, err
		}
	}

	out = []ledger.Subscription{}
	for _, who := range slices.Sorted(maps.Keys(tenants)) {
		found, err := l.subscriptions(ctx, who, tenants[who])
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// subscribersOf returns which of the entries each tenant has subscribed.
func (l *Ledger) subscribersOf(ctx context.Context, entries []string) (map[string][]string, error) {
	fields := make([]*redis.ScanCmd, len(entries))
	err := l.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		for i, name := range entries {
			fields[i] = p.HScan(ctx, l.entryKey(name), 0, "@*", subscribersShown)
		}
	})
	if err != nil {
		return nil, err
	}

	tenants := make(map[string][]string)
	for i, name := range entries {
		pairs, _ := fields[i].Val() // field, value, field, …
		for j := 0; j+1 < min(len(pairs), 2*subscribersShown); j += 2 {
			tenant := strings.TrimPrefix(pairs[j], "@")
			tenants[tenant] = append(tenants[tenant], name)
		}
	}
	return tenants, nil
}

// Subscribers lists the tenants that have subscribed anything, sorted by name.
func (l *Ledger) Subscribers(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.db.Timeout)
	defer cancel()
	now := strconv.FormatInt(l.db.Now().UnixMilli(), 10)
	names, err := l.db.Client.ZRangeByScore(ctx, l.db.Key("ledger"), &redis.ZRangeBy{Min: now, Max: "+inf"}).Result()
	if err != nil {
		return nil, fmt.Errorf("list tenants with subscriptions: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Import puts subscriptions back into the ledger; see lua/import.lua. It returns how many were new. It skips those that
// have expired.
func (l *Ledger) Import(ctx context.Context, all []ledger.Subscription) (added int, err error) {
	defer db.Wrap(&err, "import subscriptions")
	if err := l.db.EnsureClock(ctx); err != nil {
		return 0, err
	}
	now := l.db.Now()
	for part := range slices.Chunk(all, sliceSubscriptions) {
		var args []any
		for _, x := range part {
			if life := x.Expires.Sub(now); life > 0 {
				args = append(args, Entry(x.Waybill), x.Tenant, x.Since.UnixMilli(), life.Milliseconds(),
					upstreamLetters[x.State], x.Answer.Code, x.Answer.Msg, x.Answer.UID)
			}
		}
		answer, err := l.db.Call(ctx, importScript, 1, args...)
		if err != nil {
			return added, err
		}
		added += int(db.Number(answer[0]))
	}
	return added, nil
}
