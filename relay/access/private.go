package access

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// maxProfile is how long a profile may take, in seconds.
const maxProfile = 60

// Private guards the private listener against web pages. A page of any site can send requests there from a browser that
// reaches it, and with DNS rebinding it can read the answers.
type Private struct {
	hosts    map[string]bool // names in lower case, besides loopback and IP addresses
	cross    *http.CrossOriginProtection
	profiles chan struct{} // one at a time
}

// NewPrivate makes the guard of a listener at an address, which is also reached by the hosts given.
func NewPrivate(listen string, hosts []string) *Private {
	p := &Private{hosts: map[string]bool{}, cross: http.NewCrossOriginProtection(), profiles: make(chan struct{}, 1)}
	own, _, err := net.SplitHostPort(listen)
	if err == nil && own != "" {
		hosts = append([]string{own}, hosts...)
	}
	for _, h := range hosts {
		p.hosts[strings.ToLower(h)] = true
	}
	return p
}

// Guard lets a request through if it names a host of this listener, and if no other site has sent it.
func (p *Private) Guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		req := c.Request()
		if host := hostname(req.Host); !p.knows(host) {
			return echo.NewHTTPError(http.StatusMisdirectedRequest,
				"the host "+strconv.Quote(shortHost(host))+
					" is none of this listener's: if it is, add it to console.hosts in the config")
		}
		if err := p.cross.Check(req); err != nil {
			return echo.NewHTTPError(http.StatusForbidden, "a request from another site is not taken here")
		}
		return next(c)
	}
}

// knows says whether a host is this listener. Any IP address is accepted: DNS rebinding needs a name, and the browser
// sends that name.
func (p *Private) knows(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || p.hosts[host] {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// hostname is the host of a Host header in lower case, without port, brackets and the root's dot.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

func shortHost(host string) string { return host[:min(len(host), 100)] }

// Profile bounds the cost of profiles: one at a time, and none for longer than a minute.
func (p *Private) Profile(handle http.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s := c.QueryParam("seconds"); s != "" {
			if n, err := strconv.ParseFloat(s, 64); err != nil || n < 0 || n > maxProfile {
				return echo.NewHTTPError(http.StatusBadRequest, "seconds must be a number up to "+strconv.Itoa(maxProfile))
			}
		}
		select {
		case p.profiles <- struct{}{}:
			defer func() { <-p.profiles }()
		default:
			c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(maxProfile))
			return echo.NewHTTPError(http.StatusTooManyRequests, "one profile at a time")
		}
		handle(c.Response(), c.Request())
		return nil
	}
}
