package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// explainRequest says which event is meant.
type explainRequest struct {
	Event       json.RawMessage `json:"event,omitempty" doc:"one item of a callback, or a whole callback that is JSON"`
	Callback    []byte          `json:"callback,omitempty" doc:"the same in any form that kuaidihelp may send, in base64"`
	ContentType string          `json:"content_type,omitempty" doc:"Content-Type of the callback; missing: its bytes say what it is"`
	WaybillCode string          `json:"waybill_code,omitempty" doc:"the latest updates of this waybill that are here"`
	EventID     string          `json:"event_id,omitempty" doc:"this event"`
}

// Explanations say what today's routes make of events.
type Explanations struct {
	Events     []Explained `json:"events" doc:"at most 20, as many as are explained in 100 ms"`
	EventsLeft int         `json:"events_left_out,omitempty" doc:"how many more there are"`
	Rejected   []string    `json:"rejected,omitempty" doc:"why the callback, or an item of it, is not understood"`
	Partial    bool        `json:"partial,omitempty" doc:"Redis does not answer: what only it knows is missing"`
}

// Explained says of one event which endpoints would get it.
type Explained struct {
	ID            string              `json:"id" doc:"evt_ and a SHA-256"`
	Type          string              `json:"type" doc:"type of the callback"`
	WaybillCode   string              `json:"waybill_code,omitempty" doc:"waybill"`
	CPCode        string              `json:"cp_code,omitempty" doc:"brand"`
	Status        string              `json:"status,omitempty" doc:"status of the update"`
	AcceptedAt    time.Time           `json:"accepted_at,omitzero" doc:"when it was accepted, if it is here"`
	DuplicateOf   *Original           `json:"duplicate_of,omitempty" doc:"it would be dropped as a duplicate of this event"`
	Endpoints     []ExplainedEndpoint `json:"endpoints" doc:"in the order of the config: at most 1000 that are owed it, and 50 others"`
	EndpointsLeft int                 `json:"endpoints_left_out,omitempty" doc:"how many more there are"`
}

// Original is an accepted event of which another would be a duplicate.
type Original struct {
	ID         string    `json:"id" doc:"its id"`
	AcceptedAt time.Time `json:"accepted_at" doc:"when it was accepted"`
}

// ExplainedEndpoint says whether an endpoint is owed an event.
type ExplainedEndpoint struct {
	Endpoint string           `json:"endpoint" doc:"tenant/endpoint"`
	Owed     bool             `json:"owed" doc:"whether a route matches, and what must hold too is not known to be false"`
	State    string           `json:"state,omitempty" doc:"of the delivery, where there is one"`
	Routes   []ExplainedRoute `json:"routes" doc:"those that lead there, at most 50; none: no route does"`
}

// ExplainedRoute says how a route decides.
type ExplainedRoute struct {
	At      string `json:"at" doc:"file and line"`
	Matches bool   `json:"matches" doc:"whether the event matches"`
	If      string `json:"if,omitempty" doc:"what must hold too, and only Redis knows"`
	Today   string `json:"today,omitempty" doc:"whether that holds now: yes or no; missing: it is not known"`
	Why     string `json:"why" doc:"what decided"`
}

// TriedRoute is what a route makes of an event that has not come.
type TriedRoute struct {
	Route
	// If is what else must hold for a route that matches: that the status Changed, that the tenant has Subscribed the
	// waybill, or both.
	If                  string
	Changed, Subscribed bool
	// Today says whether that holds now: yes, no, or empty: it is not known.
	Today string
}

// The bounds of one answer.
const (
	maxSample      = 256 << 10
	maxExplained   = 20
	maxOwed        = 1000
	maxRoutesOfOne = 50
	// growth is how many times as large a sample may be in UTF-8.
	growth = 3
)

// explainEvents says what today's routes make of an event. It writes nothing, and sends nothing.
func explainEvents(c *call) (Explanations, error) {
	var request explainRequest
	if err := c.body(&request); err != nil {
		return Explanations{}, err
	}
	given := 0
	for _, is := range []bool{len(request.Event) > 0, len(request.Callback) > 0, request.WaybillCode != "",
		request.EventID != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return Explanations{}, badf("the body: one of event, callback, waybill_code and event_id must say which event")
	case len(request.Event)+len(request.Callback) > maxSample:
		return Explanations{}, echo.NewHTTPError(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("an event or callback has at most %d KiB here", maxSample>>10))
	case request.EventID != "":
		return explainStored(c, func() ([]*event.Record, error) { return c.storedEvent(request.EventID) })
	case request.WaybillCode != "":
		return explainStored(c, func() ([]*event.Record, error) {
			return c.events.Waybill(c.ctx(), request.WaybillCode, c.tenant)
		})
	}
	return explainSample(c, request)
}

// storedEvent gives an event by its id; none if it is not here.
func (c *call) storedEvent(id string) ([]*event.Record, error) {
	e, ok, err := c.events.Event(c.ctx(), id, c.tenant)
	if err != nil || !ok {
		return nil, err
	}
	return []*event.Record{e}, nil
}

// explainStored explains events that were accepted, the latest: what the store decided then is told as far as it is
// known.
func explainStored(c *call, read func() ([]*event.Record, error)) (Explanations, error) {
	found, err := read()
	if err != nil {
		return Explanations{}, c.failed("look at events", err)
	}
	var stored []*event.Record
	for _, e := range found {
		if c.tenant == "" || len(c.showEvent(e).Deliveries) > 0 {
			stored = append(stored, e)
		}
	}
	if len(stored) == 0 {
		return Explanations{}, errNoEvent
	}

	subscriptions := c.subscriptionsOf(stored[0].WaybillCode, stored)
	out := Explanations{Events: []Explained{}}
	var took time.Duration
	for i, e := range slices.Backward(stored) {
		if took > explainFor || len(out.Events) == maxExplained {
			out.EventsLeft = i + 1
			break
		}
		end := c.aside(c.ctx())
		began := time.Now()
		var tried []TriedRoute
		for _, r := range c.settings.Explain(e, subscriptions, c.tenant) {
			tried = append(tried, TriedRoute{Route: r})
		}
		out.Events = append(out.Events, c.explained(&e.Event, tried, e.Deliveries))
		took += time.Since(began)
		end()
	}
	slices.Reverse(out.Events)
	return out, nil
}

// explainSample explains the events of a sample, as if it came now.
func explainSample(c *call, request explainRequest) (Explanations, error) {
	sample := request.Callback
	if len(request.Event) > 0 {
		sample = request.Event
	}
	end := c.aside(c.ctx())
	parsed, err := readSample(request.ContentType, sample)
	end()
	if err != nil {
		return Explanations{}, badf("callback: %v", err)
	}

	out := Explanations{Events: []Explained{}}
	for _, r := range parsed.Rejected[:min(maxExplained, len(parsed.Rejected))] {
		out.Rejected = append(out.Rejected, r.Reason)
	}
	var took time.Duration
	known := make(map[string]*today)
	for i, e := range parsed.Events {
		if took > explainFor || i == maxExplained {
			out.EventsLeft = len(parsed.Events) - i
			break
		}
		end := c.aside(c.ctx())
		began := time.Now()
		tried := c.settings.Try(e, c.tenant)
		took += time.Since(began)
		end()

		// What only Redis knows is asked for once for each waybill, and only if a route depends on it.
		if slices.ContainsFunc(tried, func(r TriedRoute) bool { return r.If != "" }) && known[e.WaybillCode] == nil {
			known[e.WaybillCode] = c.today(e)
		}
		for j := range tried {
			known[e.WaybillCode].judge(e, &tried[j])
		}
		one := c.explained(e, tried, nil)
		one.DuplicateOf, err = c.original(e)
		out.Partial = out.Partial || err != nil
		out.Events = append(out.Events, one)
	}
	return out, nil
}

// readSample parses a sample as the callback that it is, or the item of one.
func readSample(contentType string, sample []byte) (kuaidihelp.Result, error) {
	text, err := kuaidihelp.Decode(contentType, sample, func(r io.Reader) ([]byte, error) {
		return io.ReadAll(http.MaxBytesReader(nil, io.NopCloser(r), growth*maxSample))
	})
	if err != nil {
		return kuaidihelp.Result{}, err
	}
	return kuaidihelp.ParseSample(contentType, text, time.Now()), nil
}

// original gives the event that another would be a duplicate of, if there is one that the caller may see.
func (c *call) original(e *event.Event) (*Original, error) {
	id, at, ok, err := c.events.DuplicateOf(c.ctx(), e)
	if err != nil || !ok {
		return nil, err
	}
	if c.tenant != "" {
		found, err := c.storedEvent(id)
		if err != nil || len(found) == 0 || len(c.showEvent(found[0]).Deliveries) == 0 {
			return nil, err
		}
	}
	return &Original{ID: id, AcceptedAt: utc(at)}, nil
}

// explained gives what routes make of an event, by endpoint.
func (c *call) explained(e *event.Event, routes []TriedRoute, deliveries []event.DeliveryRecord) Explained {
	out := Explained{
		ID:          e.ID,
		Type:        e.Type,
		WaybillCode: e.WaybillCode,
		CPCode:      e.CPCode,
		Status:      e.Status,
		AcceptedAt:  utc(e.AcceptedAt),
		Endpoints:   []ExplainedEndpoint{},
	}
	byEndpoint := make(map[string][]TriedRoute)
	for _, r := range routes {
		for _, endpoint := range r.Endpoints {
			byEndpoint[endpoint] = append(byEndpoint[endpoint], r)
		}
	}
	states := make(map[string]event.State)
	for _, d := range deliveries {
		states[d.Endpoint] = d.State
	}

	owed, others := 0, 0
	for _, t := range c.settings.Tenants {
		if c.tenant != "" && t.Name != c.tenant {
			continue
		}
		for _, ep := range t.Endpoints {
			one := explainedEndpoint(ep.ID, byEndpoint[ep.ID])
			one.State = string(states[ep.ID])
			count, most := &others, maxRoutes
			if one.Owed || one.State != "" {
				count, most = &owed, maxOwed
			}
			*count++
			if *count > most {
				out.EndpointsLeft++
				continue
			}
			out.Endpoints = append(out.Endpoints, one)
		}
	}
	return out
}

// explainedEndpoint says whether routes lead an event to an endpoint. Of many, those that match are shown.
func explainedEndpoint(name string, routes []TriedRoute) ExplainedEndpoint {
	out := ExplainedEndpoint{Endpoint: name, Routes: []ExplainedRoute{}}
	for _, matched := range []bool{true, false} {
		for _, r := range routes {
			if r.Matched == matched && len(out.Routes) < maxRoutesOfOne {
				out.Routes = append(out.Routes, ExplainedRoute{At: r.At, Matches: r.Matched, If: r.If, Today: r.Today, Why: r.Why})
			}
			out.Owed = out.Owed || r.Matched && r.Today != No
		}
	}
	return out
}

// Whether a condition holds today; empty: that is not known.
const (
	Yes = "yes"
	No  = "no"
)

// today is what Redis knows of a waybill now.
type today struct {
	subscriptions []ledger.Subscription // nil: not known
	last          event.Remembered
	// knows says of a brand whether its last status is known to the caller.
	knows func(brand string) bool
}

// today asks Redis what it knows of an event's waybill, as far as the caller may know it.
func (c *call) today(e *event.Event) *today {
	found := []*event.Record{{Event: *e}}
	t := &today{subscriptions: c.subscriptionsOf(e.WaybillCode, found)}
	last, _, err := c.events.Remembered(c.ctx(), e.WaybillCode, brandsOf(found))
	t.last = last
	t.knows = func(brand string) bool {
		return err == nil && (c.tenant == "" || slices.ContainsFunc(t.subscriptions, func(s ledger.Subscription) bool {
			return s.CPCode == brand
		}))
	}
	return t
}

// judge says whether a route's condition holds today, and why.
func (t *today) judge(e *event.Event, r *TriedRoute) {
	if r.If == "" || t == nil {
		return
	}
	var answers, whys []string
	and := func(answer, why string) {
		answers = append(answers, answer)
		if why != "" {
			whys = append(whys, why)
		}
	}
	if r.Subscribed {
		and(t.subscribed(e, r.Tenant))
	}
	if r.Changed {
		and(t.changed(e))
	}

	switch {
	case slices.Contains(answers, No):
		r.Today = No
	case !slices.Contains(answers, ""):
		r.Today = Yes
	}
	if len(whys) > 0 {
		r.Why += "; today " + strings.Join(whys, ", and ")
	}
}

// subscribed says whether the tenant has subscribed the waybill.
func (t *today) subscribed(e *event.Event, tenant string) (answer, why string) {
	if t.subscriptions == nil {
		return "", ""
	}
	others := ""
	for _, s := range t.subscriptions {
		switch {
		case s.Tenant != tenant:
		case s.CPCode == e.CPCode, e.CPCode == "":
			return Yes, fmt.Sprintf("the tenant has it subscribed since %s (%s)", stamp(s.Since), s.State)
		default:
			others = fmt.Sprintf(", but as %s", s.CPCode)
		}
	}
	if others != "" {
		return No, fmt.Sprintf("the tenant has it subscribed%s, and this update is of %q", others, e.CPCode)
	}
	return No, "the tenant has not subscribed it"
}

// changed says whether the status is another than the last one known.
func (t *today) changed(e *event.Event) (answer, why string) {
	if !t.knows(e.CPCode) {
		return "", ""
	}
	for _, s := range t.last.Statuses {
		switch {
		case s.CPCode != e.CPCode:
		case !e.TrackedAt.IsZero() && e.TrackedAt.Before(s.TrackedAt):
			return No, fmt.Sprintf("it would be late: an update with a track of %s came", stamp(s.TrackedAt))
		case s.Status == e.Status:
			return No, fmt.Sprintf("the status is %q already", s.Status)
		case s.Status != "":
			return Yes, fmt.Sprintf("the status changes from %q", s.Status)
		}
	}
	return Yes, "no status of it is known"
}
