package event

import "time"

// State is what a delivery has come to, as people see it.
type State string

// The states of a delivery.
const (
	StateQueued    State = "queued"    // due at Due, or in the queue since
	StateSending   State = "sending"   // an attempt is under way; Due is when its lease lapses
	StateRetrying  State = "retrying"  // the last attempt failed; the next one is due at Due
	StateWaiting   State = "waiting"   // behind an older update of its waybill
	StateDelivered State = "delivered" // the endpoint has it
	StateDead      State = "dead"      // given up: a dead letter
	StateDismissed State = "dismissed" // a dead letter that a person was done with
)

// States are all states of a delivery.
func States() []State {
	return []State{StateQueued, StateSending, StateRetrying, StateWaiting, StateDelivered, StateDead, StateDismissed}
}

// Open says whether the delivery is still to be made.
func (s State) Open() bool {
	return s == StateQueued || s == StateSending || s == StateRetrying || s == StateWaiting
}

// Stored is an event as the store has it, with what became of it.
type Stored struct {
	Event
	// Repeats is how often it came again, as a duplicate, and LastRepeat when it last did.
	Repeats    int
	LastRepeat time.Time
	// Deliveries are those that it owes or owed, by endpoint.
	Deliveries []Owed
	// WithoutData says that there was no room for its data.
	WithoutData bool
	// Next is the cursor of what follows it, set by Store.Events only.
	Next string
}

// Owed is a delivery as the store has it.
type Owed struct {
	Endpoint string
	State    State
	// Attempts counts the finished attempts since the delivery was queued, redriven or replayed.
	Attempts int
	Reason   Reason
	// Due is set for StateQueued, StateSending and StateRetrying, by Store.Event and Store.Waybill only.
	Due time.Time
	// Behind is the id of the update that a waiting one stands behind, set by Store.Event and Store.Waybill only.
	Behind string
	// Why says why it is dead.
	Why string
	// Records are its attempts as far as they are known, the oldest first; one that succeeded is the last.
	Records []AttemptRecord
}

// AttemptRecord is one attempt of a delivery, or of an endpoint's history.
type AttemptRecord struct {
	At       time.Time // when it ended
	Status   int       // 0: no answer came
	Duration time.Duration
	// Text is the error, or the beginning of the answer of one that failed. It is kept for the latest of an endpoint only.
	Text string
}

// Good says whether the attempt delivered.
func (r AttemptRecord) Good() bool { return r.Status >= 200 && r.Status < 300 }

// Query asks for a page of events. The zero Query is the latest of all.
type Query struct {
	// Endpoints limits it to events that are or were owed to one of them; nil: all.
	Endpoints []string
	// Since and Until are bounds of the acceptance, the first inclusive; zero: none.
	Since, Until time.Time
	// Match says of an event whether it is wanted; nil: all are.
	Match func(*Stored) bool
	// Newer goes on to newer events rather than older ones.
	Newer bool
	// Cursor is where an earlier page ended; empty: at the beginning.
	Cursor string
	// Most is how many events are wanted.
	Most int
}

// Page is an answer to a Query.
type Page struct {
	Events []*Stored
	// Next is the cursor of what follows; empty at the end. A page may have fewer events than wanted, even none, and still
	// a Next: looking on took too long. Going to newer events there always is a Next.
	Next string
	// End says that there is nothing more for now.
	End bool
	// Looked is how many events were looked at for their content.
	Looked int
}

// EndpointHealth sums up an endpoint.
type EndpointHealth struct {
	Endpoint string
	// Parked is why nothing is sent: "gone", "paused", or "open" for its breaker; empty: it is not parked. ParkedSince is when that
	// began, ParkedUntil when the breaker lets the next attempt through.
	Parked                   string
	ParkedSince, ParkedUntil time.Time
	// AnswersTwice is since when the endpoint is known to answer twice, and so gets a connection for each attempt; zero: it is not.
	AnswersTwice time.Time
	// Open counts what is queued, retrying or being sent; Waiting what stands behind an older update of its waybill.
	Open, Waiting, Dead int64
	// Oldest is when the oldest open delivery was accepted at the latest (of more than two, it may be older); zero if nothing is open.
	Oldest time.Time
	// Delivered is when the latest delivery was made, as far as the endpoint's history goes; zero: none.
	Delivered time.Time
	// Latest are the latest attempts, the latest first.
	Latest []AttemptRecord
}

// DeadLetter is a dead letter.
type DeadLetter struct {
	EventID  string
	Endpoint string
	DeadAt   time.Time
	Attempts int
	Reason   string
	// Type, WaybillCode, CPCode and Status are those of the event.
	Type, WaybillCode, CPCode, Status string
}

// Replay sends events again.
type Replay struct {
	ID string
	// Tenant is who asked for it, and whose endpoints it is limited to; empty: the operator.
	Tenant string
	// Filter is what it was asked for, as JSON: the store does not look at it.
	Filter []byte
	// State is "running", "done" or "cancelled".
	State          string
	Created, Ended time.Time
	// Cursor is how far it is.
	Cursor string
	// Looked counts events, Matched those that the filter takes, Queued the deliveries that were queued again, and Skipped
	// those that were open already, or not there any more.
	Looked, Matched, Queued, Skipped int64
}

// OpenReplay is a replay that is not at its end.
type OpenReplay struct {
	ID, Tenant string
	// Taken says that a replica works it off.
	Taken bool
}

// Resend is one delivery of a page of a replay.
type Resend struct {
	EventID, Endpoint string
	// Lease is how long it is leased to the caller, who has a slot for it; 0: it is queued for any replica.
	Lease time.Duration
	// Add sends it also if the endpoint was not owed it before.
	Add bool
}

// ReplayPage is how far a replay has come with one page, or with a part of one.
type ReplayPage struct {
	// Cursor is where to go on; empty: where it was.
	Cursor string
	Done   bool
	// Looked and Matched are how many events were looked at, and taken; Counted how many deliveries a dry run would send.
	Looked, Matched, Counted int
	Resends                  []Resend
}
