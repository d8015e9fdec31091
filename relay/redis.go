package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
	"kuairelay/relay/spool"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/notices"
	"kuairelay/relay/store/replays"
	"kuairelay/relay/store/subscriptions"
)

// stores are all that is kept in Redis, in one value for the parts that need several of them.
type stores struct {
	*db.DB
	*store.Store
	*subscriptions.Ledger
	*replays.List
	*notices.Board
}

// newStores makes the stores of a config; o and replica have what is not in a config. It opens no connection.
func newStores(c *config.Config, o db.Options, replica string) (*stores, error) {
	o.URL = c.Redis.URL.Reveal()
	o.WaitReplicas = c.Redis.WaitReplicas
	kept, err := openStores(o, store.Options{Brands: kuaidihelp.Brands(), Replica: replica})
	if err == nil {
		kept.use(c)
	}
	return kept, err
}

func openStores(redis db.Options, o store.Options) (*stores, error) {
	d, err := db.New(redis)
	if err != nil {
		return nil, err
	}
	return &stores{
		DB:     d,
		Store:  store.New(d, o),
		Ledger: subscriptions.New(d, subscriptions.Settings{}),
		List:   replays.New(d),
		Board:  notices.New(d),
	}, nil
}

// use gives them the settings of a config.
func (s *stores) use(c *config.Config) {
	s.Store.Use(storeSettings(c))
	s.Ledger.Use(ledgerSettings(c))
}

// adviceEvery is how often the setup of Redis is checked. Whoever looks at the status has it checked too.
const adviceEvery = time.Minute

// redisWarnings logs, and shows in a metric, what puts accepted events at risk in Redis.
type redisWarnings struct {
	redis *db.DB
	log   *zap.Logger
	again chan struct{} // has a value when Redis has begun or ceased to take events

	looking sync.Mutex // held while Redis is asked, so that each advice is logged once

	mu    sync.Mutex
	now   map[string]string
	since map[string]time.Time // since when each is known
}

// present returns the advice that holds at present: the reason by its name.
func (a *redisWarnings) present() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.now)
}

func (a *redisWarnings) run(ctx context.Context) {
	tick := time.NewTicker(adviceEvery)
	defer tick.Stop()
	for {
		a.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-a.again:
		case <-tick.C:
		}
	}
}

// soon has Redis looked at without a wait.
func (a *redisWarnings) soon() {
	select {
	case a.again <- struct{}{}:
	default: // it will be
	}
}

// look asks Redis how it is set up. If it does not answer, what was known stays.
func (a *redisWarnings) look(ctx context.Context) {
	a.looking.Lock()
	defer a.looking.Unlock()
	if now, err := a.redis.Advice(ctx); err == nil {
		a.report(now)
	}
}

// report logs each advice once, when it begins to hold.
func (a *redisWarnings) report(now map[string]string) {
	was := a.present()
	for name, why := range now {
		if _, known := was[name]; known {
			continue
		}
		log := a.log.Warn
		if name == db.AdviceUnreadable {
			log = a.log.Info
		}
		log("redis advice", zap.String("advice", name), zap.String("why", why))
	}
	for name := range was {
		if _, holds := now[name]; !holds {
			a.log.Info("redis advice no longer applies", zap.String("advice", name))
		}
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	began := make(map[string]time.Time, len(now))
	for name := range now {
		began[name] = a.since[name]
		if began[name].IsZero() {
			began[name] = time.Now()
		}
	}
	a.now, a.since = now, began
}

// askMost is how long a check for production waits for Redis.
const askMost = 2 * time.Second

// PointsOfSpool finds what of the disk of a config's spool should not go into production, on this machine. What other
// files there take is not known.
func PointsOfSpool(c *config.Config) []config.Point {
	disk, known := spool.DiskOf(c.Spool.Dir)
	if !known {
		return nil
	}
	return c.Production.OfSpoolDisk(disk.Free, c.Spool.MaxBytes)
}

// PointsOfRedis asks the Redis of a config, if it has one, what of it should not go into production. It leaves nothing
// there. unknown says what could not be found out.
func PointsOfRedis(ctx context.Context, c *config.Config) (points []config.Point, unknown []string) {
	if c.Redis.URL == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	kept, err := newStores(c, db.Options{}, "")
	if err != nil {
		return nil, []string{err.Error()}
	}
	defer kept.Close()

	if code, why, hint, refused := kept.Refused(ctx); refused {
		do := cmp.Or(hint, "correct redis.url, or what it leads to (docs/operator/install.md#4-redis)")
		return c.Production.OfRedis(config.Redis{Advice: []config.Point{{Code: code, Why: "redis.url: " + why, Do: do}}})
	}
	server, err := kept.Server(ctx) // first, because its errors name the Redis
	var advice map[string]string
	if err == nil {
		advice, err = kept.Advice(ctx)
	}
	var replicas []store.Replica
	if err == nil {
		replicas, err = kept.Replicas(ctx)
	}
	if err != nil {
		return nil, []string{"Redis, and how many replicas there are: " + err.Error()}
	}

	found := config.Redis{
		Advice: pointsOfAdvice(advice), Told: server.Version != "", MaxMemory: server.MaxMemory, Events: server.Events,
		Replicas: len(replicas),
	}
	for _, r := range replicas {
		found.Callbacks += showReplica(r).Callbacks
	}
	return c.Production.OfRedis(found)
}

// pointsOfAdvice are the points that advice comes to, in the words of the problems that it makes.
func pointsOfAdvice(all map[string]string) (points []config.Point) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		advice := []api.Advice{{Name: name, Why: all[name]}}
		for _, p := range api.Problems(api.Facts{Replica: api.ReplicaStatus{Durable: true, Advice: advice}}) {
			points = append(points, config.Point{Code: name, Why: p.Subject + ": " + p.Why, Do: p.Do})
		}
	}
	return points
}

const (
	// markerEvery is how often Redis is asked for its marker.
	markerEvery = 10 * time.Second
	// markerFile is in spool.dir. Processes with the same folder share the file, because it says the same for all.
	markerFile = ".redis.json"
)

// marker notices a Redis that has lost data: it was flushed, came back without its files, was replaced by a replica
// without data, or the URL leads to another database. A key in Redis has a random value, which is remembered in the
// spool's folder over restarts. If the key has another value, or is missing, Redis has lost data.
type marker struct {
	redis *db.DB
	log   *zap.Logger
	file  string
	desc  *prometheus.Desc

	mu  sync.Mutex
	now markerState
}

// markerState is the content of the file.
type markerState struct {
	Marker string `json:"marker"`
	// EmptiedAt is when a Redis without the marker was last noticed; zero: never.
	EmptiedAt time.Time `json:"emptied_at,omitzero"`
}

func newMarker(d *db.DB, log *zap.Logger, dir string) *marker {
	return &marker{redis: d, log: log, file: filepath.Join(dir, markerFile),
		desc: prometheus.NewDesc("kuairelay_redis_emptied_timestamp_seconds",
			"Unix time at which Redis was last found without the data that it had held; 0: never.", nil, nil)}
}

// run looks every markerEvery, and as soon as Redis can be reached again.
func (m *marker) run(ctx context.Context) {
	if m.redis.Embedded() {
		return
	}
	m.read()
	tick := time.NewTicker(markerEvery)
	defer tick.Stop()
	for m.redis.WaitUp(ctx) == nil {
		m.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// read loads the file of an earlier process. Without a readable file, the first marker that is found counts.
func (m *marker) read() {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = json.Unmarshal(text, &m.now) // a damaged file counts as missing
}

// look compares the marker with the remembered one.
func (m *marker) look(ctx context.Context) {
	found, err := m.redis.Marker(ctx)
	if err != nil {
		return // the store logs that
	}
	m.mu.Lock()
	was := m.now
	m.now.Marker = found
	lost := was.Marker != "" && was.Marker != found
	if lost {
		m.now.EmptiedAt = time.Now().UTC().Truncate(time.Millisecond)
	}
	now := m.now
	m.mu.Unlock()
	if now == was {
		return
	}
	if lost {
		m.log.Error("redis has lost its data, or is another one: open deliveries, pauses, the ledger of subscriptions "+
			"and the record of duplicates are gone",
			zap.String("redis", m.redis.Address()))
	}
	if err := m.write(now); err != nil {
		m.log.Warn("cannot write the marker of redis: a restart forgets it", zap.Error(err))
	}
}

// write replaces the file in one step.
func (m *marker) write(r markerState) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.file), 0o700); err != nil {
		return err
	}
	other, err := os.CreateTemp(filepath.Dir(m.file), markerFile+".*")
	if err != nil {
		return err
	}
	_, err = other.Write(append(text, '\n'))
	if closed := other.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(other.Name(), m.file)
	}
	if err != nil {
		_ = os.Remove(other.Name())
	}
	return err
}

func (m *marker) emptiedAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.EmptiedAt
}

// Describe implements prometheus.Collector.
func (m *marker) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

// Collect implements prometheus.Collector.
func (m *marker) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, unixSeconds(m.emptiedAt()))
}

// Ledger has the subscriptions of a store, for tools that save and restore them.
type Ledger struct{ store *stores }

// OpenLedger makes the ledger of a config's store. It opens no connection yet.
func OpenLedger(c *config.Config) (*Ledger, error) {
	kept, err := newStores(c, db.Options{}, "")
	if err != nil {
		return nil, err
	}
	return &Ledger{kept}, nil
}

// Export calls write for every subscription, by tenant. A subscription that is renewed meanwhile may be missing.
func (l *Ledger) Export(ctx context.Context, write func(ledger.Subscription) error) error {
	tenants, err := l.store.Subscribers(ctx)
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		if err := l.exportTenant(ctx, tenant, write); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) exportTenant(ctx context.Context, tenant string, write func(ledger.Subscription) error) error {
	cursor := ""
	for {
		page, next, err := l.store.Subscriptions(ctx, tenant, cursor, 500)
		if err != nil {
			return err
		}
		for _, s := range page {
			if err := write(s); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// Import puts subscriptions back; what the ledger knows already stays. It returns how many were new.
func (l *Ledger) Import(ctx context.Context, all []ledger.Subscription) (int, error) {
	return l.store.Import(ctx, all)
}

// Close closes the connections.
func (l *Ledger) Close() error { return l.store.Close() }
