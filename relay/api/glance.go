package api

import (
	"context"
	"sync"
	"time"
)

// Glance is what every page shows of the relay around its own content, within what the reader may see. It is zero while
// nothing is known.
type Glance struct {
	// Critical are the problems that wake somebody. Needs counts them and warnings.
	Critical []StatusProblem
	Needs    int
	// ConfigRefused says that the files of the config have mistakes.
	ConfigRefused bool

	Dead        int64 // dead letters
	Replays     int   // that run
	Quarantined int
}

const (
	// glanceWaits is how long a page waits for a glance that is being made. After that it shows the one before.
	glanceWaits = 250 * time.Millisecond
	// glanceKept is how old a glance may be that is shown.
	glanceKept = time.Minute
)

// glances are those of one tenant. They are made one after the other, aside, so that a page never waits for Redis.
type glances struct {
	mu     sync.Mutex
	latest Glance
	at     time.Time     // when latest was made
	ready  chan struct{} // closed when the next one is made; nil: none is being made
	acted  bool          // something was done since latest was begun
}

// Glance gives the caller's glance (tenant empty: the operator's) at the state of the relay. It asks Redis for nothing
// but the snapshot that all share, and answers within a fraction of a second.
func (c *API) Glance(ctx context.Context, tenant string) Glance {
	g := c.glances.of(tenant)
	g.mu.Lock()
	if !g.acted && time.Since(g.at) < freshLeast {
		defer g.mu.Unlock()
		return g.latest
	}
	if g.ready == nil {
		g.acted = false
		g.ready = make(chan struct{})
		go g.make(context.WithoutCancel(ctx), c, tenant)
	}
	ready := g.ready
	g.mu.Unlock()

	select {
	case <-ready:
	case <-ctx.Done():
	case <-time.After(glanceWaits):
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.at) > glanceKept {
		return Glance{}
	}
	return g.latest
}

// acted has what everybody asks for made anew soon, because somebody did something: it shows on the pages that the
// caller and the operator open next.
func (c *call) acted() {
	c.latest.acted.Store(true)
	for _, reader := range []string{c.tenant, ""} {
		g := c.glances.of(reader)
		g.mu.Lock()
		g.acted = true
		g.mu.Unlock()
	}
}

// make makes the next glance.
func (g *glances) make(ctx context.Context, c *API, tenant string) {
	made := c.glance(ctx, tenant)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.latest, g.at = made, time.Now()
	close(g.ready)
	g.ready = nil
}

// glance looks at the present snapshot.
func (c *API) glance(ctx context.Context, tenant string) Glance {
	call := &call{API: c, settings: c.current.Load(), tenant: tenant}
	s := call.snapshotWithin(ctx)
	status, facts := call.sumUp(s)
	if err := call.errOf(s); err != nil {
		facts.Cause = call.cause(err)
	}

	out := Glance{Dead: status.Dead, Replays: status.Replays, Quarantined: status.Quarantined}
	for _, p := range Problems(facts) {
		if p.Severity == Critical {
			out.Critical = append(out.Critical, p)
		}
		if p.Severity != Notice {
			out.Needs++
		}
		out.ConfigRefused = out.ConfigRefused || p.Code == ConfigRefused
	}
	return out
}
