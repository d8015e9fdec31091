package console

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

type quarantineView struct {
	Contains    string
	Reason      said // the only one that is shown; empty: all are
	Groups      []quarantineGroup
	Looked      string // of how many the groups are; empty: of all
	Understood  string // how many would be understood now; empty: none
	Rows        []quarantineRow
	One         *quarantineOne // instead of the list
	Next, Clear string
	Back        string
}

func (q quarantineView) title(v *visit) string {
	if q.One != nil {
		return v.t("title.quarantine") + " · " + q.One.Reason.String()
	}
	return v.t("title.quarantine")
}

// quarantineGroup is what is in quarantine for one reason.
type quarantineGroup struct {
	ID, Href        string
	Reason          said // empty: there are several
	Count           string
	Latest          moment
	LatestHref      string
	Now             string // how many would be understood
	Understood      bool   // some would
	Retake, Dismiss string // the questions before; empty: the group has no reason
}

// quarantineRow is a callback, or an item of one, that was not understood.
type quarantineRow struct {
	ID, Href, Bytes string
	Reason          said
	Received        moment
}

// quarantineOne is one of them, with its bytes.
type quarantineOne struct {
	quarantineRow
	Headers    []field
	Data       payload
	As         []choice // how it is shown
	Raw        string   // downloads it
	Now        string   // what the parser makes of it today
	Understood bool
	Callback   string
}

func (v *visit) quarantineRow(q api.Quarantined) quarantineRow {
	return quarantineRow{
		ID: q.ID, Href: v.quarantinedPath(q.ID), Reason: v.sentence(q.Reason), Bytes: size(q.Bytes),
		Received: v.moment(q.ReceivedAt),
	}
}

func (v *visit) showQuarantine() error {
	if id := v.QueryParam("id"); id != "" {
		return v.showQuarantined(id)
	}
	q := v.query("contains", "reason", "cursor")
	q.Set("limit", "50")
	page, err := ask[api.QuarantineList](v, "GET /quarantine", q)
	if err != nil {
		return err
	}

	out := quarantineView{
		Contains: q.Get("contains"), Reason: v.sentence(q.Get("reason")), Clear: v.path("/quarantine", nil),
		Next: v.nextPage("/quarantine", q, page.Next), Back: v.path("/quarantine", v.query("contains", "reason")),
	}
	for _, x := range page.Quarantined {
		out.Rows = append(out.Rows, v.quarantineRow(x))
	}
	if !v.Request().URL.Query().Has("cursor") {
		if err := v.addQuarantineGroups(&out); err != nil {
			return err
		}
	}
	return v.render(http.StatusOK, "quarantine", out)
}

// addQuarantineGroups adds the reasons, and how many would be understood now.
func (v *visit) addQuarantineGroups(out *quarantineView) error {
	list, err := ask[api.QuarantineList](v, "GET /quarantine", with(v.query("contains"), "group", "reason"))
	if err != nil || list.Grouped == nil {
		return err
	}

	s := list.Grouped
	if s.Looked < s.Total {
		out.Looked = v.t("quarantine.looked", count(s.Looked), count(s.Total))
	}
	if s.Understood > 0 {
		out.Understood = v.t("quarantine.understood", count(s.Understood), count(s.Parsed))
	}

	for i, g := range s.Groups {
		row := quarantineGroup{
			ID: "g-" + strconv.Itoa(i), Reason: v.sentence(g.Reason), Count: v.atLeast(g.Count, s.Looked < s.Total),
			Latest: v.moment(g.LatestAt), LatestHref: v.quarantinedPath(g.LatestID),
			Now: v.t("quarantine.of", count(g.Understood), count(g.Parsed)), Understood: g.Understood > 0,
		}
		if g.Reason != "" {
			q := with(v.query("contains"), "reason", g.Reason)
			row.Href = v.path("/quarantine", q)
			row.Retake = v.path("/quarantine/sure", with(q, "act", "retake"))
			row.Dismiss = v.path("/quarantine/sure", with(q, "act", "drop"))
		}
		out.Groups = append(out.Groups, row)
	}
	return nil
}

// The ways to show what came.
const (
	asText   = "text"
	asHex    = "hex"
	asParsed = "parsed"
)

func (v *visit) showQuarantined(id string) error {
	x, err := ask[api.Quarantined](v, "GET /quarantine/{id}", nil, id)
	if err != nil {
		return err
	}
	as := v.QueryParam("as")
	if as != asHex && as != asParsed {
		as = asText
	}

	one := &quarantineOne{
		quarantineRow: v.quarantineRow(x), Raw: v.path("/quarantine/raw", url.Values{"id": {id}}),
		Callback: visible(x.Callback), Headers: headerRows(x.Headers),
	}
	for _, way := range []string{asText, asHex, asParsed} {
		one.As = append(one.As, choice{
			Href: v.path("/quarantine", url.Values{"id": {id}, "as": {way}}), Name: v.t("quarantine.as." + way),
			Chosen: way == as,
		})
	}
	switch as {
	case asHex:
		one.Data = hexPayload(x.Raw)
	case asParsed:
		one.Data = parsedPayload(x)
	default:
		one.Data = newPayload(x.Raw)
	}
	one.Now, one.Understood = v.quarantineNow(x.Now)
	return v.render(http.StatusOK, "quarantine", quarantineView{One: one, Back: v.path("/quarantine", nil)})
}

// quarantineNow says what the parser makes of a callback today.
func (v *visit) quarantineNow(now *api.QuarantineNow) (text string, understood bool) {
	switch {
	case now == nil:
		return v.t("quarantine.now.large"), false
	case now.Understood:
		return v.t("quarantine.now.yes", count(now.Events)), true
	}
	return v.t("quarantine.now.no", v.say(now.Reason), count(now.Events), count(now.Events+now.Rejected)), false
}

// hexMost is how many bytes are shown in hexadecimal.
const hexMost = 16 << 10

// hexPayload shows bytes in hexadecimal, with those that are letters beside them.
func hexPayload(raw []byte) payload {
	shown := raw[:min(hexMost, len(raw))]
	return payload{Text: hex.Dump(shown), Bytes: size(len(raw)), Cut: len(shown) < len(raw)}
}

// parsedPayload shows what a parser gets to see: the fields of a form without their escapes, and JSON with a value in
// each line.
func parsedPayload(q api.Quarantined) payload {
	kind := ""
	for name, value := range q.Headers {
		if strings.EqualFold(name, "Content-Type") {
			kind, _, _ = mime.ParseMediaType(value)
		}
	}
	raw := q.Raw[:min(maxShown, len(q.Raw))]
	whole := newPayload(q.Raw)
	if kind != "application/x-www-form-urlencoded" || json.Valid(raw) {
		return whole
	}

	var out strings.Builder
	for pair := range strings.SplitSeq(string(raw), "&") {
		name, value, _ := strings.Cut(pair, "=")
		field := newPayload([]byte(unescaped(value)))
		out.WriteString(visible(unescaped(name)) + " = " + field.Text + "\n")
		if out.Len() > maxShown {
			whole.Cut = true
			break
		}
	}
	whole.Text = out.String()
	return whole
}

// unescaped is a part of a form without its escapes; what is no right escape stays.
func unescaped(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// downloadQuarantined sends one callback as it came. A browser keeps it as a file, and shows nothing of it.
func (v *visit) downloadQuarantined() error {
	x, err := ask[api.Quarantined](v, "GET /quarantine/{id}", nil, v.QueryParam("id"))
	if err != nil {
		return err
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return -1
	}, x.ID)
	return v.download(name+".bin", x.Raw)
}

// sureQuarantine asks before a group of the quarantine is taken in again, or removed.
func (v *visit) sureQuarantine() error {
	act := v.QueryParam("act")
	if act != "retake" && act != "drop" {
		return echo.ErrNotFound
	}
	q := v.query("contains", "reason")
	list, err := ask[api.QuarantineList](v, "GET /quarantine", with(q, "group", "reason"))
	if err != nil {
		return err
	}
	n, least := 0, false
	if s := list.Grouped; s != nil {
		for _, g := range s.Groups {
			n += g.Count
		}
		least = s.Looked < s.Total
	}

	out := v.quarantineSure(act, q)
	out.Notes = []string{v.t("sure." + act + ".note")}
	if n > 0 {
		out.Button = v.t("sure."+act+".do", v.atLeast(n, least))
	}
	fields := maps.Clone(q)
	fields.Set("all", "1")
	fields.Set("expect", strconv.Itoa(n))
	fields.Set("back", out.Back)
	out.Fields = fieldsOf(fields)
	return v.sure(out)
}

func (v *visit) quarantineSure(act string, q url.Values) sureView {
	out := sureView{
		Title: v.t("sure." + act), Action: v.path("/quarantine/"+act, nil), Nothing: v.t("quarantine.nothing"),
		Back: v.path("/quarantine", nil),
	}
	for _, name := range []string{"reason", "contains"} {
		if x := q.Get(name); x != "" {
			out.Which = append(out.Which, visible(x))
		}
	}
	return out
}

// retake takes in again what was not understood: one callback, or a group.
func (v *visit) retake() error {
	if v.FormValue("all") != "" {
		return v.changeQuarantine("retake", func(body map[string]any) (portion, error) {
			result, err := send[api.QuarantineResult](v, "POST /quarantine/replay", nil, body)
			return portion{done: result.Released, next: result.Next, failed: result.Error}, err
		})
	}
	result, err := send[api.QuarantineResult](v, "POST /quarantine/replay", nil,
		map[string]any{"ids": []string{v.FormValue("id")}})
	if err != nil {
		return err
	}
	if result.Released == 0 {
		return v.done("retake-failed")
	}
	return v.done("retake", count(result.Events))
}

// drop removes from quarantine what nobody needs: one callback, or a group.
func (v *visit) drop() error {
	if v.FormValue("all") != "" {
		return v.changeQuarantine("drop", func(body map[string]any) (portion, error) {
			result, err := send[api.QuarantineDismissed](v, "POST /quarantine/dismiss", nil, body)
			return portion{done: result.Done, next: result.Next}, err
		})
	}
	result, err := send[api.QuarantineDismissed](v, "POST /quarantine/dismiss", nil,
		map[string]any{"ids": []string{v.FormValue("id")}})
	if err != nil {
		return err
	}
	return v.done("drop", count(result.Done))
}

// changeQuarantine does an act with a group, a part of it at a time, and says how far it is.
func (v *visit) changeQuarantine(act string, ask func(body map[string]any) (portion, error)) error {
	q := v.form("reason", "contains")
	body := map[string]any{"all": true}
	for name := range q {
		body[name] = q.Get(name)
	}

	all, err := inParts(v.FormValue("cursor"), v.partsAtOnce(), func(cursor string) (portion, error) {
		body["cursor"] = cursor
		return ask(body)
	})
	if err != nil {
		return err
	}
	expect, _ := strconv.Atoi(v.FormValue("expect")) // none: it is as many as were done
	out := v.quarantineSure(act, q)
	out.Progress = v.progressOf(act, all, expect)
	if all.whole() && !v.part() {
		return v.Redirect(http.StatusSeeOther,
			v.path("/quarantine", url.Values{"did": {act + "-group"}, "n": {count(out.Progress.Done)}}))
	}
	if !all.whole() {
		v.addRest(&out, all, q)
	}
	return v.sure(out)
}
