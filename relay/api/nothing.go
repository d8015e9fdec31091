package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/ledger"
)

// waitsInSpool is said of an update that is not in Redis yet, to the operator.
const waitsInSpool = "an update of it waits in this replica's spool"

// verdictForTenant says why no update of a waybill is owed to a tenant. Of a waybill that the tenant has not subscribed
// it says nothing else.
func (c *call) verdictForTenant(f *findings) Verdict {
	v := newNothing()
	if f.subscriptions == nil {
		return v.verdict()
	}
	if len(f.subscriptions) == 0 {
		v.add(VerdictUnsubscribed, "you have not subscribed it", "subscribe it, or see whether your routes ask for it")
		return v.verdict()
	}

	// Updates of a brand that the tenant subscribed did not match its routes. The other updates are of other brands.
	counts := map[string]int{}
	for _, e := range f.hidden {
		counts[e.CPCode]++
	}
	for _, w := range f.subscriptions {
		v.say("you have subscribed it as %s since %s%s", w.CPCode, stamp(w.Since), upstream(w))
		if n := counts[w.CPCode]; n > 0 {
			v.add(VerdictNotOwed, fmt.Sprintf("%d of its updates came as %s, but matched none of your routes",
				n, w.CPCode), "test your routes (kuairelay explain)")
		}
		delete(counts, w.CPCode)
	}
	for _, brand := range slices.Sorted(maps.Keys(counts)) {
		v.add(VerdictOtherBrand, fmt.Sprintf("%d of its updates came as %q, but you have not subscribed it as that brand",
			counts[brand], brand), "subscribe it again, with that brand")
	}

	if len(f.spooled) > 0 {
		v.add(VerdictSpooled, "an update of it waits for the relay's redis", "wait: it is delivered when that is back")
	}
	v.expired(c, f)
	v.awaited(f)
	return v.verdict()
}

// verdictForOperator says where else an update may be.
func (c *call) verdictForOperator(f *findings) Verdict {
	v := newNothing()
	for _, text := range whoSubscribed(f.subscriptions) {
		v.say("%s", text)
	}
	if len(f.spooled) > 0 {
		v.add(VerdictSpooled, waitsInSpool, "see why redis does not take it (kuairelay status)")
	}
	if len(f.quarantined) > 0 {
		q := f.quarantined[0]
		show := "kuairelay quarantine show " + q.ID
		v.add(VerdictQuarantined,
			fmt.Sprintf("a callback of %s that names it was not understood (%s)", stamp(q.ReceivedAt), show),
			fmt.Sprintf("see why (%s); when it can be read, take it in again", show))
	}
	v.expired(c, f)

	// Perhaps no callback gets here at all.
	if at := c.o.LastRefused(); !at.IsZero() {
		v.say("callbacks with a wrong token or address are refused, the latest at %s", stamp(at))
	}
	last, silent := c.o.LastCallback()
	switch {
	case last.IsZero():
		v.say("no callback has come yet")
	case silent:
		v.say("no callback has come since %s", stamp(last))
	}

	v.awaited(f)
	return v.verdict()
}

// nothing is a verdict about a waybill without updates, while it is made.
type nothing struct {
	code       VerdictCode // of the first cause that was found
	next       string
	statements []string
}

func newNothing() *nothing {
	return &nothing{statements: []string{"no update of this waybill is known, or it is no longer kept"}}
}

// say adds a statement that is no cause.
func (v *nothing) say(format string, args ...any) {
	v.statements = append(v.statements, fmt.Sprintf(format, args...))
}

// add adds a cause, unless it says nothing new, and what to do about it.
func (v *nothing) add(code VerdictCode, statement, next string) {
	if statement != "" {
		v.statements = append(v.statements, statement)
	}
	if v.code == "" {
		v.code = code
		v.next = next
	}
}

// expired adds that there were updates.
func (v *nothing) expired(c *call, f *findings) {
	if f.last == nil || len(f.hidden) > 0 {
		return
	}
	var statuses []string
	for _, s := range f.last.Statuses {
		statuses = append(statuses, cmp.Or(s.Status, "no status"))
	}
	said := "it had updates"
	if !f.last.AcceptedAt.IsZero() {
		said = "its last update was accepted at " + stamp(f.last.AcceptedAt)
	}
	if len(statuses) > 0 {
		said += " (" + strings.Join(statuses, ", ") + ")"
	}
	if c.settings.Retention > 0 {
		said += fmt.Sprintf(", and events are kept for %s after their delivery", hours(c.settings.Retention))
	}
	v.add(VerdictExpired, said, "")
}

// awaited adds what the subscriptions say, if there is no other cause.
func (v *nothing) awaited(f *findings) {
	in := func(state ledger.State) bool {
		return slices.ContainsFunc(f.subscriptions, func(s ledger.Subscription) bool { return s.State == state })
	}
	switch {
	case f.subscriptions == nil:
	case len(f.subscriptions) == 0:
		v.add(VerdictUnsubscribed, "", "the tenant that wants it subscribes it")
	case in(ledger.Live):
		v.add(VerdictAwaited, "", "wait for the parcel to move; see whether the brand is right")
	case in(ledger.Pending) && slices.ContainsFunc(f.subscriptions, noRecord):
		v.add(VerdictPending, "", "wait until kuaidihelp knows the waybill; see whether the brand is right")
	case in(ledger.Pending):
		v.add(VerdictPending, "", "wait a minute for kuaidihelp's answer")
	default:
		v.add(VerdictFailed, "", "subscribe it again when the cause is mended")
	}
}

func (v *nothing) verdict() Verdict {
	return Verdict{
		Code: cmp.Or(v.code, VerdictUnknown),
		Text: strings.Join(v.statements, "; "),
		Next: v.next,
	}
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

// upstream says what kuaidihelp has done with the subscription; empty: it is live.
func upstream(w ledger.Subscription) string {
	switch w.State {
	case ledger.Pending:
		if !w.RetryAt.IsZero() {
			return fmt.Sprintf(" (kuaidihelp has no record of it yet, and is asked again at %s)", stamp(w.RetryAt))
		}
		return " (kuaidihelp has not accepted it yet)"
	case ledger.Failed:
		return fmt.Sprintf(" (kuaidihelp refused it: %d %s)", w.Answer.Code, w.Answer.Msg)
	}
	return ""
}

// noRecord says whether kuaidihelp has no record of the waybill yet.
func noRecord(w ledger.Subscription) bool { return !w.RetryAt.IsZero() }

// hours is a span as people write it: 48h, 90m.
func hours(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "0s")
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
