package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// subscribeRequest says which waybills are to be subscribed.
type subscribeRequest struct {
	Tenant       string   `json:"tenant,omitempty" doc:"for this tenant, within its limits"`
	CPCode       string   `json:"cp_code" doc:"brand, by any of its names"`
	WaybillCodes []string `json:"waybill_codes" doc:"each of 1 to 64 printable ASCII characters"`
}

// SubscribeResults say what became of a request to subscribe.
type SubscribeResults struct {
	Results []SubscribeResult `json:"results" doc:"one for each waybill, in their order"`
}

// SubscribeResult says what became of one waybill of it.
type SubscribeResult struct {
	CPCode      string `json:"cp_code" doc:"brand, by its canonical name"`
	WaybillCode string `json:"waybill_code" doc:"waybill, as it was asked for"`
	Result      string `json:"result" doc:"subscribed, already, pending, or failed"`
	Code        int    `json:"code,omitempty" doc:"of a failure: kuaidihelp's; 429 where the tenant has as many subscriptions as it may; 502 or 504 where kuaidihelp refuses the account or gives no answer. With pending: kuaidihelp's, as a rule 201101, no record yet"`
	Msg         string `json:"msg,omitempty" doc:"of a failure, or why kuaidihelp is asked again later"`
	UID         string `json:"uid,omitempty" doc:"names the call at kuaidihelp"`
	// RetryAt is zero unless the result is pending because the provider has no record of the waybill yet.
	RetryAt time.Time `json:"retry_at,omitzero" doc:"with pending: when kuaidihelp is asked again, because it has no record of the waybill yet"`
	Warning string    `json:"warning,omitempty" doc:"of a brand that kuaidihelp's page does not list, and of small letters in the code"`
}

// SubscribeFailed is the result of a waybill that is not subscribed.
const SubscribeFailed = "failed"

// subscribe subscribes waybills for a tenant, as POST /v1/subscriptions does. One that failed is asked for again.
func subscribe(c *call) (SubscribeResults, error) {
	var request subscribeRequest
	if err := c.body(&request); err != nil {
		return SubscribeResults{}, err
	}
	tenant, err := c.tenantNamed(request.Tenant)
	if err != nil {
		return SubscribeResults{}, err
	}

	results, err := c.o.Subscribe(c.Context, tenant, request.CPCode, request.WaybillCodes)
	if err != nil {
		return SubscribeResults{}, err
	}
	subject, done := "", 0
	for _, r := range results {
		if r.Result != SubscribeFailed {
			done++
		}
		subject = r.CPCode + " " + r.WaybillCode
	}
	if len(results) > 1 {
		subject = ""
	}
	c.did(tenant, subject, done)
	return SubscribeResults{Results: results}, nil
}

// tenantNamed is the tenant that a request is for: the caller, or the one that the operator names.
func (c *call) tenantNamed(name string) (string, error) {
	switch {
	case c.tenant != "" && name != "" && name != c.tenant:
		return "", badf("tenant: a tenant subscribes for itself")
	case c.tenant != "":
		return c.tenant, nil
	case name == "":
		return "", badf("tenant: it must say for which tenant")
	case c.settings.tenants[name] == nil:
		return "", echo.NewHTTPError(http.StatusNotFound, "there is no such tenant")
	}
	return name, nil
}
