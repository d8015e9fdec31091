package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"kuairelay/relay/api"
)

// overviewView answers whether everything is all right.
type overviewView struct {
	Well     bool
	Headline string
	Problems []problemRow
	Partial  bool
	Figures  []figure
	States   []stateCount
	Worst    []endpointRow
	Charts   []*chart
	Ranges   []choice
}

// figure is a number with what it counts.
type figure struct {
	Name, Value, Note string
	Href              string
	Bad               bool
}

// stateCount is how many endpoints are in a state.
type stateCount struct {
	State word
	Count string
	Href  string
}

// problemRow is something that needs a person.
type problemRow struct {
	Code, Subject string
	Kind          word
	Since         moment
	// What follows from it, why, and what to do about it, in English.
	What, Why, Do string
	Href          string // empty: there is no page about it
}

func (v *visit) problemRow(p api.StatusProblem) problemRow {
	row := problemRow{
		Code: p.Code, Subject: visible(p.Subject), Since: v.moment(p.Since), What: visible(p.What), Why: visible(p.Why),
		Do: visible(p.Do), Kind: word{Sign: "!", Class: "warn", Text: visible(p.Code)},
	}
	if key := "problem." + p.Code; v.look.language.has(key) {
		row.Kind.Text = v.t(key)
	}
	switch p.Severity {
	case api.Critical:
		row.Kind.Sign, row.Kind.Class = "✗", "bad"
	case api.Notice:
		row.Kind.Sign, row.Kind.Class = "·", "dim"
	}
	if p.Links.Page != "" && v.hasPage(p.Links.Page) {
		row.Href = v.side.base + "/" + p.Links.Page
	}
	return row
}

// hasPage says whether a path leads to one of the pages.
func (v *visit) hasPage(path string) bool {
	path, _, _ = strings.Cut("/"+path, "?")
	return slices.ContainsFunc(v.side.pages, func(p page) bool {
		own, _, _ := strings.Cut(p.path, "/:")
		return path == p.path || own != "/" && strings.HasPrefix(path+"/", own+"/")
	})
}

func (v *visit) showOverview() error {
	s, err := ask[api.Status](v, "GET /status", nil)
	if err != nil {
		return err
	}

	out := overviewView{Partial: s.Partial}
	for _, p := range s.ProblemList {
		out.Problems = append(out.Problems, v.problemRow(p))
	}
	for _, e := range s.Attention {
		out.Worst = append(out.Worst, v.endpointRow(e))
	}
	for _, name := range api.EndpointStates() {
		if n := s.States[api.EndpointState(name)]; n > 0 {
			out.States = append(out.States, stateCount{
				State: v.endpointState(name), Count: count(n), Href: v.path("/endpoints", url.Values{"state": {name}}),
			})
		}
	}

	need := 0
	for _, p := range s.ProblemList {
		if p.Severity != api.Notice {
			need++
		}
	}
	out.Well = need == 0
	switch {
	case s.Endpoints == 0:
		out.Headline = v.t("overview.nothing")
	case out.Well:
		out.Headline = v.t("overview.well")
	case need == 1:
		out.Headline = v.t("overview.one")
	default:
		out.Headline = v.t("overview.many", need)
	}
	out.Figures = v.figures(s)
	series, why := v.stats(url.Values{})
	out.Charts = v.deliveryCharts(series, why)
	out.Ranges = v.rangeChoices("/")
	return v.render(http.StatusOK, "overview", out)
}

// figures are the numbers of the overview.
func (v *visit) figures(s api.Status) []figure {
	latest := func(name string, m moment) figure {
		f := figure{Name: v.t(name), Value: m.Ago, Note: m.Text}
		if m.ISO == "" {
			f.Value = v.t("none.yet")
		}
		return f
	}

	var out []figure
	if v.tenant == "" {
		calls := latest("overview.callback", v.moment(s.LastCallAt))
		calls.Bad = s.Silent
		out = append(out, calls)
	}
	event := latest("overview.event", v.moment(s.LastEventAt))
	event.Href = v.path("/events", nil)
	open := figure{
		Name: v.t("overview.open"), Value: count(s.Open + s.Waiting), Href: v.path("/events", url.Values{"state": {"open"}}),
	}
	if s.Waiting > 0 {
		open.Note = v.t("overview.behind", count(s.Waiting))
	}
	dead := figure{Name: v.t("overview.dead"), Value: count(s.Dead), Href: v.path("/dead-letters", nil), Bad: s.Dead > 0}
	out = append(out, event, open, dead)
	if v.tenant == "" {
		out = append(out, figure{
			Name: v.t("overview.quarantine"), Value: count(s.Quarantined), Href: v.path("/quarantine", nil),
			Bad: s.Quarantined > 0,
		})
	}
	if s.Spooled > 0 {
		out = append(out, figure{
			Name: v.t("overview.spooled"), Value: count(s.Spooled), Note: v.moment(s.SpooledAt).Ago, Bad: true,
		})
	}
	return out
}

// path is a path of this console with a query.
func (v *visit) path(path string, q url.Values) string {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return v.side.base + path
}
