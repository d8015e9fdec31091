package console

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"kuairelay/relay/api"
)

// letterFilter are the parameters that a list of dead letters is narrowed by.
var letterFilter = []string{"endpoint", "tenant", "brand", "status", "waybill_code", "reason", "since", "until"}

type deadLettersView struct {
	Filter  letterFilterView
	Total   string
	Kept    string // how long, in words
	Ending  string // how many end within a day; empty: none
	By      []choice
	ByWhat  string // reason, endpoint, or none
	Groups  []letterGroup
	More    string // how many more groups there are; empty: none
	Rows    []deadLetterRow
	Next    string
	Redrive string // the question before all of the filter are sent again
	Dismiss string
	Sure    string // where the form of chosen rows leads
	Back    string
}

// letterFilterView is the form that a list of dead letters is narrowed by.
type letterFilterView struct {
	Endpoint, Tenant, Brand, Waybill, Reason, Until string

	Statuses, Spans []option
	Clear           string
	Any             bool
}

// letterGroup are dead letters with one reason, or of one endpoint.
type letterGroup struct {
	ID, Href         string
	Name             said // the reason, or the endpoint
	Count            string
	First, Last      moment
	Redrive, Dismiss string
}

// deadLetterRow is a dead letter.
type deadLetterRow struct {
	EventID, Href string
	Name          string // of the row's box, for the form of those that are chosen
	Endpoint      string
	EndpointHref  string
	Dead          moment
	Brand, Status string
	Waybill       string
	Attempts      int
	Reason        said
}

func (v *visit) showDeadLetters() error {
	q := v.query(letterFilter...)
	asked, err := v.withTimes(q)
	if err != nil {
		return err
	}
	asked.Set("limit", "50")
	if cursor := v.QueryParam("cursor"); cursor != "" {
		asked.Set("cursor", cursor)
	}
	page, err := ask[api.DeadLetters](v, "GET /dead-letters", asked)
	if err != nil {
		return err
	}

	out := deadLettersView{
		Filter: v.letterFilterView(q), ByWhat: v.groupedBy(), Sure: v.path("/dead-letters/sure", nil),
		Redrive: v.sureOf("redrive", q), Dismiss: v.sureOf("dismiss", q),
	}
	for _, d := range page.DeadLetters {
		out.Rows = append(out.Rows, v.deadLetterRow(d))
	}
	if err := v.addLetterCounts(&out, q); err != nil {
		return err
	}
	for _, by := range []string{"reason", "endpoint", "none"} {
		out.By = append(out.By, choice{
			Href: v.path("/dead-letters", with(q, "group", by)), Name: v.t("dead.by." + by), Chosen: by == out.ByWhat,
		})
	}
	out.Back = v.path("/dead-letters", v.query(append(letterFilter, "group")...))
	out.Next = v.nextPage("/dead-letters", v.query(append(letterFilter, "group")...), page.Next)
	return v.render(http.StatusOK, "dead-letters", out)
}

// with is a query with one more parameter, or another value of it.
func with(q url.Values, name, value string) url.Values {
	out := maps.Clone(q)
	if out == nil {
		out = url.Values{}
	}
	out.Set(name, value)
	return out
}

func (v *visit) groupedBy() string {
	by := v.QueryParam("group")
	if slices.Contains([]string{"endpoint", "none"}, by) {
		return by
	}
	return "reason"
}

func (v *visit) deadLetterRow(d api.DeadLetter) deadLetterRow {
	return deadLetterRow{
		EventID: d.EventID, Href: v.eventPath(d.EventID), Name: d.EventID + " " + d.Endpoint,
		Endpoint: d.Endpoint, EndpointHref: v.endpointPath(d.Endpoint), Dead: v.moment(d.DeadAt),
		Brand: v.brandText(d.CPCode), Status: v.word(d.Type, d.WaybillCode, d.Status), Waybill: visible(d.WaybillCode),
		Attempts: d.Attempts, Reason: v.sentence(d.Reason),
	}
}

func (v *visit) letterFilterView(q url.Values) letterFilterView {
	f := letterFilterView{
		Endpoint: q.Get("endpoint"), Tenant: q.Get("tenant"), Brand: q.Get("brand"), Waybill: q.Get("waybill_code"),
		Reason: q.Get("reason"), Until: v.inputTime(q.Get("until")), Clear: v.path("/dead-letters", nil), Any: len(q) > 0,
	}
	f.Statuses = v.options(words(), q.Get("status"), v.statusText)
	f.Spans = v.sinceOptions(q.Get("since"))
	return f
}

// sinceOptions are the spans before now that a form offers, and the time that a link has chosen.
func (v *visit) sinceOptions(chosen string) []option {
	last := func(span string) string { return v.t("last." + span) }
	return withChosen(v.options(ranges, chosen, last), chosen, v.sinceText)
}

// sinceText says when what a filter takes begins.
func (v *visit) sinceText(at string) string { return v.t("since") + " " + v.timeOf(at) }

// withChosen are options with a chosen value that is none of them.
func withChosen(options []option, chosen string, text func(string) string) []option {
	if slices.ContainsFunc(options, func(o option) bool { return o.Value == chosen }) {
		return options
	}
	return append(options, option{Value: chosen, Text: text(chosen), Chosen: true})
}

// timeOf shows a time of a query in the reader's zone.
func (v *visit) timeOf(text string) string {
	at, err := v.readTime(text)
	if err != nil {
		return visible(text)
	}
	return v.moment(at).Text
}

// inputTime is a time of a query as an input for times has it, in the reader's zone.
func (v *visit) inputTime(text string) string {
	at, err := v.readTime(text)
	if err != nil {
		return ""
	}
	return at.In(v.zone).Format("2006-01-02T15:04")
}

// withTimes is the query of the API for a filter of a page: spans and local times become times.
func (v *visit) withTimes(q url.Values) (url.Values, error) {
	out := maps.Clone(q)
	for _, name := range []string{"since", "until"} {
		if text := q.Get(name); text != "" {
			at, err := v.readTime(text)
			if err != nil {
				return nil, err
			}
			out.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return out, nil
}

// addLetterCounts adds how many there are, by what, and how long they are kept. Counting may take a second, so its
// result is used for a while.
func (v *visit) addLetterCounts(out *deadLettersView, q url.Values) error {
	cheap := url.Values{"limit": {"1"}, "total": {"true"}}
	for _, name := range []string{"endpoint", "tenant"} {
		if q.Has(name) {
			cheap.Set(name, q.Get(name))
		}
	}
	all, err := v.letterCounts("", cheap)
	if err != nil {
		return err
	}
	out.Total = v.letterTotal(all)
	if kept, err := time.ParseDuration(all.Kept); err == nil {
		out.Kept = v.span(kept)
	}
	if all.Ending > 0 {
		out.Ending = count(all.Ending)
	}
	if out.ByWhat == "none" || totalOf(all) == 0 {
		return nil
	}

	// Of a span, the groups are counted anew with each answer, so they are asked for by the text of the query.
	groups, err := v.letterCounts(out.ByWhat, q)
	if err != nil {
		return err
	}
	out.Total = v.letterTotal(groups)
	if groups.GroupsLeft > 0 {
		out.More = count(groups.GroupsLeft)
	}
	for i, g := range groups.Groups {
		name := cmp.Or(g.Reason, g.Endpoint)
		shown := v.sentence(g.Reason)
		if g.Reason == "" {
			shown = said{{Text: visible(g.Endpoint), Kind: saidName}}
		}
		own := with(q, out.ByWhat, name)
		out.Groups = append(out.Groups, letterGroup{
			ID: "g-" + strconv.Itoa(i), Name: shown, Count: v.atLeast(g.Count, groups.AtLeast),
			First: v.moment(g.FirstAt), Last: v.moment(g.LastAt), Href: v.path("/dead-letters", with(own, "group", "none")),
			Redrive: v.sureOf("redrive", own), Dismiss: v.sureOf("dismiss", own),
		})
	}
	return nil
}

// letterTotal says how many there are, in words.
func (v *visit) letterTotal(d api.DeadLetters) string {
	if !d.AtLeast {
		return v.many("letter", int64(totalOf(d)))
	}
	return v.t("letter.many", v.atLeast(totalOf(d), true))
}

func totalOf(d api.DeadLetters) int {
	if d.Total == nil {
		return 0
	}
	return *d.Total
}

// countsFor is how long a count is used: longer, the longer it took, so that pages that many look at cost little.
func countsFor(took time.Duration) time.Duration {
	const least, times = 3 * time.Second, 20
	return max(least, times*took)
}

// letterCounts asks for counts of dead letters, or gives those of a short time ago.
func (v *visit) letterCounts(group string, q url.Values) (api.DeadLetters, error) {
	asked, err := v.withTimes(q)
	if err != nil {
		return api.DeadLetters{}, err
	}
	if group != "" {
		asked.Set("group", group)
	}
	key := v.tenant + "\x00" + group + "\x00" + q.Encode()
	return keep(v.letters, v.now, key, countsFor, func() (api.DeadLetters, error) {
		return ask[api.DeadLetters](v, "GET /dead-letters", asked)
	})
}
