package ledger

import (
	"errors"
	"time"

	"kuairelay/relay/event"
)

// Parcel is what the ledger and the last update say of a waybill.
type Parcel struct {
	event.Waybill
	// Subscription is how it stands at the provider.
	Subscription State
	// Last is the last update of the waybill; nil: none is known. Its data is there if it was asked for.
	Last *event.Event
	// Signed says that its last update was that the parcel was signed for: the provider pushes nothing more.
	Signed bool
	// HeardAt is when something was last heard of it: an update, one that came again, or an answer of the provider; zero:
	// never. Queried says that the provider said it when it was asked.
	HeardAt time.Time
	Queried bool
	// Asking says that somebody is asking the provider just now.
	Asking bool
}

// ParcelState is how a waybill stands, as a tenant is told that has subscribed it.
type ParcelState struct {
	WaybillCode  string    `json:"waybill_code" doc:"waybill"`
	CPCode       string    `json:"cp_code" doc:"brand, by its canonical name"`
	Status       string    `json:"status,omitempty" doc:"of the last update; none: no update has come, or it has none"`
	Sequence     int64     `json:"sequence,omitempty" doc:"of the last update, as kuairelay-sequence has it"`
	ChangedAt    time.Time `json:"changed_at,omitzero" doc:"when the last update was accepted"`
	HeardAt      time.Time `json:"heard_at,omitzero" doc:"when kuaidihelp last said anything of it, news or not; none: never"`
	Source       string    `json:"source,omitempty" doc:"how it was last heard of: push (a callback), or query (kuaidihelp was asked)"`
	Stale        bool      `json:"stale" doc:"nothing was heard of it for longer than max_age; not of a parcel that was signed for"`
	StaleBecause string    `json:"stale_because,omitempty" doc:"why kuaidihelp was not asked for a stale one: off (the relay makes no queries), inactive (its subscription is not live), interval (it was asked for shortly before), budget (the queries of the day are used up), busy (too many wait); or unanswered: it was asked"`
	Subscription State     `json:"subscription" doc:"pending, live, or failed"`
	Tracks       []Track   `json:"tracks,omitempty" doc:"those of the last update, in the order in which they came; of one waybill alone"`
}

// Track is one entry of an update's list of tracks.
type Track struct {
	Time    string `json:"time" doc:"as kuaidihelp writes it, China time"`
	Context string `json:"context" doc:"what happened"`
	Status  string `json:"status,omitempty" doc:"status at that time, if it has one"`
}

// AnyAge is the age of a state that is taken however old it is.
const AnyAge = time.Duration(-1)

// ReadMaxAge reads how old a state may be; an empty text is AnyAge.
func ReadMaxAge(text string) (time.Duration, error) {
	if text == "" {
		return AnyAge, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("must be a span like 90s, 10m or 24h")
	}
	return d, nil
}

// Leave says whether the caller is to ask the provider how a waybill stands.
type Leave string

// Whether the caller is to ask, and if not, why.
const (
	LeaveGiven Leave = "given"
	// LeaveAlone is LeaveGiven for a call of its own, because a call for several had no answer that tells.
	LeaveAlone Leave = "alone"
	// LeaveTaken: somebody is asking just now.
	LeaveTaken Leave = "taken"
	// LeaveInterval: it was asked for shortly before (Silence.Interval).
	LeaveInterval Leave = "interval"
	// LeaveBudget: the queries of the day are used up (Silence.Budget).
	LeaveBudget Leave = "budget"
	// LeaveInactive: it is not live, or its parcel was signed for.
	LeaveInactive Leave = "inactive"
)
