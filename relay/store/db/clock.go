package db

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// stepLeast is the smallest jump of the clock of Redis that counts as a step.
	stepLeast = 2 * time.Second
	// tripMost is the longest round trip whose time is believed.
	tripMost = time.Second
)

// clock tells the time of the store, which all replicas share, from the local monotonic clock. So it does not matter if
// the local clock is wrong, or is set. If the clock of Redis steps, the replica that notices moves the offset, see
// lua/clock.lua.
type clock struct {
	local func() time.Time
	// read asks Redis for the time of the store. moves is how often the offset was moved, as far as is known; step is how
	// far to move it. It returns the time, and how often the offset was moved.
	read func(ctx context.Context, moves int64, step time.Duration) (time.Time, int64, error)

	mu    sync.RWMutex
	at    time.Time // local, at the last sync
	value time.Time // of the store, at that moment
	moves int64
}

func (c *clock) now() time.Time { return c.time(c.local()) }

// time returns the time of the store at a moment of the local clock.
func (c *clock) time(local time.Time) time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.at.IsZero() {
		return local
	}
	return c.value.Add(local.Sub(c.at))
}

func (c *clock) synced() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return !c.at.IsZero()
}

// skew returns how far the time of the store is ahead of the local clock; 0 if that is not known.
func (c *clock) skew() time.Duration {
	if !c.synced() {
		return 0
	}
	local := c.local()
	return c.time(local).Round(0).Sub(local.Round(0)) // by the wall clock, which people and receivers see
}

// sync asks Redis for the time, and takes half of the round trip for the way back. A time that is far from the expected
// one is a step of the clock of Redis, for which the offset makes up.
func (c *clock) sync(ctx context.Context) error {
	c.mu.RLock()
	known := c.moves
	c.mu.RUnlock()
	at, value, moves, err := c.ask(ctx, known, 0)
	if err != nil {
		return err
	}
	if step := c.time(at).Sub(value); c.synced() && moves == known && step.Abs() > stepLeast {
		if at, value, moves, err = c.ask(ctx, moves, step); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.value, c.moves = at, value, moves
	return nil
}

func (c *clock) ask(ctx context.Context, moves int64, step time.Duration) (time.Time, time.Time, int64, error) {
	before := c.local()
	value, moves, err := c.read(ctx, moves, step)
	trip := c.local().Sub(before)
	if err == nil && trip > tripMost && c.synced() {
		err = errors.New("redis took too long to tell the time")
	}
	return before.Add(trip / 2), value, moves, err
}
