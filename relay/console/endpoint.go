package console

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

// endpointView is the page of one endpoint.
type endpointView struct {
	endpointRow
	URL, Format string
	Settings    []field
	At          string // where the config has it
	Going       string // what is going on, in sentences
	Until       moment // of the next attempt, if its breaker is open
	GivenUp     moment // when the first delivery is given up for its age
	OldestAt    moment
	LastError   *attemptRow

	Removed bool // it is in no config: nothing can be done here

	// What can be done now.
	Paused, Parked bool
	Retry          bool   // something waits for its next attempt
	ResumeAsks     bool   // because it said that it is gone
	Redrive        string // the question before its dead letters are sent again; empty: there are none

	Attempts []endpointAttempt
	Which    []choice // of the attempts
	Next     string   // the older ones
	Log      []logRow
	OlderLog []logRow
	Charts   []*chart
	Ranges   []choice
	Chosen   string // the chosen part of time, if it is none of Ranges
	Causes   string // how often attempts failed, by cause
	Rates    []fact
	Events   string // the page with its events
	OpenHref string
	Replay   string
	TestHref string
}

func (e endpointView) title(*visit) string { return e.Name }

// endpointAttempt is an attempt with the event that it sent.
type endpointAttempt struct {
	attemptRow
	EventID string
	Detail  string // which attempt of its delivery it was, and why it was made
	Outcome word
	First   string // the beginning of what came back
	Whole   string // all that was kept of it; empty: First is all
	Headers []field
}

// logRow is an entry in the log of an endpoint.
type logRow struct {
	At       moment
	What, By string
	Detail   string
}

// endpointName is the endpoint that the path names.
func (v *visit) endpointName() string { return v.Param("tenant") + "/" + v.Param("name") }

func (v *visit) showEndpoint() error {
	e, err := ask[api.EndpointHealth](v, "GET /endpoints/{endpoint}", nil, v.endpointName())
	if err != nil {
		return err
	}
	out := v.endpointView(e)
	v.addCharts(&out, e)
	v.addAttempts(&out, e)
	v.addLog(&out, e)
	return v.render(http.StatusOK, "endpoint", out)
}

func (v *visit) endpointView(e api.EndpointHealth) endpointView {
	own := url.Values{"endpoint": {e.Endpoint}}
	parked := []api.EndpointState{"paused", "gone", "open"}
	rows, _ := v.endpointRows([]api.EndpointHealth{e})
	out := endpointView{
		endpointRow: rows[0], URL: visible(e.URL), Format: e.Format, Settings: v.endpointSettings(e.Settings),
		Going: v.sentences(v.going(e)...), Until: v.moment(e.Until), GivenUp: v.moment(e.GivenUpFirstAt),
		OldestAt: v.moment(e.OldestAt),
		Paused:   e.State == "paused", Parked: slices.Contains(parked, e.State), ResumeAsks: e.State == "gone",
		Removed: e.State == api.EndpointRemoved,
		Events:  v.path("/events", own), Replay: v.path("/replays/new", own),
	}

	if e.Settings != nil {
		out.At = visible(e.Settings.At)
	}
	if e.State == api.EndpointOK {
		out.GivenUp = moment{} // nothing will be
	}
	out.TestHref = out.Href + "/test"
	out.OpenHref = v.path("/events", url.Values{"endpoint": {e.Endpoint}, "state": {"open"}})
	out.Retry = e.Open > 0 && !out.Parked
	if e.Dead > 0 {
		out.Redrive = v.sureOf("redrive", own)
	}
	if e.LastError != nil && e.State != api.EndpointOK {
		last := v.attempt(*e.LastError)
		out.LastError = &last
	}
	return out
}

// going says in sentences what is going on with an endpoint.
func (v *visit) going(e api.EndpointHealth) []string {
	waits := e.Open + e.Waiting
	out := []string{v.t("endpoint.is." + breakerWord(string(e.State)))}
	if e.InRow > 1 {
		out = append(out, v.t("endpoint.in.row", e.InRow, v.moment(e.FailingSince).Text))
	}
	if e.PausedBy != "" {
		out = append(out, v.t("endpoint.paused.by", v.person(e.PausedBy, "")))
	}
	if e.State == "open" && e.Settings != nil {
		out = append(out, v.t("endpoint.probes", e.Settings.Breaker.MaxCoolOff))
	}

	switch {
	case waits == 0 && e.State != api.EndpointIdle:
		out = append(out, v.t("endpoint.waits.none"))
	case e.Waiting > 0:
		out = append(out, v.t("endpoint.waits.behind", v.many("delivery", waits), count(e.Waiting)))
	case waits > 0:
		out = append(out, v.t("endpoint.waits", v.many("delivery", waits)))
	}
	if twice := v.moment(e.Twice); twice.ISO != "" {
		out = append(out, v.t("endpoint.twice", twice.Text))
	}
	return out
}

// addCharts adds what was over time.
func (v *visit) addCharts(out *endpointView, e api.EndpointHealth) {
	span := v.chartRange(endpointRange)
	q := url.Values{"endpoint": {out.Name}, "since": {span}}
	if since, until := v.QueryParam("since"), v.QueryParam("until"); since != "" && until != "" {
		q.Set("since", since)
		q.Set("until", until)
		span = ""
	}
	s, why := v.keptStats(q)
	if span == "" && why == "" {
		out.Chosen = v.moment(s.Since).Text + " – " + v.moment(s.Until).Text
	}

	timeout := time.Duration(0)
	if e.Settings != nil {
		timeout, _ = time.ParseDuration(e.Settings.Timeout) // without it there is no line
	}
	out.Charts = v.deliveryCharts(s, why, timeout)
	out.Causes = failures(s)
	out.Ranges = v.rangeChoices("/endpoints/"+out.Name, span)
	out.Rates = v.ratesOf(s, why)
}

// ratesOf are what the charts sum up to.
func (v *visit) ratesOf(s api.Stats, why string) (out []fact) {
	total := s.Total
	if why != "" || total.Delivered+total.Failed == 0 {
		return nil
	}
	out = append(out, fact{Name: v.t("col.success"), Value: share(total.Delivered, total.Delivered+total.Failed)})
	if took := total.Attempt; took != nil {
		out = append(out,
			fact{Name: "p50", Value: v.millis(took.P50MS)},
			fact{Name: "p95", Value: v.millis(took.P95MS)},
			fact{Name: "p99", Value: v.millis(took.P99MS)})
	}
	if total.Delivery != nil {
		out = append(out, fact{Name: v.t("endpoint.until.delivered"), Value: v.millis(total.Delivery.P95MS)})
	}
	return out
}

// The parts of an endpoint's page that are shown.
const (
	attemptsShown = 20
	logShown      = 10
)

// addAttempts adds the latest attempts. They are asked for again when there are others: whoever looks, and however
// often the page is asked for.
func (v *visit) addAttempts(out *endpointView, e api.EndpointHealth) {
	q := url.Values{"limit": {strconv.Itoa(attemptsShown)}}
	all := v.QueryParam("attempts") == "all"
	if !all {
		q.Set("failed", "true")
	}
	if cursor := v.QueryParam("cursor"); cursor != "" {
		q.Set("cursor", cursor)
	}
	page, err := askKept[api.EndpointAttempts](v, time.Minute, latestOf(e),
		"GET /endpoints/{endpoint}/attempts", q, out.Name)
	if err != nil {
		return // the rest of the page says why
	}
	for _, a := range page.Attempts {
		out.Attempts = append(out.Attempts, v.endpointAttempt(a))
	}

	// Each choice leads to the same page but for that.
	shown := v.query("range", "since", "until", "attempts")
	out.Next = v.nextPage("/endpoints/"+out.Name, maps.Clone(shown), page.Next)
	for _, which := range []string{"failed", "all"} {
		shown.Set("attempts", which)
		out.Which = append(out.Which, choice{
			Href: v.path("/endpoints/"+out.Name, shown) + "#attempts", Name: v.t("attempts." + which),
			Chosen: all == (which == "all"),
		})
	}
}

// latestOf tells apart what the attempts and the log of an endpoint depend on. While it gets much, that changes every
// few seconds.
func latestOf(e api.EndpointHealth) string {
	return fmt.Sprint(e.State, e.Since.UnixMilli(), e.LastAt.Truncate(5*time.Second).UnixMilli(), e.InRow, e.Dead,
		e.PausedBy)
}

func (v *visit) endpointAttempt(a api.EndpointAttempt) endpointAttempt {
	row := endpointAttempt{attemptRow: v.attempt(a.Attempt), EventID: a.EventID, Outcome: v.outcome(a.Outcome)}
	row.Event = v.eventPath(a.EventID)
	if a.Number > 0 {
		row.Detail = v.t("attempt.number", a.Number)
	}
	if a.Reason != "" && a.Reason != "new" {
		row.Detail += " " + v.t("reason."+a.Reason)
	}
	if a.Replica != "" {
		row.Headers = append(row.Headers, field{Name: v.t("attempt.replica"), Value: visible(a.Replica)})
	}
	row.Headers = append(row.Headers, headerRows(a.Headers)...)

	// The first line of the answer is shown, the rest on demand.
	const most = 80
	text := visible(a.Text)
	if a.Status == 0 {
		return row
	}
	row.First, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if r := []rune(row.First); len(r) > most {
		row.First = string(r[:most]) + "…"
	}
	if row.First != text {
		row.Whole = text
	}
	return row
}

// outcome is what became of the delivery of an attempt.
func (v *visit) outcome(outcome string) word {
	if outcome == "retry" {
		outcome = "retrying"
	}
	return v.state(outcome)
}

// addLog adds what happened to the endpoint.
func (v *visit) addLog(out *endpointView, e api.EndpointHealth) {
	log, err := askKept[api.EndpointLog](v, seldom, latestOf(e), "GET /endpoints/{endpoint}/log", nil, out.Name)
	if err != nil {
		return
	}
	for i, entry := range log.Entries {
		if i < logShown {
			out.Log = append(out.Log, v.logRow(entry))
		} else {
			out.OlderLog = append(out.OlderLog, v.logRow(entry))
		}
	}
}

func (v *visit) logRow(e api.LogEntry) logRow {
	row := logRow{At: v.moment(e.At), What: v.t("log." + string(e.What)), By: v.person(e.By, e.Key)}

	var parts []string
	if e.N > 0 {
		parts = append(parts, "×"+count(e.N))
	}
	if e.Status > 0 && e.What != event.LogGone { // which says it
		parts = append(parts, fmt.Sprint(e.Status))
	}
	if e.Text != "" {
		parts = append(parts, visible(e.Text))
	}
	for _, c := range e.Changes {
		if c.Old == "" && c.New == "" {
			parts = append(parts, visible(c.Key))
		} else {
			parts = append(parts, fmt.Sprintf("%s: %s → %s", visible(c.Key), visible(c.Old), visible(c.New)))
		}
	}
	row.Detail = strings.Join(parts, " · ")
	return row
}
