package db

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

// Availability is what Redis can do at present.
type Availability uint8

const (
	// Up takes events.
	Up Availability = iota
	// Full takes no events, because Redis is at maxmemory. Deliveries go on, and free memory.
	Full
	// Short takes no events, because they would not be durable: fewer replicas follow than Options.WaitReplicas.
	// Deliveries go on.
	Short
	// Down does nothing: Redis cannot be reached, hangs, loads, is a read-only replica, has lost a part of its Cluster, …
	Down
)

// String gives the state's word in metrics and logs.
func (s Availability) String() string { return [...]string{"up", "full", "short", "down"}[s] }

const (
	probeMost  = time.Second            // the longest pause between two probes
	probeFirst = 50 * time.Millisecond  // the shortest
	probeCalm  = 5 * time.Second        // a trouble that comes so long after the last one is a new one
	noticed    = 200 * time.Millisecond // a call with a shorter deadline says nothing about Redis
)

// health knows whether Redis can be used. As soon as a call meets trouble, one prober asks Redis until it takes a write
// again. All other calls wait for that, or fail at once.
type health struct {
	// server is the Redis whose health this is.
	server server
	// probe writes something; after is called when probing ends, with its result.
	probe   func(context.Context) error
	timeout time.Duration
	// changed is called for a state that outlived the first probe, and when that state has ended, after the time given.
	// Nil: nothing is called.
	changed func(Availability, string, time.Duration)

	// enter looks whether Redis may be used at all, before the first call; entered says that it may.
	enter   func(context.Context) error
	entered atomic.Bool

	// answered is when Redis last did what it was asked, in ns since the epoch.
	answered atomic.Int64

	mu      sync.Mutex
	now     trouble // state and why; Up: none
	since   time.Time
	ended   time.Time     // when the last trouble ended
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
	t := h.trouble()
	if t.state == Up {
		return Up, nil
	}
	return t.state, &t
}

// trouble returns the present one; Up: none.
func (h *health) trouble() trouble {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
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

// saw takes notice of the result of a call.
func (h *health) saw(err error) {
	if t := h.troubleOf(err); t != nil {
		h.set(t)
	}
}

// troubleOf returns the trouble that an error means for this Redis; nil: none. As long as Redis has never done
// anything, it adds what may be wrong with the URL.
func (h *health) troubleOf(err error) *trouble {
	return h.server.trouble(err, h.answered.Load() == 0)
}

// set notes a trouble, and starts probing until it is over.
func (h *health) set(t *trouble) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
		return
	default:
	}
	if h.now.state >= t.state && h.probing {
		return // the prober decides
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

// become changes the state. It needs mu.
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

// prober probes until the trouble is over: at once, and then after pauses that grow and differ between replicas.
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

// probed notes the result of a probe, and says whether the trouble is over.
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
		h.changed(t.state, t.reason(), after)
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

// gateless marks the contexts of calls that go to Redis even if it is down, and whose errors do not count.
type gateless struct{}

func withoutGate(ctx context.Context) context.Context {
	return context.WithValue(ctx, gateless{}, true)
}

// enters marks the contexts of calls that are made before it is known in which form the data are.
type enters struct{}

func entering(ctx context.Context) context.Context { return context.WithValue(ctx, enters{}, true) }

// gate is a redis.Hook: while Redis is down, no command is sent, and a command that meets trouble closes the gate.
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
	var err error
	if !g.entered.Load() && ctx.Value(enters{}) == nil {
		err = g.enter(ctx)
	}
	if err == nil {
		err = do()
	}
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

// Availability returns what Redis can do, as far as the last calls have shown, and since when it is not Up (zero: it
// is). Available says why.
func (d *DB) Availability() (state Availability, since time.Time) {
	d.health.mu.Lock()
	defer d.health.mu.Unlock()
	if d.health.now.state == Up {
		return Up, time.Time{}
	}
	return d.health.now.state, d.health.since
}

// Available returns nil if Redis takes events, as far as the last calls have shown, and otherwise why it does not.
func (d *DB) Available() error {
	_, why := d.health.state()
	return why
}

// Noticed takes notice of the error of a call, and says whether it is one that ends by itself, or when Redis is set up
// in another way.
func (d *DB) Noticed(err error) bool {
	t := d.health.troubleOf(err)
	if t != nil {
		d.health.set(t)
	}
	return t != nil
}

// SuspectDown tells the store that Redis has not answered for too long: it counts as down until it takes a write.
func (d *DB) SuspectDown(span time.Duration) {
	d.health.saw(&trouble{state: Down, why: fmt.Sprintf("no answer within %s", span)})
}

// WaitUp returns when Redis takes events, or with an error when ctx ends before.
func (d *DB) WaitUp(ctx context.Context) error { return d.health.wait(ctx, true) }
