package console

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// waybillView is everything of a waybill.
type waybillView struct {
	Code, CodeCopy string
	Verdict        word
	Latest         string // how many updates came, and the latest
	Sums           []sumRow
	Endpoints      []string // the columns of the matrix
	Rows           []waybillRow
	Subscriptions  []subscriptionRow
	Heard          string       // when something was last heard of it, and how; empty: never, or it is not subscribed
	Nothing        []nothingRow // where it was looked for, if it has no update
	So             string       // what follows from that
	Partial        bool         // Redis does not answer
	Events         string       // the list of its events
	WhyNot         *whyNot      // nil: all routes lead to endpoints that have the latest update
	Misread        *nothingRow  // callbacks that name it and were not understood, though it has updates
}

func (w waybillView) title(*visit) string { return w.Code }

// sumRow is how an endpoint stands with a waybill.
type sumRow struct {
	Endpoint, Href string
	State          word
	Has            string // how many of how many it has
	Why            string // what holds up the rest
}

// waybillRow is an update, with what became of it at each endpoint.
type waybillRow struct {
	eventRow
	Cells []waybillCell
}

// waybillCell is a delivery in the matrix.
type waybillCell struct {
	Endpoint string
	Owed     bool
	State    word
	Detail   string
}

// subscriptionRow is a subscription.
type subscriptionRow struct {
	Tenant, Brand string
	State         word
	Since, Until  moment
	Message       string
}

// nothingRow is a place where a waybill was looked for.
type nothingRow struct {
	Name  string
	Text  string
	Links []choice
	Here  bool // something of it is there
}

// mostColumns is how many endpoints the matrix shows. Those with trouble come first.
const mostColumns = 12

func (v *visit) showWaybill() error {
	code := v.QueryParam("code")
	w, err := ask[api.Waybill](v, "GET /waybills/{waybill}", url.Values{"brief": {"true"}}, code)
	status := http.StatusOK
	if got, _ := statusOf(err); got == http.StatusNotFound {
		status = http.StatusNotFound
		w = api.Waybill{WaybillCode: code, Verdict: api.Verdict{Code: api.VerdictUnsubscribed}}
	} else if err != nil {
		return err
	}

	out := waybillView{
		Code: visible(code), CodeCopy: base64.StdEncoding.EncodeToString([]byte(code)), Partial: w.Partial,
		Verdict: v.verdict(w.Verdict.Code), Events: v.path("/events", url.Values{"waybill_code": {code}}),
	}
	for _, s := range w.Subscriptions {
		out.Subscriptions = append(out.Subscriptions, subscriptionRow{
			Tenant: s.Tenant, Brand: v.brandText(s.CPCode), State: v.state(string(s.State)), Since: v.moment(s.Since),
			Until: v.moment(s.Expires), Message: visible(s.Msg),
		})
	}
	out.Heard = v.heard(w.State)
	if len(w.Events) > 0 {
		v.addMatrix(&out, w.Events)
		if err := v.addReasons(&out, code, w.Events); err != nil {
			return err
		}
	}
	if len(w.Events) == 0 || len(w.Spooled) > 0 {
		v.addNothing(&out, w)
	}
	return v.renderOf(status, "waybill", out)
}

// heard says when something was last heard of a waybill, and how.
func (v *visit) heard(s *ledger.ParcelState) string {
	if s == nil || s.HeardAt.IsZero() {
		return ""
	}
	at := v.moment(s.HeardAt).Text
	if s.Source == "query" {
		return v.t("waybill.heard.query", at)
	}
	return v.t("waybill.heard.push", at)
}

// addReasons adds why an update may be missing where others came.
func (v *visit) addReasons(out *waybillView, code string, events []api.Event) error {
	if v.part() {
		return nil
	}
	if v.tenant == "" {
		v.addMisread(out, code)
	}
	return v.addWhyNot(out, events[len(events)-1])
}

// renderOf shows a page of something that may not be there. An open page that asks again gets its part all the same.
func (v *visit) renderOf(status int, name string, view any) error {
	if v.part() {
		status = http.StatusOK
	}
	return v.render(status, name, view)
}

// addMatrix adds the updates of a waybill, the oldest first, with their deliveries.
func (v *visit) addMatrix(out *waybillView, events []api.Event) {
	latest := events[len(events)-1]
	at, status := v.moment(latest.AcceptedAt).Text, v.t("waybill.no.status")
	if word := event.Word(latest.Type, latest.WaybillCode, latest.Status); word != "" {
		status = v.statusText(word)
	}
	switch own := api.HasOwn(events); {
	case len(events) == 1 && own:
		out.Latest = v.t("waybill.latest.event", at, status)
	case len(events) == 1:
		out.Latest = v.t("waybill.latest.one", at, status)
	case own:
		out.Latest = v.t("waybill.latest.events", count(len(events)), at, status)
	default:
		out.Latest = v.t("waybill.latest", count(len(events)), at, status)
	}
	out.Sums = v.sumsOf(events)
	for _, s := range out.Sums[:min(len(out.Sums), mostColumns)] {
		out.Endpoints = append(out.Endpoints, s.Endpoint)
	}

	place := make(map[string]int, len(events))
	for i, e := range events {
		place[e.ID] = i + 1
	}
	for _, e := range events {
		row := waybillRow{eventRow: v.eventRow(e)}
		row.Accepted = v.moment(e.AcceptedAt)
		for _, endpoint := range out.Endpoints {
			cell := waybillCell{Endpoint: endpoint}
			at := slices.IndexFunc(e.Deliveries, func(d api.Delivery) bool { return d.Endpoint == endpoint })
			if at >= 0 {
				d := e.Deliveries[at]
				cell.Owed = true
				cell.State = v.state(string(d.State))
				cell.Detail = v.inCell(d, place[d.Behind])
			}
			row.Cells = append(row.Cells, cell)
		}
		out.Rows = append(out.Rows, row)
	}
}

// inCell says in short how a delivery stands. behind is which update it waits for; 0: it is not known.
func (v *visit) inCell(d api.Delivery, behind int) string {
	var last *api.Attempt
	if n := len(d.Tries); n > 0 {
		last = &d.Tries[n-1]
	}
	switch {
	case d.State == event.StateWaiting && behind > 0:
		return v.t("cell.behind", behind)
	case d.State == event.StateRetrying && d.Parked == nil && !d.DueAt.IsZero():
		return v.t("cell.next", d.DueAt.In(v.zone).Format("15:04:05"))
	case last == nil:
		return ""
	case d.State == event.StateDelivered:
		return last.At.In(v.zone).Format("15:04") + " " + v.millis(last.DurationMS)
	case last.Status != 0:
		return strconv.Itoa(last.Status)
	}
	if key := "class." + last.Class; v.look.language.has(key) {
		return v.t(key)
	}
	return ""
}

// sumsOf sums up a waybill's events, the oldest first, by their endpoints: those with trouble first.
func (v *visit) sumsOf(events []api.Event) (out []sumRow) {
	type tally struct {
		owed, had int
		worst     *api.Delivery
	}
	all := map[string]*tally{}
	names := []string{}
	for i := range events {
		for j := range events[i].Deliveries {
			d := &events[i].Deliveries[j]
			t := all[d.Endpoint]
			if t == nil {
				t = &tally{}
				all[d.Endpoint] = t
				names = append(names, d.Endpoint)
			}
			t.owed++
			if d.State == event.StateDelivered {
				t.had++
			}
			if t.worst == nil || trouble(d.State) < trouble(t.worst.State) {
				t.worst = d
			}
		}
	}

	slices.SortFunc(names, func(a, b string) int {
		if x, y := trouble(all[a].worst.State), trouble(all[b].worst.State); x != y {
			return x - y
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		t := all[name]
		row := sumRow{Endpoint: name, Href: v.endpointPath(name), State: v.state(string(t.worst.State)),
			Has: v.t("waybill.has", t.had, t.owed)}
		if t.worst.State != event.StateDelivered {
			row.Why = v.deliverySentence(*t.worst)
		}
		out = append(out, row)
	}
	return out
}

// trouble orders the states of deliveries, the worst first.
func trouble(s event.State) int {
	return slices.Index([]event.State{
		event.StateDead, event.StateRetrying, event.StateWaiting, event.StateSending, event.StateQueued,
		event.StateDismissed, event.StateDelivered,
	}, s)
}

// addNothing adds where a waybill without an update was looked for, and what was found there.
func (v *visit) addNothing(out *waybillView, w api.Waybill) {
	if v.tenant == "" {
		out.Nothing = append(out.Nothing, v.inSpool(w))
		if len(w.Events) > 0 || w.Partial {
			return // the rest is not asked for, or not known
		}
		out.Nothing = append(out.Nothing, v.inQuarantine(w))
	}
	out.Nothing = append(out.Nothing, v.inLedger(w), v.before(w))
	if v.tenant == "" {
		out.Nothing = append(out.Nothing, v.callbacksNow())
	}
	side := ".tenant"
	if v.tenant == "" {
		side = ".operator"
	}
	for _, key := range []string{"so." + string(w.Verdict.Code) + side, "so." + string(w.Verdict.Code)} {
		if v.look.language.has(key) {
			out.So = v.t(key)
			return
		}
	}
}

// inSpool says whether an update waits for Redis. The answer is of one replica: it names the others that have callbacks
// in their spool.
func (v *visit) inSpool(w api.Waybill) nothingRow {
	row := nothingRow{Name: v.t("nothing.spool"), Here: len(w.Spooled) > 0}
	if row.Here {
		row.Text = v.t("nothing.spool.here", count(len(w.Spooled)), v.moment(w.Spooled[0].ReceivedAt).Text)
		row.Links = []choice{{Name: v.t("menu.system"), Href: v.path("/system", nil)}}
		return row
	}

	s, err := v.system()
	if err != nil || s.Partial {
		row.Text = v.t("nothing.spool.alone")
		return row
	}
	own := 0
	var others []string
	for _, r := range s.Replicas {
		switch {
		case r.Self:
			own = r.Spool.Waiting
		case r.Spool.Waiting > 0:
			others = append(others, visible(r.ID)+" ("+count(r.Spool.Waiting)+")")
		}
	}
	row.Text = v.t("nothing.spool.empty")
	if own > 0 {
		row.Text = v.t("nothing.spool.none", count(own))
	}
	if len(others) > 0 {
		row.Text = v.sentences(row.Text, v.t("nothing.spool.others", strings.Join(others, v.t("comma"))))
	}
	return row
}

// inQuarantine says whether a callback that names the waybill was not understood.
func (v *visit) inQuarantine(w api.Waybill) nothingRow {
	row := nothingRow{Name: v.t("menu.quarantine"), Text: v.t("nothing.quarantine.none")}
	for _, q := range w.Quarantined {
		row.Here = true
		row.Links = append(row.Links, choice{
			Name: v.moment(q.ReceivedAt).Text + " " + v.say(q.Reason).String(),
			Href: v.quarantinedPath(q.ID),
		})
	}
	if row.Here {
		row.Text = v.t("nothing.quarantine.here", v.many("callback", int64(len(w.Quarantined))))
	}
	return row
}

// inLedger says who has subscribed the waybill, and what kuaidihelp said to it.
func (v *visit) inLedger(w api.Waybill) nothingRow {
	row := nothingRow{Name: v.t("nothing.ledger"), Text: v.t("nothing.ledger.none")}
	if v.tenant != "" {
		row.Text = v.t("nothing.ledger.none.own")
	}
	var all []string
	for _, s := range w.Subscriptions[:min(len(w.Subscriptions), 10)] {
		all = append(all, v.t("nothing.ledger.here", s.Tenant, v.brandText(s.CPCode), v.moment(s.Since).Text,
			v.state(string(s.State)).Text)+" "+visible(s.Msg))
	}
	if len(all) > 0 {
		row.Here = true
		row.Text = strings.Join(all, v.t("semicolon"))
	}
	return row
}

// before says what is remembered of updates that are no longer kept.
func (v *visit) before(w api.Waybill) nothingRow {
	row := nothingRow{Name: v.t("nothing.before"), Text: v.t("nothing.before.none")}
	k := w.LastKnown
	if k == nil {
		return row
	}
	row.Here = true
	var statuses []string
	for _, s := range k.Statuses {
		statuses = append(statuses, strings.TrimSpace(v.brandText(s.CPCode)+" "+v.statusText(s.Status)))
	}
	row.Text = v.t("nothing.before.some", strings.Join(statuses, ", "))
	if at := v.moment(k.AcceptedAt); at.ISO != "" {
		row.Text = v.t("nothing.before.at", at.Text, strings.Join(statuses, ", "))
	}
	return row
}

// callbacksNow says whether callbacks come at all.
func (v *visit) callbacksNow() nothingRow {
	row := nothingRow{Name: v.t("nothing.callbacks"), Text: v.t("nothing.callbacks.none")}
	s, err := ask[api.Status](v, "GET /status", nil)
	if err != nil {
		return row
	}
	if at := v.moment(s.LastCallAt); at.ISO != "" {
		row.Text = v.t("nothing.callbacks.last", at.Text, at.Ago)
	}
	row.Here = s.Silent
	return row
}

// verdict shows what is going on with a waybill.
func (v *visit) verdict(code api.VerdictCode) word {
	w := word{Sign: "?", Class: "dim", Text: v.t("verdict.unknown")}
	if key := "verdict." + string(code); v.look.language.has(key) {
		w.Text = v.t(key)
	}
	if code == api.VerdictUnsubscribed && v.tenant != "" {
		w.Text = v.t("verdict.unsubscribed.own") // it is not told of others
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
