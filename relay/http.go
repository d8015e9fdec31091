package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"kuairelay/relay/access"
	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/ledger"
	"kuairelay/relay/spool"
	"kuairelay/relay/store/db"
)

// Bounds of one connection, at both listeners. A request with its answer is a callback, a list, or a test event with
// its attempt: none takes a minute.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 90 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// newPublic makes the public listener's handler: /healthz and /readyz; the parts add their own paths.
func newPublic(c *config.Config, log *zap.Logger, ready echo.HandlerFunc, wrong *access.WrongKeys,
	aside func(context.Context) func()) *echo.Echo {
	e := newEcho(log, ready, aside)
	e.IPExtractor = access.ClientIP(c.Server.TrustedProxies)
	e.Use(wrong.Watch)
	return e
}

// newAdmin makes the private listener's handler: metrics, profiles, /healthz and /readyz.
func newAdmin(c *config.Config, registry *prometheus.Registry, log *zap.Logger, ready echo.HandlerFunc,
	wrong *access.WrongKeys, aside func(context.Context) func()) *echo.Echo {
	e := newEcho(log, ready, aside)
	p := access.NewPrivate(c.Admin.Listen, c.Console.Hosts)
	e.Pre(p.Guard)
	e.Use(wrong.Watch)
	e.GET("/metrics",
		echo.WrapHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	e.GET("/debug/pprof/*", p.Profile(pprof.Index))
	e.GET("/debug/pprof/cmdline", p.Profile(pprof.Cmdline))
	e.GET("/debug/pprof/profile", p.Profile(pprof.Profile))
	e.GET("/debug/pprof/symbol", p.Profile(pprof.Symbol))
	e.GET("/debug/pprof/trace", p.Profile(pprof.Trace))
	return e
}

func newEcho(log *zap.Logger, ready echo.HandlerFunc, aside func(context.Context) func()) *echo.Echo {
	e := echo.New()
	e.StdLogger = zap.NewStdLog(log) // of net/http, which would otherwise print on its own
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = problem
	e.JSONSerializer = answers{aside: aside}
	e.IPExtractor = access.ClientIP(nil)
	e.Use(decodeParams)
	e.Server.ReadHeaderTimeout = readHeaderTimeout
	e.Server.ReadTimeout = readTimeout
	e.Server.WriteTimeout = writeTimeout
	e.Server.IdleTimeout = idleTimeout
	e.Server.MaxHeaderBytes = maxHeaderBytes
	e.GET("/healthz", func(c echo.Context) error { return c.JSON(http.StatusOK, map[string]string{"status": "alive"}) })
	e.GET("/readyz", ready)
	return e
}

// answers writes answers as JSON. A long answer is written in parts, and each part but the first waits for a turn, so
// that no list keeps a core from callbacks for long.
type answers struct {
	echo.DefaultJSONSerializer
	aside func(context.Context) (end func()) // store.Store.Aside
}

// Serialize implements echo.JSONSerializer.
func (a answers) Serialize(c echo.Context, value any, _ string) error {
	w := &answer{to: c.Response(), turn: func() (end func()) { return a.aside(c.Request().Context()) }, end: func() {}}
	defer func() { w.end() }()
	parts := bufio.NewWriterSize(w, answerPart)
	if err := json.MarshalWrite(parts, value, jsonv1.DefaultOptionsV1()); err != nil {
		return err
	}
	_ = parts.WriteByte('\n') // Flush gives its error
	return parts.Flush()
}

// answerPart is the size of a part, which takes about a fifth of a millisecond to write.
const answerPart = 16 << 10

// answer is an answer that is being written.
type answer struct {
	to   io.Writer
	turn func() (end func())
	end  func() // of the present turn
}

// Write writes a part, at the pace of the client, and then waits for the turn of the next one.
func (a *answer) Write(part []byte) (int, error) {
	a.end()
	a.end = func() {}
	n, err := a.to.Write(part)
	if err == nil {
		a.end = a.turn()
	}
	return n, err
}

// decodeParams decodes the parameters of every path once. echo takes them from the path as it was sent if that has
// escapes with a meaning, as in A%2FB.
func decodeParams(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().URL.RawPath == "" {
			return next(c)
		}
		values := slices.Clone(c.ParamValues())
		for i, value := range values {
			plain, err := url.PathUnescape(value)
			if err != nil {
				return echo.NewHTTPError(http.StatusBadRequest, "the path has a percent sign that begins no escape")
			}
			values[i] = plain
		}
		c.SetParamValues(values...)
		return next(c)
	}
}

// problem answers an error as RFC 9457 has it.
func problem(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if wrong, ok := errors.AsType[*api.MistakesError](err); ok {
		more := map[string]any{"errors": wrong.Mistakes}
		_ = writeProblem(c, http.StatusUnprocessableEntity, wrong.Error(), more) // the client may be gone
		return
	}
	status, detail := http.StatusInternalServerError, ""
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		status = he.Code
		if text, ok := he.Message.(string); ok && text != http.StatusText(status) {
			detail = text
		}
	}
	_ = writeProblem(c, status, detail, nil) // the client may be gone
}

// writeProblem writes problem JSON, with more members if there are any.
func writeProblem(c echo.Context, status int, detail string, more map[string]any) error {
	body := map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status}
	if detail != "" {
		body["detail"] = detail
	}
	maps.Copy(body, more)
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	c.Response().WriteHeader(status)
	return c.Echo().JSONSerializer.Serialize(c, body, "")
}

// readiness is the answer of /readyz: ready, or degraded: callbacks are still accepted durably, but something is wrong.
type readiness struct {
	Status  api.Readiness   `json:"status"`
	Redis   string          `json:"redis"`
	Spool   string          `json:"spool"`
	Spooled int             `json:"spooled"` // callbacks that wait to be accepted
	Config  configReadiness `json:"config"`
}

// configReadiness is the config in use.
type configReadiness struct {
	Fingerprint string    `json:"fingerprint"`
	LoadedAt    time.Time `json:"loaded_at"`
	Reload      string    `json:"reload"` // ReloadOK or ReloadFailed
}

// replicaStatus is what this replica knows of itself, without asking the others.
type replicaStatus struct {
	readiness
	durable         bool  // whether a callback can be accepted so that it is not lost
	redis, spoolErr error // why they take none
}

// checkStatus asks Redis and the spool whether they take callbacks.
func (relay *Relay) checkStatus(ctx context.Context) replicaStatus {
	return relay.statusOf(relay.store.Ready(ctx), relay.spool.Check())
}

// statusOf is what a replica is like whose Redis and spool take callbacks, or do not because of these errors. An
// embedded Redis is durable by the spool only.
func (relay *Relay) statusOf(redis, spool error) replicaStatus {
	embedded := relay.store.Embedded()
	c := replicaStatus{redis: redis, spoolErr: spool}
	c.readiness = readiness{
		Status: api.Ready, Redis: "up", Spool: "ok",
		Spooled: relay.spool.Stats().Waiting, Config: relay.reload.ready(),
	}
	if c.redis != nil {
		state, why := db.Trouble(c.redis)
		c.Redis = state.String() + ": " + why
	}
	if embedded {
		c.Redis = "embedded"
	}
	if c.spoolErr != nil {
		c.Spool = spoolTrouble(c.spoolErr)
	}
	c.durable = c.spoolErr == nil || c.redis == nil && !embedded
	switch {
	case !c.durable:
		c.Status = api.Unready
	case c.redis != nil || c.spoolErr != nil || c.Config.Reload != ReloadOK:
		c.Status = api.Degraded
	}
	return c
}

// ready answers /readyz: whether callbacks can be accepted durably, by Redis or by the spool.
func (relay *Relay) ready(e echo.Context) error {
	c := relay.checkStatus(e.Request().Context())
	if !c.durable {
		return echo.NewHTTPError(http.StatusServiceUnavailable,
			fmt.Sprintf("not able to accept callbacks durably: redis is %s; the spool is %s", c.Redis, c.Spool))
	}
	return e.JSON(http.StatusOK, c.readiness)
}

// strangersWait is how long an answer of the public /readyz is reused for everybody: each check writes to Redis, and
// anybody may ask.
const strangersWait = time.Second

// readyNow is the latest answer of the public /readyz.
type readyNow struct {
	mu      sync.Mutex
	checked time.Time
	durable bool
	status  api.Readiness
}

// readyForAll is ready for the public listener. Strangers get what a load balancer needs and no more, and cause at most
// one check a second.
func (relay *Relay) readyForAll(e echo.Context) error {
	now := &relay.readyNow
	now.mu.Lock()
	if time.Since(now.checked) > strangersWait {
		c := relay.checkStatus(context.WithoutCancel(e.Request().Context()))
		now.durable, now.status, now.checked = c.durable, c.Status, time.Now()
	}
	durable, status := now.durable, now.status
	now.mu.Unlock()
	if !durable {
		return echo.NewHTTPError(http.StatusServiceUnavailable, "not able to accept callbacks durably")
	}
	return e.JSON(http.StatusOK, map[string]api.Readiness{"status": status})
}

// admit counts a request of a tenant over all replicas. It does not wait for a Redis that is down: then each replica
// counts for itself.
func (relay *Relay) admit(ctx context.Context, limiter string, l ledger.Limits, waybills int) (
	wait time.Duration, quota bool, err error,
) {
	if state, _ := relay.store.Availability(); state == db.Down {
		return 0, false, relay.store.Available()
	}
	return relay.store.Admit(ctx, limiter, l, waybills)
}

// spoolTrouble says what is wrong, without paths.
func spoolTrouble(err error) string {
	var number syscall.Errno
	var path *fs.PathError
	switch {
	case errors.Is(err, spool.ErrFull):
		return "full: it holds spool.max_bytes"
	case errors.Is(err, spool.ErrWaybills):
		return "full: its callbacks name too many waybills"
	case errors.Is(err, spool.ErrHangs):
		return "hanging: its disk does not answer"
	case errors.As(err, &number):
		return "unwritable: " + number.Error()
	case errors.As(err, &path):
		return "unwritable: " + path.Err.Error()
	}
	return "unwritable"
}

// withoutHost makes the error of a listener plain, and removes a host that is no IP address: it may be an expanded
// value.
func withoutHost(err error) error {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("look up its host: %s", e.Err)
	}
	if e, ok := errors.AsType[*net.AddrError](err); ok {
		return errors.New(e.Err)
	}
	return errors.New(deliver.PlainError(err))
}

func serve(e *echo.Echo, l *access.Connections) error {
	e.Listener = l
	e.Server.ConnState = l.OnState
	if err := e.Start(""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
