package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"kuairelay/relay/config"
	"kuairelay/relay/console"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/ingest"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/route"
	"kuairelay/relay/store"
	"kuairelay/relay/subscribe"
)

// Options of a Relay. A zero field means its default.
type Options struct {
	Config  *config.Config
	Logger  *zap.Logger
	Version string // default "dev"
	// Grace is how long a shutdown waits for what is under way. Default 20 s.
	Grace time.Duration
	// Clock is the local clock, a seam for tests. Default time.Now.
	Clock func() time.Time
	// OnListen is called when both listeners are open.
	OnListen func(public, admin net.Addr)
}

// Relay is one replica: everything in one process but Redis and the tenants.
type Relay struct {
	o             Options
	log           *zap.Logger
	store         *store.Store
	pool          *deliver.Pool
	proxy         *subscribe.Proxy
	keeper        *keeper
	drain         *drain
	replays       *replayer
	public, admin *echo.Echo
}

// New builds a relay from a checked config. It opens no port and no connection.
func New(o Options) (*Relay, error) {
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	o.Version = cmp.Or(o.Version, "dev")
	o.Grace = cmp.Or(o.Grace, 20*time.Second)
	c, registry := o.Config, prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(o.Version))

	keeper := &keeper{log: o.Logger}
	db, err := newStore(c, store.Options{Clock: o.Clock, OnState: keeper.onState, OnDelivered: keeper.onDelivered})
	if err != nil {
		return nil, err
	}
	whenErrors := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_when_errors_total",
		Help: "Evaluations of a route's when expression that failed; the route did not match."}, []string{"tenant"})
	registry.MustRegister(whenErrors)
	var complained sync.Map // a route that fails is logged once, and counted each time
	table, err := newTable(c, func(r *route.Rule, err error) {
		whenErrors.WithLabelValues(r.Tenant).Inc()
		if _, known := complained.LoadOrStore(r.Pos, true); !known {
			o.Logger.Warn("when failed, and is counted from now on", zap.String("route", r.Pos), zap.Error(err))
		}
	})
	if err != nil {
		return nil, err
	}
	eps, ordered, err := endpoints(c.Tenants)
	if err != nil {
		return nil, err
	}
	db.Regulate(flows(c.Tenants))
	out, err := egress(c)
	if err != nil {
		return nil, err
	}
	pool, err := deliver.New(deliver.Options{
		Store: db, Endpoints: eps, Egress: out, Logger: o.Logger, Registry: registry, UserAgent: "kuairelay/" + o.Version,
		OrphanGrace: c.Delivery.OrphanGrace, Retention: c.Retention, ShutdownGrace: o.Grace * 3 / 4,
	})
	if err != nil {
		return nil, err
	}
	registry.MustRegister(newQueues(db, eps))
	keeper.acceptor = &acceptor{table: table, store: db, pool: pool, ordered: ordered}
	keeper.store, keeper.advice = db, &adviser{store: db, log: o.Logger}
	keeper.spool = store.NewSpool(store.SpoolOptions{Dir: c.Spool.Dir, MaxBytes: c.Spool.MaxBytes,
		Waybills: func(cb *event.Callback) []string { return waybillsOf(parse(cb).Events) }})
	if db.Embedded() {
		keeper.open = newTracker(keeper)
	}
	drain := &drain{keeper: keeper}
	registry.MustRegister(newTroubleMetrics(keeper, drain))
	receiver := ingest.New(ingest.Options{
		Tokens: reveal(c.Callback.Tokens), AllowCIDRs: c.Callback.AllowCIDRs, Ack: c.Callback.Ack, MaxBody: c.Callback.MaxBody,
		Keep: keeper.keep, Logger: o.Logger, Registry: registry,
	})
	keeper.count = receiver.Count
	r := &Relay{o: o, log: o.Logger, store: db, pool: pool, proxy: newProxy(c, db, keeper.acceptor, o.Logger, registry), keeper: keeper, drain: drain}
	r.public, r.admin = newPublic(c, o.Logger, keeper.ready), newAdmin(registry, o.Logger, keeper.ready)
	receiver.Register(r.public)
	r.proxy.Register(r.public)
	api := console.New(console.Options{Store: db, Logger: o.Logger, Version: o.Version, Take: keeper.retake, Fed: pool.Feed})
	api.Use(viewOf(c, table, pool))
	api.Register(r.public, r.admin)
	r.replays = &replayer{store: db, pool: pool, table: table, endpoints: api.Endpoints, log: o.Logger}
	return r, nil
}

// newStore makes the store of a config; o has what is not in there. It opens no connection.
func newStore(c *config.Config, o store.Options) (*store.Store, error) {
	o.URL, o.WaitReplicas, o.Window, o.BareWindow = c.Redis.URL.Reveal(), c.Redis.WaitReplicas, c.Dedupe.Window, c.Dedupe.BareWindow
	o.Retention, o.DeadLetterRetention = c.Retention, c.DeadLetterRetention
	o.SubscriptionTTL, o.SignedTTL, o.UpstreamRate, o.Brands = c.Subscriptions.TTL, c.Subscriptions.SignedTTL, float64(c.Kuaidihelp.Rate), kuaidihelp.Brands()
	const writing = 5 * time.Second // what the provider said, while Redis is slow
	o.ClaimTTL = c.Kuaidihelp.Timeout + writing
	return store.New(o)
}

// Run serves until ctx is cancelled, or a listener fails. It stops in this order: take no more callbacks, finish or hand back
// the deliveries under way, close the spool and the store.
func (r *Relay) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.store.Close()) }()
	c := r.o.Config
	public, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Server.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w", err)
	}
	admin, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Admin.Listen)
	if err != nil {
		_ = public.Close()
		return fmt.Errorf("admin.listen: %w", err)
	}
	r.log.Info("listening", zap.String("version", r.o.Version), zap.Stringer("public", public.Addr()), zap.Stringer("admin", admin.Addr()))
	r.announce()
	if r.o.OnListen != nil {
		r.o.OnListen(public.Addr(), admin.Addr())
	}

	// The parts outlive ctx: they are stopped one after the other below.
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { _ = r.store.Run(parts) })
	running.Go(func() { _ = r.pool.Run(parts) })
	running.Go(func() { _ = r.proxy.Run(parts) })
	r.keeper.start(parts, &running)
	for range drainWorkers {
		running.Go(func() { r.drain.run(parts) })
	}
	// Replays end before the pool does: what they lease is not to wait for its lease to lapse.
	replays, endReplays := context.WithCancel(parts)
	defer endReplays()
	var replaying sync.WaitGroup
	replaying.Go(func() { r.replays.run(replays) })
	failed := make(chan error, 2)
	go func() { failed <- serve(r.public, public) }()
	go func() { failed <- serve(r.admin, admin) }()

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	r.log.Info("stopping", zap.Stringer("grace", r.o.Grace))
	// Callbacks have a quarter of the grace, attempts the rest.
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), r.o.Grace/4)
	defer done()
	if r.public.Shutdown(grace) != nil {
		// Somebody was still sending. Nothing of that was answered, so nothing is lost.
		_ = r.public.Close()
	}
	endReplays()
	replaying.Wait()
	stop()
	running.Wait()
	err = errors.Join(err, r.admin.Close(), r.keeper.close())
	r.log.Info("stopped")
	return err
}

// announce says at start what an operator has to know, but would not see.
func (r *Relay) announce() {
	for _, w := range r.o.Config.Warnings {
		r.log.Warn("config", zap.String("at", w.Pos.String()), zap.String("warning", w.Msg))
	}
	if r.store.Embedded() {
		r.log.Warn("no redis.url: Redis is embedded, in this process's memory. Callbacks are safe in the spool until they are delivered, over a"+
			" restart too. Gone with the process: the ledger of subscriptions, history, what was delivered or is a duplicate, parked endpoints, quarantine; routes and"+
			" attempts begin anew. One replica only, and slower than with Redis", zap.String("spool", r.o.Config.Spool.Dir))
	}
	if r.o.Config.Kuaidihelp.APIKey == "" {
		r.log.Info("no kuaidihelp.api_key: callbacks are handed on, and nothing can be subscribed through this relay")
	}
}

func serve(e *echo.Echo, l net.Listener) error {
	e.Listener = l
	if err := e.Start(""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

func reveal(secrets []config.Secret) []string {
	out := make([]string, len(secrets))
	for i, s := range secrets {
		out[i] = s.Reveal()
	}
	return out
}
