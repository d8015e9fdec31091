package event_test

import (
	"testing"
	"time"

	"kuairelay/relay/event"
)

func TestTheClassOfAnAttemptIsTheBeginningOfItsError(t *testing.T) {
	t.Parallel()
	for _, class := range event.Classes() {
		if got := event.ClassOf(class + ": and why: so"); got != class {
			t.Errorf("%s: %q", class, got)
		}
	}
	for _, text := range []string{"", "nonsense", "Timeout: x", "timeouts: x", "busy: timeout"} {
		if got := event.ClassOf(text); got != "" {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// What refuses one body, and what the egress guard has refused, says nothing against the endpoint.
func TestARowOfFailuresCountsWhatSpeaksAgainstTheEndpoint(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	forbidden := event.AttemptRecord{Class: event.ClassForbidden}
	status := func(codes ...int) (all []event.AttemptRecord) {
		for i, code := range codes {
			all = append(all, event.AttemptRecord{Status: code, At: noon.Add(-time.Duration(i) * time.Minute)})
		}
		return all
	}
	for _, x := range []struct {
		name   string
		latest []event.AttemptRecord
		n      int
		whole  bool
	}{
		{name: "none", latest: nil, n: 0},
		{name: "delivered", latest: status(200, 500), n: 0, whole: true},
		{name: "one", latest: status(500, 200, 500), n: 1, whole: true},
		{name: "of all kinds", latest: status(0, 503, 429, 408, 302, 401, 404, 204), n: 7, whole: true},
		{name: "refused bodies", latest: status(422, 503), n: 0, whole: true},
		{name: "a refused body between", latest: status(503, 400, 503), n: 1, whole: true},
		{name: "gone", latest: status(410, 503), n: 0, whole: true},
		{name: "no end", latest: status(503, 503), n: 2},
		{name: "forbidden between", latest: append(append(status(503), forbidden), status(503, 200)...), n: 2, whole: true},
	} {
		n, since, whole := event.FailedInRow(x.latest)
		if n != x.n || whole != x.whole || since.IsZero() != (n == 0) {
			t.Errorf("%s: %d since %s, whole %v", x.name, n, since, whole)
		}
	}
	if _, since, _ := event.FailedInRow(status(503, 503, 503, 200)); !since.Equal(noon.Add(-2 * time.Minute)) {
		t.Errorf("since %s", since)
	}
}
