package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Availability says what Redis can do for us.
type Availability uint8

const (
	// Up takes events.
	Up Availability = iota
	// Full takes no events, for it is at maxmemory; deliveries go on, and free memory.
	Full
	// Short takes no events that would be durable, for fewer replicas follow than Options.WaitReplicas; deliveries go
	// on.
	Short
	// Down does nothing: it is away, hangs, loads, is a read-only replica, lost a part of its Cluster, …
	Down
)

// String gives the state's word in metrics and logs.
func (s Availability) String() string { return [...]string{"up", "full", "short", "down"}[s] }

const (
	probeMost  = time.Second            // the longest pause between two probes
	probeFirst = 50 * time.Millisecond  // the shortest
	probeCalm  = 5 * time.Second        // a trouble so long after the last one is a new one
	noticed    = 200 * time.Millisecond // a deadline that was shorter says nothing of Redis
)

// health knows whether Redis can be used. As soon as a call meets trouble, one prober asks Redis until it takes a write
// again, and everybody else waits for that, or is told at once.
type health struct {
	// server is the Redis that it is about.
	server server
	// probe writes something; after says that probes are at an end, and how they ended.
	probe   func(context.Context) error
	timeout time.Duration
	// changed is told of a state that outlived the first probe, and of its end after that time. Nil: nobody is.
	changed func(Availability, string, time.Duration)

	// answered is when Redis last did what it was asked, in ns since the epoch.
	answered atomic.Int64

	mu      sync.Mutex
	now     trouble // state and why; Up: none
	since   time.Time
	ended   time.Time     // when the last trouble did
	pauses  int           // how many pauses the prober has made in this trouble, for its backoff
	reach   chan struct{} // closed while the state is not Down
	up      chan struct{} // closed while it is Up
	told    bool          // changed has been called
	probing bool
	closed  chan struct{}
}

func newHealth(timeout time.Duration, probe func(context.Context) error) *health {
	h := &health{
		probe: probe, timeout: timeout,
		reach: make(chan struct{}), up: make(chan struct{}), closed: make(chan struct{}),
	}
	close(h.reach)
	close(h.up)
	return h
}

// state returns the present state, and why it is not Up.
func (h *health) state() (Availability, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now.state == Up {
		return Up, nil
	}
	t := h.now
	return t.state, &t
}

// wait returns when Redis can be reached (for events: when it takes them), or with an error when ctx ends before.
func (h *health) wait(ctx context.Context, events bool) error {
	for {
		h.mu.Lock()
		t, open := h.now, h.reach
		if events {
			open = h.up
		}
		h.mu.Unlock()
		select {
		case <-h.closed:
			return redis.ErrClosed
		default:
		}
		if t.state == Up || t.state != Down && !events {
			return nil
		}
		select {
		case <-open:
		case <-h.closed:
			return redis.ErrClosed
		case <-ctx.Done():
			return &t
		}
	}
}

// saw takes notice of what a call came to.
func (h *health) saw(err error) {
	if t := h.troubleOf(err); t != nil {
		h.set(t)
	}
}

// troubleOf is what an error says of this Redis; nil: nothing. What may be wrong with the URL is added as long as Redis
// has never done anything.
func (h *health) troubleOf(err error) *trouble {
	return h.server.trouble(err, h.answered.Load() == 0)
}

// set notes a trouble, and has it probed until it is over.
func (h *health) set(t *trouble) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
		return
	default:
	}
	if h.now.state >= t.state && h.probing {
		return // the prober knows better
	}
	h.become(*t)
	if !h.probing {
		if time.Since(h.ended) > probeCalm {
			h.pauses = 0
		}
		h.since, h.told, h.probing = time.Now(), false, true
		go h.prober()
	}
}

// become needs mu.
func (h *health) become(t trouble) {
	was := h.now.state
	h.now = t
	turn := func(c *chan struct{}, was, is bool) {
		if is && !was {
			close(*c)
		} else if was && !is {
			*c = make(chan struct{})
		}
	}
	turn(&h.reach, was != Down, t.state != Down)
	turn(&h.up, was == Up, t.state == Up)
}

// prober asks until there is no trouble any more: at once, and then after pauses that grow, and differ between
// replicas.
func (h *health) prober() {
	for {
		h.mu.Lock()
		pauses := h.pauses
		h.pauses = min(pauses+1, 10)
		h.mu.Unlock()
		if pauses > 0 {
			pause := min(probeFirst<<(pauses-1), probeMost)
			select {
			case <-h.closed:
				return
			case <-time.After(pause/2 + rand.N(pause/2)):
			}
		}
		ctx, cancel := context.WithTimeout(withoutGate(context.Background()), h.timeout)
		t := h.troubleOf(h.probe(ctx))
		cancel()
		if h.probed(t) {
			return
		}
	}
}

// probed notes what a probe came to, and says whether the trouble is over.
func (h *health) probed(t *trouble) bool {
	h.mu.Lock()
	was, told, after := h.now, h.told, time.Since(h.since)
	if t == nil {
		h.become(trouble{})
		h.probing, h.ended = false, time.Now()
	} else {
		h.become(*t)
		h.told = true
	}
	h.mu.Unlock()
	switch {
	case h.changed == nil:
	case t == nil && told:
		h.changed(Up, "", after)
	case t != nil && (!told || was.why != t.why):
		h.changed(t.state, t.why, after)
	}
	return t == nil
}

func (h *health) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
	default:
		close(h.closed)
	}
}

// gateless marks the contexts of calls that go to Redis whatever is known of it, and whose errors say nothing.
type gateless struct{}

func withoutGate(ctx context.Context) context.Context {
	return context.WithValue(ctx, gateless{}, true)
}

// gate is a redis.Hook: while Redis is down no command goes there, and a command that meets trouble closes it.
type gate struct{ *health }

// DialHook implements redis.Hook.
func (g gate) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (g gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := g.pass(ctx, func() error { return next(ctx, cmd) })
		cmd.SetErr(err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (g gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		sent := false
		err := g.pass(ctx, func() error { sent = true; return next(ctx, cmds) })
		if !sent {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

func (g gate) pass(ctx context.Context, do func() error) error {
	if ctx.Value(gateless{}) != nil {
		return do()
	}
	if state, err := g.state(); state == Down {
		return err
	}
	began := time.Now()
	err := do()
	if err == nil {
		g.answered.Store(time.Now().UnixNano())
	}
	if errors.Is(err, context.DeadlineExceeded) && time.Since(began) < noticed {
		return err
	}
	if t := g.troubleOf(err); t != nil {
		g.set(t)
		return t
	}
	return err
}

// Availability says what Redis can do, as far as is known from the last calls, and why it is not Up.
func (s *Store) Availability() (Availability, error) { return s.health.state() }

// Available returns nil if Redis takes events, as far as is known from the last calls, and else why it does not.
func (s *Store) Available() error {
	_, why := s.health.state()
	return why
}

// SuspectDown says that Redis has not answered for too long: it is down, until it takes a write.
func (s *Store) SuspectDown(span time.Duration) {
	s.health.saw(&trouble{state: Down, why: fmt.Sprintf("no answer within %s", span)})
}

// WaitUp returns when Redis takes events, or with an error when ctx ends before.
func (s *Store) WaitUp(ctx context.Context) error { return s.health.wait(ctx, true) }
