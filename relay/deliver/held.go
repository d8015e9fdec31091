package deliver

import (
	"context"
	"sync"
	"time"
)

// heldOutcomes counts the outcomes that the store did not take at once. The zero value has none.
type heldOutcomes struct {
	mu    sync.Mutex
	count int
	none  chan struct{} // closed when count is 0 again; nil if it has never been more
}

// add counts one more, until done is called.
func (h *heldOutcomes) add() (done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == 0 {
		h.none = make(chan struct{})
	}
	h.count++
	return h.remove
}

func (h *heldOutcomes) remove() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count--
	if h.count == 0 {
		close(h.none)
	}
}

// Held is how many outcomes wait for the store to take them.
func (p *Pool) Held() int {
	p.held.mu.Lock()
	defer p.held.mu.Unlock()
	return p.held.count
}

// AwaitHeld returns when no outcome waits for the store any more, when ctx ends, or after the longest pause given.
func (p *Pool) AwaitHeld(ctx context.Context, most time.Duration) {
	p.held.mu.Lock()
	none := p.held.none
	p.held.mu.Unlock()
	if none == nil {
		return
	}

	select {
	case <-none:
	case <-ctx.Done():
	case <-time.After(most):
	}
}
