package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

// page is one of the pages.
type page struct {
	path string // below the base
	menu string // its place in the menu, as the key of a text; empty: it has none
	key  string // opens it from the keyboard, after g
	// fast pages show what happens now: they are asked for again sooner than others.
	fast bool
	// operatorOnly pages do not exist for tenants.
	operatorOnly bool
	show         func(*visit) error
	acts         []act
}

// act is what a form of a page does. It ends with a redirect to a page.
type act struct {
	path         string
	do           func(*visit) error
	operatorOnly bool
	form         int64 // bytes that the form may have; 0: maxForm
}

// pages are all of them, in the order of the menu.
func pages() []page {
	return []page{
		{path: "/", menu: "menu.overview", key: "o", show: (*visit).showOverview},
		{path: "/events", menu: "menu.events", key: "e", fast: true, show: (*visit).showEvents},
		{path: "/events/download", show: (*visit).downloadEvents},
		{path: "/event", fast: true, show: (*visit).showEvent, acts: []act{{path: "/event/resend", do: (*visit).resend}}},
		{path: "/event/request", show: (*visit).showRequest},
		{path: "/event/data", show: (*visit).downloadData},
		{path: "/find", show: (*visit).find},
		{path: "/waybill", show: (*visit).showWaybill},
		{path: "/endpoints", menu: "menu.endpoints", key: "p", show: (*visit).showEndpoints},
		{path: "/endpoints/some", show: (*visit).askSome, acts: []act{{path: "/endpoints/some", do: (*visit).doSome}}},
		{path: "/endpoints/:tenant/:name", show: (*visit).showEndpoint, acts: []act{
			{path: "/endpoints/:tenant/:name/pause", do: (*visit).pause},
			{path: "/endpoints/:tenant/:name/retry", do: (*visit).retry},
		}},
		{path: "/endpoints/:tenant/:name/resume", show: (*visit).askResume, acts: []act{
			{path: "/endpoints/:tenant/:name/resume", do: (*visit).resume},
		}},
		{path: "/endpoints/:tenant/:name/test", show: (*visit).askTest, acts: []act{
			{path: "/endpoints/:tenant/:name/test", do: (*visit).test},
		}},
		{path: "/dead-letters", menu: "menu.dead", key: "d", show: (*visit).showDeadLetters, acts: []act{
			{path: "/dead-letters/redrive", do: (*visit).redrive},
			{path: "/dead-letters/dismiss", do: (*visit).dismiss},
		}},
		{path: "/dead-letters/sure", show: (*visit).sureDeadLetters},
		{path: "/replays", menu: "menu.replays", key: "r", fast: true, show: (*visit).showReplays},
		{path: "/replays/new", show: (*visit).newReplay, acts: []act{
			{path: "/replays/new", do: (*visit).beginReplay},
		}},
		{path: "/replays/:id", fast: true, show: (*visit).showReplay, acts: []act{
			{path: "/replays/:id/cancel", do: (*visit).cancelReplay},
		}},
		{
			path: "/quarantine", menu: "menu.quarantine", key: "q", operatorOnly: true, show: (*visit).showQuarantine,
			acts: []act{
				{path: "/quarantine/retake", do: (*visit).retake, operatorOnly: true},
				{path: "/quarantine/drop", do: (*visit).drop, operatorOnly: true},
			},
		},
		{path: "/quarantine/sure", operatorOnly: true, show: (*visit).sureQuarantine},
		{path: "/quarantine/raw", operatorOnly: true, show: (*visit).downloadQuarantined},
		{path: "/subscriptions", menu: "menu.subscriptions", key: "s", show: (*visit).showSubscriptions, acts: []act{
			{path: "/subscriptions", do: (*visit).subscribe},
			{path: "/subscriptions/remove", do: (*visit).unsubscribe},
		}},
		{path: "/subscriptions/export", show: (*visit).exportSubscriptions},
		{path: "/routes", menu: "menu.routes", key: "t", show: (*visit).showRoutes, acts: []act{
			{path: "/routes", do: (*visit).tryRoutes, form: maxSampleForm},
		}},
		{path: "/config", menu: "menu.config", key: "c", show: (*visit).showConfig, acts: []act{
			{path: "/config/reload", do: (*visit).reload, operatorOnly: true},
		}},
		{path: "/system", menu: "menu.system", key: "y", operatorOnly: true, show: (*visit).showSystem},
		{path: "/help", menu: "menu.help", show: (*visit).showHelp},
	}
}

// visit is a request of a page.
type visit struct {
	echo.Context
	*Console
	side    *side
	in      bool   // somebody has logged in
	tenant  string // who; empty: the operator
	keyName string // of the tenant's key; empty: it has none
	token   string // of the session
	look    *look  // the templates in the reader's language
	zone    *time.Location
	zoneIs  string // name of zone, or local
	now     time.Time
}

func (c *Console) newVisit(x echo.Context, s *side) *visit {
	v := &visit{Context: x, Console: c, side: s, now: time.Now()}
	v.look = looks[lookOf{operator: s.operator, language: v.language()}]()
	v.zone, v.zoneIs = v.timeZone()
	return v
}

// t is a text in the reader's language, with what stands in its places.
func (v *visit) t(key string, args ...any) string { return v.look.language.text(key, args...) }

// part says whether only the part of the page is wanted that changes.
func (v *visit) part() bool { return v.QueryParam("part") != "" }

// ask asks the API. The answer is of the type that the route gives.
func ask[T any](v *visit, route string, q url.Values, path ...string) (answer T, err error) {
	return send[T](v, route, q, nil, path...)
}

// send asks the API with a body.
func send[T any](v *visit, route string, q url.Values, body any, path ...string) (answer T, err error) {
	got, err := v.o.API.Ask(v.Context, api.Question{
		Tenant: v.tenant, Key: v.keyName, Route: route, Path: path, Query: q, Body: body,
	})
	if err != nil {
		return answer, err
	}
	answer, ok := got.(T)
	if !ok && got != nil {
		return answer, wrongAnswer(route, got)
	}
	return answer, nil
}

// How often an open page is asked for again: for a twentieth of the time at most, so that one that takes 300 ms is
// asked for every 6 s, but no less often than every 10 s for that reason.
const (
	fastPace  = 2 * time.Second
	pace      = 5 * time.Second
	pollShare = 20
	dearPace  = 10 * time.Second
)

// pollEvery has an open page asked for once in this time at most.
func (v *visit) pollEvery(d time.Duration) {
	header := v.Response().Header()
	seconds := int(math.Ceil(d.Seconds()))
	if had, _ := strconv.Atoi(header.Get("X-Poll")); seconds > had {
		header.Set("X-Poll", strconv.Itoa(seconds))
	}
}

// render shows a page. When only its changing part is wanted, and the reader has it already, it says so.
func (v *visit) render(status int, name string, view any) error {
	var out bytes.Buffer
	part := v.part() && v.in
	f := v.frame(name, view)
	template := "page"
	if part {
		template = "part"
	}
	if err := v.look.pages[name].ExecuteTemplate(&out, template, f); err != nil {
		return err
	}
	if part {
		sum := sha256.Sum256(out.Bytes())
		tag := `"` + hex.EncodeToString(sum[:12]) + `"`
		v.Response().Header().Set("ETag", tag)
		v.pollEvery(min(pollShare*time.Since(v.now), dearPace))
		if v.Request().Header.Get("If-None-Match") == tag {
			return v.NoContent(http.StatusNotModified)
		}
	}
	return v.HTMLBlob(status, out.Bytes())
}

// done goes back to the page of a form, and says there what was done, with these numbers at the places of the text.
func (v *visit) done(what string, counts ...string) error {
	v.forgetAnswers()
	back := v.own(v.FormValue("back"))
	u, err := url.Parse(back)
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set("did", what)
	if len(counts) > 0 {
		q["n"] = counts
	}
	u.RawQuery = q.Encode()
	return v.Redirect(http.StatusSeeOther, u.String())
}
