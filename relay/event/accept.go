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
	// Queued names those of them where it is due now, for any replica to lease: neither leased to the caller, nor waiting, nor held
	// back by a breaker or a person.
	Queued []string
	// Leased are those that are the caller's to attempt, in a slot that it had reserved.
	Leased []*Delivery
}

// CaughtUp is what came of queueing the last event of a waybill for a tenant that has subscribed it later.
type CaughtUp struct {
	// Stale: another event is the waybill's last one by now. Nothing was changed.
	Stale bool
	// Deliveries is how many endpoints are owed the event anew; Queued is how many of them are due now.
	Deliveries, Queued int
}

// Summary is what became of callbacks' items.
type Summary struct {
	New, Duplicates, Quarantined int
	// Deliveries is how many endpoints the new events are owed to, all together; Unrouted is how many of them no endpoint is owed.
	Deliveries, Unrouted int
	// Spooled: the callback is safe in the spool, and the rest is not known yet.
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
