package console

import (
	"sync"
	"time"

	"kuairelay/relay/api"
)

// recent keeps the first pages of lists for a moment: all open pages with the same filter ask Redis once. The zero
// value is ready.
type recent struct {
	mu    sync.Mutex
	pages map[string]*recentPage
}

// recentPage is a page, or one that is being asked for.
type recentPage struct {
	mu   sync.Mutex
	at   time.Time // when it came; zero: it has not
	page api.Events
}

// What recent keeps, and for how long.
const (
	mostRecent = 100
	recentFor  = time.Second
)

// get gives a page that is not older than recentFor. key names the filter and who may see what it gives.
func (r *recent) get(key string, ask func() (api.Events, error)) (api.Events, error) {
	p := r.pageOf(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) < recentFor {
		return p.page, nil
	}
	page, err := ask()
	if err != nil {
		return page, err
	}
	p.at = time.Now()
	p.page = page
	return page, nil
}

// pageOf gives the page of a key. If there are too many, all are forgotten: who waits for one keeps it.
func (r *recent) pageOf(key string) *recentPage {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[key]
	if p == nil {
		if len(r.pages) >= mostRecent || r.pages == nil {
			r.pages = make(map[string]*recentPage)
		}
		p = &recentPage{}
		r.pages[key] = p
	}
	return p
}
