package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
)

const (
	defaultRate = 100
	maxRate     = 10_000
)

// ReplayRequest says what is to be sent again. Open deliveries are not affected.
type ReplayRequest struct {
	filter
	// Reroute sends unrouted events to the endpoints of today's routes.
	Reroute bool `json:"reroute,omitempty" doc:"match unrouted events again, by today's routes, instead of sending again those that were delivered or given up"`
	DryRun  bool `json:"dry_run,omitempty" doc:"only count"`
	Rate    int  `json:"rate,omitempty" doc:"events a second at most; default 100"`
}

// Replay is a replay with how far it is.
type Replay struct {
	ID        string            `json:"id" doc:"rpl_ and letters and digits"`
	Tenant    string            `json:"tenant,omitempty" doc:"who asked for it; none: the operator"`
	Request   ReplayRequest     `json:"request" doc:"what is sent again"`
	State     event.ReplayState `json:"state" doc:"running, done, or cancelled"`
	CreatedAt time.Time         `json:"created_at" doc:"when it was asked for"`
	EndedAt   time.Time         `json:"ended_at,omitzero" doc:"when it was done or cancelled"`
	Looked    int64             `json:"looked" doc:"events that were looked at"`
	Matched   int64             `json:"matched" doc:"events that the request selects"`
	Queued    int64             `json:"queued" doc:"deliveries that were queued again; of a dry run, that would be"`
	Skipped   int64             `json:"skipped" doc:"deliveries that were open already, or are not there any more"`
}

// Replays is a list.
type Replays struct {
	Replays []Replay `json:"replays" doc:"of the last 30 days, the latest first; of each tenant, and of the operator, the latest 200"`
	Next    string   `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
}

var errNoReplay = echo.NewHTTPError(http.StatusNotFound, "there is no such replay")

func showReplay(r event.Replay) Replay {
	out := Replay{
		ID:        r.ID,
		Tenant:    r.Tenant,
		State:     r.State,
		CreatedAt: utc(r.Created),
		EndedAt:   utc(r.Ended),
		Looked:    r.Looked,
		Matched:   r.Matched,
		Queued:    r.Queued,
		Skipped:   r.Skipped,
	}
	_ = json.Unmarshal(r.Filter, &out.Request) // it was written here
	return out
}

// createReplay begins a replay. If until is left out, it is now: events that come later are not replayed.
func createReplay(c *call) (Replay, error) {
	var request ReplayRequest
	if err := c.body(&request); err != nil {
		return Replay{}, err
	}
	if err := request.check(c); err != nil {
		return Replay{}, err
	}
	if request.Rate == 0 {
		request.Rate = defaultRate
	}
	if err := request.checkReplay(c); err != nil {
		return Replay{}, err
	}

	// The request is stored with its end, in UTC: it means the same whenever it is worked off.
	if request.Until.IsZero() {
		request.Until = c.now()
	}
	request.Since = utc(request.Since)
	request.Until = utc(request.Until)
	text, err := json.Marshal(request)
	if err != nil {
		return Replay{}, err
	}

	r, err := c.replays.NewReplay(c.ctx(), event.Replay{Tenant: c.tenant, Filter: text})
	if errors.Is(err, event.ErrTooMany) {
		c.Response().Header().Set(echo.HeaderRetryAfter, "10")
		return Replay{}, echo.NewHTTPError(http.StatusTooManyRequests,
			"too many replays run and wait already (limits.replays run at one time)")
	}
	if err != nil {
		return Replay{}, c.failed("begin a replay", err)
	}
	c.note("began replay "+r.ID, request.Endpoint)
	return showReplay(r), nil
}

// checkReplay refuses a request that no replay can meet.
func (r *ReplayRequest) checkReplay(c *call) error {
	switch {
	case r.Rate < 1 || r.Rate > maxRate:
		return badf("rate: must be from 1 to %d", maxRate)
	case r.State == StateUnrouted && !r.Reroute:
		return badf("state: what is owed to nobody is sent with reroute")
	case r.State == stateOpen || event.State(r.State).Open():
		return badf("state: what is still to be delivered is not sent again")
	case r.Reroute && r.State != "" && r.State != StateUnrouted:
		return badf("state: reroute is about what is owed to nobody")
	case r.Reroute && c.tenant != "":
		return badf("reroute: an event that is owed to nobody belongs to no tenant; the operator can send it")
	}
	return nil
}

// listReplays gives a page of the caller's replays.
func listReplays(c *call) (Replays, error) {
	r := c.reader()
	cursor := r.param("cursor")
	if err := r.end(); err != nil {
		return Replays{}, err
	}
	page, next, err := c.replays.Replays(c.ctx(), c.tenant, cursor, maxLimit)
	if err != nil {
		return Replays{}, c.failed("list replays", err)
	}
	out := Replays{Replays: []Replay{}, Next: next}
	for _, r := range page {
		out.Replays = append(out.Replays, showReplay(r))
	}
	return out, nil
}

// replay reads the replay that a path names. One of another tenant is not there.
func (c *call) replay() (*event.Replay, error) {
	r, ok, err := c.replays.Replay(c.ctx(), c.Param("id"))
	if err != nil {
		return nil, c.failed("look at a replay", err)
	}
	if !ok || (c.tenant != "" && r.Tenant != c.tenant) {
		return nil, errNoReplay
	}
	return r, nil
}

// readReplay gives the replay that a path names.
func readReplay(c *call) (Replay, error) {
	r, err := c.replay()
	if err != nil {
		return Replay{}, err
	}
	return showReplay(*r), nil
}

// cancelReplay ends a replay. What it has queued is delivered.
func cancelReplay(c *call) (Replay, error) {
	r, err := c.replay()
	if err != nil {
		return Replay{}, err
	}
	if _, err := c.replays.CancelReplay(c.ctx(), r.ID); err != nil {
		return Replay{}, c.failed("cancel a replay", err)
	}
	return readReplay(c)
}

// Plan is a replay as it is worked off: which events it looks at, and what it does with each.
type Plan struct {
	Query   event.Query
	Rate    int
	DryRun  bool
	Reroute bool
	// Wants says whether a delivery of an event that the query takes is sent again.
	Wants func(event.DeliveryRecord) bool
}

// PlanOf reads the request of a replay into a plan to work it off. endpoints lists those of a tenant.
func PlanOf(r event.Replay, endpoints func(tenant string) []string) (Plan, error) {
	var request ReplayRequest
	if err := json.Unmarshal(r.Filter, &request); err != nil {
		return Plan{}, err
	}
	f := request.filter
	p := Plan{
		Query:   event.Query{Since: f.Since, Until: f.Until, Newer: true, Cursor: r.Cursor},
		Rate:    request.Rate,
		DryRun:  request.DryRun,
		Reroute: request.Reroute,
	}

	// An event that is matched anew belongs to no endpoint yet.
	switch {
	case request.Reroute:
		f.State = "" // of the event, not of a delivery
	case f.Endpoint != "":
		p.Query.Endpoints = []string{f.Endpoint}
	case f.Tenant != "":
		p.Query.Endpoints = endpoints(f.Tenant)
	}
	p.Wants = func(o event.DeliveryRecord) bool {
		return !o.State.Open() && f.matchesEndpoint(o.Endpoint) && (f.State == "" || o.State == event.State(f.State))
	}

	match := filter{Brand: f.Brand, Status: f.Status, WaybillCode: f.WaybillCode}
	if request.Reroute {
		match.State = StateUnrouted
	}
	p.Query.Match = match.match()
	return p, nil
}
