// Package api is the HTTP API for tenants and the operator. It shows events with their deliveries, and the health of
// endpoints, and it has the actions of a person: pause, redrive, replay. One set of handlers serves both. Under /v1 a
// tenant sees only what is its own; under /admin/v1 the operator sees everything. All routes are in one table (see
// routes), and the OpenAPI document is made from it.
package api

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/logonce"
)

// Settings are the part of the config that the API uses. They do not change after Use.
type Settings struct {
	Tenants []Tenant
	// Config names the config, as event.Event.Config does.
	Config string
	// UpstreamRate bounds the calls to kuaidihelp a second.
	UpstreamRate float64
	// Retention is how long an event is kept after it was delivered, and how long deliveries wait for a person to resume
	// their endpoint, if their max_age is not shorter.
	Retention time.Duration
	// DeadLetterRetention is how long dead letters are kept.
	DeadLetterRetention time.Duration
	// Explain gives the decision of every route of a tenant (empty: of all tenants) about an event. subscriptions are
	// those of the event's waybill; nil: they are not known.
	Explain func(e *event.Record, subscriptions []ledger.Subscription, tenant string) []Route
	// Try gives the same about an event that has not come.
	Try func(e *event.Event, tenant string) []TriedRoute
	// Preview gives the request that an attempt of a delivery would send now, without its secrets. It returns false if
	// the endpoint is not in the config.
	Preview func(d *event.Delivery) (Preview, bool)
	// EndpointSettings returns the settings of an endpoint, nil if there is no such endpoint. Nil: none are known.
	EndpointSettings func(endpoint string) *EndpointSettings
	// Test sends an event to an endpoint at once, and gives the attempt. It gives up when ctx ends.
	Test func(ctx context.Context, endpoint string, e *event.Event) (event.Attempt, error)
	// TestNotices sends a test message to the receivers of a tenant's notices (empty: the operator's), or to the one of a
	// name. Nil: there are none.
	TestNotices func(ctx context.Context, tenant, name string) []NoticeTest
	// NoticeNames are the names of the receivers that TestNotices knows for a tenant (empty: the operator, who may name
	// those of all tenants).
	NoticeNames func(tenant string) []string
	// History is how long statistics are kept by minutes; 0: there are none.
	History time.Duration
}

// Preview is a request without its secrets.
type Preview struct {
	Method  string
	Headers map[string]string
	Body    []byte
}

// Tenant is a tenant of the config.
type Tenant struct {
	Name string
	// DailyQuota is how many waybills it may subscribe a day; 0: any number.
	DailyQuota int
	Endpoints  []Endpoint // in the order of the config
}

// Endpoint is an endpoint of a tenant.
type Endpoint struct {
	ID     string // tenant/name
	URL    string // as it may be shown
	Format string
	// Attempts is how many a delivery gets at most, and MaxAge is the age at which it is given up; zero: never.
	Attempts int
	MaxAge   time.Duration
}

// Options of an API. Store, Tenant, Operator and Retake are required. Another zero field means its default.
type Options struct {
	Store   Store
	Logger  *zap.Logger
	Version string

	// Tenant gives the tenant that sends a request, by its key, and the name of that key (empty: it has none). The error
	// is the answer to a request without such a key.
	Tenant func(c echo.Context) (name, key string, err error)
	// Operator returns the name of the operator's token that a request carries (empty: it has none). The error is the
	// answer to any other request.
	Operator func(c echo.Context) (key string, err error)
	// Enter admits a request of a tenant, or of the operator (empty). The API calls leave when the request is answered.
	// The error is the answer to a request over a limit. Default: no limit.
	Enter func(c echo.Context, tenant string) (leave func(), err error)
	// Admit counts a request of a tenant about its subscriptions. The error is the answer to a request over the limit.
	// Default: no limit.
	Admit func(c echo.Context, tenant string) error

	// Retake takes in a callback from quarantine as if it had just arrived.
	Retake func(ctx context.Context, q event.Quarantined) (RetakeResult, error)
	// Look gives the result that Retake would have, and takes nothing in. It returns false if more than most bytes would
	// have to be parsed. Default: always false.
	Look func(q event.Quarantined, most int) (LookResult, bool)
	// OnDue is called with an endpoint that has deliveries due again.
	OnDue func(endpoint string)
	// ExtraRoutes are paths of other parts, for the OpenAPI document.
	ExtraRoutes []ExtraRoute
	// Webhooks are those of the OpenAPI document: what tenants receive.
	Webhooks map[string]any

	// ReplicaStatus gives the state of this replica, without asking Redis. Default: it is ready.
	ReplicaStatus func() ReplicaStatus
	// Probe asks Redis and the spool how they do; ReplicaStatus tells of it. Default: nobody is asked.
	Probe func(ctx context.Context)
	// Replica names this replica, for the operator.
	Replica string
	// Spooled gives callbacks that wait in this replica's spool and have an update of a waybill, or may have one, at most
	// so many. Default: none waits.
	Spooled func(waybill string, most int) []Spooled
	// Upstream gives the state of the connection to kuaidihelp. Default: it is not configured.
	Upstream func() Upstream
	// Subscribe subscribes waybills for a tenant, within its limits. The error is the answer to a request that is refused.
	// Default: nothing can be subscribed.
	Subscribe func(c echo.Context, tenant, brand string, codes []string) ([]SubscribeResult, error)
	// State says how the waybills stand that a tenant has subscribed (empty: any tenant), and has kuaidihelp asked for
	// those of which nothing was heard for maxAge, unless that is ledger.AnyAge. Default: none is known.
	State func(ctx context.Context, tenant string, waybills []event.Waybill,
		maxAge time.Duration) ([]ledger.ParcelState, error)
	// LastRefused gives when the latest callback with a wrong token or address came; zero: none.
	LastRefused func() time.Time
	// LastCallback gives when the latest callback came (zero: none is known), and whether that is longer ago than
	// callback.silence. Default: zero, false.
	LastCallback func() (last time.Time, silent bool)

	// Replicas lists all replicas that are alive. Default: none is known.
	Replicas func(ctx context.Context) ([]Replica, error)
	// Work counts what is to be done for subscriptions, and says since when some of it is unfinished. Default: nothing.
	Work func(ctx context.Context) (now ledger.Work, since time.Time, err error)
	// WhenFailures lists the routes whose when expressions failed since the config was loaded. Default: none.
	WhenFailures func() []WhenFailure
	// SecretEnds lists the secrets that end, the first to end first. Default: none.
	SecretEnds func() []SecretEnd
	// NoticeFailures lists the receivers of notices to which this replica sends in vain. Default: none.
	NoticeFailures func() []NoticeFailure
	// Server is what Redis says of itself. Default: nothing.
	Server func(ctx context.Context) (RedisServer, error)

	// ConfigState is the state of the config; mistakes and warnings are those of a tenant's own file (empty: all).
	// Default: nothing is known.
	ConfigState func(tenant string) ConfigState
	// Effective is the config in use as YAML, or a tenant's part of it; nil: there is none. Default: none.
	Effective func(tenant string) ([]byte, error)
	// Reload has the config read again, for the operator at an address, and notes that in the audit. The error is a
	// *MistakesError if it has mistakes. Default: it cannot be.
	Reload func(ctx context.Context, from string) (ReloadResult, error)
}

// ReplicaStatus is what a replica knows of itself, for the operator. A time is zero if what it is about is not so.
type ReplicaStatus struct {
	StartedAt time.Time
	// Durable says whether callbacks can be accepted so that they are not lost.
	Durable bool
	Status  Readiness

	// Redis says in a word what it can do, and why not more.
	Redis string
	// RedisState is up, full, short or down. RedisWhy is why it is not up, as a sentence that names it, and RedisSince
	// since when.
	RedisState, RedisWhy string
	RedisSince           time.Time
	RedisAddress         string
	// RedisEmptiedAt is when it was last found without what it had held.
	RedisEmptiedAt time.Time
	Embedded       bool
	// Advice are properties of Redis that put accepted events at risk.
	Advice []Advice

	// Spool is ok, or says why it takes nothing, since SpoolSince.
	Spool      string
	SpoolSince time.Time
	// SpoolRoom of SpoolMax bytes are left (SpoolMax 0: that is not known). They are few since SpoolScarceSince.
	SpoolRoom, SpoolMax int64
	SpoolScarceSince    time.Time
	// SpoolBytes are taken, and SpoolDiskFree are free on the disk of the spool, which is SpoolDisk (empty: it cannot be
	// asked). They are fewer than the spool may take since SpoolDiskSince (zero: this one alone has room).
	SpoolBytes, SpoolDiskFree int64
	SpoolDisk                 string
	SpoolDiskSince            time.Time
	// Spooled counts callbacks in the spool that wait to be accepted; the oldest came at SpooledSince.
	Spooled      int
	SpooledSince time.Time

	Config ConfigInUse
	// ConfigMistakes are those of the files, if the last reload failed, as it does since ConfigRefusedSince.
	ConfigMistakes     []string
	ConfigRefusedSince time.Time
	// Restart are keys that wait for a restart, since RestartSince.
	Restart      []string
	RestartSince time.Time

	// LastCallbackAt is when the latest callback came to any replica. kuaidihelp is Silent, since SilentSince, if that is
	// too long ago.
	LastCallbackAt time.Time
	Silent         bool
	SilentSince    time.Time
	Silence        time.Duration // callback.silence; 0: it is never silent
	// Credentials says whether the account has an API key.
	Credentials bool
	// CredentialsRefusedSince is since when kuaidihelp refuses the account.
	CredentialsRefusedSince time.Time
	// LimitedSince is since when kuaidihelp answers each call with 1008, the latest at LimitedLatest, for the reason that
	// it says.
	LimitedSince, LimitedLatest time.Time
	LimitedSaid                 string
	// Missed counts news since MissedSince that kuaidihelp did not push, but had when it was asked; the latest was found
	// at MissedLatest.
	Missed                    int
	MissedSince, MissedLatest time.Time
}

// Advice is a property of Redis that puts accepted events at risk.
type Advice struct {
	Name  string    `json:"name" doc:"as the metric kuairelay_redis_advice has it"`
	Why   string    `json:"why" doc:"what it is, and what follows from it"`
	Since time.Time `json:"since,omitzero" doc:"since when this replica knows of it"`
}

// Readiness says whether a replica accepts callbacks.
type Readiness string

// The values of Readiness.
const (
	Ready    Readiness = "ready"
	Degraded Readiness = "degraded" // it accepts them durably, but something is wrong
	Unready  Readiness = "unready"  // it cannot accept them durably
)

// ConfigInUse is the config that the relay runs with.
type ConfigInUse struct {
	Fingerprint string    `json:"fingerprint" doc:"a hash of its files; replicas should agree"`
	LoadedAt    time.Time `json:"loaded_at" doc:"when it was last read without a mistake"`
	Reload      string    `json:"reload" doc:"ok, or failed: the files have mistakes, and the relay keeps the config from before"`
}

// RetakeResult is the result of taking in a callback from quarantine.
type RetakeResult struct {
	Events int
	New    int
	// Rejected says why the callback, or a part of it, is still not understood; empty: all of it is.
	Rejected string
}

// LookResult is what a callback from quarantine would come to.
type LookResult struct {
	// Events and Rejected count its items that are understood, and those that are not. A callback that is not understood
	// as a whole is one.
	Events, Rejected int
	// Reason says why the first of these is not understood; empty: all is.
	Reason string
	// Bytes were parsed.
	Bytes int
}

// API has the handlers. All methods may be called at the same time.
type API struct {
	o Options
	stores
	days    dayCache
	health  healthCache
	began   time.Time
	current atomic.Pointer[settings]

	// What is known to everybody who asks for the state of the relay.
	latest     latest
	lastEvents each[fresh[lastEvent]]
	glances    each[glances]
	system     fresh[systemNow]

	complaints logonce.Repeats // of the store, that were logged
}

// complaintFor is how long a fault of the store must not have come up to be logged again: longer than an open page
// waits until it asks again.
const complaintFor = 5 * time.Minute

// New makes an API. It knows no tenant until Use.
func New(o Options) *API {
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	if o.OnDue == nil {
		o.OnDue = func(string) {}
	}

	// What is left out means that there is nothing to tell, and no limit.
	if o.Look == nil {
		o.Look = func(event.Quarantined, int) (LookResult, bool) { return LookResult{}, false }
	}
	if o.ReplicaStatus == nil {
		o.ReplicaStatus = func() ReplicaStatus { return ReplicaStatus{Durable: true, Status: Ready} }
	}
	if o.Probe == nil {
		o.Probe = func(context.Context) {}
	}
	if o.Spooled == nil {
		o.Spooled = func(string, int) []Spooled { return nil }
	}

	if o.Upstream == nil {
		o.Upstream = func() Upstream { return Upstream{} }
	}
	if o.Subscribe == nil {
		o.Subscribe = func(echo.Context, string, string, []string) ([]SubscribeResult, error) {
			return nil, echo.NewHTTPError(http.StatusServiceUnavailable, "this relay cannot subscribe waybills")
		}
	}
	if o.State == nil {
		o.State = func(context.Context, string, []event.Waybill, time.Duration) ([]ledger.ParcelState, error) {
			return nil, nil
		}
	}
	if o.LastRefused == nil {
		o.LastRefused = func() time.Time { return time.Time{} }
	}
	if o.Enter == nil {
		o.Enter = func(echo.Context, string) (func(), error) { return func() {}, nil }
	}
	if o.Admit == nil {
		o.Admit = func(echo.Context, string) error { return nil }
	}
	if o.LastCallback == nil {
		o.LastCallback = func() (time.Time, bool) { return time.Time{}, false }
	}
	o.fillUnknown()
	c := &API{o: o, stores: partsOf(o.Store), began: time.Now()}
	c.Use(Settings{})
	return c
}

// fillUnknown makes what nobody tells not known.
func (o *Options) fillUnknown() {
	if o.Replicas == nil {
		o.Replicas = func(context.Context) ([]Replica, error) { return nil, nil }
	}
	if o.Work == nil {
		o.Work = func(context.Context) (ledger.Work, time.Time, error) { return ledger.Work{}, time.Time{}, nil }
	}
	if o.Server == nil {
		o.Server = func(context.Context) (RedisServer, error) { return RedisServer{}, nil }
	}
	if o.ConfigState == nil {
		o.ConfigState = func(string) ConfigState { return ConfigState{} }
	}
	if o.Effective == nil {
		o.Effective = func(string) ([]byte, error) { return nil, nil }
	}

	if o.Reload == nil {
		o.Reload = func(context.Context, string) (ReloadResult, error) {
			return ReloadResult{}, errors.New("this relay cannot reload its config")
		}
	}
	if o.NoticeFailures == nil {
		o.NoticeFailures = func() []NoticeFailure { return nil }
	}
	if o.SecretEnds == nil {
		o.SecretEnds = func() []SecretEnd { return nil }
	}
	if o.WhenFailures == nil {
		o.WhenFailures = func() []WhenFailure { return nil }
	}
}

// Use switches to other settings. A request that is being handled keeps those it began with.
func (c *API) Use(set Settings) {
	s := &settings{
		Settings:  set,
		tenants:   make(map[string]*Tenant),
		endpoints: make(map[string]*Endpoint),
	}
	for i := range s.Tenants {
		t := &s.Tenants[i]
		s.tenants[t.Name] = t
		for j := range t.Endpoints {
			s.endpoints[t.Endpoints[j].ID] = &t.Endpoints[j]
			s.names = append(s.names, t.Endpoints[j].ID)
		}
	}
	slices.Sort(s.names)
	c.current.Store(s)
	c.lastEvents.clear()
	c.glances.clear()
}

// Endpoints lists the endpoints of a tenant; none if the config has no such tenant.
func (c *API) Endpoints(tenant string) []string { return c.current.Load().endpointsOf(tenant) }

// Tenants lists the names of all tenants, sorted.
func (c *API) Tenants() []string { return slices.Sorted(maps.Keys(c.current.Load().tenants)) }

// settings are Settings with indexes.
type settings struct {
	Settings
	tenants   map[string]*Tenant
	endpoints map[string]*Endpoint
	names     []string // of all endpoints, sorted
}

// Register adds the tenants' paths to the public listener, and the operator's paths to the private one.
func (c *API) Register(public, admin *echo.Echo) {
	for _, r := range routes() {
		if r.tenant && !r.pagesOnly {
			public.Add(r.method, r.tenantPath(), c.asTenant(r))
		}
		if r.operator {
			admin.Add(r.method, r.operatorPath(), c.asOperator(r))
		}
	}

	text := sync.OnceValue(c.OpenAPI) // made once: anyone may ask for it
	document := func(e echo.Context) error { return e.JSONBlob(http.StatusOK, text()) }
	public.GET("/v1/openapi.json", document)
	admin.GET("/v1/openapi.json", document)
}

// OpenAPI returns the document that describes the API.
func (c *API) OpenAPI() []byte { return openAPI(c.o.Version, c.o.ExtraRoutes, c.o.Webhooks) }

// asTenant handles a route for the tenant whose key the request has.
func (c *API) asTenant(r route) echo.HandlerFunc {
	return func(e echo.Context) error {
		tenant, key, err := c.o.Tenant(e)
		if err != nil {
			return err
		}
		return c.enter(e, tenant, key, r)
	}
}

// asOperator handles a route for the operator.
func (c *API) asOperator(r route) echo.HandlerFunc {
	return func(e echo.Context) error {
		key, err := c.o.Operator(e)
		if err != nil {
			return err
		}
		return c.enter(e, "", key, r)
	}
}

// enter handles a request of a known sender, unless it is over a limit. key is the name of the tenant's key, or of
// the operator's token.
func (c *API) enter(e echo.Context, tenant, key string, r route) error {
	leave, err := c.o.Enter(e, tenant)
	if err != nil {
		return err
	}
	defer leave()

	answer, err := r.answer(&call{Context: e, API: c, settings: c.current.Load(), tenant: tenant, key: key})
	if err != nil {
		return err // the root writes it as a problem
	}
	if t, ok := answer.(tagged); ok {
		tag, err := c.tagOf(e.Request().Context(), t)
		if err != nil {
			return err
		}
		e.Response().Header().Set("ETag", tag)
		if hasTag(e.Request().Header.Get("If-None-Match"), tag) {
			return e.NoContent(http.StatusNotModified)
		}
	}
	return write(e, r.good(), answer)
}

// write writes a good answer: as JSON, as it is if it is a Document, or, if it is nil, without a body.
func write(e echo.Context, status int, answer any) error {
	switch answer := answer.(type) {
	case nil:
		return e.NoContent(status)
	case Document:
		return e.Blob(status, answer.Kind, answer.Text)
	}
	return e.JSON(status, answer)
}

// call is one request, of a tenant or of the operator.
type call struct {
	echo.Context
	*API
	settings *settings
	tenant   string // empty: the operator
	key      string // name of the tenant's key, or the operator's token; empty: it has none
	deeds    deeds
}

func (c *call) ctx() context.Context { return c.Request().Context() }

// actor is the caller, for what is written down of who did what.
func (c *call) actor() event.Actor {
	return event.Actor{Name: cmp.Or(c.tenant, event.Operator), Key: c.key, From: c.RealIP()}
}

// sees says whether the caller may see an endpoint.
func (c *call) sees(endpoint string) bool {
	return c.tenant == "" || strings.HasPrefix(endpoint, c.tenant+"/")
}

// Names lists endpoints of the config by their full names, at most so many, and the tenants: of a tenant its own, of
// nobody (empty) all.
func (c *API) Names(tenant string, most int) (endpoints, tenants []string) {
	s := c.current.Load()
	endpoints = s.names
	if tenant != "" {
		endpoints = s.endpointsOf(tenant)
		tenants = []string{tenant}
	} else {
		tenants = slices.Sorted(maps.Keys(s.tenants))
	}
	return endpoints[:min(len(endpoints), most)], tenants[:min(len(tenants), most)]
}
