package event

import (
	"errors"
	"net/http"
	"time"
)

// State is the state of a delivery, as people see it.
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

// Record is an event as the store has it, with what became of it.
type Record struct {
	Event
	// Repeats is how often it came again, as a duplicate, and LastRepeat when it last did.
	Repeats    int
	LastRepeat time.Time
	// RepeatedIn are the ids of the callbacks that it came again in, of the last ten times, the oldest first. Those of
	// callbacks without an id are left out.
	RepeatedIn []string
	// Deliveries are those of the event, ordered by endpoint.
	Deliveries []DeliveryRecord
	// WithoutData says that the answer had no room for its data.
	WithoutData bool
	// Next is the cursor of the page that follows this event, set by Store.Events only.
	Next string
}

// DeliveryRecord is a delivery as the store has it.
type DeliveryRecord struct {
	Endpoint string
	State    State
	// Attempts counts the finished attempts since the delivery was queued, redriven or replayed.
	Attempts int
	Reason   Reason
	// Due is set for StateQueued, StateSending and StateRetrying, by Store.Event and Store.Waybill only.
	Due time.Time
	// Since is when its age began, see Delivery. It is set while the delivery is open.
	Since time.Time
	// Behind is the id of the update that a waiting delivery stands behind, set by Store.Event and Store.Waybill only.
	Behind string
	// Why says why it is dead.
	Why string
	// Records are the attempts that are still known, the oldest first. If one succeeded, it is the last.
	Records []AttemptRecord
}

// AttemptRecord is one attempt of a delivery, or of an endpoint's history.
type AttemptRecord struct {
	At       time.Time // when it ended
	Status   int       // 0: no answer came
	Duration time.Duration
	N        int // number of the attempt of its delivery, from 1; 0: not known

	// What follows is kept of attempts that failed, and only for the latest of an endpoint; empty: it is not known.

	// Text is the error, or the beginning of the answer.
	Text string
	// Class is one of Classes if no answer came.
	Class string
	// Reason is why the delivery was sent, and Replica which relay sent it.
	Reason  Reason
	Replica string
	// Headers are some of the answer, each "name: value" in printable ASCII.
	Headers []string
}

// Good says whether the attempt delivered.
func (r AttemptRecord) Good() bool { return r.Status >= 200 && r.Status < 300 }

// Fails says whether the attempt speaks against its endpoint, as a breaker counts: an answer that only refuses the body
// does not, nor a dial that the egress guard has refused.
func (r AttemptRecord) Fails() bool {
	return !r.Good() && r.Status != http.StatusGone && !RefusesBody(r.Status) && r.Class != ClassForbidden
}

// FailedInRow counts the attempts that have failed in a row, of a list that has the latest first, and returns when the
// first of these ended. whole is false if the row may have begun before the list does.
func FailedInRow(latest []AttemptRecord) (n int, since time.Time, whole bool) {
	for _, r := range latest {
		switch {
		case r.Fails():
			n++
			since = r.At
		case r.Class != ClassForbidden:
			return n, since, true
		}
	}
	return n, since, false
}

// Remembered is what is known of a waybill for longer than its events are kept.
type Remembered struct {
	// AcceptedAt is when its latest update was accepted, under any brand.
	AcceptedAt time.Time
	// Statuses are the last ones by brand; an update without a brand has none.
	Statuses []LastStatus
}

// LastStatus is the last status of a waybill under one brand.
type LastStatus struct {
	CPCode, Status string
	// TrackedAt is the time of the newest track, and AcceptedAt when the update with it was accepted; zero if no track has
	// a time.
	TrackedAt, AcceptedAt time.Time
}

// Query asks for a page of events. The zero Query is the latest of all.
type Query struct {
	// Endpoints limits the page to events that are or were owed to one of them; nil: no limit.
	Endpoints []string
	// Since (inclusive) and Until (exclusive) bound the time of acceptance; zero: no bound.
	Since, Until time.Time
	// Match reports whether an event is wanted; nil: all are.
	Match func(*Record) bool
	// Newer goes on to newer events rather than older ones.
	Newer bool
	// Cursor is where an earlier page ended; empty: at the beginning.
	Cursor string
	// Most is how many events are wanted.
	Most int
}

// Takes says whether an event passes the query, but for its endpoints.
func (q *Query) Takes(e *Record) bool {
	return (q.Since.IsZero() || !e.AcceptedAt.Before(q.Since)) && (q.Until.IsZero() || e.AcceptedAt.Before(q.Until)) &&
		(q.Match == nil || q.Match(e))
}

// Page is an answer to a Query.
type Page struct {
	Events []*Record
	// Next is the cursor of the next page; empty at the end. A page may have fewer events than wanted, even none, and
	// a Next: then the search took too long. Towards newer events there always is a Next.
	Next string
	// End says that nothing more is there for now.
	End bool
	// Looked is how many events were read to decide whether they match.
	Looked int
	// BackTo is how far back the search has come: the page has every wanted event since then. Zero: not known. Towards
	// newer events it says nothing.
	BackTo time.Time
	// Back is where a page in the other direction begins, next to the first event that was looked at and is within the
	// time that was asked for. If none is, it begins with the last one that was looked at; empty: none was.
	Back string
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

// ErrTooMany says that too many do this at the same time.
var ErrTooMany = errors.New("too many at one time")

// ErrCursor says that a cursor was not returned by an earlier list.
var ErrCursor = errors.New("not a cursor of an earlier list")
