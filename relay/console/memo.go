package console

import (
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"
)

// memoMost bounds the answers in memory.
const memoMost = 500

// memo keeps answers of the API for a short time: many readers of a page, and one who leaves it open, ask for the same.
// The zero memo has none.
type memo struct {
	mu sync.Mutex
	by map[string]*kept
}

// kept is an answer. It is not changed once it is there.
type kept struct {
	mu    sync.Mutex // held while it is asked for, so that those who ask meanwhile get the same
	value any
	until time.Time
}

// of gives the place of an answer.
func (m *memo) of(key string, now time.Time) *kept {
	m.mu.Lock()
	defer m.mu.Unlock()
	if one := m.by[key]; one != nil {
		return one
	}

	// Old answers make room; if all are new, all of them go.
	if len(m.by) >= memoMost {
		maps.DeleteFunc(m.by, func(_ string, k *kept) bool { return k.old(now) })
		if len(m.by) >= memoMost {
			m.by = nil
		}
	}
	if m.by == nil {
		m.by = make(map[string]*kept)
	}
	one := &kept{}
	m.by[key] = one
	return one
}

// old says whether an answer is of no use any more. One that is being asked for is not.
func (k *kept) old(now time.Time) bool {
	if !k.mu.TryLock() {
		return false
	}
	defer k.mu.Unlock()
	return !now.Before(k.until)
}

// askKept asks the API like ask, at most once in a span for all who see the same. as is what the answer depends on
// besides: when that differs, it is asked for again. The answer must not be changed.
func askKept[T any](v *visit, span time.Duration, as, route string, q url.Values, path ...string) (T, error) {
	key := strings.Join(append([]string{v.tenant, route, q.Encode(), as}, path...), "\x00")
	one := v.memo.of(key, v.now)
	one.mu.Lock()
	defer one.mu.Unlock()
	if value, ok := one.value.(T); ok && v.now.Before(one.until) {
		return value, nil
	}

	value, err := ask[T](v, route, q, path...)
	if err == nil {
		one.value = value
		one.until = time.Now().Add(span)
	}
	return value, err
}
