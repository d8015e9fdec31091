package console

import (
	"context"
	"sync"
	"time"
)

const (
	// sessionAtOnce is how many requests of a session are answered at a time. More wait for sessionWait.
	sessionAtOnce = 4
	sessionWait   = 5 * time.Second
	// maxSessions is how many sessions have a rate of their own. Those beyond share one.
	maxSessions = 4096
)

// rates bound what one session may ask, so that an open browser cannot keep the relay busy.
type rates struct {
	now func() time.Time

	mu sync.Mutex
	of map[string]*rate // by token
}

// rate is what a session has used.
type rate struct {
	until  time.Time     // when it may ask for as many as ever again
	places chan struct{} // of those that are answered
	inside int           // those that are answered, or wait
}

func newRates(now func() time.Time) *rates { return &rates{now: now, of: make(map[string]*rate)} }

// enter counts a request of a session that may send so many a second, and as many at once, and waits for a place.
// It returns a function that gives the place back; nil: the session has to come again after wait.
func (r *rates) enter(ctx context.Context, token string, perSecond int) (leave func(), wait time.Duration) {
	own, wait := r.count(token, perSecond)
	if wait > 0 {
		return nil, wait
	}

	timer := time.NewTimer(sessionWait)
	defer timer.Stop()
	select {
	case own.places <- struct{}{}:
		return func() {
			<-own.places
			r.left(own)
		}, 0
	case <-ctx.Done():
	case <-timer.C:
	}
	r.left(own)
	return nil, time.Second
}

// count counts a request, or says how long it has to wait.
func (r *rates) count(token string, perSecond int) (*rate, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	own := r.of[token]
	if own == nil && len(r.of) >= maxSessions {
		r.forget(now)
		if len(r.of) >= maxSessions {
			token = "" // all others together
			own = r.of[token]
		}
	}
	if own == nil {
		own = &rate{places: make(chan struct{}, sessionAtOnce)}
		r.of[token] = own
	}

	then, wait := spend(own.until, now, time.Second/time.Duration(perSecond), perSecond)
	if wait > 0 {
		return nil, wait
	}
	own.until = then
	own.inside++
	return own, 0
}

func (r *rates) left(own *rate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own.inside--
}

// forget forgets sessions that may do everything again.
func (r *rates) forget(now time.Time) {
	for token, own := range r.of {
		if own.inside == 0 && !own.until.After(now) {
			delete(r.of, token)
		}
	}
}
