package event

import "time"

// OutcomeKind is what becomes of a leased delivery.
type OutcomeKind byte

const (
	// Delivered closes the delivery: the endpoint has the event.
	Delivered OutcomeKind = 'd'
	// Retry queues it again for Outcome.Due.
	Retry OutcomeKind = 'r'
	// Dead gives it up: a dead letter, with Outcome.Reason.
	Dead OutcomeKind = 'x'
	// Gone parks the endpoint until a person resumes it; the delivery stays open.
	Gone OutcomeKind = 'g'
	// Released hands the lease back untried (shutdown); the delivery is due at once.
	Released OutcomeKind = 'u'
)

// Outcome is what came of a leased delivery, for the store to write down.
type Outcome struct {
	Delivery *Delivery
	Kind     OutcomeKind
	Due      time.Time // Retry only
	Reason   string    // Dead only: why, for people
	Attempt  *Attempt  // nil if none was made
	Signal   Signal    // what the attempt says of the endpoint
	// Next asks for the successor of the same waybill and endpoint, leased for this long; 0: the caller has no room for it.
	Next time.Duration
	// Behind asks for so many of those that wait behind the successor as well.
	Behind int
	// Had is how many of the line, from the successor on, the caller has from an answer before: they are not answered again, and Behind
	// counts from there.
	Had int
}

// Ask is a wish to lease deliveries of one endpoint that are due.
type Ask struct {
	Endpoint string
	Lease    time.Duration
	Most     int
	// OpenBefore leases only deliveries that have been open since before; zero: any.
	OpenBefore time.Time
	// Parked leases though the endpoint is held back by a person, its breaker, or its rate.
	Parked bool
	// From is where the last look ended, zero to begin.
	From Cursor
}

// Cursor is a place in what is due at an endpoint: a time, and how many of those that were due then have been passed over.
type Cursor struct {
	Due  time.Time
	Skip int
}

// Looked is how far an Ask went: as many deliveries as it wanted if there may be more, and where to go on.
type Looked struct {
	N    int
	Next Cursor
	// Limited says that there may be more, but not yet; Again is when, zero: when an attempt at the endpoint has ended.
	Limited bool
	Again   time.Duration
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
	// Leased: the caller has the successor of the same waybill and endpoint, which it asked for.
	Leased bool
	// Next is that successor, unless the caller had it before.
	Next *Delivery
	// Behind is what waits behind it and what the caller had, if the caller asked for that: for the holder of the lease to attempt, each
	// after the one before was delivered, and to settle in that order.
	Behind []*Delivery
	// Breaker is what became of the endpoint's breaker, nil if it is as it was.
	Breaker *BreakerChange
}
