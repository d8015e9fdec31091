package console

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/api"
)

// endpointRow is an endpoint in a table.
type endpointRow struct {
	Name, Href          string
	State               word
	Since               moment
	By                  string // who has paused it
	Open, Waiting, Dead string
	All                 string // open and waiting
	HasDead             bool
	DeadHref            string
	Success             string // of the last hour
	SuccessBad          bool
	Took                string // half of the attempts, and 95 % of them
	P95                 string
	Delivered           moment
	Error               string // of the latest attempt that failed
	Day                 *ribbon
}

// ribbonsFor is how long there must have been ribbons, until it is logged again that there are none.
const ribbonsFor = 5 * time.Minute

// endpointRows shows endpoints with their last 24 hours. ribbons says whether these are known.
func (v *visit) endpointRows(all []api.EndpointHealth) (rows []endpointRow, ribbons bool) {
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.Endpoint
	}
	days, err := v.o.API.Days(v.Request().Context(), names)
	if err != nil && v.ribbons.New(err.Error(), ribbonsFor) {
		v.o.Logger.Warn("a page has no ribbons", zap.Error(err))
	}
	for _, e := range all {
		row := v.endpointRow(e)
		if day := days[e.Endpoint]; day != nil {
			sum := day.LastHour()
			row.Success = share(sum.Delivered, sum.Delivered+sum.Failed)
			row.SuccessBad = sum.Failed > sum.Delivered
			row.Day = v.ribbon(day)
			ribbons = true
		}
		rows = append(rows, row)
	}
	return rows, ribbons
}

func (v *visit) endpointRow(e api.EndpointHealth) endpointRow {
	row := endpointRow{
		Name: e.Endpoint, Href: v.endpointPath(e.Endpoint),
		State: v.endpointState(string(e.State)), Since: v.moment(e.Since),
		Open: count(e.Open), Waiting: count(e.Waiting), Dead: count(e.Dead), All: count(e.Open + e.Waiting),
		HasDead: e.Dead > 0, DeadHref: v.path("/dead-letters", url.Values{"endpoint": {e.Endpoint}}),
		Success: "–", Took: "–", P95: "–", Delivered: v.moment(e.DeliveredAt),
	}
	if e.State == api.EndpointFailing {
		row.Since = v.moment(e.FailingSince)
	}
	if e.PausedBy != "" {
		row.By = v.person(e.PausedBy, "")
	}
	if e.Sample > 0 {
		row.Success = share(int64(e.SuccessRate*float64(e.Sample)+0.5), int64(e.Sample))
		row.SuccessBad = e.SuccessRate < 0.5
		row.P95 = v.millis(e.P95MS)
		row.Took = fmt.Sprintf("%s / %s", v.millis(e.P50MS), row.P95)
	}
	if e.LastError != nil && e.State != api.EndpointOK {
		row.Error = v.attempt(*e.LastError).Result
	}
	return row
}

type endpointsView struct {
	Rows    []endpointRow
	Ribbons bool
	States  []stateCount
	All     stateCount // without a state
	Tenants []option   // of the operator's, if there are several
	State   string
	Name    string
	Sorts   []choice
	Total   string
	Need    int // how many need somebody
	Next    string
	Clear   string // empty: nothing is chosen
	Some    string // where the form goes that acts on several
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
	q := v.query("state", "tenant", "name", "sort", "cursor")
	if q.Get("sort") != api.SortName {
		q.Set("sort", api.SortTrouble)
	}
	q.Set("limit", "100")
	page, err := ask[api.Endpoints](v, "GET /endpoints", q)
	if err != nil {
		return err
	}
	q.Del("limit")
	q.Del("cursor")

	out := endpointsView{
		State: q.Get("state"), Name: q.Get("name"), Total: count(page.Total), Some: v.path("/endpoints/some", nil),
	}
	out.Rows, out.Ribbons = v.endpointRows(page.Endpoints)
	all := 0
	for _, n := range page.States {
		all += n
	}
	for _, state := range []api.EndpointState{"gone", "open", api.EndpointFailing} {
		out.Need += page.States[state]
	}
	if out.State+out.Name+q.Get("tenant") != "" {
		out.Clear = v.path("/endpoints", nil)
	}

	// Each choice leads to the same list but for that.
	with := func(key, value string) url.Values {
		other := maps.Clone(q)
		other.Set(key, value)
		if value == "" || value == api.SortTrouble {
			other.Del(key)
		}
		if other.Get("sort") == api.SortTrouble {
			other.Del("sort")
		}
		return other
	}
	out.States = v.stateCounts(page.States, out.State, with("state", ""))
	out.All = stateCount{Count: count(all), Href: v.path("/endpoints", with("state", "")), Chosen: out.State == ""}
	for _, sort := range []string{api.SortTrouble, api.SortName} {
		out.Sorts = append(out.Sorts, choice{
			Href: v.path("/endpoints", with("sort", sort)), Name: v.t("sort." + sort), Chosen: q.Get("sort") == sort,
		})
	}
	if tenants := v.o.API.Tenants(); v.tenant == "" && len(tenants) > 1 {
		out.Tenants = v.options(tenants, q.Get("tenant"), visible)
	}
	out.Next = v.nextPage("/endpoints", with("", ""), page.Next)
	return v.render(http.StatusOK, "endpoints", out)
}

// query has those parameters of the page's that are given.
func (v *visit) query(names ...string) url.Values { return given(v.QueryParam, names) }

// form has those fields of the form that was sent that are given.
func (v *visit) form(names ...string) url.Values { return given(v.FormValue, names) }

func given(value func(name string) string, names []string) url.Values {
	q := url.Values{}
	for _, name := range names {
		if x := value(name); x != "" {
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
	if ms < 1000 {
		return count(ms) + " ms"
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}
