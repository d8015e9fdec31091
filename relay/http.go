package relay

import (
	"errors"
	"maps"
	"net/http"
	"net/http/pprof"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"kuairelay/relay/config"
)

// newPublic makes the public listener's handler: /healthz and /readyz; the parts add their own paths.
func newPublic(c *config.Config, log *zap.Logger, ready echo.HandlerFunc, wrong *guesses) *echo.Echo {
	e := newEcho(log, ready)
	e.IPExtractor = clientIP(c.Server.TrustedProxies)
	e.Use(wrong.watch)
	return e
}

// newAdmin makes the private listener's handler: metrics and profiles beside /healthz and /readyz.
func newAdmin(c *config.Config, registry *prometheus.Registry, log *zap.Logger, ready echo.HandlerFunc, wrong *guesses) *echo.Echo {
	e := newEcho(log, ready)
	p := newPrivate(c.Admin.Listen, c.Console.Hosts)
	e.Pre(p.guard)
	e.Use(wrong.watch)
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	e.GET("/debug/pprof/*", p.profile(pprof.Index))
	e.GET("/debug/pprof/cmdline", p.profile(pprof.Cmdline))
	e.GET("/debug/pprof/profile", p.profile(pprof.Profile))
	e.GET("/debug/pprof/symbol", p.profile(pprof.Symbol))
	e.GET("/debug/pprof/trace", p.profile(pprof.Trace))
	return e
}

func newEcho(log *zap.Logger, ready echo.HandlerFunc) *echo.Echo {
	e := echo.New()
	e.StdLogger = zap.NewStdLog(log) // of net/http, which would otherwise print on its own
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = problem
	e.IPExtractor = clientIP(nil)
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

// decodeParams decodes the parameters of every path, once: echo takes them from the path as it was sent where that has escapes that
// mean something, as in A%2FB.
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
