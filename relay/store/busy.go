package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// Busy lists the endpoints that may have something open, waiting or dead, or that are held back, sorted by name. All
// other endpoints have nothing. It is one round trip of four commands, however many endpoints there are.
func (s *Store) Busy(ctx context.Context) ([]queue.BusyEndpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.db.Timeout)
	defer cancel()
	var due, waiting, parked *redis.StringSliceCmd
	var dead *redis.ZSliceCmd
	err := s.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		due = p.ZRange(ctx, s.db.Key("due"), 0, -1)
		dead = p.ZRangeWithScores(ctx, s.db.Key("dead"), 0, -1)
		waiting = p.HKeys(ctx, s.db.Key("wait"))
		parked = p.HKeys(ctx, s.db.Key("ctl"))
	})
	if err != nil {
		return nil, fmt.Errorf("list busy endpoints: %w", err)
	}

	latest := make(map[string]time.Time, len(dead.Val()))
	names := slices.Concat(due.Val(), waiting.Val(), parked.Val())
	for _, d := range dead.Val() {
		name, _ := d.Member.(string)
		latest[name] = time.UnixMilli(int64(d.Score))
		names = append(names, name)
	}
	slices.Sort(names)

	var out []queue.BusyEndpoint
	for _, name := range slices.Compact(names) {
		out = append(out, queue.BusyEndpoint{Endpoint: name, LatestDead: latest[name]})
	}
	return out, nil
}

// LastDelivered says when the latest delivery of each endpoint was made, in their order, as far as their histories go;
// zero: none was. It is one command for each.
func (s *Store) LastDelivered(ctx context.Context, endpoints []string) ([]time.Time, error) {
	latest := make([]*redis.StringCmd, len(endpoints))
	err := s.db.Slices(ctx, len(endpoints), db.SliceCommands, func(p redis.Pipeliner, i int) {
		latest[i] = p.LIndex(ctx, s.deliveredKey(endpoints[i]), 0)
	})
	if err != nil {
		return nil, fmt.Errorf("look for the latest deliveries: %w", err)
	}

	out := make([]time.Time, len(endpoints))
	for i, attempt := range latest {
		out[i] = deliveredAt(attempt.Val())
	}
	return out, nil
}

// deliveredAt reads when a delivery of an endpoint's history was made; zero: there is none.
func deliveredAt(attempt string) time.Time {
	ms, _, found := strings.Cut(attempt, " ")
	if !found {
		return time.Time{}
	}
	return time.UnixMilli(db.Number(ms))
}
