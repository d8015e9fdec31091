// Package ledger has what the parts ask the store about the ledger, which holds all subscriptions, and what they get
// from it. There is no code: package store does it.
package ledger

import (
	"time"

	"kuairelay/relay/event"
)

// State is how the subscription of a waybill stands at the provider.
type State string

// The states of a waybill.
const (
	// Pending: the provider is to be asked, or is being asked.
	Pending State = "pending"
	// Live: the provider accepted the subscription, and pushes updates until the parcel is signed for.
	Live State = "live"
	// Failed: the provider refused or did not answer. It is asked again when the next tenant subscribes the waybill.
	Failed State = "failed"
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
	// Answer is the one that led to Live or Failed.
	Answer Answer
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
}

// ClaimResult is the result of claiming a waybill, so that only one replica asks the provider for it.
type ClaimResult struct {
	// Mine: the caller has to ask the provider, within the time of the claim.
	Mine bool
	// State is Pending if another holds the claim; empty if the ledger does not know the waybill.
	State  State
	Answer Answer
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
}
