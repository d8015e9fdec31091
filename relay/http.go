package relay

import (
	"errors"
	"maps"
	"net/http"
	"net/http/pprof"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"kuairelay/relay/config"
)

// newPublic makes the public listener's handler: /healthz and /readyz; the parts add their own paths.
func newPublic(c *config.Config, log *zap.Logger, ready echo.HandlerFunc) *echo.Echo {
	e := newEcho(log, ready)
	e.IPExtractor = clientIP(c.Server.TrustedProxies)
	return e
}

// newAdmin makes the private listener's handler: metrics and profiles beside /healthz and /readyz.
func newAdmin(registry *prometheus.Registry, log *zap.Logger, ready echo.HandlerFunc) *echo.Echo {
	e := newEcho(log, ready)
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	e.GET("/debug/pprof/*", echo.WrapHandler(http.HandlerFunc(pprof.Index)))
	e.GET("/debug/pprof/cmdline", echo.WrapHandler(http.HandlerFunc(pprof.Cmdline)))
	e.GET("/debug/pprof/profile", echo.WrapHandler(http.HandlerFunc(pprof.Profile)))
	e.GET("/debug/pprof/symbol", echo.WrapHandler(http.HandlerFunc(pprof.Symbol)))
	e.GET("/debug/pprof/trace", echo.WrapHandler(http.HandlerFunc(pprof.Trace)))
	return e
}

func newEcho(log *zap.Logger, ready echo.HandlerFunc) *echo.Echo {
	e := echo.New()
	e.StdLogger = zap.NewStdLog(log) // of net/http, which would otherwise print on its own
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = problem
	e.IPExtractor = clientIP(nil)
	e.Use(decodeParams)
	e.Server.ReadHeaderTimeout = 10 * time.Second
	e.Server.ReadTimeout = 30 * time.Second
	e.Server.IdleTimeout = 2 * time.Minute
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
