package api

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// kept is a store that knows the log and the attempts of endpoints.
type kept struct {
	endpointStore
	log   []event.LogEntry
	asked queue.AttemptsQuery
	page  []queue.EndpointAttempt
	by    event.Actor
	noted map[string]event.LogEntry
	err   error
}

func (s *kept) NoteEndpoint(_ context.Context, endpoint string, e event.LogEntry) error {
	if s.noted == nil {
		s.noted = make(map[string]event.LogEntry)
	}
	s.noted[endpoint] = e
	return s.err
}

func (s *kept) EndpointLog(context.Context, string) ([]event.LogEntry, error) { return s.log, s.err }

func (s *kept) Attempts(_ context.Context, q queue.AttemptsQuery) ([]queue.EndpointAttempt, string, error) {
	s.asked = q
	return s.page, "next", s.err
}

func (s *kept) Park(_ context.Context, _ string, by event.Actor) error {
	s.by = by
	return s.err
}

func (s *kept) Health(_ context.Context, endpoints []string, _ int) ([]queue.EndpointHealth, error) {
	return []queue.EndpointHealth{{Endpoint: endpoints[0]}}, nil
}

// of calls a handler for the endpoint orders, as a tenant or the operator.
func of[T any](b *bench, handle func(*call) (T, error), tenant, query string) (T, error) {
	c, _ := b.call(tenant, "/"+query, "")
	c.SetParamNames("tenant", "endpoint")
	c.SetParamValues("shop", "orders")
	return handle(c)
}

func TestATenantIsNotToldFromWhereTheOperatorCame(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.endpoints = &kept{log: []event.LogEntry{
		{At: noon, What: event.LogPaused, By: event.Actor{Name: event.Operator, Key: "night", From: "192.0.2.1"}},
		{At: noon, What: event.LogResumed, By: event.Actor{Name: "shop", Key: "deploy", From: "192.0.2.2"}},
		{At: noon, What: event.LogChanged, Changes: []event.SettingChange{{Key: "timeout", Old: "10s", New: "15s"}}},
	}}
	paused := LogEntry{At: noon, What: event.LogPaused, By: "operator"}
	resumed := LogEntry{At: noon, What: event.LogResumed, By: "shop", Key: "deploy", From: "192.0.2.2"}
	changed := LogEntry{
		At: noon, What: event.LogChanged, Changes: []SettingChange{{Key: "timeout", Old: "10s", New: "15s"}},
	}
	got, err := of(b, readEndpointLog, "shop", "")
	if want := []LogEntry{paused, resumed, changed}; err != nil || !reflect.DeepEqual(got.Entries, want) {
		t.Errorf("shop is told %+v (%v)", got, err)
	}

	paused.Key, paused.From = "night", "192.0.2.1"
	got, err = of(b, readEndpointLog, "", "")
	if want := []LogEntry{paused, resumed, changed}; err != nil || !reflect.DeepEqual(got.Entries, want) {
		t.Errorf("the operator is told %+v (%v)", got, err)
	}

	_, err = of(b, readEndpointLog, "other", "")
	refused(t, "another tenant's", err, 404, "there is no endpoint")
	_, err = of(b, readEndpointLog, "shop", "?limit=5")
	refused(t, "a parameter that is none", err, 400, "limit")
}

func TestWhatAPersonDoesIsInTheLogOfTheEndpoint(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := &kept{}
	b.endpoints = store
	b.deadLetters = &letterPages{}
	b.replays = &replayList{}
	id := "evt_" + strings.Repeat("0a", 32)
	if _, err := ask(b, redriveDeadLetters, "shop", "/",
		`{"dead_letters":[{"event_id":"`+id+`","endpoint":"a"}]}`); err != nil {
		t.Fatal(err)
	}
	by := event.Actor{Name: "shop", From: "192.0.2.1"}
	if e := store.noted["shop/a"]; e.What != event.LogRedriven || e.N != 1 || e.By != by {
		t.Errorf("redriven: %+v", e)
	}
	if _, err := ask(b, createReplay, "shop", "/", `{"endpoint":"orders","since":"2026-11-24T08:00:00Z"}`); err != nil {
		t.Fatal(err)
	}
	if e := store.noted["shop/orders"]; e.What != event.LogReplayBegun || e.By != by {
		t.Errorf("replayed: %+v", e)
	}

	// It is done, also if that cannot be written down.
	store.err = errors.New("redis is down")
	if _, err := ask(b, redriveDeadLetters, "shop", "/",
		`{"dead_letters":[{"event_id":"`+id+`","endpoint":"a"}]}`); err != nil {
		t.Error(err)
	}
}

func TestAttemptsAreShownWithWhatIsKeptOfThem(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := &kept{page: []queue.EndpointAttempt{{
		AttemptRecord: event.AttemptRecord{
			At:       noon,
			Status:   503,
			Duration: 12 * time.Millisecond,
			N:        4,
			Text:     "busy",
			Reason:   event.ReasonRetry,
			Replica:  "relay-b",
			Headers:  []string{"server: nginx", "retry-after: 5"},
		},
		EventID: "evt_1",
		Kind:    queue.Retry,
	}}}
	b.endpoints = store
	want := EndpointAttempt{
		Attempt: Attempt{At: noon, Status: 503, DurationMS: 12, Number: 4, Text: "busy", Reason: "retry",
			Replica: "relay-b", Headers: map[string]string{"server": "nginx", "retry-after": "5"}},
		EventID: "evt_1",
		Outcome: "retry",
	}
	got, err := of(b, listAttempts, "", "?failed=true&limit=7&cursor=c")
	if err != nil || got.Next != "next" || !reflect.DeepEqual(got.Attempts, []EndpointAttempt{want}) {
		t.Errorf("%+v (%v)", got, err)
	}
	if asked := (queue.AttemptsQuery{Endpoint: "shop/orders", Failed: true, Cursor: "c", Most: 7}); store.asked != asked {
		t.Errorf("asked for %+v", store.asked)
	}

	want.Replica = "" // machines are the operator's
	got, err = of(b, listAttempts, "shop", "")
	if err != nil || !reflect.DeepEqual(got.Attempts, []EndpointAttempt{want}) || store.asked.Most != defaultLimit {
		t.Errorf("%+v (%v), asked for %+v", got, err, store.asked)
	}
	_, err = of(b, listAttempts, "other", "")
	refused(t, "another tenant's", err, 404, "there is no endpoint")
	_, err = of(b, listAttempts, "shop", "?failed=perhaps")
	refused(t, "neither true nor false", err, 400, "failed")
	store.err = event.ErrCursor
	_, err = of(b, listAttempts, "shop", "?cursor=x")
	refused(t, "a wrong cursor", err, 400, "cursor")
}

func TestTheStoreIsToldWhoPausesAnEndpoint(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	store := &kept{}
	b.endpoints = store
	for tenant, name := range map[string]string{"": "operator", "shop": "shop"} {
		if _, err := of(b, pauseEndpoint, tenant, ""); err != nil || store.by.Name != name || store.by.From == "" {
			t.Errorf("%s: %+v (%v)", name, store.by, err)
		}
	}
}

func TestAnEndpointShowsItsSettingsAndWhenItsDeliveriesAreGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.endpoints = &kept{}
	b.Use(Settings{
		Tenants: []Tenant{{Name: "shop", Endpoints: []Endpoint{
			{ID: "shop/orders", Attempts: 10, MaxAge: 168 * time.Hour}, {ID: "shop/b"},
		}}},
		Retention:        48 * time.Hour,
		EndpointSettings: func(name string) *EndpointSettings { return &EndpointSettings{At: name} },
	})
	if got, err := of(b, readEndpoint, "shop", ""); err != nil || got.Settings == nil || got.Settings.At != "shop/orders" {
		t.Errorf("%+v (%v)", got, err)
	}

	c, _ := b.call("shop", "/", "")
	at := func(endpoint string, parked queue.Parked) time.Time {
		return c.showEndpoint(queue.EndpointHealth{Endpoint: endpoint, Parked: parked, OldestSince: noon}).GivenUpFirstAt
	}
	for _, x := range []struct {
		endpoint string
		parked   queue.Parked
		want     time.Time
	}{
		{endpoint: "shop/orders", want: noon.Add(168 * time.Hour)},
		{endpoint: "shop/orders", parked: queue.ParkedOpen, want: noon.Add(168 * time.Hour)},
		{endpoint: "shop/orders", parked: queue.ParkedPaused, want: noon.Add(48 * time.Hour)},
		{endpoint: "shop/b", parked: queue.ParkedGone, want: noon.Add(48 * time.Hour)},
		{endpoint: "shop/b"}, // it is never too old
	} {
		if got := at(x.endpoint, x.parked); !got.Equal(x.want) {
			t.Errorf("%s, %q: given up at %s, want %s", x.endpoint, x.parked, got, x.want)
		}
	}

	open := event.DeliveryRecord{Endpoint: "shop/orders", State: event.StateRetrying, Attempts: 3, Since: noon}
	if d := c.showDelivery(open); d.AttemptsMax != 10 || !d.GivenUpAt.Equal(noon.Add(168*time.Hour)) {
		t.Errorf("%+v", d)
	}
	done := event.DeliveryRecord{Endpoint: "shop/orders", State: event.StateDelivered, Attempts: 3}
	if d := c.showDelivery(done); d.AttemptsMax != 10 || !d.GivenUpAt.IsZero() {
		t.Errorf("%+v", d)
	}
	if d := c.showDelivery(event.DeliveryRecord{Endpoint: "shop/gone", Since: noon}); d.AttemptsMax != 0 {
		t.Errorf("of an endpoint that is not in the config: %+v", d)
	}
}
