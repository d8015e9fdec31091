// Package ledger has what the parts ask the store about the ledger, which holds all subscriptions, and what they get
// from it. There is no code: package store/subscriptions does it.
package ledger

import (
	"time"

	"kuairelay/relay/event"
)

// State is how the subscription of a waybill stands at the provider.
type State string

// The states of a waybill.
const (
	// Pending: the provider is to be asked, or is being asked, or has no record of the waybill yet and is asked again.
	Pending State = "pending"
	// Live: the provider accepted the subscription, and pushes updates until the parcel is signed for.
	Live State = "live"
	// Failed: the provider refused or did not answer, or has had no record for as long as the schedule lasts. It is asked
	// again when the next tenant subscribes the waybill.
	Failed State = "failed"
)

// Verdict is what an answer of the provider, or its absence, means for the waybills of a call.
type Verdict string

// The verdicts.
const (
	// Accepted makes a waybill Live.
	Accepted Verdict = "accepted"
	// NoRecord says that the provider does not know the waybill yet: it is asked again on a schedule.
	NoRecord Verdict = "no_record"
	// Refused makes a waybill Failed.
	Refused Verdict = "refused"
	// Unanswered says nothing of the waybill. One that had no record before is asked again on the schedule, any other is
	// Failed.
	Unanswered Verdict = "unanswered"
)

// Answer is what the provider said about a waybill, or what the relay says in its place if the provider did not answer.
type Answer struct {
	Code int    // 0 is success
	Msg  string // as it came
	UID  string // names the request at the provider; empty if it gave none
}

// Subscription says that a tenant gets the updates of one waybill, as the ledger has it.
type Subscription struct {
	Tenant string
	event.Waybill
	// Since is when the tenant subscribed; Expires is when the ledger forgets it.
	Since, Expires time.Time
	State          State
	// Answer is the one that led to Live or Failed, or that there is no record yet.
	Answer Answer
	// RetryAt is when the provider is asked again for a waybill of which it has no record yet; zero: it is not, or it is
	// being asked.
	RetryAt time.Time
}

// Counts are about the subscriptions of one tenant.
type Counts struct {
	// Total is how many there are. Looked of them were looked at, which States counts.
	Total, Looked int
	States        map[State]int
	// Today is how many waybills were subscribed since midnight in China, of a daily quota.
	Today int
}

// SubscribeResult is what the ledger says to a tenant that subscribes a waybill.
type SubscribeResult struct {
	// State is Live, or Pending if the provider has to be asked (or is being asked).
	State State
	// Full: the tenant has as many subscriptions as it may have, and this is not one of them. Nothing was written.
	Full bool
	// Already: the tenant had subscribed the waybill before, and the subscription was Live.
	Already bool
	// CatchUp: the relay knows an update of the waybill that the tenant may not have got.
	CatchUp bool
	Answer  Answer
	// RetryAt is when the provider is asked again for a waybill of which it has no record yet, as Answer says; zero: that
	// is not so, or it is due.
	RetryAt time.Time
}

// ClaimResult is the result of claiming a waybill, so that only one replica asks the provider for it.
type ClaimResult struct {
	// Mine: the caller has to ask the provider, within the time of the claim.
	Mine bool
	// State is Pending if another holds the claim, or until RetryAt; empty if the ledger does not know the waybill.
	State  State
	Answer Answer
	// RetryAt is when the provider is asked again for a waybill of which it has no record yet; zero: that is not so.
	RetryAt time.Time
	// Unknown says that the provider had no record of the waybill when it was last asked.
	Unknown bool
}

// AnswerResult is what became of a waybill by the provider's answer.
type AnswerResult struct {
	// State is empty if the ledger does not know the waybill. It may not be what the answer led to: the answer came late.
	State State
	// RetryAt is when the provider is asked again; zero: it is not.
	RetryAt time.Time
	// Loss is set if the tenants that have subscribed the waybill are to be told that it failed.
	Loss *Loss
}

// Loss is a waybill that failed after it had been pending, because the provider had no record of it. The tenants that
// have subscribed it are to be told, which Store.Told ends. It stays the same whoever reads it, and however often.
type Loss struct {
	event.Waybill
	// Since is when the provider first had no record of it, Asked how often it was asked since, that time included.
	Since time.Time
	Asked int
	// Answer is the last one, without UID.
	Answer Answer
	// Key names it in the store.
	Key string
}

// Limits are what a tenant may ask for; zero is no limit.
type Limits struct {
	// Rate of requests per second; a second's worth may come at once.
	Rate float64
	// DailyQuota of waybills, from midnight to midnight China time.
	DailyQuota int
}

// UnfinishedWork was begun by another replica and not finished within the time of its claim. The caller takes it over.
type UnfinishedWork struct {
	event.Waybill
	// Tenant is the one to catch up; empty: the provider has to be asked.
	Tenant string
	// Loss, if set, is all there is: tenants are to be told of it.
	Loss *Loss
}

// Work counts what is to be done for subscriptions.
type Work struct {
	// Unfinished are waybills to subscribe upstream, tenants to catch up, and losses to tell of.
	Unfinished int
	// NoRecord are waybills of which the provider has no record yet.
	NoRecord int
	// Queries are the waybills that the provider was asked for since midnight in China, and Budget is how many may be;
	// 0: it is never asked.
	Queries, Budget int
}

// Silence says when the provider is asked how a waybill stands, because nothing was heard of it.
type Silence struct {
	// After is for how long nothing was heard; 0: it is never asked for.
	After time.Duration
	// Interval is the least time between two queries of the same waybill.
	Interval time.Duration
	// Budget is how many waybills may be asked for from midnight to midnight (China time), by all replicas together.
	Budget int
	// ResubscribeAfter is how many times an answer is news that no callback had brought, before the waybill is
	// subscribed again.
	ResubscribeAfter int
}

// Turn is how long after it was taken (Store.TakeSilent) a waybill may be asked for: the time between two queries
// counts from the end of that.
func (s *Silence) Turn() time.Duration { return min(30*time.Second, s.Interval) }

// Silent is a waybill of which nothing was heard for long, and for which the caller is to ask.
type Silent struct {
	event.Waybill
	// Alone: it is to be asked for in a call of its own, because a call for several had no answer that tells.
	Alone bool
}

// Heard is what the provider has said of a waybill that it was asked for.
type Heard string

// What was heard of a waybill.
const (
	// Missed is news that no callback had brought.
	Missed Heard = "missed"
	// Unchanged is what was known.
	Unchanged Heard = "unchanged"
	// Unknown says that the provider has no record of the waybill.
	Unknown Heard = "no_record"
	// Unclear is an answer to a call for several waybills that does not say which it is about.
	Unclear Heard = "unclear"
	// Resubscribed says that the provider has accepted the waybill's subscription again.
	Resubscribed Heard = "resubscribed"
	// Unasked says that the call was not made.
	Unasked Heard = "unasked"
	// NoAnswer says that the call had no answer, or one that concerns the account.
	NoAnswer Heard = "no_answer"
)

// Watch is for how long nothing may be new of a tenant's parcels until it is told, each 0: it is not told.
type Watch struct {
	// NotCollected counts from when the tenant subscribed the waybill until there is an update. Stalled counts from the
	// last update, unless the parcel is at a pick-up point: then NotPickedUp does.
	NotCollected, Stalled, NotPickedUp time.Duration
}

// Least is the shortest of the spans; 0: there are none.
func (w Watch) Least() (least time.Duration) {
	for _, span := range []time.Duration{w.NotCollected, w.Stalled, w.NotPickedUp} {
		if span > 0 && (least == 0 || span < least) {
			least = span
		}
	}
	return least
}

// Of is the span for a type of event: event.TypeNotCollected, event.TypeStalled or event.TypeNotPickedUp.
func (w Watch) Of(typ string) time.Duration {
	switch typ {
	case event.TypeNotCollected:
		return w.NotCollected
	case event.TypeStalled:
		return w.Stalled
	case event.TypeNotPickedUp:
		return w.NotPickedUp
	}
	return 0
}

// Stuck is a parcel of which nothing was new for so long that tenants are to be told.
type Stuck struct {
	event.Waybill
	// Type is that of the events that tell it, as in Watch.Of.
	Type string
	// Status is the last one that is known; empty: none is.
	Status string
	// Tell has one event each.
	Tell []Overdue
}

// Overdue is a silence that is as long as tenants have set. It stays the same whoever reads it, and however often.
type Overdue struct {
	// Since is when it began, After how long it is at least.
	Since time.Time
	After time.Duration
	// Tenants are all that are to be told: they have subscribed the waybill, and watch it with this span.
	Tenants []string
}
