package intake

import (
	"context"
	"errors"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/queue"
)

// Routes returns the endpoints that an event may be owed to, and under which conditions. It does no I/O. It takes as
// long as the expressions of tenants, which are bounded for each event.
type Routes func(*event.Event) []queue.Candidate

// routing is the routes in use, with the name of the config that they are of.
type routing struct {
	routes Routes
	config string
}

// Use replaces the routes. config names the config that they are of, for the events that are matched by them.
func (in *Intake) Use(routes Routes, config string) { in.routing.Store(&routing{routes, config}) }

// Match returns the endpoints that an event may be owed to by the routes in use.
func (in *Intake) Match(e *event.Event) []queue.Candidate { return in.routing.Load().routes(e) }

// match does that for many events, all by the same routes, and notes the config with each.
func (in *Intake) match(events []*event.Event) []queue.Routed {
	now := in.routing.Load()
	routed := make([]queue.Routed, len(events))
	for i, e := range events {
		e.Config = now.config
		routed[i] = queue.Routed{Event: e, To: now.routes(e)}
	}
	return routed
}

// accept makes routed events durable in Redis, and starts the attempts of the deliveries that Redis leases to this
// process. The others are attempted when they are due. tracked, if not nil, gets the results before the first attempt.
// After an error there may be results for a part of the events.
func (in *Intake) accept(ctx context.Context, routed []queue.Routed,
	tracked func([]queue.Accepted)) ([]queue.Accepted, error) {
	// If a slot is free for a delivery, the script that accepts the event also leases the delivery to this process.
	pool := in.o.Pool
	reserved := make(map[string]int) // slots, by endpoint
	for _, r := range routed {
		for i := range r.To {
			to := &r.To[i]
			to.Slot = pool.Reserve(to.Endpoint)
			to.Lease = pool.Lease(to.Endpoint)
			if to.Slot {
				reserved[to.Endpoint]++
			}
		}
	}

	accepted, err := in.o.Store.Accept(ctx, routed)
	if tracked != nil {
		tracked(accepted)
	}

	var leased []*event.Delivery
	for _, x := range accepted {
		leased = append(leased, x.Leased...)
		for _, endpoint := range x.Queued {
			pool.Feed(endpoint)
		}
	}
	pool.Start(reserved, leased)
	return accepted, err
}

// Hear keeps what the provider has answered when it was asked how a waybill stands, like a callback: body is that of
// one. It returns whether that is news; if Redis does not take it in time, this is not known, and it says false. With
// dryRun it keeps nothing.
func (in *Intake) Hear(ctx context.Context, body []byte, dryRun bool) (isNew bool, err error) {
	now := time.Now()
	cb := &event.Callback{
		ID: event.NewCallbackID(now), ReceivedAt: now, From: event.FromQuery, Replica: in.o.Replica,
		Headers: map[string]string{"Content-Type": "application/json"}, Body: body,
	}
	parsed, more := in.Parse(cb)
	if !dryRun {
		sum, err := in.Keep(ctx, cb, parsed, more)
		return sum.New > 0, err
	}

	for _, e := range parsed.Events {
		_, known, err := in.o.Store.EventWithoutData(ctx, e.ID, "")
		if err != nil {
			return false, err
		}
		isNew = isNew || !known
	}
	return isNew, nil
}

// errBehind says that an older update of the waybill is still in the spool.
var errBehind = errors.New("an update of the waybill is still in the spool")

// Tell accepts an event that the relay itself has made of a waybill (event.Own). Of the endpoints that the routes lead
// to, it is owed to those of tenants that have subscribed the waybill; if there are none, it is not accepted. The same
// event again is a duplicate.
func (in *Intake) Tell(ctx context.Context, e *event.Event) error {
	if err := in.o.Store.Available(); err != nil {
		return err
	}
	if in.spool.Touches([]string{e.WaybillCode}) {
		return errBehind
	}

	routed := in.match([]*event.Event{e})[0]
	tenants := make([]string, len(routed.To))
	for i, c := range routed.To {
		tenants[i], _, _ = strings.Cut(c.Endpoint, "/")
	}
	subscribed, err := in.o.Store.SubscribedBy(ctx, event.Waybill{CPCode: e.CPCode, Code: e.WaybillCode}, tenants)
	if err != nil {
		return err
	}
	var to []queue.Candidate
	for i, c := range routed.To {
		if subscribed[i] {
			to = append(to, c)
		}
	}
	if len(to) == 0 {
		return nil
	}

	// Nobody waits for it, so it takes no slot: the pool leases it as what is due.
	routed.To = to
	accepted, err := in.o.Store.Accept(ctx, []queue.Routed{routed})
	for _, x := range accepted {
		for _, endpoint := range x.Queued {
			in.o.Pool.Feed(endpoint)
		}
	}
	return err
}

// CatchUp queues the last known update of a waybill for those endpoints of a tenant that its routes lead to, and that
// have not got it. The tenant has just subscribed, and knows of no earlier status, so the conditions "subscribed" and
// "changed" hold.
func (in *Intake) CatchUp(ctx context.Context, tenant string, w event.Waybill) error {
	const tries = 20 // one is needed for each newer update that comes in between
	for range tries {
		last, _, err := in.o.Store.Latest(ctx, w) // without one, the ledger only notes that the tenant is caught up
		if err != nil {
			return err
		}

		to := in.catchUpFor(tenant, last)
		done, err := in.o.Store.CatchUp(ctx, tenant, w, last, to)
		if err != nil {
			return err
		}
		if done.Stale {
			continue
		}

		if done.Queued > 0 {
			for _, c := range to {
				in.o.Pool.Feed(c.Endpoint)
			}
		}
		return nil
	}
	return errTooFast
}

// catchUpFor returns the endpoints of a tenant that an event is owed to if all conditions hold; none without an event.
func (in *Intake) catchUpFor(tenant string, last *event.Event) (to []queue.Candidate) {
	if last == nil {
		return nil
	}
	for _, c := range in.Match(kuaidihelp.Reread(*last)) {
		owner, _, _ := strings.Cut(c.Endpoint, "/")
		if owner == tenant {
			to = append(to, queue.Candidate{Endpoint: c.Endpoint, Ordered: c.Ordered})
		}
	}
	return to
}
