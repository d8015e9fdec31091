package relay

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/deliver"
	"kuairelay/relay/intake"
	"kuairelay/relay/spool"
	"kuairelay/relay/store"
)

// storageMetrics shows at every scrape what Redis can do, and what waits for it.
type storageMetrics struct {
	store   *store.Store
	spool   *spool.Spool
	intake  *intake.Intake
	pool    *deliver.Pool
	advised func() map[string]string // what about Redis puts events at risk: why by its name

	pushed, state, advice, held                                 *prometheus.Desc
	files, bytes, most, room, waiting, oldest, spooledCallbacks *prometheus.Desc
}

func newStorageMetrics(r *Relay) *storageMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &storageMetrics{store: r.store, spool: r.spool, intake: r.intake, pool: r.pool, advised: r.advice.present,

		pushed: desc("kuairelay_quarantine_pushed_total",
			"Callbacks and items that were removed from quarantine unseen, because it was full and a newer one had to be kept."),
		state: desc("kuairelay_redis_state",
			"1 for the state of Redis: up; full (at maxmemory) and short (of replicas) take no events, but deliveries go "+
				"on; down.", "state"),
		advice: desc("kuairelay_redis_advice",
			"1 for each property of Redis that puts accepted events at risk.", "advice"),
		held: desc("kuairelay_outcomes_held",
			"Outcomes of attempts that wait for Redis."),

		files: desc("kuairelay_spool_files",
			"Callbacks in the spool: those that wait and, with an embedded Redis, those that are not delivered yet."),
		bytes: desc("kuairelay_spool_bytes",
			"Disk that the spool takes, in whole blocks of 4 KiB."),
		most: desc("kuairelay_spool_max_bytes",
			"Disk that the spool may take: spool.max_bytes."),
		room: desc("kuairelay_spool_room_bytes",
			"Disk that the spool can still take: the rest of spool.max_bytes, or of the disk if that is less."),
		waiting: desc("kuairelay_spool_waiting",
			"Callbacks in the spool that wait to be accepted."),
		oldest: desc("kuairelay_spool_oldest_age_seconds",
			"Age of the oldest callback that waits in the spool, since it was received; 0: none waits."),
		spooledCallbacks: desc("kuairelay_spool_callbacks_total",
			"Callbacks by result in the spool.", "result"),
	}
}

// Describe implements prometheus.Collector.
func (m *storageMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.pushed, m.state, m.advice, m.held, m.files, m.bytes, m.most, m.room, m.waiting,
		m.oldest, m.spooledCallbacks} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *storageMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now, _ := m.store.Availability()
	for _, s := range []store.Availability{store.Up, store.Full, store.Short, store.Down} {
		v := 0.0
		if s == now {
			v = 1
		}
		gauge(m.state, v, s.String())
	}
	for name := range m.advised() {
		gauge(m.advice, 1, name)
	}
	gauge(m.held, float64(m.pool.Held()))

	taken := m.intake.Stats()
	ch <- prometheus.MustNewConstMetric(m.pushed, prometheus.CounterValue, float64(taken.Pushed))

	s := m.spool.Stats()
	gauge(m.files, float64(s.Files))
	gauge(m.bytes, float64(s.Bytes))
	gauge(m.most, float64(s.MaxBytes))
	gauge(m.room, float64(m.spool.Room()))
	gauge(m.waiting, float64(s.Waiting))
	age := 0.0
	if !s.Oldest.IsZero() {
		age = max(0, time.Since(s.Oldest).Seconds())
	}
	gauge(m.oldest, age)
	for result, n := range map[string]int{
		"written": s.Written, "failed": s.Failed, "adopted": s.Adopted, "unreadable": s.Unreadable,
		"drained": int(taken.Drained), "quarantined": int(taken.Quarantined),
	} {
		ch <- prometheus.MustNewConstMetric(m.spooledCallbacks, prometheus.CounterValue, float64(n), result)
	}
}

// alwaysShown is the number of endpoints up to which each has its series at every scrape. If there are more, only
// endpoints with deliveries have: ten thousand idle ones must cost nothing.
const alwaysShown = 200

// queueMetrics asks the store for the depth of each endpoint's queue at every scrape.
type queueMetrics struct {
	store                            *store.Store
	names                            atomic.Pointer[[]string] // of all endpoints, sorted
	depth, oldest, delivered, parked *prometheus.Desc
}

func newQueueMetrics(s *store.Store) *queueMetrics {
	return &queueMetrics{
		store: s,
		depth: prometheus.NewDesc("kuairelay_queue_depth",
			"Deliveries of an endpoint: open (queued, retrying or leased), "+
				"waiting (behind an older update of their waybill), dead.", []string{"endpoint", "state"}, nil),
		oldest: prometheus.NewDesc("kuairelay_queue_oldest_age_seconds",
			"Age of the oldest open delivery of an endpoint since its acceptance; 0: none is open. "+
				"It is a lower bound: only both ends of the queue are read.", []string{"endpoint"}, nil),
		delivered: prometheus.NewDesc("kuairelay_endpoint_last_delivered_timestamp_seconds",
			"Unix time of the latest delivery in an endpoint's history; 0: none.",
			[]string{"endpoint"}, nil),
		parked: prometheus.NewDesc("kuairelay_endpoint_parked", "1 for an endpoint that is parked, by its state.",
			[]string{"endpoint", "state"}, nil),
	}
}

// use sets the endpoints to show.
func (q *queueMetrics) use(eps []*deliver.Endpoint) {
	var names []string
	for _, e := range eps {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	q.names.Store(&names)
}

// Describe implements prometheus.Collector.
func (q *queueMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- q.depth
	ch <- q.oldest
	ch <- q.delivered
	ch <- q.parked
}

// Collect implements prometheus.Collector.
func (q *queueMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	all := *q.names.Load()
	names := all
	if len(names) > alwaysShown {
		busy, err := q.store.ActiveEndpoints(ctx)
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
		ch <- prometheus.MustNewConstMetric(q.parked, prometheus.GaugeValue, 1, name, string(state))
	}
}

// OpenAPI returns the document that describes the API, for documentation.
func (r *Relay) OpenAPI() []byte { return r.api.OpenAPI() }

// DescribeMetrics sends the descriptions of all metrics, for documentation.
func (r *Relay) DescribeMetrics(ch chan<- *prometheus.Desc) {
	r.registry.Describe(ch)
	r.pool.DescribeTimes(ch)
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kuairelay_build_info", Help: "Always 1; the label says which version runs.",
		ConstLabels: prometheus.Labels{"version": version}})
	g.Set(1)
	return g
}

// unfinished asks the store at every scrape for the unfinished work of subscriptions, and remembers since when there
// is any, as far as it was asked for.
type unfinished struct {
	store *store.Store
	depth *prometheus.Desc
	since since
}

func newUnfinished(s *store.Store) *unfinished {
	return &unfinished{store: s, depth: prometheus.NewDesc("kuairelay_subscriptions_unfinished",
		"Waybills that kuaidihelp has still to be asked for, and "+
			"tenants that have still to get a waybill's last update.", nil, nil)}
}

// count counts it, and returns since when there is any.
func (u *unfinished) count(ctx context.Context) (n int, since time.Time, err error) {
	all, err := u.store.CountUnfinished(ctx)
	if err != nil {
		return 0, time.Time{}, err
	}
	return int(all), u.since.note(all > 0), nil
}

// Describe implements prometheus.Collector.
func (u *unfinished) Describe(ch chan<- *prometheus.Desc) { ch <- u.depth }

// Collect implements prometheus.Collector.
func (u *unfinished) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n, _, err := u.count(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(u.depth, fmt.Errorf("ask the store: %w", err))
		return
	}
	ch <- prometheus.MustNewConstMetric(u.depth, prometheus.GaugeValue, float64(n))
}

// unixSeconds returns a time as Prometheus has it; 0 for none.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
