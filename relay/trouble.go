package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/deliver"
	"kuairelay/relay/intake"
	"kuairelay/relay/spool"
	"kuairelay/relay/store"
)

// troubleMetrics shows at every scrape what Redis can do, and what waits for it.
type troubleMetrics struct {
	store   *store.Store
	spool   *spool.Spool
	intake  *intake.Intake
	pool    *deliver.Pool
	advised func() map[string]string // what about Redis puts events at risk: why by its name

	pushed, state, advice, held                                 *prometheus.Desc
	files, bytes, most, room, waiting, oldest, spooledCallbacks *prometheus.Desc
}

func newTroubleMetrics(r *Relay) *troubleMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &troubleMetrics{store: r.store, spool: r.spool, intake: r.intake, pool: r.pool, advised: r.advice.present,
		pushed: desc("kuairelay_quarantine_pushed_total", "What went out of quarantine unseen, because that was full, and something newer had to be kept."),
		state: desc("kuairelay_redis_state",
			"1 for what Redis can do at present: up; full (maxmemory) and short (of replicas) take no events; down does nothing.", "state"),
		advice:           desc("kuairelay_redis_advice", "1 for each thing about Redis that puts accepted events at risk.", "advice"),
		held:             desc("kuairelay_outcomes_held", "Outcomes of attempts that wait for Redis to take them."),
		files:            desc("kuairelay_spool_files", "Callbacks in the spool, those that wait and, with an embedded Redis, those that are not delivered."),
		bytes:            desc("kuairelay_spool_bytes", "What they take on disk, in whole blocks of 4 KiB."),
		most:             desc("kuairelay_spool_max_bytes", "What they may take at most: spool.max_bytes."),
		room:             desc("kuairelay_spool_room_bytes", "What the spool can still take: what is left of spool.max_bytes, or of the disk, if that is less."),
		waiting:          desc("kuairelay_spool_waiting", "Callbacks in the spool that wait to be accepted."),
		oldest:           desc("kuairelay_spool_oldest_age_seconds", "Age of the oldest of those since it was received; 0 if none waits."),
		spooledCallbacks: desc("kuairelay_spool_callbacks_total", "Callbacks by what happened to them in the spool.", "result"),
	}
}

// Describe implements prometheus.Collector.
func (m *troubleMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.pushed, m.state, m.advice, m.held, m.files, m.bytes, m.most, m.room, m.waiting, m.oldest, m.spooledCallbacks} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *troubleMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now, _ := m.store.State()
	for _, s := range []store.State{store.Up, store.Full, store.Short, store.Down} {
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
