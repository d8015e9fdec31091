package store

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Redrive queues dead letters of an endpoint again, due at once. It returns how many there were.
func (s *Store) Redrive(ctx context.Context, endpoint string, ids ...string) (int, error) {
	if err := s.clock.ensure(ctx); err != nil {
		return 0, fmt.Errorf("redrive dead letters: %w", err)
	}
	n, err := s.changeDeadLetters(ctx, ids, func(ctx context.Context, shorts []any) ([]any, error) {
		return s.run(ctx, redriveScript, append([]any{s.Now().UnixMilli(), s.newCall(), endpoint}, shorts...))
	})
	if err != nil {
		return n, fmt.Errorf("redrive dead letters: %w", err)
	}
	return n, nil
}

// Park pauses an endpoint: its deliveries stay open, and none is attempted. A 410 parks it as gone by itself.
func (s *Store) Park(ctx context.Context, endpoint string) error {
	return s.park(ctx, endpoint, "paused")
}

// Resume goes on with an endpoint that is paused, gone, or held back by its breaker. What has gathered is let go at a growing
// pace. An endpoint that was seen to answer twice is trusted again.
func (s *Store) Resume(ctx context.Context, endpoint string) error { return s.park(ctx, endpoint, "") }

func (s *Store) park(ctx context.Context, endpoint, state string) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return fmt.Errorf("park or resume endpoint: %w", err)
	}
	if err := parkScript.Run(ctx, s.client, []string{s.prefix}, s.Now().UnixMilli(), endpoint, state).Err(); err != nil {
		return fmt.Errorf("park or resume endpoint: %w", err)
	}
	return nil
}

// Parked lists the endpoints whose deliveries do not move, each with its state: "paused", "gone", or "open" for its breaker.
func (s *Store) Parked(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	all, err := s.client.HGetAll(ctx, s.key("ctl")).Result()
	if err != nil {
		return nil, fmt.Errorf("list parked endpoints: %w", err)
	}
	for name, control := range all {
		state, _, _ := strings.Cut(control, " ")
		if all[name] = state; state == "ramp" {
			delete(all, name)
		}
	}
	return all, nil
}

// Distrust notes that an endpoint was seen to answer twice, until it is resumed. The first time counts.
func (s *Store) Distrust(ctx context.Context, endpoint string) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return fmt.Errorf("note that an endpoint answers twice: %w", err)
	}
	if err := s.client.HSetNX(ctx, s.key("twice"), endpoint, s.Now().UnixMilli()).Err(); err != nil {
		return fmt.Errorf("note that an endpoint answers twice: %w", err)
	}
	return nil
}

// Distrusted lists the endpoints that were seen to answer twice, each with since when.
func (s *Store) Distrusted(ctx context.Context) (map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	all, err := s.client.HGetAll(ctx, s.key("twice")).Result()
	if err != nil {
		return nil, fmt.Errorf("list endpoints that answer twice: %w", err)
	}
	out := make(map[string]time.Time, len(all))
	for name, since := range all {
		out[name] = time.UnixMilli(number(since))
	}
	return out, nil
}
