package event

import "time"

// Pacing is how all replicas together hold back at an endpoint: by a rate, and by a breaker.
type Pacing struct {
	// Rate is attempts a second; 0: as many as there is room for.
	Rate    float64
	Breaker Breaker
}

// Breaker says when an endpoint that fails is left alone. While it is open, deliveries wait and burn no attempts, but for one
// at a time that is sent as a probe. The first probe that is answered closes it.
type Breaker struct {
	// Failures in a row open it, or as many within Window if they are Ratio of all attempts in it, or more. 0: it never opens.
	Failures int
	Ratio    float64
	Window   time.Duration
	// CoolOff is the pause before the first probe. Each one that fails doubles it, up to MaxCoolOff.
	CoolOff, MaxCoolOff time.Duration
}

// Signal is what an attempt says of its endpoint.
type Signal byte

const (
	// NoSignal is that of one that was not sent.
	NoSignal Signal = iota
	// Answers says that the endpoint works, though it may have refused this body.
	Answers
	// Fails says that it does not, or does not take what is sent to it.
	Fails
)

// BreakerChange is what an outcome made of its endpoint's breaker.
type BreakerChange struct {
	// Open: the endpoint is left alone until then. Otherwise it has closed, and the backlog is let go at a growing pace.
	Open  bool
	Until time.Time
	// Probes is how many have failed since it opened.
	Probes int
}
