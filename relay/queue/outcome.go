package queue

import (
	"time"

	"kuairelay/relay/event"
)

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
	Delivery *event.Delivery
	Kind     OutcomeKind
	Due      time.Time      // Retry only
	Reason   string         // Dead only: why, for people
	Attempt  *event.Attempt // nil if none was made
	Signal   Signal         // what the attempt says of the endpoint
	// Next asks for the successor of the same waybill and endpoint, leased for this long; 0: the caller has no room
	// for it.
	Next time.Duration
	// Held is how many deliveries of the line the caller already has, counted from the successor. They are not sent
	// again.
	Held int
	// Wanted asks for so many more deliveries of the line: of those behind the successor, or behind the ones that are
	// held.
	Wanted int
}

// LeaseRequest asks for a lease of deliveries of one endpoint that are due.
type LeaseRequest struct {
	Endpoint string
	Lease    time.Duration
	Most     int // deliveries
	// OpenBefore leases only deliveries that were open before this time already; zero: any.
	OpenBefore time.Time
	// Parked leases also if a person, its breaker or its rate holds the endpoint back.
	Parked bool
	// From is the Next of an earlier LeaseProgress; zero: from the beginning.
	From Cursor
}

// Cursor is a place in the queue of an endpoint: a time, and how many of the deliveries due at that time have been
// passed over.
type Cursor struct {
	Due  time.Time
	Skip int
}

// LeaseProgress is how far a LeaseRequest came.
type LeaseProgress struct {
	// N is how many deliveries were looked at. If it is the Most of the request, there may be more from Next on.
	N    int
	Next Cursor
	// Limited says that there may be more, but not yet. Again is how long to wait; 0: until an attempt at the
	// endpoint has ended.
	Limited bool
	Again   time.Duration
}

// DueEndpoint is an endpoint that has a delivery due at (or, rarely, after) At.
type DueEndpoint struct {
	Endpoint string
	At       time.Time
}

// Settled is what became of an Outcome.
type Settled struct {
	// Late: another holder has the delivery, or has closed it. The outcome changed nothing.
	Late bool
	// Leased: the caller has the successor of the same waybill and endpoint, which it asked for.
	Leased bool
	// Next is that successor, unless the caller held it already.
	Next *event.Delivery
	// Line is what waits behind it and behind what the caller held, as many as it wanted. The holder of the lease
	// attempts each after the one before it was delivered, and settles them in that order.
	Line []*event.Delivery
	// Breaker is what became of the endpoint's breaker, nil if it is as it was.
	Breaker *BreakerChange
}
