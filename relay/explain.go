package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/event"
	"kuairelay/relay/ingest"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
	"kuairelay/relay/route"
	"kuairelay/relay/subscribe"
)

// Explanation says of one endpoint whether it is owed an event, and what each of its routes makes of the event.
type Explanation struct {
	Endpoint string // "tenant/endpoint"
	// Owed is true if a route matches. The route's Why says whether the store has to decide as well.
	Owed   bool
	Routes []route.Report
}

// Condition is what must also hold for the event to be owed, and only the store can decide: the status changed, the
// tenant has subscribed the waybill. Empty: nothing.
func (x Explanation) Condition() string {
	var all []string
	for _, r := range x.Routes {
		switch {
		case !r.Matched || slices.Contains(all, r.If):
		case r.If == "":
			return ""
		default:
			all = append(all, r.If)
		}
	}
	return strings.Join(all, ", or ")
}

// Explainer says which endpoints are owed an event by the routes of a config, and why, without a relay or a store.
type Explainer struct {
	config *config.Config
	table  *route.Table
}

// NewExplainer makes an Explainer of a checked config.
func NewExplainer(c *config.Config) (*Explainer, error) {
	table, err := NewTable(c, nil)
	if err != nil {
		return nil, err
	}
	return &Explainer{c, table}, nil
}

// Explain reports on every endpoint, in the order of the config.
func (x *Explainer) Explain(e *event.Event) []Explanation {
	byEndpoint := map[string][]route.Report{}
	watching := watching(x.config.Tenants)
	for _, report := range x.table.Explain(e) {
		report = forOwn(e, report, watching)
		for _, endpoint := range report.Endpoints {
			byEndpoint[endpoint] = append(byEndpoint[endpoint], report)
		}
	}
	var all []Explanation
	for _, t := range x.config.Tenants {
		for _, ep := range t.Endpoints {
			reports := byEndpoint[ep.ID]
			owed := slices.ContainsFunc(reports, func(r route.Report) bool { return r.Matched })
			all = append(all, Explanation{Endpoint: ep.ID, Owed: owed, Routes: reports})
		}
	}
	return all
}

// watching returns what tenants want to be told of their subscriptions.
func watching(tenants []config.Tenant) map[string]config.Watch {
	out := make(map[string]config.Watch)
	for _, t := range tenants {
		out[t.Name] = t.Watch
	}
	return out
}

// wants says whether a tenant wants to be told of an event that the relay has made (event.Own), and why not.
func wants(w config.Watch, tenant string, e *event.Event) (ok bool, why string) {
	const not = "the tenant does not want to be told (watch.%s)"
	_, kind, _ := strings.Cut(e.Type, ".")
	if e.Type == event.TypeLost {
		return w.Lost, fmt.Sprintf(not, kind)
	}
	if e.For != nil {
		return slices.Contains(e.For, tenant), fmt.Sprintf(not, kind)
	}

	span := ledger.Watch{NotCollected: w.NotCollected, Stalled: w.Stalled, NotPickedUp: w.NotPickedUp}.Of(e.Type)
	if is := subscribe.SpanOf(e); span > 0 && is > 0 && span != is { // a sample may have none
		return false, fmt.Sprintf("the tenant wants to be told after %s (watch.%s), and this is after %s", span, kind, is)
	}
	return span > 0, fmt.Sprintf(not, kind)
}

// forOwn is a report about an event that the relay itself made (event.Own), which only tenants get that want to be told
// and have subscribed the waybill, whatever their routes say of that. Any other report stays as it is.
func forOwn(e *event.Event, r route.Report, watching map[string]config.Watch) route.Report {
	if !e.Own() || !r.Matched {
		return r
	}
	if ok, why := wants(watching[r.Tenant], r.Tenant, e); ok {
		r.Changed, r.Subscribed = false, true
		r.If = "the tenant has subscribed the waybill"
		r.Why = "matches, if " + r.If
	} else {
		r.Matched, r.If = false, ""
		r.Why = why
	}
	r.Cause = r.Why
	return r
}

// ExplainPast is Explain for an event that a relay has accepted: it says what the store has decided, as far as that is
// known.
func (x *Explainer) ExplainPast(e *event.Event, past Past) []Explanation {
	all := x.Explain(e)
	for i := range all {
		for j := range all[i].Routes {
			all[i].Routes[j] = past.judge(all[i].Routes[j])
		}
		all[i].Owed = slices.ContainsFunc(all[i].Routes, func(r route.Report) bool { return r.Matched })
	}
	return all
}

// EventOf turns an event of the API, with its data, into the event that its callback was parsed to.
func EventOf(e api.Event) *event.Event {
	return kuaidihelp.Reread(event.Event{
		ID: e.ID, Type: e.Type, WaybillCode: e.WaybillCode, CPCode: e.CPCode, Status: e.Status,
		Sequence: e.Sequence, ReceivedAt: e.ReceivedAt, AcceptedAt: e.AcceptedAt, Data: e.Data,
	})
}

// FailedTests runs the tests of every tenant, and says of each that fails what it expected and what happens instead.
// Conditions that only the store can decide count as true.
func (x *Explainer) FailedTests() []config.Mistake {
	var failed []config.Mistake
	for _, t := range x.config.Tenants {
		for _, test := range t.Tests {
			for _, msg := range x.run(test) {
				if test.Name != "" {
					msg = fmt.Sprintf("%q: %s", test.Name, msg)
				}
				failed = append(failed, config.Mistake{Pos: test.Pos, Msg: "test fails: " + msg})
			}
		}
	}
	return failed
}

func (x *Explainer) run(test config.Test) (problems []string) {
	events, err := ReadEvents(test.Event)
	switch {
	case err != nil && test.Expanded:
		return []string{"the event cannot be understood (it holds what came from a variable or a file, so no more is said)"}
	case err != nil:
		return []string{err.Error()}
	}

	// Endpoints that are reached, and should not be.
	reached := map[string]bool{}
	for _, e := range events {
		for _, ex := range x.Explain(e) {
			tenant, _, _ := strings.Cut(ex.Endpoint, "/")
			if tenant != test.Tenant || reached[ex.Endpoint] {
				continue
			}
			wanted := slices.Contains(test.Reaches, ex.Endpoint)
			reached[ex.Endpoint] = ex.Owed
			if ex.Owed && !wanted {
				problems = append(problems, fmt.Sprintf("the event reaches %s as well: %s", ex.Endpoint,
					ex.reasons(true, test.Expanded)))
			}
		}
	}

	// Endpoints that should be reached, and are not.
	for _, endpoint := range test.Reaches {
		if reached[endpoint] {
			continue
		}
		for _, ex := range x.Explain(events[0]) {
			if ex.Endpoint == endpoint {
				problems = append(problems, fmt.Sprintf("the event does not reach %s: %s", endpoint,
					ex.reasons(false, test.Expanded)))
			}
		}
	}
	return problems
}

// reasons lists why the routes match, or do not. hidden leaves out what it would quote of the event.
func (x Explanation) reasons(matched, hidden bool) string {
	var all []string
	for _, r := range x.Routes {
		why := r.Why
		if hidden {
			why = r.Cause
		}
		if r.Matched == matched {
			all = append(all, fmt.Sprintf("the route at %s: %s", r.Pos, why))
		}
	}
	if len(all) == 0 {
		return "no route leads there"
	}
	return strings.Join(all, "; ")
}

// ReadEvents reads the events of a sample: a callback as kuaidihelp sends it, in any of its forms, a single item as
// JSON, or the webhook of an event that the relay itself makes. It is an error if anything in it would be quarantined,
// or if there is no event.
func ReadEvents(sample []byte) ([]*event.Event, error) {
	result := kuaidihelp.ParseSample("", sample, time.Now())
	for _, r := range result.Rejected {
		return nil, fmt.Errorf("the event cannot be understood: %s", r.Reason)
	}
	if len(result.Events) == 0 {
		return nil, errors.New("there is no event in it")
	}
	return result.Events, nil
}

// Past is what is known of an accepted event and its waybill: enough to say what the store decided about a route.
type Past struct {
	AcceptedAt time.Time
	CPCode     string
	// Sent are the endpoints that the event is or was owed to.
	Sent []string
	// Subscriptions are those of the waybill, under any brand. Nil: they are not known.
	Subscriptions []ledger.Subscription
	// Tenant is the tenant that the other fields are limited to; empty: they are about all tenants.
	Tenant string
}

// PastOf reads an event and its waybill from the API. asTenant says that the answers were for a tenant, which sees only
// its own.
func PastOf(e api.Event, all api.Waybill, asTenant bool) Past {
	p := Past{AcceptedAt: e.AcceptedAt, CPCode: e.CPCode}
	for _, d := range e.Deliveries {
		p.Sent = append(p.Sent, d.Endpoint)
		if asTenant {
			p.Tenant, _, _ = strings.Cut(d.Endpoint, "/")
		}
	}
	if all.Subscriptions != nil {
		p.Subscriptions = []ledger.Subscription{}
	}
	for _, s := range all.Subscriptions {
		waybill := event.Waybill{CPCode: s.CPCode, Code: s.WaybillCode}
		p.Subscriptions = append(p.Subscriptions, ledger.Subscription{Tenant: s.Tenant, Waybill: waybill, Since: s.Since})
	}
	return p
}

// pastOf returns what the store knows.
func pastOf(e *event.Record, subscriptions []ledger.Subscription) Past {
	p := Past{AcceptedAt: e.AcceptedAt, CPCode: e.CPCode, Subscriptions: subscriptions}
	for _, d := range e.Deliveries {
		p.Sent = append(p.Sent, d.Endpoint)
	}
	return p
}

// judge fills in what a report leaves to the store. If nothing was sent, a condition did not hold when the event came,
// or the route is newer than the event. If something was sent, that may be because of another route, and nothing more
// is known about this one.
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

// notSubscribed says why the tenant's subscriptions did not match the event, and whether that is sure. If it returns
// neither, they matched.
func (p Past) notSubscribed(tenant string) (why string, sure bool) {
	if p.Subscriptions == nil {
		return "subscribed: the tenant had not subscribed the waybill", false
	}
	var others []string
	for _, w := range p.Subscriptions {
		switch {
		case w.Tenant != tenant:
		case w.CPCode != p.CPCode:
			others = append(others, w.CPCode)
		case w.Since.After(p.AcceptedAt):
			return fmt.Sprintf("subscribed: the tenant has subscribed the waybill since %s, after this update came",
				w.Since.UTC().Format(time.RFC3339)), true
		default:
			return "", false
		}
	}
	if len(others) > 0 {
		return fmt.Sprintf("subscribed: the tenant has subscribed the waybill as %s, and this update is of %q",
			strings.Join(others, ", "), p.CPCode), true
	}
	return "subscribed: the tenant has not subscribed the waybill", true
}

// retakeMost bounds the size of a callback from quarantine, decompressed and in UTF-8.
const retakeMost = 64 << 20

// retake accepts a callback, or an item of one, from quarantine as if it had just come.
func (r *Relay) retake(ctx context.Context, q event.Quarantined) (api.RetakeResult, error) {
	body, err := unpacked(q, retakeMost)
	if err != nil {
		return api.RetakeResult{Rejected: err.Error()}, nil //nolint:nilerr // the operator asked why it is not understood
	}

	out, err := r.intake.Retake(ctx, q, body)
	return api.RetakeResult(out), err
}

// look says what a callback, or an item of one, from quarantine would come to, and how many bytes were parsed for that.
// It returns false if that were more than most.
func (r *Relay) look(q event.Quarantined, most int) (out api.LookResult, ok bool) {
	body, err := unpacked(q, most)
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large || len(body) > most:
		return out, false
	case err != nil:
		return api.LookResult{Rejected: 1, Reason: err.Error()}, true
	}
	found := r.intake.Look(q, body)
	return api.LookResult{Events: found.Events, Rejected: found.Rejected, Reason: found.Reason, Bytes: len(body)}, true
}

// unpacked returns the content of a callback from quarantine, decompressed and in UTF-8. It is an error if unpacking
// makes it larger than most bytes.
func unpacked(q event.Quarantined, most int) ([]byte, error) {
	read := func(from io.Reader) ([]byte, error) {
		return io.ReadAll(http.MaxBytesReader(nil, io.NopCloser(from), int64(most)))
	}
	body, err := ingest.Unpack(q.Raw, q.Headers["Content-Encoding"], read)
	if err != nil {
		return nil, err
	}
	return kuaidihelp.Decode(q.Headers["Content-Type"], body, read)
}
