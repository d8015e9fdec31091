package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// anID is one that an event may have.
func anID(digit string) string { return "evt_" + strings.Repeat(digit, 64) }

// fewEvents has some events of one waybill, and notes what is sent again.
type fewEvents struct {
	eventStore
	events []*event.Record
	resent []string
}

func (f *fewEvents) EventWithoutData(_ context.Context, id, _ string) (*event.Record, bool, error) {
	i := slices.IndexFunc(f.events, func(e *event.Record) bool { return e.ID == id })
	if i < 0 {
		return nil, false, nil
	}
	return f.events[i], true, nil
}

func (f *fewEvents) Waybill(context.Context, string, string) ([]*event.Record, error) {
	return f.events, nil
}

func (f *fewEvents) Events(_ context.Context, q event.Query) (event.Page, error) {
	page := event.Page{Looked: len(f.events), End: true}
	for _, e := range f.events {
		if q.Takes(e) {
			page.Events = append(page.Events, e)
		}
	}
	return page, nil
}

func (f *fewEvents) EventsByID(_ context.Context, ids []string) (out []*event.Record, _ error) {
	for _, e := range f.events {
		if slices.Contains(ids, e.ID) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (f *fewEvents) Resend(_ context.Context, endpoint, id string) (bool, error) {
	f.resent = append(f.resent, id+" "+endpoint)
	return true, nil
}

// owed is an event with a delivery to shop/orders in this state.
func owed(id string, state event.State) *event.Record {
	return &event.Record{
		Event:      event.Event{ID: id, WaybillCode: "1", AcceptedAt: noon.Add(-time.Minute)},
		Deliveries: []event.DeliveryRecord{{Endpoint: "shop/orders", State: state, Due: noon.Add(time.Hour)}},
	}
}

func TestAnEventIsSentAgainOnlyWhereItIsOwedAndNotOpen(t *testing.T) {
	t.Parallel()
	store := &fewEvents{events: []*event.Record{owed(anID("1"), event.StateDelivered), owed(anID("2"), event.StateDead),
		owed(anID("3"), event.StateRetrying), owed(anID("4"), event.StateWaiting)}}
	store.events[3].Deliveries[0].Behind = anID("3")
	b := newBench(Options{})
	b.events = store
	resend := func(tenant, id, endpoint string) (Delivery, error) {
		c, _ := b.call(tenant, "/", fmt.Sprintf(`{"endpoint":%q}`, endpoint))
		c.SetParamNames("id")
		c.SetParamValues(id)
		return resendEvent(c)
	}
	for _, digit := range []string{"1", "2"} {
		if d, err := resend("shop", anID(digit), "orders"); err != nil || d.Endpoint != "shop/orders" {
			t.Errorf("%s: %+v (%v)", digit, d, err)
		}
	}
	want := []string{anID("1") + " shop/orders", anID("2") + " shop/orders"}
	if !slices.Equal(store.resent, want) || len(b.due) != 2 {
		t.Errorf("sent again: %v, due %v", store.resent, b.due)
	}

	for _, x := range []struct {
		tenant, id, endpoint string
		status               int
		detail               string
	}{
		{"shop", anID("3"), "orders", 409, "to shop/orders: it is retrying, and tried at 2026-11-24T13:00"},
		{"shop", anID("4"), "orders", 409, "it waits behind " + anID("3")},
		{"", anID("1"), "shop/b", 409, "never routed to shop/b: what no route matched, a replay with reroute"},
		{"shop", anID("1"), "none", 400, `endpoint: there is no endpoint "none"`},
		{"shop", anID("1"), "", 400, "endpoint: there is no endpoint"},
		{"shop", anID("1"), "other/mail", 400, "other/mail is not yours"},
		{"other", anID("1"), "mail", 404, "there is no such event"},
		{"shop", anID("5"), "orders", 404, "there is no such event"},
	} {
		_, err := resend(x.tenant, x.id, x.endpoint)
		refused(t, x.id+" to "+x.endpoint, err, x.status, x.detail)
	}
	if len(store.resent) != 2 {
		t.Errorf("sent again: %v", store.resent)
	}
}

// retries has an endpoint that may be parked, and notes what is tried at once.
type retries struct {
	endpointStore

	told   []event.LogEntry
	parked queue.Parked
	ids    []string
}

func (r *retries) NoteEndpoint(_ context.Context, _ string, e event.LogEntry) error {
	r.told = append(r.told, e)
	return nil
}

func (r *retries) Health(_ context.Context, endpoints []string, _ int) ([]queue.EndpointHealth, error) {
	return []queue.EndpointHealth{{Endpoint: endpoints[0], Parked: r.parked, ParkedSince: noon, ParkedUntil: noon}}, nil
}

func (r *retries) Retry(_ context.Context, _ string, ids ...string) (queue.Retried, error) {
	r.ids = append(r.ids, ids...)
	return queue.Retried{Due: len(ids), Parked: r.parked}, nil
}

func (r *retries) RetryAll(_ context.Context, _, cursor string, most int) (queue.Retried, string, error) {
	if cursor == "x" {
		return queue.Retried{}, "", event.ErrCursor
	}
	return queue.Retried{Due: most, Parked: r.parked}, "next", nil
}

func TestWhatWaitsForItsNextAttemptIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	events := &fewEvents{events: []*event.Record{owed(anID("1"), event.StateDelivered),
		owed(anID("2"), event.StateRetrying), owed(anID("3"), event.StateQueued),
		owed(anID("4"), event.StateWaiting), owed(anID("5"), event.StateSending)}}
	for _, x := range []struct {
		body   string
		parked queue.Parked
		ids    []string
		want   RetryResult
		status int
		detail string
	}{
		{body: `{"event_id":"` + anID("2") + `"}`, ids: []string{anID("2")}, want: RetryResult{Done: 1}},
		{body: `{"waybill_code":"1"}`, ids: []string{anID("2"), anID("3")}, want: RetryResult{Done: 2}},
		{body: `{"all":true}`, want: RetryResult{Done: 100, Next: "next"}},
		{body: `{"all":true}`, parked: "open", want: RetryResult{Done: 100, Next: "next",
			Parked: &Parked{State: "open", Since: noon, Until: noon}}},
		{body: `{"all":true}`, parked: "paused", status: 409, detail: "shop/orders is paused: nothing is sent"},
		{body: `{"all":true}`, parked: "gone", status: 409, detail: "shop/orders is gone"},
		{body: `{"event_id":"` + anID("1") + `"}`, status: 409, detail: "it is delivered: it can be sent again"},
		{body: `{"event_id":"` + anID("5") + `"}`, status: 409, detail: "does not wait for an attempt: it is sending"},
		{body: `{"event_id":"` + anID("9") + `"}`, status: 404, detail: "there is no such event"},
		{body: `{}`, status: 400, detail: "one of event_id, waybill_code and all"},
		{body: `{"all":true,"waybill_code":"1"}`, status: 400, detail: "one of event_id, waybill_code and all"},
		{body: `{"waybill_code":"1","cursor":"1-1"}`, status: 400, detail: "cursor: goes with all"},
		{body: `{"all":true,"cursor":"x"}`, status: 400, detail: "cursor: must be the next of an earlier page"},
	} {
		b := newBench(Options{})
		store := &retries{parked: x.parked}
		b.events, b.endpoints = events, store
		c, _ := b.call("shop", "/", x.body)
		c.SetParamNames("endpoint")
		c.SetParamValues("orders")
		got, err := retryDeliveries(c)
		if x.status != 0 {
			refused(t, x.body, err, x.status, x.detail)
			continue
		}
		if err != nil || !reflect.DeepEqual(got, x.want) || !slices.Equal(store.ids, x.ids) || len(b.due) != 1 {
			t.Errorf("%s: %+v (%v) of %v, due %v", x.body, got, err, store.ids, b.due)
		}
		if len(store.told) != 1 || store.told[0].What != event.LogRetried || store.told[0].N != x.want.Done {
			t.Errorf("%s: the log of the endpoint says %+v", x.body, store.told)
		}
	}
}

func TestAReplayThatWouldSendMoreThanExpectedIsRefused(t *testing.T) {
	t.Parallel()
	events := &fewEvents{events: []*event.Record{owed(anID("1"), event.StateRetrying)}}
	for i := range 11 {
		events.events = append(events.events, owed(anID(fmt.Sprintf("%x", i)), event.StateDelivered))
	}
	b := newBench(Options{})
	store := &replayList{}
	b.events, b.replays = events, store
	for body, status := range map[string]int{
		`{"expect":11}`: 0, `{"expect":10}`: 0, `{"expect":9}`: http.StatusConflict, `{"expect":1,"dry_run":true}`: 0,
		`{"expect":1,"event_ids":["` + anID("2") + `"]}`: 0, `{"expect":-1}`: http.StatusBadRequest,
		`{"expect":1,"since":"2026-11-24T13:00:00Z","until":"2026-11-24T14:00:00Z"}`: 0, `{"expect":1}`: http.StatusConflict,
	} {
		store.begun = event.Replay{}
		_, err := ask(b, createReplay, "shop", "/", body)
		if got, detail := problem(err); got != status || (store.begun.Filter == nil) != (status != 0) {
			t.Errorf("%s: %d %s, want %d; begun %s", body, got, detail, status, store.begun.Filter)
		}
	}
}

func TestAReplayOfNamedEventsSendsTheseAlone(t *testing.T) {
	t.Parallel()
	events := &fewEvents{events: []*event.Record{owed(anID("1"), event.StateDelivered),
		owed(anID("2"), event.StateDelivered), owed(anID("3"), event.StateDelivered)}}
	b := newBench(Options{})
	store := &replayList{}
	b.replays = store
	ids := fmt.Sprintf(`{"event_ids":[%q,%q]}`, anID("3"), anID("1"))
	if _, err := ask(b, createReplay, "shop", "/", ids); err != nil {
		t.Fatal(err)
	}
	plan, err := PlanOf(store.begun, b.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	page, err := plan.Page(t.Context(), events)
	if err != nil || len(page.Events) != 2 || page.Events[0].ID != anID("1") || page.Events[1].ID != anID("3") ||
		!page.End || page.Looked != 2 {
		t.Fatalf("%+v, %v", page, err)
	}

	// It goes on behind the first.
	store.begun.Cursor = page.Events[0].Next
	if plan, err = PlanOf(store.begun, b.Endpoints); err != nil {
		t.Fatal(err)
	}
	if page, err = plan.Page(t.Context(), events); err != nil || len(page.Events) != 1 || page.Events[0].ID != anID("3") {
		t.Errorf("%+v, %v", page, err)
	}

	for body, detail := range map[string]string{
		`{"event_ids":["evt_1"]}`: `event_ids: "evt_1" is no id of an event`,
		`{"event_ids":["` + anID("1") + `"],"since":"2026-11-24T08:00:00Z"}`:                 "goes without since and until",
		`{"event_ids":[` + strings.Repeat(`"`+anID("1")+`",`, 100) + `"` + anID("1") + `"]}`: "at most 100 at a time",
	} {
		_, err := ask(b, createReplay, "shop", "/", body)
		refused(t, detail, err, 400, detail)
	}
}
