package console

import "sync"

// places bound how many of something are made at the same time.
type places struct {
	each, all int // by one person, and together

	mu    sync.Mutex
	taken map[string]int // by person
	sum   int
}

func newPlaces(each, all int) *places {
	return &places{each: each, all: all, taken: make(map[string]int)}
}

// take takes a place. ok is false if this person has too many, or all are taken; otherwise leave gives it back.
func (p *places) take(who string) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[who] >= p.each || p.sum >= p.all {
		return nil, false
	}
	p.taken[who]++
	p.sum++
	return func() { p.leave(who) }, true
}

func (p *places) leave(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum--
	p.taken[who]--
	if p.taken[who] == 0 {
		delete(p.taken, who)
	}
}
