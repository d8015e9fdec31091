package deliver

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/queue"
)

// manyEndpoints is the number above which histograms carry no endpoint label: each would be a dozen series.
const manyEndpoints = 200

type metrics struct {
	attempts   *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	breakers   *prometheus.CounterVec
	twice      *prometheus.GaugeVec
	times      atomic.Pointer[histograms]
}

// histograms have an endpoint label as long as there are not too many endpoints.
type histograms struct {
	duration, latency *prometheus.HistogramVec
	labelled          bool
}

func newHistograms(labelled bool) *histograms {
	var labels []string
	if labelled {
		labels = []string{"endpoint"}
	}
	return &histograms{
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kuairelay_attempt_duration_seconds",
			Help: "Duration of attempts.", Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 60}}, labels),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kuairelay_delivery_latency_seconds",
			Help:    "Time from the acceptance of an event, or from its redrive or replay, to its delivery.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 5, 30, 300, 1800, 7200, 43200, 86400, 259200}}, labels),
		labelled,
	}
}

// of returns the labels of an endpoint's series.
func (h *histograms) of(endpoint string) []string {
	if h.labelled {
		return []string{endpoint}
	}
	return nil
}

// Describe implements prometheus.Collector: it describes nothing, so that the labels may change.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// DescribeTimes sends the descriptions of the histograms as they are at present.
func (p *Pool) DescribeTimes(ch chan<- *prometheus.Desc) {
	h := p.metrics.times.Load()
	h.duration.Describe(ch)
	h.latency.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	h := m.times.Load()
	h.duration.Collect(ch)
	h.latency.Collect(ch)
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{}
	m.times.Store(newHistograms(true))
	m.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_attempts_total",
		Help: "Attempts by outcome: delivered, retry, dead, gone."},
		[]string{"endpoint", "outcome"})
	m.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_deliveries_total",
		Help: "Deliveries that ended, by outcome: delivered or dead."}, []string{"endpoint", "outcome"})
	m.breakers = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_breaker_changes_total",
		Help: "Changes of an endpoint's breaker: open (it opened, or stays open after a probe failed) or closed."},
		[]string{"endpoint", "state"})
	m.twice = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kuairelay_endpoint_answers_twice",
		Help: "1: the endpoint was found to answer a request twice; " +
			"until it is resumed, each attempt has its own connection."},
		[]string{"endpoint"})
	if r != nil {
		r.MustRegister(m.attempts, m.deliveries, m.breakers, m.twice, m)
	}
	return m
}

// use adapts the series to the number of endpoints, and drops those of endpoints that are gone.
func (m *metrics) use(endpoints int, gone []*endpoint) {
	if labelled := endpoints <= manyEndpoints; m.times.Load().labelled != labelled {
		m.times.Store(newHistograms(labelled))
	}
	h := m.times.Load()
	for _, e := range gone {
		of := prometheus.Labels{"endpoint": e.name}
		for _, v := range []*prometheus.MetricVec{m.attempts.MetricVec, m.deliveries.MetricVec, m.breakers.MetricVec,
			m.twice.MetricVec, h.duration.MetricVec, h.latency.MetricVec} {
			v.DeletePartialMatch(of)
		}
	}
}

// breaker counts a change of an endpoint's breaker.
func (m *metrics) breaker(endpoint string, open bool) {
	state := "closed"
	if open {
		state = "open"
	}
	m.breakers.WithLabelValues(endpoint, state).Inc()
}

// trust shows whether an endpoint has lost its trust.
func (m *metrics) trust(endpoint string, lost bool) {
	if lost {
		m.twice.WithLabelValues(endpoint).Set(1)
		return
	}
	m.twice.DeleteLabelValues(endpoint)
}

// observe counts an outcome. If it came late, or the store did not take it, no delivery has ended.
func (m *metrics) observe(o queue.Outcome, settled bool, now time.Time) {
	endpoint, outcome := o.Delivery.Endpoint, outcomes[o.Kind]
	h := m.times.Load()
	if o.Attempt != nil {
		m.attempts.WithLabelValues(endpoint, outcome).Inc()
		h.duration.WithLabelValues(h.of(endpoint)...).Observe(o.Attempt.Duration.Seconds())
	}
	if !settled || (o.Kind != queue.Delivered && o.Kind != queue.Dead) {
		return
	}
	m.deliveries.WithLabelValues(endpoint, outcome).Inc()
	if o.Kind == queue.Delivered {
		h.latency.WithLabelValues(h.of(endpoint)...).Observe(now.Sub(o.Delivery.Since).Seconds())
	}
}
