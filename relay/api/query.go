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
	// maxValues is how many values one field of a filter names at most.
	maxValues = 50
)

// filter limits a list, a replay or a redrive. The zero filter takes everything. Endpoint, Brand, Status and State may
// each name several values, with commas between them.
type filter struct {
	Tenant      string    `json:"tenant,omitempty" doc:"endpoints of this tenant; for the operator only"`
	Endpoint    string    `json:"endpoint,omitempty" doc:"this endpoint, or one of several, with commas between them: tenant/endpoint, or for a tenant its name alone"`
	Brand       string    `json:"brand,omitempty" doc:"cp_code of the brand, or an alias of it; or several, with commas"`
	Status      string    `json:"status,omitempty" doc:"status of the update, or the type of an event of the relay itself (waybill.stalled); or several, with commas"`
	WaybillCode string    `json:"waybill_code,omitempty" doc:"this waybill"`
	State       string    `json:"state,omitempty" doc:"state of a delivery; or open (queued, sending, retrying or waiting), or unrouted (no route matched); or several, with commas"`
	Since       time.Time `json:"since,omitzero" doc:"accepted at this time or later"`
	Until       time.Time `json:"until,omitzero" doc:"accepted before this time"`

	// removedToo says that tenants and endpoints are taken that are in no config, and still hold something.
	removedToo bool
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

	if f.Tenant != "" {
		if err := c.checkTenant(f.Tenant, f.removedToo); err != nil {
			return err
		}
	}
	if err := f.checkValues(c); err != nil {
		return err
	}
	if f.Tenant+f.Endpoint != "" && f.State != "" && takes(f.State, StateUnrouted) {
		return badf("state: unrouted events belong to no tenant")
	}

	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return badf("since: must be before until")
	}
	return nil
}

// checkValues makes the values of each field canonical: endpoints get their full names, and brands and statuses are
// compared by their canonical ones.
func (f *filter) checkValues(c *call) error {
	for _, field := range []struct {
		name      string
		list      *string
		canonical func(string) (string, error)
	}{
		{"endpoint", &f.Endpoint, func(v string) (string, error) {
			if f.removedToo {
				return c.fullNameToRead(v, f.Tenant)
			}
			return c.fullName(v, f.Tenant)
		}},
		{"brand", &f.Brand, func(v string) (string, error) { return kuaidihelp.Brand(v), nil }},
		{"status", &f.Status, func(v string) (string, error) { return kuaidihelp.Status(v), nil }},
		{"state", &f.State, knownState},
	} {
		list, err := canonicalList(*field.list, field.canonical)
		if err != nil {
			return badf("%s: %v", field.name, err)
		}
		*field.list = list
	}
	return nil
}

// knownState refuses what is no state.
func knownState(v string) (string, error) {
	if !slices.Contains(states(), v) {
		return "", fmt.Errorf("must be one of %s", strings.Join(states(), ", "))
	}
	return v, nil
}

// values lists what a field of a filter names.
func values(list string) (all []string) {
	for v := range strings.SplitSeq(list, ",") {
		v = strings.TrimSpace(v)
		if v != "" {
			all = append(all, v)
		}
	}
	return all
}

// canonicalList makes each value of a list canonical, and leaves out those that come twice.
func canonicalList(list string, canonical func(string) (string, error)) (string, error) {
	given := values(list)
	switch {
	case list == "":
		return "", nil
	case len(given) == 0:
		return "", errors.New("names nothing") // and must not be taken for everything
	case len(given) > maxValues:
		return "", fmt.Errorf("names more than %d values", maxValues)
	}

	var all []string
	for _, v := range given {
		right, err := canonical(v)
		if err != nil {
			return "", err
		}
		if !slices.Contains(all, right) {
			all = append(all, right)
		}
	}
	return strings.Join(all, ","), nil
}

// takes says whether a canonical list names a value. An empty list takes any.
func takes(list, value string) bool {
	if list == "" {
		return true
	}
	for v := range strings.SplitSeq(list, ",") {
		if v == value {
			return true
		}
	}
	return false
}

// endpoints are those that the filter is limited to; nil: all.
func (f *filter) endpoints(c *call) []string {
	switch {
	case f.Endpoint != "":
		return values(f.Endpoint)
	case f.Tenant != "":
		endpoints := c.settings.endpointsOf(f.Tenant)
		if f.removedToo {
			endpoints = append(endpoints, c.removedOf(f.Tenant)...)
		}
		return endpoints
	}
	return nil
}

// owner is the tenant whose endpoints the filter is limited to; empty: they may be of several.
func (f *filter) owner(c *call) string {
	owner := f.Tenant
	for _, endpoint := range f.endpoints(c) {
		tenant, _, _ := strings.Cut(endpoint, "/")
		if owner != "" && owner != tenant {
			return ""
		}
		owner = tenant
	}
	return owner
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
		return takes(f.Brand, e.CPCode) && takes(f.Status, event.Word(e.Type, e.WaybillCode, e.Status)) &&
			(f.WaybillCode == "" || e.WaybillCode == f.WaybillCode) &&
			f.hasState(e)
	}
}

// hasState says whether an event has a delivery to one of the filter's endpoints that is in one of the filter's states.
func (f *filter) hasState(e *event.Record) bool {
	if f.State == "" || len(e.Deliveries) == 0 {
		return takes(f.State, StateUnrouted)
	}
	return slices.ContainsFunc(e.Deliveries, func(o event.DeliveryRecord) bool {
		return f.matchesEndpoint(o.Endpoint) &&
			(takes(f.State, string(o.State)) || o.State.Open() && takes(f.State, stateOpen))
	})
}

// matchesEndpoint says whether an endpoint passes the filter.
func (f *filter) matchesEndpoint(endpoint string) bool {
	return takes(f.Endpoint, endpoint) && (f.Tenant == "" || strings.HasPrefix(endpoint, f.Tenant+"/"))
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
		f.removedToo = true
		r.err = f.check(r.c)
	}
	return f
}

// readTime reads a time (RFC 3339), or a span before now (90m, 2d).
func (c *call) readTime(s string) (time.Time, error) {
	// The + of a zone that was not escaped arrives as a space.
	if t, err := time.Parse(time.RFC3339, strings.Replace(s, " ", "+", 1)); err == nil {
		return t.UTC(), nil
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

// ofCallback limits a list to the events that one callback brought.
type ofCallback struct {
	id string // empty: no limit
	at time.Time
}

// callback reads the id of a callback.
func (r *reader) callback() ofCallback {
	return one(r, "callback", ofCallback{}, func(id string) (ofCallback, error) {
		at, ok := event.CallbackTime(id)
		if !ok {
			return ofCallback{}, errors.New("must be the id of a callback, like cb_mir3k9x2a7q2f8")
		}
		return ofCallback{id: id, at: at}, nil
	})
}

// limit adds the limit to a query. No event was accepted before its callback came, so the search ends there. Clocks of
// replicas may differ a little.
func (o ofCallback) limit(q *event.Query) {
	if o.id == "" {
		return
	}
	if since := o.at.Add(-10 * time.Minute); since.After(q.Since) {
		q.Since = since
	}
	match := q.Match
	q.Match = func(e *event.Record) bool {
		return e.Origin != nil && e.Origin.ID == o.id && (match == nil || match(e))
	}
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

// failed logs an error of the store once for as long as it goes on, and gives the answer to it. Only the operator gets
// the text of the error. doing is what the call tried, like "list events".
func (c *call) failed(doing string, err error) error {
	if errors.Is(err, event.ErrCursor) {
		return badf("cursor: must be the next of an earlier page")
	}
	gone := c.Request().Context().Err() != nil // as browsers do: nothing failed
	if !gone && c.complaints.New(doing+": "+err.Error(), complaintFor) {
		c.o.Logger.Error("the store failed", zap.String("doing", doing), zap.Error(err))
	}
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
