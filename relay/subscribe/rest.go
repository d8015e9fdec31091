package subscribe

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

const notConfigured = "this relay has no kuaidihelp account (kuaidihelp.api_key of its config): nothing can be subscribed"

// Route is a path of the API for subscriptions, and what a document of it says.
type Route struct {
	Method  string
	Path    string // with parameters in braces
	Summary string
	// Query, Body and Answer are zero values of what is read and answered; nil: nothing. Tags named doc describe their fields.
	Query, Body, Answer any
	Status              int // of a good answer
	// Problems are other answers, with what they mean, beside 400, 401, 404 and 503.
	Problems map[int]string
}

type route struct {
	Route
	handle func(*Proxy, echo.Context, *Tenant) error
}

// braces turns {name} into echo's :name.
var braces = strings.NewReplacer("{", ":", "}", "")

func routes() []route {
	const all, one = "/v1/subscriptions", "/v1/subscriptions/{cp_code}/{waybill}"
	limited := map[int]string{http.StatusTooManyRequests: "Too many requests a second; Retry-After says when to come again"}
	return []route{
		{Route{http.MethodPost, all, "Subscribe waybills, at most 1000", nil, wish{}, waybillResults{}, http.StatusOK, map[int]string{
			http.StatusRequestEntityTooLarge: "The body is larger than 256 KiB",
			http.StatusTooManyRequests:       "Too many requests a second, or more waybills than are left of the day's; Retry-After says when to come again",
			http.StatusBadGateway:            "kuaidihelp refuses the relay's own account",
			http.StatusGatewayTimeout:        "kuaidihelp does not answer, or not with its envelope",
		}}, (*Proxy).create},
		{Route{http.MethodGet, all, "A page of the tenant's own subscriptions", listQuery{}, nil, ownSubscriptions{}, http.StatusOK, limited}, (*Proxy).list},
		{Route{http.MethodGet, one, "One subscription", nil, nil, ownSubscription{}, http.StatusOK, limited}, (*Proxy).read},
		{Route{http.MethodDelete, one, "End a subscription: kuaidihelp goes on pushing, and the tenant gets nothing of it any more",
			nil, nil, nil, http.StatusNoContent, limited}, (*Proxy).remove},
	}
}

// Routes are the paths of the API for subscriptions.
func Routes() (out []Route) {
	for _, r := range routes() {
		out = append(out, r.Route)
	}
	return out
}

// waybillResults is the answer to a request to subscribe.
type waybillResults struct {
	Results []WaybillResult `json:"results" doc:"one for each waybill, in their order"`
}

// create answers POST /v1/subscriptions: one result per waybill, in the order of the request.
func (p *Proxy) create(c echo.Context, t *Tenant) error {
	began := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(nil, c.Request().Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return p.turnedAway(t, "invalid", echo.NewHTTPError(http.StatusRequestEntityTooLarge, "the body is larger than 256 KiB"))
	}
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, "the body broke off")
	}
	brand, codes, err := readWish(body, true)
	if err != nil {
		return p.turnedAway(t, "invalid", echo.NewHTTPError(http.StatusBadRequest, err.Error()))
	}
	if p.current.Load().Upstream == nil {
		return p.turnedAway(t, "error", echo.NewHTTPError(http.StatusServiceUnavailable, notConfigured))
	}
	if err := p.admit(c, t, len(codes)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), p.o.Budget)
	defer cancel()
	results, err := p.subscribe(ctx, t.Name, brand, codes)
	if err != nil {
		return p.unavailable(c, t, err)
	}
	p.report(t, brand, results, began)
	if code := common(results); code == codeCredentials || code == codeNoAnswer {
		return echo.NewHTTPError(code, results[0].Msg)
	}
	return c.JSON(http.StatusOK, waybillResults{results})
}

// common is the code of all results, if every one of them failed with it, else 0.
func common(results []WaybillResult) int {
	for _, r := range results {
		if r.Result != Failed || r.Code != results[0].Code {
			return 0
		}
	}
	return results[0].Code
}

// admit turns a request away that is too much for its tenant.
func (p *Proxy) admit(c echo.Context, t *Tenant, waybills int) error {
	wait, quota, err := p.o.Store.Admit(c.Request().Context(), t.Name, t.Limits, waybills)
	if err != nil {
		return p.unavailable(c, t, err)
	}
	if wait == 0 {
		return nil
	}
	c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	detail := "too many requests a second (subscriptions.rate)"
	if quota {
		detail = "more waybills than are left of the day's (subscriptions.daily_quota)"
	}
	return p.turnedAway(t, "limited", echo.NewHTTPError(http.StatusTooManyRequests, detail))
}

func (p *Proxy) turnedAway(t *Tenant, result string, err error) error {
	p.metrics.requests.WithLabelValues(t.Name, result).Inc()
	return err
}

// errGone is for a client that has gone away, which is no fault of the ledger's. Nobody reads it.
var errGone = echo.NewHTTPError(http.StatusServiceUnavailable, "the client has gone away")

// unavailable answers that the ledger cannot be reached.
func (p *Proxy) unavailable(c echo.Context, t *Tenant, err error) error {
	if c.Request().Context().Err() != nil {
		return errGone
	}
	p.o.Logger.Error("subscribe", zap.String("tenant", t.Name), zap.Error(err))
	c.Response().Header().Set(echo.HeaderRetryAfter, "1")
	return p.turnedAway(t, "error", echo.NewHTTPError(http.StatusServiceUnavailable, "the ledger cannot be reached; try again"))
}

// report writes one line about a request, and counts its results.
func (p *Proxy) report(t *Tenant, brand string, results []WaybillResult, began time.Time) {
	count := map[string]int{}
	for _, r := range results {
		count[r.Result]++
	}
	for result, n := range count {
		p.metrics.requests.WithLabelValues(t.Name, result).Add(float64(n))
	}
	p.o.Logger.Info("subscribe", zap.String("tenant", t.Name), zap.String("cp_code", brand), zap.Int("waybills", len(results)),
		zap.Int("subscribed", count[Subscribed]), zap.Int("already", count[Already]), zap.Int("pending", count[Pending]),
		zap.Int("failed", count[Failed]), zap.Duration("took", time.Since(began)))
}

// ownSubscription is a subscription as its tenant sees it.
type ownSubscription struct {
	CPCode      string         `json:"cp_code"`
	WaybillCode string         `json:"waybill_code"`
	Since       time.Time      `json:"since"`
	Expires     time.Time      `json:"expires"`
	State       event.Upstream `json:"state" doc:"pending, live, or failed"`
	Code        int            `json:"code,omitempty" doc:"of kuaidihelp's answer, if it failed"`
	Msg         string         `json:"msg,omitempty" doc:"of kuaidihelp's answer, if it failed"`
	UID         string         `json:"uid,omitempty" doc:"names the call at kuaidihelp"`
}

type ownSubscriptions struct {
	Subscriptions []ownSubscription `json:"subscriptions"`
	Next          string            `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
}

type listQuery struct {
	Limit  int    `json:"limit" doc:"how many at most, 1 to 1000; default 100"`
	Cursor string `json:"cursor" doc:"the next of an earlier page"`
}

func show(s event.Subscription) ownSubscription {
	out := ownSubscription{CPCode: s.CPCode, WaybillCode: s.Code, Since: s.Since.UTC(), Expires: s.Expires.UTC().Truncate(time.Millisecond), State: s.State, UID: s.Answer.UID}
	if s.State == event.Failed {
		out.Code, out.Msg = s.Answer.Code, s.Answer.Msg
	}
	return out
}

// list answers GET /v1/subscriptions?limit=&cursor=: a page of the tenant's own.
func (p *Proxy) list(c echo.Context, t *Tenant) error {
	limit := 100
	if text := c.QueryParam("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return echo.NewHTTPError(http.StatusBadRequest, "limit must be a whole number from 1 to 1000")
		}
		limit = n
	}
	if err := p.admit(c, t, 0); err != nil {
		return err
	}
	found, next, err := p.o.Store.Subscriptions(c.Request().Context(), t.Name, c.QueryParam("cursor"), limit)
	if errors.Is(err, event.ErrCursor) {
		return echo.NewHTTPError(http.StatusBadRequest, "cursor must be the next of an earlier page")
	}
	if err != nil {
		return p.unavailable(c, t, err)
	}
	page := ownSubscriptions{Subscriptions: make([]ownSubscription, len(found)), Next: next}
	for i, s := range found {
		page.Subscriptions[i] = show(s)
	}
	return c.JSON(http.StatusOK, page)
}

// named is the waybill that a path names, under any alias of its brand.
func named(c echo.Context) event.Waybill {
	return event.Waybill{CPCode: kuaidihelp.Brand(c.Param("cp_code")), Code: c.Param("waybill")}
}

var errNoSubscription = echo.NewHTTPError(http.StatusNotFound, "this tenant has not subscribed such a waybill")

// read answers GET /v1/subscriptions/{cp_code}/{waybill}.
func (p *Proxy) read(c echo.Context, t *Tenant) error {
	if err := p.admit(c, t, 0); err != nil {
		return err
	}
	s, ok, err := p.o.Store.Subscription(c.Request().Context(), t.Name, named(c))
	if err != nil {
		return p.unavailable(c, t, err)
	}
	if !ok {
		return errNoSubscription
	}
	return c.JSON(http.StatusOK, show(s))
}

// remove answers DELETE /v1/subscriptions/{cp_code}/{waybill}. The provider knows no such call: it goes on pushing, and the tenant
// gets nothing of it any more.
func (p *Proxy) remove(c echo.Context, t *Tenant) error {
	if err := p.admit(c, t, 0); err != nil {
		return err
	}
	was, err := p.o.Store.Unwish(c.Request().Context(), t.Name, named(c))
	if err != nil {
		return p.unavailable(c, t, err)
	}
	if !was {
		return errNoSubscription
	}
	return c.NoContent(http.StatusNoContent)
}
