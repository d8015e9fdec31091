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
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/signature"
	"kuairelay/relay/workers"
)

// Store is what the pool needs of the store; package store says what each method does.
type Store interface {
	Now() time.Time
	Due(ctx context.Context, within time.Duration, offset, most int) ([]event.Due, error)
	Lease(ctx context.Context, asks []event.LeaseRequest) (ds []*event.Delivery, looked []event.LeaseProgress, err error)
	Settle(ctx context.Context, line ...event.Outcome) ([]event.Settled, error)
	Parked(ctx context.Context) (map[string]string, error)
	Backlog(ctx context.Context, endpoint string) (int, error)
	Alone(ctx context.Context, what string, span time.Duration) (done func(), may bool, err error)
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
	// MaxInFlight bounds attempts at the same time, and with it memory and connections: there are up to twice as many more, at least 64,
	// that have no request and rest (see http1). While the endpoint does not answer there are no
	// more than 2. One that answers at once has up to four times as many deliveries in memory, leased ahead, or as many as it takes in
	// a second, if that is more, up to 512; they wait for an attempt to end.
	MaxInFlight int
	// Rated says that the store keeps to a rate: it may have more for the endpoint than it hands over.
	Rated bool
	// MaxBacklog is how many deliveries a parked endpoint keeps; the oldest of what is above become dead letters. 0: all.
	MaxBacklog int
}

// Options of a Pool. A zero field means its default.
type Options struct {
	Settings
	Store     Store
	Logger    *zap.Logger
	Registry  prometheus.Registerer
	UserAgent string // default "kuairelay"
	// ShutdownGrace is how long attempts that are under way may go on after Run's context ends. Default 20 s.
	ShutdownGrace time.Duration
}

// Settings of a Pool are what may change while it runs (see Use). A zero field means its default.
type Settings struct {
	// Endpoints are not changed after they were given. One that is the very same as before keeps its connections.
	Endpoints []*Endpoint
	Egress    Egress
	// OrphanGrace is how long a delivery waits for a replica that knows its endpoint. Default 24 h.
	OrphanGrace time.Duration
	// Retention is how long deliveries wait for a person to resume their endpoint. Zero: until MaxAge.
	Retention time.Duration
}

// Pool attempts deliveries, at most MaxInFlight of an endpoint at the same time. What it holds in memory is bounded by a small
// multiple of that, whatever the backlog in the store.
type Pool struct {
	o       Options
	current atomic.Pointer[served]
	metrics *metrics
	log     *zap.Logger

	// attempts is cancelled when what is under way has to be cut short; stopping is closed when nothing new may begin.
	attempts context.Context
	abort    context.CancelFunc
	stopping chan struct{}
	mu       sync.Mutex // guards the step from running to stopping against Start
	stopped  bool
	working  sync.WaitGroup
	held     atomic.Int64 // outcomes that the store did not take at once
	doubted  chan struct{}

	feeder  feeder
	workers *workers.Group
}

// served are the settings in use. It is not changed; that of its endpoints is.
type served struct {
	Settings
	// endpoints also holds those that are in the config no more, while something of theirs is under way.
	endpoints map[string]*endpoint
}

// endpoint is the running state of one Endpoint, whatever its settings are at the time.
type endpoint struct {
	name  string
	trust trust
	// client is nil if the endpoint is in the config no more.
	client atomic.Pointer[client]
	// inFlight are the slots taken: by deliveries that are attempted, that wait here for it, or that may be leased any moment.
	inFlight atomic.Int64
	// answered is when the last answer came, whatever it was, in ns since the epoch; 0 if there was none, or if an attempt that
	// began later has got none.
	answered atomic.Int64
	// quick says that the attempt that ended last was delivered, within a tenth of the time-out: what is leased ahead is attempted
	// long before its lease gets too short.
	quick atomic.Bool
	// hungry says that more may be due in the store than there was room for.
	hungry atomic.Bool
	// resting says that the endpoint's rate gives nothing, and that the feeder will come back when it does.
	resting atomic.Bool

	// pace is how many attempts end in aheadFor, as it was when they were counted last.
	pace atomic.Int64

	mu      sync.Mutex
	waiting []line    // leased ahead, the oldest first
	running int       // workers: attempts, and outcomes that they wait for to be settled
	aside   int       // outcomes being settled that no worker waits for
	shed    int       // how many of waiting are to be handed back
	since   time.Time // when what pace will be next began, and
	ended   int       // how many attempts have ended since
}

// line is a delivery that is leased, and what waits behind it that is read already, in their order. It takes one slot.
type line []*event.Delivery

// New makes a Pool. It starts nothing; an endpoint that cannot work is an error.
func New(o Options) (*Pool, error) {
	o.UserAgent = cmp.Or(o.UserAgent, "kuairelay")
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, 20*time.Second)
	p := &Pool{o: o, log: o.Logger, stopping: make(chan struct{}), doubted: make(chan struct{}, 1), metrics: newMetrics(o.Registry), workers: workers.New()}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	p.attempts, p.abort = context.WithCancel(context.Background())
	p.feeder = newFeeder(p)
	p.current.Store(&served{})
	return p, p.Use(o.Settings)
}

// Use replaces the settings, also while the pool runs. Attempts that begin from now on keep to the new ones, those of pending
// retries too; those under way end as they began. An endpoint that cannot work is an error, and changes nothing. Calls must not
// overlap.
func (p *Pool) Use(set Settings) error {
	set.OrphanGrace = cmp.Or(set.OrphanGrace, 24*time.Hour)
	was := p.current.Load()
	sameEgress := reflect.DeepEqual(was.Egress, set.Egress)
	clients := make(map[string]*client, len(set.Endpoints)) // only those that change
	now := &served{set, make(map[string]*endpoint, len(set.Endpoints))}
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
		if err == nil {
			if err = c.guard.checkLiteral(c.url.Hostname()); err != nil {
				err = fmt.Errorf("url: %w", err)
			}
		}
		if err != nil {
			return fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		c.http1.trust = &running.trust
		clients[e.Name] = c
	}
	// Nothing fails from here on.
	var gone []*endpoint
	for name, e := range was.endpoints {
		if now.endpoints[name] != nil {
			continue
		}
		gone = append(gone, e)
		e.swap(nil)
		if e.inFlight.Load() > 0 {
			now.endpoints[name] = e
		}
	}
	p.metrics.use(len(set.Endpoints), gone)
	p.current.Store(now)
	for name, c := range clients {
		e := now.endpoints[name]
		e.swap(c)
		e.answered.Store(0)
		e.resting.Store(false) // from a rate that may be another now: the next look finds what is due
	}
	p.lookAtTrust()
	return nil
}

// swap has attempts that begin from now on made by another client, or by none.
func (e *endpoint) swap(c *client) {
	if was := e.client.Swap(c); was != nil {
		was.close()
	}
}

// endpoint is nil if the pool has nothing to do with it.
func (p *Pool) endpoint(name string) *endpoint { return p.current.Load().endpoints[name] }

// client of an endpoint; nil if there is none of that name in the config.
func (p *Pool) client(name string) *client {
	if e := p.endpoint(name); e != nil {
		return e.client.Load()
	}
	return nil
}

// Lease is how long deliveries of an endpoint are leased: enough for an attempt that begins late, and for its outcome to be
// settled after some seconds without Redis. Zero if the pool does not know the endpoint.
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

// silentSlots is how many attempts an endpoint gets at the same time that does not answer: what hangs needs no room.
const silentSlots = 2

// Deliveries are held ahead of an endpoint that is quick: they keep its connections busy, and an event that comes while they are is handed
// over in memory, which is half of what it costs to queue and lease it. No other replica can take them, so they are few: ahead for each
// attempt that the endpoint may have at the same time, or as many as it takes in aheadFor, up to aheadMost.
const (
	ahead     = 4
	aheadFor  = time.Second
	aheadMost = 512
	paceFor   = 100 * time.Millisecond // for which attempts are counted: what an endpoint takes is to be known before a queue has formed
)

// slots is how many deliveries of the endpoint may be held at the same time. Where a rate says when they are attempted, none wait here.
func (e *endpoint) slots(c *client) int {
	switch {
	case e.answered.Load() == 0:
		return min(c.endpoint.MaxInFlight, silentSlots)
	case e.quick.Load() && !c.endpoint.Rated:
		return max(ahead*c.endpoint.MaxInFlight, min(int(e.pace.Load()), aheadMost))
	}
	return c.endpoint.MaxInFlight
}

// count has pace learn from an attempt that ended now.
func (e *endpoint) count(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended++
	if span := now.Sub(e.since); span >= paceFor {
		e.pace.Store(int64(float64(e.ended) * float64(aheadFor) / float64(span)))
		e.since, e.ended = now, 0
	}
}

// heard notes an attempt that has ended just now, and says whether the endpoint has more slots for it. One that hangs now and then
// keeps them, for others are answered meanwhile. What was leased ahead of one that is quick no more is handed back.
func (e *endpoint) heard(a event.Attempt, timeout time.Duration) (more bool) {
	now, quick := time.Now(), a.Err == "" && a.Status/100 == 2 && a.Duration <= timeout/10
	e.count(now)
	was := e.quick.Swap(quick)
	if was && !quick {
		e.handBack()
	}
	if a.Err == "" {
		return e.answered.Swap(now.UnixNano()) == 0 || quick && !was
	}
	if last := e.answered.Load(); last < now.Add(-a.Duration).UnixNano() {
		e.answered.CompareAndSwap(last, 0)
	}
	return false
}

func (e *endpoint) reserve() bool {
	c := e.client.Load()
	for {
		n := e.inFlight.Load()
		if c == nil || n >= int64(e.slots(c)) {
			return false
		}
		if e.inFlight.CompareAndSwap(n, n+1) {
			break
		}
	}
	if e.client.Load() == nil { // Use may not have seen that a slot is taken, and may forget the endpoint
		e.inFlight.Add(-1)
		return false
	}
	return true
}

// Start attempts deliveries that were leased for slots reserved before, and gives the other slots back. Calls that share one
// round trip to the store may get each other's leases, so only the sums over all calls agree.
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

// Feed says that the store has something due for the endpoint that was not handed over: it is leased as soon as there is room.
func (p *Pool) Feed(name string) {
	if e := p.endpoint(name); e != nil {
		p.feeder.feed(e)
	}
}

// start attempts a line in a slot that is taken. After the end of Run it does nothing: the lease lapses.
func (p *Pool) start(e *endpoint, l line) {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		e.inFlight.Add(-1)
		return
	}
	p.working.Add(1)
	p.mu.Unlock()
	if !e.begin(l) {
		p.working.Done()
		return
	}
	p.workers.Go(func() { p.work(e, l) })
}

// begin says whether a worker is to attempt the line; otherwise it waits for one of those that there are.
func (e *endpoint) begin(l line) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running > 0 && e.running >= e.workers() {
		e.waiting = append(e.waiting, l)
		return false
	}
	e.running++
	return true
}

// workers is how many attempts there may be at the same time.
func (e *endpoint) workers() int {
	if c := e.client.Load(); c != nil {
		return c.endpoint.MaxInFlight
	}
	return 1
}

// work attempts a line, and then what waits: the rest of that line last. What is not attempted any more is handed back. After a delivery
// the worker does not wait if others do: it is settled aside. If the relay dies, what is being settled comes again: so that is as many as
// there may be attempts at most.
func (p *Pool) work(e *endpoint, l line) {
	defer p.working.Done()
	for back := false; l != nil; {
		outcomes := []event.Outcome{{Delivery: l[0], Kind: event.Released}}
		if !back {
			outcomes = p.run(e, l)
		}
		if outcomes[len(outcomes)-1].Kind == event.Delivered {
			if l, back = e.turnAside(); l != nil {
				p.working.Add(1)
				p.workers.Go(func() { p.finish(e, outcomes) })
				continue
			}
		}
		l, back = e.turn(p.end(e, outcomes))
	}
}

// asideMost is enough to keep the store busy, however many attempts there are.
const asideMost = 64

// finish settles outcomes aside, and has what comes next in their line attempted.
func (p *Pool) finish(e *endpoint, outcomes []event.Outcome) {
	rest := p.end(e, outcomes)
	e.mu.Lock()
	e.aside--
	e.mu.Unlock()
	if rest != nil && e.begin(rest) {
		p.work(e, rest)
		return
	}
	p.working.Done()
}

// end settles the outcomes of a line, and gives its slot back, unless something comes next in it.
func (p *Pool) end(e *endpoint, outcomes []event.Outcome) (rest line) {
	if end := p.settle(e, outcomes); end.Next != nil {
		return append(line{end.Next}, end.Line...)
	}
	e.release(p, 1)
	if e.client.Load().rated() {
		p.feeder.feed(e)
	}
	return nil
}

const (
	// runFor is how long the deliveries of one line are attempted before they are settled. If the relay dies, the endpoint gets those
	// again, and the ones that are attempted meanwhile, so it is short.
	runFor = 10 * time.Millisecond
	// runMost is how many that are at most.
	runMost = 32
)

// run attempts the deliveries of a line one after the other, as long as each is delivered. While some are settled, the next are
// attempted: so two parts of the line are in hand, if there is so much of it and nothing else waits for the worker. It returns the
// outcomes that are still to be settled.
func (p *Pool) run(e *endpoint, l line) []event.Outcome {
	for settling := (chan event.Settled)(nil); ; {
		outcomes := p.part(e, l)
		l = l[len(outcomes):]
		leased := true
		if settling != nil {
			end := <-settling
			leased, l = end.Leased, append(l, end.Line...)
		}
		last := &outcomes[len(outcomes)-1]
		if last.Kind != event.Delivered || !leased || !e.quick.Load() || !e.idle() {
			return outcomes
		}
		most := max(1, min(runMost, int(runFor/max(last.Attempt.Duration, 1))))
		if len(l) == 0 {
			last.Wanted = 2*most - 1
			return outcomes
		}
		last.Held, last.Wanted = len(l), max(0, 2*most-len(l))
		settling = make(chan event.Settled, 1)
		p.working.Add(1)
		p.workers.Go(func() {
			defer p.working.Done()
			settling <- p.settle(e, outcomes)
		})
	}
}

// part attempts a line as long as each is delivered, and that does not take long.
func (p *Pool) part(e *endpoint, l line) []event.Outcome {
	outcomes := make([]event.Outcome, 0, min(len(l), runMost))
	for began := time.Now(); len(outcomes) < min(len(l), runMost); {
		o := p.attempt(e, l[len(outcomes)])
		outcomes = append(outcomes, o)
		if o.Kind != event.Delivered || time.Since(began) > runFor {
			break
		}
	}
	return outcomes
}

// idle says that there are fewer lines than attempts at the same time.
func (e *endpoint) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting) == 0
}

// turn gives a worker what it does next, if there is anything, and whether it is to be handed back: because of shed, or because
// the endpoint fell silent, and has as many attempts as such a one gets.
func (e *endpoint) turn(rest line) (l line, back bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if rest != nil {
		e.waiting = append(e.waiting, rest)
	}
	if l, back = e.next(); l == nil {
		e.running--
	}
	return l, back
}

// turnAside is turn before the worker's outcomes are settled; nil if it has to wait for that.
func (e *endpoint) turnAside() (l line, back bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.aside >= min(e.workers(), asideMost) {
		return nil, false
	}
	if l, back = e.next(); l != nil {
		e.aside++
	}
	return l, back
}

// next takes the first line that waits, if a worker may go on. e.mu is held.
func (e *endpoint) next() (l line, back bool) {
	if len(e.waiting) == 0 || e.running > e.workers() {
		return nil, false
	}
	l, e.waiting[0] = e.waiting[0], nil
	if e.waiting = e.waiting[1:]; len(e.waiting) == 0 {
		e.waiting = nil
	}
	if e.shed > 0 {
		e.shed--
		return l, true
	}
	return l, e.answered.Load() == 0 && e.running > silentSlots
}

// handBack has the deliveries that wait handed back.
func (e *endpoint) handBack() {
	e.mu.Lock()
	e.shed = len(e.waiting)
	e.mu.Unlock()
}

// release gives slots back, and has them filled again if the store may have more: as soon as a half is free where many are held,
// because every round trip to the store costs the same.
func (e *endpoint) release(p *Pool, n int64) {
	left := e.inFlight.Add(-n)
	if c := e.client.Load(); e.hungry.Load() && (c == nil || left <= int64(max(e.slots(c)/2, c.endpoint.MaxInFlight))) {
		p.feeder.feed(e)
	}
}

// attempt tries a delivery once, unless it is too late for that, and says what is to become of it. One whose endpoint is in the
// config no more is handed back.
func (p *Pool) attempt(e *endpoint, d *event.Delivery) event.Outcome {
	c := e.client.Load()
	if c == nil {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	set, now := &c.endpoint, p.o.Store.Now()
	if d.Damaged != "" {
		return event.Outcome{Delivery: d, Kind: event.Dead, Reason: d.Damaged}
	}
	if set.Policy.expired(now, d.Since) {
		return event.Outcome{Delivery: d, Kind: event.Dead, Reason: set.Policy.expiry()}
	}
	// A lease that could lapse during the attempt would let another replica make it at the same time.
	if p.isStopping() || time.Until(d.LeaseEnds) <= set.Timeout {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	a := c.post(p.attempts, d, now)
	if p.attempts.Err() != nil && a.Err != "" {
		return event.Outcome{Delivery: d, Kind: event.Released}
	}
	if e.heard(a, set.Timeout) && e.hungry.Load() {
		p.feeder.feed(e)
	}
	v := Decide(a, d.Attempts+1, set.Policy, p.o.Store.Now(), d.Since, rand.Float64())
	return event.Outcome{Delivery: d, Kind: v.Kind, Due: v.Due, Reason: v.Reason, Attempt: &a, Signal: signalOf(a)}
}

// settle writes the outcomes of a line down, however long that takes: the slot stays taken, so that what is held in memory is bounded.
// It returns what became of the last, and with it what comes next in the line.
func (p *Pool) settle(e *endpoint, outcomes []event.Outcome) event.Settled {
	last := &outcomes[len(outcomes)-1]
	if !p.isStopping() {
		last.Next = e.client.Load().lease()
	}
	settled, err := p.write(outcomes)
	for i, o := range outcomes {
		p.report(o, settled[i], err)
		b := settled[i].Breaker
		if b != nil {
			p.reportBreaker(e, o, *b)
		}
		switch {
		case o.Kind == event.Gone, b != nil && b.Open:
			e.handBack()
		case b != nil:
			p.feeder.feed(e)
		}
	}
	if last.Kind == event.Retry {
		p.feeder.lookBy(time.Now().Add(last.Due.Sub(p.o.Store.Now()) + time.Millisecond))
	}
	return settled[len(settled)-1]
}

// write settles the outcomes of a line, and again after an error, until the pool is stopped for good or they are worth nothing any
// more: once the lease has lapsed, only a delivered one is. There is an answer for each, though it says nothing after an error.
func (p *Pool) write(outcomes []event.Outcome) ([]event.Settled, error) {
	first := true
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		settled, err := p.o.Store.Settle(context.WithoutCancel(p.attempts), outcomes...)
		if err == nil {
			return settled, nil
		}
		settled = make([]event.Settled, len(outcomes))
		if o := outcomes[0]; o.Kind != event.Delivered && time.Now().After(o.Delivery.LeaseEnds) {
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
	fields := append(make([]zap.Field, 0, 11), // all there may be
		zap.String("endpoint", d.Endpoint), zap.String("event", d.Event.ID), zap.String("waybill", d.Event.WaybillCode),
		zap.String("reason", string(d.Reason)), zap.String("outcome", outcomes[o.Kind]),
	)
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
	p.metrics.observe(o, err == nil && !settled.Late, p.o.Store.Now())
}

// reportBreaker says what an outcome made of its endpoint's breaker.
func (p *Pool) reportBreaker(e *endpoint, o event.Outcome, b event.BreakerChange) {
	p.metrics.breaker(e.name, b.Open)
	fields := []zap.Field{zap.String("endpoint", e.name)}
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
var outcomes = map[event.OutcomeKind]string{
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
		e.swap(nil)
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
