package subscribe

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// fill puts n jobs of a tenant that note their turn.
func fill(t *testing.T, l *jobQueue, served *[]string, tenant string, n int) {
	t.Helper()
	for range n {
		if !l.put(tenant, newJob(func(context.Context) { *served = append(*served, tenant) })) {
			t.Fatal("the queue is full")
		}
	}
}

func TestTenantsTakeTurnsHoweverManyJobsOneHas(t *testing.T) {
	t.Parallel()
	l := newJobQueue(1000)
	var served []string
	fill(t, l, &served, "flood", 500)
	fill(t, l, &served, "a", 3)
	fill(t, l, &served, "b", 1)
	for range 8 {
		l.next(t.Context()).do(t.Context())
	}
	if want := []string{"flood", "a", "b", "flood", "a", "flood", "a", "flood"}; !slices.Equal(served, want) {
		t.Errorf("served %v, want %v", served, want)
	}
	fill(t, l, &served, "b", 1)
	served = nil
	for range 3 {
		l.next(t.Context()).do(t.Context())
	}
	if !slices.Contains(served, "b") {
		t.Errorf("one that comes again waits behind %v", served)
	}
}

func TestJobsOfOneTenantKeepTheirOrderAndTheirBound(t *testing.T) {
	t.Parallel()
	l := newJobQueue(10)
	var served []string
	for i := range 11 {
		if ok := l.put("a", newJob(func(context.Context) { served = append(served, strconv.Itoa(i)) })); ok != (i < 10) {
			t.Errorf("job %d is taken: %v", i, ok)
		}
	}
	if !l.put("b", newJob(func(context.Context) { served = append(served, "b") })) {
		t.Error("one tenant's jobs keep another's out")
	}
	for range 11 {
		l.next(t.Context()).do(t.Context())
	}
	if want := []string{"0", "b", "1", "2", "3", "4", "5", "6", "7", "8", "9"}; !slices.Equal(served, want) {
		t.Errorf("served %v", served)
	}
}

func TestWhoeverWaitsForAJobGetsOneOrEnds(t *testing.T) {
	t.Parallel()
	l := newJobQueue(1000)
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 4 {
		workers.Go(func() {
			for j := l.next(ctx); j != nil; j = l.next(ctx) {
				j.do(ctx)
				close(j.done)
			}
		})
	}
	for i := range 100 {
		j := newJob(func(context.Context) { mu.Lock(); done++; mu.Unlock() })
		l.put(strconv.Itoa(i%7), j)
		if i%10 == 0 {
			<-j.done
		}
	}
	last := newJob(func(context.Context) {})
	l.put("last", last)
	<-last.done
	cancel()
	workers.Wait()
	if l.put("x", newJob(nil)); l.next(ctx) != nil {
		t.Error("a job after the end")
	}
}
