package relay

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

const (
	// replaySends bounds the deliveries that one script call queues, replayEvents the events of one page.
	replaySends  = 64
	replayEvents = 50
	// replayWait is how long a delivery that is sent again waits for a slot. Where none gets free for so long, it is queued as any other.
	replayWait = 2 * time.Second
)

// workOff sends a replay that was taken up page by page, to its end, or until others wait for its place.
func (r *replayer) workOff(ctx context.Context, replay *event.Replay) error {
	taken := time.Now()
	defer r.store.LetGoReplay(context.WithoutCancel(ctx), replay.ID)
	plan, err := api.PlanOf(*replay, r.endpoints)
	if err != nil {
		_, err = r.store.CancelReplay(ctx, replay.ID) // of another version: it would never end
		return err
	}
	r.log.Info("replay", zap.String("id", replay.ID), zap.String("state", "taken up"))
	plan.Query.Most = min(replayEvents, max(1, plan.Rate/100)) // often a few, rather than many that what is new waits behind
	for began := taken; ctx.Err() == nil && !r.isOver(taken); {
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
func (r *replayer) send(ctx context.Context, id string, plan api.Plan, page event.Page) (mine bool, err error) {
	// A part of the page moves the replay on behind the last event of which it has all deliveries.
	part := resend{}
	defer func() { r.pool.Start(part.reserved, nil) }() // after an error, what was reserved for nothing
	flush := func() (bool, error) {
		sent := part
		part = resend{}
		page.Looked -= sent.Looked
		return r.queue(ctx, id, sent)
	}
	for _, e := range page.Events {
		sends, err := r.wanted(ctx, plan, e)
		if err != nil {
			return false, err
		}
		matched := len(sends) > 0
		if plan.DryRun {
			part.Counted += len(sends)
			sends = nil
		}
		for _, s := range sends {
			if part.full() {
				if mine, err := flush(); err != nil || !mine {
					return false, err
				}
			}
			slot := r.pool.ReserveSome(s.Endpoint)
			if !slot && len(part.Resends) > 0 { // what holds slots goes first
				if mine, err := flush(); err != nil || !mine {
					return false, err
				}
			}
			if !slot {
				slot = r.slot(ctx, s.Endpoint)
			}
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if r.pool.Lease(s.Endpoint) == 0 {
				continue // a reload has taken the endpoint out of the config
			}
			if slot && !r.pool.Rated(s.Endpoint) { // else it is leased when its turn comes
				s.Lease = r.pool.Lease(s.Endpoint)
			}
			part.add(s, slot)
		}
		part.Cursor = e.Next
		part.Looked++
		if matched {
			part.Matched++
		}
	}
	part.Cursor, part.Looked, part.Done = page.Next, page.Looked, page.End
	return flush()
}

// slot waits for a slot of an endpoint. There is none to wait for if a reload has taken the endpoint out of the config.
func (r *replayer) slot(ctx context.Context, endpoint string) bool {
	for began := time.Now(); time.Since(began) < replayWait && r.pool.Lease(endpoint) > 0; {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(2 * time.Millisecond):
		}
		if r.pool.ReserveSome(endpoint) {
			return true
		}
	}
	return false
}

// queue queues some deliveries again, those that a slot is reserved for leased to us.
func (r *replayer) queue(ctx context.Context, id string, part resend) (mine bool, err error) {
	leased, mine, err := r.store.ReplayPage(ctx, id, part.ReplayPage)
	r.pool.Start(part.reserved, leased)
	for _, s := range part.Resends {
		if s.Lease == 0 {
			r.pool.Feed(s.Endpoint)
		}
	}
	return mine, err
}

// wanted lists the deliveries of an event that a replay sends.
func (r *replayer) wanted(ctx context.Context, plan api.Plan, e *event.Stored) (out []event.Resend, err error) {
	if !plan.Reroute {
		for _, o := range e.Deliveries {
			if plan.Wants(o) && r.pool.Lease(o.Endpoint) > 0 { // one that is in no config any more has nobody to send it
				out = append(out, event.Resend{EventID: e.ID, Endpoint: o.Endpoint})
			}
		}
		return out, nil
	}
	whole, err := r.store.Event(ctx, e.ID, "")
	if err != nil || whole == nil {
		return nil, err
	}
	for _, c := range r.match(kuaidihelp.Reread(whole.Event)) {
		owed := c.When&(event.Always|event.IfChanged) != 0
		if !owed {
			tenant, _, _ := strings.Cut(c.Endpoint, "/")
			if _, owed, err = r.store.Subscription(ctx, tenant, event.Waybill{CPCode: e.CPCode, Code: e.WaybillCode}); err != nil {
				return nil, err
			}
		}
		if owed && plan.Wants(event.Owed{Endpoint: c.Endpoint}) {
			out = append(out, event.Resend{EventID: e.ID, Endpoint: c.Endpoint, Add: true})
		}
	}
	return out, nil
}
