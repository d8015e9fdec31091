package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// DeadLetter is a delivery that was given up.
type DeadLetter struct {
	EventID  string
	Endpoint string
	DeadAt   time.Time
	Attempts int
	Reason   string
}

// DeadLetters lists those of an endpoint, the latest first, at most most of them from the offset on.
func (s *Store) DeadLetters(ctx context.Context, endpoint string, offset, most int) ([]DeadLetter, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	zs, err := s.client.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
		Key: s.deadKey(endpoint), ByScore: true, Rev: true, Offset: int64(offset), Count: int64(most),
		Start: "+inf", Stop: strconv.FormatInt(s.Now().Add(-s.settings().DeadLetterRetention).UnixMilli(), 10),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	states := make([]*redis.StringCmd, len(zs))
	if _, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, z := range zs {
			short, _ := z.Member.(string)
			states[i] = p.HGet(ctx, s.eventKey(short), endpoint)
		}
		return nil
	}); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var out []DeadLetter
	for i, z := range zs {
		short, _ := z.Member.(string)
		id, err := longID(short)
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		// The state is "x<attempts> <reason> <token> <text>", see lua/lib.lua.
		parts := strings.SplitN(states[i].Val(), " ", 4)
		if len(parts) < 4 || !strings.HasPrefix(parts[0], "x") {
			continue
		}
		attempts, _ := strconv.Atoi(parts[0][1:])
		out = append(out, DeadLetter{EventID: id, Endpoint: endpoint, DeadAt: time.UnixMilli(int64(z.Score)), Attempts: attempts, Reason: parts[3]})
	}
	return out, nil
}

// Redrive queues dead letters of an endpoint again, due at once. It returns how many there were.
func (s *Store) Redrive(ctx context.Context, endpoint string, ids ...string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return 0, fmt.Errorf("redrive dead letters: %w", err)
	}
	args := []any{s.Now().UnixMilli(), s.newCall(), endpoint}
	for _, id := range ids {
		short, err := shortID(id)
		if err != nil {
			return 0, fmt.Errorf("redrive dead letters: %w", err)
		}
		args = append(args, short)
	}
	answer, err := s.run(ctx, redriveScript, args)
	if err != nil {
		return 0, fmt.Errorf("redrive dead letters: %w", err)
	}
	n := 0
	for _, v := range answer {
		n += int(number(v))
	}
	return n, nil
}

// Park pauses an endpoint: its deliveries stay open, and none is attempted. A 410 parks it as gone by itself.
func (s *Store) Park(ctx context.Context, endpoint string) error {
	return s.park(ctx, endpoint, "paused")
}

// Resume goes on with an endpoint that is paused, gone, or held back by its breaker. What has gathered is let go at a growing
// pace.
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
