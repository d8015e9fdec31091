package relay

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/store"
)

// shareEvery is how often replicas tell each other, through Redis, when kuaidihelp last called.
const shareEvery = 10 * time.Second

// heartbeat knows when kuaidihelp last called any of the replicas, and logs when that is too long ago.
type heartbeat struct {
	store  *store.Store
	log    *zap.Logger
	began  time.Time    // counts as a call until there is one
	after  atomic.Int64 // ns without a call; 0: for ever
	last   atomic.Int64 // unix ms of the latest call that is known; 0: none
	silent atomic.Bool  // as it was logged

	lastDesc, silentDesc *prometheus.Desc
}

func newHeartbeat(s *store.Store, log *zap.Logger) *heartbeat {
	return &heartbeat{store: s, log: log, began: s.Now(),
		lastDesc: prometheus.NewDesc("kuairelay_last_callback_timestamp_seconds",
			"Unix time of the latest callback with the right token and address, at any replica; 0 if none is known.", nil, nil),
		silentDesc: prometheus.NewDesc("kuairelay_provider_silent",
			"1 if no such callback has come for longer than callback.silence: kuaidihelp is silent.", nil, nil)}
}

// use sets the span without a callback after which kuaidihelp is silent; 0: it never is.
func (h *heartbeat) use(after time.Duration) { h.after.Store(int64(after)) }

// heard notes a callback that came now.
func (h *heartbeat) heard() { h.raise(h.store.Now()) }

func (h *heartbeat) raise(t time.Time) {
	ms := t.UnixMilli()
	for {
		last := h.last.Load()
		if last >= ms || h.last.CompareAndSwap(last, ms) {
			return
		}
	}
}

// state returns when the latest callback came (zero: none is known), and whether that is too long ago.
func (h *heartbeat) state() (last time.Time, silent bool) {
	since := h.began
	if ms := h.last.Load(); ms > 0 {
		last = time.UnixMilli(ms)
		since = last
	}
	after := time.Duration(h.after.Load())
	return last, after > 0 && h.store.Now().Sub(since) > after
}

// run shares the time with the other replicas, so that it also outlives the process, and logs when silence begins and
// ends.
func (h *heartbeat) run(ctx context.Context) {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	for {
		h.share(ctx)
		h.note()
		select {
		case <-ctx.Done():
			h.share(context.WithoutCancel(ctx))
			return
		case <-tick.C:
		}
	}
}

// share tells the other replicas, and learns from them. It does nothing if Redis cannot be reached: then each replica
// knows only its own callbacks.
func (h *heartbeat) share(ctx context.Context) {
	var mine time.Time
	if ms := h.last.Load(); ms > 0 {
		mine = time.UnixMilli(ms)
	}
	if last, err := h.store.LastCallback(ctx, mine); err == nil && !last.IsZero() {
		h.raise(last)
	}
}

func (h *heartbeat) note() {
	last, silent := h.state()
	if h.silent.Swap(silent) == silent {
		return
	}
	if silent {
		h.log.Warn("no callback from kuaidihelp for longer than callback.silence", zap.Time("last", last),
			zap.Duration("silence", time.Duration(h.after.Load())))
	} else {
		h.log.Info("callbacks are coming again")
	}
}

// Describe implements prometheus.Collector.
func (h *heartbeat) Describe(ch chan<- *prometheus.Desc) { ch <- h.lastDesc; ch <- h.silentDesc }

// Collect implements prometheus.Collector.
func (h *heartbeat) Collect(ch chan<- prometheus.Metric) {
	last, silent := h.state()
	v := 0.0
	if silent {
		v = 1
	}
	ch <- prometheus.MustNewConstMetric(h.lastDesc, prometheus.GaugeValue, unixSeconds(last))
	ch <- prometheus.MustNewConstMetric(h.silentDesc, prometheus.GaugeValue, v)
}
