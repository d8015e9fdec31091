package store

import (
	"context"
	"sync"
	"time"
)

// clock tells the time of Redis from the local monotonic clock: a local clock that is wrong, or that is set, changes nothing.
type clock struct {
	local func() time.Time
	redis func(context.Context) (time.Time, error)

	mu    sync.RWMutex
	at    time.Time // local, at the last sync
	value time.Time // of Redis, at that moment
}

func (c *clock) now() time.Time {
	local := c.local()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.at.IsZero() {
		return local
	}
	return c.value.Add(local.Sub(c.at))
}

// skew is how far the clock of Redis is ahead of the local one; 0 if that is not known.
func (c *clock) skew() time.Duration {
	local := c.local().Round(0) // by the wall clock, which people and receivers see
	c.mu.RLock()
	known := !c.at.IsZero()
	c.mu.RUnlock()
	if !known {
		return 0
	}
	return c.now().Round(0).Sub(local)
}

// ensure syncs the clock if that was never done.
func (c *clock) ensure(ctx context.Context) error {
	c.mu.RLock()
	done := !c.at.IsZero()
	c.mu.RUnlock()
	if done {
		return nil
	}
	return c.sync(ctx)
}

// sync asks Redis for the time; half of the round trip is taken for the way back.
func (c *clock) sync(ctx context.Context) error {
	before := c.local()
	value, err := c.redis(ctx)
	if err != nil {
		return err
	}
	trip := c.local().Sub(before)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.value = before.Add(trip/2), value
	return nil
}
