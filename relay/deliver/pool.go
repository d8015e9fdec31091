// Package deliver makes deliveries. It takes them from memory as they are accepted, or leases them from the store when
// they are due, posts each to its endpoint, signed, and settles the outcome.
package deliver

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/signature"
	"kuairelay/relay/stats"
	"kuairelay/relay/workers"
)

// Store is what the pool needs of the store; package store says what each method does.
type Store interface {
	Now() time.Time
	Due(ctx context.Context, within time.Duration, offset, most int) ([]queue.DueEndpoint, error)
	Lease(ctx context.Context, asks []queue.LeaseRequest) (ds []*event.Delivery, looked []queue.LeaseProgress, err error)
	Settle(ctx context.Context, line ...queue.Outcome) ([]queue.Settled, error)
	Parked(ctx context.Context) (map[string]queue.Parked, error)
	Backlog(ctx context.Context, endpoint string) (int, error)
	TryLock(ctx context.Context, what string, span time.Duration) (unlock func(), locked bool, err error)
	Orphans(ctx context.Context, unknown []string, grace time.Duration) ([]string, error)
	Distrust(ctx context.Context, endpoint string) error
	Distrusted(ctx context.Context) (map[string]time.Time, error)
}

// Key is a secret that signs every request, until a time if one is set.
type Key struct {
	signature.Key
	Until time.Time
}

// Endpoint is where deliveries go, and how.
type Endpoint struct {
	Name   string // "tenant/endpoint"
	URL    string
	Keys   []Key
	Format string // one of Formats; empty: the first
	Policy Policy
	// AllowCIDRs are networks that the address of this endpoint may be in, in addition to those of Options.Egress.
	AllowCIDRs []netip.Prefix
	// TLS says how to verify the receiver, and which certificate to show it. Default: the system's authorities, no
	// certificate.
	TLS *tls.Config
	// Headers are sent with every request, in addition to the relay's own.
	Headers http.Header
	// Timeout of a whole attempt, from the dial to the last byte that is read of the answer.
	Timeout time.Duration
	// MaxInFlight bounds attempts at the same time, and what follows from them:
	//
	//	attempts, while the endpoint answers      MaxInFlight
	//	attempts, while it does not answer        2
	//	deliveries in memory, leased ahead,
	//	while it answers at once                  4 × MaxInFlight, or what it takes in a second if that is more, up to 512
	//	connections without a request (see http1) 2 × MaxInFlight, at least 64
	MaxInFlight int
	// Rated says that the store keeps the endpoint to a rate: it may have more due than it leases.
	Rated bool
	// MaxBacklog is how many deliveries a parked endpoint keeps; if there are more, the oldest become dead letters. 0: it
	// keeps all.
	MaxBacklog int
}

// Options of a Pool. A zero field means its default.
type Options struct {
	Settings
	Store    Store
	Logger   *zap.Logger
	Registry prometheus.Registerer
	// Stats counts attempts. Default: nothing does.
	Stats     *stats.Counters
	UserAgent string // default "kuairelay"
	// ShutdownGrace is how long attempts may go on after Run's context ends. Default 20 s.
	ShutdownGrace time.Duration
}

// Settings of a Pool are what may change while it runs (see Use). A zero field means its default.
type Settings struct {
	// Endpoints must not be changed after they were given. An endpoint that is the same pointer as before keeps its
	// connections.
	Endpoints []*Endpoint
	Egress    Egress
	// OrphanGrace is how long a delivery waits for a replica that knows its endpoint. Default 24 h.
	OrphanGrace time.Duration
	// Retention is how long deliveries wait for a person to resume their endpoint. Zero: until MaxAge.
	Retention time.Duration
}

// Pool attempts deliveries, at most MaxInFlight of an endpoint at the same time. It holds a small multiple of that in
// memory, whatever the backlog in the store.
type Pool struct {
	o       Options
	current atomic.Pointer[served]
	metrics *metrics
	log     *zap.Logger

	// attempts is cancelled when running attempts have to be cut short; stopping is closed when nothing new may begin.
	attempts context.Context
	abort    context.CancelFunc
	stopping chan struct{}
	mu       sync.Mutex // guards the step from running to stopping against Start
	stopped  bool
	working  sync.WaitGroup
	held     heldOutcomes
	doubted  chan struct{}

	feeder  feeder
	workers *workers.Group
}

// served are the settings in use. They are not changed, but the state of their endpoints is.
type served struct {
	Settings
	// endpoints also has those that are no longer in the config, as long as something of theirs is under way.
	endpoints map[string]*endpoint
}

// New makes a Pool. It starts nothing; an endpoint that cannot work is an error.
func New(o Options) (*Pool, error) {
	o.UserAgent = cmp.Or(o.UserAgent, "kuairelay")
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, 20*time.Second)
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	o.Stats = cmp.Or(o.Stats, stats.NewCounters(time.Now))

	p := &Pool{
		o:        o,
		log:      o.Logger,
		metrics:  newMetrics(o.Registry),
		stopping: make(chan struct{}),
		doubted:  make(chan struct{}, 1),
		workers:  workers.New(),
	}
	p.attempts, p.abort = context.WithCancel(context.Background())
	p.feeder = newFeeder(p)
	p.current.Store(&served{})
	return p, p.Use(o.Settings)
}

// Use replaces the settings, also while the pool runs. Attempts that begin from now on use the new ones, also those of
// pending retries; attempts under way end as they began. An endpoint that cannot work is an error, and nothing changes.
// Calls must not overlap.
func (p *Pool) Use(set Settings) error {
	set.OrphanGrace = cmp.Or(set.OrphanGrace, 24*time.Hour)
	was := p.current.Load()
	sameEgress := reflect.DeepEqual(was.Egress, set.Egress)
	clients := make(map[string]*client, len(set.Endpoints)) // only those that change
	now := &served{Settings: set, endpoints: make(map[string]*endpoint, len(set.Endpoints))}

	for _, e := range set.Endpoints {
		running := was.endpoints[e.Name]
		if running == nil {
			running = &endpoint{name: e.Name}
			running.trust.tell = func(how string) { p.doubt(e.Name, how) }
		}
		now.endpoints[e.Name] = running

		if c := running.client.Load(); c != nil && c.given == e && sameEgress {
			continue
		}
		c, err := newClient(e, set.Egress, p.o.UserAgent)
		if err != nil {
			return fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		if err := c.guard.checkLiteral(c.url.Hostname()); err != nil {
			return fmt.Errorf("endpoint %s: url: %w", e.Name, err)
		}
		c.http1.trust = &running.trust
		clients[e.Name] = c
	}

	// From here on nothing fails. Attempts under way for an endpoint that is gone end as they began.
	var gone []*endpoint
	for name, e := range was.endpoints {
		if now.endpoints[name] != nil {
			continue
		}
		gone = append(gone, e)
		e.setClient(nil)
		if e.inFlight.Load() > 0 {
			now.endpoints[name] = e
		}
	}

	p.metrics.use(len(set.Endpoints), gone)
	p.current.Store(now)
	for name, c := range clients {
		e := now.endpoints[name]
		e.setClient(c)
		e.answered.Store(0)
		e.resting.Store(false) // from a rate that may be another now: the next look finds what is due
	}
	p.lookAtTrust()
	return nil
}

// endpoint returns an endpoint by its name, nil if the pool has nothing to do with it.
func (p *Pool) endpoint(name string) *endpoint { return p.current.Load().endpoints[name] }

// client returns the client of an endpoint, nil if the config has none of that name.
func (p *Pool) client(name string) *client {
	if e := p.endpoint(name); e != nil {
		return e.client.Load()
	}
	return nil
}

// Lease is how long deliveries of an endpoint are leased: long enough for an attempt that begins late, and for its
// outcome to be settled after some seconds without Redis. Zero if the pool does not know the endpoint.
func (p *Pool) Lease(name string) time.Duration { return p.client(name).lease() }

func (c *client) lease() time.Duration {
	if c == nil {
		return 0
	}
	return 2*c.endpoint.Timeout + 5*time.Second
}

// Reserve takes a slot of the endpoint, if one is free. Every slot taken has to be given back by Start.
func (p *Pool) Reserve(name string) bool {
	e := p.endpoint(name)
	return e != nil && e.reserve()
}

// Start attempts deliveries that were leased for reserved slots, and gives the other slots back. Calls of Accept that
// share a round trip may get each other's leases, so only the sums over all calls match.
func (p *Pool) Start(reserved map[string]int, leased []*event.Delivery) {
	for _, d := range leased {
		e := p.endpoint(d.Endpoint)
		if e == nil { // it was taken out of the config just now: the lease lapses
			continue
		}
		if reserved[d.Endpoint] > 0 {
			reserved[d.Endpoint]--
		} else {
			e.inFlight.Add(1)
		}
		p.start(e, line{d})
	}
	for name, n := range reserved {
		if e := p.endpoint(name); e != nil && n > 0 {
			e.release(p, int64(n))
		}
	}
}

// Feed says that the store has something due for the endpoint. It is leased as soon as there is a slot.
func (p *Pool) Feed(name string) {
	if e := p.endpoint(name); e != nil {
		p.feeder.feed(e)
	}
}

// start attempts a line in a slot that is taken. After Run has ended it does nothing, and the lease lapses.
func (p *Pool) start(e *endpoint, l line) {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		e.free(1)
		return
	}
	p.working.Add(1)
	p.mu.Unlock()
	if !e.admit(l) {
		p.working.Done()
		return
	}
	p.workers.Go(func() { p.work(e, l) })
}

func (p *Pool) isStopping() bool {
	select {
	case <-p.stopping:
		return true
	default:
		return false
	}
}

// Run leases and attempts what is due until ctx is cancelled. Then it begins nothing new, lets running attempts finish
// within the grace, hands the rest back, and returns nil.
func (p *Pool) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { p.feeder.run(ctx) })
	loops.Go(func() { p.watchTrust(ctx) })
	loops.Go(func() { (&janitor{pool: p, aged: make(map[string]time.Time)}).run(ctx) })
	<-ctx.Done()
	close(p.stopping)
	cut := time.AfterFunc(p.o.ShutdownGrace, p.abort)
	loops.Wait()

	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.working.Wait()
	cut.Stop()
	p.abort()
	for _, e := range p.current.Load().endpoints {
		e.setClient(nil)
	}
	return nil
}
