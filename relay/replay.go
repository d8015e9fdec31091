package relay

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/console"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/store"
)

const (
	// replayLook is how often a replica looks for replays that nobody works off.
	replayLook = 2 * time.Second
	// replaySends bounds the deliveries that one script call queues, replayEvents the events of one page.
	replaySends  = 256
	replayEvents = 50
	// replayWait is how long a replay waits for a slot before it says that it is still at work.
	replayWait = 2 * time.Second
)

// replayer works off replays, one at a time: it hands what is sent again to the pool from memory, in a small share of the slots, so
// that nothing new waits behind it. Where it is, the store knows.
type replayer struct {
	store    *store.Store
	pool     *deliver.Pool
	acceptor *acceptor // for its routes
	// endpoints lists those of a tenant.
	endpoints func(tenant string) []string
	log       *zap.Logger
}

func (r *replayer) run(ctx context.Context) {
	tick := time.NewTicker(replayLook)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.workOff(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != last {
			r.log.Error("the store failed", zap.String("doing", "replay"), zap.Error(err))
		}
		if last = ""; err != nil {
			last = err.Error()
		}
	}
}

// workOff takes a replay that nobody else works off, if there is one, and sends it page by page to its end.
func (r *replayer) workOff(ctx context.Context) error {
	replay, err := r.store.ClaimReplay(ctx)
	if err != nil || replay == nil {
		return err
	}
	defer r.store.LetGoReplay(context.WithoutCancel(ctx), replay.ID)
	plan, err := console.PlanOf(*replay, r.endpoints)
	if err != nil {
		_, err = r.store.CancelReplay(ctx, replay.ID) // of another version: it would never end
		return err
	}
	r.log.Info("replay", zap.String("id", replay.ID), zap.String("state", "taken up"))
	plan.Query.Most = min(replayEvents, max(1, plan.Rate/100)) // often a few, rather than many that what is new waits behind
	for began := time.Now(); ctx.Err() == nil; {
		page, err := r.store.Events(ctx, plan.Query)
		if err != nil {
			return err
		}
		mine, err := r.send(ctx, replay.ID, plan, page)
		if err != nil || !mine {
			return err
		}
		if page.End {
			r.log.Info("replay", zap.String("id", replay.ID), zap.String("state", "done"))
			return nil
		}
		plan.Query.Cursor = page.Next
		if !plan.DryRun { // no faster than asked, over any length of time
			began = began.Add(time.Duration(len(page.Events)) * time.Second / time.Duration(max(1, plan.Rate)))
			if ahead := time.Until(began); ahead > 0 {
				select {
				case <-ctx.Done():
				case <-time.After(ahead):
				}
			} else {
				began = time.Now()
			}
		}
	}
	return nil
}

// send sends a page. It says whether the replay is still ours.
func (r *replayer) send(ctx context.Context, id string, plan console.Plan, page event.Page) (mine bool, err error) {
	// A part of the page moves the replay on behind the last event of which it has all deliveries.
	part := event.ReplayPage{}
	defer func() { r.pool.Start(slots(part), nil) }() // after an error, what was reserved for nothing
	flush := func() (bool, error) {
		sent := part
		part = event.ReplayPage{}
		page.Looked -= sent.Looked
		return r.queue(ctx, id, sent)
	}
	for _, e := range page.Events {
		sends, err := r.wanted(ctx, plan, e)
		if err != nil {
			return false, err
		}
		if plan.DryRun {
			part.Counted += len(sends)
		}
		for _, s := range sends {
			if plan.DryRun {
				break
			}
			if len(part.Resends) == replaySends {
				if mine, err := flush(); err != nil || !mine {
					return false, err
				}
			}
			for began := time.Now(); !r.pool.ReserveSome(s.Endpoint); {
				if len(part.Resends) == 0 && time.Since(began) < replayWait {
					select {
					case <-ctx.Done():
						return false, ctx.Err()
					case <-time.After(2 * time.Millisecond):
					}
					continue
				}
				// What holds slots goes first; and a replay that does nothing for long says that it is still at work.
				if mine, err := flush(); err != nil || !mine {
					return false, err
				}
				began = time.Now()
			}
			if !r.pool.Rated(s.Endpoint) { // else it is leased when its turn comes
				s.Lease = r.pool.Lease(s.Endpoint)
			}
			part.Resends = append(part.Resends, s)
		}
		part.Cursor = e.Next
		part.Looked++
		if len(sends) > 0 {
			part.Matched++
		}
	}
	part.Cursor, part.Looked, part.Done = page.Next, page.Looked, page.End
	return flush()
}

// queue queues some deliveries again, each leased to us in a slot that is reserved for it.
func (r *replayer) queue(ctx context.Context, id string, page event.ReplayPage) (mine bool, err error) {
	leased, mine, err := r.store.ReplayPage(ctx, id, page)
	r.pool.Start(slots(page), leased)
	return mine, err
}

// slots counts those that are reserved for a part of a replay, by endpoint.
func slots(page event.ReplayPage) map[string]int {
	reserved := make(map[string]int)
	for _, s := range page.Resends {
		reserved[s.Endpoint]++
	}
	return reserved
}

// wanted lists the deliveries of an event that a replay sends.
func (r *replayer) wanted(ctx context.Context, plan console.Plan, e *event.Stored) (out []event.Resend, err error) {
	if !plan.Reroute {
		for _, o := range e.Deliveries {
			if plan.Wants(o) && r.pool.Lease(o.Endpoint) > 0 { // one that is in no config any more has nobody to send it
				out = append(out, event.Resend{EventID: e.ID, Endpoint: o.Endpoint})
			}
		}
		return out, nil
	}
	whole, err := r.store.Event(ctx, e.ID)
	if err != nil || whole == nil {
		return nil, err
	}
	for _, c := range r.acceptor.routing.Load().table.Match(reread(whole.Event), nil) {
		owed := c.When&(event.Always|event.IfChanged) != 0
		if !owed {
			tenant, _, _ := strings.Cut(c.ID, "/")
			if _, owed, err = r.store.Subscription(ctx, tenant, event.Waybill{CPCode: e.CPCode, Code: e.WaybillCode}); err != nil {
				return nil, err
			}
		}
		if owed && plan.Wants(event.Owed{Endpoint: c.ID}) {
			out = append(out, event.Resend{EventID: e.ID, Endpoint: c.ID, Add: true})
		}
	}
	return out, nil
}
