package subscribe

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
)

const notConfigured = "this relay has no kuaidihelp account (kuaidihelp.api_key of its config): " +
	"nothing can be subscribed"

// Route is a path of the API with its documentation.
type Route struct {
	Method  string
	Path    string // with parameters in braces
	Summary string
	// Body and Answer are zero values of the types that are read and answered. Tags named doc describe their fields.
	Body, Answer any
	// Params are the parameters of the query, and what each means.
	Params map[string]string
	// Problems are further answers, by status, besides 400, 401, 404 and 503.
	Problems map[int]string
}

// Create describes POST /v1/subscriptions.
func Create() Route {
	return Route{
		Method:  http.MethodPost,
		Path:    createPath,
		Summary: "Subscribe waybills, at most 1000",
		Body:    subscribeRequest{},
		Answer:  waybillResults{},
		Problems: map[int]string{
			http.StatusRequestEntityTooLarge: "The body is larger than 256 KiB",
			http.StatusTooManyRequests: "Too many requests a second, or more waybills than are left of the day's; " +
				"Retry-After says when to try again",
			http.StatusBadGateway:     "kuaidihelp refuses the relay's own account",
			http.StatusGatewayTimeout: "kuaidihelp does not answer, or not with its envelope",
		},
	}
}

const createPath = "/v1/subscriptions"

// waybillResults is the answer to a request to subscribe.
type waybillResults struct {
	Results []WaybillResult `json:"results" doc:"one for each waybill, in their order"`
}

// create answers POST /v1/subscriptions: one result per waybill, in the order of the request.
func (p *Proxy) create(c echo.Context, t *Tenant) error {
	began := time.Now()
	brand, codes, err := p.readRequest(c)
	if err != nil {
		return p.turnedAway(t, "invalid", err)
	}
	results, err := p.subscribeAllowed(c, t, brand, codes, began)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, waybillResults{results})
}

// readRequest reads and checks the body of a request that names waybills: their canonical brand, and each code once.
// The error is the answer to one that is wrong.
func (p *Proxy) readRequest(c echo.Context) (brand string, codes []string, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, c.Request().Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return "", nil, echo.NewHTTPError(http.StatusRequestEntityTooLarge, "the body is larger than 256 KiB")
	}
	if err != nil {
		return "", nil, echo.NewHTTPError(http.StatusBadRequest, "the body broke off")
	}

	end := p.o.Store.Aside(c.Request().Context())
	defer end()
	brand, codes, err = readSubscribeRequest(body, true)
	if err != nil {
		return "", nil, echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	return brand, codes, nil
}

// Subscribe subscribes waybills of one brand for a tenant, as POST /v1/subscriptions does. The error is the answer to a
// request that is refused as a whole.
func (p *Proxy) Subscribe(c echo.Context, tenant, brand string, waybills []string) ([]WaybillResult, error) {
	began := time.Now()
	t := p.current.Load().tenant(tenant)
	brand, waybills, err := checkSubscribeRequest(subscribeRequest{CPCode: brand, WaybillCodes: waybills})
	if err != nil {
		return nil, p.turnedAway(t, "invalid", echo.NewHTTPError(http.StatusBadRequest, err.Error()))
	}
	return p.subscribeAllowed(c, t, brand, waybills, began)
}

// subscribeAllowed subscribes the waybills of a request that is right, if its tenant may.
func (p *Proxy) subscribeAllowed(c echo.Context, t *Tenant, brand string, codes []string, began time.Time) (
	[]WaybillResult, error,
) {
	if p.current.Load().Upstream == nil {
		return nil, p.turnedAway(t, "error", echo.NewHTTPError(http.StatusServiceUnavailable, notConfigured))
	}
	if err := p.admit(c, t, len(codes)); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(c.Request().Context(), p.o.Budget)
	defer cancel()
	results, err := p.subscribe(ctx, t, brand, codes)
	if err != nil {
		return nil, p.unavailable(c, t, err)
	}
	p.report(t, brand, results, began)

	// A failure that is about the relay itself, and so about every waybill, is the answer to the request.
	if code := common(results); code == codeCredentials || code == codeNoAnswer {
		return nil, echo.NewHTTPError(code, results[0].Msg)
	}
	return results, nil
}

// common returns the code that every result failed with; 0: there is no such code.
func common(results []WaybillResult) int {
	for _, r := range results {
		if r.Result != Failed || r.Code != results[0].Code {
			return 0
		}
	}
	return results[0].Code
}

// Admit counts a request about subscriptions, which another part answers, against its tenant's rate. The error is the
// answer to a request above it.
func (p *Proxy) Admit(c echo.Context, tenant string) error {
	return p.admit(c, p.current.Load().tenant(tenant), 0)
}

// admit counts a request against its tenant's limits. The error is the answer to a request above them.
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

// turnedAway counts a tenant's request that is answered with an error.
func (p *Proxy) turnedAway(t *Tenant, result string, err error) error {
	p.metrics.requests.WithLabelValues(t.Name, result).Inc()
	return err
}

// errGone is the answer to a client that has gone away. Nobody reads it; it says that the ledger did not fail.
var errGone = echo.NewHTTPError(http.StatusServiceUnavailable, "the client has gone away")

// unavailable answers that the ledger cannot be reached.
func (p *Proxy) unavailable(c echo.Context, t *Tenant, err error) error {
	if c.Request().Context().Err() != nil {
		return errGone
	}
	c.Response().Header().Set(echo.HeaderRetryAfter, "1")
	if errors.Is(err, event.ErrTooMany) {
		busy := echo.NewHTTPError(http.StatusTooManyRequests, "too many requests of this tenant are being written down")
		return p.turnedAway(t, "limited", busy)
	}
	p.o.Logger.Error("subscribe", zap.String("tenant", t.Name), zap.Error(err))
	return p.turnedAway(t, "error", errDown)
}

var errDown = echo.NewHTTPError(http.StatusServiceUnavailable, "the ledger cannot be reached; try again")

// report writes one line about a request, and counts its results.
func (p *Proxy) report(t *Tenant, brand string, results []WaybillResult, began time.Time) {
	count := map[Result]int{}
	for _, r := range results {
		count[r.Result]++
	}
	for result, n := range count {
		p.metrics.requests.WithLabelValues(t.Name, string(result)).Add(float64(n))
	}
	p.o.Logger.Info("subscribe",
		zap.String("tenant", t.Name),
		zap.String("cp_code", brand),
		zap.Int("waybills", len(results)),
		zap.Int("subscribed", count[Subscribed]),
		zap.Int("already", count[Already]),
		zap.Int("pending", count[Pending]),
		zap.Int("failed", count[Failed]),
		zap.Duration("took", time.Since(began)))
}
