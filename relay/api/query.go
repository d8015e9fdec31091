package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

const (
	defaultLimit = 100
	maxLimit     = 500
)

// filter limits a list, a replay or a redrive. The zero filter takes everything.
type filter struct {
	Tenant      string    `json:"tenant,omitempty" doc:"endpoints of this tenant; for the operator only"`
	Endpoint    string    `json:"endpoint,omitempty" doc:"this endpoint: tenant/endpoint, or for a tenant its name alone"`
	Brand       string    `json:"brand,omitempty" doc:"cp_code of the brand, or an alias of it"`
	Status      string    `json:"status,omitempty" doc:"status of the update"`
	WaybillCode string    `json:"waybill_code,omitempty" doc:"this waybill"`
	State       string    `json:"state,omitempty" doc:"state of a delivery; or open (queued, sending, retrying or waiting), or unrouted (no route matched)"`
	Since       time.Time `json:"since,omitzero" doc:"accepted at this time or later"`
	Until       time.Time `json:"until,omitzero" doc:"accepted before this time"`
}

// A filter knows these states in addition to those of deliveries.
const (
	stateOpen = "open"
	// StateUnrouted is the state of an event that no route matched.
	StateUnrouted = "unrouted"
)

// states are all states that a filter takes.
func states() []string {
	out := []string{stateOpen, StateUnrouted}
	for _, s := range event.States() {
		out = append(out, string(s))
	}
	return out
}

// badf is the answer to a request that is wrong.
func badf(format string, args ...any) error {
	return echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

// check makes a filter canonical, and finds what is wrong with it.
func (f *filter) check(c *call) error {
	if c.tenant != "" {
		if f.Tenant != "" && f.Tenant != c.tenant {
			return badf("tenant: a tenant sees only its own data")
		}
		f.Tenant = c.tenant
	}

	if f.Tenant != "" && c.settings.tenants[f.Tenant] == nil {
		return badf("tenant: there is no tenant %q", f.Tenant)
	}
	if err := f.checkEndpoint(c); err != nil {
		return err
	}

	// Brands and statuses are compared by their canonical names.
	if f.Brand != "" {
		f.Brand = kuaidihelp.Brand(f.Brand)
	}
	f.Status = kuaidihelp.Status(f.Status)

	if f.State != "" && !slices.Contains(states(), f.State) {
		return badf("state: must be one of %s", strings.Join(states(), ", "))
	}
	if f.State == StateUnrouted && f.Tenant+f.Endpoint != "" {
		return badf("state: unrouted events belong to no tenant")
	}

	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return badf("since: must be before until")
	}
	return nil
}

// checkEndpoint gives an endpoint its full name.
func (f *filter) checkEndpoint(c *call) error {
	if f.Endpoint == "" {
		return nil
	}
	full, err := c.fullName(f.Endpoint, f.Tenant)
	if err != nil {
		return badf("endpoint: %v", err)
	}
	f.Endpoint = full
	return nil
}

// endpoints are those that the filter is limited to; nil: all.
func (f *filter) endpoints(c *call) []string {
	switch {
	case f.Endpoint != "":
		return []string{f.Endpoint}
	case f.Tenant != "":
		return c.settings.endpointsOf(f.Tenant)
	}
	return nil
}

// endpointsOf are those of a tenant, in the order of the config; none if there is no such tenant.
func (s *settings) endpointsOf(tenant string) []string {
	out := []string{}
	if t := s.tenants[tenant]; t != nil {
		for _, e := range t.Endpoints {
			out = append(out, e.ID)
		}
	}
	return out
}

// match gives a function that says whether an event passes the filter; nil: all events do. The function does not check
// times and endpoints: the store does.
func (f *filter) match() func(*event.Record) bool {
	if f.Brand+f.Status+f.WaybillCode+f.State == "" {
		return nil
	}
	return func(e *event.Record) bool {
		return (f.Brand == "" || e.CPCode == f.Brand) &&
			(f.Status == "" || e.Status == f.Status) &&
			(f.WaybillCode == "" || e.WaybillCode == f.WaybillCode) &&
			f.hasState(e)
	}
}

// hasState says whether an event has a delivery to one of the filter's endpoints that is in the filter's state.
func (f *filter) hasState(e *event.Record) bool {
	switch f.State {
	case "":
		return true
	case StateUnrouted:
		return len(e.Deliveries) == 0
	}
	return slices.ContainsFunc(e.Deliveries, func(o event.DeliveryRecord) bool {
		return f.matchesEndpoint(o.Endpoint) && (string(o.State) == f.State || f.State == stateOpen && o.State.Open())
	})
}

// matchesEndpoint says whether an endpoint passes the filter.
func (f *filter) matchesEndpoint(endpoint string) bool {
	return (f.Endpoint == "" || endpoint == f.Endpoint) &&
		(f.Tenant == "" || strings.HasPrefix(endpoint, f.Tenant+"/"))
}

// reader reads the query of a request, and remembers the first mistake in it.
type reader struct {
	c     *call
	given url.Values
	err   error
}

func (c *call) reader() *reader { return &reader{c: c, given: c.QueryParams()} }

// param reads a parameter, and removes it, so that end does not find it; empty: it is not given.
func (r *reader) param(name string) string {
	v := r.given.Get(name)
	r.given.Del(name)
	return strings.TrimSpace(v)
}

// one reads a parameter with parse. An error of parse is a mistake in the query.
func one[T any](r *reader, name string, byDefault T, parse func(string) (T, error)) T {
	text := r.param(name)
	if text == "" {
		return byDefault
	}
	v, err := parse(text)
	if err != nil && r.err == nil {
		r.err = badf("%s: %v", name, err)
	}
	return v
}

// limit reads the most entries that a page holds.
func (r *reader) limit() int {
	return one(r, "limit", defaultLimit, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			return 0, fmt.Errorf("must be a whole number from 1 to %d", maxLimit)
		}
		return n, nil
	})
}

// filter reads the parameters of a filter.
func (r *reader) filter() filter {
	f := filter{
		Tenant:      r.param("tenant"),
		Endpoint:    r.param("endpoint"),
		Brand:       r.param("brand"),
		Status:      r.param("status"),
		WaybillCode: r.param("waybill_code"),
		State:       r.param("state"),
	}
	if code := r.param("cp_code"); code != "" {
		f.Brand = code
	}
	f.Since = one(r, "since", time.Time{}, r.c.readTime)
	f.Until = one(r, "until", time.Time{}, r.c.readTime)
	if r.err == nil {
		r.err = f.check(r.c)
	}
	return f
}

// readTime reads a time (RFC 3339), or a span before now (90m, 2d).
func (c *call) readTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	days, isDays := strings.CutSuffix(s, "d")
	if n, err := strconv.Atoi(days); isDays && err == nil && n >= 0 {
		return c.now().Add(-time.Duration(n) * 24 * time.Hour), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return c.now().Add(-d), nil
	}
	return time.Time{}, errors.New("must be a time like 2026-11-24T08:00:00Z, or a span before now like 90m or 2d")
}

// flag reads a parameter that is true or false. Default: false.
func (r *reader) flag(name string) bool {
	return one(r, name, false, func(s string) (bool, error) {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return false, errors.New("must be true or false")
		}
		return v, nil
	})
}

// end gives the first mistake. An unknown parameter is a mistake: its sender would believe that it filters.
func (r *reader) end() error {
	if r.err != nil {
		return r.err
	}
	for name := range r.given {
		return badf("%s: there is no such parameter here", name)
	}
	return nil
}

// failed logs an error of the store, and gives the answer to it. Only the operator gets the text of the error. doing is
// what the call tried, like "list events".
func (c *call) failed(doing string, err error) error {
	if errors.Is(err, event.ErrCursor) {
		return badf("cursor: must be the next of an earlier page")
	}
	c.o.Logger.Error("the store failed", zap.String("doing", doing), zap.Error(err))
	return echo.NewHTTPError(http.StatusServiceUnavailable, "cannot "+doing+": "+c.cause(err))
}

// cause says what an error of the store means to the caller. A tenant does not get the address or the text of Redis.
func (c *call) cause(err error) string {
	var trouble interface {
		error
		Trouble() bool
	}
	known := errors.As(err, &trouble)
	switch {
	case known && c.tenant == "":
		return trouble.Error()
	case known, errors.Is(err, context.DeadlineExceeded):
		return "the relay's redis does not answer, or refuses the command; try again"
	case c.tenant == "":
		return err.Error()
	}
	return "the relay's redis refuses the command; the operator's log says why"
}

// body reads a request's JSON. An unknown key is an error.
func (c *call) body(into any) error {
	if c.Request().ContentLength == 0 {
		return nil
	}
	d := newDecoder(c.Request().Body)
	if err := d.Decode(into); err != nil {
		return badf("the body: %s", describe(err))
	}
	return nil
}
