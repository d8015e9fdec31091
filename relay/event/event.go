// Package event holds the nouns that the parts of the relay share: the Event that a callback brings, the Delivery
// that an endpoint is owed, the Attempt that tries to make it, and how people see them. It also defines the event id
// (see ID). It does no I/O and imports nothing of ours.
//
// What the parts ask the store and get from it is in the packages queue (events and deliveries) and ledger
// (subscriptions).
package event

import (
	"slices"
	"strings"
	"time"
)

// TypeWaybill is the provider's callback type for waybill updates, the `type` of every Event that carries one item.
const TypeWaybill = "express_sub_msg"

// TypeTest is the Type of an event that a person sends to try an endpoint. The provider has no such type.
const TypeTest = "kuairelay.test"

// TypeLost is the Type of an event by which the relay says that a subscription has ended without success. See Own.
const TypeLost = "subscription.lost"

// The Types of events by which the relay says that nothing is new of a parcel for long: it was not collected yet, it is
// under way, or it waits at a pick-up point. See Own.
const (
	TypeNotCollected = "waybill.not_collected"
	TypeStalled      = "waybill.stalled"
	TypeNotPickedUp  = "waybill.not_picked_up"
)

// Event is one waybill update: one item of a callback's data, or a whole callback of another type.
// It is immutable once it was accepted.
type Event struct {
	// ID is "evt_" and 64 hex digits (see ID). The store may append "-2", "-3", … to a recurrence.
	ID string
	// Type is the callback's `type`: TypeWaybill, or any other that the provider sends.
	Type string
	// WaybillCode is the waybill number as text, its digits as they came. Empty in an event of another type.
	WaybillCode string
	// CPCode is the canonical brand code (kuaidihelp.Brand), empty if the item names none.
	CPCode string
	// Status is the item's status in lower case with known misspellings mended ("allorgraph" is "allograph"), empty
	// if it has none of at most 64 bytes.
	Status string
	// Tracks are the item's tracks in the order they came; nil if it has none.
	Tracks []Track
	// Bare says that no track has a time, so that equal content may be a new update (see docs/design/guarantees.md).
	Bare bool
	// TrackedAt is the time of the newest track; zero if no track has a time that can be read. An update whose newest
	// track is older than that of an update before it is late: it does not become what is last known of its waybill.
	TrackedAt time.Time
	// Data is the item as JSON: the very bytes that came, or, where the callback was a form with brackets,
	// an object of strings. It is what the tenant receives as `data`.
	Data []byte
	// ReceivedAt is when the callback arrived here.
	ReceivedAt time.Time
	// Origin is the callback that brought it, shared by all events of that; nil: unknown. Item is which of the callback's
	// items it was, counted from 1.
	Origin *Origin
	Item   int
	// Config is the beginning of the fingerprint of the config by whose routes it was matched; empty: unknown.
	Config string

	// For are the tenants that an Own event is for, before it is accepted. Nil: the config says it.
	For []string

	// AcceptedAt and Sequence are set by the store at the first acceptance. Sequence rises with every event of a
	// waybill.
	AcceptedAt time.Time
	Sequence   int64
}

// Own says whether the relay itself made the event, to say something about a waybill. It is no update of the parcel: it
// has no status, and is never the last update of its waybill. What the provider sends of such a type names no waybill.
func (e *Event) Own() bool { return e.WaybillCode != "" && slices.Contains(OwnTypes(), e.Type) }

// OwnTypes lists the types of such events.
func OwnTypes() []string { return []string{TypeNotCollected, TypeStalled, TypeNotPickedUp, TypeLost} }

// Word is what lists show of an event, and filter by: its status, or the type of one that the relay has made.
func Word(typ, waybillCode, status string) string {
	if e := (Event{Type: typ, WaybillCode: waybillCode}); e.Own() {
		return typ
	}
	return status
}

// Reason is why the event is sent for the first time: ReasonReconcile if no callback has brought it, else ReasonNew.
func (e *Event) Reason() Reason {
	if e.Origin != nil && e.Origin.From == FromQuery {
		return ReasonReconcile
	}
	return ReasonNew
}

// Waybill names a parcel: its canonical brand (kuaidihelp.Brand) and its waybill code.
type Waybill struct {
	CPCode string
	Code   string
}

// Track is one entry of an item's track list. Time is the provider's display string (China time, not always well
// formed).
type Track struct {
	Time    string `expr:"time"`
	Context string `expr:"context"`
	Status  string `expr:"status"`
}

// Conditions is a set of conditions that only the store can decide. Each route that matches an event adds one of them
// for its endpoint; the endpoint is owed the event if at least one of them holds.
type Conditions uint8

const (
	// Always says that a route matched, and nothing is left to decide.
	Always Conditions = 1 << iota
	// IfChanged says that a route matched if the status differs from the last one accepted for this waybill.
	IfChanged
	// IfSubscribed says that a route matched if the endpoint's tenant has subscribed the waybill.
	IfSubscribed
	// IfChangedAndSubscribed says that a route matched if both hold.
	IfChangedAndSubscribed
)

// Reason says why a delivery is sent at this time; it travels as the kuairelay-reason header.
type Reason string

// Why a delivery is sent.
const (
	ReasonNew     Reason = "new"
	ReasonRetry   Reason = "retry"
	ReasonRedrive Reason = "redrive"
	ReasonCatchUp Reason = "catch-up"
	ReasonReplay  Reason = "replay"
	// ReasonReconcile is ReasonNew of an event that no callback has brought: the provider was asked.
	ReasonReconcile Reason = "reconcile"
)

// Delivery is one event owed to one endpoint, leased to this process.
type Delivery struct {
	Event    *Event
	Endpoint string // "tenant/endpoint"
	// Attempts counts the finished attempts so far.
	Attempts int
	Reason   Reason
	// Since is when its age began: when the event was accepted, redriven or replayed, or when the tenant subscribed
	// the waybill (ReasonCatchUp).
	Since time.Time
	// Damaged says why the event cannot be sent, if its body was lost in the store.
	Damaged string
	// Token names the lease. An outcome with another token comes too late.
	Token string
	// LeaseEnds is when the lease lapses, by this process's monotonic clock. No attempt may start that could outlive
	// it.
	LeaseEnds time.Time
}

// Attempt is the result of one HTTP request of a delivery.
type Attempt struct {
	Duration time.Duration
	// Status is the HTTP status, 0 if no answer came.
	Status int
	// RetryAfter is the receiver's hint, 0 if it gave none.
	RetryAfter time.Duration
	// Err is the class of the network error (see Classes), a colon and its text, empty if an answer came.
	Err string
	// Answer is the first KiB of the answer's body.
	Answer []byte
	// Headers are some of an answer other than 2xx, each "name: value" in printable ASCII, at most 256 bytes together.
	Headers []string
	// Traceparent is the header of that name that it had.
	Traceparent string
}

// Text describes the attempt to a person: by its error, or by the beginning of the answer. It is empty if the attempt
// succeeded.
func (a Attempt) Text() string {
	if a.Err != "" {
		return a.Err
	}
	if a.Status >= 200 && a.Status < 300 {
		return ""
	}
	return strings.ToValidUTF8(string(a.Answer), "\uFFFD")
}

// QuarantineCount counts what is in quarantine: all of it, and what is new since a time, with when the first and the
// latest of that came.
type QuarantineCount struct {
	All, New      int
	First, Latest time.Time
}

// Quarantined is an authenticated callback, or an item of one, that was not understood. It is kept raw until a person
// or an upgrade can read it.
type Quarantined struct {
	// ID is "qtn_" and 64 hex digits, the SHA-256 of Raw: the same content is kept once.
	ID string `json:"id"`
	// Callback is the id of the callback; empty: an older version has kept it.
	Callback   string            `json:"callback,omitempty"`
	ReceivedAt time.Time         `json:"received_at"`
	Reason     string            `json:"reason"`
	Headers    map[string]string `json:"headers,omitempty"`
	Raw        []byte            `json:"raw"`
}
