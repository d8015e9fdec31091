package deliver

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

const (
	// maxRetryAfter caps what a Retry-After header can ask for.
	maxRetryAfter = 24 * time.Hour
	// refusedAttempts is how many attempts a body gets that the receiver refuses.
	refusedAttempts = 4
)

// Policy is how long and how often an endpoint's deliveries are tried.
type Policy struct {
	// Retry has the pause after the first attempt, the second, and so on. A delivery is dead after one attempt more than
	// Retry has entries.
	Retry []time.Duration
	// MaxAge is the age, since the event was accepted or redriven, at which a delivery is given up. 0 means never.
	MaxAge time.Duration
}

// Verdict says what becomes of a delivery.
type Verdict struct {
	// Kind is queue.Delivered, queue.Retry, queue.Dead or queue.Gone.
	Kind queue.OutcomeKind
	// Due is when the next attempt may start. Set for queue.Retry only.
	Due time.Time
	// Reason says for people why a delivery is dead. Set for queue.Dead only.
	Reason string
}

// Decide returns what becomes of a delivery after its n-th attempt (1-based), whose result is a. since is when the
// delivery was opened. Decide is pure: now is when the attempt ended, and jitter, in [0,1), makes the pause longer by
// up to a tenth. Its decisions:
//
//	2xx                                          delivered, nothing else is
//	410                                          gone: it is about the endpoint, not this delivery: a person has to look
//	408, 425, 429, 5xx, network error, time-out  the schedule, or Retry-After if that is later (24 hours at most)
//	400, 402, 405 to 407, … (any other 4xx)      the schedule, dead after attempt 4: the receiver refuses this body
//	forbidden by the egress guard                dead
//	3xx, 401, 403, 404, and what is no answer    the schedule
//
// A delivery is dead when the schedule is used up, or when it is as old as the policy allows. A retry is due at that
// age at the latest, so that nothing stays open longer.
func Decide(a event.Attempt, n int, p Policy, now, since time.Time, jitter float64) Verdict {
	var hint time.Duration
	refused := false
	switch classify(a) {
	case delivered:
		return Verdict{Kind: queue.Delivered}
	case gone:
		return Verdict{Kind: queue.Gone}
	case forbidden:
		return dead("%s", a.Err)
	case unavailable:
		hint = min(a.RetryAfter, maxRetryAfter)
	case refusal:
		refused = true
	}

	pause, more := backoff(p.Retry, n, jitter)
	switch {
	case refused && (!more || n >= refusedAttempts):
		return dead("the receiver refuses this body: %d", a.Status)
	case !more && n == 1:
		return dead("the only attempt failed: %s", describe(a))
	case !more:
		return dead("%d attempts failed, the last: %s", n, describe(a))
	case p.expired(now, since):
		return dead("%s", p.expiry())
	}
	due := now.Add(max(pause, hint))
	if end := since.Add(p.MaxAge); p.MaxAge > 0 && due.After(end) {
		due = end
	}
	return Verdict{Kind: queue.Retry, Due: due}
}

// expired says whether a delivery that has been open since then is given up for its age.
func (p Policy) expired(now, since time.Time) bool {
	return p.MaxAge > 0 && now.Sub(since) >= p.MaxAge
}

// expiry is the reason of a delivery that was given up because of its age.
func (p Policy) expiry() string { return "older than max_age " + Brief(p.MaxAge) }

// Brief shows a span, as a config has it, without the units that are zero.
func Brief(d time.Duration) string {
	span := d.String()
	if whole, ok := strings.CutSuffix(span, "m0s"); ok {
		span = whole + "m"
	}
	if whole, ok := strings.CutSuffix(span, "h0m"); ok {
		span = whole + "h"
	}
	return span
}

// answer is a class of attempts that Decide treats alike.
type answer uint8

const (
	unclear     answer = iota // 3xx, 401, 403, 404, and odd ones: the schedule
	delivered                 // 2xx
	gone                      // 410
	unavailable               // the schedule, with Retry-After
	refusal                   // any other 4xx
	forbidden                 // by the egress guard
)

func classify(a event.Attempt) answer {
	switch {
	case event.ClassOf(a.Err) == event.ClassForbidden:
		return forbidden
	case a.Err != "":
		return unavailable
	case event.RefusesBody(a.Status):
		return refusal
	}

	switch a.Status {
	case http.StatusGone:
		return gone
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return unavailable
	}
	switch a.Status / 100 {
	case 2:
		return delivered
	case 5:
		return unavailable
	}
	return unclear
}

// signalOf returns what an attempt says about its endpoint, for the breaker. An attempt that goes on the schedule is a
// failure. The refusal of one body is an answer. What the egress guard forbids says nothing.
func signalOf(a event.Attempt) queue.Signal {
	switch classify(a) {
	case unavailable, unclear:
		return queue.Fails
	case delivered, gone, refusal:
		return queue.Answers
	}
	return queue.NoSignal
}

// describe describes the result of an attempt for people.
func describe(a event.Attempt) string {
	if a.Err != "" {
		return a.Err
	}
	if a.Status == 0 {
		return "no answer"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status)))
}

func dead(format string, args ...any) Verdict {
	return Verdict{Kind: queue.Dead, Reason: fmt.Sprintf(format, args...)}
}
