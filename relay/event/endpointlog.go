package event

import "time"

// LogKind is what an entry in the log of an endpoint tells.
type LogKind string

// What the log of an endpoint tells.
const (
	LogOpened      LogKind = "opened"       // its breaker opened
	LogClosed      LogKind = "closed"       // its breaker closed
	LogGone        LogKind = "gone"         // it answered 410
	LogPaused      LogKind = "paused"       // by a person
	LogResumed     LogKind = "resumed"      // by a person
	LogRedriven    LogKind = "redriven"     // dead letters of it were queued again
	LogDismissed   LogKind = "dismissed"    // dead letters of it were taken off the list
	LogResent      LogKind = "resent"       // an event was sent to it again
	LogRetried     LogKind = "retried"      // deliveries to it were tried sooner than they were due
	LogReplayBegun LogKind = "replay_begun" // a replay of its events
	LogReplayEnded LogKind = "replay_ended"
	LogAdded       LogKind = "added"   // to the config
	LogChanged     LogKind = "changed" // its settings in the config
	LogRemoved     LogKind = "removed" // from the config
)

// LogEntry is one entry in the log of an endpoint. A field that says nothing of its kind is zero.
type LogEntry struct {
	At   time.Time
	What LogKind
	By   Actor // nobody where no person did it
	// N is how many: attempts that failed in a row before the breaker opened, probes that failed before it closed, dead
	// letters, deliveries that were resent or retried, or of a replay. If the breaker opened by the share of failures, Of
	// counts the attempts of which N failed.
	N, Of int
	// Status and Text are the last answer before the breaker opened, or the one that said gone. Status 0: none came, and
	// Text is the error.
	Status int
	Text   string
	Replay string // its id
	// Changes are what a config has changed.
	Changes []SettingChange
}

// SettingChange is a setting of an endpoint that a config has changed. Old and New are both empty if its values are not
// for the log.
type SettingChange struct {
	Key, Old, New string
}
