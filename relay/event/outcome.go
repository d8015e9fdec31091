package event

import "time"

// Kind is what becomes of a leased delivery.
type Kind byte

const (
	// Delivered closes the delivery: the endpoint has the event.
	Delivered Kind = 'd'
	// Retry queues it again for Outcome.Due.
	Retry Kind = 'r'
	// Dead gives it up: a dead letter, with Outcome.Reason.
	Dead Kind = 'x'
	// Gone parks the endpoint until a person resumes it; the delivery stays open.
	Gone Kind = 'g'
	// Released hands the lease back untried (shutdown); the delivery is due at once.
	Released Kind = 'u'
)

// Outcome is what came of a leased delivery, for the store to write down.
type Outcome struct {
	Delivery *Delivery
	Kind     Kind
	Due      time.Time // Retry only
	Reason   string    // Dead only: why, for people
	Attempt  *Attempt  // nil if none was made
	// Next asks for the successor of the same waybill and endpoint, leased for this long; 0: the caller has no room for it.
	Next time.Duration
}

// Ask is a wish to lease deliveries of one endpoint that are due.
type Ask struct {
	Endpoint string
	Lease    time.Duration
	Most     int
	// AcceptedBefore leases only older events; zero: any.
	AcceptedBefore time.Time
	// Parked leases though the endpoint is parked.
	Parked bool
	// Offset passes over that many of the deliveries that are due.
	Offset int
}

// Due is an endpoint that has a delivery due at (or, rarely, after) At.
type Due struct {
	Endpoint string
	At       time.Time
}

// Settled is what became of an Outcome.
type Settled struct {
	// Late: another holder has the delivery, or has closed it; the outcome changed nothing.
	Late bool
	// Next is the successor of the same waybill and endpoint, leased to the caller, if it asked for it and there is one.
	Next *Delivery
}
