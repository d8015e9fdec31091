package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
)

// Question is a request to a route from within the process.
type Question struct {
	Tenant string // who asks; empty: the operator
	Key    string // name of the tenant's key, for the audit; empty: it has none, or is not known
	Route  string // method and path as they stand in the route table: "GET /events/{id}"
	// Path are the values of the braces, in their order. An endpoint is tenant/name, for a tenant too.
	Path  []string
	Query url.Values
	Body  any // is sent as JSON; nil: nothing
}

// Ask answers a question as the API answers a request over HTTP, with the same rights and the same bounds. page is the
// request that asks: its address is the caller's, its context ends the work, and its answer gets the headers, such as
// Retry-After. The answer is what the route's handler gives; an error is what it refuses.
func (c *API) Ask(page echo.Context, q Question) (any, error) {
	r, ok := tableOfRoutes()[routeOf{operator: q.Tenant == "", name: q.Route}]
	if !ok {
		return nil, fmt.Errorf("%q has no route %q", q.Tenant, q.Route)
	}

	// The handler gets a request that names the route as a client would.
	var body bytes.Buffer
	if q.Body != nil {
		if err := json.NewEncoder(&body).Encode(q.Body); err != nil {
			return nil, err
		}
	}
	from := page.Request()
	req, err := http.NewRequestWithContext(from.Context(), r.method, "/?"+q.Query.Encode(), &body)
	if err != nil {
		return nil, err
	}
	req.RemoteAddr = from.RemoteAddr
	req.Header[echo.HeaderXForwardedFor] = from.Header[echo.HeaderXForwardedFor]
	req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	e := page.Echo().NewContext(req, page.Response())
	e.SetPath(r.tenantPath())
	if q.Tenant == "" {
		e.SetPath(r.operatorPath())
	}
	setParams(e, q)

	leave, err := c.o.Enter(e, q.Tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	return r.answer(&call{Context: e, API: c, settings: c.current.Load(), tenant: q.Tenant, key: q.Key})
}

// setParams sets the parameters of a path.
func setParams(e echo.Context, q Question) {
	var names, values []string
	for i, name := range bracesOf(q.Route) {
		value := ""
		if i < len(q.Path) {
			value = q.Path[i]
		}
		if tenant, endpoint, both := strings.Cut(value, "/"); name == "endpoint" && both && q.Tenant == "" {
			names = append(names, "tenant")
			values = append(values, tenant)
			value = endpoint
		}
		names = append(names, name)
		values = append(values, value)
	}
	e.SetParamNames(names...)
	e.SetParamValues(values...)
}

// bracesOf lists the names of the parameters in a path.
func bracesOf(path string) (names []string) {
	for {
		_, rest, found := strings.Cut(path, "{")
		if !found {
			return names
		}
		name, after, _ := strings.Cut(rest, "}")
		names = append(names, name)
		path = after
	}
}
