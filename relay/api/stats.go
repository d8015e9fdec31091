package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/stats"
)

const (
	// mostPoints bounds the points of a series, and usualPoints those of a series whose step the caller leaves to us.
	mostPoints  = 360
	usualPoints = 300
	// defaultSpan is how long a series is.
	defaultSpan = 24 * time.Hour
)

// The subjects of statistics that are neither an endpoint nor a tenant.
const (
	ofAll       = "all"
	ofCallbacks = "callbacks"
)

// Stats is a series: what was counted of an endpoint, a tenant, all endpoints, or of callbacks.
type Stats struct {
	Of     string       `json:"of" doc:"tenant/endpoint, a tenant, all, or callbacks"`
	Since  time.Time    `json:"since" doc:"when the first point begins"`
	Until  time.Time    `json:"until" doc:"when the last point ends"`
	StepS  int64        `json:"step_s" doc:"length of a point in seconds"`
	Total  StatsPoint   `json:"total" doc:"of all points: sums; of open, waiting, oldest_s and dead_letters the most"`
	Points []StatsPoint `json:"points" doc:"the oldest first; counts of the last 10 s may be missing"`
}

// StatsPoint is a step of a series. A number that is left out is 0.
type StatsPoint struct {
	At        time.Time        `json:"at" doc:"when it begins"`
	Delivered int64            `json:"delivered,omitempty" doc:"attempts that delivered"`
	Failed    int64            `json:"failed,omitempty" doc:"attempts that failed"`
	Failures  map[string]int64 `json:"failures,omitempty" doc:"the same by class: timeout, connect, tls, 3xx, denied (401, 403, 404), 4xx (any other), 5xx, egress"`
	Dead      int64            `json:"dead,omitempty" doc:"deliveries that were given up"`

	// Gauges are looked at once a minute.
	Open        int64 `json:"open,omitempty" doc:"the most deliveries that were queued, retrying or being sent"`
	Waiting     int64 `json:"waiting,omitempty" doc:"the most deliveries behind an older update of their waybill"`
	OldestS     int64 `json:"oldest_s,omitempty" doc:"age of the oldest open delivery in seconds, at the most"`
	DeadLetters int64 `json:"dead_letters,omitempty" doc:"the most dead letters that were there"`

	Attempt  *Percentiles `json:"attempt,omitempty" doc:"how long attempts took"`
	Delivery *Percentiles `json:"delivery,omitempty" doc:"the time from acceptance to delivery"`

	Answers map[string]int64 `json:"answers,omitempty" doc:"callbacks by answer: success, failure, unread, no_room, refused"`
	Events  map[string]int64 `json:"events,omitempty" doc:"items of callbacks by result: new, duplicate, unrouted, quarantined"`
	Durable *Percentiles     `json:"durable,omitempty" doc:"the time until callbacks were durable"`
}

// Percentiles are about: they are interpolated within a factor of two. In steps shorter than 5 minutes, they are those
// of the five minutes that the step is in.
type Percentiles struct {
	P50MS int64 `json:"p50_ms" doc:"half took at most about this long: interpolated within a factor of two"`
	P95MS int64 `json:"p95_ms" doc:"the same of 95 %"`
	P99MS int64 `json:"p99_ms" doc:"the same of 99 %"`
}

// The names of measures.
var (
	failureNames = map[stats.Measure]string{
		stats.Timeout: "timeout", stats.Connect: "connect", stats.TLS: "tls", stats.Redirect: "3xx", stats.Denied: "denied",
		stats.Refused: "4xx", stats.ServerError: "5xx", stats.Egress: "egress",
	}
	answerNames = map[stats.Measure]string{
		stats.Success: "success", stats.Failure: "failure", stats.Unread: "unread", stats.NoRoom: "no_room",
		stats.Stranger: "refused",
	}
	eventNames = map[stats.Measure]string{
		stats.New: "new", stats.Duplicate: "duplicate", stats.Unrouted: "unrouted", stats.Quarantined: "quarantined",
	}
)

// readStats gives a series.
func readStats(c *call) (Stats, error) {
	r := c.reader()
	f := r.filterOf("tenant", "endpoint")
	of := ""
	if c.tenant == "" {
		of = r.param("of")
	}
	if r.err == nil && of != "" && (of != ofCallbacks || f.Tenant+f.Endpoint != "") {
		r.err = badf("of: must be %s, without endpoint and tenant", ofCallbacks)
	}
	span := r.span()
	if err := r.end(); err != nil {
		return Stats{}, err
	}
	if c.settings.History == 0 {
		return Stats{}, echo.NewHTTPError(http.StatusNotFound, "no statistics are kept: console.history is 0")
	}

	out := Stats{Of: f.Endpoint}
	subject := f.Endpoint
	switch {
	case of != "":
		out.Of = of
		subject = stats.Callbacks
	case f.Endpoint == "" && f.Tenant != "":
		out.Of = f.Tenant
		subject = stats.Tenant(f.Tenant)
	case f.Endpoint == "":
		out.Of = ofAll
		subject = stats.All
	}

	series, err := c.series(c.ctx(), subject, span)
	if err != nil {
		return Stats{}, c.failed("read statistics", err)
	}
	out.show(series)
	return out, nil
}

// series reads a series of a subject (see package stats).
func (c *API) series(ctx context.Context, subject string, span stats.Span) (*stats.Series, error) {
	pages := span.Pages(subject)
	rows, err := c.stats.Stats(ctx, pages)
	if err != nil {
		return nil, err
	}
	out := stats.NewSeries(span)
	for i, p := range pages {
		out.Add(p, rows[i])
	}
	return out, nil
}

// span reads the parameters of a series.
func (r *reader) span() stats.Span {
	now := r.c.now()
	until := one(r, "until", now, r.c.readTime)
	since := one(r, "since", until.Add(-defaultSpan), r.c.readTime)
	step := one(r, "step", 0, readStep)
	if r.err != nil {
		return stats.Span{}
	}

	// What lies in the future, or is not kept any more, is left out.
	if until.After(now) {
		until = now
	}
	if oldest := now.Add(-stats.HoursKept); since.Before(oldest) {
		since = oldest
	}
	if !since.Before(until) {
		r.err = badf("since: must be before until, before now, and within the last 15 d")
		return stats.Span{}
	}

	shortest := time.Minute
	if since.Before(now.Add(-r.c.settings.History - time.Hour)) {
		shortest = stats.Hours.Cell
	}
	switch {
	case step == 0:
		return usualSpan(since, until, shortest)
	case step < shortest:
		r.err = badf("step: must be 1h or more: since is further back than console.history")
		return stats.Span{}
	}
	span := stats.SpanOf(since, until, step)
	if span.Steps > mostPoints {
		r.err = badf("step: there would be %d points, and there may be %d", span.Steps, mostPoints)
	}
	return span
}

// usualSpan is a span with the shortest step that leads to few points.
func usualSpan(since, until time.Time, shortest time.Duration) (span stats.Span) {
	for _, step := range stats.Steps() {
		span = stats.SpanOf(since, until, step)
		if step >= shortest && span.Steps <= usualPoints {
			break
		}
	}
	return span
}

// stepNames lists the steps that there are.
func stepNames() string {
	short := strings.NewReplacer("h0m0s", "h", "m0s", "m")
	var names []string
	for _, step := range stats.Steps() {
		names = append(names, short.Replace(step.String()))
	}
	return strings.Join(names, ", ")
}

// readStep reads a step.
func readStep(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || !slices.Contains(stats.Steps(), d) {
		return 0, errors.New("must be one of " + stepNames())
	}
	return d, nil
}

// show fills in the points.
func (s *Stats) show(series *stats.Series) {
	s.Since = utc(series.From)
	s.Until = utc(series.Until())
	s.StepS = int64(series.Step / time.Second)
	s.Total = showPoint(&series.Total, series.From, s.Of == ofCallbacks)
	s.Points = make([]StatsPoint, len(series.Points))
	for i := range series.Points {
		s.Points[i] = showPoint(&series.Points[i], series.From.Add(time.Duration(i)*series.Step), s.Of == ofCallbacks)
	}
}

func showPoint(p *stats.Point, at time.Time, callbacks bool) StatsPoint {
	if callbacks {
		return StatsPoint{
			At:      utc(at),
			Answers: named(&p.Counts, answerNames),
			Events:  named(&p.Counts, eventNames),
			Durable: percentiles(&p.Took),
		}
	}
	return StatsPoint{
		At:          utc(at),
		Delivered:   p.Counts[stats.Delivered],
		Failed:      p.Counts.Failed(),
		Failures:    named(&p.Counts, failureNames),
		Dead:        p.Counts[stats.Dead],
		Open:        p.Counts[stats.Open],
		Waiting:     p.Counts[stats.Waiting],
		OldestS:     p.Counts[stats.Oldest],
		DeadLetters: p.Counts[stats.DeadLetters],
		Attempt:     percentiles(&p.Took),
		Delivery:    percentiles(&p.Waited),
	}
}

// named are the counts of some measures that are not 0, by their names.
func named(counts *stats.Row, names map[stats.Measure]string) map[string]int64 {
	out := make(map[string]int64)
	for m, name := range names {
		if counts[m] > 0 {
			out[name] = counts[m]
		}
	}
	return out
}

// percentiles are those of a histogram; nil: it is empty.
func percentiles(histogram *stats.Row) *Percentiles {
	if *histogram == (stats.Row{}) {
		return nil
	}
	of := func(q float64) int64 { return histogram.Quantile(q).Milliseconds() }
	const median, most, almostAll = 0.5, 0.95, 0.99
	return &Percentiles{P50MS: of(median), P95MS: of(most), P99MS: of(almostAll)}
}
