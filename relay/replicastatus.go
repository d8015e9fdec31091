package relay

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/spool"
)

// since remembers since when something is so. The zero since says that it is not.
type since struct {
	mu sync.Mutex
	at time.Time
}

// note notes whether it is so now, and returns since when; zero: it is not.
func (s *since) note(is bool) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !is:
		s.at = time.Time{}
	case s.at.IsZero():
		s.at = time.Now()
	}
	return s.at
}

// replicaSince remembers since when a replica has what it is looked at for. It is looked at with each beat, and
// whenever somebody asks.
type replicaSince struct {
	spoolFails, spoolScarce, credentials since
}

// probe asks Redis and the spool whether they take callbacks.
func (relay *Relay) probe(ctx context.Context) { relay.checkStatus(ctx) }

// replicaStatus returns what the replica knows of itself, for the operator, as the latest calls have shown. It asks
// nobody.
func (relay *Relay) replicaStatus() api.ReplicaStatus {
	c := relay.statusOf(relay.store.Available(), relay.spool.Trouble())
	stats := relay.spool.Stats()
	room := relay.spool.Room()
	config := relay.reload.current()
	state, _ := relay.store.Availability()
	out := api.ReplicaStatus{
		StartedAt: relay.began, Durable: c.durable, Status: c.Status,

		Redis: c.Redis, RedisState: state.String(), RedisSince: relay.store.TroubleSince(),
		RedisAddress: relay.store.Address(), RedisEmptiedAt: relay.marker.emptiedAt(),
		Embedded: relay.store.Embedded(), Advice: relay.advice.list(),

		Spool: c.Spool, SpoolSince: relay.since.spoolFails.note(c.spoolErr != nil),
		SpoolRoom: room, SpoolMax: stats.MaxBytes,
		SpoolScarceSince: relay.since.spoolScarce.note(room < stats.MaxBytes/api.SpoolScarce),
		Spooled:          c.Spooled, SpooledSince: waitingSince(stats),

		Config: api.ConfigInUse(c.Config), Restart: config.restart, RestartSince: config.restartSince,

		Credentials:             relay.proxy.Configured(),
		CredentialsRefusedSince: relay.since.credentials.note(relay.proxy.CredentialsRefused()),
	}
	if c.redis != nil {
		out.RedisWhy = c.redis.Error()
	}
	if !config.ok {
		out.ConfigMistakes = mistakeLines(config.mistakes)
		out.ConfigRefusedSince = config.failedAt
	}
	out.LastCallbackAt, out.Silent = relay.heartbeat.state()
	out.Silence = time.Duration(relay.heartbeat.after.Load())
	if out.Silent {
		out.SilentSince = relay.heartbeat.silentSince()
	}
	return out
}

// waitingSince is when the oldest callback came that waits in the spool; zero: none waits.
func waitingSince(stats spool.Stats) time.Time {
	if stats.Waiting == 0 {
		return time.Time{}
	}
	return stats.Oldest
}

// list returns the advice that holds at present, by name.
func (a *redisWarnings) list() (all []api.Advice) {
	now := a.present()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(now)) {
		all = append(all, api.Advice{Name: name, Why: now[name], Since: a.since[name].UTC()})
	}
	return all
}

// redisServer is what Redis says of itself.
func (relay *Relay) redisServer(ctx context.Context) (api.RedisServer, error) {
	s, err := relay.store.Server(ctx)
	return api.RedisServer{
		Version: s.Version, Memory: s.Memory, MaxMemory: s.MaxMemory, Policy: s.Policy, Persists: s.Persistence,
		Replicas: s.Replicas, Latency: s.Latency, Events: s.Events,
	}, err
}
