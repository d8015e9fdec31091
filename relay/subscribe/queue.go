package subscribe

import (
	"context"
	"sync"
)

// maxQueued is how many calls of one tenant may wait at one time.
const maxQueued = 200

// job is one call to the provider, a few calls that belong together, or one catch-up.
type job struct {
	do   func(context.Context) // gets the context of Run
	done chan struct{}         // closed when do has returned
}

func newJob(do func(context.Context)) *job { return &job{do: do, done: make(chan struct{})} }

// jobQueue holds the jobs that wait for the provider, or for Redis. Each tenant has its own queue, and the queues take
// turns: a tenant with a thousand waiting jobs does not delay one with a single job.
type jobQueue struct {
	most int // jobs of one tenant

	mu     sync.Mutex
	filled *sync.Cond
	queues map[string][]*job
	turns  []string // the tenants that have jobs, the next one first
}

func newJobQueue(most int) *jobQueue {
	q := &jobQueue{most: most, queues: map[string][]*job{}}
	q.filled = sync.NewCond(&q.mu)
	return q
}

// put adds a job. It returns false if too many of the tenant wait; the job was not added.
func (q *jobQueue) put(tenant string, j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	jobs := q.queues[tenant]
	if len(jobs) >= q.most {
		return false
	}
	if len(jobs) == 0 {
		q.turns = append(q.turns, tenant)
	}
	q.queues[tenant] = append(jobs, j)
	q.filled.Signal()
	return true
}

// waiting says how many jobs wait.
func (q *jobQueue) waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, jobs := range q.queues {
		n += len(jobs)
	}
	return n
}

// next waits for a job, and takes the oldest of the tenant whose turn it is. It returns nil when ctx ends.
func (q *jobQueue) next(ctx context.Context) *job {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.filled.Broadcast()
	})
	defer stop()

	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.turns) == 0 || ctx.Err() != nil {
		if ctx.Err() != nil {
			return nil
		}
		q.filled.Wait()
	}

	// A tenant with more jobs goes behind all others.
	tenant := q.turns[0]
	q.turns = q.turns[1:]
	jobs := q.queues[tenant]
	if len(jobs) > 1 {
		q.queues[tenant] = jobs[1:]
		q.turns = append(q.turns, tenant)
	} else {
		delete(q.queues, tenant)
	}
	return jobs[0]
}

// work does jobs, one after the other, until ctx ends.
func (q *jobQueue) work(ctx context.Context) {
	for {
		j := q.next(ctx)
		if j == nil {
			return
		}
		j.do(ctx)
		close(j.done)
	}
}
