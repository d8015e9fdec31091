package workers

import (
	"context"
	"slices"
	"sync"
)

// Batcher gathers questions into calls. A question is asked at once while fewer than Most calls are under way. Those
// that arrive meanwhile are gathered, and asked together in the next call. It has goroutines only while it has work.
type Batcher[Q, A any] struct {
	// Do makes one call for many. Its answers stand in the order of the questions.
	Do func([]Q) ([]A, error)
	// Weight is the weight of a question. The questions of a call weigh at most Limit together; a heavier one is a
	// call of its own.
	Weight func(Q) int
	Limit  int
	// Most is how many calls may be under way at once.
	Most int

	mu      sync.Mutex
	pending []*question[Q, A]
	running int
}

type question[Q, A any] struct {
	q    Q
	a    A
	err  error
	done chan struct{} // closed when a and err are there
}

// Ask returns the answer to q. If ctx ends before the call with q begins, Ask returns the cause; q is not asked then.
// Once the call is under way, Ask waits for its answer, so Do has to end by itself.
func (b *Batcher[Q, A]) Ask(ctx context.Context, q Q) (A, error) {
	mine := &question[Q, A]{q: q, done: make(chan struct{})}

	// run makes calls until no question is pending: another one starts only while there is room for a call.
	b.mu.Lock()
	b.pending = append(b.pending, mine)
	start := b.running < b.Most
	if start {
		b.running++
	}
	b.mu.Unlock()
	if start {
		go b.run()
	}

	select {
	case <-mine.done:
		return mine.a, mine.err
	case <-ctx.Done():
	}

	// The caller gives up. Only a question that is not part of a call yet can be withdrawn.
	b.mu.Lock()
	i := slices.Index(b.pending, mine)
	if i >= 0 {
		b.pending = slices.Delete(b.pending, i, i+1)
	}
	b.mu.Unlock()
	if i >= 0 {
		var none A
		return none, context.Cause(ctx)
	}

	<-mine.done
	return mine.a, mine.err
}

// run makes calls until nothing is pending.
func (b *Batcher[Q, A]) run() {
	for {
		batch := b.next()
		if len(batch) == 0 {
			return
		}

		qs := make([]Q, len(batch))
		for i, c := range batch {
			qs[i] = c.q
		}

		as, err := b.Do(qs)
		for i, c := range batch {
			if err != nil {
				c.err = err
			} else {
				c.a = as[i]
			}
			close(c.done)
		}
	}
}

// next takes the oldest questions, as many as fit into one call. If it returns none, the caller has to end: it is
// counted out.
func (b *Batcher[Q, A]) next() []*question[Q, A] {
	b.mu.Lock()
	defer b.mu.Unlock()

	n, sum := 0, 0
	for n < len(b.pending) {
		sum += b.Weight(b.pending[n].q)
		if n > 0 && sum > b.Limit {
			break
		}
		n++
	}

	if n == 0 {
		b.running--
		return nil
	}

	batch := b.pending[:n:n]
	b.pending = b.pending[n:]
	if len(b.pending) == 0 {
		b.pending = nil // frees the array
	}
	return batch
}
