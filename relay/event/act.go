package event

import "time"

// Act is something that somebody did through the API, for the audit.
type Act struct {
	// At is when it was done; the store sets it. Of several that are alike, it is the latest.
	At time.Time
	By Actor
	// What is the name of the act, such as pause.
	What string
	// Tenant is whose things it was done to; empty: they are of several, or of none. A tenant acts on its own things only.
	Tenant string
	// Subject is what it was done to: an endpoint, an id, or what several have in common. It may be empty.
	Subject string
	// Count is how many things were changed.
	Count int
	// Times is how often it was done, if several within a minute were alike; the store sets it. At least 1.
	Times int
	// Result says in a word what came of it.
	Result string
}

// ActQuery asks for a page of the audit, the latest first.
type ActQuery struct {
	// Since ends the search at an act that is older; zero: at the end.
	Since time.Time
	// Match says whether an act is wanted. It is required.
	Match func(*Act) bool
	// Cursor is the next of an earlier page; empty: the beginning.
	Cursor string
	// Most is how many acts the page has at most.
	Most int
}
