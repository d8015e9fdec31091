package deliver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/event"
)

// manyEndpoints is the number above which histograms carry no endpoint label: each would be a dozen series.
const manyEndpoints = 200

type metrics struct {
	attempts   *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	breakers   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	latency    *prometheus.HistogramVec
	labelled   bool
}

func newMetrics(r prometheus.Registerer, endpoints int) *metrics {
	m := &metrics{labelled: endpoints <= manyEndpoints}
	var labels []string
	if m.labelled {
		labels = []string{"endpoint"}
	}
	m.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_attempts_total",
		Help: "HTTP requests to endpoints, by what becomes of the delivery: delivered, retry, dead, gone."}, []string{"endpoint", "outcome"})
	m.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_deliveries_total",
		Help: "Deliveries that ended: delivered, or dead."}, []string{"endpoint", "outcome"})
	m.breakers = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_breaker_changes_total",
		Help: "Changes of an endpoint's breaker: it opened, stayed open after a probe failed (open, too), or closed."}, []string{"endpoint", "state"})
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kuairelay_attempt_duration_seconds",
		Help: "How long attempts took.", Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 60}}, labels)
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kuairelay_delivery_latency_seconds",
		Help: "From the acceptance of an event to its delivery.", Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 5, 30, 300, 1800, 7200, 43200, 86400, 259200}}, labels)
	if r != nil {
		r.MustRegister(m.attempts, m.deliveries, m.breakers, m.duration, m.latency)
	}
	return m
}

// breaker counts a change of an endpoint's breaker.
func (m *metrics) breaker(endpoint string, open bool) {
	state := "closed"
	if open {
		state = "open"
	}
	m.breakers.WithLabelValues(endpoint, state).Inc()
}

// observe counts an outcome. One that came late ends nothing.
func (m *metrics) observe(o event.Outcome, late bool, now time.Time) {
	endpoint, outcome := o.Delivery.Endpoint, outcomes[o.Kind]
	var labels []string
	if m.labelled {
		labels = []string{endpoint}
	}
	if o.Attempt != nil {
		m.attempts.WithLabelValues(endpoint, outcome).Inc()
		m.duration.WithLabelValues(labels...).Observe(o.Attempt.Duration.Seconds())
	}
	if late || (o.Kind != event.Delivered && o.Kind != event.Dead) {
		return
	}
	m.deliveries.WithLabelValues(endpoint, outcome).Inc()
	if o.Kind == event.Delivered {
		m.latency.WithLabelValues(labels...).Observe(now.Sub(o.Delivery.Event.AcceptedAt).Seconds())
	}
}
