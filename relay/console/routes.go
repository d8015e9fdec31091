package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// The bounds of the form of the tester. A sample has at most 256 KiB, and a form writes some bytes as three.
const (
	maxSample     = 256 << 10
	maxSampleForm = 3*maxSample + maxForm
	// samplesAtOnce is how many such forms of one person are read at the same time, and samplesInAll how many of all.
	samplesAtOnce, samplesInAll = 2, 32
)

// routesView is the tester of routes.
type routesView struct {
	Config  string // fingerprint of the config that decides
	Text    string // in the box
	Samples []choice
	Latest  []latestRow

	Wrong    string // why nothing is explained; empty: nothing is wrong
	Rejected []said
	Events   []explainedRow
	More     int // events that are not shown
	Partial  bool
	Link     string // to this test; empty: there is none
	Tests    []routeTest
}

// latestRow is one of the latest events.
type latestRow struct {
	Href                   string
	Brand, Status, Waybill string
	Accepted               moment
}

// explainedRow is an event with what the routes make of it.
type explainedRow struct {
	Brand, Status, Waybill string
	ID, Href               string // Href is empty if the event is not here
	Accepted               moment
	Duplicate              moment // when the event was accepted that this one would be a duplicate of
	DuplicateHref          string
	Owed                   string // to how many endpoints
	Gets, Not              []explainedEndpoint
	More                   int // endpoints that are not shown
	Open                   bool
}

// explainedEndpoint is an endpoint with what each of its routes makes of an event.
type explainedEndpoint struct {
	Name, Href string
	Verdict    word
	Routes     []explainedRoute
}

// explainedRoute is a route with its reason.
type explainedRoute struct {
	Sign, At, Class string
	Why             said
}

// notShownOpen is how many endpoints that do not get an event are shown without a click.
const notShownOpen = 8

// showRoutes shows the tester, with what the routes make of the event or the waybill that the address names.
func (v *visit) showRoutes() error {
	asked := tidy(v.QueryParam("of"))
	out := v.routesPage(asked)
	if status := v.QueryParam("sample"); slices.Contains(kuaidihelp.Statuses(), status) {
		out.Text = v.sample(status)
	}
	if asked == "" {
		return v.render(http.StatusOK, "routes", out)
	}

	body := map[string]any{"waybill_code": asked}
	if isEventID(asked) {
		body = map[string]any{"event_id": asked}
	}
	if _, err := v.explain(&out, body); err != nil {
		return err
	}
	out.Link = v.path("/routes", url.Values{"of": {asked}})
	if len(out.Events) == 1 {
		out.Tests = v.testsOfStored(out.Events[0].ID)
	}
	return v.render(http.StatusOK, "routes", out)
}

// testsOfStored are tests with the data of an event that is here: it is explained as if it came now, because a test
// takes all conditions to hold.
func (v *visit) testsOfStored(id string) []routeTest {
	e, err := ask[api.Event](v, "GET /events/{id}", nil, id)
	if err != nil || len(e.Data) == 0 || len(e.Data) > maxTestEvent {
		return nil // the page has the answer without them
	}
	x, err := send[api.Explanations](v, "POST /explain", nil, map[string]any{"event": e.Data})
	if err != nil {
		return nil
	}
	return testsOf(x, v.tenant, e.Data)
}

// tryRoutes shows what the routes make of the text of the form: an id, a waybill, or a sample.
func (v *visit) tryRoutes() error {
	leave, ok := v.samples.take(v.tenant)
	if !ok {
		v.Response().Header().Set(echo.HeaderRetryAfter, "1")
		return echo.NewHTTPError(http.StatusTooManyRequests)
	}
	defer leave()

	form, err := v.FormParams()
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		out := v.routesPage("")
		out.Wrong = v.t("routes.large", maxSample>>10)
		return v.render(http.StatusRequestEntityTooLarge, "routes", out)
	}
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest)
	}
	text := form.Get("text")
	if name := tidy(text); name == "" || isEventID(name) || isWaybill(name) {
		q := url.Values{}
		if name != "" {
			q.Set("of", name)
		}
		return v.Redirect(http.StatusSeeOther, v.path("/routes", q))
	}

	out := v.routesPage(text)
	x, err := v.explain(&out, map[string]any{"callback": []byte(text)})
	if err != nil {
		return err
	}
	out.Tests = testsOf(x, v.tenant, []byte(text))
	return v.render(http.StatusOK, "routes", out)
}

// isEventID says whether a text looks like the id of an event.
func isEventID(text string) bool { return strings.HasPrefix(text, "evt_") && len(text) < 100 }

// isWaybill says whether a text looks like a waybill, and not like a sample in one of the forms of a callback.
func isWaybill(text string) bool {
	return len(text) <= 64 && !strings.ContainsAny(text, "{}[]<>=&%\"")
}

// routesPage is the tester without an answer.
func (v *visit) routesPage(text string) routesView {
	out := routesView{Text: text}
	if c, err := ask[api.ConfigState](v, "GET /config", nil); err == nil {
		out.Config = c.Fingerprint
	}
	for _, s := range kuaidihelp.Statuses() {
		out.Samples = append(out.Samples, choice{
			Href: v.path("/routes", url.Values{"sample": {s}}), Name: v.statusText(s), Chosen: v.QueryParam("sample") == s,
		})
	}
	latest, err := ask[api.Events](v, "GET /events", url.Values{"limit": {"20"}})
	if err != nil {
		return out // the tester works without them
	}
	for _, e := range latest.Events {
		out.Latest = append(out.Latest, latestRow{
			Href: v.path("/routes", url.Values{"of": {e.ID}}), Brand: v.brandText(e.CPCode),
			Status: v.word(e.Type, e.WaybillCode, e.Status), Waybill: visible(e.WaybillCode), Accepted: v.moment(e.AcceptedAt),
		})
	}
	return out
}

// sample is an item of a callback as kuaidihelp writes it.
func (v *visit) sample(status string) string {
	return fmt.Sprintf(`{
  "waybill_code": "777005949070187",
  "cp_code": "zt",
  "status": %q,
  "data": [
    {"time": %q, "context": %q, "status": %[1]q}
  ]
}
`, status, v.now.In(event.China).Format("2006-01-02 15:04:05"), chinese.text("status."+status))
}

// explain asks the API what the routes make of an event, and adds that to the page. What the API refuses is shown.
func (v *visit) explain(out *routesView, body map[string]any) (x api.Explanations, err error) {
	x, err = send[api.Explanations](v, "POST /explain", nil, body)
	if status, text := statusOf(err); status != 0 {
		out.Wrong = v.statusTitle(status)
		if text != "" {
			out.Wrong += v.t("colon") + v.say(text).String()
		}
		return x, nil
	}
	if err != nil {
		return x, err
	}

	out.Partial, out.More = x.Partial, x.EventsLeft
	for _, why := range x.Rejected {
		out.Rejected = append(out.Rejected, v.say(why))
	}
	for _, e := range x.Events {
		out.Events = append(out.Events, v.explainedRow(e))
	}
	return x, nil
}

func (v *visit) explainedRow(e api.Explained) explainedRow {
	row := explainedRow{
		Brand: v.brandText(e.CPCode), Status: v.word(e.Type, e.WaybillCode, e.Status),
		Waybill: visible(e.WaybillCode), ID: e.ID,
		Accepted: v.moment(e.AcceptedAt), More: e.EndpointsLeft,
	}
	if !e.AcceptedAt.IsZero() {
		row.Href = v.eventPath(e.ID)
	}
	if d := e.DuplicateOf; d != nil {
		row.Duplicate = v.moment(d.AcceptedAt)
		row.DuplicateHref = v.eventPath(d.ID)
	}
	for _, ep := range e.Endpoints {
		one := v.explainedEndpoint(ep)
		if ep.Owed || ep.State != "" {
			row.Gets = append(row.Gets, one)
		} else {
			row.Not = append(row.Not, one)
		}
	}
	row.Owed = count(len(row.Gets))
	row.Open = len(row.Not) <= notShownOpen
	return row
}

// explainedEndpoint says whether an endpoint gets an event. Of a delivery that there is, it shows the state.
func (v *visit) explainedEndpoint(e api.ExplainedEndpoint) explainedEndpoint {
	out := explainedEndpoint{Name: e.Endpoint, Href: v.endpointPath(e.Endpoint)}
	surely := false
	for _, r := range e.Routes {
		row := explainedRoute{Sign: "✗", At: visible(r.At), Why: v.say(r.Why), Class: "dim"}
		if r.Matches && r.Today != api.No {
			row.Sign, row.Class = "✓", "good"
			if r.If != "" && r.Today == "" {
				row.Sign, row.Class = "?", "warn"
			} else {
				surely = true
			}
		}
		out.Routes = append(out.Routes, row)
	}

	switch {
	case e.State != "":
		out.Verdict = v.state(e.State)
	case surely:
		out.Verdict = word{Sign: "✓", Text: v.t("routes.gets"), Class: "good"}
	case e.Owed:
		out.Verdict = word{Sign: "?", Text: v.t("routes.if"), Class: "warn"}
	default:
		out.Verdict = word{Sign: "✗", Text: v.t("routes.not"), Class: "dim"}
	}
	return out
}
