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

// routed is what routes make of events: the endpoints that each may be owed to, by the config of that moment.
type routed struct {
	by *routing
	to [][]route.Candidate
}

// match finds the endpoints that events may be owed to. It takes as long as the expressions of tenants do, which is bounded
// for each event (route.Table), and asks nobody.
func (a *acceptor) match(events []*event.Event) routed {
	r := routed{by: a.routing.Load(), to: make([][]route.Candidate, len(events))}
	for i, e := range events {
		r.to[i] = r.by.table.Match(e, nil)
	}
	return r
}

// accept reserves a slot for each delivery where there is room, and accepts the events as they were routed:
// what the store leases to us is attempted at once, the rest when it is due. before, if there is one, is told what
// became of them before the first attempt. After an error the answers to a part may be there.
func (a *acceptor) accept(ctx context.Context, events []*event.Event, r routed, before func([]event.Accepted)) ([]event.Accepted, error) {
	entries := make([]event.Entry, len(events))
	reserved := make(map[string]int)
	for i, e := range events {
		to := make([]event.Candidate, len(r.to[i]))
		for j, c := range r.to[i] {
			to[j] = event.Candidate{Endpoint: c.ID, When: c.When, Ordered: r.by.ordered[c.ID], Slot: a.pool.Reserve(c.ID), Lease: a.pool.Lease(c.ID)}
			if to[j].Slot {
				reserved[c.ID]++
			}
		}
		entries[i] = event.Entry{Event: e, To: to}
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
			rule := route.Rule{Tenant: r.Tenant, To: r.To, When: r.When, WhenHidden: r.Expanded, Pos: r.Pos.String()}
			if m := r.Match; m != nil {
				rule.Match = matchOf(m)
				if m.Written != nil {
					written := matchOf(m.Written)
					rule.Written = &written
				}
			}
			out = append(out, rule)
		}
	}
	return out
}

func matchOf(m *config.Match) route.Match {
	return route.Match{Type: m.Type, CPCode: m.CPCode, Status: m.Status, WaybillCode: m.WaybillCode, Changed: m.Changed, Subscribed: m.Subscribed}
}
