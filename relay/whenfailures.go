package relay

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/route"
)

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
