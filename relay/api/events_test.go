package api

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// oneEvent is a store with one event, and what it was asked for.
type oneEvent struct {
	eventStore
	event *event.Record
	asked event.Query
}

func (s *oneEvent) Events(_ context.Context, q event.Query) (event.Page, error) {
	s.asked = q
	page := event.Page{Looked: 40, BackTo: noon.Add(-time.Hour), Next: "next"}
	if q.Match == nil || q.Match(s.event) {
		page.Events = []*event.Record{s.event}
	}
	return page, nil
}

func (s *oneEvent) Event(_ context.Context, id, _ string) (*event.Record, bool, error) {
	return s.event, id == s.event.ID, nil
}

// newOneEvent is an event that shop/orders has, and that came in a callback.
func newOneEvent() *oneEvent {
	e := &event.Record{RepeatedIn: []string{event.NewCallbackID(noon.Add(-time.Minute)), "cb_damaged"}, Repeats: 3}
	e.ID = "evt_" + strings.Repeat("0a", 32)
	e.Data = []byte(`{"no":"1"}`)
	e.ReceivedAt = noon.Add(-time.Hour)
	e.AcceptedAt = e.ReceivedAt
	e.Item = 3
	e.Config = "a0b1c2d3"
	e.Origin = &event.Origin{ID: event.NewCallbackID(e.ReceivedAt), From: "203.0.113.9", Replica: "relay-b", Form: "json",
		Items: 7}
	e.Deliveries = []event.DeliveryRecord{{Endpoint: "shop/orders", State: event.StateDelivered, Reason: "retry"}}
	return &oneEvent{event: e}
}

func TestWhoSentACallbackIsForTheOperatorAlone(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.Use(Settings{Tenants: b.current.Load().Tenants, Config: "a0b1c2d3"})
	store := newOneEvent()
	b.events = store
	id := store.event.Origin.ID
	for tenant, want := range map[string]Callback{
		"":     {ID: id, At: noon.Add(-time.Hour), Form: "json", Item: 3, Items: 7, From: "203.0.113.9", Replica: "relay-b"},
		"shop": {ID: id, At: noon.Add(-time.Hour), Form: "json", Item: 3, Items: 7},
	} {
		page, err := ask(b, listEvents, tenant, "/", "")
		if err != nil || len(page.Events) != 1 || page.Looked != 40 || !page.LookedBackTo.Equal(noon.Add(-time.Hour)) {
			t.Fatalf("%+v, %v", page, err)
		}
		got := page.Events[0]
		if *got.Callback != want || (got.Config == "") != (tenant != "") || !*got.ConfigSame {
			t.Errorf("%q: %+v, config %q %v, want %+v", tenant, *got.Callback, got.Config, *got.ConfigSame, want)
		}
		if len(got.Repeated) != 1 || !got.Repeated[0].At.Equal(noon.Add(-time.Minute)) {
			t.Errorf("%q: again %+v", tenant, got.Repeated)
		}
	}

	// Another config is in use, or it is not known which was.
	b.Use(Settings{Tenants: b.current.Load().Tenants, Config: "ffffffff"})
	page, err := ask(b, listEvents, "", "/", "")
	if err != nil || *page.Events[0].ConfigSame {
		t.Errorf("%+v, %v", page.Events[0], err)
	}
	store.event.Config = ""
	store.event.Origin = nil
	page, err = ask(b, listEvents, "", "/", "")
	if err != nil || page.Events[0].ConfigSame != nil || page.Events[0].Callback != nil {
		t.Errorf("%+v, %v", page.Events[0], err)
	}
}

func TestEventsAreListedByTheirCallback(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := newOneEvent()
	b.events = store
	id := store.event.Origin.ID
	other := event.NewCallbackID(noon)
	for query, want := range map[string]int{
		"callback=" + id: 1, "callback=" + other: 0, "callback=" + id + "&state=delivered,dead": 1,
		"callback=" + id + "&state=dead": 0, "callback=" + id + "&since=1m": 1,
	} {
		page, err := ask(b, listEvents, "shop", "/?"+query, "")
		if err != nil || len(page.Events) != want {
			t.Errorf("%s: %d events, %v, want %d", query, len(page.Events), err, want)
		}
	}

	// The search ends where the callback came, or before, if less is wanted.
	if _, err := ask(b, listEvents, "", "/?callback="+id, ""); err != nil {
		t.Fatal(err)
	}
	if since := store.asked.Since; since.After(noon.Add(-time.Hour)) || since.Before(noon.Add(-2*time.Hour)) {
		t.Errorf("since %s", since)
	}
	if _, err := ask(b, listEvents, "", "/?since=5m&callback="+id, ""); err != nil ||
		!store.asked.Since.Equal(noon.Add(-5*time.Minute)) {
		t.Errorf("since %s, %v", store.asked.Since, err)
	}
	_, err := ask(b, listEvents, "", "/?callback=cb_1", "")
	refused(t, "no id", err, 400, "callback: must be the id of a callback")
}

func TestTheRequestOfADeliveryIsShownToItsTenant(t *testing.T) {
	t.Parallel()
	store := newOneEvent()
	var made []*event.Delivery
	newAsked := func(config string) *bench {
		b := newBench(Options{})
		b.events = store
		b.aside = func(context.Context) func() { return func() {} }
		b.Use(Settings{Tenants: b.current.Load().Tenants, Config: config,
			Preview: func(d *event.Delivery) (Preview, bool) {
				made = append(made, d)
				return Preview{Method: "POST", Headers: map[string]string{"X-Team": "(hidden)"}, Body: []byte("{}")}, true
			}})
		return b
	}
	request := func(b *bench, tenant, query string) (DeliveryRequest, error) {
		c, _ := b.call(tenant, "/?"+query, "")
		c.SetParamNames("id")
		c.SetParamValues(store.event.ID)
		return readRequest(c)
	}

	for config, changed := range map[string]bool{"a0b1c2d3": false, "ffffffff": true} {
		got, err := request(newAsked(config), "shop", "endpoint=orders")
		if err != nil || got.URL != "https://shop/hooks" || got.Body != "{}" || got.Headers["X-Team"] != "(hidden)" ||
			got.Endpoint != "shop/orders" || got.EventID != store.event.ID || got.ChangedSince != changed {
			t.Errorf("config %s: %+v, %v", config, got, err)
		}
	}
	if d := made[0]; d.Event.ID != store.event.ID || d.Reason != "retry" || d.Endpoint != "shop/orders" {
		t.Errorf("made of %+v", d)
	}

	b := newAsked("a0b1c2d3")
	for _, x := range []struct {
		tenant, query string
		status        int
		detail        string
	}{
		{tenant: "shop", query: "", status: 400, detail: "endpoint: must name"},
		{tenant: "shop", query: "endpoint=orders&x=1", status: 400, detail: "x: there is no such parameter"},
		{tenant: "shop", query: "endpoint=other/mail", status: 404, detail: "other/mail is not yours"},
		{tenant: "other", query: "endpoint=shop/orders", status: 404, detail: "shop/orders is not yours"},
		{tenant: "other", query: "endpoint=mail", status: 404, detail: "there is no such delivery"},
		{tenant: "", query: "endpoint=other/mail", status: 404, detail: "there is no such delivery"},
		{tenant: "", query: "endpoint=shop/none", status: 404, detail: "there is no endpoint"},
	} {
		_, err := request(b, x.tenant, x.query)
		refused(t, x.tenant+" "+x.query, err, x.status, x.detail)
	}
	store.event.Data = nil
	_, err := request(b, "", "endpoint=shop/orders")
	refused(t, "without data", err, 404, "is lost")
	if n := len(made); n != 2 || slices.Contains(made, nil) {
		t.Errorf("%d requests were made", n)
	}
}

func (s *oneEvent) EventWithoutData(_ context.Context, id, _ string) (*event.Record, bool, error) {
	brief := *s.event
	brief.Data = nil
	return &brief, id == s.event.ID, nil
}

func (s *oneEvent) LatestOfWaybill(context.Context, string, string, int) ([]*event.Record, error) {
	of := func(id, endpoint string) *event.Record {
		return &event.Record{Event: event.Event{ID: id}, Deliveries: []event.DeliveryRecord{{Endpoint: endpoint}}}
	}
	return []*event.Record{of("evt_1", "shop/orders"), of("evt_2", "other/mail"), s.event, of("evt_4", "other/mail")}, nil
}

// A tenant is told nothing of updates that are owed to others alone.
func TestAnEventHasItsPlaceAmongTheUpdatesThatTheCallerSees(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := newOneEvent()
	store.event.WaybillCode = "777"
	b.events = store
	for tenant, want := range map[string]Updates{
		"":     {Number: 3, Of: 4, Before: "evt_2", After: "evt_4"},
		"shop": {Number: 2, Of: 2, Before: "evt_1"},
	} {
		c, _ := b.call(tenant, "/?updates=true&brief=true", "")
		c.SetParamNames("id")
		c.SetParamValues(store.event.ID)
		got, err := readEvent(c)
		if err != nil || got.Updates == nil || *got.Updates != want {
			t.Errorf("%q: %+v, %v, want %+v", tenant, got.Updates, err, want)
		}
		if len(got.Data) > 0 || len(got.Routes) > 0 {
			t.Errorf("%q: a brief answer has %q and %d routes", tenant, got.Data, len(got.Routes))
		}
	}
	if _, err := ask(b, readEvent, "", "/?briefly=true", ""); err == nil {
		t.Error("a parameter that there is not is taken")
	}
}
