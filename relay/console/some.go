package console

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

// someMost bounds the endpoints of one act: those of a page.
const someMost = 100

// someView asks whether several endpoints are to be paused, resumed or redriven.
type someView struct {
	What     string
	Question string
	Text     string
	Rows     []someRow
	Left     string // how many are left alone, because there is nothing to do; empty: none
	Go       string // on the button; empty: there is nothing to do
	Back     string
}

func (s someView) title(*visit) string { return s.Question }

// someRow is one of the endpoints that something is done to.
type someRow struct {
	Name  string
	State word
	Count string
}

// someActs are what can be done to several endpoints at once, with how much of one it is about (0: nothing is to be
// done to it).
var someActs = map[string]func(e api.EndpointHealth) int64{
	"pause": func(e api.EndpointHealth) int64 {
		if e.State == "paused" {
			return 0
		}
		return e.Open + e.Waiting + 1
	},
	"resume": func(e api.EndpointHealth) int64 {
		if e.State != "paused" && e.State != "gone" && e.State != "open" {
			return 0
		}
		return e.Open + e.Waiting + 1
	},
	"redrive": func(e api.EndpointHealth) int64 { return e.Dead },
}

// chosen are the endpoints that a form has chosen, with their health.
func (v *visit) chosenEndpoints(what string, names []string) (all []api.EndpointHealth, left int, err error) {
	holds, known := someActs[what]
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	switch {
	case !known:
		return nil, 0, echo.ErrNotFound
	case len(names) == 0:
		return nil, 0, echo.NewHTTPError(http.StatusBadRequest, v.t("some.none"))
	case len(names) > someMost:
		return nil, 0, echo.NewHTTPError(http.StatusBadRequest, v.t("some.many", someMost))
	}
	for _, name := range names {
		e, err := ask[api.EndpointHealth](v, "GET /endpoints/{endpoint}", nil, name)
		if err != nil {
			return nil, 0, err
		}
		if holds(e) > 0 {
			all = append(all, e)
		} else {
			left++
		}
	}
	return all, left, nil
}

// askSome says what would be done to the chosen endpoints.
func (v *visit) askSome() error {
	what := v.QueryParam("what")
	all, left, err := v.chosenEndpoints(what, v.QueryParams()["endpoint"])
	if err != nil {
		return err
	}

	out := someView{What: what, Back: v.own(v.QueryParam("back"))}
	var sum int64
	for _, e := range all {
		n := e.Open + e.Waiting
		if what == "redrive" {
			n = e.Dead
		}
		sum += n
		out.Rows = append(out.Rows, someRow{Name: e.Endpoint, State: v.endpointState(string(e.State)), Count: count(n)})
	}
	n := count(len(all))
	endpoints := v.many("endpoint", int64(len(all)))
	if what == "redrive" {
		out.Question = v.t("some.redrive", v.many("letter", sum), endpoints)
		out.Text = v.t("some.redrive.text", count(actsAtOnce*lettersAtOnce))
		out.Go = v.t("some.redrive.go", count(sum))
	} else {
		out.Question = v.t("some."+what, endpoints)
		out.Text = v.t("some."+what+".text", v.many("delivery", sum))
		out.Go = v.t("some."+what+".go", n)
	}
	if left > 0 {
		out.Left = v.t("some.left", count(left))
	}
	if len(all) == 0 {
		out.Question, out.Go = v.t("some.nothing"), ""
	}
	return v.render(http.StatusOK, "endpoints-some", out)
}

// lettersAtOnce is how many dead letters the API changes in a request.
const lettersAtOnce = 100

// doSome does it. What has been done when one of them fails stays done: the error says which it was.
func (v *visit) doSome() error {
	form, err := v.FormParams()
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	what := form.Get("what")
	all, _, err := v.chosenEndpoints(what, form["endpoint"])
	if err != nil {
		return err
	}

	if what == "redrive" {
		return v.redriveChosen(all)
	}
	for _, e := range all {
		if _, err := send[api.EndpointHealth](v, "POST /endpoints/{endpoint}/"+what, nil, nil, e.Endpoint); err != nil {
			return err
		}
	}
	return v.done(what+"-some", count(len(all)))
}

// redriveChosen redrives the dead letters of endpoints. It says how many are left, if it ended before all were.
func (v *visit) redriveChosen(endpoints []api.EndpointHealth) error {
	left := 0
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.Endpoint
		left += int(e.Dead)
	}
	all, err := redriveSome(names, func(body map[string]any) (portion, error) { return v.changeLetters("redrive", body) })
	if err != nil {
		return err
	}

	left = max(0, left-all.done)
	switch {
	case all.failed != "":
		return echo.NewHTTPError(http.StatusServiceUnavailable,
			v.t("some.redrive.ended", count(all.done), count(left), all.failed))
	case all.next != "" && left > 0:
		return v.done("redrive-left", count(all.done), count(left))
	}
	return v.done("redrive-some", count(all.done))
}

// redriveSome redrives the dead letters of one endpoint after the other, in actsAtOnce requests at most.
func redriveSome(endpoints []string, ask func(body map[string]any) (portion, error)) (portion, error) {
	if len(endpoints) == 0 {
		return portion{}, nil
	}
	at := 0
	return inParts("", actsAtOnce, func(cursor string) (portion, error) {
		if cursor == nextEndpoint {
			at++
			cursor = ""
		}
		one, err := ask(map[string]any{
			"all": true, "filter": map[string]string{"endpoint": endpoints[at]}, "cursor": cursor,
		})
		if one.next == "" && at < len(endpoints)-1 {
			one.next = nextEndpoint
		}
		return one, err
	})
}

// nextEndpoint is the cursor behind the last dead letter of an endpoint.
const nextEndpoint = "next"
