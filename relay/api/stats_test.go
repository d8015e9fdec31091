package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/stats"
)

// shelves has rows of statistics by their pages, and notes which pages were asked for.
type shelves struct {
	rows  map[stats.Page]map[string]string
	asked []stats.Page
	err   error
}

func (s *shelves) Stats(_ context.Context, pages []stats.Page) (out []map[string]string, _ error) {
	s.asked = append(s.asked, pages...)
	for _, p := range pages {
		out = append(out, s.rows[p])
	}
	return out, s.err
}

// put puts a row into the page that a time is in.
func (s *shelves) put(subject string, r stats.Resolution, at time.Time, kind, row string) {
	cell := at.Unix() / int64(r.Cell/time.Second)
	p := stats.Page{Subject: subject, Resolution: r, Number: cell / r.Cells}
	if s.rows == nil {
		s.rows = make(map[stats.Page]map[string]string)
	}
	if s.rows[p] == nil {
		s.rows[p] = make(map[string]string)
	}
	s.rows[p][kind+fmt.Sprint(cell%r.Cells)] = row
}

// withHistory is a bench that keeps statistics.
func withHistory(s *shelves) *bench {
	b := newBench(Options{})
	b.stats = s
	set := b.current.Load().Settings
	set.History = 24 * time.Hour
	b.Use(set)
	return b
}

func TestASeriesIsOfWhatTheCallerNamesAndMaySee(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ tenant, query, of, subject string }{
		{tenant: "shop", query: "", of: "shop", subject: "shop/"},
		{tenant: "shop", query: "endpoint=orders", of: "shop/orders", subject: "shop/orders"},
		{tenant: "shop", query: "tenant=shop&endpoint=shop/orders", of: "shop/orders", subject: "shop/orders"},
		{tenant: "", query: "", of: "all", subject: "/"},
		{tenant: "", query: "tenant=other", of: "other", subject: "other/"},
		{tenant: "", query: "endpoint=other/mail", of: "other/mail", subject: "other/mail"},
		{tenant: "", query: "of=callbacks", of: "callbacks", subject: "callbacks"},
	} {
		store := &shelves{}
		got, err := ask(withHistory(store), readStats, x.tenant, "/?"+x.query, "")
		if err != nil || got.Of != x.of {
			t.Errorf("%q %s: of %q (%v)", x.tenant, x.query, got.Of, err)
		}
		for _, p := range store.asked {
			if p.Subject != x.subject {
				t.Errorf("%q %s asks for %q", x.tenant, x.query, p.Subject)
			}
		}
	}
	for _, x := range []struct{ tenant, query, detail string }{
		{tenant: "shop", query: "endpoint=other/mail", detail: "endpoint: other/mail is not yours"},
		{tenant: "shop", query: "tenant=other", detail: "tenant: a tenant sees only its own"},
		{tenant: "shop", query: "of=callbacks", detail: "of: there is no such parameter here"},
		{tenant: "", query: "of=callbacks&tenant=shop", detail: "of: must be callbacks, without endpoint and tenant"},
		{tenant: "", query: "of=queues", detail: "of: must be callbacks"},
		{tenant: "", query: "endpoint=shop/none", detail: "endpoint: there is no endpoint"},
		{tenant: "", query: "limit=1", detail: "limit: there is no such parameter here"},
	} {
		store := &shelves{}
		_, err := ask(withHistory(store), readStats, x.tenant, "/?"+x.query, "")
		refused(t, x.query, err, 400, x.detail)
		if len(store.asked) > 0 {
			t.Errorf("%q %s reads %v", x.tenant, x.query, store.asked)
		}
	}
}

func TestASeriesHasAtMost360Points(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		query, step string
		points      int
	}{
		{query: "", step: "5m0s", points: 288},
		{query: "since=1h", step: "1m0s", points: 60},
		{query: "since=6h", step: "5m0s", points: 72},
		{query: "since=6h&step=1m", step: "1m0s", points: 360},
		{query: "since=7d", step: "1h0m0s", points: 168},
		{query: "since=90d", step: "2h0m0s", points: 180},
		{query: "since=15d&step=1h", step: "1h0m0s", points: 360},
		{query: "since=15d&step=24h", step: "24h0m0s", points: 15},
		{query: "since=10s", step: "1m0s", points: 1},
		{query: "since=2h&until=1h", step: "1m0s", points: 60},
		{query: "since=1h&until=2030-01-01T00:00:00Z", step: "1m0s", points: 60},
	} {
		store := &shelves{}
		got, err := ask(withHistory(store), readStats, "shop", "/?"+x.query, "")
		step := time.Duration(got.StepS) * time.Second
		if err != nil || step.String() != x.step || len(got.Points) != x.points {
			t.Errorf("%s: %d points of %s (%v), want %d of %s", x.query, len(got.Points), step, err, x.points, x.step)
		}
		if len(store.asked) > 9 {
			t.Errorf("%s: %d pages", x.query, len(store.asked))
		}
	}
	for query, detail := range map[string]string{
		"since=6h1m&step=1m":                 "step: there would be 361 points, and there may be 360",
		"step=7m":                            "step: must be one of 1m, 5m, 10m, 15m, 30m, 1h, 2h, 3h, 6h, 12h, 24h",
		"step=0":                             "step: must be one of",
		"since=3d&step=30m":                  "step: must be 1h or more",
		"since=1h&until=2h":                  "since: must be before until",
		"since=30d&until=20d":                "since: must be before until",
		"since=2030-01-01T00:00:00Z&step=1h": "since: must be before until",
		"since=soon":                         "since: must be a time like",
	} {
		_, err := ask(withHistory(&shelves{}), readStats, "shop", "/?"+query, "")
		refused(t, query, err, 400, detail)
	}
}

func TestASeriesShowsCountsGaugesAndPercentiles(t *testing.T) {
	t.Parallel()
	store := &shelves{}
	store.put("shop/orders", stats.FiveMinutes, noon.Add(-time.Hour), "", "A6B2E1F1I3J4K5L7MzN8")
	store.put("shop/orders", stats.FiveMinutes, noon.Add(-time.Hour), "a", "H2s")
	store.put("shop/orders", stats.FiveMinutes, noon.Add(-time.Hour), "d", "K1")
	store.put("callbacks", stats.FiveMinutes, noon.Add(-time.Hour), "", "O5P1Q2R3S4T6U7V8W9")
	store.put("callbacks", stats.FiveMinutes, noon.Add(-time.Hour), "a", "B5")
	b := withHistory(store)
	got, err := ask(b, readStats, "shop", "/?endpoint=orders&since=2h&step=5m", "")
	if err != nil || !got.Since.Equal(noon.Add(-2*time.Hour)) || !got.Until.Equal(noon) || len(got.Points) != 24 {
		t.Fatalf("%v: %+v", err, got)
	}
	p := got.Points[12]
	if !p.At.Equal(noon.Add(-time.Hour)) || p.Delivered != 6 || p.Failed != 7 || p.Dead != 4 || p.Open != 5 ||
		p.Waiting != 7 || p.OldestS != 35 || p.DeadLetters != 8 || p.Answers != nil {
		t.Errorf("%+v", p)
	}
	if want := "map[3xx:1 denied:1 egress:3 timeout:2]"; fmt.Sprint(p.Failures) != want {
		t.Errorf("failures: %v", p.Failures)
	}
	if p.Attempt.P50MS < 64 || p.Attempt.P99MS > 128 || p.Delivery.P50MS < 512 || p.Delivery.P50MS > 1024 ||
		p.Durable != nil {
		t.Errorf("%+v, %+v", p.Attempt, p.Delivery)
	}
	if got.Total.Delivered != 6 || got.Total.Open != 5 || got.Points[11].Attempt != nil {
		t.Errorf("total %+v", got.Total)
	}

	got, err = ask(b, readStats, "", "/?of=callbacks&since=2h&step=5m", "")
	p = got.Total
	want := "map[failure:1 no_room:3 refused:4 success:5 unread:2] map[duplicate:7 new:6 quarantined:9 unrouted:8]"
	if err != nil || fmt.Sprint(p.Answers, p.Events) != want || p.Durable.P95MS > 2 || p.Delivered != 0 {
		t.Errorf("callbacks: %+v (%v)", p, err)
	}
}

func TestWithoutStatisticsASeriesIsNotFound(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	_, err := ask(b, readStats, "shop", "/", "")
	refused(t, "off", err, 404, "console.history is 0")
	if days, err := b.Days(t.Context(), []string{"shop/a"}); err != nil || len(days) != 0 {
		t.Errorf("%v, %v", days, err)
	}
	b = withHistory(&shelves{err: errors.New("it is down")})
	_, err = ask(b, readStats, "shop", "/", "")
	refused(t, "down", err, 503, "cannot read statistics")
}

func TestDaysAreReadOnceInHalfAMinute(t *testing.T) {
	t.Parallel()
	store := &shelves{}
	store.put("shop/a", stats.FiveMinutes, noon.Add(-24*time.Hour), "", "A9")
	store.put("shop/a", stats.FiveMinutes, noon.Add(-5*time.Minute), "", "A1B2J3")
	store.put("shop/a", stats.FiveMinutes, noon.Add(-15*time.Minute), "", "A4")
	store.put("shop/a", stats.FiveMinutes, noon.Add(-25*time.Hour), "", "A8")
	b := withHistory(store)
	now := noon
	b.now = func() time.Time { return now }
	names := []string{"shop/orders", "shop/a", "shop/a"}
	for i := range 100 {
		names = append(names, fmt.Sprint("other/", i))
	}
	days, err := b.Days(t.Context(), names)
	if err != nil || len(days) != 102 {
		t.Fatalf("%d days, %v", len(days), err)
	}
	day := days["shop/a"]
	if day[0] != (DayCell{Delivered: 9}) || day[95] != (DayCell{Delivered: 5, Failed: 2, Dead: 3}) {
		t.Errorf("%v", day)
	}
	if first := store.asked; len(first) > 3*102 {
		t.Errorf("%d pages were read", len(first))
	}

	store.asked = nil
	now = noon.Add(29 * time.Second)
	again, err := b.Days(t.Context(), []string{"shop/a", "shop/b"})
	if err != nil || again["shop/a"] != day || slices.ContainsFunc(store.asked, func(p stats.Page) bool {
		return !strings.HasPrefix(p.Subject, "shop/b")
	}) {
		t.Errorf("read again: %v (%v)", store.asked, err)
	}
	now = noon.Add(30 * time.Second)
	if again, err = b.Days(t.Context(), []string{"shop/a"}); err != nil || again["shop/a"] == day {
		t.Errorf("after half a minute it is still the old one (%v)", err)
	}
	if n := len(b.days.by); n != 2 {
		t.Errorf("%d days are kept, and 2 are fresh", n)
	}
}
