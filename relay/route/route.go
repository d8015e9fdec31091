// Package route says which endpoints an event is owed to, and why. A Table is compiled once from the routes of every
// tenant, and answers in time that depends on how many routes match, not on how many there are (see index). It is pure:
// the same event gets the same answer from the same routes, at any time and on any replica, and nothing does I/O.
//
// A route has a match and a when. All keys that a match has are required to hold, a key holds if any of its patterns
// does, and a match without keys holds for every event. A when is an expression over the event (see CheckWhen), asked
// only if the match held; if it fails to evaluate, the route does not match, and Options.OnWhenError hears of it.
package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kuairelay/relay/event"
)

// Rule is one route of a tenant, as configured.
type Rule struct {
	// Tenant is the name of the route's owner.
	Tenant string
	// To names the endpoints, as "tenant/endpoint".
	To []string
	// Match limits the route to some events. All events pass the zero Match.
	Match Match
	// Written is shown instead of Match, if Match has values that must not be shown; nil: Match is shown.
	Written *Match
	// When is an expression in addition to Match (see CheckWhen); empty: none.
	When string
	// WhenHidden says that nothing of When may be shown.
	WhenHidden bool
	// Pos is where the route was configured ("tenants.d/shop.yaml:12"), for people.
	Pos string
}

// Match limits a route by fields of the event. Each list holds values and globs, in which "*" stands for any run of
// characters; an empty list does not limit. A field that is absent from an event matches no pattern, not even "*".
type Match struct {
	// Type is matched with event.Event.Type.
	Type []string
	// CPCode is matched with event.Event.CPCode. Values without a glob may be any alias of a brand (Options.Canonical).
	CPCode []string
	// Status is matched with event.Event.Status. Values without a glob may be misspelt alike (Options.CanonicalStatus).
	Status []string
	// WaybillCode is matched with event.Event.WaybillCode.
	WaybillCode []string
	// Changed is "status" for a route that matches only if the status differs from the last one accepted for the waybill.
	// That is for the store to decide, so the candidate carries event.IfChanged. Empty: no such limit.
	Changed string
	// Subscribed is set for a route that matches only waybills that its tenant has subscribed. That is for the store to
	// decide, too.
	Subscribed bool
}

// Options are the parts of a Table.
type Options struct {
	// Rules are the routes of all tenants. The Table keeps the slice: it must not be changed any more.
	Rules []Rule
	// Canonical returns the canonical code of a brand, which events have; nil: codes are canonical already.
	Canonical func(cpCode string) string
	// CanonicalStatus returns the spelling of a status that events have; nil: statuses are spelt so already.
	CanonicalStatus func(status string) string
	// OnWhenError is called for every when that failed to evaluate, in the goroutine that called Table.Match; nil: it is
	// not called. The error names the place in the expression, and quotes nothing of the event, so it may be logged.
	// Table.Explain says what failed.
	OnWhenError func(rule *Rule, err error)
}

// Candidate is an endpoint that an event is owed to, under Conditions that the store decides.
type Candidate struct {
	// ID names the endpoint, as "tenant/endpoint".
	ID string
	// When has a bit for each way in which a route leads to the endpoint. One of them is enough.
	When event.Conditions
}

// Table is a compiled set of routes. It is safe for concurrent use.
type Table struct {
	options   Options
	rules     []rule
	index     *index
	endpoints []string // that a route leads to, in the order of their first mention
	targets   []int32  // of all rules, as indexes of endpoints: what rule.to is a part of
	scratch   sync.Pool
}

// The fields that a match can limit, in the order in which they are checked.
const (
	fieldType = iota
	fieldBrand
	fieldStatus
	fieldWaybill
	fields
)

// rule is a compiled Rule. It has the same index in Table.rules as the Rule in Options.Rules.
type rule struct {
	match   [fields]*patterns // nil: no limit
	when    *condition        // nil: none
	to      span              // of Table.targets
	changed bool
	// subscribed: the event must have a waybill, which the tenant has subscribed.
	subscribed bool
}

// New compiles a Table. The error names every mistake, each with the Rule.Pos of its route: a when that does not
// compile, a pattern that is empty, a key of changed that does not exist, a route that leads nowhere.
func New(options Options) (*Table, error) {
	c := compiler{
		lists:      map[string]*patterns{},
		conditions: map[string]*condition{},
		endpoints:  map[string]int32{},
		table:      &Table{options: options, rules: make([]rule, len(options.Rules))},
	}
	var mistakes []error
	for i := range options.Rules {
		for _, err := range c.compile(&options.Rules[i], &c.table.rules[i]) {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", options.Rules[i].Pos, err))
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}

	t := c.table
	t.targets = slices.Clip(t.targets)
	t.index = newIndex(t.rules)
	t.scratch.New = func() any { return newScratch(len(t.endpoints)) }
	return t, nil
}

// compiler holds what the rules of a table share: thousands of tenants write the same lists and expressions.
type compiler struct {
	lists      map[string]*patterns
	conditions map[string]*condition
	endpoints  map[string]int32
	table      *Table
}

// compile makes out of a Rule, and returns all that is wrong with it.
func (c *compiler) compile(in *Rule, out *rule) (mistakes []error) {
	for field, list := range in.Match.lists() {
		if slices.Contains(list, "") {
			mistakes = append(mistakes, fmt.Errorf("match: %s has an empty pattern, which matches nothing", fieldNames[field]))
		}
		out.match[field] = c.list(list, [fields]func(string) string{
			fieldBrand:  c.table.options.Canonical,
			fieldStatus: c.table.options.CanonicalStatus,
		}[field])
	}

	switch in.Match.Changed {
	case "", "status":
		out.changed = in.Match.Changed != ""
	default:
		mistakes = append(mistakes, fmt.Errorf("match: changed is %q, must be status", in.Match.Changed))
	}
	out.subscribed = in.Match.Subscribed

	// A when that does not compile is one of the mistakes: all are reported at once.
	if in.When != "" {
		when, err := c.condition(in.When)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("when: %w", err))
		}
		out.when = when
	}

	if len(in.To) == 0 {
		mistakes = append(mistakes, errors.New("to names no endpoint"))
	}
	out.to = c.endpointsOf(in.To)
	return mistakes
}

// list compiles a list of patterns, once for all rules that have the same. It returns nil for an empty one.
func (c *compiler) list(texts []string, canonical func(string) string) *patterns {
	if len(texts) == 0 {
		return nil
	}
	if canonical != nil {
		texts = slices.Clone(texts)
		for i, text := range texts {
			if !strings.Contains(text, "*") {
				texts[i] = canonical(text)
			}
		}
	}
	id := strings.Join(texts, "\x00")
	if c.lists[id] == nil {
		c.lists[id] = newPatterns(texts)
	}
	return c.lists[id]
}

// condition compiles a when, once for all rules that have the same.
func (c *compiler) condition(source string) (*condition, error) {
	if known := c.conditions[source]; known != nil {
		return known, nil
	}
	when, err := newCondition(source)
	if err == nil {
		c.conditions[source] = when
	}
	return when, err
}

// endpointsOf files the targets of a rule, and gives each endpoint an index at its first mention.
func (c *compiler) endpointsOf(names []string) span {
	t := c.table
	s := span{start: int32(len(t.targets))}
	for _, name := range names {
		i, known := c.endpoints[name]
		if !known {
			i = int32(len(t.endpoints))
			c.endpoints[name] = i
			t.endpoints = append(t.endpoints, name)
		}
		t.targets = append(t.targets, i)
	}
	s.end = int32(len(t.targets))
	return s
}

// lists returns the lists of a match by field.
func (m *Match) lists() [fields][]string {
	return [fields][]string{
		fieldType:    m.Type,
		fieldBrand:   m.CPCode,
		fieldStatus:  m.Status,
		fieldWaybill: m.WaybillCode,
	}
}

// fieldNames are the fields as configured.
var fieldNames = [fields]string{
	fieldType:    "type",
	fieldBrand:   "cp_code",
	fieldStatus:  "status",
	fieldWaybill: "waybill_code",
}

// valuesOf returns the values of an event by field.
func valuesOf(ev *event.Event) [fields]string {
	return [fields]string{
		fieldType:    ev.Type,
		fieldBrand:   ev.CPCode,
		fieldStatus:  ev.Status,
		fieldWaybill: ev.WaybillCode,
	}
}
