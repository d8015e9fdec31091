package relay

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/access"
	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/ingest"
	"kuairelay/relay/intake"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
	"kuairelay/relay/route"
	"kuairelay/relay/signature"
	"kuairelay/relay/store"
	"kuairelay/relay/store/subscriptions"
	"kuairelay/relay/subscribe"
)

func storeSettings(c *config.Config) store.Settings {
	return store.Settings{
		Window:              c.Dedupe.Window,
		BareWindow:          c.Dedupe.BareWindow,
		Retention:           c.Retention,
		DeadLetterRetention: c.DeadLetterRetention,
		SubscriptionTTL:     c.Subscriptions.TTL,
		SignedTTL:           c.Subscriptions.SignedTTL,
		StatsTTL:            c.Console.History + time.Hour, // the first minute that is shown may have begun before
		Pacing:              pacing(c.Tenants),
	}
}

func ledgerSettings(c *config.Config) subscriptions.Settings {
	const writing = 5 * time.Second // what the provider said, while Redis is slow
	return subscriptions.Settings{
		TTL:          c.Subscriptions.TTL,
		SignedTTL:    c.Subscriptions.SignedTTL,
		NoRecord:     c.Subscriptions.NoRecord.Retry,
		Max:          c.Subscriptions.Max,
		ClaimTTL:     c.Kuaidihelp.Timeout + writing,
		UpstreamRate: float64(c.Kuaidihelp.Rate),
		Silence:      silence(c),
		QueryRate:    float64(c.Kuaidihelp.Query.Rate),
		Watches:      watches(c.Tenants),
	}
}

// silence says when kuaidihelp is asked how waybills stand.
func silence(c *config.Config) ledger.Silence {
	return ledger.Silence{
		After:            c.Subscriptions.Reconcile.After,
		Interval:         c.Kuaidihelp.Query.MinInterval,
		Budget:           c.Kuaidihelp.Query.DailyBudget,
		ResubscribeAfter: c.Subscriptions.Reconcile.ResubscribeAfter,
	}
}

// reconcile says whether kuaidihelp is asked at all.
func reconcile(c *config.Config) subscribe.Reconcile {
	return subscribe.Reconcile{
		On:     c.Subscriptions.Reconcile.After > 0 && c.Kuaidihelp.Query.DailyBudget > 0,
		DryRun: c.Subscriptions.Reconcile.DryRun,
	}
}

// watches is what each tenant is told of its parcels.
func watches(tenants []config.Tenant) map[string]ledger.Watch {
	out := make(map[string]ledger.Watch)
	for _, t := range tenants {
		w := ledger.Watch{
			NotCollected: t.Watch.NotCollected, Stalled: t.Watch.Stalled, NotPickedUp: t.Watch.NotPickedUp,
		}
		if w.Least() > 0 {
			out[t.Name] = w
		}
	}
	return out
}

// listening says how silent waybills are found. The ledger is looked over twice in the shortest time of silence that
// counts, and at least every hour.
func listening(c *config.Config) (out subscribe.Listening) {
	watched := watches(c.Tenants)
	var spans []time.Duration
	for _, w := range watched {
		spans = append(spans, w.Least())
	}
	if reconcile(c).On {
		spans = append(spans, c.Subscriptions.Reconcile.After)
	} else {
		out.Tenants = slices.Collect(maps.Keys(watched))
	}
	if len(spans) == 0 {
		return out
	}

	const backlog = 24 // of a day, an hour
	least := slices.Min(spans)
	out.Every = min(time.Hour, max(5*time.Second, least/2))
	out.HoldOff = least / backlog
	return out
}

// configName is the beginning of a config's fingerprint, which names the config in events.
func configName(c *config.Config) string {
	const digits = 8
	return c.Fingerprint[:min(digits, len(c.Fingerprint))]
}

// NewTable compiles the routes of a config.
func NewTable(c *config.Config, onWhenError func(*route.Rule, error)) (*route.Table, error) {
	table, err := route.New(route.Options{
		Rules: rules(c.Tenants), Canonical: kuaidihelp.Brand, CanonicalStatus: kuaidihelp.Status, OnWhenError: onWhenError,
	})
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	return table, nil
}

// routesOf returns the routing of a config: the endpoints that its table leads to for an event, and whether these keep
// the order of a waybill. What the relay says of a waybill is owed to tenants that have subscribed it and want to be
// told, whatever their routes say of subscriptions.
func routesOf(table *route.Table, tenants []config.Tenant) intake.Routes {
	order := ordered(tenants)
	watching := watching(tenants)
	return func(e *event.Event) []queue.Candidate {
		found := table.Match(e, nil)
		out := make([]queue.Candidate, 0, len(found))
		for _, c := range found {
			to := queue.Candidate{Endpoint: c.ID, When: c.When, Ordered: order[c.ID]}
			if e.Own() {
				tenant, _, _ := strings.Cut(c.ID, "/")
				if wants, _ := wants(watching[tenant], tenant, e); !wants {
					continue
				}
				to.When = event.IfSubscribed
			}
			out = append(out, to)
		}
		return out
	}
}

// rules turns the routes of the config into those of the table.
func rules(tenants []config.Tenant) []route.Rule {
	var out []route.Rule
	for _, t := range tenants {
		for _, r := range t.Routes {
			rule := route.Rule{Tenant: r.Tenant, To: r.To, When: r.When, WhenHidden: r.Expanded, Pos: r.Pos.String()}
			if m := r.Match; m != nil {
				rule.Match = matchOf(m)
				if m.Written != nil {
					written := matchOf(m.Written)
					rule.Written = &written
				}
			}
			out = append(out, rule)
		}
	}
	return out
}

func matchOf(m *config.Match) route.Match {
	return route.Match{
		Type:        m.Type,
		CPCode:      m.CPCode,
		Status:      m.Status,
		WaybillCode: m.WaybillCode,
		Changed:     m.Changed,
		Subscribed:  m.Subscribed,
	}
}

// builtEndpoint is an endpoint of the config, with the one that was built from it for the pool.
type builtEndpoint struct {
	of config.Endpoint
	is *deliver.Endpoint
}

// endpoints builds the endpoints of the pool from the config. An endpoint that has not changed stays the same pointer,
// so that the pool can tell.
func endpoints(tenants []config.Tenant, before map[string]builtEndpoint) ([]*deliver.Endpoint, map[string]builtEndpoint,
	error) {
	var all []*deliver.Endpoint
	now := make(map[string]builtEndpoint)
	for _, t := range tenants {
		for _, e := range t.Endpoints {
			m, known := before[e.ID]
			if !known || !sameEndpoint(m.of, e) {
				ep, err := endpoint(e)
				if err != nil {
					return nil, nil, err
				}
				m = builtEndpoint{e, ep}
			}
			now[e.ID] = m
			all = append(all, m.is)
		}
	}
	return all, now, nil
}

func endpoint(e config.Endpoint) (*deliver.Endpoint, error) {
	d := e.Delivery
	ep := &deliver.Endpoint{
		Name:        e.ID,
		URL:         e.URL,
		Format:      e.Format,
		Timeout:     d.Timeout,
		MaxInFlight: d.MaxInFlight,
		Rated:       d.Rate > 0,
		MaxBacklog:  d.MaxBacklog,
		Policy:      deliver.Policy{Retry: d.Retry, MaxAge: d.MaxAge},
		AllowCIDRs:  e.AllowCIDRs,
		TLS:         e.TLS,
		Headers:     make(http.Header),
	}
	for _, h := range e.Headers {
		ep.Headers.Set(h.Name, h.Value.Reveal())
	}
	for _, s := range e.Secrets {
		k, err := signature.ParseKey(s.Secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.ID, err)
		}
		ep.Keys = append(ep.Keys, deliver.Key{Key: k, Until: s.Until})
	}
	return ep, nil
}

// sameEndpoint says whether two configs have the same endpoint, apart from its position in the file.
func sameEndpoint(a, b config.Endpoint) bool {
	if !sameTLS(a.TLS, b.TLS) {
		return false
	}
	a.Pos, a.TLS, b.Pos, b.TLS = config.Position{}, nil, config.Position{}, nil
	return reflect.DeepEqual(a, b)
}

func sameTLS(a, b *tls.Config) bool {
	if a == nil || b == nil {
		return a == b
	}
	same := func(a, b tls.Certificate) bool { return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal) }
	return a.ServerName == b.ServerName && (a.RootCAs == nil) == (b.RootCAs == nil) &&
		(a.RootCAs == nil || a.RootCAs.Equal(b.RootCAs)) &&
		slices.EqualFunc(a.Certificates, b.Certificates, same)
}

// ordered returns which endpoints keep the order of a waybill.
func ordered(tenants []config.Tenant) map[string]bool {
	out := make(map[string]bool)
	for _, t := range tenants {
		for _, e := range t.Endpoints {
			out[e.ID] = e.Delivery.Order != config.OrderNone
		}
	}
	return out
}

// pacing returns the pacing of the endpoints, for the store, which applies it over all replicas.
func pacing(tenants []config.Tenant) map[string]queue.Pacing {
	out := make(map[string]queue.Pacing)
	for _, t := range tenants {
		for _, e := range t.Endpoints {
			out[e.ID] = queue.Pacing{
				Rate:      e.Delivery.Rate,
				Breaker:   queue.Breaker(e.Delivery.Breaker),
				Unordered: e.Delivery.Order == config.OrderNone,
			}
		}
	}
	return out
}

// egress builds the pool's Egress from the config.
func egress(c *config.Config) (deliver.Egress, error) {
	out := deliver.Egress{AllowCIDRs: c.Egress.AllowCIDRs}
	if c.Egress.Proxy == "" {
		return out, nil
	}
	u, err := url.Parse(c.Egress.Proxy.Reveal())
	if err != nil {
		return out, fmt.Errorf("egress.proxy: it is not a URL") // the error would hold it
	}
	out.Proxy = u
	return out, nil
}

// proxySettings returns the proxy's settings. Without the account's key there is no provider.
func proxySettings(c *config.Config, client *http.Client, now func() time.Time) subscribe.Settings {
	set := subscribe.Settings{
		Methods: c.Kuaidihelp.Methods, TSWindow: c.Subscriptions.TSWindow, Listening: listening(c),
		Reconcile: reconcile(c),
		Queries:   c.Kuaidihelp.Query.DailyBudget > 0,
	}
	if key := c.Kuaidihelp.APIKey.Reveal(); key != "" {
		set.Upstream = &kuaidihelp.Client{
			URL:     c.Kuaidihelp.APIURL,
			AppID:   c.Kuaidihelp.AppID,
			APIKey:  key,
			Timeout: c.Kuaidihelp.Timeout,
			HTTP:    client,
			Now:     now,
		}
	}
	for _, t := range c.Tenants {
		set.Tenants = append(set.Tenants, subscribe.Tenant{Name: t.Name,
			Limits: ledger.Limits{Rate: float64(t.Limits.Rate), DailyQuota: t.Limits.DailyQuota}})
	}
	return set
}

// apiSettings returns what the API needs of a config, and of what was built from it.
func apiSettings(c *config.Config, table *route.Table, pool *deliver.Pool, test access.Tester) api.Settings {
	set := api.Settings{
		Config:    configName(c),
		Retention: c.Retention,

		DeadLetterRetention: c.DeadLetterRetention,

		UpstreamRate: float64(c.Kuaidihelp.Rate),
		Test:         test,
		History:      c.Console.History,
	}
	set.Preview = func(d *event.Delivery) (api.Preview, bool) {
		p, ok := pool.Preview(d)
		return api.Preview(p), ok
	}

	for _, t := range c.Tenants {
		tenant := api.Tenant{Name: t.Name, DailyQuota: t.Limits.DailyQuota}
		for _, e := range t.Endpoints {
			tenant.Endpoints = append(tenant.Endpoints, api.Endpoint{
				ID:       e.ID,
				URL:      e.Shown,
				Format:   e.Format,
				Attempts: len(e.Delivery.Retry) + 1,
				MaxAge:   e.Delivery.MaxAge,
			})
		}
		set.Tenants = append(set.Tenants, tenant)
	}

	// What the routes make of an event.
	watching := watching(c.Tenants)
	set.Explain = func(e *event.Record, subscriptions []ledger.Subscription, tenant string) []api.Route {
		var out []api.Route
		past := pastOf(e, subscriptions)
		for _, r := range table.ExplainTo(kuaidihelp.Reread(e.Event), tenant) {
			out = append(out, routeOf(past.judge(forOwn(&e.Event, r, watching))))
		}
		return out
	}
	set.Try = func(e *event.Event, tenant string) (out []api.TriedRoute) {
		for _, r := range table.ExplainTo(e, tenant) {
			out = append(out, api.TriedRoute{Route: routeOf(r), If: r.If, Changed: r.Changed, Subscribed: r.Subscribed})
		}
		return out
	}
	return set
}

// routeOf is a report as the API shows it.
func routeOf(r route.Report) api.Route {
	return api.Route{Tenant: r.Tenant, At: r.Pos, Endpoints: r.Endpoints, Matched: r.Matched, Why: r.Why}
}

func callbackTokens(c *config.Config) (all []ingest.Token) {
	for _, t := range c.Callback.Tokens {
		all = append(all, ingest.Token{Secret: t.Key.Reveal(), Name: t.Name, Until: t.Until})
	}
	return all
}

func accessKeys(keys []config.APIKey) (all []access.Key) {
	for _, k := range keys {
		all = append(all, access.Key{Secret: k.Key.Reveal(), Name: k.Name, Until: k.Until})
	}
	return all
}

// apiKeys returns the API keys of all tenants, by tenant.
func apiKeys(tenants []config.Tenant) map[string][]access.Key {
	keys := make(map[string][]access.Key, len(tenants))
	for _, t := range tenants {
		keys[t.Name] = accessKeys(t.APIKeys)
	}
	return keys
}

// allowances returns what each tenant may take of the shared resources.
func allowances(tenants []config.Tenant) map[string]access.Allowance {
	all := make(map[string]access.Allowance, len(tenants))
	for _, t := range tenants {
		all[t.Name] = access.Allowance{
			Reads:         float64(t.Allowance.Reads),
			Tests:         float64(t.Allowance.Tests),
			Subscriptions: float64(t.Limits.Rate),
			Replays:       t.Allowance.Replays,
		}
	}
	return all
}

// whenFailuresMost is how many routes are remembered whose expressions fail. All are counted by their tenants.
const whenFailuresMost = 100

// whenFailures counts the when expressions that fail, and remembers which, for as long as a config is in use.
type whenFailures struct {
	log    *zap.Logger
	errors *prometheus.CounterVec
	now    atomic.Pointer[whenFailuresOf]
}

func newWhenFailures(log *zap.Logger) *whenFailures {
	return &whenFailures{log: log, errors: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kuairelay_when_errors_total",
		Help: "Evaluations of a route's when expression that failed; the route did not match.",
	}, []string{"tenant"})}
}

// use has the failures of another config shown.
func (w *whenFailures) use(of *whenFailuresOf) { w.now.Store(of) }

// list returns the routes whose expressions have failed since the config came into use, by their place in it.
func (w *whenFailures) list() (all []api.WhenFailure) {
	of := w.now.Load()
	if of == nil {
		return nil
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	for _, failure := range of.routes {
		all = append(all, *failure)
	}
	slices.SortFunc(all, func(a, b api.WhenFailure) int { return strings.Compare(a.Route, b.Route) })
	return all
}

// whenFailuresOf are those of one config.
type whenFailuresOf struct {
	all *whenFailures

	mu     sync.Mutex
	routes map[string]*api.WhenFailure // by file:line
}

// note counts a failure. The first one of a route is logged.
func (of *whenFailuresOf) note(rule *route.Rule, err error) {
	of.all.errors.WithLabelValues(rule.Tenant).Inc()
	if of.first(rule) {
		of.all.log.Warn("a when expression failed: more failures are only counted",
			zap.String("route", rule.Pos), zap.Error(err))
	}
}

// first notes a failure, and says whether it is the first one of the route, as far as that is remembered.
func (of *whenFailuresOf) first(rule *route.Rule) bool {
	now := time.Now().UTC().Truncate(time.Millisecond)
	of.mu.Lock()
	defer of.mu.Unlock()
	known := of.routes[rule.Pos]
	switch {
	case known != nil:
		known.Latest = now
		known.Count++
		return false
	case len(of.routes) >= whenFailuresMost:
		return false
	case of.routes == nil:
		of.routes = make(map[string]*api.WhenFailure)
	}
	of.routes[rule.Pos] = &api.WhenFailure{Tenant: rule.Tenant, Route: rule.Pos, Since: now, Latest: now, Count: 1}
	return true
}
