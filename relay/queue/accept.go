// Package queue has what the parts ask the store about deliveries, and what they get from it: events are accepted
// (Routed, Accepted), deliveries that are due are leased (LeaseRequest), and what came of each is settled (Outcome,
// Settled). Pacing says how all replicas together hold back at an endpoint. There is no code: package store does it.
package queue

import (
	"time"

	"kuairelay/relay/event"
)

// Routed is an event with the endpoints that it may be owed to.
type Routed struct {
	Event *event.Event
	To    []Candidate
}

// Candidate is an endpoint that an event is owed to if a condition holds.
type Candidate struct {
	Endpoint string
	When     event.Conditions
	// Ordered lines the delivery up behind older ones of its waybill.
	Ordered bool
	// Slot says that the caller has reserved room to attempt the delivery at once, under a lease of this length.
	Slot  bool
	Lease time.Duration
}

// Accepted is what became of a Routed event.
type Accepted struct {
	// Duplicate: the event was accepted before; nothing was changed.
	Duplicate bool
	// Deliveries is how many endpoints the event is owed to.
	Deliveries int
	// Queued names those endpoints where the delivery is due now, for any replica to lease. It is not leased to the
	// caller, it does not wait in line, and neither a breaker nor a person holds it back.
	Queued []string
	// Leased are the deliveries that the caller attempts, each in a slot that it had reserved.
	Leased []*event.Delivery
}

// CatchUpResult is the result of queueing the last event of a waybill for a tenant that subscribed the waybill after
// that event.
type CatchUpResult struct {
	// Stale: the waybill has a newer last event by now. Nothing was changed.
	Stale bool
	// Deliveries is how many endpoints are owed the event now that were not before; Queued is at how many of them it
	// is due now.
	Deliveries, Queued int
}
