package console

import (
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"
)

// memo keeps answers for a short time: many readers of a page, and one who leaves it open, ask for the same.
type memo struct {
	most int // answers in memory

	mu sync.Mutex
	by map[string]*kept
}

func newMemo(most int) *memo { return &memo{most: most, by: make(map[string]*kept)} }

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

	// Old answers make room; if all are new, all of them go. Who waits for one keeps it.
	if len(m.by) >= m.most {
		maps.DeleteFunc(m.by, func(_ string, k *kept) bool { return k.old(now) })
		if len(m.by) >= m.most {
			clear(m.by)
		}
	}
	one := &kept{}
	m.by[key] = one
	return one
}

// forget has everything asked for anew, also what is being asked for now.
func (m *memo) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.by)
}

// forgetOf forgets the answers whose keys begin with a text.
func (m *memo) forgetOf(prefix string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.by, func(key string, _ *kept) bool { return strings.HasPrefix(key, prefix) })
}

// old says whether an answer is of no use any more. One that is being asked for is not.
func (k *kept) old(now time.Time) bool {
	if !k.mu.TryLock() {
		return false
	}
	defer k.mu.Unlock()
	return !now.Before(k.until)
}

// span says for how long an answer is kept that took so long.
type span func(took time.Duration) time.Duration

// always keeps each answer for the same time.
func always(d time.Duration) span { return func(time.Duration) time.Duration { return d } }

// keep gives what ask gives, and asks at most once in a span for all who name the same key. An error is not kept. The
// answer must not be changed.
func keep[T any](m *memo, now time.Time, key string, long span, ask func() (T, error)) (T, error) {
	one := m.of(key, now)
	one.mu.Lock()
	defer one.mu.Unlock()
	if value, ok := one.value.(T); ok && now.Before(one.until) {
		return value, nil
	}

	began := time.Now()
	value, err := ask()
	if err == nil {
		end := time.Now()
		one.value = value
		one.until = end.Add(long(end.Sub(began)))
	}
	return value, err
}

// keyEnd ends a part of a key.
const keyEnd = "\x00"

// forgetAnswers has everything that the caller sees asked for anew, after an act: what it did has to be there.
func (v *visit) forgetAnswers() { v.answers.forgetOf(v.tenant + keyEnd) }

// askKept asks the API like ask, at most once in a span for all who see the same. as is what the answer depends on
// besides: when that differs, it is asked for again. The answer must not be changed.
func askKept[T any](v *visit, d time.Duration, as, route string, q url.Values, path ...string) (T, error) {
	key := v.tenant + keyEnd + strings.Join(append([]string{route, q.Encode(), as}, path...), keyEnd)
	return keep(v.answers, v.now, key, always(d), func() (T, error) { return ask[T](v, route, q, path...) })
}
