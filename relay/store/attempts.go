package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
)

// EndpointAttempt is one attempt of an endpoint's history.
type EndpointAttempt struct {
	event.AttemptRecord
	EventID string
	// N is the number of the attempt of its delivery, from 1.
	N int
	// Kind is what became of the delivery: an event.OutcomeKind.
	Kind byte
}

// Attempts lists the latest attempts of an endpoint, the latest first, at most most of them. About Options.History are kept of
// those that failed, and of those that delivered.
func (s *Store) Attempts(ctx context.Context, endpoint string, most int) ([]EndpointAttempt, error) {
	var failed *redis.XMessageSliceCmd
	var good *redis.StringSliceCmd
	err := s.slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
		failed, good = s.latest(ctx, p, endpoint, most)
	})
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	tries, err := latestFirst(failed.Val(), good.Val(), most)
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	return tries, nil
}

// latest asks for the latest attempts of an endpoint, for latestFirst.
func (s *Store) latest(ctx context.Context, p redis.Pipeliner, endpoint string, most int) (failed *redis.XMessageSliceCmd, good *redis.StringSliceCmd) {
	return p.XRevRangeN(ctx, s.failedKey(endpoint), "+", "-", int64(most)), p.LRange(ctx, s.deliveredKey(endpoint), 0, int64(most)-1)
}

// latestFirst merges the attempts that failed and those that delivered, as lua/lib/base.lua has them (a:, d:), the latest first; of two in the
// same millisecond, one that delivered.
func latestFirst(failed []redis.XMessage, good []string, most int) ([]EndpointAttempt, error) {
	all := make([]EndpointAttempt, 0, len(failed)+len(good))
	for _, entry := range good {
		t := EndpointAttempt{Kind: byte(event.Delivered)}
		f := strings.Fields(entry)
		if len(f) != 5 {
			return nil, fmt.Errorf("attempt %q: not five fields", entry)
		}
		t.At, t.Status, t.Duration, t.N = time.UnixMilli(number(f[0])), int(number(f[1])), time.Duration(number(f[2]))*time.Millisecond, int(number(f[3]))
		t.EventID = f[4]
		all = append(all, t)
	}
	for _, entry := range failed {
		field := func(name string) string { v, _ := entry.Values[name].(string); return v }
		ms, _, _ := strings.Cut(entry.ID, "-")
		t := EndpointAttempt{EventID: field("i"), N: int(number(field("n")))}
		t.At, t.Status, t.Text, t.Duration = time.UnixMilli(number(ms)), int(number(field("s"))), field("m"), time.Duration(number(field("d")))*time.Millisecond
		if k := field("k"); k != "" {
			t.Kind = k[0]
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(x, y EndpointAttempt) int { return y.At.Compare(x.At) })
	all = all[:min(most, len(all))]
	for i := range all {
		var err error
		if all[i].EventID, err = longID(all[i].EventID); err != nil {
			return nil, err
		}
	}
	return all, nil
}
