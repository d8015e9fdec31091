// Package relay wires the parts of kuairelay together, in one straight function (New), and runs them (Run). The parts
// do not know each other: each declares the small interface that it needs. Leaves (event, queue, ledger, kuaidihelp,
// signature, spool, workers, logonce) they may use.
//
//	POST /callback/{token} → ingest → intake.Parse → intake.Keep: route.Match → store.Accept → "success"
//	                                                       deliver.Pool → signed POST → store.Settle ↙
//
// A callback that the store does not take in time goes to the spool, and from there through the same Match and Accept
// later: see package intake.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"kuairelay/relay/access"
	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/console"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/ingest"
	"kuairelay/relay/intake"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/notify"
	"kuairelay/relay/spool"
	"kuairelay/relay/store/db"
	"kuairelay/relay/subscribe"
)

// Options of a Relay. A zero field means its default.
type Options struct {
	Config *config.Config
	// Load reads the config again, for Reload. It calls onRead with every file and folder that the config depends on, also
	// after an error; these are watched. Nil: there is no reload.
	Load func(onRead func(path string)) (*config.Config, error)
	// Read has the files that Config was read from, as Load passes them to onRead. Nil: the config is read once more when
	// the relay runs.
	Read    []string
	Logger  *zap.Logger
	Version string // default "dev"
	// Grace is how long a shutdown takes at most. Default 20 s.
	Grace time.Duration
	// Clock is the local clock; tests replace it. Default time.Now.
	Clock func() time.Time
	// SessionRounds is that of access.NewSessions; tests make it fast.
	SessionRounds int
	// AfterRead is called when the relay begins to run and after each reload. Reading a large config takes several times
	// what is kept of it: a program with one relay gives that memory back (debug.FreeOSMemory). Nil: nothing is called.
	AfterRead func()
	// OnListen is called when both listeners are open.
	OnListen func(public, admin net.Addr)
	// NoticesLook is notify.Options.Look; tests make it short.
	NoticesLook time.Duration
}

// Relay is one replica: everything in one process but Redis and the tenants.
type Relay struct {
	o        Options
	log      *zap.Logger
	registry *prometheus.Registry

	// The data path, from a callback to its deliveries.
	receiver *ingest.Receiver
	intake   *intake.Intake
	spool    *spool.Spool
	store    *stores
	pool     *deliver.Pool
	replays  *replayer
	stats    *statistics
	notices  *notify.Notifier

	// Subscriptions, and who asks.
	proxy    *subscribe.Proxy
	upstream *http.Client // to kuaidihelp
	api      *api.API
	console  *console.Console
	keys     *access.Keys
	sessions *access.Sessions
	shares   *access.Shares
	wrong    *access.WrongKeys

	// What an operator looks at.
	queues    *queueMetrics
	heartbeat *heartbeat
	marker    *marker
	settings  *settingsLog
	advice    *redisWarnings
	readyNow  readyNow
	since     replicaSince
	effective effective
	ends      secretEnds
	began     time.Time
	work      *work
	when      *whenFailures
	refused   *prometheus.CounterVec // connections, by listener

	reload        configState
	public, admin *echo.Echo
}

// New builds a relay from a checked config. It opens no port and no connection.
func New(o Options) (*Relay, error) {
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	o.Version = cmp.Or(o.Version, "dev")
	o.Grace = cmp.Or(o.Grace, 20*time.Second)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.AfterRead == nil {
		o.AfterRead = func() {}
	}
	c := o.Config
	registry := prometheus.NewRegistry()
	registry.MustRegister(buildInfo(o.Version), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r := &Relay{o: o, log: o.Logger, registry: registry, began: time.Now()}

	// The data path, from its end to its beginning.
	var err error
	r.store, err = newStores(c, db.Options{Clock: o.Clock}, hostName())
	if err != nil {
		return nil, err
	}
	r.stats = newStatistics(r.store, o.Logger)
	r.pool, err = deliver.New(deliver.Options{
		Store:         r.store,
		Logger:        o.Logger,
		Registry:      registry,
		Stats:         r.stats.counters,
		UserAgent:     "kuairelay/" + o.Version,
		ShutdownGrace: max(o.Grace*3/4, 1),
	})
	if err != nil {
		return nil, err
	}
	r.spool = newSpool(c, o.Logger)
	r.work = newWork(r.store)
	r.when = newWhenFailures(o.Logger)
	registry.MustRegister(r.work, r.when.errors)
	r.intake = intake.New(intake.Options{
		Store:          r.store,
		Pool:           r.pool,
		Spool:          r.spool,
		Replica:        hostName(),
		UntilDelivered: r.store.Embedded(),
		Permanent:      db.Permanent,
		Stats:          r.stats.counters,
		Logger:         o.Logger,
		Registry:       registry,
	})
	r.store.OnAvailability(r.logRedis)
	r.store.OnDelivered(r.intake.Delivered)
	r.heartbeat = newHeartbeat(r.store, o.Logger)
	r.heartbeat.describe = r.describe
	r.receiver = ingest.New(ingest.Options{
		Keep:       r.intake.Keep,
		Parse:      r.intake.Parse,
		Replica:    hostName(),
		Bytes:      c.Limits.ParseBytes,
		OnCallback: r.heartbeat.heard,
		Stats:      r.stats.counters,
		Logger:     o.Logger,
		Registry:   registry,
	})

	// Who may come in, and what they can ask.
	r.keys = access.NewKeys()
	r.shares = access.NewShares(r.admit, registry)
	r.wrong = access.NewWrongKeys(o.Logger, registry)
	r.upstream = kuaidihelp.NewHTTP(c.Kuaidihelp.Concurrency)
	r.proxy = r.newProxy()
	r.api = r.newAPI()
	r.notices = r.newNotices()
	r.sessions = access.NewSessions(o.Clock, o.SessionRounds)
	r.console = r.newConsole()
	r.replays = newReplayer(&replayer{
		store:     r.store,
		pool:      r.pool,
		match:     r.intake.Match,
		endpoints: r.api.Endpoints,
		most:      r.shares.Replays,
		log:       o.Logger,
	})

	// What is measured, and said.
	r.advice = &redisWarnings{redis: r.store.DB, log: o.Logger, again: make(chan struct{}, 1)}
	r.marker = newMarker(r.store.DB, o.Logger, c.Spool.Dir)
	r.settings = newSettingsLog(r.store, o.Logger)
	r.queues = newQueueMetrics(r.store)
	r.refused = newRefused()
	registry.MustRegister(r.queues, r.refused, r.heartbeat, r.marker, r.keys, r.ends.gauge(), &r.reload,
		newStorageMetrics(r))

	// The parts get their settings from the config, as at a reload.
	if err := r.use(c); err != nil {
		return nil, err
	}

	if err := r.newHandlers(c); err != nil {
		return nil, err
	}

	small := *c
	small.Tenants = nil // they are most of a large config, and the parts have what they need of them
	small.Files = config.Files{}
	r.o.Config = &small
	return r, nil
}

func newRefused() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_connections_refused_total",
		Help: "Connections above limits.connections, which were answered 503."}, []string{"listener"})
}

// newHandlers makes the handlers of both listeners. A path that nothing bounds is an error.
func (r *Relay) newHandlers(c *config.Config) error {
	r.public = newPublic(c, r.log, r.readyForAll, r.wrong, r.store.Aside)
	r.admin = newAdmin(c, r.registry, r.log, r.ready, r.wrong, r.store.Aside)
	r.admin.POST("/-/reload", r.reloadHTTP)
	r.receiver.Register(r.public)
	r.proxy.Register(r.public)
	r.api.Register(r.public, r.admin)
	r.console.Register(r.public, r.admin)
	return r.shares.Check(r.public)
}

func newSpool(c *config.Config, log *zap.Logger) *spool.Spool {
	return spool.New(spool.Options{
		Dir:      c.Spool.Dir,
		MaxBytes: c.Spool.MaxBytes,
		MaxFile:  max(64<<20, 2*c.Callback.MaxBody),
		Waybills: func(cb *event.Callback) iter.Seq[string] {
			return kuaidihelp.Waybills(cb.Headers["Content-Type"], cb.Body)
		},
		Works: func() { log.Info("the spool can be written again") },
	})
}

// newProxy makes the subscribe proxy: it has no tenants until use.
func (r *Relay) newProxy() *subscribe.Proxy {
	return subscribe.New(subscribe.Options{
		Store:         r.store,
		Tenant:        r.keys.Tenant,
		Signed:        r.keys.Signed,
		OnWrongKey:    access.MarkWrongKey,
		Enter:         r.shares.Enter,
		CatchUp:       r.intake.CatchUp,
		Tell:          r.intake.Tell,
		Hear:          r.intake.Hear,
		Quiet:         r.heartbeat.quiet,
		Concurrency:   r.o.Config.Kuaidihelp.Concurrency,
		ShutdownGrace: r.o.Grace * 3 / 4,
		Logger:        r.log,
		Registry:      r.registry,
	})
}

// newAPI makes the API: it has no tenants until use.
func (r *Relay) newAPI() *api.API {
	return api.New(api.Options{
		Store:         r.store,
		Logger:        r.log,
		Version:       r.o.Version,
		Retake:        r.retake,
		Look:          r.look,
		Tenant:        r.keys.Tenant,
		Operator:      r.keys.Operator,
		Enter:         r.shares.Enter,
		Admit:         r.proxy.Admit,
		OnDue:         r.pool.Feed,
		LastCallback:  r.heartbeat.state,
		ReplicaStatus: r.replicaStatus,
		Probe:         r.probe,
		Replicas:      r.listReplicas,
		Work:          r.work.count,
		WhenFailures:  r.when.list,
		SecretEnds:    r.ends.list,

		NoticeFailures: r.noticeFailures,

		Server:      r.redisServer,
		ConfigState: r.configStateOf,
		Effective:   r.effectiveText,
		Reload:      r.reloadByAPI,
		Replica:     r.heartbeat.id,
		Spooled:     r.spooled,
		Upstream:    r.upstreamState,
		Subscribe:   r.subscribe,
		State:       r.proxy.StatesOf,
		LastRefused: r.receiver.Refused,
		ExtraRoutes: []api.ExtraRoute{api.ExtraRoute(subscribe.Create()), api.ExtraRoute(subscribe.States())},
		Webhooks:    webhooks(),
	})
}

// spooled gives the callbacks in the spool that may have an update of a waybill.
func (r *Relay) spooled(waybill string, most int) (out []api.Spooled) {
	for _, f := range r.spool.Naming(waybill, most) {
		out = append(out, api.Spooled{ReceivedAt: f.ReceivedAt, File: f.Name()})
	}
	return out
}

// upstreamState says how it stands with kuaidihelp.
func (r *Relay) upstreamState() api.Upstream {
	configured, waiting := r.proxy.State()
	return api.Upstream{Configured: configured, CredentialsRefused: r.proxy.CredentialsRefused(), Waiting: waiting}
}

// subscribe subscribes waybills for a tenant.
func (r *Relay) subscribe(c echo.Context, tenant, brand string, codes []string) ([]api.SubscribeResult, error) {
	results, err := r.proxy.Subscribe(c, tenant, brand, codes)
	out := make([]api.SubscribeResult, 0, len(results))
	for _, x := range results {
		out = append(out, api.SubscribeResult{
			CPCode: x.CPCode, WaybillCode: x.WaybillCode, Result: string(x.Result), Code: x.Code, Msg: x.Msg, UID: x.UID,
			RetryAt: utcMilli(x.RetryAt), Warning: x.Warning,
		})
	}
	return out, err
}

// newConsole makes the pages, over the API.
func (r *Relay) newConsole() *console.Console {
	return console.New(console.Options{
		API: r.api,
		Login: func(key string, operator bool) (console.Person, string, bool) {
			s, token, ok := r.sessions.Open(key, operator)
			if ok && operator {
				r.keys.UsedByOperator(key)
			}
			return console.Person{Tenant: s.Tenant, Key: s.Key}, token, ok
		},
		Session: func(token string, operator bool) (console.Person, string, bool) {
			s, renewed, ok := r.sessions.Read(token, operator)
			if ok && operator {
				r.keys.UsedByOperator(s.Secret())
			}
			return console.Person{Tenant: s.Tenant, Key: s.Key}, renewed, ok
		},
		Version:  r.o.Version,
		Logger:   r.log,
		Registry: r.registry,
	})
}

// Run serves until ctx is cancelled, or a listener fails. It stops in this order: take no more callbacks, finish or
// hand back the deliveries under way, close the spool and the store.
func (r *Relay) Run(ctx context.Context) (err error) {
	closeStore := sync.OnceValue(r.store.Close)
	defer func() { err = errors.Join(err, closeStore()) }()

	c := r.o.Config
	r.o.AfterRead() // as after a reload; later it would delay callbacks
	public, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Server.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w", withoutHost(err))
	}
	admin, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Admin.Listen)
	if err != nil {
		_ = public.Close()
		return fmt.Errorf("admin.listen: %w", withoutHost(err))
	}
	r.log.Info("listening", zap.String("version", r.o.Version),
		zap.Stringer("public", public.Addr()), zap.Stringer("admin", admin.Addr()))
	r.announce()
	if r.o.OnListen != nil {
		r.o.OnListen(public.Addr(), admin.Addr())
	}

	// The parts go on after ctx has ended: they are stopped one after the other below.
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { _ = r.store.DB.Run(parts) })
	running.Go(func() { _ = r.store.Store.Run(parts) })
	running.Go(func() { _ = r.store.Adopt(parts) }) // of replays
	running.Go(func() { _ = r.pool.Run(parts) })
	running.Go(func() { _ = r.proxy.Run(parts) })
	running.Go(func() { r.heartbeat.run(parts) })
	running.Go(func() { r.stats.run(parts) })
	running.Go(func() { r.marker.run(parts) })
	running.Go(func() { r.settings.run(parts) })
	running.Go(func() { r.watch(parts) })
	running.Go(func() { r.advice.run(parts) })
	running.Go(func() { r.intake.Run(parts) })
	running.Go(func() { r.notices.Run(parts) })
	select { // a callback that comes before then goes to the spool
	case <-r.intake.Adopted():
	case <-time.After(time.Second):
	}

	// Replays end before the pool does, so that what they have leased is handed back.
	replays, endReplays := context.WithCancel(parts)
	defer endReplays()
	replayed := make(chan struct{})
	running.Go(func() {
		defer close(replayed)
		r.replays.run(replays)
	})

	failed := make(chan error, 2)
	go func() {
		refused := r.refused.WithLabelValues("public")
		failed <- serve(r.public, access.LimitConnections(public, c.Limits.Connections, c.Server.TrustedProxies, refused))
	}()
	go func() {
		refused := r.refused.WithLabelValues("admin")
		failed <- serve(r.admin, access.LimitConnections(admin, c.Limits.Connections, nil, refused))
	}()

	select {
	case <-ctx.Done():
	case err = <-failed:
	}

	r.log.Info("stopping", zap.Stringer("grace", r.o.Grace))
	// Callbacks and replays get an eighth of the grace, attempts three quarters, and outcomes that Redis has not taken yet
	// the rest. Then nobody waits for Redis any more: it may be down.
	last := time.AfterFunc(r.o.Grace, func() { _ = closeStore() })
	defer last.Stop()

	grace, done := context.WithTimeout(context.WithoutCancel(ctx), r.o.Grace/8)
	defer done()
	endReplays()
	if r.public.Shutdown(grace) != nil {
		// A client was still sending. It got no answer, so nothing is lost.
		_ = r.public.Close()
	}
	select {
	case <-replayed:
	case <-grace.Done():
	}
	stop()
	running.Wait()
	r.stats.last(context.WithoutCancel(ctx))
	err = errors.Join(err, r.admin.Close(), r.intake.Close())
	r.log.Info("stopped")
	return err
}

// logRedis logs that Redis takes no events, or takes them again.
func (r *Relay) logRedis(s db.Availability, why string, after time.Duration) {
	r.advice.soon()
	if s == db.Up {
		r.log.Info("redis takes events again", zap.Duration("after", after), zap.Int("spooled", r.spool.Stats().Waiting))
		return
	}
	r.log.Warn("redis cannot take events: callbacks go to the spool",
		zap.String("redis", r.store.Address()), zap.Stringer("state", s), zap.String("why", why))
}

// announce logs at the start what an operator has to know, and would not see otherwise.
func (r *Relay) announce() {
	r.warn(r.o.Config)
	ofDisk := r.o.Config.Production.OfSpoolDisk(r.spool.Room(), r.spool.Stats().MaxBytes-r.spool.Stats().Bytes)
	for _, p := range slices.Concat(r.o.Config.Production.Points, ofDisk) {
		if p.Warning == "" && p.Code != config.PointEmbedded {
			r.log.Warn("not for production", zap.String("at", p.Pos.String()), zap.String("point", p.Code),
				zap.String("why", p.Why), zap.String("do", p.Do))
		}
	}
	r.o.Config.Warnings = nil
	if r.store.Embedded() {
		r.log.Warn("no redis.url: Redis is embedded, in this process's memory. The spool keeps callbacks until they are" +
			" delivered, also over a restart. A restart loses everything else: the ledger of subscriptions, the history," +
			" the record of duplicates, which endpoints are parked, the quarantine. It routes and attempts open deliveries" +
			" as if their events were new. Run one replica only. It is slower than with Redis")
	}
	if r.o.Config.Kuaidihelp.APIKey == "" {
		r.log.Info("no kuaidihelp.api_key: this relay delivers callbacks, but cannot subscribe waybills")
	}
}
