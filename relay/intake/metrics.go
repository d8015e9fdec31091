package intake

import (
	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/event"
	"kuairelay/relay/stats"
)

// metrics count what becomes of the items of callbacks, for Prometheus and for the statistics.
type metrics struct {
	events *prometheus.CounterVec
	stats  *stats.Counters
}

// results are what may become of an item.
var results = []struct {
	name    string
	measure stats.Measure
	of      func(event.Summary) int
}{
	{"new", stats.New, func(s event.Summary) int { return s.New - s.Unrouted }},
	{"unrouted", stats.Unrouted, func(s event.Summary) int { return s.Unrouted }},
	{"duplicate", stats.Duplicate, func(s event.Summary) int { return s.Duplicates }},
	{"quarantined", stats.Quarantined, func(s event.Summary) int { return s.Quarantined }},
}

func newMetrics(registry prometheus.Registerer, counters *stats.Counters) *metrics {
	m := &metrics{stats: counters, events: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kuairelay_events_total",
		Help: "Items of callbacks by result: new (routed to an endpoint), unrouted (new, but no route matched), " +
			"duplicate, quarantined.",
	}, []string{"result"})}
	for _, result := range results {
		m.events.WithLabelValues(result.name)
	}
	if registry != nil {
		registry.MustRegister(m.events)
	}
	return m
}

// count counts what became of items.
func (m *metrics) count(s event.Summary) {
	for _, result := range results {
		n := result.of(s)
		m.events.WithLabelValues(result.name).Add(float64(n))
		if n > 0 {
			m.stats.Add(stats.Callbacks, stats.Sample{What: result.measure, N: n})
		}
	}
}
