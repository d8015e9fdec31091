package subscribe

import (
	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

type metrics struct {
	requests    *prometheus.CounterVec
	calls       *prometheus.CounterVec
	callTime    prometheus.Histogram
	credentials prometheus.GaugeFunc
	limited     prometheus.GaugeFunc
	sweepErrors prometheus.Counter
	lost        *prometheus.CounterVec
	stuck       *prometheus.CounterVec
	reconciled  *prometheus.CounterVec
	refreshed   *prometheus.CounterVec
}

// newMetrics makes the metrics. refused says whether kuaidihelp refuses the account's credentials, limited whether it
// answers that there are too many calls, or no credit.
func newMetrics(r prometheus.Registerer, refused, limited func() bool) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_subscribe_requests_total",
			Help: "Waybills that a tenant asked for, by result: subscribed, already, pending, failed; " +
				"and requests to subscribe that were turned away: limited, invalid, error.",
		}, []string{"tenant", "result"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_upstream_calls_total",
			Help: "Calls to kuaidihelp by its answer: success, no_record (of at least one of the waybills yet), refused, " +
				"credentials (the account's are refused), no_answer.",
		}, []string{"answer"}),
		callTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kuairelay_upstream_call_duration_seconds",
			Help:    "Duration of calls to kuaidihelp.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		credentials: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kuairelay_upstream_credentials_refused",
			Help: "1 if kuaidihelp refused the account's credentials at the last call.",
		}, func() float64 { return oneIf(refused()) }),
		limited: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kuairelay_upstream_limited",
			Help: "1 if kuaidihelp answered the last call with 1008, within 4 minutes: too many calls, or out of credit.",
		}, func() float64 { return oneIf(limited()) }),
		sweepErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kuairelay_subscribe_sweep_errors_total",
			Help: "Searches for unfinished subscriptions that failed.",
		}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_subscriptions_lost_total",
			Help: "Waybills that failed after kuaidihelp had no record of them, by the reason of the last answer: " +
				"no_record, refused, unanswered.",
		}, []string{"reason"}),
		stuck: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_subscriptions_stuck_total",
			Help: "Events that told tenants of a parcel that does not move, by what it was: not_collected, stalled, " +
				"not_picked_up.",
		}, []string{"kind"}),
		reconciled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_reconciled_total",
			Help: "Waybills that kuaidihelp was asked for because no callback came, by its answer: missed (news that no " +
				"callback had brought), unchanged, no_record, error.",
		}, []string{"result"}),
		refreshed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_refreshed_total",
			Help: "Waybills that kuaidihelp was asked for because a tenant asked with max_age how they stand, by its answer: " +
				"missed (news that no callback had brought), unchanged, no_record, error.",
		}, []string{"result"}),
	}

	// Each answer has a series from the start, so that its first call counts as an increase.
	for _, answer := range []string{"success", "no_record", "refused", "credentials", "no_answer"} {
		m.calls.WithLabelValues(answer)
	}
	for _, reason := range []ledger.Verdict{ledger.NoRecord, ledger.Refused, ledger.Unanswered} {
		m.lost.WithLabelValues(string(reason))
	}
	for _, result := range []string{"missed", "unchanged", "no_record", "error"} {
		m.reconciled.WithLabelValues(result)
		m.refreshed.WithLabelValues(result)
	}
	for _, typ := range []string{event.TypeNotCollected, event.TypeStalled, event.TypeNotPickedUp} {
		m.stuck.WithLabelValues(kindOf(typ))
	}
	if r != nil {
		r.MustRegister(m.requests, m.calls, m.callTime, m.credentials, m.limited, m.sweepErrors, m.lost, m.stuck,
			m.reconciled, m.refreshed)
	}
	return m
}

// oneIf is 1 if something is so, else 0.
func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
