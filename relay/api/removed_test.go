package api

import (
	"context"
	"fmt"
	"testing"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// gone is the store of an endpoint that was removed.
type gone struct{ counting }

func (*gone) Attempts(_ context.Context, q queue.AttemptsQuery) ([]queue.EndpointAttempt, string, error) {
	return []queue.EndpointAttempt{{EventID: q.Endpoint}}, "", nil
}

func (*gone) EndpointLog(_ context.Context, endpoint string) ([]event.LogEntry, error) {
	return []event.LogEntry{{What: event.LogRemoved, Text: endpoint}}, nil
}

func TestAnEndpointThatWasRemovedIsShownToTheOperatorAlone(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.latest.value = &snapshot{busy: []string{"shop/old"}}
	b.endpoints = &gone{counting{health: map[string]queue.EndpointHealth{"shop/old": {Endpoint: "shop/old", Dead: 3}}}}
	named := func(tenant string) *call {
		c, _ := b.call(tenant, "/", "")
		c.SetParamNames("tenant", "endpoint")
		c.SetParamValues("shop", "old")
		return c
	}

	health, err := readEndpoint(named(""))
	if err != nil || health.Endpoint != "shop/old" || health.State != EndpointRemoved || health.Dead != 3 {
		t.Errorf("%+v, %v", health, err)
	}
	attempts, err := listAttempts(named(""))
	if err != nil || len(attempts.Attempts) != 1 || attempts.Attempts[0].EventID != "shop/old" {
		t.Errorf("%+v, %v", attempts, err)
	}
	log, err := readEndpointLog(named(""))
	if err != nil || len(log.Entries) != 1 || log.Entries[0].Text != "shop/old" {
		t.Errorf("%+v, %v", log, err)
	}

	_, err = readEndpoint(named("shop"))
	refused(t, "the tenant's", err, 404, `there is no endpoint "old"`)
	_, err = pauseEndpoint(named(""))
	refused(t, "a pause", err, 404, becomesOfRemoved)
}

func TestAStatusCountsWhatEndpointsHoldThatWereRemoved(t *testing.T) {
	t.Parallel()
	store := &counting{health: map[string]queue.EndpointHealth{
		"shop/orders": {Endpoint: "shop/orders", Open: 7, Dead: 9}, "shop/empty": {Endpoint: "shop/empty"},
	}}
	const removed = 2*maxLimit + 1
	for i := range removed {
		name := fmt.Sprintf("old/e%05d", i)
		store.health[name] = queue.EndpointHealth{Endpoint: name, Open: 1, Waiting: 2, Dead: 3}
	}
	b := statusBench(store)
	s := mustStatus(t, b, "")
	want := Removed{Endpoints: removed, Open: removed, Waiting: 2 * removed, Dead: 3 * removed}
	if s.Removed == nil || *s.Removed != want || s.Open != 7 || s.Dead != 9 {
		t.Errorf("%+v, want %+v; %d open and %d dead of the others", s.Removed, want, s.Open, s.Dead)
	}
	if store.asked["health"] > 5 {
		t.Errorf("%d questions for the health of endpoints", store.asked["health"])
	}
	named := 0
	for _, p := range s.ProblemList {
		if p.Code == EndpointUnknown {
			named++
		}
	}
	if named != unknownNamed+1 {
		t.Errorf("%d problems of endpoints that were removed", named)
	}

	if s := mustStatus(t, b, "shop"); s.Removed != nil {
		t.Errorf("a tenant is told of %+v", s.Removed)
	}
	if s := mustStatus(t, statusBench(&counting{}), ""); s.Removed != nil {
		t.Errorf("none was removed, and the status has %+v", s.Removed)
	}
}
