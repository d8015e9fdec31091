package config

import (
	"fmt"
	"slices"
)

// warnings are the routes that can never add anything, and the endpoints that no route leads to.
func warnings(tenants []Tenant) []Mistake {
	var all []found
	warn := func(pos Position, format string, args ...any) {
		all = append(all, found{Mistake: Mistake{pos, fmt.Sprintf(format, args...)}})
	}
	for _, t := range tenants {
		routed := map[string]bool{}
		for i, r := range t.Routes {
			if earlier := unreachable(r, t.Routes[:i]); earlier != nil {
				warn(r.Pos, "route adds nothing: the one in line %d already sends these events to %s", earlier.Pos.Line, r.To[0])
			}
			for _, id := range r.To {
				routed[id] = true
			}
		}
		for _, e := range t.Endpoints {
			if !routed[e.ID] {
				warn(e.Pos, "no route leads to endpoint %s", e.ID)
			}
		}
	}
	return inFileOrder(all)
}

// unreachable gives an earlier route if, for every endpoint of r, some earlier route sends it all that r would.
// An endpoint gets an event once, whichever routes match it.
func unreachable(r Route, earlier []Route) *Route {
	var first *Route
	for _, id := range r.To {
		i := slices.IndexFunc(earlier, func(e Route) bool { return slices.Contains(e.To, id) && e.covers(r) })
		if i < 0 {
			return nil
		}
		if first == nil {
			first = &earlier[i]
		}
	}
	return first
}

// covers is true if every event that satisfies b satisfies a too. It may be false for routes where that is hard to see.
func (a Route) covers(b Route) bool {
	if a.When != "" && a.When != b.When {
		return false
	}
	if a.Match == nil || b.Match == nil {
		return a.Match == nil
	}
	return includes(a.Match.Type, b.Match.Type) &&
		includes(a.Match.CPCode, b.Match.CPCode) &&
		includes(a.Match.Status, b.Match.Status) &&
		includes(a.Match.WaybillCode, b.Match.WaybillCode) &&
		(a.Match.Changed == "" || a.Match.Changed == b.Match.Changed)
}

// includes is true if a field that has one of the values b has one of a too. No values ask nothing.
func includes(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == 0
	}
	return slices.Contains(a, "*") || !slices.ContainsFunc(b, func(v string) bool { return !slices.Contains(a, v) })
}
