package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

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

func (v *visit) eventRow(e api.Event) eventRow {
	row := eventRow{
		ID: e.ID, Href: v.path("/event", url.Values{"id": {e.ID}}), Accepted: v.moment(e.AcceptedAt),
		Brand: v.brandText(e.CPCode), Status: v.statusText(e.Status), State: v.state(e.State),
		Waybill: visible(e.WaybillCode), WaybillHref: v.path("/waybill", url.Values{"code": {e.WaybillCode}}),
	}
	if e.Repeats > 0 {
		row.Times = v.t("times", e.Repeats+1)
	}
	for _, d := range e.Deliveries {
		m := deliveryMark{State: v.state(string(d.State)), Endpoint: d.Endpoint}
		if d.State == event.StateDead {
			m.Detail = visible(d.Why)
		} else if len(d.Tries) > 0 {
			m.Detail = v.attempt(d.Tries[len(d.Tries)-1]).Result
		}
		row.Deliveries = append(row.Deliveries, m)
	}
	return row
}

// statusText is a status with the provider's word for it.
func (v *visit) statusText(status string) string {
	if status == "" {
		return "–"
	}
	status = visible(status)
	key := "status." + status
	if v.look.language == chinese && v.look.language.has(key) {
		return status + " " + v.t(key)
	}
	return status
}

// filterView is what a list of events can be narrowed by.
type filterView struct {
	Status, Brand, Endpoint, Waybill, Since string
	States, Statuses, Spans                 []option
	Clear                                   string
	Any                                     bool
}

// eventFilter are the parameters of a list of events.
var eventFilter = []string{"status", "brand", "endpoint", "tenant", "waybill_code", "state", "since", "until"}

func (v *visit) filterView(path string, q url.Values) filterView {
	f := filterView{
		Status: q.Get("status"), Brand: q.Get("brand"), Endpoint: q.Get("endpoint"), Waybill: q.Get("waybill_code"),
		Since: q.Get("since"), Clear: v.path(path, nil), Any: len(q) > 0,
	}
	states := []string{"open", "delivered", "retrying", "waiting", "dead", "dismissed"}
	if v.tenant == "" {
		states = append(states, api.StateUnrouted)
	}
	f.States = v.options(states, q.Get("state"), func(s string) string { return v.state(s).Text })
	f.Statuses = v.options(kuaidihelp.Statuses(), f.Status, v.statusText)
	f.Spans = v.options([]string{"1h", "6h", "24h", "7d"}, f.Since, func(s string) string { return v.t("last." + s) })
	return f
}

type eventsView struct {
	Filter filterView
	Rows   []eventRow
	Next   string
	Newest string
	First  bool // this is the first page, which changes
	Empty  string
}

func (v *visit) showEvents() error {
	q := v.query(append([]string{"cursor"}, eventFilter...)...)
	q.Set("limit", "50")
	page, err := ask[api.Events](v, "GET /events", q)
	if err != nil {
		return err
	}

	out := eventsView{First: q.Get("cursor") == ""}
	for _, e := range page.Events {
		out.Rows = append(out.Rows, v.eventRow(e))
	}
	out.Next = v.nextPage("/events", q, page.Next)
	q.Del("limit")
	q.Del("cursor")
	out.Filter = v.filterView("/events", q)
	out.Newest = v.path("/events", q)
	out.Empty = v.t("events.none")
	if page.Next != "" {
		out.Empty = v.t("events.none.here")
	} else if out.Filter.Any {
		out.Empty = v.t("events.none.filter")
	}
	return v.render(http.StatusOK, "events", out)
}

// eventView is one event.
type eventView struct {
	eventRow
	Type       string
	Sequence   string
	Received   moment
	Repeated   moment
	Owed       []deliveryView
	Unrouted   bool
	Routes     []routeRow
	RoutesLeft int
	Data       *payload
	Live       bool // it may still change
}

func (e eventView) title(v *visit) string {
	return strings.Join(strings.Fields(e.Brand+" "+e.Status+" "+e.Waybill), " · ")
}

// deliveryView is what became of an event at an endpoint.
type deliveryView struct {
	Endpoint, Href string
	State          word
	Sentence       string
	Attempts       []attemptRow
	Last           *attemptRow // with what the receiver answered
	Dead, Open     bool
	Behind         string
	EventID        string
}

// attemptRow is an attempt.
type attemptRow struct {
	At     moment
	Event  string // the page of its event; empty: it is on that page
	Result string // status, or why there is none, and how long it took
	Class  string
	Text   string
}

// routeRow is what a route makes of an event.
type routeRow struct {
	At, Endpoints, Why string
	Matched            bool
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

func (v *visit) showEvent() error {
	e, err := ask[api.Event](v, "GET /events/{id}", nil, v.QueryParam("id"))
	if err != nil {
		return err
	}

	out := eventView{
		eventRow: v.eventRow(e), Type: visible(e.Type), Sequence: strconv.FormatInt(e.Sequence, 10),
		Received: v.moment(e.ReceivedAt), Repeated: v.moment(e.LastRepeatAt),
		Unrouted: len(e.Deliveries) == 0, RoutesLeft: e.RoutesLeft,
	}
	for _, d := range e.Deliveries {
		out.Owed = append(out.Owed, v.deliveryView(e.ID, d))
		out.Live = out.Live || d.State.Open()
	}
	for _, r := range e.Routes {
		out.Routes = append(out.Routes, routeRow{
			At: visible(r.At), Endpoints: strings.Join(r.Endpoints, ", "), Why: visible(r.Why), Matched: r.Matched,
		})
	}
	if len(e.Data) > 0 {
		data := newPayload(e.Data)
		out.Data = &data
	}
	return v.render(http.StatusOK, "event", out)
}

func (v *visit) deliveryView(id string, d api.Delivery) deliveryView {
	out := deliveryView{
		Endpoint: d.Endpoint, Href: v.path("/endpoints/"+d.Endpoint, nil), State: v.state(string(d.State)), EventID: id,
		Dead: d.State == event.StateDead, Open: d.State.Open(),
	}
	for _, a := range d.Tries {
		out.Attempts = append(out.Attempts, v.attempt(a))
	}
	if n := len(out.Attempts); n > 0 && out.Attempts[n-1].Text != "" {
		out.Last = &out.Attempts[n-1]
	}
	if d.Behind != "" {
		out.Behind = v.path("/event", url.Values{"id": {d.Behind}})
	}
	out.Sentence = v.deliverySentence(d)
	return out
}

// deliverySentence says what becomes of a delivery.
func (v *visit) deliverySentence(d api.Delivery) string {
	due := v.moment(d.DueAt)
	switch {
	case d.State == event.StateDead:
		return visible(d.Why)
	case d.Parked != nil && d.State.Open():
		return v.t("delivery.parked", v.endpointState(string(d.Parked.State)).Text, v.moment(d.Parked.Since).Text)
	case d.Orphan:
		return v.t("delivery.orphan")
	case d.State == event.StateWaiting:
		return v.t("delivery.waiting")
	case d.State == event.StateRetrying && due.ISO != "":
		return v.t("delivery.retrying", d.Attempts, due.Text, due.Ago)
	case d.State == event.StateDelivered && d.Attempts > 1:
		return v.t("delivery.after", d.Attempts)
	}
	return ""
}

// waybillView is everything of a waybill.
type waybillView struct {
	Code          string
	Events        []eventRow
	Subscriptions []subscriptionRow
	Verdict       word
	Text, Next    string // what is going on, and what to do, in English
	Quarantined   []quarantineRow
	Spooled       string // how many callbacks in the spool may hold it; empty: none
}

func (w waybillView) title(*visit) string { return w.Code }

// subscriptionRow is a subscription.
type subscriptionRow struct {
	Tenant, Brand string
	State         word
	Since, Until  moment
	Message       string
}

func (v *visit) showWaybill() error {
	code := v.QueryParam("code")
	w, err := ask[api.Waybill](v, "GET /waybills/{waybill}", nil, code)
	if status, text := statusOf(err); status == http.StatusNotFound {
		return v.render(http.StatusNotFound, "waybill", waybillView{
			Code: visible(code), Verdict: v.verdict(api.VerdictUnknown), Text: text,
		})
	}
	if err != nil {
		return err
	}

	out := waybillView{
		Code: visible(code), Verdict: v.verdict(w.Verdict.Code), Text: visible(w.Verdict.Text), Next: visible(w.Verdict.Next),
	}
	for _, e := range slices.Backward(w.Events) {
		out.Events = append(out.Events, v.eventRow(e))
	}
	for _, s := range w.Subscriptions {
		out.Subscriptions = append(out.Subscriptions, subscriptionRow{
			Tenant: s.Tenant, Brand: v.brandText(s.CPCode), State: v.state(s.State), Since: v.moment(s.Since),
			Until: v.moment(s.Expires), Message: visible(s.Msg),
		})
	}
	for _, q := range w.Quarantined {
		out.Quarantined = append(out.Quarantined, v.quarantineRow(q))
	}
	if n := len(w.Spooled); n > 0 {
		out.Spooled = count(n)
	}
	return v.render(http.StatusOK, "waybill", out)
}

// verdict shows what is going on with a waybill.
func (v *visit) verdict(code api.VerdictCode) word {
	w := word{Sign: "?", Class: "dim", Text: v.t("verdict.unknown")}
	if key := "verdict." + string(code); v.look.language.has(key) {
		w.Text = v.t(key)
	}
	switch code {
	case api.VerdictDelivered:
		w.Sign, w.Class = "✓", "good"
	case api.VerdictDead, api.VerdictQuarantined, api.VerdictFailed:
		w.Sign, w.Class = "✗", "bad"
	case api.VerdictParked:
		w.Sign, w.Class = "‖", "hold"
	case api.VerdictOpen, api.VerdictSpooled, api.VerdictPending, api.VerdictAwaited:
		w.Sign, w.Class = "◷", "wait"
	case api.VerdictUnrouted, api.VerdictNotOwed, api.VerdictDismissed, api.VerdictExpired:
		w.Sign = "∅"
	}
	return w
}

// brandText is a brand, with its name in Chinese.
func (v *visit) brandText(code string) string {
	key := "brand." + code
	if v.look.language == chinese && v.look.language.has(key) {
		return code + " " + v.t(key)
	}
	return visible(code)
}

// find goes to what was typed into the search box.
func (v *visit) find() error {
	asked := tidy(v.QueryParam("q"))
	to := func(path, parameter string) error {
		return v.Redirect(http.StatusSeeOther, v.path(path, url.Values{parameter: {asked}}))
	}
	switch {
	case asked == "":
		return v.Redirect(http.StatusSeeOther, v.path("/events", nil))
	case strings.HasPrefix(asked, "evt_"):
		return to("/event", "id")
	case strings.HasPrefix(asked, "rpl_"):
		return v.Redirect(http.StatusSeeOther, v.path("/replays/"+url.PathEscape(asked), nil))
	case strings.HasPrefix(asked, "qtn_") && v.tenant == "":
		return to("/quarantine", "id")
	case strings.Count(asked, "/") == 1:
		tenant, name, _ := strings.Cut(asked, "/")
		return v.Redirect(http.StatusSeeOther,
			v.path(fmt.Sprintf("/endpoints/%s/%s", url.PathEscape(tenant), url.PathEscape(name)), nil))
	}
	return to("/waybill", "code")
}

// tidy removes what a copied number has around and within it, and makes wide letters and digits plain ones.
func tidy(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\u3000' || r == '\u00a0' || hidden(r):
			return -1
		}
		return r
	}, s)
}
