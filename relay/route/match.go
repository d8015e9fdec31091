package route

import (
	"slices"

	"kuairelay/relay/event"
)

// scratch is the memory of one Match, which the next can use again.
type scratch struct {
	hits []int32
	// seen and at are by endpoint: seen is the round that last added it, at is where.
	seen  []uint32
	at    []int32
	round uint32
	subject
}

func newScratch(endpoints int) *scratch {
	return &scratch{seen: make([]uint32, endpoints), at: make([]int32, endpoints)}
}

// Match appends to into the endpoints that ev is owed to, each once, in the order of the routes that lead to them
// first. It allocates only for expressions, or if into has no room.
func (t *Table) Match(ev *event.Event, into []Candidate) []Candidate {
	s := t.scratch.Get().(*scratch)
	defer func() {
		s.forget()
		t.scratch.Put(s)
	}()
	s.round++
	if s.round == 0 { // after 4 billion events
		clear(s.seen)
		s.round = 1
	}

	// Only a few of all rules can match. They are checked in the order of the routes.
	values := valuesOf(ev)
	s.event = ev
	s.hits = t.index.find(&values, s.hits[:0])
	slices.Sort(s.hits)
	for _, i := range slices.Compact(s.hits) {
		if !t.holds(int(i), &values, s) {
			continue
		}

		// An endpoint that several routes lead to has one candidate, with the conditions of all.
		r := &t.rules[i]
		condition := r.condition()
		for _, endpoint := range t.targets[r.to.start:r.to.end] {
			if s.seen[endpoint] == s.round {
				into[s.at[endpoint]].When |= condition
				continue
			}
			s.seen[endpoint] = s.round
			s.at[endpoint] = int32(len(into))
			into = append(into, Candidate{ID: t.endpoints[endpoint], When: condition})
		}
	}
	return into
}

// holds says whether a rule matches, its when included.
func (t *Table) holds(i int, values *[fields]string, s *scratch) bool {
	r := &t.rules[i]
	if r.fails(values) != holdsAll {
		return false
	}
	if r.when == nil {
		return true
	}
	ok, err := r.when.holds(&s.subject, t.options.Rules[i].Tenant)
	if err != nil && t.options.OnWhenError != nil {
		t.options.OnWhenError(&t.options.Rules[i], err)
	}
	return ok
}

// The results of rule.fails other than a field.
const (
	holdsAll        = -1
	failsChange     = fields
	failsSubscribed = fields + 1
)

// condition returns what is left for the store to decide.
func (r *rule) condition() event.Conditions {
	switch {
	case r.changed && r.subscribed:
		return event.IfChangedAndSubscribed
	case r.subscribed:
		return event.IfSubscribed
	case r.changed:
		return event.IfChanged
	}
	return event.Always
}

// fails returns the first part of the match that does not hold: a field; failsChange if the match needs a changed
// status and the event has none; failsSubscribed if it needs a subscription and the event has no waybill; or holdsAll.
func (r *rule) fails(values *[fields]string) int {
	for field, p := range r.match {
		if p != nil && !p.match(values[field]) {
			return field
		}
	}
	if r.changed && values[fieldStatus] == "" {
		return failsChange
	}
	if r.subscribed && values[fieldWaybill] == "" {
		return failsSubscribed
	}
	return holdsAll
}
