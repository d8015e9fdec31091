// Package logonce keeps what goes on for long from filling the log: it is logged when it changes, or once in a while.
package logonce

import (
	"sync"
	"time"
)

// Change remembers the latest value of something, so that only a change is logged. The zero Change remembers the zero
// value. It may be used by several goroutines at once.
type Change[T comparable] struct {
	mu     sync.Mutex
	latest T
}

// To remembers a value, and says whether it differs from the one before.
func (c *Change[T]) To(now T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := now != c.latest
	c.latest = now
	return changed
}

// Latest returns the value that is remembered.
func (c *Change[T]) Latest() T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest
}

// Text returns the text of an error, for a Change of errors; empty: there is none.
func Text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Throttle says when something may be logged again. It may be used by several goroutines at once.
type Throttle struct {
	mu   sync.Mutex
	last time.Time
}

// Allow returns true at most once per span.
func (t *Throttle) Allow(span time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && time.Since(t.last) < span {
		return false
	}
	t.last = time.Now()
	return true
}
