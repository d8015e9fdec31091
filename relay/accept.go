package relay

import (
	"context"
	"sync/atomic"

	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/route"
	"kuairelay/relay/store"
)

// acceptor takes events from a callback to where they are durable, and on to the pool.
type acceptor struct {
	store   *store.Store
	pool    *deliver.Pool
	routing atomic.Pointer[routing]
}

// routing is what a config makes of an event.
type routing struct {
	table   *route.Table
	ordered map[string]bool // by endpoint
}

// accept finds the endpoints that events may be owed to, reserves a slot for each delivery where there is room, and accepts the
// events: what the store leases to us is attempted at once, the rest when it is due. before, if there is one, is told what
// became of them before the first attempt. After an error the answers to a part may be there.
func (a *acceptor) accept(ctx context.Context, events []*event.Event, before func([]store.Accepted)) ([]store.Accepted, error) {
	now := a.routing.Load()
	entries := make([]store.Entry, len(events))
	reserved := make(map[string]int)
	var found []route.Candidate
	for i, e := range events {
		found = now.table.Match(e, found[:0])
		to := make([]store.Candidate, len(found))
		for j, c := range found {
			to[j] = store.Candidate{Endpoint: c.ID, When: c.When, Ordered: now.ordered[c.ID], Slot: a.pool.Reserve(c.ID), Lease: a.pool.Lease(c.ID)}
			if to[j].Slot {
				reserved[c.ID]++
			}
		}
		entries[i] = store.Entry{Event: e, To: to}
	}
	accepted, err := a.store.Accept(ctx, entries)
	if before != nil {
		before(accepted)
	}
	var leased []*event.Delivery
	for _, x := range accepted {
		leased = append(leased, x.Leased...)
		for _, name := range x.Queued {
			a.pool.Feed(name)
		}
	}
	a.pool.Start(reserved, leased)
	return accepted, err
}

// rules turns the routes of the config into those of the table.
func rules(tenants []config.Tenant) []route.Rule {
	var out []route.Rule
	for _, t := range tenants {
		for _, r := range t.Routes {
			rule := route.Rule{Tenant: r.Tenant, To: r.To, When: r.When, Pos: r.Pos.String()}
			if m := r.Match; m != nil {
				rule.Match = route.Match{Type: m.Type, CPCode: m.CPCode, Status: m.Status, WaybillCode: m.WaybillCode, Changed: m.Changed, Subscribed: m.Subscribed}
			}
			out = append(out, rule)
		}
	}
	return out
}
