package console

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// eventRow is an event in a table.
type eventRow struct {
	ID, Href    string
	Accepted    moment
	Brand       string
	Status      string
	State       word
	Waybill     string
	WaybillHref string
	Deliveries  []deliveryMark
	Times       string // how often it came, if more than once
}

// deliveryMark is a delivery in the row of its event.
type deliveryMark struct {
	State    word
	Endpoint string
	Detail   string
}

// mostInRow is how many characters of a text of somebody else a row shows.
const mostInRow = 120

// short is the beginning of a text of somebody else, for a row.
func short(s string) string {
	if len(s) <= mostInRow {
		return s
	}
	all := []rune(s[:min(len(s), 4*mostInRow)])
	return strings.ToValidUTF8(string(all[:min(len(all), mostInRow)]), "") + "…"
}

func (v *visit) eventRow(e api.Event) eventRow {
	row := eventRow{
		ID: e.ID, Href: v.eventPath(e.ID), Accepted: v.exactly(e.AcceptedAt),
		Brand: v.brandText(e.CPCode), Status: v.word(e.Type, e.WaybillCode, e.Status), State: v.state(e.State),
		Waybill: short(visible(e.WaybillCode)), WaybillHref: v.waybillPath(e.WaybillCode),
	}
	if e.Repeats > 0 {
		row.Times = v.t("times", e.Repeats+1)
	}
	for _, d := range e.Deliveries {
		m := deliveryMark{State: v.state(string(d.State)), Endpoint: d.Endpoint}
		if d.State == event.StateDead {
			m.Detail = short(v.say(d.Why).String())
		} else if len(d.Tries) > 0 {
			last := d.Tries[len(d.Tries)-1]
			m.Detail = v.tried(last)
			if d.State == event.StateDelivered {
				m.Detail = v.millis(last.DurationMS)
			}
		}
		row.Deliveries = append(row.Deliveries, m)
	}
	return row
}

// words are those that events are listed with, and filtered by: the statuses, and what the relay itself says.
func words() []string { return slices.Concat(kuaidihelp.Statuses(), event.OwnTypes()) }

// word is what lists show of an event: its status, or the type of one that the relay has made.
func (v *visit) word(typ, waybill, status string) string {
	return v.statusText(event.Word(typ, waybill, status))
}

// statusText is a status with the provider's word for it.
func (v *visit) statusText(status string) string {
	if status == "" {
		return "–"
	}
	status = short(visible(status))
	key := "status." + status
	if v.look.language == chinese && v.look.language.has(key) {
		return status + " " + v.t(key)
	}
	return status
}

type eventsView struct {
	Filter  filterView
	Rows    []eventRow
	Search  *searchView // the page is not full, and there may be more; nil: it is
	Older   string
	Newer   string
	Newest  string // the first page; empty: this is the first page, which changes
	Empty   string
	Sizes   []choice
	Jump    string // a time, for its input
	Keep    []field
	Link    string
	NDJSON  string
	CSV     string
	Again   string // the page to send these again
	Head    string // where the search for newer ones begins, for the next look of an open page
	Came    int    // events since the last look
	AtLeast bool   // there were more
}

// searchView says how far a search for rare events has come.
type searchView struct {
	Looked   string // of how many, if that is known
	Back     moment
	Found    string
	Done     string // of a hundred; empty: not known
	More     string // where it goes on; empty: it has come to the end
	MorePart string
}

// sizes are how many events a page may have.
var sizes = []int{20, 50, 100}

const usualSize = 50

// eventsAsked is what a page of events is asked for by.
type eventsAsked struct {
	filter url.Values
	cursor string
	newer  bool
	at     string // the page begins with what was accepted before this time
	size   int
	// looked and had say how many events an open page has looked at and found before.
	looked, had int
}

// ofList is the query of a page of the list.
func (a *eventsAsked) ofList(cursor string, newer bool) url.Values {
	q := maps.Clone(a.filter)
	if a.size != usualSize {
		q.Set("limit", strconv.Itoa(a.size))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if newer {
		q.Set("newer", "1")
	}
	return q
}

func (v *visit) eventsAsked(filter url.Values) *eventsAsked {
	a := &eventsAsked{
		filter: filter, cursor: v.QueryParam("cursor"), newer: v.QueryParam("newer") != "", at: v.QueryParam("at"),
		size: usualSize,
	}
	if n, err := strconv.Atoi(v.QueryParam("limit")); err == nil && slices.Contains(sizes, n) {
		a.size = n
	}
	a.looked, _ = strconv.Atoi(v.QueryParam("looked"))
	a.had, _ = strconv.Atoi(v.QueryParam("had"))
	a.looked, a.had = max(a.looked, 0), min(max(a.had, 0), a.size)
	if filter.Get("callback") != "" && a.cursor == "" {
		a.newer = true // the callback says when it came: the search begins there
	}
	return a
}

// found is what a search has come to.
type found struct {
	events []api.Event
	next   string // where it goes on; empty: it has come to the end
	back   string // where a page in the other direction begins
	backTo time.Time
	looked int
}

// What one page spends on a search before it says how far it has come.
const (
	searchFor  = 200 * time.Millisecond
	searchAsks = 20
)

// search asks for events until there are as many as wanted, or it has come to the end, or has taken long enough.
func (v *visit) search(a *eventsAsked, want int) (f found, err error) {
	q := maps.Clone(a.filter)
	if a.at != "" && (q.Get("until") == "" || a.at < q.Get("until")) {
		q.Set("until", a.at)
	}
	if a.newer {
		q.Set("newer", "true")
	}
	f.next = a.cursor
	for asks := 0; ; asks++ {
		if f.next != "" {
			q.Set("cursor", f.next)
		}
		q.Set("limit", strconv.Itoa(want-len(f.events)))
		page, err := ask[api.Events](v, "GET /events", q)
		if err != nil && asks > 0 && tooMany(err) {
			return f, nil // what was found is shown, and the search goes on later
		}
		if err != nil {
			return f, err
		}

		if len(f.events) == 0 {
			f.back = cmp.Or(page.Back, f.back)
		}
		f.events = append(f.events, page.Events...)
		f.next = page.Next
		f.looked += page.Looked
		if !page.LookedBackTo.IsZero() {
			f.backTo = page.LookedBackTo
		}
		if a.newer && page.Looked == 0 {
			f.next = "" // there always is a next towards newer events
		}
		if len(f.events) >= want || f.next == "" || asks >= searchAsks || time.Since(v.now) > searchFor {
			return f, nil
		}
	}
}

// tooMany says whether the API refuses because it was asked too often.
func tooMany(err error) bool {
	status, _ := statusOf(err)
	return status == http.StatusTooManyRequests
}

func (v *visit) showEvents() error {
	filter, elsewhere, err := v.readEventFilter("/events")
	if err != nil {
		return err
	}
	if elsewhere != "" {
		return v.Redirect(http.StatusSeeOther, elsewhere)
	}
	a := v.eventsAsked(filter)
	first := a.cursor == "" && a.at == "" && !a.newer
	live := first && v.QueryParam("part") == "main"

	var f found
	if live {
		f, err = v.firstPage(a)
	} else {
		f, err = v.search(a, a.size-a.had)
	}
	if err != nil {
		return err
	}
	out := eventsView{Filter: v.filterView("/events", filter), Head: f.back, Link: v.path("/events", a.ofList("", false))}
	if live {
		if err := v.addCame(&out, a, v.QueryParam("head")); err != nil {
			return err
		}
	}
	if a.newer {
		slices.Reverse(f.events)
	}
	for _, e := range f.events {
		out.Rows = append(out.Rows, v.eventRow(e))
	}
	v.addPaging(&out, a, &f, first)
	v.addActs(&out, a)
	return v.render(http.StatusOK, "events", out)
}

// firstPageFor is how long the first page of a list is used.
const firstPageFor = time.Second

// firstPage asks for the first page for all open pages with the same filter together. A search for rare events is not
// repeated to its end every two seconds.
func (v *visit) firstPage(a *eventsAsked) (found, error) {
	q := with(a.filter, "limit", strconv.Itoa(a.size))
	page, err := keep(v.firstPages, v.now, v.tenant+"\n"+q.Encode(), always(firstPageFor), func() (api.Events, error) {
		return ask[api.Events](v, "GET /events", q)
	})
	if err != nil {
		return found{}, err
	}
	if page.Looked > 5*a.size {
		v.pollEvery(dearPace)
	}
	return found{events: slices.Clone(page.Events), next: page.Next, back: page.Back, backTo: page.LookedBackTo,
		looked: page.Looked}, nil
}

// mostCame is how many new events one look of an open page counts.
const mostCame = 500

// addCame counts the events that came since the last look of an open page, which began at head.
func (v *visit) addCame(out *eventsView, a *eventsAsked, head string) error {
	if head == "" {
		return nil
	}
	q := maps.Clone(a.filter)
	q.Set("newer", "true")
	q.Set("cursor", head)
	q.Set("limit", strconv.Itoa(mostCame))
	page, err := ask[api.Events](v, "GET /events", q)
	if err != nil {
		return err
	}
	out.Came = len(page.Events)
	out.AtLeast = out.Came == mostCame
	out.Head = page.Next
	return nil
}

// addPaging adds where a list goes on, and how far a search has come.
func (v *visit) addPaging(out *eventsView, a *eventsAsked, f *found, first bool) {
	list := func(cursor string, newer bool) string { return v.path("/events", a.ofList(cursor, newer)) }
	if !first {
		out.Newest = list("", false)
	}
	full := len(f.events)+a.had >= a.size
	switch {
	case a.newer:
		out.Older = list(cmp.Or(f.back, a.cursor), false)
		if f.next != "" && full {
			out.Newer = list(f.next, true)
		}
	default:
		if f.next != "" && full {
			out.Older = list(f.next, false)
		}
		if back := cmp.Or(f.back, a.cursor); !first && back != "" {
			out.Newer = list(back, true)
		}
	}

	out.Empty = v.t("events.none")
	if out.Filter.Any {
		out.Empty = v.t("events.none.filter")
	}
	if f.next != "" && !full || a.looked > 0 {
		out.Search = v.searchView(a, f, full)
		if f.next != "" {
			out.Empty = v.t("events.none.here")
		}
	}

	for _, n := range sizes {
		name := strconv.Itoa(n)
		href := v.path("/events", with(a.ofList("", false), "limit", name))
		out.Sizes = append(out.Sizes, choice{Name: name, Href: href, Chosen: n == a.size})
	}
	if at, err := time.Parse(time.RFC3339, a.at); err == nil {
		out.Jump = at.In(v.zone).Format(pickerLayout)
	}
}

// searchView says how far a search has come, with what an open page had looked at before.
func (v *visit) searchView(a *eventsAsked, f *found, full bool) *searchView {
	looked := a.looked + f.looked
	s := &searchView{Looked: v.t("search.looked", count(looked)), Back: v.moment(f.backTo),
		Found: count(a.had + len(f.events))}
	if all := v.events(); all > int64(looked) {
		s.Looked = v.t("search.looked.of", count(looked), count(all))
		s.Done = strconv.FormatInt(int64(looked)*100/all, 10)
	}
	if f.next != "" && !full {
		q := a.ofList(f.next, a.newer)
		q.Set("looked", strconv.Itoa(looked))
		s.More = v.path("/events", q)
		q.Set("had", strconv.Itoa(a.had+len(f.events)))
		q.Set("part", "more")
		s.MorePart = v.path("/events", q)
	}
	return s
}

// events is about how many events are kept, for the operator; 0: it is not known.
func (v *visit) events() int64 {
	if v.tenant != "" {
		return 0
	}
	s, err := v.system()
	if err != nil {
		return 0
	}
	return s.Memory.Events
}

// addActs adds what can be done with all events of the filter.
func (v *visit) addActs(out *eventsView, a *eventsAsked) {
	out.NDJSON = v.path("/events/download", with(a.filter, "format", formatNDJSON))
	out.CSV = v.path("/events/download", with(a.filter, "format", formatCSV))
	if a.filter.Get("callback") == "" { // a replay knows no callbacks
		out.Again = v.path("/replays/new", a.filter)
	}
	out.Keep = fieldsOf(a.ofList("", false))
}

// attemptRow is an attempt.
type attemptRow struct {
	At     moment
	Event  string // the page of its event; empty: it is on that page
	Result string // status, or why there is none, and how long it took
	Class  string
	Text   string
}

func (v *visit) attempt(a api.Attempt) attemptRow {
	row := attemptRow{At: v.moment(a.At), Class: "bad"}
	if a.Status == 0 {
		reason, _, _ := strings.Cut(a.Text, "\n")
		row.Result = visible(reason)
		return row
	}
	row.Result = v.t("attempt.in", strconv.Itoa(a.Status), v.millis(a.DurationMS))
	row.Text = visible(a.Text)
	if a.Status >= 200 && a.Status < 300 {
		row.Class = "good"
	}
	return row
}

// brandText is a brand, with its name in Chinese.
func (v *visit) brandText(code string) string {
	key := "brand." + code
	if v.look.language == chinese && v.look.language.has(key) {
		return code + " " + v.t(key)
	}
	return short(visible(code))
}
