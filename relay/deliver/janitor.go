package deliver

import (
	"context"
	"fmt"
	"time"

	"kuairelay/relay/event"
)

// janitor ends what would stay open for ever: deliveries to endpoints that no replica has had in its config for the orphan
// grace, and those of parked endpoints that are past max_age.
func (p *Pool) janitor(ctx context.Context) {
	every := min(time.Minute, max(100*time.Millisecond, p.o.OrphanGrace/10))
	for _, e := range p.endpoints {
		if e.Policy.MaxAge > 0 {
			every = min(every, max(time.Second, e.Policy.MaxAge/100))
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	store := complaints{log: p.log}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			store.about("end old deliveries", p.sweep(ctx))
		}
	}
}

func (p *Pool) sweep(ctx context.Context) error {
	parked, err := p.o.Store.Parked(ctx)
	if err != nil {
		return err
	}
	var unknown []string
	for name := range parked {
		e := p.endpoints[name]
		if e == nil {
			unknown = append(unknown, name)
			continue
		}
		if e.Policy.MaxAge > 0 {
			ask := event.Ask{Endpoint: name, Lease: e.lease(), Parked: true, AcceptedBefore: p.o.Store.Now().Add(-e.Policy.MaxAge)}
			if err := p.giveUp(ctx, ask, e.Policy.expiry()); err != nil {
				return err
			}
		}
	}
	const farAhead = 10 * 365 * 24 * time.Hour
	for offset := 0; ; offset += duePage {
		page, err := p.o.Store.Due(ctx, farAhead, offset, duePage)
		if err != nil {
			return err
		}
		for _, d := range page {
			if p.endpoints[d.Endpoint] == nil {
				unknown = append(unknown, d.Endpoint)
			}
		}
		if len(page) < duePage {
			break
		}
	}
	orphans, err := p.o.Store.Orphans(ctx, unknown, p.o.OrphanGrace)
	if err != nil {
		return err
	}
	for _, name := range orphans {
		reason := fmt.Sprintf("no replica has had the endpoint in its config for %s", p.o.OrphanGrace)
		if err := p.giveUp(ctx, event.Ask{Endpoint: name, Lease: time.Minute, Parked: true}, reason); err != nil {
			return err
		}
	}
	return nil
}

// giveUp makes dead letters of what the ask leases, until there is no more of it.
func (p *Pool) giveUp(ctx context.Context, ask event.Ask, reason string) error {
	ask.Most = 100
	for ctx.Err() == nil {
		ds, looked, err := p.o.Store.Lease(ctx, []event.Ask{ask})
		if err != nil {
			return err
		}
		for _, d := range ds {
			o := event.Outcome{Delivery: d, Kind: event.Dead, Reason: reason}
			settled, err := p.o.Store.Settle(ctx, o)
			p.report(o, settled, err)
			if err != nil {
				return err
			}
		}
		if looked[0] < ask.Most {
			return nil
		}
		// What was looked at, but not taken, is passed over.
		ask.Offset += looked[0] - len(ds)
	}
	return nil
}
