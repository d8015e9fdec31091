package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// LastCallback notes that a callback came at a time (zero: none did), and gives the time of the latest one of all replicas, to the
// millisecond; zero if none is known.
func (s *Store) LastCallback(ctx context.Context, at time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	var latest *redis.FloatCmd
	if _, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		if !at.IsZero() {
			p.ZAddGT(ctx, s.key("heard"), redis.Z{Score: float64(at.UnixMilli()), Member: "callback"})
		}
		latest = p.ZScore(ctx, s.key("heard"), "callback")
		return nil
	}); errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	} else if err != nil {
		return time.Time{}, fmt.Errorf("note a callback: %w", err)
	}
	return time.UnixMilli(int64(latest.Val())), nil
}
