package console

import (
	"cmp"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/api"
)

// seldom is how long a page shows what changes slowly: whoever looks, it is asked for once.
const seldom = 10 * time.Second

// overviewSeries is what the overview's figures are made of.
type overviewSeries struct {
	out   api.Stats // deliveries
	in    api.Stats // callbacks, for the operator
	today api.Stats // deliveries since midnight
	calls api.Stats // callbacks since midnight
	why   string    // there are none, because of this
}

// overviewSeries asks for the statistics of the chosen range, and of today.
func (v *visit) overviewSeries() (s overviewSeries) {
	span := v.chartRange(overviewRange)
	midnight := startOfDay(v.now.In(v.zone)).UTC().Format(time.RFC3339)
	today := url.Values{"since": {midnight}, "step": {"1h"}}
	s.out, s.why = v.keptStats(url.Values{"since": {span}})
	if s.why != "" {
		return s
	}
	s.today, s.why = v.keptStats(today)
	if v.tenant == "" && s.why == "" {
		s.in, s.why = v.keptStats(url.Values{"since": {span}, "of": {"callbacks"}})
	}
	if v.tenant == "" && s.why == "" {
		today.Set("of", "callbacks")
		s.calls, s.why = v.keptStats(today)
	}
	return s
}

// startOfDay is the midnight before a time, in its zone.
func startOfDay(at time.Time) time.Time {
	year, month, day := at.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, at.Location())
}

// keptStats asks for statistics, which are as old as seldom at most. Without them, why is what to show instead.
func (v *visit) keptStats(q url.Values) (s api.Stats, why string) {
	s, err := askKept[api.Stats](v, seldom, "", "GET /stats", q)
	if err != nil {
		status, text := statusOf(err)
		if status == 0 {
			v.o.Logger.Error("statistics for a page", zap.Error(err))
		}
		return s, cmp.Or(v.say(text).String(), v.t("error.500"))
	}
	return s, ""
}

// came counts the events that were accepted.
func (s overviewSeries) came() int64 { return s.in.Total.Events["new"] + s.in.Total.Events["unrouted"] }

// perMinute is a count of the whole range for each of its minutes.
func (s overviewSeries) perMinute(n int64) string {
	minutes := s.out.Until.Sub(s.out.Since).Minutes()
	if minutes <= 0 {
		return "0"
	}
	return perMinute(float64(n) / minutes)
}

// perMinute is a number of which small ones have a fraction.
func perMinute(x float64) string {
	switch {
	case x >= 10 || x == 0:
		return count(int64(x + 0.5))
	case x >= 0.1:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'g', 1, 64)
}

// share is a part of a whole in percent.
func share(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	percent := 100 * float64(part) / float64(whole)
	switch {
	case percent == 0 || percent == 100:
		return strconv.Itoa(int(percent)) + " %"
	case percent < 0.1:
		return "< 0.1 %"
	case percent > 99.9:
		return "> 99.9 %"
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
}

// many is a number with its noun, of which the texts have one and many.
func (v *visit) many(noun string, n int64) string {
	if n == 1 {
		return v.t(noun + ".one")
	}
	return v.t(noun+".many", count(n))
}

// figures are the large numbers of the overview.
func (v *visit) figures(s api.Status, series overviewSeries) (out []figure) {
	if series.why != "" {
		return []figure{v.waitingFigure(s, series)}
	}
	total := series.out.Total
	points := series.out.Points

	// What comes in is the operator's.
	if v.tenant == "" {
		in := series.in.Points
		out = append(out, figure{
			Name: v.t("overview.in"), Value: v.t("overview.rate.events", series.perMinute(series.came())),
			Href: v.path("/events", nil),
			Spark: v.spark(v.t("overview.in"), len(in), sparkPart{class: "good", of: func(i int) float64 {
				return float64(in[i].Events["new"] + in[i].Events["unrouted"])
			}}),
		})
	}

	sent := figure{
		Name: v.t("overview.out"), Value: v.t("overview.rate.delivered", series.perMinute(total.Delivered)),
		Spark: v.spark(v.t("overview.out"), len(points),
			sparkPart{class: "good", of: func(i int) float64 { return float64(points[i].Delivered) }},
			sparkPart{class: "warn", of: func(i int) float64 { return float64(points[i].Failed) }}),
	}
	if total.Failed > 0 {
		sent.Note = v.t("overview.rate.failed", series.perMinute(total.Failed))
	}
	took := figure{
		Name: v.t("overview.took"), Value: "–",
		Spark: v.spark(v.t("overview.took"), len(points), sparkPart{class: "wait", of: func(i int) float64 {
			if points[i].Delivery == nil {
				return 0
			}
			return float64(max(points[i].Delivery.P95MS, 1))
		}}),
	}
	if total.Delivery != nil {
		took.Value = "p95 " + v.millis(total.Delivery.P95MS)
		took.Note = "p50 " + v.millis(total.Delivery.P50MS)
	}
	return append(out, sent, took, v.waitingFigure(s, series))
}

// waitingFigure is what is still to be delivered.
func (v *visit) waitingFigure(s api.Status, series overviewSeries) figure {
	out := figure{
		Name: v.t("overview.waiting"), Value: v.t("overview.open", count(s.Open)),
		Href: v.path("/events", url.Values{"state": {"open"}}),
	}
	if s.Waiting > 0 {
		out.Note = v.t("overview.behind", count(s.Waiting))
	}
	if oldest := v.moment(s.OldestAt); oldest.ISO != "" {
		if out.Note != "" {
			out.Note += " · "
		}
		out.Note += v.t("overview.oldest", oldest.Text)
	}
	if series.why == "" {
		points := series.out.Points
		out.Spark = v.spark(v.t("overview.waiting"), len(points),
			sparkPart{class: "wait", of: func(i int) float64 { return float64(points[i].Open) }},
			sparkPart{class: "hold", of: func(i int) float64 { return float64(points[i].Waiting) }})
	}
	return out
}

// facts are the small numbers of the overview.
func (v *visit) facts(s api.Status, series overviewSeries) (out []fact) {
	add := func(key, value, href string, bad bool) {
		out = append(out, fact{Name: v.t(key), Value: value, Href: href, Bad: bad})
	}
	latest := func(key string, at moment, bad bool) {
		out = append(out, fact{Name: v.t(key), At: at, Value: v.t("none.yet"), Bad: bad})
	}
	today := func(n int64, all int) string {
		if n == 0 || series.why != "" {
			return count(all)
		}
		return v.t("overview.today", count(all), count(n))
	}

	dead := today(series.today.Total.Dead, int(s.Dead))
	if v.tenant != "" {
		latest("overview.event", v.moment(s.LastEventAt), false)
		add("overview.dead", dead, v.path("/dead-letters", nil), s.Dead > 0)
		return out
	}
	latest("overview.callback", v.moment(s.LastCallAt), s.Silent)
	if series.why == "" {
		events := series.in.Total.Events
		add("overview.duplicates", share(events["duplicate"], series.came()+events["duplicate"]), "", false)
		add("overview.unrouted", share(events["unrouted"], series.came()),
			v.path("/events", url.Values{"state": {"unrouted"}}), false)
	}
	add("overview.quarantine", today(series.calls.Total.Events["quarantined"], s.Quarantined),
		v.path("/quarantine", nil), s.Quarantined > 0)
	add("overview.dead", dead, v.path("/dead-letters", nil), s.Dead > 0)
	if s.Spooled > 0 {
		add("overview.spooled", count(s.Spooled), v.path("/system", nil), true)
	}
	if s.Replays > 0 {
		add("overview.replays", count(s.Replays), v.path("/replays", nil), false)
	}
	return out
}
