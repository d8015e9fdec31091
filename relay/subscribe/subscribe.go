// Package subscribe takes tenants' requests to subscribe waybills: as JSON at POST /v1/subscriptions, and at /api in
// kuaidihelp's own form. It writes them into the ledger first. Then it asks kuaidihelp once for each waybill, however
// many tenants and replicas want it, with the shared credentials, which no tenant has.
package subscribe

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
	"kuairelay/relay/logonce"
)

// Store is the ledger; package store/subscriptions says what each method does.
type Store interface {
	Now() time.Time
	Parcels(ctx context.Context, tenant string, waybills []event.Waybill, data bool) ([]ledger.Parcel, error)
	Aside(ctx context.Context) (end func())
	Admit(ctx context.Context, tenant string, l ledger.Limits, waybills int) (wait time.Duration, quota bool, err error)
	Subscribe(ctx context.Context, tenant string, waybills []event.Waybill) ([]ledger.SubscribeResult, error)
	Claim(ctx context.Context, token string, waybills []event.Waybill) (
		wait time.Duration, claimed []ledger.ClaimResult, err error)
	ReserveCall(ctx context.Context) (time.Duration, error)
	Answered(ctx context.Context, token string, waybills []event.Waybill, v ledger.Verdict, a ledger.Answer) (
		[]ledger.AnswerResult, error)
	Told(ctx context.Context, l ledger.Loss) error
	TakeOver(ctx context.Context, most int) ([]ledger.UnfinishedWork, error)
	TryLock(ctx context.Context, what string, span time.Duration) (unlock func(), locked bool, err error)
	Subscribers(ctx context.Context) ([]string, error)
	Watch(ctx context.Context, force bool) (name string, anew bool, err error)
	ListenFor(ctx context.Context, tenant string, cursor uint64, anew bool) (next uint64, err error)
	Listened(ctx context.Context, name string) error
	Look(ctx context.Context, most int) (stuck []ledger.Stuck, at time.Time, looked int, err error)
	ToldStuck(ctx context.Context, at time.Time, waybills []event.Waybill) error
	TakeSilent(ctx context.Context, most int) (silent []ledger.Silent, until time.Time, spent bool, err error)
	AskFor(ctx context.Context, waybills []event.Waybill) (leaves []ledger.Leave, until time.Time, err error)
	Heard(ctx context.Context, answers map[event.Waybill]ledger.Heard) (again []event.Waybill, err error)
	ReserveQuery(ctx context.Context) (wait time.Duration, err error)
}

// Upstream is the provider: it makes one call, and does not repeat it (kuaidihelp.Client).
type Upstream interface {
	Call(ctx context.Context, method string, data []byte) (kuaidihelp.Envelope, error)
}

// Tenant is who may subscribe.
type Tenant struct {
	Name   string
	Limits ledger.Limits

	writing chan struct{} // has room for writesAtOnce requests
	reading chan struct{} // has room for readsAtOnce of them
}

// writesAtOnce is how many requests of a tenant are written down at the same time, and readsAtOnce for how many the
// store reads how waybills stand. A request of a thousand waybills takes a hundred turns at the store, and readers wait
// for these turns, too.
const writesAtOnce, readsAtOnce = 2, 2

// begin makes room for the requests of a tenant.
func (t *Tenant) begin() {
	t.writing = make(chan struct{}, writesAtOnce)
	t.reading = make(chan struct{}, readsAtOnce)
}

// Settings of a Proxy are what may change while it runs (see Use). A zero field means its default.
type Settings struct {
	// Upstream is nil if the relay has no account: then nothing can be subscribed.
	Upstream Upstream
	Tenants  []Tenant
	// Methods are those that may be called through /api. Default express.sub.msg.
	Methods []string
	// TSWindow is how far the ts of a call to /api may be from the time here. Default 10 min.
	TSWindow time.Duration
	// Queries says that the provider may be asked how waybills stand.
	Queries bool
	// Listening says how silent waybills are found. Default: they are not.
	Listening Listening
	// Reconcile says whether the provider is asked how they stand. Default: it is not.
	Reconcile Reconcile
}

// Options of a Proxy. A zero field means its default.
type Options struct {
	Settings
	Store Store
	// Tenant names the tenant that sends a request, and the key that it shows. The error is the answer to a request that
	// shows no tenant's key.
	Tenant func(c echo.Context) (name, key string, err error)
	// Signed says whether a call to /api was signed with a key of the tenant that its app_id names.
	Signed func(appID, method, ts, sign string) bool
	// OnWrongKey is called for a call to /api that Signed refuses. Default: nothing.
	OnWrongKey func(c echo.Context)
	// Enter lets in a request whose tenant is known. The error is the answer to one that is too much. leave is called when
	// the request is answered. Default: all are let in.
	Enter func(c echo.Context, tenant string) (leave func(), err error)
	// CatchUp queues the last known update of a waybill for a tenant that subscribed it later.
	CatchUp func(ctx context.Context, tenant string, w event.Waybill) error
	// Tell accepts an event that tells tenants of a waybill that they have subscribed. It may be called again with the
	// same event. Default: nobody is told.
	Tell func(ctx context.Context, e *event.Event) error
	// Hear accepts what the provider has answered about a waybill that it was asked for: body is that of a callback. It
	// returns whether that is news. With dryRun it only looks.
	Hear func(ctx context.Context, body []byte, dryRun bool) (isNew bool, err error)
	// Quiet says whether the provider as a whole is silent: then a silent waybill means nothing. Default: it is not.
	Quiet func() bool
	// Concurrency is how many calls are made at one time. Default 4.
	Concurrency int
	// Budget is how long a request may take; waybills without a result by then are pending. Default 20 s.
	Budget time.Duration
	// Pauses come before each repetition of a call that got no answer. Default 200 ms, 1 s.
	Pauses []time.Duration
	// ShutdownGrace is how long a running call may go on when Run ends. Default 15 s.
	ShutdownGrace time.Duration
	// SweepEvery is how often to look for unfinished work of others. Default 2 s.
	SweepEvery time.Duration
	// SilentEvery is how often to look for silent waybills. Default 5 s.
	SilentEvery time.Duration
	Logger      *zap.Logger
	Registry    prometheus.Registerer
}

// Proxy is the handler of the subscribe paths, and makes the calls to the provider.
type Proxy struct {
	o        Options
	current  atomic.Pointer[settings]
	calls    *jobQueue // to the provider
	catchUps *jobQueue
	queries  *jobQueue // for those who want to know how waybills stand
	metrics  *metrics
	refused  logonce.Change[bool] // the account's credentials
	account  account
	untold   logonce.Throttle // warned of
	spent    logonce.Throttle // warned of: the budget of queries
	odd      logonce.Throttle // warned of: an answer that is not understood
	unread   logonce.Throttle // logged: states that cannot be read

	refreshing refreshes
	rests      rests
}

// settings are Settings with their defaults, and the tenants by their names.
type settings struct {
	Settings
	tenants map[string]*Tenant
}

// tenant returns a tenant by its name. If the config lost it while its request came in, it has no limits.
func (s *settings) tenant(name string) *Tenant {
	if t := s.tenants[name]; t != nil {
		return t
	}
	t := &Tenant{Name: name}
	t.begin()
	return t
}

// Result is what became of one waybill of a request.
type Result string

// The results of one waybill.
const (
	Subscribed Result = "subscribed"
	Already    Result = "already" // the tenant had subscribed it before
	Pending    Result = "pending" // written down; the provider is still to be asked
	Failed     Result = "failed"
)

// Codes of the relay's own failures. The provider's codes begin at 1000.
const (
	codeFull        = 429 // the tenant has as many subscriptions as it may
	codeCredentials = 502 // the provider refuses the relay's credentials
	codeNoAnswer    = 504
)

// New makes a Proxy; Run makes its calls.
func New(o Options) *Proxy {
	o.Concurrency = cmp.Or(o.Concurrency, 4)
	o.Budget = cmp.Or(o.Budget, 20*time.Second)
	o.SweepEvery = cmp.Or(o.SweepEvery, 2*time.Second)
	o.SilentEvery = cmp.Or(o.SilentEvery, 5*time.Second)
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, 15*time.Second)
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	if o.OnWrongKey == nil {
		o.OnWrongKey = func(echo.Context) {}
	}
	if o.Enter == nil {
		o.Enter = func(echo.Context, string) (func(), error) { return func() {}, nil }
	}
	if o.Quiet == nil {
		o.Quiet = func() bool { return false }
	}
	if o.Tell == nil {
		o.Tell = func(context.Context, *event.Event) error { return nil }
	}
	if o.Pauses == nil {
		o.Pauses = []time.Duration{200 * time.Millisecond, time.Second}
	}

	p := &Proxy{
		o: o, calls: newJobQueue(maxQueued), catchUps: newJobQueue(maxWaybills), queries: newJobQueue(maxQueued),
		refreshing: refreshes{of: map[event.Waybill]*refresh{}},
	}
	p.metrics = newMetrics(o.Registry, p.CredentialsRefused, p.limitedNow)
	p.Use(o.Settings)
	return p
}

// Use replaces the settings for requests and calls that begin from now on.
func (p *Proxy) Use(set Settings) {
	set.TSWindow = cmp.Or(set.TSWindow, 10*time.Minute)
	if set.Methods == nil {
		set.Methods = []string{kuaidihelp.MethodSubscribe}
	}
	now := &settings{Settings: set, tenants: make(map[string]*Tenant)}
	for _, t := range set.Tenants {
		t.begin()
		now.tenants[t.Name] = &t
	}
	p.current.Store(now)
}

// Register adds the paths.
func (p *Proxy) Register(e *echo.Echo) {
	e.POST("/api", p.dropIn)
	e.POST(createPath, p.authenticated(p.create, func(t *Tenant, err error) error {
		return p.turnedAway(t, "limited", err)
	}))
	e.POST(statesPath, p.authenticated(p.states, func(_ *Tenant, err error) error { return err }))
}

// authenticated lets a tenant in that sends one of its keys. limited is told of a request that is too much.
func (p *Proxy) authenticated(
	handle func(echo.Context, *Tenant) error, limited func(*Tenant, error) error,
) echo.HandlerFunc {
	return func(c echo.Context) error {
		name, _, err := p.o.Tenant(c)
		if err != nil {
			return err
		}
		t := p.current.Load().tenant(name)
		leave, err := p.o.Enter(c, name)
		if err != nil {
			return limited(t, err)
		}
		defer leave()
		return handle(c, t)
	}
}

// Run makes the calls that requests wait for, and takes over unfinished work of other replicas. It returns nil when ctx
// is cancelled and the running calls have ended and their results are written down. A call without an answer within
// ShutdownGrace is cut short, and left to other replicas.
func (p *Proxy) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for range p.o.Concurrency {
		running.Go(func() { p.calls.work(ctx) })
		running.Go(func() { p.queries.work(ctx) })
	}
	for range catchUpWorkers {
		running.Go(func() { p.catchUps.work(ctx) })
	}
	running.Go(func() { p.sweep(ctx) })
	running.Go(func() { p.watch(ctx) })
	running.Go(func() { p.reconcile(ctx) })
	running.Wait()
	return nil
}

// WaybillResult is the answer about one waybill of a request.
type WaybillResult struct {
	CPCode      string `json:"cp_code" doc:"brand, by its canonical name"`
	WaybillCode string `json:"waybill_code" doc:"waybill, as it was asked for"`
	Result      Result `json:"result" doc:"subscribed, already, pending, or failed"`
	Code        int    `json:"code,omitempty" doc:"of a failure: kuaidihelp's; 429 where the tenant has as many subscriptions as it may; 502 or 504 where kuaidihelp refuses the account or gives no answer. With pending: kuaidihelp's, as a rule 201101, no record yet"`
	Msg         string `json:"msg,omitempty" doc:"of a failure, or why kuaidihelp is asked again later"`
	UID         string `json:"uid,omitempty" doc:"names the call at kuaidihelp"`
	// RetryAt is zero unless the result is Pending because the provider has no record of the waybill yet.
	RetryAt time.Time `json:"retry_at,omitzero" doc:"with pending: when kuaidihelp is asked again, because it has no record of the waybill yet"`
	Warning string    `json:"warning,omitempty" doc:"of a brand that kuaidihelp's page does not list, and of small letters in the code"`
}

// later makes the result that of a waybill for which the provider is asked again.
func (r *WaybillResult) later(a ledger.Answer, at time.Time) {
	r.Result = Pending
	r.RetryAt = at.UTC().Truncate(time.Millisecond)
	r.Code = a.Code
	r.UID = a.UID
	r.Msg = fmt.Sprintf("%s; the relay asks again at %s", a.Msg, r.RetryAt.Format(time.RFC3339))
}

// subscribe writes the subscriptions down, catches the tenant up, and asks the provider. Waybills without a result when
// ctx ends are pending. The error is event.ErrTooMany if too many other requests of the tenant were being written down
// until then.
func (p *Proxy) subscribe(ctx context.Context, t *Tenant, cpCode string, codes []string) ([]WaybillResult, error) {
	waybills := make([]event.Waybill, len(codes))
	results := make([]WaybillResult, len(codes))
	for i, code := range codes {
		waybills[i] = event.Waybill{CPCode: cpCode, Code: code}
		results[i] = WaybillResult{CPCode: cpCode, WaybillCode: code, Result: Pending, Warning: warning(cpCode, code)}
	}

	written, err := p.writeDown(ctx, t, waybills)
	if err != nil {
		return nil, err
	}
	var open []int
	var behind []event.Waybill
	for i, w := range written {
		switch {
		case w.Full:
			results[i].Result = Failed
			results[i].Code = codeFull
			results[i].Msg = "this tenant has as many subscriptions as it may (subscriptions.max)"
		case !w.RetryAt.IsZero():
			results[i].later(w.Answer, w.RetryAt)
		case w.State != ledger.Live:
			open = append(open, i)
		case w.Already:
			results[i].Result = Already
		default:
			results[i].Result = Subscribed
		}
		results[i].UID = w.Answer.UID
		if w.CatchUp {
			behind = append(behind, waybills[i])
		}
	}

	// Catching up goes on while the provider is asked. If others are making the call, this waits for its result until ctx
	// ends.
	catchingUp := p.catchUp(t.Name, behind)
	for len(open) > 0 {
		open = p.askFor(ctx, t.Name, waybills, open, results)
		if len(open) > 0 && !pause(ctx, waiterPause) {
			break
		}
	}
	await(ctx, catchingUp)
	return results, nil
}

// writeDown writes the subscriptions of a tenant into the ledger, when it is this request's turn.
func (p *Proxy) writeDown(ctx context.Context, t *Tenant, waybills []event.Waybill) ([]ledger.SubscribeResult, error) {
	select {
	case t.writing <- struct{}{}:
	default:
		select {
		case t.writing <- struct{}{}:
		case <-ctx.Done():
			return nil, event.ErrTooMany
		}
	}
	defer func() { <-t.writing }()

	// If the client goes away, what is being written must not be cut short.
	return p.o.Store.Subscribe(context.WithoutCancel(ctx), t.Name, waybills)
}

// waiterPause is how often a request looks for the result of another's call.
const waiterPause = 100 * time.Millisecond

// askFor asks the provider for the waybills at the indexes given, and fills in their results. It returns the indexes
// for which others are making the call. When ctx ends, the calls go on, and nobody waits for them.
func (p *Proxy) askFor(
	ctx context.Context, tenant string, waybills []event.Waybill, open []int, results []WaybillResult,
) (others []int) {
	type batch struct {
		*job
		indexes []int
		claimed []ledger.ClaimResult
	}

	// The provider takes few waybills in one call. The batches of one request are asked for concurrently.
	var batches []*batch
	for part := range slices.Chunk(open, kuaidihelp.MaxPerCall) {
		b := &batch{indexes: part}
		ws := make([]event.Waybill, len(part))
		for i, at := range part {
			ws[i] = waybills[at]
		}
		b.job = newJob(func(running context.Context) { b.claimed = p.ask(running, newToken(), ws) })
		if !p.calls.put(tenant, b.job) {
			continue // too many wait already: they stay pending, and the sweeper takes them up
		}
		batches = append(batches, b)
	}

	for _, b := range batches {
		select {
		case <-b.done:
		case <-ctx.Done():
			return nil
		}
		for i, c := range b.claimed {
			r := &results[b.indexes[i]]
			switch {
			case c.State == ledger.Live:
				r.Result = Subscribed
				r.UID = c.Answer.UID
			case !c.RetryAt.IsZero():
				r.later(c.Answer, c.RetryAt)
			case c.State == ledger.Failed:
				r.Result = Failed
				r.Code = c.Answer.Code
				r.Msg = c.Answer.Msg
				r.UID = c.Answer.UID
			default:
				others = append(others, b.indexes[i])
			}
		}
	}
	return others
}

// newToken returns the name of a claim, or of a request: unique over replicas and restarts.
func newToken() string {
	id := make([]byte, 20)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return hex.EncodeToString(id)
}
