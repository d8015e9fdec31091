// Package subscribe takes tenants' wishes to hear of waybills over HTTP: as JSON at /v1/subscriptions, and at /api as kuaidihelp
// itself would. It writes them into the ledger first, and then asks the provider once for each waybill, however many tenants and
// replicas want it, with the credentials that no tenant holds.
package subscribe

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// Store is the ledger; package store says what each method does.
type Store interface {
	Now() time.Time
	Aside(ctx context.Context) (end func())
	Admit(ctx context.Context, tenant string, l event.Limits, waybills int) (wait time.Duration, quota bool, err error)
	Wish(ctx context.Context, tenant string, waybills []event.Waybill) ([]event.SubscribeResult, error)
	Claim(ctx context.Context, token string, waybills []event.Waybill) (wait time.Duration, claimed []event.Claimed, err error)
	Turn(ctx context.Context) (time.Duration, error)
	Answered(ctx context.Context, token string, waybills []event.Waybill, state event.Upstream, a event.Answer) error
	Todo(ctx context.Context, most int) ([]event.UnfinishedWork, error)
}

// Upstream is the provider: it answers one call, and repeats nothing (kuaidihelp.Client).
type Upstream interface {
	Call(ctx context.Context, method string, data []byte) (kuaidihelp.Envelope, error)
}

// Tenant is who may subscribe.
type Tenant struct {
	Name   string
	Limits event.Limits

	writing chan struct{} // has room for wishesAtOnce requests
}

// wishesAtOnce is how many requests of a tenant are written down at one time: of a thousand waybills each takes a hundred slices of the store,
// which all who read take in turns.
const wishesAtOnce = 2

// Settings of a Proxy are what may change while it runs (see Use). A zero field means its default.
type Settings struct {
	// Upstream is nil if the relay has no account: then nothing can be subscribed.
	Upstream Upstream
	Tenants  []Tenant
	// Methods are those that may be called through /api. Default express.sub.msg.
	Methods []string
	// TSWindow is by how much the ts of a call to /api may differ from the time here. Default 10 min.
	TSWindow time.Duration
}

// Options of a Proxy. A zero field means its default.
type Options struct {
	Settings
	Store Store
	// Tenant names the tenant that sends a request; the error is the answer to one that shows no key of a tenant.
	Tenant func(c echo.Context) (name string, err error)
	// Signed says whether a call to /api was signed with a key of the tenant that its app_id names.
	Signed func(appID, method, ts, sign string) bool
	// Enter lets a request of a tenant in, which has shown its key, or gives the answer to one that is too much. leave is called when
	// it is answered. Default: all are let in.
	Enter func(c echo.Context, tenant string) (leave func(), err error)
	// CatchUp queues the last known update of a waybill for a tenant that subscribed it later.
	CatchUp func(ctx context.Context, tenant string, w event.Waybill) error
	// Concurrency is how many calls are made at one time. Default 4.
	Concurrency int
	// Budget is how long a request may take; what is not known by then is pending. Default 20 s.
	Budget time.Duration
	// Pauses are those before a call that got no answer is repeated. Default 200 ms, 1 s.
	Pauses []time.Duration
	// ShutdownGrace is how long a call that is under way may go on when Run is to end. Default 15 s.
	ShutdownGrace time.Duration
	// SweepEvery is how often to look for what others left unfinished. Default 2 s.
	SweepEvery time.Duration
	Logger     *zap.Logger
	Registry   prometheus.Registerer
}

// Proxy is the handler of the subscribe paths, and makes the calls to the provider.
type Proxy struct {
	o       Options
	current atomic.Pointer[settings]
	line    *line // calls to the provider
	behind  *line // catch-ups
	metrics *metrics
	refused trouble // the account's credentials
}

// settings are Settings with their defaults, and the tenants by their names.
type settings struct {
	Settings
	tenants map[string]*Tenant
}

// tenant is the one of a name. If the config lost it while its request came in, it has no limits.
func (s *settings) tenant(name string) *Tenant {
	if t := s.tenants[name]; t != nil {
		return t
	}
	return &Tenant{Name: name}
}

// The results of one waybill.
const (
	Subscribed = "subscribed"
	Already    = "already" // the tenant had subscribed it before
	Pending    = "pending" // written down; the provider is still to be asked
	Failed     = "failed"
)

// Codes of a failure that is none of the provider's, whose own begin at 1000.
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
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, 15*time.Second)
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	if o.Enter == nil {
		o.Enter = func(echo.Context, string) (func(), error) { return func() {}, nil }
	}
	if o.Pauses == nil {
		o.Pauses = []time.Duration{200 * time.Millisecond, time.Second}
	}
	p := &Proxy{o: o, line: newLine(maxQueued), behind: newLine(maxWaybills), metrics: newMetrics(o.Registry)}
	p.refused.gauge = p.metrics.credentials
	p.Use(o.Settings)
	return p
}

// Use replaces the settings: requests that come, and calls that are made from now on, keep to the new ones.
func (p *Proxy) Use(set Settings) {
	set.TSWindow = cmp.Or(set.TSWindow, 10*time.Minute)
	if set.Methods == nil {
		set.Methods = []string{kuaidihelp.MethodSubscribe}
	}
	now := &settings{Settings: set, tenants: make(map[string]*Tenant)}
	for _, t := range set.Tenants {
		t.writing = make(chan struct{}, wishesAtOnce)
		now.tenants[t.Name] = &t
	}
	p.current.Store(now)
}

// Register adds the paths.
func (p *Proxy) Register(e *echo.Echo) {
	e.POST("/api", p.dropIn)
	e.POST(createPath, p.authenticated(p.create))
}

// authenticated lets a tenant in that shows one of its keys.
func (p *Proxy) authenticated(handle func(echo.Context, *Tenant) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		name, err := p.o.Tenant(c)
		if err != nil {
			return err
		}
		t := p.current.Load().tenant(name)
		leave, err := p.o.Enter(c, name)
		if err != nil {
			return p.turnedAway(t, "limited", err)
		}
		defer leave()
		return handle(c, t)
	}
}

// Run makes the calls that requests wait for, and takes over what other replicas left unfinished. It returns nil when ctx is
// cancelled, and the calls under way have ended: what they were told is written down. One that gets no answer within ShutdownGrace is
// cut short, and left to other replicas.
func (p *Proxy) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for range p.o.Concurrency {
		running.Go(func() { p.line.work(ctx) })
	}
	for range catchUps {
		running.Go(func() { p.behind.work(ctx) })
	}
	running.Go(func() { p.sweep(ctx) })
	running.Wait()
	return nil
}

// WaybillResult is what became of one waybill of a request.
type WaybillResult struct {
	CPCode      string `json:"cp_code" doc:"brand, by its canonical name"`
	WaybillCode string `json:"waybill_code"`
	Result      string `json:"result" doc:"subscribed, already, pending, or failed"`
	Code        int    `json:"code,omitempty" doc:"of a failure: kuaidihelp's; 429 where the tenant has as many subscriptions as it may; 502 or 504 where kuaidihelp refuses the account or gives no answer"`
	Msg         string `json:"msg,omitempty" doc:"of a failure"`
	UID         string `json:"uid,omitempty" doc:"names the call at kuaidihelp"`
	Warning     string `json:"warning,omitempty" doc:"of a brand that kuaidihelp's page does not list, and of small letters in the code"`
}

// subscribe writes the wishes down, catches the tenant up, and has the provider asked. What is not known when ctx ends is pending. It is
// event.ErrBusy if too many of the tenant's others are being written down for as long.
func (p *Proxy) subscribe(ctx context.Context, t *Tenant, cpCode string, codes []string) ([]WaybillResult, error) {
	tenant := t.Name
	waybills, results := make([]event.Waybill, len(codes)), make([]WaybillResult, len(codes))
	for i, code := range codes {
		waybills[i] = event.Waybill{CPCode: cpCode, Code: code}
		results[i] = WaybillResult{CPCode: cpCode, WaybillCode: code, Result: Pending, Warning: warning(cpCode, code)}
	}
	select {
	case t.writing <- struct{}{}:
	default:
		select {
		case t.writing <- struct{}{}:
		case <-ctx.Done():
			return nil, event.ErrBusy
		}
	}
	// A client that goes away must not cut short what is being written.
	wishes, err := p.o.Store.Wish(context.WithoutCancel(ctx), tenant, waybills)
	<-t.writing
	if err != nil {
		return nil, err
	}
	var open []int
	var behind []event.Waybill
	for i, w := range wishes {
		switch {
		case w.Full:
			results[i].Result, results[i].Code, results[i].Msg = Failed, codeFull, "this tenant has as many subscriptions as it may (subscriptions.max)"
		case w.State != event.Live:
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
	caughtUp := p.catchUp(tenant, behind)
	for len(open) > 0 {
		if open = p.askFor(ctx, tenant, waybills, open, results); len(open) > 0 && !pause(ctx, waiterPause) {
			break
		}
	}
	await(ctx, caughtUp)
	return results, nil
}

// waiterPause is how often somebody who waits for another's call looks what came of it.
const waiterPause = 100 * time.Millisecond

// askFor has the provider asked for the waybills at the indexes given, and fills in their results. It returns the indexes whose
// calls others are making. When ctx ends, they go on, and nobody waits for them.
func (p *Proxy) askFor(ctx context.Context, tenant string, waybills []event.Waybill, open []int, results []WaybillResult) (others []int) {
	type batch struct {
		*job
		indexes []int
		claimed []event.Claimed
	}
	var batches []*batch
	for part := range slices.Chunk(open, kuaidihelp.MaxPerCall) {
		b := &batch{indexes: part}
		ws := make([]event.Waybill, len(part))
		for i, at := range part {
			ws[i] = waybills[at]
		}
		b.job = newJob(func(running context.Context) { b.claimed = p.ask(running, newToken(), ws) })
		if !p.line.put(tenant, b.job) {
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
			switch c.State {
			case event.Live:
				r.Result, r.UID = Subscribed, c.Answer.UID
			case event.Failed:
				r.Result, r.Code, r.Msg, r.UID = Failed, c.Answer.Code, c.Answer.Msg, c.Answer.UID
			default:
				others = append(others, b.indexes[i])
			}
		}
	}
	return others
}

// catchUps is how many tenants' waybills are caught up at one time. Tenants take turns in it.
const catchUps = 8

// catchUp has the last known updates of waybills queued for a tenant, and returns the jobs that do so. One that fails, or that finds no
// room in the line, is left to the sweeper.
func (p *Proxy) catchUp(tenant string, waybills []event.Waybill) (jobs []*job) {
	for _, w := range waybills {
		j := newJob(func(running context.Context) {
			// What has begun is ended, whoever goes away.
			if err := p.o.CatchUp(context.WithoutCancel(running), tenant, w); err != nil {
				p.o.Logger.Error("catch-up", zap.String("tenant", tenant), zap.Error(err))
			}
		})
		if p.behind.put(tenant, j) {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// await waits until jobs are done, or until ctx ends.
func await(ctx context.Context, jobs []*job) {
	for _, j := range jobs {
		select {
		case <-j.done:
		case <-ctx.Done():
			return
		}
	}
}

// sweep takes over what was begun and not finished: a replica was killed, or the line was too long. It takes no more until it has
// begun with what it took: the rest is there for other replicas, and if this one is killed, not much has to wait once more.
func (p *Proxy) sweep(ctx context.Context) {
	const most = 100
	tick := time.NewTicker(p.o.SweepEvery)
	defer tick.Stop()
	for {
		todo, err := p.o.Store.Todo(ctx, most)
		if err != nil && ctx.Err() == nil {
			p.metrics.sweepErrors.Inc() // whoever uses Redis next reports that it is down
		}
		brands, behind := map[string][]event.Waybill{}, map[string][]event.Waybill{}
		for _, t := range todo {
			if t.Tenant == "" {
				brands[t.CPCode] = append(brands[t.CPCode], t.Waybill)
			} else {
				behind[t.Tenant] = append(behind[t.Tenant], t.Waybill)
			}
		}
		var jobs []*job
		for tenant, ws := range behind {
			jobs = append(jobs, p.catchUp(tenant, ws)...)
		}
		await(ctx, jobs)
		p.takeOver(ctx, brands)
		if len(todo) == most && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// takeOver has the provider asked for waybills, by brand, and returns when the last of these calls has begun.
func (p *Proxy) takeOver(ctx context.Context, brands map[string][]event.Waybill) {
	if p.current.Load().Upstream == nil {
		return
	}
	begun := make(chan struct{})
	close(begun)
	for _, ws := range brands {
		for part := range slices.Chunk(ws, kuaidihelp.MaxPerCall) {
			begins := make(chan struct{})
			if p.line.put(sweeper, newJob(func(running context.Context) { close(begins); p.ask(running, newToken(), part) })) {
				begun = begins // jobs of one queue begin in their order
			}
		}
	}
	select {
	case <-begun:
	case <-ctx.Done():
	}
}

// sweeper is whom the line takes for the tenant of what is taken over.
const sweeper = ""

// newToken names a claim, or a request of ours: unique over replicas and restarts.
func newToken() string {
	id := make([]byte, 20)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return hex.EncodeToString(id)
}
