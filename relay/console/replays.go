package console

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"

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
	What            string
	Queued, Skipped string
	Looked          string
	Created, Ended  moment
	DryRun, Running bool
}

func (v *visit) replayRow(r api.Replay) replayRow {
	row := replayRow{
		ID: r.ID, Href: v.path("/replays/"+r.ID, nil), By: v.person(cmp.Or(r.Tenant, event.Operator), ""),
		State:  v.state(string(r.State)),
		Queued: count(r.Queued), Skipped: count(r.Skipped), Looked: count(r.Looked),
		Created: v.moment(r.CreatedAt), Ended: v.moment(r.EndedAt), DryRun: r.Request.DryRun,
		Running: r.State == event.ReplayRunning,
	}
	row.What = v.replayed(r.Request)
	return row
}

// replayed says what a replay sends again.
func (v *visit) replayed(r api.ReplayRequest) string {
	what := v.t("replay.again")
	if r.Reroute {
		what = v.t("replay.reroute")
	}
	for _, part := range []string{r.Endpoint, r.Tenant, r.Brand, r.Status, r.WaybillCode, r.State} {
		if part != "" {
			what += " · " + visible(part)
		}
	}
	if !r.Since.IsZero() {
		what += " · " + v.t("replay.since", v.moment(r.Since).Text)
	}
	return what
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
	Rate string
	// Go is the form that does what a dry run has counted; nil: it is no dry run, or not done.
	Go *replayForm
}

func (r replayView) title(*visit) string { return r.ID }

func (v *visit) showReplay() error {
	r, err := ask[api.Replay](v, "GET /replays/{id}", nil, v.Param("id"))
	if err != nil {
		return err
	}
	out := replayView{replayRow: v.replayRow(r), Rate: strconv.Itoa(r.Request.Rate)}
	if r.Request.DryRun && r.State == event.ReplayDone && r.Queued > 0 {
		out.Go = &replayForm{
			Endpoint: r.Request.Endpoint, Status: r.Request.Status, Brand: r.Request.Brand, Waybill: r.Request.WaybillCode,
			State: r.Request.State, Rate: strconv.Itoa(r.Request.Rate), Reroute: r.Request.Reroute,
		}
		if !r.Request.Since.IsZero() {
			out.Go.Since = r.Request.Since.Format("2006-01-02T15:04:05.999Z07:00")
		}
		out.Go.Until = r.Request.Until.Format("2006-01-02T15:04:05.999Z07:00")
	}
	return v.render(http.StatusOK, "replay", out)
}

// replayForm is what a replay is asked for with.
type replayForm struct {
	Endpoint, Status, Brand, Waybill, State, Since, Until, Rate string
	Reroute                                                     bool
	Spans                                                       []option
}

func (v *visit) newReplay() error {
	form := replayForm{
		Endpoint: v.QueryParam("endpoint"), Status: v.QueryParam("status"), Brand: v.QueryParam("brand"),
		Waybill: v.QueryParam("waybill_code"), Since: v.QueryParam("since"), Rate: "100",
	}
	spans := []string{"1h", "6h", "24h", "7d"}
	form.Spans = v.options(spans, form.Since, func(s string) string { return v.t("last." + s) })
	return v.render(http.StatusOK, "replay-new", form)
}

// beginReplay begins a replay, or counts what it would send.
func (v *visit) beginReplay() error {
	body := map[string]any{"dry_run": v.FormValue("go") == ""}
	for _, name := range []string{"endpoint", "status", "brand", "waybill_code", "state"} {
		if x := v.FormValue(name); x != "" {
			body[name] = x
		}
	}
	for _, name := range []string{"since", "until"} {
		if x := v.FormValue(name); x != "" {
			at, err := v.readTime(x)
			if err != nil {
				return err
			}
			body[name] = at
		}
	}
	if v.FormValue("reroute") != "" {
		body["reroute"] = true
	}
	if rate, err := strconv.Atoi(v.FormValue("rate")); err == nil {
		body["rate"] = rate
	}

	r, err := send[api.Replay](v, "POST /replays", nil, body)
	if err != nil {
		return err
	}
	return v.Redirect(http.StatusSeeOther, v.path("/replays/"+url.PathEscape(r.ID), nil))
}

func (v *visit) cancelReplay() error {
	if _, err := ask[api.Replay](v, "DELETE /replays/{id}", nil, v.Param("id")); err != nil {
		return err
	}
	return v.done("cancel", "")
}
