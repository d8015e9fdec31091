package event

import (
	"errors"
	"time"
)

// Waybill names a parcel: its canonical brand (kuaidihelp.Brand) and its waybill code.
type Waybill struct {
	CPCode string
	Code   string
}

// Upstream is how far the provider has been asked to push the updates of a waybill.
type Upstream string

// The upstream states of a waybill.
const (
	// Pending: it is to be asked, or being asked.
	Pending Upstream = "pending"
	// Live: it took the subscription, and pushes until the parcel is signed for.
	Live Upstream = "live"
	// Failed: it refused, or did not answer; the next tenant that subscribes the waybill has it asked again.
	Failed Upstream = "failed"
)

// Answer is what the provider said of a waybill, or what has to be said in its place where it did not answer.
type Answer struct {
	Code int    // 0 is success
	Msg  string // as it came
	UID  string // names the request at the provider; empty if it gave none
}

// Subscription is a tenant's wish to hear of one waybill, as the ledger has it.
type Subscription struct {
	Tenant string
	Waybill
	// Since is when the tenant subscribed; Expires when the ledger forgets it.
	Since, Expires time.Time
	State          Upstream
	// Answer is the one that led to Live or Failed.
	Answer Answer
}

// SubscribeResult is what the ledger says to a tenant that subscribes a waybill.
type SubscribeResult struct {
	// State is Live, or Pending if the provider has to be asked (or is being asked).
	State Upstream
	// Full: the tenant has as many subscriptions as it may, and this is not one of them. Nothing was written.
	Full bool
	// Already: the tenant had the wish before, and it was Live.
	Already bool
	// CatchUp: an update of the waybill is known that the tenant may not have got.
	CatchUp bool
	Answer  Answer
}

// Claimed is what a claim of a waybill came to.
type Claimed struct {
	// Mine: it is the caller's to ask the provider, within the time of the claim.
	Mine bool
	// State is Pending if another holds the claim; empty if the ledger does not know the waybill.
	State  Upstream
	Answer Answer
}

// Limits are what a tenant may ask for; zero is no limit.
type Limits struct {
	// Rate of requests per second; a second's worth may come at once.
	Rate float64
	// DailyQuota of waybills, from midnight to midnight China time.
	DailyQuota int
}

// ErrBusy is the error for what too many do at one time.
var ErrBusy = errors.New("too many at one time")

// ErrCursor is the error for a page that does not come from an earlier list.
var ErrCursor = errors.New("not a cursor of an earlier list")

// UnfinishedWork is what was begun and not finished within the time of a claim: to be taken over.
type UnfinishedWork struct {
	Waybill
	// Tenant is who has to be caught up; empty: the provider has to be asked.
	Tenant string
}
