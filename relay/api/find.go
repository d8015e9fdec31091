package api

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/labstack/echo/v4"
	"golang.org/x/text/width"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// Finds say of each line of a question what it names.
type Finds struct {
	Found []Found `json:"found" doc:"in the order of the lines; a line may name several endpoints"`
}

// Found is what one line names.
type Found struct {
	Query   string    `json:"query" doc:"the line, without spaces, and with plain digits"`
	Kind    FoundKind `json:"kind" doc:"waybill, event, callback, quarantined, replay, endpoint, or tenant; what nothing is known of counts as what it looks like"`
	Path    string    `json:"path,omitempty" doc:"below /v1, for the operator /admin/v1; missing: nothing is known of it"`
	Verdict Verdict   `json:"verdict" doc:"what is going on; of an endpoint or a replay the code is its state"`
}

// FoundKind says what a text names.
type FoundKind string

// What a text may name.
const (
	FoundWaybill     FoundKind = "waybill"
	FoundEvent       FoundKind = "event"
	FoundCallback    FoundKind = "callback"
	FoundQuarantined FoundKind = "quarantined"
	FoundReplay      FoundKind = "replay"
	FoundEndpoint    FoundKind = "endpoint"
	FoundTenant      FoundKind = "tenant"
)

// The bounds of one question.
const (
	maxLines = 100
	// latestFound is how many updates of each waybill are looked at.
	latestFound = 20
	// sameName is how many endpoints of one name are told.
	sameName = 10
)

// errTooManyLines is for a question with more than maxLines.
var errTooManyLines = fmt.Errorf("at most %d lines at a time", maxLines)

// find says what a text names, or each line of it.
func find(c *call) (Finds, error) {
	r := c.reader()
	lines := one(r, "q", nil, readLines)
	if r.err == nil && len(lines) == 0 {
		r.err = badf("q: it must say what is looked for")
	}
	if err := r.end(); err != nil {
		return Finds{}, err
	}

	out := Finds{Found: []Found{}}
	waybills := make(map[string]*findings)
	for _, line := range lines {
		found, err := c.findOne(line, waybills)
		if _, told := errors.AsType[*echo.HTTPError](err); told {
			return Finds{}, err
		}
		if err != nil {
			return Finds{}, c.failed("look for what was asked", err)
		}
		out.Found = append(out.Found, found...)
	}

	// Quarantine is looked through once, for all waybills of which nothing has come.
	var all []*findings
	for _, f := range waybills {
		all = append(all, f)
	}
	c.addQuarantined(all...)
	for i := range out.Found {
		x := &out.Found[i]
		if f := waybills[x.Query]; x.Kind == FoundWaybill && f != nil {
			x.Verdict = c.verdict(f)
			if f.known() {
				x.Path = "/waybills/" + url.PathEscape(x.Query)
			}
		}
	}
	return out, nil
}

// readLines mends what people paste: it splits a text into lines, takes out spaces and marks that are not seen, and
// makes full-width letters and digits plain. Each line is there once.
func readLines(text string) (lines []string, err error) {
	seen := make(map[string]bool)
	split := func(r rune) bool { return strings.ContainsRune("\n\r\t,，", r) }
	for part := range strings.FieldsFuncSeq(text, split) {
		line := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.Is(unicode.C, r) {
				return -1
			}
			return r
		}, width.Fold.String(part))
		line = strings.Trim(line, `"'`)
		if line == "" || seen[line] {
			continue
		}
		seen[line] = true
		lines = append(lines, line)
	}
	if len(lines) > maxLines {
		return nil, errTooManyLines
	}
	return lines, nil
}

// findOne says what a line names. What is neither an id nor the name of something in the config counts as a waybill,
// and is added to waybills.
func (c *call) findOne(line string, waybills map[string]*findings) ([]Found, error) {
	switch kind, _, _ := strings.Cut(line, "_"); {
	case kind == "evt":
		return c.findEvent(line)
	case kind == "cb":
		return c.findCallback(line)
	case kind == "qtn" && c.tenant == "":
		return c.findQuarantined(line)
	case kind == "rpl":
		return c.findReplay(line)
	}

	found, err := c.findNames(line)
	if err != nil || len(found) > 0 {
		return found, err
	}
	if err := kuaidihelp.CheckCode(line); err != nil {
		return none(line, FoundWaybill), nil //nolint:nilerr // what is no code names no waybill
	}
	return c.findWaybill(line, waybills)
}

// findWaybill gathers what is known of a waybill, but for quarantine, and adds it to waybills.
func (c *call) findWaybill(code string, waybills map[string]*findings) ([]Found, error) {
	out := Found{Query: code, Kind: FoundWaybill}
	found, err := c.events.LatestOfWaybill(c.ctx(), code, c.tenant, latestFound)
	if err != nil {
		w, err := c.waybillOfSpool(code, err)
		out.Path = "/waybills/" + url.PathEscape(code)
		out.Verdict = w.Verdict
		return []Found{out}, err
	}
	f := c.findingsOf(code, found)
	shown := make([]*Event, len(f.shown))
	for i := range f.shown {
		shown[i] = &f.shown[i]
	}
	waybills[code] = f
	return []Found{out}, c.addParked(shown)
}

// none is what is said of an id that names nothing, or nothing of the caller's.
func none(line string, kind FoundKind) []Found {
	return []Found{{Query: line, Kind: kind, Verdict: Verdict{Code: VerdictUnknown,
		Text: "there is no such " + string(kind) + ", or not any more"}}}
}

// findEvent finds an event by its id.
func (c *call) findEvent(id string) ([]Found, error) {
	id = strings.ToLower(id)
	stored, ok, err := c.events.EventWithoutData(c.ctx(), id, c.tenant)
	if err != nil || !ok {
		return none(id, FoundEvent), err
	}
	shown := c.showEvent(stored)
	if c.tenant != "" && len(shown.Deliveries) == 0 {
		return none(id, FoundEvent), nil
	}
	if err := c.addParked([]*Event{&shown}); err != nil {
		return nil, err
	}
	return []Found{{Query: id, Kind: FoundEvent, Path: "/events/" + id,
		Verdict: verdictOfEvents([]Event{shown}, c.inConfig)}}, nil
}

// findCallback finds the events that a callback brought.
func (c *call) findCallback(id string) ([]Found, error) {
	id = strings.ToLower(id)
	at, ok := event.CallbackTime(id)
	if !ok {
		return none(id, FoundCallback), nil
	}
	q := event.Query{Most: latestFound, Newer: true, Endpoints: c.ownEndpoints()} // it begins when the callback came
	ofCallback{id: id, at: at}.limit(&q)
	page, err := c.events.Events(c.ctx(), q)
	if err != nil || len(page.Events) == 0 {
		return none(id, FoundCallback), err
	}
	shown := make([]Event, len(page.Events))
	for i, e := range page.Events {
		shown[i] = c.showEvent(e)
	}
	slices.SortFunc(shown, func(a, b Event) int { return a.AcceptedAt.Compare(b.AcceptedAt) })
	return []Found{{Query: id, Kind: FoundCallback, Path: "/events?callback=" + id + "&newer=true",
		Verdict: verdictOfEvents(shown, c.inConfig)}}, nil
}

// findQuarantined finds a callback of the quarantine.
func (c *call) findQuarantined(id string) ([]Found, error) {
	id = strings.ToLower(id)
	q, ok, err := c.quarantine.QuarantinedByID(c.ctx(), id)
	if err != nil || !ok {
		return none(id, FoundQuarantined), err
	}
	return []Found{{Query: id, Kind: FoundQuarantined, Path: "/quarantine/" + id, Verdict: Verdict{
		Code: VerdictQuarantined,
		Text: fmt.Sprintf("a callback of %s was not understood: %s", stamp(q.ReceivedAt), q.Reason),
		Next: "see it (kuairelay quarantine show " + id + ")",
	}}}, nil
}

// findReplay finds a replay.
func (c *call) findReplay(id string) ([]Found, error) {
	r, ok, err := c.replays.Replay(c.ctx(), id)
	if err != nil || !ok || c.tenant != "" && r.Tenant != c.tenant {
		return none(id, FoundReplay), err
	}
	return []Found{{Query: id, Kind: FoundReplay, Path: "/replays/" + id, Verdict: Verdict{
		Code: VerdictCode(r.State),
		Text: fmt.Sprintf("%d events looked at, %d deliveries queued", r.Looked, r.Queued),
	}}}, nil
}

// findNames finds the tenant or the endpoints of a name.
func (c *call) findNames(name string) ([]Found, error) {
	if t := c.settings.tenants[name]; t != nil && (c.tenant == "" || c.tenant == name) {
		return []Found{{Query: name, Kind: FoundTenant, Path: "/endpoints?tenant=" + url.QueryEscape(name),
			Verdict: Verdict{Code: VerdictTenant, Text: fmt.Sprintf("a tenant with %d endpoints", len(t.Endpoints))}}}, nil
	}

	var ids []string
	for _, id := range c.settings.names {
		_, short, _ := strings.Cut(id, "/")
		if c.sees(id) && (id == name || short == name) && len(ids) < sameName {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	health, err := c.endpoints.Health(c.ctx(), ids, maxAttention)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, h := range health {
		e := c.showEndpoint(h)
		tenant, short, _ := strings.Cut(e.Endpoint, "/")
		path := "/endpoints/" + url.PathEscape(tenant) + "/" + url.PathEscape(short)
		if c.tenant != "" {
			path = "/endpoints/" + url.PathEscape(short)
		}
		out = append(out, Found{Query: name, Kind: FoundEndpoint, Path: path, Verdict: Verdict{
			Code: VerdictCode(e.State),
			Text: fmt.Sprintf("%s has %s, %d waiting behind older updates, and %s",
				e.Endpoint, openDeliveries(e.Open), e.Waiting, deadLetters(e.Dead)),
		}})
	}
	return out, nil
}
