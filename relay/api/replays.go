package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
)

const (
	defaultRate = 100
	maxRate     = 10_000
	// maxEventIDs is how many events a replay may name.
	maxEventIDs = 100
	// expectedMost is how many events one request looks at, to count what a replay would send; expectedPages bounds that
	// where few events are of its endpoints.
	expectedMost, expectedPages = 10_000, 100
)

// ReplayRequest says what to send again. It does not affect open deliveries.
type ReplayRequest struct {
	filter
	// Reroute sends unrouted events to the endpoints of today's routes.
	Reroute bool `json:"reroute,omitempty" doc:"route unrouted events by today's routes, instead of sending delivered and dead ones again"`
	DryRun  bool `json:"dry_run,omitempty" doc:"only count"`
	Rate    int  `json:"rate,omitempty" doc:"events a second at most; default 100"`
	// EventIDs are the only events that are sent, in the order of their acceptance.
	EventIDs []string `json:"event_ids,omitempty" doc:"of these events only, at most 100"`
	// Expect is what a dry run has counted.
	Expect int `json:"expect,omitempty" doc:"how many deliveries a dry run until the same time has counted: if there are over a tenth more among the first 10,000 events, the answer is 409 and nothing is sent; with reroute, or further on, the replay ends before it sends over a tenth more, and why says so"`
}

// Replay is a replay and its progress.
type Replay struct {
	ID        string            `json:"id" doc:"rpl_ and letters and digits"`
	Tenant    string            `json:"tenant,omitempty" doc:"who asked for it; none: the operator"`
	Request   ReplayRequest     `json:"request" doc:"what is sent again"`
	State     event.ReplayState `json:"state" doc:"running, done, or cancelled"`
	CreatedAt time.Time         `json:"created_at" doc:"when it was asked for"`
	EndedAt   time.Time         `json:"ended_at,omitzero" doc:"when it was done or cancelled"`
	Looked    int64             `json:"looked" doc:"events that were looked at"`
	Matched   int64             `json:"matched" doc:"events that the request selects"`
	Queued    int64             `json:"queued" doc:"deliveries that were queued again, or in a dry run would be"`
	Dead      int64             `json:"queued_dead" doc:"how many of these were dead letters"`
	Skipped   int64             `json:"skipped" doc:"deliveries that were open already, or are no longer kept"`
	LookedTo  time.Time         `json:"looked_to,omitzero" doc:"about how far it has come, from since to until: events that were accepted before were looked at"`
	Why       string            `json:"why,omitempty" doc:"why the relay has cancelled it; none: it has not"`
}

// Replays is a list.
type Replays struct {
	Replays []Replay `json:"replays" doc:"of the last 30 days, the latest first; at most 200 of each tenant, and 200 of the operator"`
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
		Dead:      r.Dead,
		Skipped:   r.Skipped,
		LookedTo:  utc(r.LookedTo),
		Why:       r.Why,
	}
	_ = json.Unmarshal(r.Filter, &out.Request) // createReplay wrote it
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

	// The stored request has an end, in UTC, so that it means the same at any later time.
	if request.Until.IsZero() {
		request.Until = c.now()
	}
	// Named events have no times: a relay of the version before, which does not know event_ids, then sends nothing.
	if len(request.EventIDs) > 0 {
		request.Since = request.Until
	}
	request.Since = utc(request.Since)
	request.Until = utc(request.Until)
	text, err := json.Marshal(request)
	if err != nil {
		return Replay{}, err
	}

	if err := c.checkReplayCount(request, text); err != nil {
		return Replay{}, err
	}

	r, err := c.replays.NewReplay(c.ctx(), event.Replay{Tenant: c.tenant, Filter: text})
	if errors.Is(err, event.ErrTooMany) {
		c.Response().Header().Set(echo.HeaderRetryAfter, "10")
		return Replay{}, echo.NewHTTPError(http.StatusTooManyRequests,
			"too many replays are running or waiting (limits.replays run at one time)")
	}
	if err != nil {
		return Replay{}, c.failed("begin a replay", err)
	}
	c.did(request.owner(c), r.ID, 1)
	if request.DryRun {
		c.didNothing()
	}
	for _, endpoint := range replayedAt(request.endpoints(c), request.DryRun) {
		c.tell(endpoint, event.LogEntry{What: event.LogReplayBegun, Replay: r.ID})
	}
	return showReplay(r), nil
}

// checkReplay refuses a request that a replay cannot do.
func (r *ReplayRequest) checkReplay(c *call) error {
	switch {
	case r.Rate < 1 || r.Rate > maxRate:
		return badf("rate: must be from 1 to %d", maxRate)
	case !r.Reroute && slices.Contains(values(r.State), StateUnrouted):
		return badf("state: unrouted events need reroute")
	case slices.ContainsFunc(values(r.State), func(s string) bool { return s == stateOpen || event.State(s).Open() }):
		return badf("state: open deliveries are not sent again")
	case r.Reroute && r.State != "" && r.State != StateUnrouted:
		return badf("state: reroute takes only unrouted events")
	case r.Reroute && c.tenant != "":
		return badf("reroute: unrouted events belong to no tenant; only the operator can send them")
	case r.Expect < 0:
		return badf("expect: must be the number of a dry run")
	}
	return r.checkEventIDs()
}

// checkEventIDs refuses ids that a replay cannot take.
func (r *ReplayRequest) checkEventIDs() error {
	switch {
	case len(r.EventIDs) > 0 && (!r.Since.IsZero() || !r.Until.IsZero()):
		return badf("event_ids: goes without since and until")
	case len(r.EventIDs) > maxEventIDs:
		return badf("event_ids: at most %d at a time", maxEventIDs)
	}
	for _, id := range r.EventIDs {
		if !event.IsID(id) {
			return badf("event_ids: %q is no id of an event", id)
		}
	}
	return nil
}

// checkReplayCount is an error if a replay would send over a tenth more than it expects of the first events that it
// looks at. What comes after them, and what is routed again, is counted while it is sent. text is its request.
func (c *call) checkReplayCount(request ReplayRequest, text []byte) error {
	if request.Expect == 0 || request.DryRun || request.Reroute {
		return nil
	}
	plan, err := PlanOf(event.Replay{Filter: text}, c.settings.endpointsOf)
	if err != nil {
		return err
	}

	count, looked := 0, 0
	plan.Query.Most = maxLimit
	for range expectedPages {
		page, err := plan.Page(c.ctx(), c.events)
		if err != nil {
			return c.failed("count what would be sent", err)
		}
		for _, e := range page.Events {
			for _, o := range e.Deliveries {
				if plan.Wants(o) && c.settings.endpoints[o.Endpoint] != nil {
					count++
				}
			}
		}
		looked += page.Looked
		if page.End || looked >= expectedMost {
			break
		}
		plan.Query.Cursor = page.Next
	}
	return checkExpected(request.Expect, count)
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

// replay reads the replay that a path names. For a tenant, one of another tenant does not exist.
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

// cancelReplay ends a replay. Deliveries that it has queued are made.
func cancelReplay(c *call) (Replay, error) {
	r, err := c.replay()
	if err != nil {
		return Replay{}, err
	}
	ended, err := c.replays.CancelReplay(c.ctx(), r.ID, "")
	if err != nil {
		return Replay{}, c.failed("cancel a replay", err)
	}
	c.did(r.Tenant, r.ID, 1)
	if !ended {
		c.didNothing()
	}
	if plan, err := PlanOf(*r, c.Endpoints); err == nil && ended {
		for _, endpoint := range plan.Told() {
			c.tell(endpoint, event.LogEntry{What: event.LogReplayEnded, Replay: r.ID, N: int(r.Queued)})
		}
	}
	return readReplay(c)
}

// Plan says how to run a replay: which events it reads, and what it does with each.
type Plan struct {
	Query   event.Query
	IDs     []string // of the only events; nil: any
	Rate    int
	DryRun  bool
	Reroute bool
	// Expect is how many deliveries it sends, and a tenth more at most; 0: any number.
	Expect int
	// LeavesAlone says of a delivery that Wants would take, were it not open.
	LeavesAlone func(event.DeliveryRecord) bool
	// Wants says whether to send a delivery again. Its event is one that Query takes.
	Wants func(event.DeliveryRecord) bool
}

// PlanOf makes the plan of a replay from its request. endpoints lists the endpoints of a tenant.
func PlanOf(r event.Replay, endpoints func(tenant string) []string) (Plan, error) {
	var request ReplayRequest
	if err := json.Unmarshal(r.Filter, &request); err != nil {
		return Plan{}, err
	}
	f := request.filter
	if request.EventIDs != nil {
		f.Since, f.Until = time.Time{}, time.Time{}
	}
	p := Plan{
		Query:   event.Query{Since: f.Since, Until: f.Until, Newer: true, Cursor: r.Cursor},
		IDs:     request.EventIDs,
		Rate:    request.Rate,
		DryRun:  request.DryRun,
		Reroute: request.Reroute,
		Expect:  request.Expect,
	}

	// An unrouted event has no endpoint yet.
	switch {
	case request.Reroute:
		f.State = "" // of the event, not of a delivery
	case f.Endpoint != "":
		p.Query.Endpoints = values(f.Endpoint)
	case f.Tenant != "":
		p.Query.Endpoints = endpoints(f.Tenant)
	}
	p.Wants = func(o event.DeliveryRecord) bool {
		return !o.State.Open() && f.matchesEndpoint(o.Endpoint) && takes(f.State, string(o.State))
	}
	p.LeavesAlone = func(o event.DeliveryRecord) bool {
		return o.State.Open() && f.matchesEndpoint(o.Endpoint) && f.State == ""
	}

	match := filter{Brand: f.Brand, Status: f.Status, WaybillCode: f.WaybillCode}
	if request.Reroute {
		match.State = StateUnrouted
	}
	p.Query.Match = match.match()
	return p, nil
}

// pager is what a plan needs of the store.
type pager interface {
	Events(ctx context.Context, q event.Query) (event.Page, error)
	EventsByID(ctx context.Context, ids []string) ([]*event.Record, error)
}

// Page reads the page at the cursor of the plan's query. Events that are named are one page; the cursor is then how
// many of them are done with.
func (p *Plan) Page(ctx context.Context, s pager) (event.Page, error) {
	if p.IDs == nil {
		return s.Events(ctx, p.Query)
	}
	found, err := s.EventsByID(ctx, p.IDs)
	if err != nil {
		return event.Page{}, err
	}

	done, _ := strconv.Atoi(p.Query.Cursor) // it was written here
	done = min(done, len(found))
	page := event.Page{End: true, Looked: len(found) - done, Next: strconv.Itoa(len(found))}
	for i, e := range found[done:] {
		e.Next = strconv.Itoa(done + i + 1)
		if p.Query.Takes(e) {
			page.Events = append(page.Events, e)
		}
	}
	return page, nil
}
