package route

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"kuairelay/relay/event"
)

// Report says of one route whether an event matches it, and why.
type Report struct {
	Tenant    string
	Pos       string   // Rule.Pos
	Endpoints []string // Rule.To
	Matched   bool
	// If is what else must hold for a matching route, and only the store can decide; empty: nothing.
	If string
	// Changed and Subscribed are the conditions in If.
	Changed, Subscribed bool
	// Why says for people what decided: the first key of the match that does not hold, with the event's value; the when;
	// or that the store decides. It may quote the event.
	Why string
	// Cause is Why without anything of the event.
	Cause string
}

// Explain reports on every route, in their order. It goes through all of them: it is for people, not for the data path.
// Options.OnWhenError is not called for what fails here.
func (t *Table) Explain(ev *event.Event) []Report { return t.ExplainTo(ev, "") }

// ExplainTo is Explain of the routes of one tenant alone; empty: of all.
func (t *Table) ExplainTo(ev *event.Event, tenant string) []Report {
	s := subject{event: ev}
	values := valuesOf(ev)
	var reports []Report
	for i := range t.rules {
		in := &t.options.Rules[i]
		if tenant != "" && in.Tenant != tenant {
			continue
		}
		r := Report{Tenant: in.Tenant, Pos: in.Pos, Endpoints: in.To}
		r.Matched, r.Why, r.Cause = t.rules[i].explain(in, &values, &s)
		if r.Matched {
			r.If = t.rules[i].remains()
			r.Changed = t.rules[i].changed
			r.Subscribed = t.rules[i].subscribed
		}
		reports = append(reports, r)
	}
	return reports
}

// explain gives Matched, Why and Cause of a Report.
func (r *rule) explain(in *Rule, values *[fields]string, s *subject) (matched bool, why, cause string) {
	switch field := r.fails(values); field {
	case holdsAll:
	case failsChange:
		why = "changed: status is absent"
		return false, why, why
	case failsSubscribed:
		why = "subscribed: waybill_code is absent"
		return false, why, why
	default:
		name := fieldNames[field]
		value := values[field]
		if value == "" {
			why = name + " is absent"
			return false, why, why
		}
		wanted := noneOf(cmp.Or(in.Written, &in.Match).lists()[field])
		return false, fmt.Sprintf("%s %q is %s", name, value, wanted), fmt.Sprintf("%s is %s", name, wanted)
	}

	// The when is evaluated only if the match holds.
	if r.when != nil {
		ok, err := r.when.holds(s, in.Tenant)
		var failed *whenError
		switch {
		case errors.As(err, &failed) && in.WhenHidden:
			why = "when failed: " + failed.text
			return false, why, why
		case errors.As(err, &failed):
			return false, "when failed: " + failed.detail, "when failed: " + failed.text
		case !ok:
			return false, "when: false", "when: false"
		}
	}

	switch remains := r.remains(); {
	case remains != "":
		why = "matches, if " + remains
	case r.match == [fields]*patterns{} && r.when == nil:
		why = "matches every event"
	default:
		why = "matches"
	}
	return true, why, why
}

// remains returns what only the store can decide.
func (r *rule) remains() string {
	switch {
	case r.changed && r.subscribed:
		return "the status changed and the tenant has subscribed the waybill"
	case r.subscribed:
		return "the tenant has subscribed the waybill"
	case r.changed:
		return "the status changed"
	}
	return ""
}

// noneOf says that a value matches none of some patterns, and names a few of these.
func noneOf(patterns []string) string {
	const few = 10
	if len(patterns) == 1 {
		return "not " + patterns[0]
	}
	list := strings.Join(patterns[:min(few, len(patterns))], ", ")
	if more := len(patterns) - few; more > 0 {
		list += fmt.Sprintf(", and %d more", more)
	}
	return "none of " + list
}
