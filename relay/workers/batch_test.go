package workers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTheBatcherGathersWhatArrivesMeanwhile(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	release := make(chan struct{})
	const left = 99 // asked by a caller that goes away
	b := &Batcher[int, int]{Weight: func(int) int { return 1 }, Limit: 10, Most: 1, Do: func(qs []int) ([]int, error) {
		if slices.Contains(qs, left) {
			t.Error("a question whose caller was told that it failed was asked all the same")
		}
		if calls.Add(1) == 1 {
			<-release
		}
		as := make([]int, len(qs))
		for i, q := range qs {
			as[i] = 2 * q
		}
		return as, nil
	}}
	var wg sync.WaitGroup
	ask := func(q int) {
		wg.Go(func() {
			if a, err := b.Ask(t.Context(), q); err != nil || a != 2*q {
				t.Errorf("ask %d: %d, %v", q, a, err)
			}
		})
	}
	ask(0)
	for calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for i := range 25 {
		ask(i + 1)
	}
	for {
		b.mu.Lock()
		n := len(b.pending)
		b.mu.Unlock()
		if n == 25 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := b.Ask(ctx, left); !errors.Is(err, gone) {
		t.Errorf("a caller that went away got %v", err)
	}
	close(release)
	wg.Wait()
	if n := calls.Load(); n != 4 {
		t.Errorf("26 questions took %d calls, want 1 + 3 of at most 10", n)
	}
}
