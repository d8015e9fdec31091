package event

import (
	"errors"
	"time"
)

// Entry is an event with the endpoints that it may be owed to.
type Entry struct {
	Event *Event
	To    []Candidate
}

// Candidate is an endpoint that an event is owed to if a condition holds.
type Candidate struct {
	Endpoint string
	When     Conditions
	// Ordered lines the delivery up behind older ones of its waybill.
	Ordered bool
	// Slot says that the caller has reserved room to attempt the delivery at once, under a lease of this length.
	Slot  bool
	Lease time.Duration
}

// Accepted is what became of an Entry.
type Accepted struct {
	// Duplicate: the event was accepted before; nothing was changed.
	Duplicate bool
	// Deliveries is how many endpoints the event is owed to.
	Deliveries int
	// Queued names those endpoints where the delivery is due now, for any replica to lease. It is not leased to the
	// caller, it does not wait in line, and neither a breaker nor a person holds it back.
	Queued []string
	// Leased are the deliveries that the caller attempts, each in a slot that it had reserved.
	Leased []*Delivery
}

// CaughtUp is the result of queueing the last event of a waybill for a tenant that subscribed the waybill after that
// event.
type CaughtUp struct {
	// Stale: the waybill has a newer last event by now. Nothing was changed.
	Stale bool
	// Deliveries is how many endpoints are owed the event now that were not before; Queued is at how many of them it
	// is due now.
	Deliveries, Queued int
}

// Summary counts what became of the items of one or more callbacks.
type Summary struct {
	New, Duplicates, Quarantined int
	// Deliveries counts the deliveries of all new events together; Unrouted counts the new events that have none.
	Deliveries, Unrouted int
	// Spooled: the callback is safe in the spool, and the counts are not known yet.
	Spooled bool
}

// Add adds another summary to this one.
func (s *Summary) Add(x Summary) {
	s.New += x.New
	s.Duplicates += x.Duplicates
	s.Quarantined += x.Quarantined
	s.Deliveries += x.Deliveries
	s.Unrouted += x.Unrouted
}

// ErrQuarantineFull says that there is no room in quarantine.
var ErrQuarantineFull = errors.New("the quarantine is full")
