package event

import (
	"errors"
	"time"
)

// Callback is one HTTP request of the provider, as it came.
type Callback struct {
	// ReceivedAt is when it arrived here.
	ReceivedAt time.Time
	// Headers are those that say how to read Body, and who sent it: Content-Type, Content-Encoding, User-Agent.
	Headers map[string]string
	Body    []byte
	// IDs are those of its events, in their order. They are kept only if one event is a recurrence, because then its
	// id does not follow from its content alone.
	IDs []string
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
