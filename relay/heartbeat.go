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

// heartbeat knows when kuaidihelp last called any of the replicas, and logs when that is too long ago. It also tells
// the other replicas, and who asks them, how this one does.
type heartbeat struct {
	store  *store.Store
	log    *zap.Logger
	id     string       // of this replica
	began  time.Time    // counts as a call until there is one
	after  atomic.Int64 // ns without a call; 0: for ever
	last   atomic.Int64 // unix ms of the latest call that is known; 0: none
	own    atomic.Int64 // the same, of the calls to this replica
	silent atomic.Bool  // as it was logged
	calls  callRate
	// describe says how this replica does, in the fields of replicas.go.
	describe func() map[string]string

	lastDesc, silentDesc *prometheus.Desc
}

func newHeartbeat(s *store.Store, log *zap.Logger) *heartbeat {
	return &heartbeat{store: s, log: log, id: newReplicaID(), began: s.Now(),
		lastDesc: prometheus.NewDesc("kuairelay_last_callback_timestamp_seconds",
			"Unix time of the latest callback with the right token and address, at any replica; 0 if none is known.", nil, nil),
		silentDesc: prometheus.NewDesc("kuairelay_provider_silent",
			"1 if no such callback has come for longer than callback.silence: kuaidihelp is silent.", nil, nil)}
}

// use sets the span without a callback after which kuaidihelp is silent; 0: it never is.
func (h *heartbeat) use(after time.Duration) { h.after.Store(int64(after)) }

// heard notes a callback that came now.
func (h *heartbeat) heard() {
	now := h.store.Now()
	raise(&h.last, now)
	raise(&h.own, now)
	h.calls.count.Add(1)
}

// raise moves a time (unix ms) on to a later one.
func raise(at *atomic.Int64, t time.Time) {
	ms := t.UnixMilli()
	for {
		last := at.Load()
		if last >= ms || at.CompareAndSwap(last, ms) {
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

// silentSince is when kuaidihelp began to be silent, if it is.
func (h *heartbeat) silentSince() time.Time {
	since := h.began
	if ms := h.last.Load(); ms > 0 {
		since = time.UnixMilli(ms)
	}
	return since.Add(time.Duration(h.after.Load()))
}

// run shares the time with the other replicas, so that it also outlives the process, and how this replica does, and
// logs when silence begins and ends.
func (h *heartbeat) run(ctx context.Context) {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	for {
		h.share(ctx)
		h.calls.tick(time.Now())
		_ = h.store.Beat(ctx, h.id, h.describe()) // while Redis is down, nobody can be told
		h.note()
		select {
		case <-ctx.Done():
			last := context.WithoutCancel(ctx)
			h.share(last)
			_ = h.store.Beat(last, h.id, nil) // or it is forgotten after a minute
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
		raise(&h.last, last)
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
