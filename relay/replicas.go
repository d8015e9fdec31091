package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/store"
)

// newReplicaID makes a name for a replica: its host's, so that people know where it is, and a random text, as several
// may run there, and one after the other.
func newReplicaID() string { return hostName() + "-" + strings.ToLower(rand.Text()[:4]) }

// hostName is that of this machine, which is a name of its own in a container.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "relay"
	}
	const most = 63 // characters of a host's name
	return host[:min(most, len(host))]
}

// callRate is how many callbacks came in a second, over the last minute.
type callRate struct {
	count atomic.Int64

	mu    sync.Mutex
	ticks []callTick // of the last minute, the oldest first
}

// callTick is how many callbacks had come at a time.
type callTick struct {
	at    time.Time
	count int64
}

// tick notes how many callbacks have come.
func (r *callRate) tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ticks) > 0 && now.Sub(r.ticks[0].at) > time.Minute {
		r.ticks = r.ticks[1:]
	}
	r.ticks = append(r.ticks, callTick{at: now, count: r.count.Load()})
}

// perSecond returns the rate since the oldest tick.
func (r *callRate) perSecond(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ticks) == 0 || !now.After(r.ticks[0].at) {
		return 0
	}
	return float64(r.count.Load()-r.ticks[0].count) / now.Sub(r.ticks[0].at).Seconds()
}

// The fields in which a replica says how it does (store.Beat). Replicas of other versions may have others.
const (
	fieldStarted     = "started" // times are in unix ms
	fieldVersion     = "version"
	fieldStatus      = "status"
	fieldRedis       = "redis"
	fieldConfig      = "config" // its fingerprint
	fieldConfigSince = "config_since"
	fieldReload      = "reload"
	fieldRate        = "rate" // callbacks a second
	fieldCalled      = "called"
	fieldFiles       = "files"
	fieldBytes       = "bytes"
	fieldMaxBytes    = "max_bytes"
	fieldWaiting     = "waiting"
	fieldOldest      = "oldest"
	fieldHeld        = "held"
)

// describe says how this replica does, for Beat.
func (r *Relay) describe() map[string]string {
	status := r.replicaStatus()
	config := r.reload.current()
	stats := r.spool.Stats()
	return map[string]string{
		fieldStarted:     unixMilli(status.StartedAt),
		fieldVersion:     r.o.Version,
		fieldStatus:      string(status.Status),
		fieldRedis:       redisWord(status),
		fieldConfig:      config.fingerprint,
		fieldConfigSince: unixMilli(config.since),
		fieldReload:      status.Config.Reload,
		fieldRate:        strconv.FormatFloat(r.heartbeat.calls.perSecond(time.Now()), 'g', 3, 64),
		fieldCalled:      strconv.FormatInt(r.heartbeat.own.Load(), 10),
		fieldFiles:       strconv.Itoa(stats.Files),
		fieldBytes:       strconv.FormatInt(stats.Bytes, 10),
		fieldMaxBytes:    strconv.FormatInt(stats.MaxBytes, 10),
		fieldWaiting:     strconv.Itoa(stats.Waiting),
		fieldOldest:      unixMilli(waitingSince(stats)),
		fieldHeld:        strconv.Itoa(r.pool.Held()),
	}
}

// redisWord is the state of Redis in a word.
func redisWord(status api.ReplicaStatus) string {
	if status.Embedded {
		return "embedded"
	}
	return status.RedisState
}

// listReplicas lists the replicas that are alive. This one is listed as it is now, also if Redis does not know it yet.
func (r *Relay) listReplicas(ctx context.Context) ([]api.Replica, error) {
	found, err := r.store.Replicas(ctx)
	if err != nil {
		return nil, err
	}

	self := store.Replica{ID: r.heartbeat.id, SeenAt: r.store.Now(), Fields: r.describe()}
	all := []api.Replica{showReplica(self)}
	all[0].Self = true
	for _, other := range found {
		if other.ID != self.ID {
			all = append(all, showReplica(other))
		}
	}
	return all, nil
}

// showReplica reads what a replica says of itself. What it does not say, or what cannot be read, is zero.
func showReplica(r store.Replica) api.Replica {
	whole := func(field string) int64 {
		n, _ := strconv.ParseInt(r.Fields[field], 10, 64)
		return n
	}
	at := func(field string) time.Time {
		if ms := whole(field); ms > 0 {
			return time.UnixMilli(ms).UTC()
		}
		return time.Time{}
	}
	rate, _ := strconv.ParseFloat(r.Fields[fieldRate], 64)
	return api.Replica{
		ID: r.ID, SeenAt: r.SeenAt.UTC().Truncate(time.Millisecond), StartedAt: at(fieldStarted),
		Version: r.Fields[fieldVersion], Status: api.Readiness(r.Fields[fieldStatus]), Redis: r.Fields[fieldRedis],
		Config: api.ReplicaConfig{
			Fingerprint: r.Fields[fieldConfig], Since: at(fieldConfigSince), Reload: cmp.Or(r.Fields[fieldReload], ReloadOK),
		},
		Callbacks: max(0, rate), LastCall: at(fieldCalled),
		Spool: api.ReplicaSpool{
			Files: int(whole(fieldFiles)), Bytes: whole(fieldBytes), MaxBytes: whole(fieldMaxBytes),
			Waiting: int(whole(fieldWaiting)), OldestAt: at(fieldOldest),
		},
		Held: int(whole(fieldHeld)),
	}
}

// unixMilli is a time as text; zero is 0.
func unixMilli(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}
