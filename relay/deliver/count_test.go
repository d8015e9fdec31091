package deliver

import (
	"math/bits"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/stats"
)

func TestAnAttemptCountsAsWhatCameOfIt(t *testing.T) {
	t.Parallel()
	for want, attempts := range map[stats.Measure][]event.Attempt{
		stats.Delivered:   {{Status: 200}, {Status: 204}},
		stats.Timeout:     {{Err: "timeout: no whole answer in time"}},
		stats.Connect:     {{Err: "refused: x"}, {Err: "reset: x"}, {Err: "dns: x"}, {Err: "protocol: x"}, {Status: 101}},
		stats.TLS:         {{Err: "tls: x"}},
		stats.Redirect:    {{Status: 301}, {Status: 308}},
		stats.Denied:      {{Status: 401}, {Status: 403}, {Status: 404}},
		stats.Refused:     {{Status: 400}, {Status: 410}, {Status: 429}},
		stats.ServerError: {{Status: 500}, {Status: 503}},
		stats.Egress:      {{Err: "forbidden: private address 10.0.0.7"}},
	} {
		for _, a := range attempts {
			if got := measureOf(a); got != want {
				t.Errorf("%+v counts as %d, want %d", a, got, want)
			}
		}
	}
}

func TestAnEventThatIsSentAgainHasWaitedSinceThen(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := stats.NewCounters(func() time.Time { return now })
	c.Use(true)
	d := &event.Delivery{
		Endpoint: "shop/a", Reason: event.ReasonReplay, Since: now.Add(-time.Second),
		Event: &event.Event{AcceptedAt: now.Add(-24 * time.Hour)},
	}
	count(c, queue.Outcome{Delivery: d, Kind: queue.Delivered, Attempt: &event.Attempt{Status: 200}}, true, now)
	for _, cell := range c.Take() {
		if within := cell.Waited[bits.Len(1000)]; within != 1 {
			t.Errorf("%s: %v, not a second", cell.Subject, cell.Waited)
		}
	}
}

func TestAnOutcomeIsCountedOnceItIsSettled(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := &event.Attempt{Status: 200, Duration: time.Millisecond}
	bad := &event.Attempt{Status: 500, Duration: time.Second}
	for _, x := range []struct {
		kind                             queue.OutcomeKind
		attempt                          *event.Attempt
		ended                            bool
		delivered, failed, dead, waiting int64
	}{
		{kind: queue.Delivered, attempt: good, ended: true, delivered: 1, waiting: 1},
		{kind: queue.Delivered, attempt: good, delivered: 1},
		{kind: queue.Retry, attempt: bad, ended: true, failed: 1},
		{kind: queue.Dead, attempt: bad, ended: true, failed: 1, dead: 1},
		{kind: queue.Dead, attempt: bad, failed: 1},
		{kind: queue.Dead, ended: true, dead: 1},
		{kind: queue.Released, ended: true},
	} {
		c := stats.NewCounters(func() time.Time { return now })
		c.Use(true)
		d := &event.Delivery{Endpoint: "shop/a", Event: &event.Event{}, Since: now.Add(-time.Minute)}
		count(c, queue.Outcome{Delivery: d, Kind: x.kind, Attempt: x.attempt}, x.ended, now)

		var got stats.Cell
		for _, cell := range c.Take() {
			if cell.Subject == "shop/a" {
				got = cell
			}
		}
		var waited int64
		for _, n := range got.Waited {
			waited += n
		}
		if got.Counts[stats.Delivered] != x.delivered || got.Counts.Failed() != x.failed ||
			got.Counts[stats.Dead] != x.dead || waited != x.waiting {
			t.Errorf("%+v: %v", x, got)
		}
	}
}
