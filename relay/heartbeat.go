package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/spool"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
)

// shareEvery is how often replicas tell each other, through Redis, when kuaidihelp last called.
const shareEvery = 10 * time.Second

// heartbeat knows when kuaidihelp last called any of the replicas, and logs when that is too long ago. It also tells
// the other replicas, and who asks them, how this one does.
type heartbeat struct {
	store  *stores
	log    *zap.Logger
	id     string       // of this replica
	began  time.Time    // counts as a call until there is one
	after  atomic.Int64 // ns without a call; 0: for ever
	last   atomic.Int64 // unix ms of the latest call that is known; 0: none
	own    atomic.Int64 // the same, of the calls to this replica
	silent atomic.Bool  // as it was logged
	calls  callRate
	// describe says how this replica does, in the fields of replicas.go.
	describe func() map[string]string

	lastDesc, silentDesc *prometheus.Desc
}

func newHeartbeat(s *stores, log *zap.Logger) *heartbeat {
	return &heartbeat{store: s, log: log, id: newReplicaID(), began: s.Now(),
		lastDesc: prometheus.NewDesc("kuairelay_last_callback_timestamp_seconds",
			"Unix time of the latest callback with the right token and address, at any replica; 0 if none is known.", nil, nil),
		silentDesc: prometheus.NewDesc("kuairelay_provider_silent",
			"1 if no such callback has come for longer than callback.silence: kuaidihelp is silent.", nil, nil)}
}

// use sets the span without a callback after which kuaidihelp is silent; 0: it never is.
func (h *heartbeat) use(after time.Duration) { h.after.Store(int64(after)) }

// heard notes a callback that came now.
func (h *heartbeat) heard() {
	now := h.store.Now()
	raise(&h.last, now)
	raise(&h.own, now)
	h.calls.count.Add(1)
}

// raise moves a time (unix ms) on to a later one.
func raise(at *atomic.Int64, t time.Time) {
	ms := t.UnixMilli()
	for {
		last := at.Load()
		if last >= ms || at.CompareAndSwap(last, ms) {
			return
		}
	}
}

// state returns when the latest callback came (zero: none is known), and whether that is too long ago.
func (h *heartbeat) state() (last time.Time, silent bool) {
	since := h.began
	if ms := h.last.Load(); ms > 0 {
		last = time.UnixMilli(ms)
		since = last
	}
	after := time.Duration(h.after.Load())
	return last, after > 0 && h.store.Now().Sub(since) > after
}

// quiet says whether kuaidihelp is silent.
func (h *heartbeat) quiet() bool {
	_, silent := h.state()
	return silent
}

// silentSince is when kuaidihelp began to be silent, if it is.
func (h *heartbeat) silentSince() time.Time {
	since := h.began
	if ms := h.last.Load(); ms > 0 {
		since = time.UnixMilli(ms)
	}
	return since.Add(time.Duration(h.after.Load()))
}

// run shares the time with the other replicas, so that it also outlives the process, and how this replica does, and
// logs when silence begins and ends.
func (h *heartbeat) run(ctx context.Context) {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	for {
		h.share(ctx)
		h.calls.tick(time.Now())
		_ = h.store.Beat(ctx, h.id, h.describe()) // while Redis is down, nobody can be told
		h.note()
		select {
		case <-ctx.Done():
			last := context.WithoutCancel(ctx)
			h.share(last)
			_ = h.store.Beat(last, h.id, nil) // or it is forgotten after a minute
			return
		case <-tick.C:
		}
	}
}

// share tells the other replicas, and learns from them. It does nothing if Redis cannot be reached: then each replica
// knows only its own callbacks.
func (h *heartbeat) share(ctx context.Context) {
	var mine time.Time
	if ms := h.last.Load(); ms > 0 {
		mine = time.UnixMilli(ms)
	}
	if last, err := h.store.LastCallback(ctx, mine); err == nil && !last.IsZero() {
		raise(&h.last, last)
	}
}

func (h *heartbeat) note() {
	last, silent := h.state()
	if h.silent.Swap(silent) == silent {
		return
	}
	if silent {
		h.log.Warn("no callback from kuaidihelp for longer than callback.silence", zap.Time("last", last),
			zap.Duration("silence", time.Duration(h.after.Load())))
	} else {
		h.log.Info("callbacks are coming again")
	}
}

// Describe implements prometheus.Collector.
func (h *heartbeat) Describe(ch chan<- *prometheus.Desc) { ch <- h.lastDesc; ch <- h.silentDesc }

// Collect implements prometheus.Collector.
func (h *heartbeat) Collect(ch chan<- prometheus.Metric) {
	last, silent := h.state()
	v := 0.0
	if silent {
		v = 1
	}
	ch <- prometheus.MustNewConstMetric(h.lastDesc, prometheus.GaugeValue, unixSeconds(last))
	ch <- prometheus.MustNewConstMetric(h.silentDesc, prometheus.GaugeValue, v)
}

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
	fieldDisk        = "disk"
	fieldDiskFree    = "disk_free"
	fieldWaiting     = "waiting"
	fieldOldest      = "oldest"
	fieldHeld        = "held"
	fieldProblems    = "problems" // JSON, see seenHere
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
		fieldDisk:        status.SpoolDisk,
		fieldDiskFree:    strconv.FormatInt(status.SpoolDiskFree, 10),
		fieldWaiting:     strconv.Itoa(stats.Waiting),
		fieldOldest:      unixMilli(waitingSince(stats)),
		fieldHeld:        strconv.Itoa(r.pool.Held()),
		fieldProblems:    r.seenHere(),
	}
}

// disk is the disk of the spool, with a name that replicas of other machines do not have; the zero Disk: it cannot be
// asked.
func (r *Relay) disk() spool.Disk {
	disk, known := r.spool.Disk()
	if !known {
		return spool.Disk{}
	}
	disk.ID = hostName() + ":" + disk.ID
	return disk
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
			Disk: r.Fields[fieldDisk], DiskFree: whole(fieldDiskFree),
		},
		Held: int(whole(fieldHeld)), Problems: readSeen(r.Fields[fieldProblems]),
	}
}

// unixMilli is a time as text; zero is 0.
func unixMilli(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

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
	spoolFails, spoolScarce, spoolDisk, credentials since
}

// probe asks Redis and the spool whether they take callbacks, and Redis how it is set up: two commands more, so that
// nobody has to wait for a minute to see a mistake, or that it is mended.
func (r *Relay) probe(ctx context.Context) {
	r.checkStatus(ctx)
	if state, _ := r.store.Availability(); state != db.Down {
		r.advice.look(ctx)
	}
}

// replicaStatus returns what the replica knows of itself, for the operator, as the latest calls have shown. It asks
// nobody.
func (r *Relay) replicaStatus() api.ReplicaStatus {
	c := r.statusOf(r.store.Available(), r.spool.Trouble())
	stats := r.spool.Stats()
	room := r.spool.Room()
	disk := r.disk()
	config := r.reload.current()
	state, since := r.store.Availability()
	out := api.ReplicaStatus{
		StartedAt: r.began, Durable: c.durable, Status: c.Status,

		Redis: c.Redis, RedisState: state.String(), RedisSince: since,
		RedisAddress: r.store.Address(), RedisEmptiedAt: r.marker.emptiedAt(),
		Embedded: r.store.Embedded(), Advice: r.advice.list(),

		Spool: c.Spool, SpoolSince: r.since.spoolFails.note(c.spoolErr != nil),
		SpoolRoom: room, SpoolMax: stats.MaxBytes,
		SpoolScarceSince: r.since.spoolScarce.note(room < stats.MaxBytes/api.SpoolScarce),
		SpoolBytes:       stats.Bytes, SpoolDisk: disk.ID, SpoolDiskFree: disk.Free,
		SpoolDiskSince: r.since.spoolDisk.note(disk.ID != "" && disk.Free < stats.MaxBytes-stats.Bytes),
		Spooled:        c.Spooled, SpooledSince: waitingSince(stats),

		Config: api.ConfigInUse(c.Config), Restart: config.restart, RestartSince: config.restartSince,

		Credentials:             r.proxy.Configured(),
		CredentialsRefusedSince: r.since.credentials.note(r.proxy.CredentialsRefused()),
	}
	limited, missed := r.proxy.Limited(), r.proxy.Missed()
	out.LimitedSince, out.LimitedLatest, out.LimitedSaid = limited.Since, limited.Latest, limited.Said
	out.Missed, out.MissedSince, out.MissedLatest = missed.Count, missed.Since, missed.Latest
	if c.redis != nil {
		out.RedisWhy = c.redis.Error()
	}
	if !config.ok {
		out.ConfigMistakes = mistakeLines(config.mistakes)
		out.ConfigRefusedSince = config.failedAt
	}
	out.LastCallbackAt, out.Silent = r.heartbeat.state()
	out.Silence = time.Duration(r.heartbeat.after.Load())
	if out.Silent {
		out.SilentSince = r.heartbeat.silentSince()
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
func (r *Relay) redisServer(ctx context.Context) (api.RedisServer, error) {
	s, err := r.store.Server(ctx)
	return api.RedisServer{
		Version: s.Version, Memory: s.Memory, MaxMemory: s.MaxMemory, Policy: s.Policy, Persists: s.Persistence,
		Replicas: s.Replicas, Latency: s.Latency, Events: s.Events,
	}, err
}
