package subscribe

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// catchUpWorkers is how many tenants' waybills are caught up at one time. Tenants take turns in it.
const catchUpWorkers = 8

// catchUp queues the last known updates of waybills for a tenant, and returns the jobs that do it. A job that fails, or
// finds no room, is left to the sweeper.
func (p *Proxy) catchUp(tenant string, waybills []event.Waybill) (jobs []*job) {
	for _, w := range waybills {
		j := newJob(func(running context.Context) {
			// A catch-up that has begun is finished, even if the caller goes away.
			if err := p.o.CatchUp(context.WithoutCancel(running), tenant, w); err != nil {
				p.o.Logger.Error("catch-up failed", zap.String("tenant", tenant), zap.Error(err))
			}
		})
		if p.catchUps.put(tenant, j) {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// await waits until jobs are done, or until ctx ends.
func await(ctx context.Context, jobs []*job) {
	for _, j := range jobs {
		select {
		case <-j.done:
		case <-ctx.Done():
			return
		}
	}
}

// sweep takes over unfinished work: its replica was killed, or the queue was full. Waybills that are to be asked for
// again, because kuaidihelp had no record of them, are such work when they are due. It begins all jobs of one page
// before it takes the next, so that other replicas can take the rest, and little is delayed if this replica is killed.
func (p *Proxy) sweep(ctx context.Context) {
	const most = 100
	tick := time.NewTicker(p.o.SweepEvery)
	defer tick.Stop()
	for {
		todo, err := p.o.Store.TakeOver(ctx, most)
		if err != nil && ctx.Err() == nil {
			p.metrics.sweepErrors.Inc() // the next call reports that Redis is down
		}

		brands := map[string][]event.Waybill{} // to ask kuaidihelp for
		behind := map[string][]event.Waybill{} // to catch tenants up with
		var jobs []*job
		for _, t := range todo {
			switch {
			case t.Loss != nil:
				if j := p.tell(*t.Loss); j != nil {
					jobs = append(jobs, j)
				}
			case t.Tenant == "":
				brands[t.CPCode] = append(brands[t.CPCode], t.Waybill)
			default:
				behind[t.Tenant] = append(behind[t.Tenant], t.Waybill)
			}
		}

		for tenant, ws := range behind {
			jobs = append(jobs, p.catchUp(tenant, ws)...)
		}
		await(ctx, jobs)
		p.takeOver(ctx, brands)

		// After a full page there is more, which is taken at once.
		if len(todo) >= most && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// takeOver asks the provider for waybills, by brand, and returns when the last of these calls has begun.
func (p *Proxy) takeOver(ctx context.Context, brands map[string][]event.Waybill) {
	if p.current.Load().Upstream == nil {
		return
	}
	begun := make(chan struct{})
	close(begun)
	for _, ws := range brands {
		for part := range slices.Chunk(ws, kuaidihelp.MaxPerCall) {
			begins := make(chan struct{})
			j := newJob(func(running context.Context) {
				close(begins)
				p.ask(running, newToken(), part)
			})
			if p.calls.put(sweeper, j) {
				begun = begins // jobs of one queue begin in their order
			}
		}
	}
	select {
	case <-begun:
	case <-ctx.Done():
	}
}

// sweeper is the tenant whose queue has the work that was taken over.
const sweeper = ""
