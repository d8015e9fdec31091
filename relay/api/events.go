package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// maxData is the most events of a page with data. dataOfPage is about the most bytes of data that they have together.
const (
	maxData    = 100
	dataOfPage = 2 << 20
)

// explainFor is the longest time that one answer spends on explaining how the routes decide.
const explainFor = 100 * time.Millisecond

// maxRoutes is the most routes without a match that are shown with an event.
const maxRoutes = 50

var errNoEvent = echo.NewHTTPError(http.StatusNotFound, "there is no such event, or it is no longer kept")

// listEvents gives a page of events, the latest first. With newer, pages go on to newer events.
func listEvents(c *call) (Events, error) {
	r := c.reader()
	q := event.Query{Most: r.limit(), Cursor: r.param("cursor"), Newer: r.flag("newer")}
	data := r.flag("data")
	if data {
		q.Most = min(q.Most, maxData)
	}
	f := r.filter()
	callback := r.callback()
	if err := r.end(); err != nil {
		return Events{}, err
	}
	q.Endpoints = f.endpoints(c)
	q.Since = f.Since
	q.Until = f.Until
	q.Match = f.match()
	callback.limit(&q)

	page, err := c.events.Events(c.ctx(), q)
	if err != nil {
		return Events{}, c.failed("list events", err)
	}

	// If the data of all events is too much for one answer, the page ends earlier. The next page has the other events.
	if data {
		n, err := c.events.FillData(c.ctx(), page.Events, dataOfPage)
		if err != nil {
			return Events{}, c.failed("list events", err)
		}
		if n < len(page.Events) {
			page.Next = page.Events[n-1].Next
			page.Events = page.Events[:n]
			page.BackTo = page.Events[n-1].AcceptedAt
		}
	}

	out := Events{Events: make([]Event, len(page.Events)), Next: page.Next, Back: page.Back, Looked: page.Looked}
	if !q.Newer {
		out.LookedBackTo = utc(page.BackTo)
	}
	for i, e := range page.Events {
		out.Events[i] = c.showEvent(e)
		if data {
			end := c.aside(c.ctx())
			out.Events[i].Data = asJSON(e.Data)
			end()
		}
	}
	return out, nil
}

// readEvent gives one event. With brief, it leaves out what does not change: the data, and how the routes decide.
func readEvent(c *call) (Event, error) {
	r := c.reader()
	brief := r.flag("brief")
	updates := r.flag("updates")
	if err := r.end(); err != nil {
		return Event{}, err
	}
	read := c.events.Event
	if brief {
		read = c.events.EventWithoutData
	}
	e, err := c.event(c.Param("id"), read)
	if err != nil {
		return Event{}, err
	}

	out := c.showEvent(e)
	if updates {
		if err := c.addUpdates(&out); err != nil {
			return Event{}, err
		}
	}
	if brief {
		return out, c.addParked([]*Event{&out})
	}
	stored, shown := []*event.Record{e}, []*Event{&out}
	if err := c.complete(stored, shown, c.subscriptionsOf(e.WaybillCode, stored)); err != nil {
		return Event{}, err
	}
	return out, nil
}

// mostUpdates is how many updates of a waybill are counted.
const mostUpdates = 200

// addUpdates adds to an event its place among the updates of its waybill.
func (c *call) addUpdates(e *Event) error {
	if e.WaybillCode == "" {
		return nil
	}
	found, err := c.events.LatestOfWaybill(c.ctx(), e.WaybillCode, c.tenant, mostUpdates)
	if err != nil {
		return c.failed("look at a waybill", err)
	}
	found = slices.DeleteFunc(found, func(x *event.Record) bool {
		return c.tenant != "" && !slices.ContainsFunc(x.Deliveries, func(o event.DeliveryRecord) bool {
			return c.sees(o.Endpoint)
		})
	})

	at := slices.IndexFunc(found, func(x *event.Record) bool { return x.ID == e.ID })
	if at < 0 {
		return nil // it is older than those
	}
	e.Updates = &Updates{Number: at + 1, Of: len(found)}
	if at > 0 {
		e.Updates.Before = found[at-1].ID
	}
	if at+1 < len(found) {
		e.Updates.After = found[at+1].ID
	}
	return nil
}

// complete adds to events what a list does not show: their data, how the routes decide, and why endpoints are parked.
// stored and shown are the same events.
func (c *call) complete(stored []*event.Record, shown []*Event, subscriptions []ledger.Subscription) error {
	var took time.Duration
	for i, e := range slices.Backward(stored) { // people mostly want the latest
		end := c.aside(c.ctx())
		began := time.Now()
		shown[i].Data = asJSON(e.Data)
		shown[i].WithoutData = e.WithoutData
		if took < explainFor {
			shown[i].Routes, shown[i].RoutesLeft = c.explain(e, subscriptions)
		}
		took += time.Since(began)
		end()
	}
	return c.addParked(shown)
}

// addParked adds to open deliveries why their endpoint is parked, and whether it is missing from the config.
func (c *call) addParked(shown []*Event) error {
	var open []*Delivery
	var names []string
	for _, e := range shown {
		for i := range e.Deliveries {
			if d := &e.Deliveries[i]; d.State.Open() {
				open = append(open, d)
				names = append(names, d.Endpoint)
			}
		}
	}
	if len(open) == 0 {
		return nil
	}

	// Each endpoint is asked for once, not once for each delivery.
	slices.Sort(names)
	health, err := c.endpoints.Health(c.ctx(), slices.Compact(names), 0)
	if err != nil {
		return c.failed("look at endpoints", err)
	}
	parked := make(map[string]*Parked)
	for _, h := range health {
		if h.Parked != "" {
			parked[h.Endpoint] = &Parked{State: h.Parked, Since: utc(h.ParkedSince), Until: utc(h.ParkedUntil)}
		}
	}

	for _, d := range open {
		d.Parked = parked[d.Endpoint]
		if d.Parked != nil {
			d.GivenUpAt = c.givenUpAt(d.Endpoint, d.Parked.State, d.since)
		}
		d.Orphan = c.settings.endpoints[d.Endpoint] == nil
	}
	return nil
}

// explain says how the routes that the caller may see decide about an event. It gives all that match, and at most
// maxRoutes that do not. left counts the others.
func (c *call) explain(e *event.Record, subscriptions []ledger.Subscription) (out []Route, left int) {
	if c.settings.Explain == nil {
		return nil, 0
	}
	unmatched := 0
	for _, r := range c.settings.Explain(e, subscriptions, c.tenant) {
		if !r.Matched {
			unmatched++
		}
		if !r.Matched && unmatched > maxRoutes {
			left++
			continue
		}
		out = append(out, r)
	}
	return out, left
}

// asJSON gives data as it came; nil if it is not valid JSON and cannot be part of an answer.
func asJSON(data []byte) json.RawMessage {
	if len(data) == 0 || !json.Valid(data) || !utf8.Valid(data) {
		return nil
	}
	return bytes.Clone(data)
}
