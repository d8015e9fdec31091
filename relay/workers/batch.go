package workers

import (
	"context"
	"slices"
	"sync"
)

// Batcher makes one call of many that are asked for at the same time. A question that finds fewer than Most calls under way
// is asked at once; those that arrive meanwhile are gathered and asked together. It has a goroutine only while it has work.
type Batcher[Q, A any] struct {
	// Do makes one call for many. Its answers stand in the order of the questions.
	Do func([]Q) ([]A, error)
	// Weight of a question; a call takes questions up to Limit, or a single one that is heavier.
	Weight func(Q) int
	Limit  int
	// Most calls under way at once.
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

// Ask returns the answer to q, or ctx's error if that comes before q's turn. A question whose call is under way is waited
// for: Do has to end by itself.
func (b *Batcher[Q, A]) Ask(ctx context.Context, q Q) (A, error) {
	mine := &question[Q, A]{q: q, done: make(chan struct{})}

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

	// The caller goes away. A question that is in no call yet is not asked.
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

// next takes the oldest questions, as many as fit into one call; none ends the caller.
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
		b.pending = nil
	}
	return batch
}
