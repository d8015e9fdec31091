package console

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

// sureOf leads to the question before an act on all that a filter selects.
func (v *visit) sureOf(act string, q url.Values) string {
	return v.path("/dead-letters/sure", with(q, "act", act))
}

// chosenMost is how many rows a form may choose.
const chosenMost = 100

// sureDeadLetters asks before dead letters are redriven or dismissed: those that were chosen, or all of a filter. It
// counts them first.
func (v *visit) sureDeadLetters() error {
	act := v.QueryParam("act")
	if act != "redrive" && act != "dismiss" {
		return echo.ErrNotFound
	}
	out := sureView{
		Title: v.t("sure." + act), Action: v.path("/dead-letters/"+act, nil), Nothing: v.t("dead.nothing"),
		Notes: []string{v.t("sure." + act + ".note"), v.t("sure." + act + ".bound")},
	}
	if letters := v.QueryParams()["letter"]; len(letters) > 0 || v.QueryParam("chosen") != "" {
		if len(letters) > chosenMost {
			return echo.NewHTTPError(http.StatusBadRequest, v.t("dead.too.many", chosenMost))
		}
		out.Back = v.own(v.QueryParam("back"))
		out.Which = []string{v.t("dead.chosen", count(len(letters)))}
		out.Fields = append(fieldsOf(url.Values{"letter": letters}), field{"back", out.Back})
		if len(letters) > 0 {
			out.Button = v.t("sure."+act+".do", count(len(letters)))
		}
		return v.sure(out)
	}

	// Those that come from now on are not counted, and not changed.
	q := v.query(letterFilter...)
	filter, err := v.withTimes(q)
	if err != nil {
		return err
	}
	if !filter.Has("until") {
		filter.Set("until", v.now.UTC().Format(time.RFC3339Nano))
	}
	result, err := send[api.DeadLettersResult](v, "POST /dead-letters/"+act, nil, map[string]any{
		"all": true, "filter": bodyOf(filter), "dry_run": true,
	})
	if err != nil {
		return err
	}

	n := 0
	if result.Count != nil {
		n = *result.Count
	}
	out.Back = v.path("/dead-letters", q)
	out.Which = v.whichLetters(q)
	filter.Set("all", "1")
	filter.Set("expect", strconv.Itoa(n))
	filter.Set("back", out.Back)
	out.Fields = fieldsOf(filter)
	if n > 0 {
		out.Button = v.t("sure."+act+".do", v.atLeast(n, result.AtLeast))
	}
	return v.sure(out)
}

// bodyOf is a filter as the body of a request has it.
func bodyOf(q url.Values) map[string]string {
	out := make(map[string]string)
	for _, name := range letterFilter {
		if x := q.Get(name); x != "" {
			out[name] = x
		}
	}
	return out
}

// whichLetters says what a filter selects.
func (v *visit) whichLetters(q url.Values) (out []string) {
	if !q.Has("endpoint") && !q.Has("tenant") {
		out = append(out, v.t("dead.everywhere"))
	}
	for _, name := range letterFilter {
		text := q.Get(name)
		switch {
		case text == "":
		case name == "since" || name == "until":
			out = append(out, v.t(name)+" "+v.timeOf(text))
		default:
			out = append(out, visible(text))
		}
	}
	return out
}

func (v *visit) redrive() error { return v.change("redrive") }
func (v *visit) dismiss() error { return v.change("dismiss") }

// change redrives or dismisses the dead letter of the form, those that were chosen, or all of a filter.
func (v *visit) change(act string) error {
	if v.FormValue("all") != "" {
		return v.changeAll(act)
	}

	var letters []map[string]string
	form, err := v.FormParams()
	if err != nil {
		return err
	}
	for _, name := range form["letter"] {
		id, endpoint, _ := strings.Cut(name, " ")
		letters = append(letters, map[string]string{"event_id": id, "endpoint": endpoint})
	}
	if len(letters) == 0 {
		letters = []map[string]string{{"event_id": v.FormValue("event_id"), "endpoint": v.FormValue("endpoint")}}
	}
	all, err := v.changeLetters(act, map[string]any{"dead_letters": letters})
	if err != nil {
		return err
	}
	if err := v.ended(all); err != nil {
		return err
	}
	switch {
	case v.part():
		return v.sure(v.changed(act, all, len(letters)))
	case all.done == 0:
		return v.done("not-dead")
	}
	return v.done(act, count(all.done))
}

// changeLetters asks the API to redrive or dismiss dead letters. How many there are is counted anew then.
func (v *visit) changeLetters(act string, body map[string]any) (portion, error) {
	defer v.letters.forget()
	result, err := send[api.DeadLettersResult](v, "POST /dead-letters/"+act, nil, body)
	return portion{done: result.Done, next: result.Next, failed: result.Error}, err
}

// changeAll does an act with all dead letters of a filter: a part of them, and says how far it is.
func (v *visit) changeAll(act string) error {
	expect, err := strconv.Atoi(v.FormValue("expect"))
	if err != nil || expect < 1 { // it was not counted, or there was none
		return echo.NewHTTPError(http.StatusBadRequest, v.t("dead.nothing"))
	}
	filter := v.form(letterFilter...)
	all, err := inParts(v.FormValue("cursor"), v.partsAtOnce(), func(cursor string) (portion, error) {
		return v.changeLetters(act, map[string]any{
			"all": true, "filter": bodyOf(filter), "expect": expect, "cursor": cursor,
		})
	})
	if status, text := statusOf(err); v.part() && status != 0 {
		all.failed = text
		err = nil
	}
	if err != nil {
		return err
	}
	out := v.changed(act, all, expect)
	if all.whole() && !v.part() {
		return v.done(act, count(out.Progress.Done))
	}
	if !all.whole() {
		v.addRest(&out, all, filter)
	}
	return v.sure(out)
}

// changed says how far an act is.
func (v *visit) changed(act string, all portion, of int) sureView {
	return sureView{
		Title: v.t("sure." + act), Action: v.path("/dead-letters/"+act, nil), Back: v.own(v.FormValue("back")),
		Progress: v.progressOf(act, all, of),
	}
}

// statusOf is the status and text of an error of the API; zero: it is none.
func statusOf(err error) (status int, text string) {
	he, ok := errors.AsType[*echo.HTTPError](err)
	if !ok {
		return 0, ""
	}
	text, _ = he.Message.(string)
	return he.Code, visible(text)
}
