package console

import (
	"cmp"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

type replaysView struct {
	Rows []replayRow
	Next string
}

// replayRow is a replay.
type replayRow struct {
	ID, Href        string
	By              string
	State           word
	What, Why       string
	Queued, Skipped string
	Looked          string
	Created, Ended  moment
	DryRun, Running bool
	Again           string // a new one of the same
	Bar             *bar
}

// bar is how much of something is done, in percent.
type bar struct {
	Percent int
	Of      string // of how many; empty: it is by the time of the events
}

func (v *visit) replayRow(r api.Replay) replayRow {
	row := replayRow{
		ID: r.ID, Href: v.path("/replays/"+r.ID, nil), By: v.person(cmp.Or(r.Tenant, event.Operator), ""),
		State: v.state(string(r.State)), Why: visible(r.Why),
		Queued: count(r.Queued), Skipped: count(r.Skipped), Looked: count(r.Looked),
		Created: v.moment(r.CreatedAt), Ended: v.moment(r.EndedAt), DryRun: r.Request.DryRun,
		Running: r.State == event.ReplayRunning, Again: v.path("/replays/new", replayQuery(r.Request, bounded(r))),
	}
	row.What = v.replayed(r.Request)
	if bounded(r) {
		row.What += " · " + v.t("replay.until", v.moment(r.Request.Until).Text)
	}
	row.Bar = replayBar(r)
	return row
}

// replayBar says how far a replay is that runs: by the number that was counted before, or by the time of the events
// that it has looked at. Nil: it is not known.
func replayBar(r api.Replay) *bar {
	q := r.Request
	switch {
	case r.State != event.ReplayRunning:
		return nil
	case q.Expect > 0:
		return &bar{Percent: percent(float64(r.Queued) / float64(q.Expect)), Of: count(q.Expect)}
	case r.LookedTo.IsZero() || q.Since.IsZero() || !q.Since.Before(q.Until):
		return nil
	}
	return &bar{Percent: percent(float64(r.LookedTo.Sub(q.Since)) / float64(q.Until.Sub(q.Since)))}
}

// percent is a share in percent, below a hundred: what runs is not done.
func percent(share float64) int { return int(min(99, max(0, math.Floor(100*share)))) }

// bounded says whether somebody has chosen where a replay ends. Else that is when it was counted.
func bounded(r api.Replay) bool {
	return r.CreatedAt.Sub(r.Request.Until) > 5*time.Minute && !r.Request.Until.IsZero()
}

// replayed says what a replay sends again.
func (v *visit) replayed(r api.ReplayRequest) string {
	what := v.t("replay.again")
	if r.Reroute {
		what = v.t("replay.reroute")
	}
	for _, part := range []string{r.Endpoint, r.Tenant, r.Brand, r.Status, r.WaybillCode} {
		if part != "" {
			what += " · " + visible(part)
		}
	}
	if r.State != "" {
		what += " · " + v.statesText(r.State)
	}
	if n := len(r.EventIDs); n > 0 {
		return what + " · " + v.t("replay.events", n)
	}
	if !r.Since.IsZero() {
		what += " · " + v.t("replay.since", v.moment(r.Since).Text)
	}
	return what
}

// statesText names the states of a filter.
func (v *visit) statesText(list string) string {
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		out = append(out, v.state(s).Text)
	}
	return strings.Join(out, ", ")
}

func (v *visit) showReplays() error {
	q := v.query("cursor")
	page, err := ask[api.Replays](v, "GET /replays", q)
	if err != nil {
		return err
	}
	out := replaysView{Next: v.nextPage("/replays", q, page.Next)}
	for _, r := range page.Replays {
		out.Rows = append(out.Rows, v.replayRow(r))
	}
	return v.render(http.StatusOK, "replays", out)
}

type replayView struct {
	replayRow
	Pace string // events a second that were asked for
	Rate string // deliveries a second that it makes; empty: it has made none
	Ends moment // about when it ends, at that rate
	Dead string // how many were dead letters, of a dry run
	Rest string // how many were delivered before, or dismissed
	// Go is the form that does what a dry run has counted; nil: it is no dry run, or there is nothing to do.
	Go *replayGo
}

func (r replayView) title(*visit) string { return r.What }

// replayGo is what is left to do when a replay has been counted.
type replayGo struct {
	Done    bool // it is counted
	Fields  []field
	Count   string
	Counted string // the same with its noun
	Matched int64  // events, whose pace is chosen
	Rate    string // that is offered
	Takes   string // about how long that takes
	Error   string // why it was not begun; empty: it was not tried
	Newest  []eventRow
}

func (v *visit) showReplay() error { return v.replayPage(v.Param("id"), "") }

// replayPage shows a replay. problem is why what it has counted could not be begun.
func (v *visit) replayPage(id, problem string) error {
	r, err := ask[api.Replay](v, "GET /replays/{id}", nil, id)
	if err != nil {
		return err
	}
	out := replayView{
		replayRow: v.replayRow(r), Pace: count(r.Request.Rate), Dead: count(r.Dead), Rest: count(r.Queued - r.Dead),
	}
	v.addReplayRate(&out, r)
	status := http.StatusOK
	if r.Request.DryRun && r.State != event.ReplayCancelled {
		out.Go = v.replayGo(r)
		out.Go.Error = problem
		if problem != "" {
			status = http.StatusConflict
		}
	}
	return v.render(status, "replay", out)
}

// addReplayRate adds how fast a replay is, and when it ends.
func (v *visit) addReplayRate(out *replayView, r api.Replay) {
	end := r.EndedAt
	if end.IsZero() {
		end = v.now
	}
	took := end.Sub(r.CreatedAt)
	if r.Request.DryRun || r.Queued == 0 || took < time.Second {
		return
	}
	rate := float64(r.Queued) / took.Seconds()
	out.Rate = strconv.FormatFloat(rate, 'f', 1, 64)
	if left := int64(r.Request.Expect) - r.Queued; out.Running && left > 0 {
		out.Ends = v.moment(v.now.Add(time.Duration(float64(left) / rate * float64(time.Second))))
	}
}

// replayGo offers to do what a dry run has counted, or is counting.
func (v *visit) replayGo(r api.Replay) *replayGo {
	out := &replayGo{
		Done: r.State == event.ReplayDone, Count: count(r.Queued), Matched: r.Matched, Rate: strconv.Itoa(r.Request.Rate),
		Counted: v.many("delivery", r.Queued),
		Takes:   v.span(time.Duration(r.Matched) * time.Second / time.Duration(max(1, r.Request.Rate))),
	}
	if !out.Done {
		return out
	}
	if r.Queued > 0 {
		q := replayQuery(r.Request, true)
		q.Del("rate") // the reader chooses it
		q.Set("go", r.ID)
		q.Set("expect", strconv.FormatInt(r.Queued, 10))
		out.Fields = fieldsOf(q)
	}

	look := replayQuery(r.Request, true)
	for _, name := range []string{"rate", "reroute"} {
		look.Del(name)
	}
	if r.Request.Reroute {
		look.Set("state", api.StateUnrouted)
	}
	look.Set("limit", "5")
	if len(r.Request.EventIDs) > 0 {
		return out
	}
	if page, err := ask[api.Events](v, "GET /events", look); err == nil { // a look only
		for _, e := range page.Events {
			out.Newest = append(out.Newest, v.eventRow(e))
		}
	}
	return out
}

// replayFilter are the parameters of a new replay, but for its times.
var replayFilter = []string{"endpoint", "tenant", "status", "brand", "waybill_code", "state"}

// replayQuery is a request as parameters of the page of a new replay. With until it is bound to the same events.
func replayQuery(r api.ReplayRequest, until bool) url.Values {
	q := url.Values{}
	for name, x := range map[string]string{
		"endpoint": r.Endpoint, "tenant": r.Tenant, "status": r.Status, "brand": r.Brand, "waybill_code": r.WaybillCode,
		"state": r.State,
	} {
		if x != "" {
			q.Set(name, x)
		}
	}
	if !r.Since.IsZero() && len(r.EventIDs) == 0 {
		q.Set("since", r.Since.Format(time.RFC3339Nano))
	}
	if until && len(r.EventIDs) == 0 {
		q.Set("until", r.Until.Format(time.RFC3339Nano))
	}
	if r.Reroute {
		q.Set("reroute", "1")
	}
	q.Set("rate", strconv.Itoa(r.Rate))
	return q
}

// replayForm is what a replay is asked for with.
type replayForm struct {
	Endpoint, Tenant, Brand, Waybill, From, Until, Day, Rate string

	Reroute                 bool
	Statuses, States, Spans []option
	Endpoints               []string // some names, for the field to offer
	Wrong                   said     // why it was not taken; empty: it was not sent
}

func (v *visit) newReplay() error { return v.showReplayForm(http.StatusOK, said{}) }

// showReplayForm shows the form for a new replay with what the address, or the form that was sent, has chosen. wrong is
// why that was not taken.
func (v *visit) showReplayForm(code int, wrong said) error {
	form := replayForm{
		Endpoint: v.FormValue("endpoint"), Tenant: v.FormValue("tenant"), Brand: v.FormValue("brand"),
		Waybill: v.FormValue("waybill_code"), From: v.FormValue("from"), Until: v.inputTime(v.FormValue("until")),
		Day: v.FormValue("day"), Rate: cmp.Or(v.FormValue("rate"), "100"),
		Reroute: v.FormValue("reroute") != "" || v.FormValue("state") == api.StateUnrouted,
		Wrong:   wrong,
	}
	form.Endpoints, _ = v.o.API.Names(v.tenant, mostNames)

	// A link may say since when, to the moment.
	since := v.FormValue("since")
	if at, err := time.Parse(time.RFC3339, since); err == nil {
		form.From = at.In(v.zone).Format(pickerLayout)
		since = ""
	}
	form.Spans = v.sinceOptions(since)
	statuses := v.options(words(), v.FormValue("status"), v.statusText)
	form.Statuses = withChosen(statuses, v.FormValue("status"), visible)
	state := v.FormValue("state")
	if state == api.StateUnrouted {
		state = ""
	}
	word := func(s string) string { return v.state(s).Text }
	form.States = v.options([]string{"delivered", "dead", "dismissed"}, state, word)
	return v.render(code, "replay-new", form)
}

// replayTimes reads which events a replay is to take. If there is a day, nothing else counts; if there is a begin, the
// span does not.
func (v *visit) replayTimes() (url.Values, error) {
	q := v.form(append(replayFilter, "since", "until")...)
	if from := v.FormValue("from"); from != "" {
		q.Set("since", from)
	}
	if day := v.FormValue("day"); day != "" {
		begin, err := time.ParseInLocation(time.DateOnly, day, v.zone)
		if err != nil {
			return nil, echo.NewHTTPError(http.StatusBadRequest, v.t("error.time", visible(day)))
		}
		end := begin.AddDate(0, 0, 1)
		if end.After(v.now) { // what is counted stays the same
			end = v.now
		}
		q.Set("since", begin.Format(time.RFC3339))
		q.Set("until", end.Format(time.RFC3339))
	}

	filter, err := v.withTimes(q)
	if err != nil {
		return nil, err
	}
	since, errSince := time.Parse(time.RFC3339, filter.Get("since"))
	until, errUntil := time.Parse(time.RFC3339, filter.Get("until"))
	if errSince == nil && errUntil == nil && !since.Before(until) {
		return nil, echo.NewHTTPError(http.StatusBadRequest, v.t("replay.order"))
	}
	return filter, nil
}

// beginReplay begins a replay, or counts what it would send.
func (v *visit) beginReplay() error {
	counted := v.FormValue("go") // the dry run
	filter, err := v.replayTimes()
	if status, text := statusOf(err); status == http.StatusBadRequest {
		return v.showReplayForm(status, v.say(text))
	}
	if err != nil {
		return err
	}
	body := map[string]any{"dry_run": counted == ""}
	for name := range filter {
		body[name] = filter.Get(name)
	}
	if v.FormValue("reroute") != "" {
		body["reroute"] = true
		delete(body, "state")
	}
	for _, name := range []string{"rate", "expect"} {
		if n, err := strconv.Atoi(v.FormValue(name)); err == nil {
			body[name] = n
		}
	}

	r, err := send[api.Replay](v, "POST /replays", nil, body)
	switch status, text := statusOf(err); {
	case status == http.StatusConflict && counted != "":
		return v.replayPage(counted, text)
	case status == http.StatusBadRequest:
		return v.showReplayForm(status, v.say(text))
	case err != nil:
		return err
	}
	return v.Redirect(http.StatusSeeOther, v.path("/replays/"+url.PathEscape(r.ID), nil))
}

func (v *visit) cancelReplay() error {
	if _, err := ask[api.Replay](v, "DELETE /replays/{id}", nil, v.Param("id")); err != nil {
		return err
	}
	return v.done("cancel")
}
