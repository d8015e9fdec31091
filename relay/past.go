package relay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/route"
)

// Past is what is known of an event that a relay has accepted, and of its waybill: enough to say of a route what the store has
// decided then.
type Past struct {
	AcceptedAt time.Time
	CPCode     string
	// Sent are the endpoints that it is or was owed to.
	Sent []string
	// Wishes are the subscriptions of its waybill, of any brand. Nil: they are not known.
	Wishes []event.Subscription
	// Tenant is the only one of whom anything is known; empty: all are.
	Tenant string
}

// PastOf reads what the API tells of an event and its waybill. A tenant is told of its own things only.
func PastOf(e api.Event, all api.Waybill, asTenant bool) Past {
	p := Past{AcceptedAt: e.AcceptedAt, CPCode: e.CPCode}
	for _, d := range e.Deliveries {
		p.Sent = append(p.Sent, d.Endpoint)
		if asTenant {
			p.Tenant, _, _ = strings.Cut(d.Endpoint, "/")
		}
	}
	if all.Subscriptions != nil {
		p.Wishes = []event.Subscription{}
	}
	for _, s := range all.Subscriptions {
		p.Wishes = append(p.Wishes, event.Subscription{Tenant: s.Tenant, Waybill: event.Waybill{CPCode: s.CPCode, Code: s.WaybillCode}, Since: s.Since})
	}
	return p
}

// pastOf is what the store knows.
func pastOf(e *event.Stored, wishes []event.Subscription) Past {
	p := Past{AcceptedAt: e.AcceptedAt, CPCode: e.CPCode, Wishes: wishes}
	for _, d := range e.Deliveries {
		p.Sent = append(p.Sent, d.Endpoint)
	}
	return p
}

// judge decides what a report leaves to the store: nothing was sent, so a condition did not hold when the event came, or the route
// is newer than it. What was sent may have been sent for another route, so that nothing more is known of this one.
func (p Past) judge(r route.Report) route.Report {
	sent := slices.ContainsFunc(r.Endpoints, func(endpoint string) bool { return slices.Contains(p.Sent, endpoint) })
	switch {
	case !r.Matched, sent, p.Tenant != "" && p.Tenant != r.Tenant:
		return r
	case r.If == "":
		r.Why += "; it was not sent there, for the route is newer than the update"
		return r
	}
	r.Matched, r.If = false, ""
	why, known := "", false
	if r.Subscribed {
		why, known = p.notSubscribed(r.Tenant)
	}
	switch {
	case known:
	case r.Changed && why == "": // there is no other condition, or it held
		why = "changed: the status had not changed"
	case r.Changed:
		why = "changed, subscribed: the status had not changed, or the tenant had not subscribed the waybill"
	case why == "":
		why = "subscribed: the tenant has subscribed the waybill, but it was not sent there"
	}
	if !known {
		why += " (or the route is newer than the update)"
	}
	r.Why = why
	return r
}

// notSubscribed says why the tenant's subscriptions did not take the event, and whether that is sure. Neither: they took it.
func (p Past) notSubscribed(tenant string) (why string, sure bool) {
	if p.Wishes == nil {
		return "subscribed: the tenant had not subscribed the waybill", false
	}
	var others []string
	for _, w := range p.Wishes {
		switch {
		case w.Tenant != tenant:
		case w.CPCode != p.CPCode:
			others = append(others, w.CPCode)
		case w.Since.After(p.AcceptedAt):
			return fmt.Sprintf("subscribed: the tenant has subscribed the waybill since %s, after this update came", w.Since.UTC().Format(time.RFC3339)), true
		default:
			return "", false
		}
	}
	if len(others) > 0 {
		return fmt.Sprintf("subscribed: the tenant has subscribed the waybill as %s, and this update is of %q", strings.Join(others, ", "), p.CPCode), true
	}
	return "subscribed: the tenant has not subscribed the waybill", true
}
