package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// LastCallback notes that a callback came at a time (zero: none did), and returns the time of the latest one at any
// replica, to the millisecond; zero if none is known. It is no script: an older time never replaces a newer one, so the
// order of replicas does not matter.
func (s *Store) LastCallback(ctx context.Context, at time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	var latest *redis.FloatCmd
	err := s.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		if !at.IsZero() {
			p.ZAddGT(ctx, s.db.Key("heard"), redis.Z{Score: float64(at.UnixMilli()), Member: "callback"})
		}
		latest = p.ZScore(ctx, s.db.Key("heard"), "callback")
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("note a callback: %w", err)
	}

	if errors.Is(latest.Err(), redis.Nil) {
		return time.Time{}, nil
	}
	return time.UnixMilli(int64(latest.Val())), nil
}
