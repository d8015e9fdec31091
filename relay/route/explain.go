package route

import (
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
	// If is what has to hold beside for a route that matches, which only the store can decide; empty: nothing.
	If string
	// Why names what decided, for people: the first key of the match that does not hold and the event's value of it, the
	// when, or that the store has the last word. It may quote the event.
	Why string
}

// Explain reports on every route, in their order. It goes through all of them: it is for people, not for the data path.
// Options.OnWhenError does not hear of what fails here.
func (t *Table) Explain(ev *event.Event) []Report {
	s := subject{event: ev}
	values := valuesOf(ev)
	reports := make([]Report, len(t.rules))
	for i := range t.rules {
		in := &t.options.Rules[i]
		reports[i] = Report{Tenant: in.Tenant, Pos: in.Pos, Endpoints: in.To}
		reports[i].Matched, reports[i].Why = t.rules[i].explain(in, &values, &s)
		if reports[i].Matched {
			reports[i].If = t.rules[i].remains()
		}
	}
	return reports
}

func (r *rule) explain(in *Rule, values *[fields]string, s *subject) (matched bool, why string) {
	switch field := r.fails(values); field {
	case holdsAll:
	case failsChange:
		return false, "changed: status is absent"
	case failsSubscribed:
		return false, "subscribed: waybill_code is absent"
	default:
		return false, mismatch(fieldNames[field], values[field], in.Match.lists()[field])
	}
	if r.when != nil {
		ok, err := r.when.holds(s, in.Tenant)
		var failed *whenError
		switch {
		case errors.As(err, &failed):
			return false, "when failed: " + failed.detail
		case !ok:
			return false, "when: false"
		}
	}
	switch remains := r.remains(); {
	case remains != "":
		return true, "matches, if " + remains
	case r.match == [fields]*patterns{} && r.when == nil:
		return true, "matches every event"
	}
	return true, "matches"
}

// remains is what only the store can decide.
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

// mismatch says that a value is none of some patterns, of which it names a few.
func mismatch(field, value string, patterns []string) string {
	const few = 10
	if value == "" {
		return field + " is absent"
	}
	if len(patterns) == 1 {
		return fmt.Sprintf("%s %q is not %s", field, value, patterns[0])
	}
	list := strings.Join(patterns[:min(few, len(patterns))], ", ")
	if more := len(patterns) - few; more > 0 {
		list += fmt.Sprintf(", and %d more", more)
	}
	return fmt.Sprintf("%s %q is none of %s", field, value, list)
}
