package deliver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// trust says whether the connections of an endpoint may be used again. An endpoint loses it when it is seen to send
// something that no request asked for (two answers, or more than its answer): what is still on its way cannot be told
// from the next answer. It stays lost, for every replica and over restarts, until a person resumes the endpoint.
type trust struct {
	gone atomic.Bool

	mu    sync.Mutex
	saved bool             // the store knows that it is gone
	tell  func(how string) // told when it is lost; nil: nobody is
}

func (t *trust) lost() bool { return t.gone.Load() }

func (t *trust) lose(how string) {
	t.mu.Lock()
	first := !t.gone.Swap(true)
	if first {
		t.saved = false
	}
	tell := t.tell
	t.mu.Unlock()
	if first && tell != nil {
		tell(how)
	}
}

// learn takes over what the store says, which may be older than what was seen here. It returns whether that changed
// anything; unsaved: the store does not know yet that trust was lost.
func (t *trust) learn(lost bool) (changed, unsaved bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.gone.Load()
	switch {
	case lost:
		t.saved = true
	case was && !t.saved:
		return false, true
	}
	t.gone.Store(lost)
	return was != lost, false
}

// trustEvery is how often the store is asked which endpoints have lost trust, or got it back.
const trustEvery = 10 * time.Second

// watchTrust keeps this process and the store in step about trust, until ctx ends.
func (p *Pool) watchTrust(ctx context.Context) {
	store := complaints{log: p.log}
	for {
		store.about("look which endpoints answer twice", p.syncTrust(ctx))
		select {
		case <-ctx.Done():
			return
		case <-p.doubted:
		case <-time.After(trustEvery):
		}
	}
}

func (p *Pool) syncTrust(ctx context.Context) error {
	distrusted, err := p.o.Store.Distrusted(ctx)
	if err != nil {
		return err
	}
	for name, e := range p.current.Load().endpoints {
		_, lost := distrusted[name]
		changed, unsaved := e.trust.learn(lost)
		switch {
		case unsaved:
			if err := p.o.Store.Distrust(ctx, name); err != nil {
				return err
			}
			e.trust.learn(true)
		case changed:
			p.metrics.trust(name, lost)
			p.log.Info("trust in an endpoint changed", zap.String("endpoint", name), zap.Bool("answers_twice", lost))
		}
	}
	return nil
}

// doubt is called when an endpoint is seen to answer twice.
func (p *Pool) doubt(name, how string) {
	p.metrics.trust(name, true)
	p.log.Warn("endpoint answers twice: each attempt has a connection of its own until the endpoint is resumed",
		zap.String("endpoint", name), zap.String("seen", how))
	p.lookAtTrust()
}

// lookAtTrust makes watchTrust look now.
func (p *Pool) lookAtTrust() {
	select {
	case p.doubted <- struct{}{}:
	default:
	}
}
