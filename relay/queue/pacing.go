package queue

import "time"

// Pacing is how all replicas together hold back at an endpoint: by a rate, and by a breaker, and by the order of what
// is sent again.
type Pacing struct {
	// Rate is attempts a second; 0: as many as there is room for.
	Rate    float64
	Breaker Breaker
	// Unordered has updates of a waybill that are sent again not wait for each other.
	Unordered bool
}

// Breaker says when an endpoint that fails is left alone. While the breaker is open, deliveries wait and use up no
// attempts, except for one at a time that is sent as a probe. The first probe that succeeds closes the breaker.
type Breaker struct {
	// So many Failures in a row open it. So many within Window also do, if they are at least the share Ratio (0 to 1)
	// of all attempts in it. 0: it never opens.
	Failures int
	Ratio    float64
	Window   time.Duration
	// CoolOff is the pause before the first probe. Each one that fails doubles it, up to MaxCoolOff.
	CoolOff, MaxCoolOff time.Duration
}

// Signal is what an attempt says about its endpoint, for the breaker.
type Signal byte

const (
	// NoSignal says that nothing was sent.
	NoSignal Signal = iota
	// Answers says that the endpoint works, although it may have refused this body.
	Answers
	// Fails says that it does not work, or does not take what is sent to it.
	Fails
)

// BreakerChange is how an outcome changed the breaker of its endpoint.
type BreakerChange struct {
	// Open: the endpoint is left alone until Until. Otherwise the breaker has closed, and the backlog is sent at a
	// growing pace.
	Open  bool
	Until time.Time
	// Probes is how many probes have failed since it opened.
	Probes int
}
