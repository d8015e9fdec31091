package access

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// bound says what keeps the requests to a path of the public listener from costing others something.
type bound string

const (
	// unbounded costs about nothing: it is answered from memory.
	unbounded bound = "none"
	// ofCallbacks is what kuaidihelp calls, with a token.
	ofCallbacks bound = "callbacks"
	// ofReads has limits.reads, and readsPerTenant requests at one time.
	ofReads bound = "reads"
	// ofActs is what changes many deliveries at a time: it has the rate of limits.reads, and actsPerTenant requests at one
	// time, so that it takes no places of reads.
	ofActs bound = "acts"
	// ofTests has limits.tests, and testsPerTenant requests at one time.
	ofTests bound = "tests"
	// ofExplanations has explanationsASecond, and explanationsPerTenant requests at one time.
	ofExplanations bound = "explanations"
	// ofSubscriptions has subscriptions.rate, and subscribesPerTenant requests at one time, which may wait for kuaidihelp.
	ofSubscriptions bound = "subscriptions"
	// ofStates is what may wait for kuaidihelp to say how waybills stand: it has the rate of limits.reads, and
	// statesPerTenant requests at one time, so that it takes no places of reads.
	ofStates bound = "states"
	// ofPages is the console: a page asks the API, whose paths have bounds; without a session it asks nothing.
	ofPages bound = "pages"
	// ofEndpoints counts test events by their endpoints, whoever sends them.
	ofEndpoints bound = "endpoints"
)

// bounds has every path of the public listener, as echo writes it. Check refuses one that is not there.
var bounds = map[string]bound{
	"GET /healthz":         unbounded,
	"GET /readyz":          unbounded,
	"GET /v1/openapi.json": unbounded,

	"GET /callback/:token":  ofCallbacks,
	"HEAD /callback/:token": ofCallbacks,
	"POST /callback/:token": ofCallbacks,

	"POST /api":                                  ofSubscriptions,
	"POST /v1/subscriptions":                     ofSubscriptions,
	"GET /v1/subscriptions":                      ofReads,
	"GET /v1/subscriptions/summary":              ofReads,
	"GET /v1/subscriptions/:cp_code/:waybill":    ofReads,
	"DELETE /v1/subscriptions/:cp_code/:waybill": ofReads,
	"GET /v1/status":                             ofReads,
	"GET /v1/config":                             ofReads,
	"GET /v1/config/effective":                   ofReads,
	"GET /v1/events":                             ofReads,
	"GET /v1/events/:id":                         ofReads,
	"GET /v1/events/:id/request":                 ofReads,
	"POST /v1/events/:id/resend":                 ofActs,
	"GET /v1/waybills/:waybill":                  ofReads,
	"POST /v1/waybills/states":                   ofReads,
	"GET /v1/find":                               ofReads,
	"POST /v1/explain":                           ofExplanations,
	"GET /v1/endpoints":                          ofReads,
	"GET /v1/endpoints/:endpoint":                ofReads,
	"GET /v1/endpoints/:endpoint/attempts":       ofReads,
	"GET /v1/endpoints/:endpoint/log":            ofReads,
	"POST /v1/endpoints/:endpoint/pause":         ofReads,
	"POST /v1/endpoints/:endpoint/resume":        ofReads,
	"POST /v1/endpoints/:endpoint/retry":         ofActs,
	"POST /v1/endpoints/:endpoint/test":          ofTests,
	"POST /v1/notices/test":                      ofTests,
	"GET /v1/dead-letters":                       ofReads,
	"POST /v1/dead-letters/redrive":              ofActs,
	"POST /v1/dead-letters/dismiss":              ofActs,
	"GET /v1/stats":                              ofReads,
	"GET /v1/audit":                              ofReads,
	"GET /v1/replays":                            ofReads,
	"POST /v1/replays":                           ofReads,
	"GET /v1/replays/:id":                        ofReads,
	"DELETE /v1/replays/:id":                     ofReads,
}

// mayWait has the paths whose requests are ofStates if they name max_age.
var mayWait = []string{"GET /v1/waybills/:waybill", "POST /v1/waybills/states"}

// Requests at one time, in a process: of one tenant, and of all of them. One that is answered holds its place until the
// client has read the answer.
const (
	readsPerTenant, readsInAll           = 4, 32
	actsPerTenant, actsInAll             = 2, 16
	testsPerTenant, testsInAll           = 2, 16 // also of one endpoint, and of all
	explanationsPerTenant                = 1
	explanationsInAll                    = 4
	subscribesPerTenant, subscribesInAll = 64, 256
	statesPerTenant, statesInAll         = 128, 384
	// operatorReads is the same of the operator's.
	operatorReads = 16
)

// explanationsASecond are those of one tenant, over all replicas.
const explanationsASecond = 5

const (
	// holdFor is how long a request that is too much waits for its refusal, so that a client that comes again at once
	// costs little.
	holdFor = 500 * time.Millisecond
	// heldMost is how many may wait for that; beyond, the connection is closed instead.
	heldMost = 1024
)

// Admit lets a request in, if its limiter allows it over all replicas, or says how long it has to wait. quota:
// because its waybills are too many for the day.
type Admit func(ctx context.Context, limiter string, l ledger.Limits,
	waybills int) (wait time.Duration, quota bool, err error)

// Shares see to it that no tenant takes more than its share of what all use: it is let in so many times a second, over
// all replicas, and so many times at once. What a request then costs Redis is bounded there.
type Shares struct {
	// admit counts over all replicas.
	admit   Admit
	refused *prometheus.CounterVec
	rates   atomic.Pointer[map[string]Allowance]
	held    atomic.Int64

	mu    sync.Mutex
	taken map[bound]map[string]int // requests under way of each tenant
	sum   map[bound]int            // and of all
	next  map[string]time.Time     // when the next request of a limiter may come, as far as this process knows
}

// Allowance is what a tenant may have: requests a second of each kind (0: any number), and replays that run at one
// time.
type Allowance struct {
	Reads, Tests, Subscriptions float64
	Replays                     int
}

// NewShares makes Shares that allow anything, until Use. admit counts a request over all replicas.
func NewShares(admit Admit, registry prometheus.Registerer) *Shares {
	s := &Shares{
		admit: admit,
		taken: make(map[bound]map[string]int),
		sum:   make(map[bound]int),
		next:  make(map[string]time.Time),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_tenant_refused_total",
			Help: "Requests of a tenant that were answered 429, by limit: reads, acts, states, tests, " +
				"explanations, subscriptions.",
		}, []string{"tenant", "limit"}),
	}
	registry.MustRegister(s.refused)
	s.Use(nil)
	return s
}

// Use has the allowances given, by tenant, hold from now on.
func (s *Shares) Use(allowances map[string]Allowance) {
	s.rates.Store(&allowances)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.next)
}

// Replays is how many replays of a tenant run at one time; 0: any number, for the operator.
func (s *Shares) Replays(tenant string) int {
	if tenant == "" {
		return 0
	}
	return max(1, (*s.rates.Load())[tenant].Replays) // of a tenant that is in the config no more, one
}

// TenantPaths lists the paths of tenants, each behind its method.
func TenantPaths() (out []string) {
	for path, b := range bounds {
		if b != unbounded && b != ofCallbacks {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// boundOf returns what bounds a path; empty: nothing.
func boundOf(method, path string) bound {
	if path == pagesPath || strings.HasPrefix(path, pagesPath+"/") {
		return ofPages
	}
	return bounds[method+" "+path]
}

// pagesPath is where the pages of tenants are.
const pagesPath = "/console"

// Check finds a path of the public listener without a bound.
func (s *Shares) Check(e *echo.Echo) error {
	for _, r := range e.Routes() {
		if boundOf(r.Method, r.Path) == "" {
			return fmt.Errorf("nothing bounds %s %s: name it in bounds", r.Method, r.Path)
		}
	}
	return nil
}

// Enter lets a request of a tenant in, which has shown a key of its own; no tenant is the operator. leave has to be
// called when it is answered. The error is the answer to one that is too much.
func (s *Shares) Enter(c echo.Context, tenant string) (leave func(), err error) {
	b := boundOfRequest(c)
	if tenant == "" {
		if !s.take(ofReads, "", operatorReads, math.MaxInt) {
			return nil, s.refuse(c, tenant, ofReads, time.Second, "too many requests at one time")
		}
		return func() { s.leave(ofReads, "") }, nil
	}

	// What this process alone can tell costs Redis nothing.
	rates := (*s.rates.Load())[tenant]
	if wait := s.local(tenant, b, rates); wait > 0 {
		return nil, s.refuse(c, tenant, b, wait, "too many requests a second ("+b.key()+")")
	}
	perTenant, inAll := b.atOnce()
	if !s.take(b, tenant, perTenant, inAll) {
		return nil, s.refuse(c, tenant, b, time.Second, "too many requests at one time")
	}

	// A subscription is counted where its waybills are.
	if b != ofSubscriptions {
		// Without Redis the process's own count has to do: some answers need none.
		wait, _, err := s.admit(c.Request().Context(), tenant+" "+string(b), ledger.Limits{Rate: rates.of(b)}, 0)
		if err == nil && wait > 0 {
			s.leave(b, tenant)
			return nil, s.refuse(c, tenant, b, wait, "too many requests a second ("+b.key()+")")
		}
	}
	return func() { s.leave(b, tenant) }, nil
}

// boundOfRequest returns what bounds a request of a tenant.
func boundOfRequest(c echo.Context) bound {
	path := c.Request().Method + " " + c.Path()
	if slices.Contains(mayWait, path) && c.QueryParam("max_age") != "" {
		return ofStates
	}
	return bounds[path]
}

// key of the config that sets the rate of a bound; or what the rate is, where no key sets it.
func (b bound) key() string {
	switch b {
	case ofSubscriptions:
		return "subscriptions.rate"
	case ofActs, ofStates:
		b = ofReads
	case ofExplanations:
		return fmt.Sprintf("%d explanations", explanationsASecond)
	}
	return "limits." + string(b)
}

func (b bound) atOnce() (perTenant, inAll int) {
	switch b {
	case ofActs:
		return actsPerTenant, actsInAll
	case ofTests:
		return testsPerTenant, testsInAll
	case ofExplanations:
		return explanationsPerTenant, explanationsInAll
	case ofSubscriptions:
		return subscribesPerTenant, subscribesInAll
	case ofStates:
		return statesPerTenant, statesInAll
	}
	return readsPerTenant, readsInAll
}

func (r Allowance) of(b bound) float64 {
	switch b {
	case ofTests:
		return r.Tests
	case ofExplanations:
		return explanationsASecond
	case ofSubscriptions:
		return r.Subscriptions
	}
	return r.Reads
}

// local counts a request, and says how long it has to wait if that is one too many for this process: as many as come in
// a second may come at once.
func (s *Shares) local(tenant string, b bound, rates Allowance) (wait time.Duration) {
	rate := rates.of(b)
	if rate == 0 {
		return 0
	}
	limiter := tenant + " " + string(b)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.next[limiter]
	if earliest := now.Add(-time.Second); at.Before(earliest) {
		at = earliest
	}
	interval := time.Duration(float64(time.Second) / rate)
	at = at.Add(interval)
	wait = at.Sub(now)
	if wait > 0 {
		return wait
	}
	s.next[limiter] = at
	return 0
}

// take lets a request in, if its tenant has fewer than so many under way. Of the room that is left for all, nobody
// takes more than half: so there always is some for who has none.
func (s *Shares) take(b bound, tenant string, perTenant, inAll int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, free := s.taken[b][tenant], inAll-s.sum[b]
	if n >= perTenant || free <= 0 || n > free/2 {
		return false
	}
	if s.taken[b] == nil {
		s.taken[b] = make(map[string]int)
	}
	s.taken[b][tenant]++
	if tenant != "" {
		s.sum[b]++
	}
	return true
}

func (s *Shares) leave(b bound, tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[b][tenant]--
	if s.taken[b][tenant] == 0 {
		delete(s.taken[b], tenant)
	}
	if tenant != "" {
		s.sum[b]--
	}
}

// Tester sends a test event to an endpoint.
type Tester func(ctx context.Context, endpoint string, e *event.Event) (event.Attempt, error)

// Test sends few test events at one time.
func (s *Shares) Test(send Tester) Tester {
	return func(ctx context.Context, endpoint string, e *event.Event) (event.Attempt, error) {
		if !s.take(ofEndpoints, endpoint, testsPerTenant, testsInAll) {
			return event.Attempt{}, event.ErrTooMany
		}
		defer s.leave(ofEndpoints, endpoint)
		return send(ctx, endpoint, e)
	}
}

// refuse answers a request that is too much, after a while.
func (s *Shares) refuse(c echo.Context, tenant string, b bound, wait time.Duration, detail string) error {
	if tenant != "" {
		s.refused.WithLabelValues(tenant, string(b)).Inc()
	}
	if s.held.Add(1) > heldMost {
		c.Response().Header().Set(echo.HeaderConnection, "close")
	} else {
		select {
		case <-c.Request().Context().Done():
		case <-time.After(holdFor/2 + rand.N(holdFor)): // many that came at once are not to come again at once
		}
	}
	s.held.Add(-1)
	c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	return echo.NewHTTPError(http.StatusTooManyRequests, detail)
}
