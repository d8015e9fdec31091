package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"kuairelay/relay/api"
)

// endpointRow is an endpoint in a table.
type endpointRow struct {
	Name, Href          string
	State               word
	Since               moment
	Open, Waiting, Dead string
	HasDead             bool
	DeadHref            string
	Success             string
	Took                string // half of the attempts, and 95 % of them
	Delivered           moment
	Error               string // of the latest attempt that failed
}

func (v *visit) endpointRow(e api.EndpointHealth) endpointRow {
	row := endpointRow{
		Name: e.Endpoint, Href: v.path("/endpoints/"+e.Endpoint, nil),
		State: v.endpointState(string(e.State)), Since: v.moment(e.Since),
		Open: count(e.Open), Waiting: count(e.Waiting), Dead: count(e.Dead), HasDead: e.Dead > 0,
		DeadHref: v.path("/dead-letters", url.Values{"endpoint": {e.Endpoint}}),
		Success:  "–", Took: "–", Delivered: v.moment(e.DeliveredAt),
	}
	if e.Sample > 0 {
		row.Success = strconv.FormatFloat(e.SuccessRate*100, 'f', -1, 32)
		if len(row.Success) > 4 {
			row.Success = fmt.Sprintf("%.1f", e.SuccessRate*100)
		}
		row.Success += " %"
		row.Took = fmt.Sprintf("%s / %s", v.millis(e.P50MS), v.millis(e.P95MS))
	}
	if e.LastError != nil {
		row.Error = v.attempt(*e.LastError).Result
	}
	return row
}

type endpointsView struct {
	Rows   []endpointRow
	State  string
	States []option
	Next   string
}

// option is one of a selection.
type option struct {
	Value, Text string
	Chosen      bool
}

func (v *visit) options(values []string, chosen string, text func(string) string) []option {
	out := []option{{Text: v.t("all"), Chosen: chosen == ""}}
	for _, x := range values {
		out = append(out, option{Value: x, Text: text(x), Chosen: x == chosen})
	}
	return out
}

func (v *visit) showEndpoints() error {
	q := v.query("state", "tenant", "cursor")
	q.Set("limit", "100")
	page, err := ask[api.Endpoints](v, "GET /endpoints", q)
	if err != nil {
		return err
	}

	out := endpointsView{State: q.Get("state")}
	for _, e := range page.Endpoints {
		out.Rows = append(out.Rows, v.endpointRow(e))
	}
	out.States = v.options(api.EndpointStates(), out.State, func(s string) string { return v.endpointState(s).Text })
	out.Next = v.nextPage("/endpoints", q, page.Next)
	return v.render(http.StatusOK, "endpoints", out)
}

// query has those parameters of the page's that are given.
func (v *visit) query(names ...string) url.Values {
	q := url.Values{}
	for _, name := range names {
		if x := v.QueryParam(name); x != "" {
			q.Set(name, x)
		}
	}
	return q
}

// nextPage leads to the next page of a list; empty: there is none.
func (v *visit) nextPage(path string, q url.Values, cursor string) string {
	if cursor == "" {
		return ""
	}
	q.Del("limit")
	q.Set("cursor", cursor)
	return v.path(path, q)
}

// millis is a number of milliseconds in words.
func (v *visit) millis(ms int64) string {
	if ms == 0 {
		return "<1 ms"
	}
	if ms < 10_000 {
		return count(ms) + " ms"
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}

type endpointView struct {
	endpointRow
	URL, Format string
	Settings    []setting
	Failed      []attemptRow
	Log         []logRow
	Retry       bool   // something waits for its next attempt
	Explanation string // what the state means, and what ends it
	Until       moment
	Parked      bool
	LastError   *attemptRow
	OldestAt    moment
	Tested      *testView
	Charts      []*chart
	Ranges      []choice
	Causes      string // how often attempts failed, by cause
	Events      string // the page with its events
	Replay      string
}

func (e endpointView) title(*visit) string { return e.Name }

// testView is what came of a test.
type testView struct {
	Result attemptRow
	Answer string
	Advice string
}

// endpointName is the endpoint that the path names.
func (v *visit) endpointName() string { return v.Param("tenant") + "/" + v.Param("name") }

func (v *visit) showEndpoint() error {
	e, err := ask[api.EndpointHealth](v, "GET /endpoints/{endpoint}", nil, v.endpointName())
	if err != nil {
		return err
	}
	out := v.endpointView(e)
	v.addCharts(&out)
	v.addHistory(&out)
	return v.render(http.StatusOK, "endpoint", out)
}

// addCharts adds what was over time.
func (v *visit) addCharts(out *endpointView) {
	s, why := v.stats(url.Values{"endpoint": {out.Name}})
	out.Charts = v.deliveryCharts(s, why)
	out.Causes = failures(s)
	out.Ranges = v.rangeChoices("/endpoints/" + out.Name)
}

func (v *visit) endpointView(e api.EndpointHealth) endpointView {
	parked := []api.EndpointState{"paused", "gone", "open"}
	own := url.Values{"endpoint": {e.Endpoint}}
	out := endpointView{
		endpointRow: v.endpointRow(e), URL: visible(e.URL), Format: e.Format,
		Explanation: v.t("endpoint.is." + breakerWord(string(e.State))),
		Until:       v.moment(e.Until), Parked: slices.Contains(parked, e.State), OldestAt: v.moment(e.OldestAt),
		Events: v.path("/events", own), Replay: v.path("/replays/new", own),
	}
	out.Settings = v.endpointSettings(e.Settings)
	out.Retry = e.Open > 0 && !out.Parked
	if e.InRow > 1 {
		out.Explanation += " " + v.t("endpoint.in.row", e.InRow, v.moment(e.FailingSince).Text)
	}
	if e.PausedBy != "" {
		out.Explanation += " " + v.t("endpoint.paused.by", v.person(e.PausedBy, ""))
	}
	if e.LastError != nil {
		last := v.attempt(*e.LastError)
		out.LastError = &last
	}
	return out
}

func (v *visit) pause() error  { return v.act("pause") }
func (v *visit) resume() error { return v.act("resume") }

// act pauses or resumes the endpoint that the path names.
func (v *visit) act(what string) error {
	if _, err := send[api.EndpointHealth](v, "POST /endpoints/{endpoint}/"+what, nil, nil, v.endpointName()); err != nil {
		return err
	}
	return v.done(what, "")
}

// test sends a test event, and shows what came back on the endpoint's page.
func (v *visit) test() error {
	name := v.endpointName()
	result, err := send[api.TestResult](v, "POST /endpoints/{endpoint}/test", nil, nil, name)
	if err != nil {
		return err
	}
	e, err := ask[api.EndpointHealth](v, "GET /endpoints/{endpoint}", nil, name)
	if err != nil {
		return err
	}

	out := v.endpointView(e)
	out.Tested = &testView{
		Result: v.attempt(api.Attempt{Status: result.Status, DurationMS: result.DurationMS, Text: result.Error}),
		Answer: visible(result.Answer),
	}
	switch {
	case result.Delivered:
		out.Tested.Result.Class = "good"
		out.Tested.Advice = v.t("test.good")
	case result.Status == http.StatusUnauthorized || result.Status == http.StatusForbidden:
		out.Tested.Advice = v.t("test.signature")
	case result.Status == 0:
		out.Tested.Advice = v.t("test.unreachable")
	default:
		out.Tested.Advice = v.t("test.refused")
	}
	return v.render(http.StatusOK, "endpoint", out)
}
