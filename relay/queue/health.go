package queue

import (
	"time"

	"kuairelay/relay/event"
)

// Parked is why nothing is sent to an endpoint; empty: the endpoint is not parked.
type Parked string

// Why an endpoint is parked.
const (
	ParkedPaused Parked = "paused" // by a person
	ParkedGone   Parked = "gone"   // it answered 410
	ParkedOpen   Parked = "open"   // its breaker is open
)

// BusyEndpoint is one that may have something open, waiting or dead, or that is held back.
type BusyEndpoint struct {
	Endpoint string
	// LatestDead is when its latest dead letter was given up; zero: it has none.
	LatestDead time.Time
}

// EndpointHealth sums up an endpoint.
type EndpointHealth struct {
	Endpoint string
	// Parked says why nothing is sent. ParkedSince is when that began, and ParkedUntil is when the breaker lets the next
	// attempt through.
	Parked                   Parked
	ParkedSince, ParkedUntil time.Time
	// PausedBy is the name of who has paused it (event.Actor); empty: it is not paused, or that is not known.
	PausedBy string
	// AnswersTwice is since when the endpoint is known to send two answers to a request, so that each attempt gets a
	// connection of its own; zero: it does not.
	AnswersTwice time.Time
	// Open counts deliveries that are queued, retrying or being sent. Waiting counts those behind an older update of
	// their waybill.
	Open, Waiting, Dead int64
	// Oldest is when the oldest open delivery was accepted; zero: nothing is open. With more than two open
	// deliveries, the oldest may be older than this.
	Oldest time.Time
	// Delivered is when the latest delivery in the endpoint's history was made; zero: none.
	Delivered time.Time
	// OldestSince is when the age of the oldest open delivery began (see event.Delivery), as far as Oldest goes.
	OldestSince time.Time
	// Latest are the latest attempts, the latest first.
	Latest []event.AttemptRecord
	// FailedInRow counts the latest attempts that failed in a row (see event.AttemptRecord.Fails), as many as Latest has
	// at most. FailingSince is when the first of all in the row ended; zero: none did.
	FailedInRow  int
	FailingSince time.Time
}

// EndpointAttempt is one attempt of an endpoint's history.
type EndpointAttempt struct {
	event.AttemptRecord
	EventID string
	Kind    OutcomeKind // what became of the delivery
}

// AttemptsQuery asks for a page of an endpoint's history.
type AttemptsQuery struct {
	Endpoint string
	Failed   bool   // only those that failed
	Cursor   string // where an earlier page ended; empty: at the latest
	Most     int    // how many are wanted
}

// Retried is what came of an order to try deliveries of an endpoint at once.
type Retried struct {
	// Due counts those that are due at once now.
	Due int
	// Parked says why the endpoint is parked. While it is paused or gone, nothing was changed; while its breaker is open,
	// one delivery at most is due.
	Parked Parked
}
