package console

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

// Logins are limited: so many wrong ones at once from an address, and one more each loginEvery; from all addresses
// together so many a minute. An answer to a wrong key takes loginPause.
const (
	loginsAtOnce  = 5
	loginEvery    = 10 * time.Second
	loginsOfAll   = 50
	loginsOfAllIn = time.Minute
	loginPause    = time.Second
	// maxGuessers is how many addresses are remembered.
	maxGuessers = 4096
	maxKey      = 1024 // bytes
)

type loginView struct {
	Next  string
	Ended string // why somebody who was in has to log in again; empty: nobody was
	Wrong string // why the login was refused; empty: it is the first
	// Nobody says that no key would do, because the config has none.
	Nobody bool
}

func (v *visit) loginView() loginView {
	return loginView{Next: v.next(), Nobody: v.side.operator && v.settings.Load().NoOperator}
}

// showLogin shows the form for a key.
func (v *visit) showLogin() error {
	if v.enter() {
		return v.Redirect(http.StatusSeeOther, v.next())
	}
	view := v.loginView()
	switch {
	case v.QueryParam("undone") != "":
		view.Ended = v.t("login.undone")
	case v.hasCookie():
		view.Ended = v.t("error.login")
	}
	return v.render(http.StatusOK, "login", view)
}

// login begins the session of whoever has sent a key.
func (v *visit) login() error {
	began := time.Now()
	address := v.RealIP()
	wait := v.limiter.ask(address)
	if wait > 0 {
		v.logins.WithLabelValues(v.who(), "limited").Inc()
		seconds := v.retryAfter(wait)
		view := v.loginView()
		view.Wrong = v.t("login.wait", seconds)
		return v.render(http.StatusTooManyRequests, "login", view)
	}

	key := v.Request().PostFormValue("key") // not of the query, which stands in logs
	var who Person
	token, ok := "", false
	if len(key) <= maxKey {
		who, token, ok = v.o.Login(strings.TrimSpace(key), v.side.operator)
	}
	if !ok {
		v.logins.WithLabelValues(v.who(), "wrong").Inc()
		v.o.Logger.Warn("a login to the pages with a wrong key", zap.String("who", v.who()), zap.String("address", address))
		select {
		case <-time.After(loginPause - time.Since(began)):
		case <-v.Request().Context().Done():
		}
		wrong := "login.wrong.tenant"
		if v.side.operator {
			wrong = "login.wrong.operator"
		}
		view := v.loginView()
		view.Wrong = v.t(wrong)
		return v.render(http.StatusForbidden, "login", view)
	}

	v.limiter.forgive(address)
	v.logins.WithLabelValues(v.who(), "ok").Inc()
	by := event.Actor{Name: cmp.Or(who.Tenant, event.Operator), Key: who.Key, From: address}
	v.o.API.Note(v.Request().Context(), event.Act{
		By: by, What: api.ActLogin, Tenant: who.Tenant, Count: 1, Result: "done",
	})
	v.setSession(token)
	return v.Redirect(http.StatusSeeOther, v.next())
}

// retryAfter says when to come again, in whole seconds.
func (v *visit) retryAfter(wait time.Duration) (seconds string) {
	seconds = strconv.Itoa(int((wait + time.Second - 1) / time.Second))
	v.Response().Header().Set(echo.HeaderRetryAfter, seconds)
	return seconds
}

// logout ends the session in this browser.
func (v *visit) logout() error {
	v.setSession("")
	return v.Redirect(http.StatusSeeOther, v.side.base+"/login")
}

// toLogin asks for a key, and comes back afterwards: after a form to the page that it was on. What the form asks for is
// not done. Of a stranger's form no more is read than of a login.
func (v *visit) toLogin() error {
	q := url.Values{"next": {v.Request().URL.RequestURI()}}
	if r := v.Request(); r.Method != http.MethodGet {
		r.Body = http.MaxBytesReader(v.Response(), r.Body, maxForm)
		q.Set("next", v.own(v.FormValue("back")))
		q.Set("undone", "1")
	}
	return v.Redirect(http.StatusSeeOther, v.path("/login", q))
}

// who names the side for logs and metrics.
func (v *visit) who() string {
	if v.side.operator {
		return "operator"
	}
	return "tenant"
}

// next is where a login leads to: a path of this console, whatever was asked for.
func (v *visit) next() string { return v.own(v.FormValue("next")) }

// own is a path of this console with its query, or that of its first page if it is not one. Browsers take a backslash
// for a slash, and two slashes for another host.
func (v *visit) own(path string) string {
	first := v.side.base + "/"
	u, err := url.Parse(path)
	switch {
	case err != nil, u.Scheme != "", u.Host != "", u.Opaque != "", u.User != nil:
		return first
	case !strings.HasPrefix(path, first), strings.HasPrefix(path, "//"), strings.ContainsAny(path, "\\\r\n\t"):
		return first
	case strings.HasPrefix(u.Path, first+"login"):
		return first
	}
	return path
}

// A cookie of a name that begins so is only taken over TLS, from this host alone.
const hostCookie = "__Host-"

// cookieName is that of the session. It differs between the listeners, because cookies do not know ports.
func (v *visit) cookieName() string {
	if v.secure() {
		return hostCookie + v.side.cookie
	}
	return v.side.cookie
}

// secure says whether the browser came over TLS. A client that lies about it harms its own cookie alone.
func (v *visit) secure() bool {
	return v.IsTLS() || strings.EqualFold(v.Request().Header.Get(echo.HeaderXForwardedProto), "https")
}

// setSession gives the browser a token; an empty one takes it away.
func (v *visit) setSession(token string) {
	c := &http.Cookie{
		Name: v.cookieName(), Value: token, Path: v.side.base + "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: v.secure(),
	}
	if c.Secure {
		c.Path = "/" // as the name demands
	}
	if token == "" {
		c.MaxAge = -1
	}
	v.SetCookie(c)
}

func (v *visit) hasCookie() bool {
	_, err := v.Cookie(v.cookieName())
	return err == nil
}

// enter finds out who asks, by the session; false: nobody who is known.
func (v *visit) enter() bool {
	c, err := v.Cookie(v.cookieName())
	if err != nil {
		return false
	}
	who, renewed, ok := v.o.Session(c.Value, v.side.operator)
	if !ok {
		return false
	}
	if renewed != "" && !v.part() { // an open page that asks by itself keeps no session alive
		v.setSession(renewed)
	}
	v.tenant = who.Tenant
	v.keyName = who.Key
	v.token = c.Value
	v.in = true
	return true
}

// limiter counts logins by address. Wrong ones and right ones count alike, until a right one is forgiven.
type limiter struct {
	now func() time.Time

	mu    sync.Mutex
	until map[netip.Prefix]time.Time // when an address has used up nothing any more
	all   time.Time                  // the same of all together
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, until: make(map[netip.Prefix]time.Time)}
}

// ask counts a login, or says how long it has to wait.
func (l *limiter) ask(address string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	at := network(address)
	if _, known := l.until[at]; !known && len(l.until) >= maxGuessers {
		l.forget(now)
		if len(l.until) >= maxGuessers {
			at = netip.Prefix{} // all others together
		}
	}

	own, wait := spend(l.until[at], now, loginEvery, loginsAtOnce)
	all, waitAll := spend(l.all, now, loginsOfAllIn/loginsOfAll, loginsOfAll)
	wait = max(wait, waitAll)
	if wait > 0 {
		return wait
	}
	l.until[at] = own
	l.all = all
	return 0
}

// spend takes one of so many that may come at once; one more may come each interval. until is when all may come again.
func spend(until, now time.Time, interval time.Duration, atOnce int) (then time.Time, wait time.Duration) {
	if until.Before(now) {
		until = now
	}
	then = until.Add(interval)
	return then, max(then.Sub(now)-time.Duration(atOnce)*interval, 0)
}

// forgive forgets the logins of an address, because it has a key.
func (l *limiter) forgive(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, network(address))
}

// forget forgets addresses that may do everything again.
func (l *limiter) forget(now time.Time) {
	for at, until := range l.until {
		if !until.After(now) {
			delete(l.until, at)
		}
	}
}

// network is an IPv4 address, or the /64 of an IPv6 one, which is one customer's.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // never fails: the bits are in range
	return p
}
