package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// warnings finds what is legal, but surely not meant: routes that add nothing, endpoints that no route leads to,
// tenants without endpoints, secrets that two endpoints share, settings without effect, bodies that travel unencrypted,
// and hosts that no delivery can go to.
func warnings(c *Config) []found {
	w := &warner{config: c, secrets: map[Secret]*Endpoint{}}
	for _, t := range c.Tenants {
		if len(t.Endpoints) == 0 {
			w.warn(t.Pos, "tenant %s has no endpoints: it receives nothing", t.Name)
		}

		w.apiKeys(t)
		w.watch(t)
		routed := w.routes(t)
		for i := range t.Endpoints {
			e := &t.Endpoints[i]
			if !routed[e.ID] {
				w.warn(e.Pos, "no route leads to endpoint %s", e.ID)
			}
			w.endpoint(e)
		}
	}
	return w.all
}

// warner gathers warnings.
type warner struct {
	all     []found
	config  *Config
	secrets map[Secret]*Endpoint // the first endpoint that has each
}

func (w *warner) warn(pos Position, format string, args ...any) {
	w.all = append(w.all, found{Mistake: newMistake(pos, format, args...)})
}

// routes warns of a tenant's routes, and returns the endpoints that they lead to.
func (w *warner) routes(t Tenant) map[string]bool {
	routed := map[string]bool{}

	// It begins with the last one, so that the first of several routes that say the same stays.
	needed := slices.Clone(t.Routes)
	for _, r := range slices.Backward(t.Routes) {
		rest := slices.DeleteFunc(slices.Clone(needed), func(o Route) bool { return o.Index == r.Index })
		if other := covering(r, rest); other != nil {
			needed = rest
			w.warn(r.Pos, "route adds nothing: the one in line %d already sends these events to %s", other.Pos.Line, r.To[0])
		}
		if r.Match != nil && r.Match.Subscribed && len(t.APIKeys) == 0 {
			w.warn(r.Pos, "route is for waybills that tenant %s has subscribed, but it has no api_keys to subscribe with",
				t.Name)
		}
		for _, id := range r.To {
			routed[id] = true
		}
	}
	return routed
}

// watch warns of what a tenant wants to be told, but never is.
func (w *warner) watch(t Tenant) {
	watched := []struct {
		on        bool
		key, name string
	}{
		{t.Watch.NotCollected > 0, "not_collected", "waybill.not_collected"},
		{t.Watch.Stalled > 0, "stalled", "waybill.stalled"},
		{t.Watch.NotPickedUp > 0, "not_picked_up", "waybill.not_picked_up"},
		{t.Watch.Lost, "lost", "subscription.lost"},
	}
	for _, x := range watched {
		if !x.on || len(t.Routes) == 0 {
			continue
		}
		if !slices.ContainsFunc(t.Routes, func(r Route) bool { return r.passesOwn(x.name) }) {
			w.warn(t.Pos, "watch.%s: no route of tenant %s passes %s: add one with match: {type: %s}, or without a match",
				x.key, t.Name, x.name, x.name)
		}
	}
	if len(t.APIKeys) == 0 && (t.Watch != Watch{}) {
		w.warn(t.Pos, "watch is for waybills that tenant %s has subscribed, but it has no api_keys to subscribe with", t.Name)
	}
}

// passesOwn says whether a route may pass what the relay says of a waybill, which has no status.
func (a Route) passesOwn(typ string) bool {
	m := a.Match
	if m == nil {
		return true
	}
	passes := func(pattern string) bool {
		form := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
		ok, err := regexp.MatchString("^"+form+"$", typ)
		return ok || err != nil
	}
	return len(m.Status) == 0 && m.Changed == "" && (len(m.Type) == 0 || slices.ContainsFunc(m.Type, passes))
}

// keyEndsSoon is how long before the end of an API key there is a warning.
const keyEndsSoon = 7 * 24 * time.Hour

// apiKeys warns of a tenant's keys that have ended, or end soon. When they end is not shown: it may be expanded.
func (w *warner) apiKeys(t Tenant) {
	for i, k := range t.APIKeys {
		what := fmt.Sprintf("API key %d of tenant %s", i+1, t.Name)
		if k.Name != "" {
			what += " (" + k.Name + ")"
		}

		left := time.Until(k.Until)
		switch {
		case k.Until.IsZero() || left > keyEndsSoon:
		case left > 0:
			w.warn(t.Pos, "%s ends within a week: give those who use it another", what)
		default:
			w.warn(t.Pos, "%s has ended, and lets nobody in any more: take it out", what)
		}
	}
}

// endsOf warns of the operator's tokens, or those of callbacks, that have ended, or end soon.
func (l *loading) endsOf(v value, keys []APIKey) {
	for i, k := range keys {
		if k.Until.IsZero() || time.Until(k.Until) > keyEndsSoon || i >= len(v.node.Content) {
			continue
		}
		item := v.child(v.node.Content[i], fmt.Sprintf("%s[%d]", v.path, i))
		if time.Until(k.Until) > 0 {
			item.warn("ends within a week: give those who use it another")
		} else {
			item.warn("has ended, and lets nobody in any more: take it out")
		}
	}
}

// endpoint warns of an endpoint's settings and secrets.
func (w *warner) endpoint(e *Endpoint) {
	if readable(e.URL) {
		w.warn(e.Pos, "endpoint %s has a plain http URL: its bodies can be read on the way", e.ID)
	}
	if w.unreachable(e) {
		w.warn(e.Pos, "endpoint %s has a private name as its host, but neither its allow_cidrs nor egress.allow_cidrs has "+
			"a network that it can be in: its deliveries become dead letters at their first attempt", e.ID)
	}
	if e.TLS != nil && strings.HasPrefix(e.URL, "http:") {
		w.warn(e.Pos, "endpoint %s has tls settings, but its url is http", e.ID)
	}

	for i, s := range e.Secrets {
		if first := w.secrets[s.Secret]; first == nil {
			w.secrets[s.Secret] = e
		} else if first != e {
			w.warn(e.Pos, "endpoint %s has the same secret as %s (%s): who holds it can sign for both",
				e.ID, first.ID, first.Pos)
		}
		if !s.Until.IsZero() && !time.Now().Before(s.Until) {
			w.warn(e.Pos, "secret %d of endpoint %s has ended, and signs no more: take it out", i+1, e.ID)
		}
	}
}

// readable says whether requests to the URL cross a network unencrypted.
func readable(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err != nil || !addr.Unmap().IsLoopback()
}

// privateNames are the top-level domains that exist in private networks only, as RFC 6761, 6762 and 8375, ICANN and
// Kubernetes have them. So are names without a dot.
var privateNames = []string{"internal", "local", "lan", "svc", "home.arpa", "localhost"}

// unreachable says whether the egress guard refuses the endpoint as far as its name tells. A proxy may know names that
// are not known here.
func (w *warner) unreachable(e *Endpoint) bool {
	u, err := url.Parse(e.URL)
	if err != nil || w.config.Egress.Proxy != "" {
		return false
	}
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}

	private := !strings.Contains(name, ".") ||
		slices.ContainsFunc(privateNames, func(domain string) bool { return strings.HasSuffix(name, "."+domain) })
	here := name == "localhost" || strings.HasSuffix(name, ".localhost")
	possible := func(p netip.Prefix) bool {
		if here {
			return p.Contains(netip.IPv6Loopback()) || p.Overlaps(netip.MustParsePrefix("127.0.0.0/8"))
		}
		return !p.Addr().IsLoopback()
	}
	return private && !slices.ContainsFunc(slices.Concat(e.AllowCIDRs, w.config.Egress.AllowCIDRs), possible)
}

// covering returns one of others if they together send r's endpoints all that r would. An endpoint gets an event
// once, whichever routes match it.
func covering(r Route, others []Route) *Route {
	var first *Route
	for _, id := range r.To {
		i := slices.IndexFunc(others, func(o Route) bool { return slices.Contains(o.To, id) && o.covers(r) })
		if i < 0 {
			return nil
		}

		if first == nil {
			first = &others[i]
		}
	}
	return first
}

// covers says whether every event that satisfies b satisfies a too. It may return false for routes where that is hard
// to see.
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
		(a.Match.Changed == "" || a.Match.Changed == b.Match.Changed) &&
		(!a.Match.Subscribed || b.Match.Subscribed)
}

// includes says whether a field that has one of the values b has one of a too. No values allow every value.
func includes(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == 0
	}
	return slices.Contains(a, "*") || !slices.ContainsFunc(b, func(v string) bool { return !slices.Contains(a, v) })
}
