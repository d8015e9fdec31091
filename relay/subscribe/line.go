package subscribe

import (
	"context"
	"sync"
)

// maxQueued is how many calls of one tenant may wait at one time.
const maxQueued = 200

// job is one call to the provider, or a few that belong together; or one catch-up.
type job struct {
	do   func(context.Context) // gets the context of Run
	done chan struct{}         // closed when do has returned
}

func newJob(do func(context.Context)) *job { return &job{do: do, done: make(chan struct{})} }

// line is where jobs wait for the provider, or for Redis. Each tenant has a queue of its own, and the queues take turns: a tenant that has a
// thousand jobs waiting does not hold up another that has one.
type line struct {
	most int // jobs of one tenant

	mu     sync.Mutex
	filled *sync.Cond
	queues map[string][]*job
	turns  []string // the tenants that have jobs, the next one first
}

func newLine(most int) *line {
	l := &line{most: most, queues: map[string][]*job{}}
	l.filled = sync.NewCond(&l.mu)
	return l
}

// put adds a job; false: the tenant has too many waiting, and the job was not taken.
func (l *line) put(tenant string, j *job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queues[tenant]
	if len(q) >= l.most {
		return false
	}
	if len(q) == 0 {
		l.turns = append(l.turns, tenant)
	}
	l.queues[tenant] = append(q, j)
	l.filled.Signal()
	return true
}

// take waits for a job, and takes the oldest of the tenant whose turn it is. It returns nil when ctx ends.
func (l *line) take(ctx context.Context) *job {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.filled.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.turns) == 0 || ctx.Err() != nil {
		if ctx.Err() != nil {
			return nil
		}
		l.filled.Wait()
	}
	tenant := l.turns[0]
	l.turns = l.turns[1:]
	q := l.queues[tenant]
	j := q[0]
	if len(q) > 1 {
		l.queues[tenant] = q[1:]
		l.turns = append(l.turns, tenant)
	} else {
		delete(l.queues, tenant)
	}
	return j
}

// work does jobs, one after the other, until ctx ends.
func (l *line) work(ctx context.Context) {
	for {
		j := l.take(ctx)
		if j == nil {
			return
		}
		j.do(ctx)
		close(j.done)
	}
}
