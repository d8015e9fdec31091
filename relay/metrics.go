package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/deliver"
	"kuairelay/relay/intake"
	"kuairelay/relay/ledger"
	"kuairelay/relay/logonce"
	"kuairelay/relay/spool"
	"kuairelay/relay/stats"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
)

// storageMetrics shows at every scrape what Redis can do, and what waits for it.
type storageMetrics struct {
	store   *stores
	spool   *spool.Spool
	intake  *intake.Intake
	pool    *deliver.Pool
	advised func() map[string]string // what about Redis puts events at risk: why by its name

	pushed, state, advice, held                                       *prometheus.Desc
	files, bytes, most, room, free, waiting, oldest, spooledCallbacks *prometheus.Desc
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
		free: desc("kuairelay_spool_disk_free_bytes",
			"What is free on the disk of the spool. Replicas on one disk share it."),
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
	for _, d := range []*prometheus.Desc{m.pushed, m.state, m.advice, m.held, m.files, m.bytes, m.most, m.room, m.free,
		m.waiting, m.oldest, m.spooledCallbacks} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *storageMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now, _ := m.store.Availability()
	for _, s := range []db.Availability{db.Up, db.Full, db.Short, db.Down} {
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
	if disk, known := m.spool.Disk(); known {
		gauge(m.free, float64(disk.Free))
	}
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
	store                            *stores
	names                            atomic.Pointer[[]string] // of all endpoints, sorted
	depth, oldest, delivered, parked *prometheus.Desc
}

func newQueueMetrics(s *stores) *queueMetrics {
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
		busy, err := q.store.Busy(ctx)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(q.depth, fmt.Errorf("ask the store: %w", err))
			return
		}
		names = nil
		for _, b := range busy {
			if _, known := slices.BinarySearch(all, b.Endpoint); known {
				names = append(names, b.Endpoint)
			}
		}
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

// work asks the store at every scrape what is to be done for subscriptions, and remembers since when some of it is
// unfinished, as far as it was asked for.
type work struct {
	store           *stores
	depth, noRecord *prometheus.Desc
	queries, budget *prometheus.Desc
	since           since
}

func newWork(s *stores) *work {
	return &work{store: s, depth: prometheus.NewDesc("kuairelay_subscriptions_unfinished",
		"Waybills that kuaidihelp has still to be asked for, and "+
			"tenants that have still to get a waybill's last update, or to be told of one that failed.", nil, nil),
		noRecord: prometheus.NewDesc("kuairelay_subscriptions_no_record",
			"Waybills of which kuaidihelp has no record yet; they are asked for again.", nil, nil),
		queries: prometheus.NewDesc("kuairelay_queries_today",
			"Waybills that kuaidihelp was asked for since midnight in China, by all replicas.", nil, nil),
		budget: prometheus.NewDesc("kuairelay_queries_daily_budget",
			"Waybills that kuaidihelp may be asked for a day (kuaidihelp.query.daily_budget); 0: it is never asked.", nil, nil)}
}

// count counts it, and returns since when some of it is unfinished.
func (w *work) count(ctx context.Context) (now ledger.Work, since time.Time, err error) {
	now, err = w.store.Work(ctx)
	if err != nil {
		return now, time.Time{}, err
	}
	return now, w.since.note(now.Unfinished > 0), nil
}

// Describe implements prometheus.Collector.
func (w *work) Describe(ch chan<- *prometheus.Desc) {
	ch <- w.depth
	ch <- w.noRecord
	ch <- w.queries
	ch <- w.budget
}

// Collect implements prometheus.Collector.
func (w *work) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	now, _, err := w.count(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(w.depth, fmt.Errorf("ask the store: %w", err))
		return
	}
	for desc, n := range map[*prometheus.Desc]int{
		w.depth: now.Unfinished, w.noRecord: now.NoRecord, w.queries: now.Queries, w.budget: now.Budget,
	} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n))
	}
}

// unixSeconds returns a time as Prometheus has it; 0 for none.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

const (
	// statsEvery is how often what was counted is written. A process that is killed loses so much of it.
	statsEvery = 10 * time.Second
	// gaugesEvery is how often it is counted what is open, waiting and dead, and gaugesFor how long one replica has the
	// right to do that.
	gaugesEvery = time.Minute
	gaugesFor   = 55 * time.Second
	// lastStats is how long a process that stops waits for its last statistics to be written.
	lastStats = 3 * time.Second
)

// statistics writes to Redis what this process counts.
type statistics struct {
	store    *stores
	log      *zap.Logger
	counters *stats.Counters

	// unsent was taken from the counters. Its first part is sent with the number of the call, and again with the same
	// number if that fails: it may have been done.
	unsent []stats.Cell
	number int64
	again  bool
	failed logonce.Change[string]
}

func newStatistics(s *stores, log *zap.Logger) *statistics {
	return &statistics{store: s, log: log, counters: stats.NewCounters(s.Now)}
}

// run writes what is new until ctx ends. What is counted after that is left for last.
func (s *statistics) run(ctx context.Context) {
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	var gauges time.Time // when they were last due
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}

		err := s.flush(ctx)
		if err == nil && time.Since(gauges) >= gaugesEvery {
			gauges = time.Now()
			err = s.gauge(ctx)
		}
		if ctx.Err() == nil {
			s.report(err)
		}
	}
}

// last writes what is left when nothing is counted any more. It waits for Redis no longer than lastStats.
func (s *statistics) last(ctx context.Context) {
	if s.counters.Held() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastStats)
	defer cancel()
	err := s.store.WaitUp(ctx)
	if err == nil {
		err = s.flush(ctx)
	}
	s.report(err)
}

// report logs an error once for each time that it changes. What is wrong with Redis is told elsewhere.
func (s *statistics) report(err error) {
	var trouble interface{ Trouble() bool }
	if errors.As(err, &trouble) {
		err = nil
	}
	if s.failed.To(logonce.Text(err)) && err != nil {
		s.log.Error("statistics are not written, and are kept in memory", zap.Error(err))
	}
}

// flush writes what was counted. While Redis takes no events, it stays in memory.
func (s *statistics) flush(ctx context.Context) error {
	if !s.up() {
		return nil
	}
	if len(s.unsent) == 0 {
		s.unsent = s.counters.Take()
	}

	for len(s.unsent) > 0 {
		n := min(store.StatsMost, len(s.unsent))
		if err := s.send(ctx, s.unsent[:n]); err != nil {
			return err
		}
		s.unsent = s.unsent[n:]
		s.counters.Written(n)
	}
	return nil
}

// up says whether Redis takes what is written.
func (s *statistics) up() bool { return s.store.Available() == nil }

// send makes one call. After an error, the next one has to be with the same cells.
func (s *statistics) send(ctx context.Context, cells []stats.Cell) error {
	if !s.again {
		s.number++
	}
	err := s.store.AddStats(ctx, s.number, cells)
	s.again = err != nil
	return err
}

// gauge notes how much is open, waits and is dead at each endpoint that has something. One replica does it for all.
func (s *statistics) gauge(ctx context.Context) error {
	if !s.counters.On() || !s.up() {
		return nil
	}
	_, locked, err := s.store.TryLock(ctx, "gauges", gaugesFor) // it ends by itself
	if err != nil || !locked {
		return err
	}

	busy, err := s.store.Busy(ctx)
	if err != nil {
		return err
	}
	names := make([]string, len(busy))
	for i, b := range busy {
		names[i] = b.Endpoint
	}
	depths, err := s.store.Depths(ctx, names)
	if err != nil {
		return err
	}
	now := s.store.Now()
	var cells []stats.Cell
	for _, d := range depths {
		if d.Open+d.Waiting+d.Dead > 0 {
			cells = append(cells, gaugesOf(d, now))
		}
	}
	s.counters.Put(cells)
	return s.flush(ctx)
}

// gaugesOf are the gauges of an endpoint.
func gaugesOf(d store.Depth, now time.Time) stats.Cell {
	c := stats.Cell{Subject: d.Endpoint, Minute: now.Unix() / 60}
	c.Counts[stats.Open] = d.Open
	c.Counts[stats.Waiting] = d.Waiting
	c.Counts[stats.DeadLetters] = d.Dead
	if !d.Oldest.IsZero() {
		c.Counts[stats.Oldest] = max(0, int64(now.Sub(d.Oldest).Seconds()))
	}
	return c
}

// gauge counts those that end soon.
func (e *secretEnds) gauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kuairelay_secrets_ending",
		Help: "Secrets, keys and tokens of the config that end within a week."}, func() float64 {
		n := 0
		for _, s := range e.list() {
			if api.SecretEndsSoon(s.Until, time.Now()) {
				n++
			}
		}
		return float64(n)
	})
}
