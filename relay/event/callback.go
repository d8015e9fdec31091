package event

import "time"

// Callback is one HTTP request of the provider, as it came.
type Callback struct {
	// ReceivedAt is when it arrived here.
	ReceivedAt time.Time
	// Headers are those that say how Body is to be read, and who sent it: Content-Type, Content-Encoding, User-Agent.
	Headers map[string]string
	Body    []byte
	// IDs of its events in their order, kept where the content alone does not give them: one of them is a recurrence.
	IDs []string
}
