// Package api is the API over HTTP, for tenants and for the operator: what became of every event, how the endpoints do,
// and the few things that a person does about it. One set of handlers serves both. Under /v1 a tenant sees its own, as
// if nothing else existed; under /admin/v1 the operator sees everything. Every route stands in one table (see routes),
// from which the OpenAPI document is made too.
package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// Settings are what the API knows of the config. They do not change once they were given.
type Settings struct {
	Tenants []Tenant
	// Explain says of every route of a tenant (empty: of all tenants) what it makes of an event. subscriptions are those
	// of the event's waybill; nil: they are not known.
	Explain func(e *event.Record, subscriptions []ledger.Subscription, tenant string) []Route
	// Test sends an event to an endpoint at once, and says what came back. It gives up when ctx ends.
	Test func(ctx context.Context, endpoint string, e *event.Event) (event.Attempt, error)
}

// Tenant is one of the config's.
type Tenant struct {
	Name      string
	Endpoints []Endpoint // in the order of the config
}

// Endpoint is one of a tenant's.
type Endpoint struct {
	ID     string // tenant/name
	URL    string // as it may be shown
	Format string
}

// Options of an API. Store, Tenant, Operator and Retake are required. Another zero field means its default.
type Options struct {
	Store   Store
	Logger  *zap.Logger
	Version string

	// Tenant names the tenant that sends a request. The error is the answer to a request that shows no tenant's key.
	Tenant func(c echo.Context) (name string, err error)
	// Operator gives nil for a request of the operator. The error is the answer to any other.
	Operator func(c echo.Context) error
	// Enter lets a request in whose sender is known: a tenant, or the operator (empty). The error is the answer to one
	// that is too much. leave is called when the request is answered. Default: all are let in.
	Enter func(c echo.Context, tenant string) (leave func(), err error)
	// Admit counts a request of a tenant about its subscriptions. The error is the answer to one that is too much.
	// Default: all are let in.
	Admit func(c echo.Context, tenant string) error

	// Retake takes in a callback from quarantine as if it had just come.
	Retake func(ctx context.Context, q event.Quarantined) (RetakeResult, error)
	// OnDue is called with an endpoint that has something due again.
	OnDue func(endpoint string)
	// ExtraRoutes are the paths of other parts that stand in the OpenAPI document too.
	ExtraRoutes []ExtraRoute
	// Webhooks are those of the document: what tenants receive.
	Webhooks map[string]any

	// ReplicaStatus says what this replica knows of itself. It needs no Redis for that. Default: it is ready.
	ReplicaStatus func(ctx context.Context) ReplicaStatus
	// Waits says whether an update of a waybill waits in this replica's spool. Default: none does.
	Waits func(waybill string) bool
	// LastRefused is when the latest callback came that had a wrong token or address; zero: none.
	LastRefused func() time.Time
	// LastCallback says when the latest callback came (zero: none is known), and whether that is too long ago.
	// Default: none, and no.
	LastCallback func() (last time.Time, silent bool)
}

// ReplicaStatus is what a replica knows of itself, for the operator.
type ReplicaStatus struct {
	// Durable says whether callbacks can be accepted so that they are not lost.
	Durable bool
	Status  Readiness
	// Redis and Spool say in a word what they can do, and why not more.
	Redis, Spool string
	// Spooled counts callbacks in the spool that wait to be accepted; the oldest came at SpooledSince (zero: none waits).
	Spooled      int
	SpooledSince time.Time
	Config       ConfigInUse
	// Problems are what needs a person, or soon will, each a sentence.
	Problems []string
}

// Readiness says in a word how a replica does.
type Readiness string

// What a replica can do with callbacks.
const (
	Ready    Readiness = "ready"
	Degraded Readiness = "degraded" // it accepts them durably, but something is wrong
	Unready  Readiness = "unready"  // it cannot accept them durably
)

// ConfigInUse is the config that the relay runs with.
type ConfigInUse struct {
	Fingerprint string    `json:"fingerprint" doc:"a hash of its files; replicas should agree"`
	LoadedAt    time.Time `json:"loaded_at" doc:"when it was last read without a mistake"`
	Reload      string    `json:"reload" doc:"ok, or failed: the files have mistakes, and the config from before goes on serving"`
}

// RetakeResult is what came of a callback from quarantine.
type RetakeResult struct {
	Events int
	New    int
	// Rejected says why it, or a part of it, is still not understood; empty: all of it is.
	Rejected string
}

// API has the handlers. All methods may be called at the same time.
type API struct {
	o Options
	stores
	began   time.Time
	current atomic.Pointer[settings]
}

// New makes an API. Without Use it knows nobody.
func New(o Options) *API {
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	if o.OnDue == nil {
		o.OnDue = func(string) {}
	}
	if o.ReplicaStatus == nil {
		o.ReplicaStatus = func(context.Context) ReplicaStatus { return ReplicaStatus{Durable: true, Status: Ready} }
	}
	if o.Waits == nil {
		o.Waits = func(string) bool { return false }
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
	c := &API{o: o, stores: partsOf(o.Store), began: time.Now()}
	c.Use(Settings{})
	return c
}

// Use has all calls from now on see another config.
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
}

// Endpoints lists those of a tenant; none if the config does not have it any more.
func (c *API) Endpoints(tenant string) []string { return c.current.Load().endpointsOf(tenant) }

// settings are Settings, with what is looked up in them.
type settings struct {
	Settings
	tenants   map[string]*Tenant
	endpoints map[string]*Endpoint
	names     []string // of all endpoints, sorted
}

// Register adds the paths for tenants to the public listener's handler, and those for the operator to the private
// one's.
func (c *API) Register(public, admin *echo.Echo) {
	for _, r := range routes() {
		if r.tenant {
			public.Add(r.method, r.tenantPath(), c.asTenant(r))
		}
		if r.operator {
			admin.Add(r.method, r.operatorPath(), c.asOperator(r))
		}
	}

	text := c.OpenAPI() // once: strangers may ask for it
	document := func(e echo.Context) error { return e.JSONBlob(http.StatusOK, text) }
	public.GET("/v1/openapi.json", document)
	admin.GET("/v1/openapi.json", document)
}

// OpenAPI returns the document that describes the API.
func (c *API) OpenAPI() []byte { return openAPI(c.o.Version, c.o.ExtraRoutes, c.o.Webhooks) }

// asTenant lets a tenant in that shows one of its keys.
func (c *API) asTenant(r route) echo.HandlerFunc {
	return func(e echo.Context) error {
		tenant, err := c.o.Tenant(e)
		if err != nil {
			return err
		}
		return c.enter(e, tenant, r)
	}
}

// asOperator lets the operator in.
func (c *API) asOperator(r route) echo.HandlerFunc {
	return func(e echo.Context) error {
		if err := c.o.Operator(e); err != nil {
			return err
		}
		return c.enter(e, "", r)
	}
}

// enter handles a request whose sender is known, unless it is too much.
func (c *API) enter(e echo.Context, tenant string, r route) error {
	leave, err := c.o.Enter(e, tenant)
	if err != nil {
		return err
	}
	defer leave()

	answer, err := r.handler.handle(&call{Context: e, API: c, settings: c.current.Load(), tenant: tenant})
	if err != nil {
		return err // the root writes it as a problem
	}
	return write(e, r.good(), answer)
}

// write writes a good answer: as JSON, or, if it is nil, without a body.
func write(e echo.Context, status int, answer any) error {
	if answer == nil {
		return e.NoContent(status)
	}
	return e.JSON(status, answer)
}

// call is one request, of a tenant or of the operator.
type call struct {
	echo.Context
	*API
	settings *settings
	tenant   string // empty: the operator
}

func (c *call) ctx() context.Context { return c.Request().Context() }

// sees says whether the caller may know of an endpoint.
func (c *call) sees(endpoint string) bool {
	return c.tenant == "" || strings.HasPrefix(endpoint, c.tenant+"/")
}
