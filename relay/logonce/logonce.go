// Package logonce keeps what goes on for long from filling the log: it is logged when it changes, or once in a while.
package logonce

import (
	"maps"
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

// repeatsMost bounds the texts that Repeats remembers.
const repeatsMost = 256

// Repeats remembers what came up lately, so that a fault that many run into, for as long as it lasts, is logged once.
// The zero Repeats remembers nothing. It may be used by several goroutines at once.
type Repeats struct {
	mu   sync.Mutex
	last map[string]time.Time // when a text came up
}

// New remembers a text, and says whether it had not come up for a span.
func (r *Repeats) New(text string, span time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	last, known := r.last[text]
	if !known && len(r.last) >= repeatsMost {
		maps.DeleteFunc(r.last, func(_ string, last time.Time) bool { return now.Sub(last) >= span })
		if len(r.last) >= repeatsMost {
			clear(r.last)
		}
	}
	if r.last == nil {
		r.last = make(map[string]time.Time)
	}
	r.last[text] = now
	return !known || now.Sub(last) >= span
}
