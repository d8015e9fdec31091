package event

import (
	"errors"
	"time"
)

// Callback is one HTTP request of the provider, as it came.
type Callback struct {
	// ID names it (see NewCallbackID); empty: an older version has kept it, which knew no ids.
	ID string
	// ReceivedAt is when it arrived here.
	ReceivedAt time.Time
	// From is the address that sent it, or FromQuery, and Replica the relay that took it; empty: unknown.
	From, Replica string
	// Headers are those that say how to read Body, who sent it, and of which trace it is: Content-Type, Content-Encoding,
	// User-Agent, Traceparent.
	Headers map[string]string
	Body    []byte
	// IDs are those of its events, in their order. They are kept only if one event is a recurrence, because then its
	// id does not follow from its content alone.
	IDs []string
}

// FromQuery is From of what no callback has brought: the provider said it when it was asked how a waybill stands.
const FromQuery = "query"

// Origin is what is kept of a callback with each of its events.
type Origin struct {
	// ID, From and Replica are those of the Callback.
	ID, From, Replica string
	// Form is how its body was written: FormJSON, FormURLEncoded or FormMultipart.
	Form string
	// Items is how many items it had, those included that were not understood.
	Items int
	// Trace is that of its traceparent; empty: it had none.
	Trace Trace
}

// How the body of a callback may be written.
const (
	FormJSON       = "json"
	FormURLEncoded = "urlencoded"
	FormMultipart  = "multipart"
)

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
