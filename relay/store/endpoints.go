package store

import (
	"context"
	"fmt"
	"kuairelay/relay/event"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

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

// Health says how endpoints do, in the order given. latest is how many of their attempts are wanted; of those that failed only the
// latest has its text.
func (s *Store) Health(ctx context.Context, endpoints []string, latest int) ([]event.EndpointHealth, error) {
	depths, err := s.Depths(ctx, endpoints)
	if err != nil {
		return nil, err
	}
	twice := make([]*redis.StringCmd, len(endpoints))
	parked, failed, good := make([]*redis.StringCmd, len(endpoints)), make([]*redis.XMessageSliceCmd, len(endpoints)), make([]*redis.StringSliceCmd, len(endpoints))
	most := max(1, 1000/max(latest, 10)) // attempts are what costs most
	err = s.slices(ctx, len(endpoints), most, func(p redis.Pipeliner, i int) {
		parked[i] = p.HGet(ctx, s.key("ctl"), endpoints[i])
		twice[i] = p.HGet(ctx, s.key("twice"), endpoints[i])
		if latest > 0 {
			failed[i], good[i] = s.latest(ctx, p, endpoints[i], latest)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look at the health of endpoints: %w", err)
	}
	out := make([]event.EndpointHealth, len(endpoints))
	for i, d := range depths {
		h := event.EndpointHealth{Endpoint: d.Endpoint, Open: d.Open, Waiting: d.Waiting, Dead: d.Dead, Oldest: d.Oldest, Delivered: d.Delivered}
		// Its state, since when, and of a breaker until when; one that is let go at a growing pace is parked no more (lua/lib/control.lua).
		if f := strings.Fields(parked[i].Val()); len(f) >= 2 && f[0] != "ramp" {
			h.Parked, h.ParkedSince = f[0], time.UnixMilli(number(f[1]))
			if len(f) > 2 {
				h.ParkedUntil = time.UnixMilli(number(f[2]))
			}
		}
		if since := twice[i].Val(); since != "" {
			h.AnswersTwice = time.UnixMilli(number(since))
		}
		out[i] = h
		if latest == 0 {
			continue
		}
		tries, err := latestFirst(failed[i].Val(), good[i].Val(), latest)
		if err != nil {
			return nil, fmt.Errorf("look at the health of endpoints: %w", err)
		}
		failed[i], good[i] = nil, nil
		told := false // of what failed, the latest says why
		for _, t := range tries {
			if told {
				t.Text = ""
			}
			told = told || !t.Good()
			out[i].Latest = append(out[i].Latest, t.AttemptRecord)
		}
	}
	return out, nil
}
