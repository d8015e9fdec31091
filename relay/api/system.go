package api

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// System is what runs: the replicas, and what they stand on. It is for the operator.
type System struct {
	Replicas   []Replica        `json:"replicas" doc:"that are alive, also the one that answers"`
	Partial    bool             `json:"partial,omitempty" doc:"Redis does not answer: what only it knows is missing"`
	Redis      RedisSystem      `json:"redis" doc:"as the replica that answers sees it"`
	Advice     []Advice         `json:"advice" doc:"properties of Redis that put accepted events at risk"`
	Spool      SpoolSystem      `json:"spool" doc:"of the replica that answers"`
	Kuaidihelp KuaidihelpSystem `json:"kuaidihelp" doc:"callbacks from it, and calls to it"`
	Memory     MemorySystem     `json:"memory" doc:"what Redis holds"`
}

// RedisSystem is how Redis does. What it does not tell is left out.
type RedisSystem struct {
	State     string    `json:"state" doc:"up, embedded, full, short or down"`
	Why       string    `json:"why,omitempty" doc:"why it is not up"`
	Since     time.Time `json:"since,omitzero" doc:"since when it is not up"`
	Address   string    `json:"address,omitempty" doc:"without user and password"`
	Version   string    `json:"version,omitempty" doc:"of Redis"`
	Memory    int64     `json:"memory_bytes,omitempty" doc:"that it takes, other programs' keys too"`
	MaxMemory int64     `json:"max_memory_bytes,omitempty" doc:"that it may take (maxmemory)"`
	Policy    string    `json:"policy,omitempty" doc:"maxmemory-policy: noeviction is right"`
	Persists  string    `json:"persistence,omitempty" doc:"none, rdb, or aof with its appendfsync"`
	Replicas  int       `json:"replicas" doc:"of Redis, that follow the node which holds the events"`
	LatencyMS float64   `json:"latency_ms,omitempty" doc:"how long it took to answer"`
}

// SpoolSystem is the spool of the replica that answers.
type SpoolSystem struct {
	State     string `json:"state" doc:"ok, or why it takes nothing"`
	RoomBytes int64  `json:"room_bytes" doc:"disk that it can still take: what is left of spool.max_bytes, or of the disk"`
}

// KuaidihelpSystem is how it goes with the provider.
type KuaidihelpSystem struct {
	LastCallbackAt time.Time `json:"last_callback_at,omitzero" doc:"when the latest callback came, at any replica"`
	LastReplica    string    `json:"last_replica,omitempty" doc:"the replica that it came to, if that is alive"`
	Silent         bool      `json:"silent" doc:"whether that is longer ago than callback.silence"`
	SilenceS       int64     `json:"silence_s" doc:"callback.silence in seconds; 0: it is never silent"`
	Credentials    string    `json:"credentials" doc:"ok; refused: at the latest call; none: there are none, so that nobody can subscribe"`
	RefusedSince   time.Time `json:"refused_since,omitzero" doc:"since when they are refused"`
}

// MemorySystem is what Redis holds.
type MemorySystem struct {
	Events int64 `json:"events" doc:"about how many events it keeps"`
	Bytes  int64 `json:"bytes,omitempty" doc:"about what these and all else take: the memory of Redis"`
}

// RedisServer is what Redis says of itself.
type RedisServer struct {
	Version           string
	Memory, MaxMemory int64 // bytes
	Policy, Persists  string
	Replicas          int
	Latency           time.Duration
	Events            int64
}

// systemNow is what is asked for System, for all who ask.
type systemNow struct {
	server   RedisServer
	replicas []Replica
	err      error
}

// readSystem gives what runs.
func readSystem(c *call) (System, error) {
	r := c.reader()
	if err := r.end(); err != nil {
		return System{}, err
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), snapshotMost)
	defer cancel()
	down := c.o.ReplicaStatus().RedisState == "down"
	now := c.system.get(func(s systemNow) bool { return down && s.err == nil }, func() (systemNow, bool) {
		var out systemNow
		out.replicas, out.err = c.o.Replicas(ctx)
		if out.err == nil {
			out.server, out.err = c.o.Server(ctx)
		}
		return out, out.err == nil
	})
	status := c.o.ReplicaStatus()
	out := System{
		Replicas: append([]Replica{}, now.replicas...),
		Partial:  now.err != nil,
		Advice:   append([]Advice{}, status.Advice...),
		Redis: RedisSystem{
			State: status.RedisState, Why: status.RedisWhy, Since: utc(status.RedisSince), Address: status.RedisAddress,
			Version: now.server.Version, Memory: now.server.Memory, MaxMemory: now.server.MaxMemory,
			Policy: now.server.Policy, Persists: now.server.Persists, Replicas: now.server.Replicas,
			LatencyMS: float64(now.server.Latency.Microseconds()) / 1000,
		},
		Spool: SpoolSystem{State: status.Spool, RoomBytes: status.SpoolRoom},
		Kuaidihelp: KuaidihelpSystem{
			LastCallbackAt: utc(status.LastCallbackAt), LastReplica: lastCalled(now.replicas),
			Silent: status.Silent, SilenceS: int64(status.Silence.Seconds()),
			Credentials: "ok", RefusedSince: utc(status.CredentialsRefusedSince),
		},
		Memory: MemorySystem{Events: now.server.Events, Bytes: now.server.Memory},
	}
	if status.Embedded {
		out.Redis.State = "embedded"
	}
	switch {
	case !status.Credentials:
		out.Kuaidihelp.Credentials = "none"
	case !status.CredentialsRefusedSince.IsZero():
		out.Kuaidihelp.Credentials = "refused"
	}
	return out, nil
}

// lastCalled is the replica that the latest callback came to; empty: none is known to have got one.
func lastCalled(all []Replica) string {
	if len(all) == 0 {
		return ""
	}
	latest := slices.MaxFunc(all, func(a, b Replica) int {
		return cmp.Or(a.LastCall.Compare(b.LastCall), cmp.Compare(b.ID, a.ID))
	})
	if latest.LastCall.IsZero() {
		return ""
	}
	return latest.ID
}
