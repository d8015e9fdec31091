package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// Verdict says what is going on with a waybill, and what to do.
type Verdict struct {
	Code VerdictCode `json:"code" doc:"of a waybill with updates: dead, parked, open, delivered, dismissed, unrouted; of one without: spooled, quarantined, expired, not_owed, other_brand, pending, failed, awaited, unsubscribed, unknown"`
	Text string      `json:"text" doc:"what is going on"`
	Next string      `json:"next,omitempty" doc:"what to do; missing: nothing"`
}

// VerdictCode says in a word what is going on with a waybill.
type VerdictCode string

// What is going on with a waybill that has updates. The worst of its endpoints counts.
const (
	VerdictDead      VerdictCode = "dead"   // an endpoint has a dead letter
	VerdictParked    VerdictCode = "parked" // nothing is sent to an endpoint that is owed one
	VerdictOpen      VerdictCode = "open"   // not all is delivered yet
	VerdictDelivered VerdictCode = "delivered"
	VerdictDismissed VerdictCode = "dismissed"
	VerdictUnrouted  VerdictCode = "unrouted" // they are owed to nobody
)

// What is going on with a waybill that has none.
const (
	VerdictSpooled      VerdictCode = "spooled"      // one waits for Redis
	VerdictQuarantined  VerdictCode = "quarantined"  // a callback that names it was not understood
	VerdictExpired      VerdictCode = "expired"      // there were some
	VerdictNotOwed      VerdictCode = "not_owed"     // there are some, and the tenant's routes do not ask for them
	VerdictOtherBrand   VerdictCode = "other_brand"  // there are some, under a brand that was not subscribed
	VerdictPending      VerdictCode = "pending"      // kuaidihelp has not accepted the subscription yet
	VerdictFailed       VerdictCode = "failed"       // kuaidihelp refused the subscription
	VerdictAwaited      VerdictCode = "awaited"      // it is subscribed, and kuaidihelp has not pushed it
	VerdictUnsubscribed VerdictCode = "unsubscribed" // nobody has subscribed it
	VerdictUnknown      VerdictCode = "unknown"      // nothing is known
)

// VerdictTenant is that on a tenant that is found.
const VerdictTenant VerdictCode = "tenant"

// verdict says what is going on with a waybill, within what the caller may know.
func (c *call) verdict(f *findings) Verdict {
	switch {
	case len(f.shown) > 0:
		v := verdictOfEvents(f.shown, c.inConfig)
		if len(f.spooled) > 0 {
			v.Text += "; another callback with it waits for redis"
		}
		return v
	case c.tenant != "":
		return c.verdictForTenant(f)
	}
	return c.verdictForOperator(f)
}

// tally is what became of a waybill's events at one endpoint.
type tally struct {
	endpoint              string
	owed, delivered, dead int
	last                  *Delivery // the latest dead letter; without one, the oldest that is open
}

// tallies sum up events, the oldest first, by their endpoints: those with trouble first.
func tallies(events []Event) []*tally {
	byEndpoint := make(map[string]*tally)
	for i := range events {
		for j := range events[i].Deliveries {
			d := &events[i].Deliveries[j]
			t := byEndpoint[d.Endpoint]
			if t == nil {
				t = &tally{endpoint: d.Endpoint}
				byEndpoint[d.Endpoint] = t
			}
			t.add(d)
		}
	}
	all := slices.Collect(maps.Values(byEndpoint))
	slices.SortFunc(all, func(a, b *tally) int {
		return cmp.Or(cmp.Compare(rank(a.code()), rank(b.code())), strings.Compare(a.endpoint, b.endpoint))
	})
	return all
}

func (t *tally) add(d *Delivery) {
	t.owed++
	switch {
	case d.State == event.StateDelivered:
		t.delivered++
	case d.State == event.StateDead:
		t.dead++
		t.last = d
	case d.State.Open() && t.last == nil:
		t.last = d
	}
}

// code says how the endpoint stands.
func (t *tally) code() VerdictCode {
	switch {
	case t.dead > 0:
		return VerdictDead
	case t.last != nil && (t.last.Orphan || t.last.Parked != nil && t.last.Parked.State != queue.ParkedOpen):
		return VerdictParked
	case t.last != nil:
		return VerdictOpen
	case t.delivered > 0:
		return VerdictDelivered
	}
	return VerdictDismissed
}

// rank orders what may be said of an endpoint, the worst first.
func rank(code VerdictCode) int {
	return slices.Index([]VerdictCode{VerdictDead, VerdictParked, VerdictOpen, VerdictDelivered, VerdictDismissed}, code)
}

// HasOwn says whether some events of a waybill are the relay's own, which are no updates.
func HasOwn(events []Event) bool {
	return slices.ContainsFunc(events, func(e Event) bool { return slices.Contains(event.OwnTypes(), e.Type) })
}

// verdictOfEvents says what became of a waybill's events, the oldest first, at endpoints that may be in the config.
func verdictOfEvents(events []Event, inConfig func(endpoint string) bool) Verdict {
	const most = 5 // endpoints that are named
	latest := events[len(events)-1]
	status := cmp.Or(latest.Status, "an update without a status")
	if latest.Type != event.TypeWaybill {
		status = latest.Type
	}
	at := stamp(latest.AcceptedAt)
	var text string
	switch own := HasOwn(events); {
	case len(events) == 1 && own:
		text = fmt.Sprintf("1 event, at %s: %s", at, status)
	case len(events) == 1:
		text = fmt.Sprintf("1 update came, at %s: %s", at, status)
	case own:
		text = fmt.Sprintf("%d events, the latest at %s: %s", len(events), at, status)
	default:
		text = fmt.Sprintf("%d updates came, the latest at %s: %s", len(events), at, status)
	}

	all := tallies(events)
	if len(all) == 0 {
		return Verdict{
			Code: VerdictUnrouted,
			Text: text + "; owed to nobody",
			Next: "see why no route matches (routes); replay with reroute sends it to whom it is owed to today",
		}
	}
	for _, t := range all[:min(most, len(all))] {
		text += "; " + t.sentence()
	}
	if more := len(all) - most; more > 0 {
		text += "; " + moreEndpoints(more)
	}
	return Verdict{Code: all[0].code(), Text: text, Next: all[0].next(!inConfig(all[0].endpoint))}
}

// sentence says what the endpoint has, and what holds up the rest.
func (t *tally) sentence() string {
	has := fmt.Sprintf("%s has %d of %d", t.endpoint, t.delivered, t.owed)
	if t.owed == 1 {
		has = t.endpoint
	}
	switch t.code() {
	case VerdictDead:
		what := fmt.Sprintf("%d dead letters, the latest", t.dead)
		if t.dead == 1 {
			what = "a dead letter"
		}
		return fmt.Sprintf("%s: %s: %s", has, what, cmp.Or(t.last.Why, "given up"))
	case VerdictParked, VerdictOpen:
		return has + ": " + t.held()
	case VerdictDismissed:
		return has + ": dismissed"
	case VerdictDelivered:
		if t.owed == 1 {
			return t.endpoint + " has it"
		}
		if t.delivered == t.owed {
			return fmt.Sprintf("%s has all %d", t.endpoint, t.owed)
		}
	}
	return has
}

// held says what holds up the oldest open delivery.
func (t *tally) held() string {
	d := t.last
	text := string(d.State)
	switch {
	case d.State == event.StateRetrying && len(d.Tries) > 0:
		last := d.Tries[len(d.Tries)-1]
		text = fmt.Sprintf("retrying after %s", cmp.Or(answered(last), "an error"))
	case d.State == event.StateWaiting:
		text = "it waits behind an older update"
	}
	if d.State == event.StateRetrying && !d.DueAt.IsZero() {
		text += ", the next attempt at " + stamp(d.DueAt)
	}
	switch {
	case d.Orphan:
		text += "; the endpoint is not in the config"
	case d.Parked != nil && d.Parked.State == queue.ParkedOpen:
		text += "; the endpoint's breaker is open until " + stamp(d.Parked.Until)
	case d.Parked != nil:
		text += fmt.Sprintf("; the endpoint is %s since %s", d.Parked.State, stamp(d.Parked.Since))
	}
	return text
}

// answered says what came back from an attempt; empty: only an error.
func answered(a Attempt) string {
	if a.Status == 0 {
		return ""
	}
	return fmt.Sprint(a.Status)
}

// next says what to do about the endpoint, which may be removed from the config.
func (t *tally) next(removed bool) string {
	switch t.code() {
	case VerdictDead:
		if removed {
			return "put the endpoint back into the config, then send it again (kuairelay dead-letters redrive --endpoint " +
				t.endpoint + ")"
		}
		return "mend the receiver, then send it again (kuairelay dead-letters redrive --endpoint " + t.endpoint + ")"
	case VerdictParked:
		if t.last.Orphan {
			return "put the endpoint back into the config within delivery.orphan_grace"
		}
		return "kuairelay resume " + t.endpoint
	case VerdictOpen:
		if t.last.State == event.StateRetrying || t.last.Parked != nil {
			return "mend the receiver: the next attempt comes by itself"
		}
	}
	return ""
}
