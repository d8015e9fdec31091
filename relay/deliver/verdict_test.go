package deliver

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// The schedule and age of config.example.yaml.
var testPolicy = Policy{
	Retry: []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	},
	MaxAge: 168 * time.Hour,
}

var (
	testAccepted = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	testNow      = testAccepted.Add(time.Minute)
)

// row is one line of Decide's table, written down a second time.
type row int

const (
	rowDelivered row = iota
	rowGone
	rowScheduleWithHint
	rowSchedule
	rowRefused
)

func rowOf(status int) row {
	switch {
	case status >= 200 && status <= 299:
		return rowDelivered
	case status == 410:
		return rowGone
	case status == 408, status == 425, status == 429, status >= 500 && status <= 599:
		return rowScheduleWithHint
	case status >= 300 && status <= 399, status == 401, status == 403, status == 404:
		return rowSchedule
	case status >= 400 && status <= 499:
		return rowRefused
	}
	return rowSchedule // odd
}

func TestEveryStatusGetsItsVerdictAfterEveryAttempt(t *testing.T) {
	t.Parallel()
	const hint = 40 * time.Hour // longer than every pause and than the cap
	for status := -1; status <= 1100; status++ {
		for n := 1; n <= 12; n++ {
			a := event.Attempt{Status: status, RetryAfter: hint}
			want := Verdict{Kind: queue.Retry}
			if n <= len(testPolicy.Retry) {
				want.Due = testNow.Add(testPolicy.Retry[n-1])
			} else {
				want.Kind = queue.Dead
			}
			switch rowOf(status) {
			case rowDelivered:
				want = Verdict{Kind: queue.Delivered}
			case rowGone:
				want = Verdict{Kind: queue.Gone}
			case rowScheduleWithHint:
				if want.Kind == queue.Retry {
					want.Due = testNow.Add(24 * time.Hour)
				}
			case rowRefused:
				if n >= 4 {
					want = Verdict{Kind: queue.Dead, Reason: fmt.Sprintf("the receiver refuses this body: %d", status)}
				}
			case rowSchedule:
			}
			got := Decide(a, n, testPolicy, testNow, testAccepted, 0)
			if want.Kind == queue.Dead && want.Reason == "" {
				if !strings.HasPrefix(got.Reason, fmt.Sprintf("%d attempts failed, the last: ", n)) {
					t.Errorf("%d after attempt %d: reason %q", status, n, got.Reason)
				}
				got.Reason = ""
			}
			if got != want {
				t.Errorf("%d after attempt %d: got %v, want %v", status, n, got, want)
			}
		}
	}
}

func TestWhatSpeaksAgainstAnEndpointIsWhatGoesOnTheScheduleButForARefusal(t *testing.T) {
	t.Parallel()
	for status := -1; status <= 1100; status++ {
		want := queue.Answers
		if r := rowOf(status); r == rowScheduleWithHint || r == rowSchedule {
			want = queue.Fails
		}
		if got := signalOf(event.Attempt{Status: status}); got != want {
			t.Errorf("%d: got %d, want %d", status, got, want)
		}
	}
	for text, want := range map[string]queue.Signal{
		"timeout: no whole answer in time": queue.Fails, "refused: …": queue.Fails, "dns: …": queue.Fails,
		event.ClassForbidden + ": private address 10.0.0.7": queue.NoSignal,
	} {
		if got := signalOf(event.Attempt{Err: text}); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}

func TestEveryNetworkErrorGoesOnTheSchedule(t *testing.T) {
	t.Parallel()
	for _, class := range []string{"timeout", "refused", "reset", "dns", "tls", "eof", "protocol", "other", "?"} {
		a := event.Attempt{Err: class + ": it failed"}
		for n := 1; n <= 9; n++ {
			got := Decide(a, n, testPolicy, testNow, testAccepted, 0)
			if want := (Verdict{Kind: queue.Retry, Due: testNow.Add(testPolicy.Retry[n-1])}); got != want {
				t.Errorf("%s after attempt %d: got %v, want %v", class, n, got, want)
			}
		}
		got := Decide(a, 10, testPolicy, testNow, testAccepted, 0)
		if want := (Verdict{Kind: queue.Dead, Reason: "10 attempts failed, the last: " + a.Err}); got != want {
			t.Errorf("%s after attempt 10: got %v, want %v", class, got, want)
		}
		// An answer that was cut short is no answer, whatever its status.
		a.Status = 200
		if got := Decide(a, 1, testPolicy, testNow, testAccepted, 0); got.Kind != queue.Retry {
			t.Errorf("%s with status 200: got %v", class, got)
		}
	}
}

func TestWhatTheEgressGuardForbidsIsDeadAtOnceWithItsReason(t *testing.T) {
	t.Parallel()
	a := event.Attempt{Err: event.ClassForbidden + ": private address 10.0.0.7"}
	want := Verdict{Kind: queue.Dead, Reason: "forbidden: private address 10.0.0.7"}
	if got := Decide(a, 1, testPolicy, testNow, testAccepted, 0); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestADeadDeliverySaysWhy(t *testing.T) {
	t.Parallel()
	short := Policy{Retry: testPolicy.Retry[:1], MaxAge: time.Hour}
	late := testAccepted.Add(168 * time.Hour)
	cases := map[string]struct {
		a    event.Attempt
		n    int
		p    Policy
		now  time.Time
		want string
	}{
		"schedule used up": {event.Attempt{Status: 503}, 10, testPolicy, testNow,
			"10 attempts failed, the last: 503 Service Unavailable"},
		"beyond the schedule": {event.Attempt{Status: 404}, 11, testPolicy, testNow,
			"11 attempts failed, the last: 404 Not Found"},
		"a status without a name": {event.Attempt{Status: 599}, 10, testPolicy, testNow,
			"10 attempts failed, the last: 599"},
		"neither status nor error": {event.Attempt{}, 10, testPolicy, testNow, "10 attempts failed, the last: no answer"},
		"no retries at all": {event.Attempt{Status: 500}, 1, Policy{}, testNow,
			"the only attempt failed: 500 Internal Server Error"},
		"refused with no retries": {event.Attempt{Status: 422}, 1, Policy{}, testNow,
			"the receiver refuses this body: 422"},
		"refused, a short schedule": {event.Attempt{Status: 400}, 2, short, testNow, "the receiver refuses this body: 400"},
		"refused after other trouble": {event.Attempt{Status: 413}, 6, testPolicy, testNow,
			"the receiver refuses this body: 413"},
		"as old as the policy allows": {event.Attempt{Status: 503}, 3, testPolicy, late, "older than max_age 168h"},
		"older than an hour":          {event.Attempt{Err: "timeout: 15s"}, 1, short, late, "older than max_age 1h"},
		"refused, and too old":        {event.Attempt{Status: 422}, 1, testPolicy, late, "older than max_age 168h"},
		"max age of 90 minutes": {
			event.Attempt{Status: 500}, 1, Policy{testPolicy.Retry, 90 * time.Minute}, late, "older than max_age 1h30m",
		},
		"max age of 10 minutes": {
			event.Attempt{Status: 500}, 1, Policy{testPolicy.Retry, 10 * time.Minute}, late, "older than max_age 10m",
		},
		"max age of 90 seconds": {
			event.Attempt{Status: 500}, 1, Policy{testPolicy.Retry, 90 * time.Second}, late, "older than max_age 1m30s",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Decide(c.a, c.n, c.p, c.now, testAccepted, 0)
			if want := (Verdict{Kind: queue.Dead, Reason: c.want}); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestAgeKeepsNothingFromBeingDeliveredOrParked(t *testing.T) {
	t.Parallel()
	late := testAccepted.Add(1000 * time.Hour)
	for status, want := range map[int]queue.OutcomeKind{200: queue.Delivered, 410: queue.Gone} {
		if got := Decide(event.Attempt{Status: status}, 99, testPolicy, late, testAccepted, 0); got != (Verdict{Kind: want}) {
			t.Errorf("%d: got %v", status, got)
		}
	}
}

func TestRetryAfterOnlyPostponesAndOnlyWhereTheTableSaysSo(t *testing.T) {
	t.Parallel()
	cases := []struct {
		status int
		hint   time.Duration
		want   time.Duration
	}{
		{503, 0, 5 * time.Second},
		{503, time.Second, 5 * time.Second},
		{503, -time.Hour, 5 * time.Second},
		{503, time.Minute, time.Minute},
		{429, time.Minute, time.Minute},
		{408, time.Minute, time.Minute},
		{425, time.Minute, time.Minute},
		{500, 24 * time.Hour, 24 * time.Hour},
		{500, 25 * time.Hour, 24 * time.Hour},
		{500, 1<<63 - 1, 24 * time.Hour},
		{302, time.Minute, 5 * time.Second},
		{401, time.Minute, 5 * time.Second},
		{404, time.Minute, 5 * time.Second},
		{422, time.Minute, 5 * time.Second},
		{100, time.Minute, 5 * time.Second},
	}
	for _, c := range cases {
		got := Decide(event.Attempt{Status: c.status, RetryAfter: c.hint}, 1, testPolicy, testNow, testAccepted, 0)
		if want := (Verdict{Kind: queue.Retry, Due: testNow.Add(c.want)}); got != want {
			t.Errorf("%d with Retry-After %s: got %v, want %v", c.status, c.hint, got, want)
		}
	}
}

func TestARetryFallsDueAtMaxAgeAtTheLatest(t *testing.T) {
	t.Parallel()
	end := testAccepted.Add(testPolicy.MaxAge)
	a := event.Attempt{Status: 503, RetryAfter: 24 * time.Hour}
	got := Decide(a, 1, testPolicy, end.Add(-time.Hour), testAccepted, 0)
	if got != (Verdict{Kind: queue.Retry, Due: end}) {
		t.Errorf("got %v, want due at %s", got, end)
	}
	forever := Policy{Retry: testPolicy.Retry}
	now := testAccepted.Add(10_000 * time.Hour)
	want := Verdict{Kind: queue.Retry, Due: now.Add(24 * time.Hour)}
	if got := Decide(a, 1, forever, now, testAccepted, 0); got != want {
		t.Errorf("without max age: got %v", got)
	}
}

func TestWhateverHappensARetryLiesAheadAndWithinTheAge(t *testing.T) {
	t.Parallel()
	for range 20_000 {
		p := Policy{MaxAge: rand.N(200 * time.Hour)}
		for range rand.IntN(12) {
			p.Retry = append(p.Retry, rand.N(30*time.Hour))
		}
		a := event.Attempt{Status: rand.IntN(700), RetryAfter: rand.N(60 * time.Hour)}
		n, now := 1+rand.IntN(12), testAccepted.Add(rand.N(250*time.Hour))
		got := Decide(a, n, p, now, testAccepted, rand.Float64())
		switch got.Kind {
		case queue.Retry:
			if got.Due.Before(now) || p.MaxAge > 0 && got.Due.After(testAccepted.Add(p.MaxAge)) || got.Reason != "" {
				t.Fatalf("%v attempt %d at %s by %v: %v", a, n, now, p, got)
			}
		case queue.Dead:
			if got.Reason == "" || !got.Due.IsZero() {
				t.Fatalf("%v attempt %d by %v: %v", a, n, p, got)
			}
		case queue.Delivered, queue.Gone:
		default:
			t.Fatalf("%v attempt %d by %v: %v", a, n, p, got)
		}
	}
}
