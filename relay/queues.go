package relay

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/deliver"
	"kuairelay/relay/store"
)

// alwaysShown is the number of endpoints up to which each has its series at every scrape. Above it only those have that hold
// anything: ten thousand idle ones are to cost nothing.
const alwaysShown = 200

// queues asks the store for the depth of each endpoint's queue at every scrape.
type queues struct {
	store                            *store.Store
	names                            atomic.Pointer[[]string] // of all endpoints, sorted
	depth, oldest, delivered, parked *prometheus.Desc
}

func newQueues(s *store.Store) *queues {
	return &queues{
		store: s,
		depth: prometheus.NewDesc("kuairelay_queue_depth",
			"Deliveries of an endpoint: open (queued, retrying or leased), waiting (behind an older update of their waybill), dead.", []string{"endpoint", "state"}, nil),
		oldest: prometheus.NewDesc("kuairelay_queue_oldest_age_seconds",
			"Age of the oldest open delivery of an endpoint since its acceptance, at least: the ends of its queue are looked at; 0 if none is open.", []string{"endpoint"}, nil),
		delivered: prometheus.NewDesc("kuairelay_endpoint_last_delivered_timestamp_seconds",
			"Unix time of the latest delivery to an endpoint, as far as its history goes; 0 if there is none.", []string{"endpoint"}, nil),
		parked: prometheus.NewDesc("kuairelay_endpoint_parked", "1 if the endpoint is parked, with its state.", []string{"endpoint", "state"}, nil),
	}
}

// use has the endpoints given shown from now on.
func (q *queues) use(eps []*deliver.Endpoint) {
	var names []string
	for _, e := range eps {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	q.names.Store(&names)
}

// Describe implements prometheus.Collector.
func (q *queues) Describe(ch chan<- *prometheus.Desc) {
	ch <- q.depth
	ch <- q.oldest
	ch <- q.delivered
	ch <- q.parked
}

// Collect implements prometheus.Collector.
func (q *queues) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all := *q.names.Load()
	names := all
	if len(names) > alwaysShown {
		busy, err := q.store.Busy(ctx)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(q.depth, fmt.Errorf("ask the store: %w", err))
			return
		}
		names = slices.DeleteFunc(busy, func(name string) bool { _, known := slices.BinarySearch(all, name); return !known })
	}
	depths, err := q.store.Depths(ctx, names)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(q.depth, fmt.Errorf("ask the store: %w", err))
		return
	}
	for _, d := range depths {
		for state, n := range map[string]int64{"open": d.Open, "waiting": d.Waiting, "dead": d.Dead} {
			ch <- prometheus.MustNewConstMetric(q.depth, prometheus.GaugeValue, float64(n), d.Endpoint, state)
		}
		age := 0.0
		if !d.Oldest.IsZero() {
			age = max(0, q.store.Now().Sub(d.Oldest).Seconds())
		}
		ch <- prometheus.MustNewConstMetric(q.oldest, prometheus.GaugeValue, age, d.Endpoint)
		ch <- prometheus.MustNewConstMetric(q.delivered, prometheus.GaugeValue, unixSeconds(d.Delivered), d.Endpoint)
	}
	parked, err := q.store.Parked(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(q.parked, fmt.Errorf("ask the store: %w", err))
		return
	}
	for name, state := range parked {
		ch <- prometheus.MustNewConstMetric(q.parked, prometheus.GaugeValue, 1, name, state)
	}
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kuairelay_build_info", Help: "Always 1; the label says which version runs.",
		ConstLabels: prometheus.Labels{"version": version}})
	g.Set(1)
	return g
}
