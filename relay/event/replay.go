package event

import "time"

// ReplayState is how far a replay is.
type ReplayState string

// The states of a replay.
const (
	ReplayRunning   ReplayState = "running"
	ReplayDone      ReplayState = "done"
	ReplayCancelled ReplayState = "cancelled" // by a person, or by the relay, and Why says why
)

// Replay sends events again.
type Replay struct {
	ID string
	// Tenant is who asked for it, and whose endpoints it is limited to; empty: the operator.
	Tenant string
	// Filter says which events to send, as JSON. The store does not read it.
	Filter         []byte
	State          ReplayState
	Created, Ended time.Time
	// Cursor is where the next page begins.
	Cursor string
	// Looked counts the events that were read, Matched those that the filter takes, Queued the deliveries that were
	// queued again, and Skipped those that were open already or are not there any more.
	Looked, Matched, Queued, Skipped int64
	// Dead counts those of Queued that were dead letters.
	Dead int64
	// LookedTo is about how far it has come: events that were accepted before were looked at. Zero: not known.
	LookedTo time.Time
	// Why is why the relay has cancelled it; empty: it has not.
	Why string
}

// OpenReplay is a replay that has not ended.
type OpenReplay struct {
	ID, Tenant string
	// Taken says that a replica works on it.
	Taken bool
}

// Resend is one delivery of a page of a replay.
type Resend struct {
	EventID, Endpoint string
	// Lease is for how long it is leased to the caller, who has a slot for it; 0: it is queued for any replica.
	Lease time.Duration
	// Add sends it also if the endpoint was not owed it before.
	Add bool
}

// ReplayPage is the progress of a replay by one page, or by a part of one.
type ReplayPage struct {
	// Cursor is where to go on; empty: it has not moved.
	Cursor string
	Done   bool
	// Looked and Matched count events, as in Replay. Counted is how many deliveries a dry run would send, and CountedDead
	// how many of these are dead letters. Left is how many deliveries are open, so that they are left alone.
	Looked, Matched, Counted, CountedDead, Left int

	Resends []Resend
}
