package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kuairelay/relay/event"
)

// janitor ends what would stay open for ever: deliveries to endpoints that no replica has had in its config for the orphan
// grace, and those of parked endpoints that are past max_age.
type janitor struct {
	pool *Pool
	// aged is when the deliveries of a parked endpoint were last looked through for their age.
	aged map[string]time.Time
}

func (j *janitor) run(ctx context.Context) {
	every := min(time.Minute, max(100*time.Millisecond, j.pool.o.OrphanGrace/10))
	for _, e := range j.pool.endpoints {
		every = min(every, e.ageCheck())
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	store := complaints{log: j.pool.log}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			store.about("end old deliveries", j.sweep(ctx))
		}
	}
}

// ageCheck is how often a parked endpoint's deliveries are looked through: all of them each time, so not too often.
func (e *endpoint) ageCheck() time.Duration {
	if e.Policy.MaxAge == 0 {
		return time.Hour
	}
	return min(time.Hour, max(time.Second, e.Policy.MaxAge/100))
}

func (j *janitor) sweep(ctx context.Context) error {
	p := j.pool
	parked, err := p.o.Store.Parked(ctx)
	if err != nil {
		return err
	}
	orphans, err := j.orphans(ctx, parked)
	for _, name := range orphans {
		reason := fmt.Sprintf("no replica has had the endpoint in its config for %s", p.o.OrphanGrace)
		err = errors.Join(err, j.giveUp(ctx, event.Ask{Endpoint: name, Lease: time.Minute, Parked: true}, reason))
	}
	for name := range parked {
		e := p.endpoints[name]
		if e == nil || e.Policy.MaxAge == 0 || time.Since(j.aged[name]) < e.ageCheck() {
			continue
		}
		j.aged[name] = time.Now()
		ask := event.Ask{Endpoint: name, Lease: e.lease(), Parked: true, OpenBefore: p.o.Store.Now().Add(-e.Policy.MaxAge)}
		err = errors.Join(err, j.giveUp(ctx, ask, e.Policy.expiry()))
	}
	return err
}

// orphans returns the endpoints with open deliveries that nobody has known for the grace.
func (j *janitor) orphans(ctx context.Context, parked map[string]string) ([]string, error) {
	p := j.pool
	unknown := make(map[string]bool)
	for name := range parked {
		unknown[name] = true
	}
	const farAhead = 10 * 365 * 24 * time.Hour
	for offset := 0; ; offset += duePage {
		page, err := p.o.Store.Due(ctx, farAhead, offset, duePage)
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			unknown[d.Endpoint] = true
		}
		if len(page) < duePage {
			break
		}
	}
	var names []string
	for name := range unknown {
		if p.endpoints[name] == nil {
			names = append(names, name)
		}
	}
	return p.o.Store.Orphans(ctx, names, p.o.OrphanGrace)
}

// giveUp makes dead letters of what the ask leases, until there is no more of it. What comes due meanwhile, because its
// predecessor was given up, is found at the end.
func (j *janitor) giveUp(ctx context.Context, ask event.Ask, reason string) error {
	ask.Most = 100
	for ctx.Err() == nil {
		ds, looked, err := j.pool.o.Store.Lease(ctx, []event.Ask{ask})
		if err != nil {
			return err
		}
		for _, d := range ds {
			o := event.Outcome{Delivery: d, Kind: event.Dead, Reason: reason}
			settled, err := j.pool.o.Store.Settle(ctx, o)
			j.pool.report(o, settled, err)
			if err != nil {
				return err
			}
		}
		if looked[0].N < ask.Most && len(ds) == 0 {
			return nil
		}
		ask.From = looked[0].Next
	}
	return nil
}
