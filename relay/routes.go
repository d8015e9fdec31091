package relay

import (
	"kuairelay/relay/config"
	"kuairelay/relay/event"
	"kuairelay/relay/intake"
	"kuairelay/relay/route"
)

// routesOf is what a config makes of an event: the endpoints that its table leads to, and whether these keep the order of a waybill.
func routesOf(table *route.Table, tenants []config.Tenant) intake.Routes {
	order := ordered(tenants)
	return func(e *event.Event) []event.Candidate {
		found := table.Match(e, nil)
		out := make([]event.Candidate, len(found))
		for i, c := range found {
			out[i] = event.Candidate{Endpoint: c.ID, When: c.When, Ordered: order[c.ID]}
		}
		return out
	}
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
