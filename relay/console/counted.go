package console

import (
	"sync"
	"time"

	"kuairelay/relay/api"
)

// counted keeps counts for a while: longer, the longer they took, so that pages that many people look at cost little.
// The zero value is empty. All methods may be called at the same time.
type counted struct {
	mu   sync.Mutex
	kept map[string]countedOnce
}

type countedOnce struct {
	is    api.DeadLetters
	until time.Time
}

const (
	// countedFor is how long a count is used at least, and countedTimes how many times as long as it took.
	countedFor, countedTimes = 3 * time.Second, 20
	// countedMost is how many are kept.
	countedMost = 64
)

func (c *counted) get(key string, ask func() (api.DeadLetters, error)) (api.DeadLetters, error) {
	c.mu.Lock()
	had, ok := c.kept[key]
	c.mu.Unlock()
	begun := time.Now()
	if ok && begun.Before(had.until) {
		return had.is, nil
	}

	is, err := ask()
	if err != nil {
		return is, err
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= countedMost {
		clear(c.kept)
	}
	if c.kept == nil {
		c.kept = make(map[string]countedOnce)
	}
	c.kept[key] = countedOnce{is: is, until: now.Add(max(countedFor, countedTimes*now.Sub(begun)))}
	return is, nil
}

// forget has everything counted anew.
func (c *counted) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.kept)
}
