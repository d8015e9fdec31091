// Package deliver makes deliveries: it takes them from memory as they are accepted, or leases them from the store when they
// are due, posts each to its endpoint, signed, and writes down what came of it.
package deliver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/signature"
)

// Store is what the pool needs of the store; package store says what each method does.
type Store interface {
	Now() time.Time
	Due(ctx context.Context, within time.Duration, offset, most int) ([]event.Due, error)
	Lease(ctx context.Context, asks []event.Ask) (ds []*event.Delivery, looked []event.Looked, err error)
	Settle(ctx context.Context, o event.Outcome) (event.Settled, error)
	Parked(ctx context.Context) (map[string]string, error)
	Backlog(ctx context.Context, endpoint string) (int, error)
	Orphans(ctx context.Context, unknown []string, grace time.Duration) ([]string, error)
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
	Format string // see Body
	Policy Policy
	// AllowCIDRs are networks that this endpoint may have its address in, beside those of Options.Egress.
	AllowCIDRs []netip.Prefix
	// TLS is how the receiver is verified, and what it is shown. Default: the system's authorities, no certificate.
	TLS *tls.Config
	// Headers are sent with every request, beside the relay's own.
	Headers http.Header
	// Timeout of a whole attempt, from the dial to the last byte that is read of the answer.
	Timeout time.Duration
	// MaxInFlight bounds attempts at the same time, and with it connections and memory. While the endpoint does not answer there are no
	// more than 2.
	MaxInFlight int
	// Rated says that the store keeps to a rate: it may have more for the endpoint than it hands over.
	Rated bool
	// MaxBacklog is how many deliveries a parked endpoint keeps; the oldest of what is above become dead letters. 0: all.
	MaxBacklog int
}

// Options of a Pool. A zero field means its default.
type Options struct {
	Store     Store
	Endpoints []Endpoint
	Logger    *zap.Logger
	Registry  prometheus.Registerer
	UserAgent string // default "kuairelay"
	Egress    Egress
	// OrphanGrace is how long a delivery waits for a replica that knows its endpoint. Default 24 h.
	OrphanGrace time.Duration
	// Retention is how long deliveries wait for a person to resume their endpoint. Zero: until MaxAge.
	Retention time.Duration
	// ShutdownGrace is how long attempts that are under way may go on after Run's context ends. Default 20 s.
	ShutdownGrace time.Duration
}

// Pool attempts deliveries, at most MaxInFlight of an endpoint at the same time. What it holds in memory is bounded by that,
// whatever the backlog in the store.
type Pool struct {
	o         Options
	endpoints map[string]*endpoint
	metrics   *metrics
	log       *zap.Logger

	// attempts is cancelled when what is under way has to be cut short; stopping is closed when nothing new may begin.
	attempts context.Context
	abort    context.CancelFunc
	stopping chan struct{}
	mu       sync.Mutex // guards the step from running to stopping against Start
	stopped  bool
	working  sync.WaitGroup
	held     atomic.Int64 // outcomes that the store did not take at once

	feeder feeder
}

// endpoint is the running state of one Endpoint.
type endpoint struct {
	Endpoint
	client   *client
	inFlight atomic.Int64
	// answered is when the last answer came, whatever it was, in ns since the epoch; 0 if there was none, or if an attempt that
	// began later has got none.
	answered atomic.Int64
	// hungry says that more may be due in the store than there was room for.
	hungry atomic.Bool
	// resting says that the endpoint's rate gives nothing, and that the feeder will come back when it does.
	resting atomic.Bool
}

// New makes a Pool. It starts nothing; an endpoint that cannot work is an error.
func New(o Options) (*Pool, error) {
	o.UserAgent = cmp.Or(o.UserAgent, "kuairelay")
	o.OrphanGrace = cmp.Or(o.OrphanGrace, 24*time.Hour)
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, 20*time.Second)
	p := &Pool{o: o, endpoints: make(map[string]*endpoint, len(o.Endpoints)), log: o.Logger, stopping: make(chan struct{})}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	p.attempts, p.abort = context.WithCancel(context.Background())
	p.feeder = newFeeder(p)
	for _, e := range o.Endpoints {
		e.Timeout = cmp.Or(e.Timeout, 15*time.Second)
		e.MaxInFlight = cmp.Or(e.MaxInFlight, 32)
		c, err := newClient(e, o.Egress, o.UserAgent)
		if err == nil {
			err = c.guard.checkLiteral(c.url.Hostname())
		}
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		p.endpoints[e.Name] = &endpoint{Endpoint: e, client: c}
	}
	p.metrics = newMetrics(o.Registry, len(p.endpoints))
	return p, nil
}

// Lease is how long deliveries of an endpoint are leased: enough for an attempt that begins late, and for its outcome to be
// settled after some seconds without Redis. Zero if the pool does not know the endpoint.
func (p *Pool) Lease(name string) time.Duration {
	if e := p.endpoints[name]; e != nil {
		return e.lease()
	}
	return 0
}

func (e *endpoint) lease() time.Duration { return 2*e.Timeout + 5*time.Second }

// Reserve takes a slot of the endpoint, if one is free. Every slot taken has to be given back by Start.
func (p *Pool) Reserve(name string) bool {
	e := p.endpoints[name]
	return e != nil && e.reserve()
}

// silentSlots is how many attempts an endpoint gets at the same time that does not answer: what hangs needs no room.
const silentSlots = 2

// slots is how many attempts the endpoint may have at the same time.
func (e *endpoint) slots() int {
	if e.answered.Load() != 0 {
		return e.MaxInFlight
	}
	return min(e.MaxInFlight, silentSlots)
}

// heard notes an attempt that has ended just now, and says whether the endpoint has more slots for it. One that hangs now and then
// keeps them, for others are answered meanwhile.
func (e *endpoint) heard(a event.Attempt) (more bool) {
	now := time.Now()
	if a.Err == "" {
		return e.answered.Swap(now.UnixNano()) == 0
	}
	if last := e.answered.Load(); last < now.Add(-a.Duration).UnixNano() {
		e.answered.CompareAndSwap(last, 0)
	}
	return false
}

func (e *endpoint) reserve() bool {
	for {
		n := e.inFlight.Load()
		if n >= int64(e.slots()) {
			return false
		}
		if e.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Start attempts deliveries that were leased for slots reserved before, and gives the other slots back. Calls that share one
// round trip to the store may get each other's leases, so only the sums over all calls agree.
func (p *Pool) Start(reserved map[string]int, leased []*event.Delivery) {
	for _, d := range leased {
		if reserved[d.Endpoint] > 0 {
			reserved[d.Endpoint]--
		} else if e := p.endpoints[d.Endpoint]; e != nil {
			e.inFlight.Add(1)
		}
		p.start(d)
	}
	for name, n := range reserved {
		if n > 0 {
			p.endpoints[name].release(p, int64(n))
		}
	}
}

// Feed says that the store has something due for the endpoint that was not handed over: it is leased as soon as there is room.
func (p *Pool) Feed(name string) {
	if e := p.endpoints[name]; e != nil {
		p.feeder.feed(e)
	}
}

// start attempts a delivery in a slot that is taken. After the end of Run it does nothing: the lease lapses.
func (p *Pool) start(d *event.Delivery) {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		p.endpoints[d.Endpoint].inFlight.Add(-1)
		return
	}
	p.working.Add(1)
	p.mu.Unlock()
	go p.work(p.endpoints[d.Endpoint], d)
}

// work attempts a delivery, and then its successors in the same slot.
func (p *Pool) work(e *endpoint, d *event.Delivery) {
	defer p.working.Done()
	for d != nil {
		d = p.settle(e, p.attempt(e, d))
	}
	e.release(p, 1)
}

// release gives slots back, and has them filled again if the store may have more.
func (e *endpoint) release(p *Pool, n int64) {
	e.inFlight.Add(-n)
	if e.hungry.Load() {
		p.feeder.feed(e)
	}
}

// attempt tries a delivery once, unless it is too late for that, and says what is to become of it.
func (p *Pool) attempt(e *endpoint, d *event.Delivery) event.Outcome {
	now := p.o.Store.Now()
	if d.Damaged != "" {
		return event.Outcome{Delivery: d, Kind: event.Dead, Reason: d.Damaged}
	}
	if e.Policy.expired(now, d.Since) {
		return event.Outcome{Delivery: d, Kind: event.Dead, Reason: e.Policy.expiry()}
	}
	// A lease that could lapse during the attempt would let another replica make it at the same time.
	if p.isStopping() || time.Until(d.LeaseEnds) <= e.Timeout {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	a := e.client.post(p.attempts, d, now)
	if p.attempts.Err() != nil && a.Err != "" {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	if e.heard(a) && e.hungry.Load() {
		p.feeder.feed(e)
	}
	v := Decide(a, d.Attempts+1, e.Policy, p.o.Store.Now(), d.Since, rand.Float64())
	return event.Outcome{Delivery: d, Kind: v.Kind, Due: v.Due, Reason: v.Reason, Attempt: &a, Sign: signOf(a)}
}

// settle writes an outcome down, however long that takes: the slot stays taken, so that what is held in memory is bounded.
// It returns the successor, to be attempted in the same slot.
func (p *Pool) settle(e *endpoint, o event.Outcome) *event.Delivery {
	if !p.isStopping() {
		o.Next = e.lease()
	}
	settled, err := p.write(o)
	p.report(o, settled, err)
	if b := settled.Breaker; b != nil {
		p.reportBreaker(e, o, *b)
	}
	if closed := settled.Breaker != nil && !settled.Breaker.Open; closed || e.Rated && settled.Next == nil {
		p.feeder.feed(e)
	}
	if o.Kind == event.Retry {
		p.feeder.lookBy(time.Now().Add(o.Due.Sub(p.o.Store.Now()) + time.Millisecond))
	}
	return settled.Next
}

// write settles an outcome, and again after an error, until the pool is stopped for good or the outcome is worth nothing any
// more: once the lease has lapsed, only a delivered one is.
func (p *Pool) write(o event.Outcome) (event.Settled, error) {
	first := true
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		settled, err := p.o.Store.Settle(context.WithoutCancel(p.attempts), o)
		if err == nil || (o.Kind != event.Delivered && time.Now().After(o.Delivery.LeaseEnds)) {
			return settled, err
		}
		if first {
			first = false
			p.held.Add(1)
			defer p.held.Add(-1)
		}
		select {
		case <-p.attempts.Done():
			return settled, err
		case <-time.After(wait + rand.N(wait)):
		}
	}
}

// Held is how many outcomes wait for the store to take them.
func (p *Pool) Held() int { return int(p.held.Load()) }

// AwaitHeld returns when no outcome waits any more, or when that has taken too long for this pause.
func (p *Pool) AwaitHeld(ctx context.Context, most time.Duration) {
	for deadline := time.Now().Add(most); p.Held() > 0 && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (p *Pool) report(o event.Outcome, settled event.Settled, err error) {
	d := o.Delivery
	fields := []zap.Field{
		zap.String("endpoint", d.Endpoint), zap.String("event", d.Event.ID), zap.String("waybill", d.Event.WaybillCode),
		zap.String("reason", string(d.Reason)), zap.String("outcome", outcomes[o.Kind]),
	}
	if a := o.Attempt; a != nil {
		fields = append(fields, zap.Int("attempt", d.Attempts+1), zap.Duration("took", a.Duration))
		if a.Err != "" {
			fields = append(fields, zap.String("error", a.Err))
		} else {
			fields = append(fields, zap.Int("status", a.Status))
		}
	}
	switch o.Kind {
	case event.Retry:
		fields = append(fields, zap.Time("due", o.Due))
	case event.Dead:
		fields = append(fields, zap.String("why", o.Reason))
	case event.Gone:
		fields = append(fields, zap.String("why", "410: the endpoint is parked, and its deliveries wait, until it is resumed"))
	}
	if settled.Late {
		fields = append(fields, zap.Bool("late", true))
	}
	switch {
	case err != nil:
		p.log.Error("outcome not settled: the delivery will be tried again when its lease lapses", append(fields, zap.Error(err))...)
	case o.Kind == event.Dead || o.Kind == event.Gone:
		p.log.Warn("attempt", fields...)
	default:
		p.log.Info("attempt", fields...)
	}
	p.metrics.observe(o, settled.Late, p.o.Store.Now())
}

// reportBreaker says what an outcome made of its endpoint's breaker.
func (p *Pool) reportBreaker(e *endpoint, o event.Outcome, b event.BreakerChange) {
	p.metrics.breaker(e.Name, b.Open)
	fields := []zap.Field{zap.String("endpoint", e.Name)}
	if !b.Open {
		p.log.Info("breaker closed: the endpoint answers, and gets what has gathered at a growing pace", fields...)
		return
	}
	fields = append(fields, zap.Time("until", b.Until), zap.Int("failed_probes", b.Probes))
	if o.Attempt != nil {
		fields = append(fields, zap.String("last", describe(*o.Attempt)))
	}
	if b.Probes == 0 {
		p.log.Warn("breaker opened: the endpoint keeps failing, and its deliveries wait", fields...)
	} else {
		p.log.Info("breaker stays open: the probe failed", fields...)
	}
}

// outcomes as logs and metrics name them.
var outcomes = map[event.Kind]string{
	event.Delivered: "delivered", event.Retry: "retry", event.Dead: "dead", event.Gone: "gone", event.Released: "released",
}

func (p *Pool) isStopping() bool {
	select {
	case <-p.stopping:
		return true
	default:
		return false
	}
}

// Run leases and attempts what is due until ctx is cancelled. Then it begins nothing new, lets what is under way finish within
// the grace, hands the rest back, and returns nil.
func (p *Pool) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { p.feeder.run(ctx) })
	loops.Go(func() { (&janitor{pool: p, aged: make(map[string]time.Time)}).run(ctx) })
	<-ctx.Done()
	close(p.stopping)
	loops.Wait()

	cut := time.AfterFunc(p.o.ShutdownGrace, p.abort)
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.working.Wait()
	cut.Stop()
	p.abort()
	for _, e := range p.endpoints {
		e.client.close()
	}
	return nil
}

// complaints logs an error of the store once for each time that it changes, and says whether there was one. Trouble that the
// store knows of is told elsewhere.
type complaints struct {
	log   *zap.Logger
	last  string
	quiet bool
}

func (c *complaints) about(doing string, err error) bool {
	var trouble interface{ Trouble() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return true
	case err == nil:
		if c.last != "" && !c.quiet {
			c.log.Info("the store answers again", zap.String("doing", doing))
		}
		c.last = ""
		return false
	case errors.As(err, &trouble):
		c.last, c.quiet = err.Error(), true
		return true
	case err.Error() != c.last:
		c.log.Error("the store failed", zap.String("doing", doing), zap.Error(err))
		c.last, c.quiet = err.Error(), false
	}
	return true
}
