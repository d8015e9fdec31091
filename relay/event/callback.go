package event

import "time"

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
