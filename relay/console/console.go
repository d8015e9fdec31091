// Package console has the pages for people: the operator's on the private listener, and the tenants' on the public one,
// where each sees its own. A page asks the handlers of the API in the same process, with the rights of whoever logged
// in, and shows what they answer. Pages work without JavaScript; app.js keeps them up to date.
package console

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/logonce"
)

// Options of a Console. API, Login, Session and Registry are required.
type Options struct {
	API *api.API
	// Login begins a session of whoever shows a key: of the operator, or of a tenant. ok is false if it is nobody's.
	Login func(key string, operator bool) (who Person, token string, ok bool)
	// Session gives whose session a token is. renewed is a token that lasts longer, if there is to be one.
	Session func(token string, operator bool) (who Person, renewed string, ok bool)

	Version  string
	Logger   *zap.Logger
	Registry prometheus.Registerer
}

// Person is who has logged in.
type Person struct {
	Tenant string // empty: the operator
	Key    string // name of the tenant's key; empty: it has none
}

// Settings are what the pages know of the config.
type Settings struct {
	// Tenants says whether tenants have pages.
	Tenants bool
	// Zone is where times are shown whose reader has not chosen; nil: in the browser's zone.
	Zone *time.Location
	// Rate is how many requests a second a session may send; default 20.
	Rate int
	// NoOperator says that the config has no token of the operator: nobody can log in there.
	NoOperator bool
	// Language is that of readers who have not chosen, and whose browser asks for none that there is: en or zh.
	Language string
}

// Console has the pages. All methods may be called at the same time.
type Console struct {
	o        Options
	sides    map[bool]*side // by whether it is the operator's
	limiter  *limiter
	rates    *rates
	logins   *prometheus.CounterVec
	cross    *http.CrossOriginProtection
	settings atomic.Pointer[Settings]
	ribbons  logonce.Repeats // why pages had none

	// What costs memory while it is made.
	samples   *places // for the tester of routes, by tenant
	exports   *places // of subscriptions, by tenant
	downloads *places // of events, by session

	// What was asked for a short time ago.
	answers    *memo // of the API
	firstPages *memo // of lists of events
	letters    *memo // how many dead letters there are
}

// How many answers are kept of each kind.
const (
	answersKept    = 500
	firstPagesKept = 100
	lettersKept    = 64
)

// side is what differs between the pages of the operator and those of tenants.
type side struct {
	operator bool
	base     string // of its paths, without a slash at the end
	cookie   string
	pages    []page
}

// baseOf is the beginning of the paths of a side.
func baseOf(operator bool) string {
	if operator {
		return ""
	}
	return "/console"
}

// New makes a Console.
func New(o Options) *Console {
	c := &Console{
		o:          o,
		limiter:    newLimiter(time.Now),
		rates:      newRates(time.Now),
		answers:    newMemo(answersKept),
		firstPages: newMemo(firstPagesKept),
		letters:    newMemo(lettersKept),
		samples:    newPlaces(samplesAtOnce, samplesInAll),
		exports:    newPlaces(exportsAtOnce, exportsInAll),
		downloads:  newPlaces(1, downloadsInAll),
		cross:      http.NewCrossOriginProtection(),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kuairelay_console_logins_total",
			Help: "Logins to the pages, by who (operator, tenant) and result (ok, wrong, limited).",
		}, []string{"who", "result"}),
	}
	o.Registry.MustRegister(c.logins)
	for _, who := range []string{"operator", "tenant"} {
		for _, result := range []string{"ok", "wrong", "limited"} {
			c.logins.WithLabelValues(who, result)
		}
	}

	c.sides = map[bool]*side{
		true:  {operator: true, cookie: "kuairelay-operator"},
		false: {base: baseOf(false), cookie: "kuairelay-tenant"},
	}
	for _, s := range c.sides {
		for _, p := range pages() {
			if s.operator || !p.operatorOnly {
				s.pages = append(s.pages, p)
			}
		}
	}
	c.Use(Settings{Tenants: true})
	return c
}

// Use has all pages from now on follow other settings.
func (c *Console) Use(s Settings) {
	s.Rate = cmp.Or(s.Rate, defaultRate)
	c.settings.Store(&s)
}

// defaultRate is how many requests a second a session may send.
const defaultRate = 20

// Register adds the operator's pages to the private listener's handler, and those of tenants to the public one's.
func (c *Console) Register(public, admin *echo.Echo) {
	c.register(admin, c.sides[true])
	c.register(public, c.sides[false])
}

func (c *Console) register(e *echo.Echo, s *side) {
	add := func(method, path string, handle func(*visit) error) {
		e.Add(method, s.base+path, func(x echo.Context) error { return c.serve(x, s, maxForm, handle) })
	}
	if s.base != "" {
		e.GET(s.base, func(x echo.Context) error { return x.Redirect(http.StatusMovedPermanently, s.base+"/") })
	}
	add(http.MethodGet, "/login", (*visit).showLogin)
	add(http.MethodPost, "/login", (*visit).login)
	add(http.MethodPost, "/logout", (*visit).logout)
	e.GET(s.base+"/assets/*", c.asset)
	e.RouteNotFound(s.base+"/*", func(x echo.Context) error {
		if !strings.Contains(x.Request().Header.Get(echo.HeaderAccept), "text/html") {
			return echo.ErrNotFound // a program gets an answer that it can read
		}
		return c.serve(x, s, maxForm, known(func(*visit) error { return echo.ErrNotFound }))
	})

	for _, p := range s.pages {
		add(http.MethodGet, p.path, known(p.show))
		for _, a := range p.acts {
			if a.operatorOnly && !s.operator {
				continue
			}
			e.POST(s.base+a.path, func(x echo.Context) error { return c.serve(x, s, cmp.Or(a.form, maxForm), known(a.do)) })
		}
	}
}

// maxForm bounds a form, in bytes. What is beyond is not read.
const maxForm int64 = 16 << 10

// serve answers a request of a page, whose form has at most so many bytes. What goes wrong is shown as a page, too.
func (c *Console) serve(x echo.Context, s *side, most int64, handle func(*visit) error) error {
	v := c.newVisit(x, s)
	header := x.Response().Header()
	for name, value := range pageHeaders {
		header.Set(name, value)
	}
	if !v.secure() && !loopback(x.Request().Host) {
		header.Del("Cross-Origin-Opener-Policy") // browsers ignore it there, and complain
	}
	if !s.operator && !c.settings.Load().Tenants {
		return v.fail(echo.NewHTTPError(http.StatusNotFound, v.t("error.off")))
	}

	// Strangers may send forms, too.
	x.Request().Body = http.MaxBytesReader(x.Response(), x.Request().Body, most)

	// A page of another site may not act here. A request with a session comes from a browser, which says from where.
	if x.Request().Method != http.MethodGet {
		err := c.cross.Check(x.Request())
		saysFrom := x.Request().Header.Get("Sec-Fetch-Site") != "" || x.Request().Header.Get(echo.HeaderOrigin) != ""
		if err != nil || !saysFrom && v.hasCookie() {
			return v.fail(echo.NewHTTPError(http.StatusForbidden, v.t("error.cross")))
		}
	}
	if err := handle(v); err != nil {
		return v.fail(err)
	}
	return nil
}

// loopback says whether a host is this machine, which browsers trust also without TLS.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// pageHeaders keep everything out of a page that is not the relay's own, and the page out of others.
var pageHeaders = map[string]string{
	"Content-Security-Policy": strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
		"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
		"require-trusted-types-for 'script'", "trusted-types kuairelay",
	}, "; "),
	"X-Frame-Options":              "DENY",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "same-origin", // with no-referrer browsers send "Origin: null" with our own forms
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "clipboard-write=(self)",
	"Cache-Control":                "no-store",
	"X-Robots-Tag":                 "noindex",
	"Vary":                         "Cookie, Accept-Language",
}

// known has a page ask for a login first.
func known(show func(*visit) error) func(*visit) error {
	return func(v *visit) error {
		if !v.enter() {
			if v.part() { // app.js goes there
				return echo.NewHTTPError(http.StatusUnauthorized, v.t("error.login"))
			}
			return v.toLogin()
		}
		leave, wait := v.rates.enter(v.Request().Context(), v.token, v.settings.Load().Rate)
		if leave == nil {
			v.retryAfter(wait)
			return echo.NewHTTPError(http.StatusTooManyRequests, v.t("error.often"))
		}
		defer leave()
		return show(v)
	}
}

// fail shows an error as a page.
func (v *visit) fail(err error) error {
	status, text := http.StatusInternalServerError, ""
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		status = he.Code
		text, _ = he.Message.(string)
		if text == http.StatusText(status) {
			text = "" // the title says it
		}
	} else {
		v.o.Logger.Error("a page failed", zap.String("path", v.Path()), zap.Error(err))
	}
	why := v.say(text)
	if v.part() { // a dialog shows it
		return v.String(status, cmp.Or(why.String(), v.statusTitle(status)))
	}
	return v.render(status, "error", errorView{
		Status: status, Title: v.statusTitle(status), Text: why,
		RetryAfter: v.Response().Header().Get(echo.HeaderRetryAfter),
	})
}

type errorView struct {
	Status     int
	Title      string
	Text       said
	RetryAfter string // seconds
}

// statusTitle says in words what a status means.
func (v *visit) statusTitle(status int) string {
	switch status {
	case http.StatusNotFound:
		return v.t("error.404")
	case http.StatusForbidden:
		return v.t("error.403")
	case http.StatusTooManyRequests:
		return v.t("error.429")
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return v.t("error.503")
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		return v.t("error.400")
	}
	return v.t("error.500")
}
