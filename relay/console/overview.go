package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"kuairelay/relay/api"
)

// overviewView answers whether everything is all right.
type overviewView struct {
	Class    string // of the headline
	Sign     string
	Headline string
	Latest   moment // with which the headline ends; none: it does not
	Partial  bool
	Problems []problemRow
	Begin    *beginView // nil: something has come
	Figures  []figure
	Stats    string // why there are no figures over time
	Facts    []fact
	Ranges   []choice
	States   []stateCount
	All      string // how many endpoints there are
	Worst    []endpointRow
	Ribbons  bool
}

// figure is a number with what it counts, and how that was over time.
type figure struct {
	Name, Value, Note string
	Href              string
	Bad               bool
	Spark             *spark
}

// fact is a small figure in a line.
type fact struct {
	Name, Value string
	At          moment // instead of Value
	Href        string
	Bad         bool
}

// stateCount is how many endpoints are in a state.
type stateCount struct {
	State  word
	Count  string
	Href   string
	Chosen bool
}

// problemRow is something that needs a person.
type problemRow struct {
	Code, Subject string
	Kind          word
	Since         moment
	What, Why, Do said   // what follows from it, why, and what to do about it
	Href          string // empty: there is no page about it
	Links         []choice
	// Endpoint is the page of the endpoint that has it, if somebody can test and pause it there; CanPause says whether
	// it is not paused or gone already.
	Endpoint string
	CanPause bool
}

func (v *visit) problemRow(p api.StatusProblem) problemRow {
	row := problemRow{
		Code: p.Code, Subject: v.subject(p.Subject), Since: v.moment(p.Since),
		What: v.sentence(p.What), Why: v.sentence(p.Why),
		Do: v.sentence(p.Do), Kind: word{Sign: "!", Class: "warn", Text: visible(p.Code)},
	}
	if p.Code == api.ConfigRefused {
		row.Why = v.sayMistakes(p.Why)
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
	v.addLinks(&row, p)
	return row
}

// subject is what a problem is about: a part of the relay, or an endpoint.
func (v *visit) subject(name string) string {
	if key := "subject." + name; v.look.language.has(key) {
		return v.t(key)
	}
	return v.say(name).String()
}

// isName says whether a word is the name of something rather than a word that can begin a sentence.
func isName(word string) bool {
	return word == "kuaidihelp" || word == "kuairelay" ||
		strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !strings.ContainsRune(",:;'", r) })
}

// sentence is a reason of the API with a capital letter, unless it begins with a name. Chinese has no capital letters:
// a Latin word there is a name.
func (v *visit) sentence(reason string) said {
	out := v.say(reason)
	first, _, _ := strings.Cut(reason, " ")
	if v.look.language == chinese || isName(first) {
		return out
	}
	if len(out) > 0 && (out[0].Kind == saidOwn || out[0].Kind == saidEnglish) {
		first, size := utf8.DecodeRuneInString(out[0].Text)
		out[0].Text = string(unicode.ToUpper(first)) + out[0].Text[size:]
	}
	return out
}

// addLinks adds where to look at a problem, and what can be done about it at once.
func (v *visit) addLinks(row *problemRow, p api.StatusProblem) {
	ofEndpoint := []string{api.BreakerOpen, api.EndpointGone, api.EndpointFails, api.GetsNothing, api.BacklogOld}
	switch {
	case slices.Contains(ofEndpoint, p.Code) && v.hasEndpoint(p.Subject):
		row.Endpoint = v.endpointPath(p.Subject)
		row.CanPause = p.Code != api.EndpointGone
		row.Links = []choice{
			{Href: row.Endpoint, Name: v.t("problem.page")},
			{Href: row.Endpoint + "#attempts", Name: v.t("problem.answers")},
		}
		if p.Code == api.GetsNothing || p.Code == api.BacklogOld {
			open := url.Values{"endpoint": {p.Subject}, "state": {"open"}}
			row.Links[1] = choice{Href: v.path("/events", open), Name: v.t("problem.open")}
		}
	case p.Code == api.DeadLettersRising && v.hasEndpoint(p.Subject):
		row.Links = []choice{
			{Href: row.Href, Name: v.t("problem.dead")},
			{Href: v.endpointPath(p.Subject), Name: v.t("problem.page")},
		}
	case row.Href != "":
		row.Links = []choice{{Href: row.Href, Name: v.t("problem.look")}}
	}
}

// hasEndpoint says whether a text is the name of an endpoint, and not of many.
func (v *visit) hasEndpoint(subject string) bool {
	tenant, name, both := strings.Cut(subject, "/")
	return both && !strings.ContainsAny(tenant+name, " /")
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

	out := overviewView{Partial: s.Partial, All: count(s.Endpoints)}
	out.Ranges = v.rangeChoices("/", v.chartRange(overviewRange))
	for _, p := range s.ProblemList {
		out.Problems = append(out.Problems, v.problemRow(p))
	}
	series := v.overviewSeries()
	out.Stats = series.why
	v.addHeadline(&out, s, series)
	out.Figures = v.figures(s, series)
	out.Facts = v.facts(s, series)
	if err := v.addBegin(&out, s); err != nil {
		return err
	}
	if out.Begin != nil && out.Class == "good" {
		out.Class, out.Sign, out.Headline = "", "○", v.t("overview.begin")
	}

	out.States = v.stateCounts(s.States, "", nil)
	worst := v.worst(s.Attention)
	out.Worst, out.Ribbons = v.endpointRows(worst)
	return v.render(http.StatusOK, "overview", out)
}

// addHeadline says in one sentence how things are.
func (v *visit) addHeadline(out *overviewView, s api.Status, series overviewSeries) {
	need := 0
	for _, p := range s.ProblemList {
		if p.Severity != api.Notice {
			need++
		}
	}
	out.Class, out.Sign = "bad", "!"
	switch {
	case s.Endpoints == 0:
		out.Headline = v.t("overview.nothing")
	case need == 1:
		out.Headline = v.t("overview.one")
	case need > 0:
		out.Headline = v.t("overview.many", need)
	default:
		out.Class, out.Sign = "good", "✓"
		out.Headline = v.t("overview.well")
		v.addWell(out, s, series)
	}

	// What is accepted stays safe, whatever else is wrong: unless that is what is wrong.
	safe := !slices.ContainsFunc(s.ProblemList, func(p api.StatusProblem) bool {
		return p.Code == api.RedisEmptied || p.Code == api.SpoolFailing || p.Code == api.Incomplete ||
			p.Code == api.RedisAdvice
	})
	if need > 0 && safe && s.Ready {
		out.Headline = v.sentences(out.Headline, v.t("overview.safe"))
	}
	if len(s.ProblemList) > 0 && s.ProblemList[0].Severity == api.Warning {
		out.Class = "warn"
	}
}

// addWell adds the figures to the sentence that all is well.
func (v *visit) addWell(out *overviewView, s api.Status, series overviewSeries) {
	latest := v.moment(s.LastCallAt)
	key := "overview.well.callback"
	if v.tenant != "" {
		latest = v.moment(s.LastEventAt)
		key = "overview.well.event"
	}
	took := series.out.Total.Delivery
	if latest.ISO == "" || took == nil {
		return
	}

	rate := series.perMinute(series.out.Total.Delivered)
	if v.tenant == "" {
		rate = series.perMinute(series.came())
	}
	out.Headline = v.t(key, rate, v.millis(took.P95MS))
	out.Latest = latest
}

// worst are the endpoints that the overview shows: those that need somebody, and if they are few, others too.
func (v *visit) worst(attention []api.EndpointHealth) []api.EndpointHealth {
	const few = 8
	if len(attention) >= few {
		return attention
	}
	out := slices.Clone(attention)
	page, err := askKept[api.Endpoints](v, seldom, "", "GET /endpoints",
		url.Values{"sort": {api.SortTrouble}, "limit": {"8"}})
	if err != nil {
		return out // the status says why
	}
	for _, e := range page.Endpoints {
		known := slices.ContainsFunc(out, func(x api.EndpointHealth) bool { return x.Endpoint == e.Endpoint })
		fine := e.State == api.EndpointOK || e.State == api.EndpointIdle
		if !known && fine && len(out) < few {
			out = append(out, e)
		}
	}
	return out
}

// stateCounts are how many endpoints are in each state. The links lead to the list of those, with what it was asked for
// besides.
func (v *visit) stateCounts(states map[api.EndpointState]int, chosen string, besides url.Values) (out []stateCount) {
	for _, name := range api.EndpointStates() {
		n := states[api.EndpointState(name)]
		if n == 0 && name != chosen {
			continue
		}
		q := with(besides, "state", name)
		if name == chosen {
			q.Del("state")
		}
		out = append(out, stateCount{
			State: v.endpointState(name), Count: count(n), Href: v.path("/endpoints", q), Chosen: name == chosen,
		})
	}
	return out
}

// These are the pages of single things, by their names.
func (v *visit) eventPath(id string) string { return v.path("/event", url.Values{"id": {id}}) }
func (v *visit) waybillPath(code string) string {
	return v.path("/waybill", url.Values{"code": {code}})
}
func (v *visit) quarantinedPath(id string) string {
	return v.path("/quarantine", url.Values{"id": {id}})
}
func (v *visit) endpointPath(name string) string { return v.path("/endpoints/"+name, nil) }

// path is a path of this console with a query.
func (v *visit) path(path string, q url.Values) string {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return v.side.base + path
}
