package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// What a person has sent again, or sooner than it is due.

// resendRequest says where an event is sent again.
type resendRequest struct {
	Endpoint string `json:"endpoint" doc:"tenant/endpoint, or for a tenant its name alone"`
}

// resendEvent sends one event again to one endpoint that it was owed to, and gives the delivery as it is then.
func resendEvent(c *call) (Delivery, error) {
	var request resendRequest
	if err := c.body(&request); err != nil {
		return Delivery{}, err
	}
	id := c.Param("id")
	e, err := c.event(id, c.events.EventWithoutData)
	if err != nil {
		return Delivery{}, err
	}
	endpoint, err := c.fullName(request.Endpoint, c.tenant)
	if err != nil {
		return Delivery{}, badf("endpoint: %v", err)
	}

	was, err := deliveryTo(e, endpoint)
	if err != nil {
		return Delivery{}, err
	}
	if was.State.Open() {
		return Delivery{}, conflictf("it is still to be delivered to %s: %s", endpoint, describeOpen(was))
	}
	queued, err := c.events.Resend(c.ctx(), endpoint, id)
	if err != nil {
		return Delivery{}, c.failed("send an event again", err)
	}
	if !queued {
		return Delivery{}, conflictf("it is still to be delivered to %s: someone else has sent it again just now", endpoint)
	}
	c.o.OnDue(endpoint)
	tenant, _, _ := strings.Cut(endpoint, "/")
	c.did(tenant, endpoint+" "+id, 1)
	c.tell(endpoint, event.LogEntry{What: event.LogResent, N: 1})

	// It may have been delivered again by now, or be under way.
	if e, err = c.event(id, c.events.EventWithoutData); err != nil {
		return Delivery{}, err
	}
	now, err := deliveryTo(e, endpoint)
	return c.showDelivery(now), err
}

// event reads an event that the caller may see, with read: Event or EventWithoutData of the store.
func (c *call) event(
	id string, read func(ctx context.Context, id, tenant string) (*event.Record, bool, error),
) (*event.Record, error) {
	e, ok, err := read(c.ctx(), id, c.tenant)
	if err != nil {
		return nil, c.failed("look at an event", err)
	}
	seen := func(o event.DeliveryRecord) bool { return c.sees(o.Endpoint) }
	if !ok || (c.tenant != "" && !slices.ContainsFunc(e.Deliveries, seen)) {
		return nil, errNoEvent
	}
	return e, nil
}

// deliveryTo gives the delivery of an event to an endpoint.
func deliveryTo(e *event.Record, endpoint string) (event.DeliveryRecord, error) {
	for _, o := range e.Deliveries {
		if o.Endpoint == endpoint {
			return o, nil
		}
	}
	return event.DeliveryRecord{}, conflictf("it was never routed to %s: what no route matched, a replay with reroute "+
		"sends by today's routes", endpoint)
}

// describeOpen says what an open delivery waits for.
func describeOpen(o event.DeliveryRecord) string {
	switch {
	case o.State == event.StateWaiting && o.Behind != "":
		return "it waits behind " + o.Behind + " of the same waybill"
	case o.State == event.StateSending || o.Due.IsZero():
		return "it is " + string(o.State)
	}
	return fmt.Sprintf("it is %s, and tried at %s", o.State, o.Due.UTC().Format(time.RFC3339))
}

// conflictf is the answer to a request that what it is about is not in the state for.
func conflictf(format string, args ...any) error {
	return echo.NewHTTPError(http.StatusConflict, fmt.Sprintf(format, args...))
}

// retryRequest says which deliveries of an endpoint are tried at once: one of the three must be given.
type retryRequest struct {
	EventID     string `json:"event_id,omitempty" doc:"that of this event"`
	WaybillCode string `json:"waybill_code,omitempty" doc:"those of the latest 200 events of this waybill"`
	All         bool   `json:"all,omitempty" doc:"all of the endpoint, 100 in a request"`
	Cursor      string `json:"cursor,omitempty" doc:"the next of an earlier answer, with all"`
}

// RetryResult is what came of an order to try deliveries at once.
type RetryResult struct {
	Done   int     `json:"done" doc:"how many are due at once now"`
	Next   string  `json:"next,omitempty" doc:"there may be more that wait: ask again with this cursor"`
	Parked *Parked `json:"parked,omitempty" doc:"the endpoint's breaker is open: nothing is sent until then, and then one delivery as a probe. At most that one is due now"`
}

// retryDeliveries has deliveries of an endpoint that wait for their next attempt due at once.
func retryDeliveries(c *call) (RetryResult, error) {
	e, err := c.endpoint()
	if err != nil {
		return RetryResult{}, err
	}
	var request retryRequest
	if err := c.body(&request); err != nil {
		return RetryResult{}, err
	}
	if err := request.check(); err != nil {
		return RetryResult{}, err
	}
	parked, err := c.parked(e.ID)
	if err != nil {
		return RetryResult{}, err
	}

	retried, next, err := c.retry(e.ID, request)
	if err != nil {
		return RetryResult{}, err
	}
	if retried.Parked == queue.ParkedPaused || retried.Parked == queue.ParkedGone { // just now
		return RetryResult{}, parkedError(e.ID, retried.Parked)
	}
	if retried.Due > 0 {
		c.o.OnDue(e.ID)
	}
	c.didTo(e.ID, retried.Due)
	if retried.Due == 0 {
		c.didNothing()
	} else {
		c.tell(e.ID, event.LogEntry{What: event.LogRetried, N: retried.Due})
	}
	return RetryResult{Done: retried.Due, Next: next, Parked: parked}, nil
}

// check finds what is wrong with a request.
func (r *retryRequest) check() error {
	given := 0
	for _, is := range []bool{r.EventID != "", r.WaybillCode != "", r.All} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return badf("the body: one of event_id, waybill_code and all must say which")
	case r.Cursor != "" && !r.All:
		return badf("cursor: goes with all")
	}
	return nil
}

// parked gives why the breaker holds an endpoint back, nil if it does not. It is an error if a person has to resume the
// endpoint.
func (c *call) parked(endpoint string) (*Parked, error) {
	health, err := c.endpoints.Health(c.ctx(), []string{endpoint}, 0)
	if err != nil {
		return nil, c.failed("look at an endpoint", err)
	}
	switch h := health[0]; h.Parked {
	case "":
		return nil, nil
	case queue.ParkedOpen:
		return &Parked{State: h.Parked, Since: utc(h.ParkedSince), Until: utc(h.ParkedUntil)}, nil
	default:
		return nil, parkedError(endpoint, h.Parked)
	}
}

// parkedError is the answer where a person has to resume an endpoint first.
func parkedError(endpoint string, parked queue.Parked) error {
	return conflictf("%s is %s: nothing is sent before it is resumed, and then all of it", endpoint, parked)
}

// retry tries what a request is about.
func (c *call) retry(endpoint string, request retryRequest) (out queue.Retried, next string, err error) {
	var ids []string
	switch {
	case request.All:
		out, next, err = c.endpoints.RetryAll(c.ctx(), endpoint, request.Cursor, lettersAtOnce)
		if err != nil {
			return out, "", c.failed("retry deliveries", err)
		}
		return out, next, nil
	case request.WaybillCode != "":
		ids, err = c.waitingOf(request.WaybillCode, endpoint)
	default:
		ids, err = c.waitingEvent(request.EventID, endpoint)
	}
	if err != nil {
		return out, "", err
	}

	out, err = c.endpoints.Retry(c.ctx(), endpoint, ids...)
	if err != nil {
		return out, "", c.failed("retry deliveries", err)
	}
	return out, "", nil
}

// waits says whether a delivery waits for an attempt.
func waits(o event.DeliveryRecord) bool {
	return o.State == event.StateQueued || o.State == event.StateRetrying
}

// waitingEvent gives the id of an event whose delivery waits for an attempt. It is an error if it does not.
func (c *call) waitingEvent(id, endpoint string) ([]string, error) {
	e, err := c.event(id, c.events.EventWithoutData)
	if err != nil {
		return nil, err
	}
	o, err := deliveryTo(e, endpoint)
	switch {
	case err != nil:
		return nil, err
	case o.State.Open() && !waits(o):
		return nil, conflictf("it does not wait for an attempt: %s", describeOpen(o))
	case !waits(o):
		return nil, conflictf("it is %s: it can be sent again", o.State)
	}
	return []string{id}, nil
}

// waitingOf gives the ids of a waybill's events whose delivery to an endpoint waits for an attempt.
func (c *call) waitingOf(waybill, endpoint string) (ids []string, err error) {
	found, err := c.events.Waybill(c.ctx(), waybill, c.tenant)
	if err != nil {
		return nil, c.failed("look at a waybill", err)
	}
	owed := false
	for _, e := range found {
		for _, o := range e.Deliveries {
			if o.Endpoint != endpoint {
				continue
			}
			owed = true
			if waits(o) {
				ids = append(ids, e.ID)
			}
		}
	}
	if !owed {
		return nil, echo.NewHTTPError(http.StatusNotFound, fmt.Sprintf("no event of that waybill was routed to %s", endpoint))
	}
	return ids, nil
}
