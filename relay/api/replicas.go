package api

import "time"

// Replica is what a replica says of itself, every 10 seconds.
type Replica struct {
	ID        string        `json:"id" doc:"its host's name, and a random text for each start"`
	Self      bool          `json:"self,omitempty" doc:"it is the one that answers"`
	SeenAt    time.Time     `json:"seen_at" doc:"when it last said so; after a minute without that it is not listed"`
	StartedAt time.Time     `json:"started_at,omitzero" doc:"when it was started"`
	Version   string        `json:"version" doc:"of the relay"`
	Status    Readiness     `json:"status" doc:"ready; degraded: callbacks are accepted durably, with something wrong; unready"`
	Redis     string        `json:"redis" doc:"up, embedded, full, short or down, as this replica sees it"`
	Config    ReplicaConfig `json:"config" doc:"what it serves"`
	Callbacks float64       `json:"callbacks_per_s" doc:"that came within the last minute, a second"`
	LastCall  time.Time     `json:"last_callback_at,omitzero" doc:"when the latest callback came to this replica"`
	Spool     ReplicaSpool  `json:"spool" doc:"its callbacks on disk"`
	Held      int           `json:"outcomes_held" doc:"outcomes of attempts that wait for Redis"`
	// Problems are those that it sees without asking Redis.
	Problems []SeenProblem `json:"-"`
}

// ReplicaConfig is the config that a replica serves.
type ReplicaConfig struct {
	Fingerprint string    `json:"fingerprint" doc:"a hash of its files; replicas should agree"`
	Since       time.Time `json:"since,omitzero" doc:"when it came into use"`
	Reload      string    `json:"reload" doc:"ok, or failed: the files have mistakes, and the relay keeps the one from before"`
}

// ReplicaSpool is the spool of a replica.
type ReplicaSpool struct {
	Files    int       `json:"files" doc:"callbacks on disk"`
	Bytes    int64     `json:"bytes" doc:"disk that they take"`
	MaxBytes int64     `json:"max_bytes" doc:"disk that they may take"`
	Waiting  int       `json:"waiting" doc:"of the files, those that wait to be accepted"`
	OldestAt time.Time `json:"oldest_at,omitzero" doc:"when the oldest of these came"`
	DiskFree int64     `json:"disk_free,omitempty" doc:"what is free on the disk; replicas on one disk share it"`
	Disk     string    `json:"-"` // of its machine; empty: not known
}
