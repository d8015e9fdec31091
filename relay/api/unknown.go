package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// subscriptionsOf gives the subscriptions of a waybill that the caller may see. It looks under the known brands and the
// brands of the events found. Nil: they cannot be read.
func (c *call) subscriptionsOf(code string, found []*event.Record) []ledger.Subscription {
	if code == "" {
		return nil
	}
	brands := kuaidihelp.Brands()
	for _, e := range found {
		if e.CPCode != "" && !slices.Contains(brands, e.CPCode) && len(brands) < 20 {
			brands = append(brands, e.CPCode)
		}
	}
	subscriptions, err := c.subscriptions.WaybillSubscriptions(c.ctx(), code, brands, c.tenant)
	if err != nil {
		return nil
	}
	return subscriptions
}

// unknown says that there is no update of a waybill for the caller, and why that may be. found are the updates that
// the caller may not see.
func (c *call) unknown(code string, found []*event.Record, subscriptions []ledger.Subscription) string {
	all := []string{"no update of this waybill is known, or it is no longer kept"}
	if c.tenant != "" {
		all = append(all, c.whyNotOwed(code, found, subscriptions)...)
	} else {
		all = append(all, whoSubscribed(subscriptions)...)
		all = append(all, c.whereElse(code)...)
	}
	return strings.Join(all, "; ")
}

// whyNotOwed says why no update of a waybill is owed to a tenant. If the tenant has not subscribed the waybill, it says
// only that.
func (c *call) whyNotOwed(code string, found []*event.Record, subscriptions []ledger.Subscription) []string {
	if subscriptions == nil {
		return nil
	}
	if len(subscriptions) == 0 {
		return []string{"you have not subscribed it"}
	}

	// Updates of a brand that the tenant subscribed did not match its routes. The other updates are of other brands.
	var all []string
	counts := map[string]int{}
	for _, e := range found {
		counts[e.CPCode]++
	}
	for _, w := range subscriptions {
		all = append(all, fmt.Sprintf("you have subscribed it as %s since %s%s", w.CPCode, stamp(w.Since), upstream(w)))
		if n := counts[w.CPCode]; n > 0 {
			all = append(all, fmt.Sprintf("%d of its updates came as %s, but matched none of your routes", n, w.CPCode))
		}
		delete(counts, w.CPCode)
	}
	for _, brand := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%d of its updates came as %q, but you have not subscribed it as that brand",
			counts[brand], brand))
	}
	if c.o.Waits(code) {
		all = append(all, "an update of it waits for the relay's redis")
	}
	return all
}

// whoSubscribed says who has subscribed a waybill, for the operator.
func whoSubscribed(subscriptions []ledger.Subscription) []string {
	if subscriptions == nil {
		return nil
	}
	if len(subscriptions) == 0 {
		return []string{"no tenant has subscribed it"}
	}
	const most = 5
	var all []string
	for _, w := range subscriptions[:min(most, len(subscriptions))] {
		all = append(all, fmt.Sprintf("%s has subscribed it as %s since %s%s",
			w.Tenant, w.CPCode, stamp(w.Since), upstream(w)))
	}
	if more := len(subscriptions) - most; more > 0 {
		all = append(all, fmt.Sprintf("so have %d more", more))
	}
	return all
}

// whereElse says where else an update may be, for the operator.
func (c *call) whereElse(code string) (all []string) {
	if c.o.Waits(code) {
		all = append(all, "an update of it waits in this replica's spool")
	}
	if q, ok, err := c.quarantine.FindQuarantined(c.ctx(), code); err == nil && ok {
		all = append(all, fmt.Sprintf("a callback of %s that names it was not understood (kuairelay quarantine show %s)",
			stamp(q.ReceivedAt), q.ID))
	}
	if at := c.o.LastRefused(); !at.IsZero() {
		all = append(all, "callbacks with a wrong token or address are refused, the latest at "+stamp(at))
	}

	last, silent := c.o.LastCallback()
	switch {
	case last.IsZero():
		all = append(all, "no callback has come yet")
	case silent:
		all = append(all, "no callback has come since "+stamp(last))
	}
	return all
}

// upstream says what kuaidihelp has done with the subscription; empty: it is live.
func upstream(w ledger.Subscription) string {
	switch w.State {
	case ledger.Pending:
		return " (kuaidihelp has not accepted it yet)"
	case ledger.Failed:
		return fmt.Sprintf(" (kuaidihelp refused it: %d %s)", w.Answer.Code, w.Answer.Msg)
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
