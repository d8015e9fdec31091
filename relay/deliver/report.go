package deliver

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"kuairelay/relay/logonce"
	"kuairelay/relay/queue"
)

// report logs and counts the outcome of an attempt. err is why it was not settled.
func (p *Pool) report(o queue.Outcome, settled queue.Settled, err error) {
	d := o.Delivery
	fields := append(make([]zap.Field, 0, 12), // all there may be
		zap.String("endpoint", d.Endpoint), zap.String("event", d.Event.ID), zap.String("waybill", d.Event.WaybillCode),
		zap.String("reason", string(d.Reason)), zap.String("outcome", outcomes[o.Kind]),
	)

	if a := o.Attempt; a != nil {
		fields = append(fields, zap.Int("attempt", d.Attempts+1), zap.Duration("took", a.Duration),
			zap.String("traceparent", a.Traceparent))
		if a.Err != "" {
			fields = append(fields, zap.String("error", a.Err))
		} else {
			fields = append(fields, zap.Int("status", a.Status))
		}
	}
	switch o.Kind {
	case queue.Retry:
		fields = append(fields, zap.Time("due", o.Due))
	case queue.Dead:
		fields = append(fields, zap.String("why", o.Reason))
	case queue.Gone:
		fields = append(fields,
			zap.String("why", "410: the endpoint is parked, and its deliveries stay open, until it is resumed"))
	}
	if settled.Late {
		fields = append(fields, zap.Bool("late", true))
	}

	switch {
	case err != nil:
		p.log.Error("outcome not settled: the delivery is tried again when its lease ends",
			append(fields, zap.Error(err))...)
	case o.Kind == queue.Dead || o.Kind == queue.Gone:
		p.log.Warn("attempt", fields...)
	default:
		p.log.Info("attempt", fields...)
	}

	now, ended := p.o.Store.Now(), err == nil && !settled.Late
	p.metrics.observe(o, ended, now)
	count(p.o.Stats, o, ended, now)
}

// reportBreaker logs and counts how an outcome changed its endpoint's breaker.
func (p *Pool) reportBreaker(e *endpoint, o queue.Outcome, b queue.BreakerChange) {
	p.metrics.breaker(e.name, b.Open)
	fields := []zap.Field{zap.String("endpoint", e.name)}
	if !b.Open {
		p.log.Info("breaker closed: the endpoint answers, and gets its open deliveries at a growing pace", fields...)
		return
	}
	fields = append(fields, zap.Time("until", b.Until), zap.Int("failed_probes", b.Probes))
	if o.Attempt != nil {
		fields = append(fields, zap.String("last", describe(*o.Attempt)))
	}
	if b.Probes == 0 {
		p.log.Warn("breaker opened: the endpoint keeps failing; its deliveries stay open", fields...)
	} else {
		p.log.Info("breaker stays open: the probe failed", fields...)
	}
}

// outcomes as logs and metrics name them.
var outcomes = map[queue.OutcomeKind]string{
	queue.Delivered: "delivered", queue.Retry: "retry", queue.Dead: "dead", queue.Gone: "gone", queue.Released: "released",
}

// complaints logs an error of the store once for each time that it changes, and says whether there was one. Trouble
// that the store knows of is told elsewhere.
type complaints struct {
	log    *zap.Logger
	latest logonce.Change[string]
}

func (c *complaints) about(doing string, err error) bool {
	var trouble interface{ Trouble() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return true
	case errors.As(err, &trouble):
		c.latest.To("")
		return true
	}

	changed := c.latest.To(logonce.Text(err))
	switch {
	case changed && err == nil:
		c.log.Info("the store answers again", zap.String("doing", doing))
	case changed:
		c.log.Error("the store failed", zap.String("doing", doing), zap.Error(err))
	}
	return err != nil
}
