package console

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

// eventView is one event.
type eventView struct {
	eventRow
	Type, Sequence string
	Updates        *updatesView
	Callback       *callbackView
	Received       moment
	Durable        string // how long after it was received
	Config         string // the sentence on the config that routed it
	Repeats        []repeatView
	RepeatsLeft    string // how many more there were, of which nothing is kept
	Owed           []deliveryView
	Unrouted       bool
	Routes         []routeRow
	MoreRoutes     []routeRow // behind a line that opens
	MoreCount      string
	RoutesLeft     string // how many more do not match, and are not listed
	Data           *dataView
}

func (e eventView) title(*visit) string {
	return strings.Join(strings.Fields(e.Brand+" "+e.Status+" "+e.Waybill), " · ")
}

// updatesView is the place of an event among the updates of its waybill.
type updatesView struct {
	Place, All    string
	Before, After string // pages of those; empty: there is none
}

// callbackView is the callback that brought an event.
type callbackView struct {
	ID, Facts   string
	Others      string // the page of all events of the callback; empty: it brought no other
	OthersCount string
}

// repeatView is one time that an event came again.
type repeatView struct {
	At       moment
	Callback string
}

// routeRow is what a route makes of an event.
type routeRow struct {
	At, Endpoints string
	Why           said
	Matched       bool
}

// fewRoutes is how many routes without a match are shown before the line that opens the rest.
const fewRoutes = 4

func (v *visit) showEvent() error {
	// What an open page asks for again is the part that changes.
	q := url.Values{"updates": {"true"}}
	if v.part() {
		q = url.Values{"brief": {"true"}}
	}
	e, err := ask[api.Event](v, "GET /events/{id}", q, v.QueryParam("id"))
	if err != nil {
		return err
	}

	out := eventView{
		eventRow: v.eventRow(e), Type: visible(e.Type), Sequence: strconv.FormatInt(e.Sequence, 10),
		Received: v.exactly(e.ReceivedAt), Unrouted: len(e.Deliveries) == 0,
	}
	out.Accepted = v.exactly(e.AcceptedAt)
	v.addOrigin(&out, e)
	v.addRoutes(&out, e)
	open := false
	for _, d := range e.Deliveries {
		out.Owed = append(out.Owed, v.deliveryView(e.ID, d))
		open = open || d.State.Open()
	}
	if len(e.Data) > 0 {
		out.Data = v.dataView(e)
	}
	if !open {
		v.pollEvery(dearPace) // little changes any more
	}
	return v.render(http.StatusOK, "event", out)
}

// exactly is a moment to the millisecond.
func (v *visit) exactly(at time.Time) moment {
	m := v.moment(at)
	if m.ISO != "" {
		m.Text += at.Format(".000")
	}
	return m
}

// routedBy says by which config an event was routed. A tenant is told only whether it is the same as today.
func (v *visit) routedBy(fingerprint string, same bool) string {
	switch {
	case fingerprint != "" && same:
		return v.t("event.config.same", fingerprint)
	case fingerprint != "":
		return v.t("event.config.other", fingerprint)
	case same:
		return v.t("event.same")
	}
	return v.t("event.other")
}

// addOrigin adds where an event came from, how often, and where it stands among the updates of its waybill.
func (v *visit) addOrigin(out *eventView, e api.Event) {
	if u := e.Updates; u != nil {
		out.Updates = &updatesView{Place: v.t("event.place", u.Number, u.Of), All: v.t("event.updates", u.Of)}
		if u.Before != "" {
			out.Updates.Before = v.eventPath(u.Before)
		}
		if u.After != "" {
			out.Updates.After = v.eventPath(u.After)
		}
	}
	if !e.ReceivedAt.IsZero() {
		out.Durable = v.millis(max(e.AcceptedAt.Sub(e.ReceivedAt), 0).Milliseconds())
	}
	if e.ConfigSame != nil {
		out.Config = v.routedBy(e.Config, *e.ConfigSame)
	}

	if c := e.Callback; c != nil {
		out.Callback = v.callbackView(c)
	}
	for _, r := range e.Repeated {
		out.Repeats = append(out.Repeats, repeatView{At: v.exactly(r.At), Callback: r.Callback})
	}
	if left := e.Repeats - len(e.Repeated); left > 0 {
		out.RepeatsLeft = count(left)
		if len(out.Repeats) == 0 && !e.LastRepeatAt.IsZero() {
			out.Repeats = append(out.Repeats, repeatView{At: v.exactly(e.LastRepeatAt)})
			out.RepeatsLeft = ""
			if left > 1 {
				out.RepeatsLeft = count(left - 1)
			}
		}
	}
}

func (v *visit) callbackView(c *api.Callback) *callbackView {
	var facts []string
	if c.Items > 0 {
		facts = append(facts, v.t("callback.item", c.Item, c.Items))
	}
	if c.Form != "" {
		facts = append(facts, visible(c.Form))
	}
	if c.From != "" {
		facts = append(facts, v.t("callback.from", visible(c.From)))
	}
	if c.Replica != "" {
		facts = append(facts, v.t("callback.at", visible(c.Replica)))
	}
	out := &callbackView{ID: c.ID, Facts: strings.Join(facts, v.t("comma"))}
	if c.Items > 1 {
		out.Others = v.path("/events", url.Values{"callback": {c.ID}})
		out.OthersCount = count(c.Items - 1)
	}
	return out
}

// addRoutes adds how today's routes decide: those that match first, and few of those that do not.
func (v *visit) addRoutes(out *eventView, e api.Event) {
	few := 0
	for _, r := range e.Routes {
		row := routeRow{
			At: visible(r.At), Endpoints: strings.Join(r.Endpoints, ", "), Why: v.say(r.Why), Matched: r.Matched,
		}
		switch {
		case row.Matched:
			out.Routes = append(out.Routes, row)
		case few < fewRoutes:
			few++
			out.Routes = append(out.Routes, row)
		default:
			out.MoreRoutes = append(out.MoreRoutes, row)
		}
	}

	slices.SortStableFunc(out.Routes, func(a, b routeRow) int {
		switch {
		case a.Matched == b.Matched:
			return 0
		case a.Matched:
			return -1
		}
		return 1
	})
	if n := len(out.MoreRoutes) + e.RoutesLeft; n > 0 {
		out.MoreCount = count(n)
	}
	if e.RoutesLeft > 0 {
		out.RoutesLeft = count(e.RoutesLeft)
	}
}

// dataView is the data of an event, in one of its forms.
type dataView struct {
	payload
	Forms    []choice
	Download string
	Copy     string // its bytes in base64; empty: they are too many for a page
	Changed  bool   // what an attempt sent may have been something else
}

// formRaw is the form of data as it came.
const formRaw = "raw"

// dataView shows data as the address asks: indented, as it came, or as an endpoint gets it.
func (v *visit) dataView(e api.Event) *dataView {
	form := v.QueryParam("form")
	link := func(form string) string {
		q := url.Values{"id": {e.ID}}
		if form != "" {
			q.Set("form", form)
		}
		return v.path("/event", q) + "#data"
	}

	raw := []byte(e.Data)
	out := &dataView{Download: v.path("/event/data", url.Values{"id": {e.ID}})}
	known := form == formRaw
	out.Forms = []choice{
		{Name: v.t("data.pretty"), Href: link("")},
		{Name: v.t("data.raw"), Href: link(formRaw), Chosen: known},
	}
	for _, d := range e.Deliveries {
		chosen := form == d.Endpoint
		if chosen {
			r, err := v.request(e.ID, d.Endpoint)
			chosen = err == nil // an endpoint that is gone from the config gets nothing
			if chosen {
				known = true
				raw = []byte(r.Body)
				out.Changed = r.ChangedSince
				out.Download += "&endpoint=" + url.QueryEscape(d.Endpoint)
			}
		}
		out.Forms = append(out.Forms, choice{Name: v.t("data.as", d.Endpoint), Href: link(d.Endpoint), Chosen: chosen})
	}
	out.Forms[0].Chosen = !known

	out.payload = newPayload(raw)
	if form == formRaw {
		out.payload = rawPayload(raw)
	}
	if len(raw) <= maxShown {
		out.Copy = base64.StdEncoding.EncodeToString(raw)
	}
	return out
}

// downloadData gives the data of an event as a file: as it came, or as an endpoint gets it.
func (v *visit) downloadData() error {
	id, endpoint := v.QueryParam("id"), v.QueryParam("endpoint")
	if endpoint != "" {
		r, err := v.request(id, endpoint)
		if err != nil {
			return err
		}
		return v.download("kuairelay-request.bin", []byte(r.Body))
	}
	e, err := ask[api.Event](v, "GET /events/{id}", nil, id)
	if err != nil {
		return err
	}
	return v.download("kuairelay-"+e.ID[:min(len(e.ID), 16)]+".json", e.Data)
}

// deliveryView is what became of an event at an endpoint.
type deliveryView struct {
	ID             string // of its place on the page
	Endpoint, Href string
	State          word
	Sentence       string
	Next           moment // when the next attempt is
	GivenUp        moment
	Tries          []tryRow
	Dead, Open     bool
	Parked         bool
	Behind         string // the page of the event that it waits for
	EventID        string
	Request        string // the page of what an attempt would send now; empty: its endpoint is not in the config
	RequestPart    string // the same, as a part
	Reason         string // why it is sent, if not because it is new
}

func (v *visit) deliveryView(id string, d api.Delivery) deliveryView {
	of := url.Values{"id": {id}, "endpoint": {d.Endpoint}}
	out := deliveryView{
		ID: "d-" + d.Endpoint, Endpoint: d.Endpoint, Href: v.endpointPath(d.Endpoint),
		State: v.state(string(d.State)), EventID: id, Dead: d.State == event.StateDead, Open: d.State.Open(),
		Parked: d.Parked != nil, Tries: v.tries(d.Tries),
	}
	if !d.Orphan {
		out.Request = v.path("/event/request", of)
		of.Set("part", "request")
		out.RequestPart = v.path("/event/request", of)
	}
	if d.Behind != "" {
		out.Behind = v.eventPath(d.Behind)
	}
	if key := "sent." + d.Reason; d.Reason != string(event.ReasonNew) && v.look.language.has(key) {
		out.Reason = v.t(key)
	}

	out.Sentence = v.deliverySentence(d)
	if out.Open {
		out.GivenUp = v.moment(d.GivenUpAt)
	}
	if d.State == event.StateRetrying && d.Parked == nil {
		out.Next = v.moment(d.DueAt)
	}
	if out.Next.ISO != "" {
		out.Sentence = v.sentences(out.Sentence, v.t("delivery.next"))
	}
	return out
}

// deliverySentence says what becomes of a delivery.
func (v *visit) deliverySentence(d api.Delivery) string {
	switch {
	case d.State == event.StateDead:
		return v.sentence(d.Why).String()
	case d.Parked != nil && d.State.Open():
		text := v.t("delivery.parked", v.endpointState(string(d.Parked.State)).Text, v.moment(d.Parked.Since).Text)
		if until := v.moment(d.Parked.Until); until.ISO != "" {
			text = v.sentences(text, v.t("delivery.probe", until.Text))
		}
		if d.State == event.StateWaiting {
			text = v.sentences(text, v.t("delivery.waiting"))
		}
		return text

	case d.Orphan && d.State.Open():
		return v.t("delivery.orphan")
	case d.State == event.StateWaiting:
		return v.t("delivery.waiting")
	case d.State == event.StateSending:
		return v.t("means.sending")
	case d.State == event.StateQueued:
		return v.t("means.queued")
	case d.State == event.StateRetrying && d.AttemptsMax > 0:
		return v.t("delivery.failed.of", d.Attempts, d.AttemptsMax)
	case d.State == event.StateRetrying:
		return v.t("delivery.failed", d.Attempts)
	case d.State == event.StateDelivered && d.Attempts > 1:
		return v.t("delivery.after", d.Attempts)
	}
	return ""
}

// tryRow is an attempt, drawn to scale with the others of its delivery.
type tryRow struct {
	Number  string
	At      moment
	Result  string
	Class   string
	Bar     string // its length, of barWidth
	Facts   string
	Text    string // what the receiver answered, or the error
	Headers []field
}

// barWidth is the length of the bar of the longest attempt. A second fills at least a quarter of it.
const (
	barWidth    = 160
	shortestMax = 4000 // ms
)

// tries shows the attempts of a delivery.
func (v *visit) tries(all []api.Attempt) (out []tryRow) {
	longest := int64(shortestMax)
	for _, a := range all {
		longest = max(longest, a.DurationMS)
	}
	for i, a := range all {
		row := tryRow{
			Number: "#" + strconv.Itoa(cmp.Or(a.Number, i+1)), At: v.exactly(a.At), Class: "bad",
			Bar: number(max(2, float64(a.DurationMS)/float64(longest)*barWidth)), Text: visible(a.Text),
		}
		row.Result = v.tried(a)
		if a.Status >= 200 && a.Status < 300 {
			row.Class = "good"
		}
		var facts []string
		if key := "sent." + a.Reason; v.look.language.has(key) {
			facts = append(facts, v.t(key))
		}
		if a.Replica != "" {
			facts = append(facts, v.t("callback.at", visible(a.Replica)))
		}
		row.Facts = strings.Join(facts, " · ")
		row.Headers = headerRows(a.Headers)
		out = append(out, row)
	}
	return out
}

// tried says in short what came of an attempt.
func (v *visit) tried(a api.Attempt) string {
	took := v.millis(a.DurationMS)
	if a.Status != 0 {
		return v.t("attempt.in", strconv.Itoa(a.Status), took)
	}
	if key := "try." + a.Class; v.look.language.has(key) {
		return v.t(key, took)
	}
	reason, _, _ := strings.Cut(a.Text, "\n")
	return cmp.Or(visible(reason), v.t("try.none", took)) // a list does not say why
}
