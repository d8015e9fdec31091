package console

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

// actsAtOnce is how many requests to the API one form makes at most. Each changes up to a hundred dead letters.
const actsAtOnce = 20

type deadLettersView struct {
	Endpoint string
	Total    string // of the endpoint
	Rows     []deadLetterRow
	Next     string
	Back     string
}

// deadLetterRow is a dead letter.
type deadLetterRow struct {
	EventID, Href string
	Endpoint      string
	EndpointHref  string
	Dead          moment
	Brand, Status string
	Waybill       string
	Attempts      int
	Reason        said
}

func (v *visit) showDeadLetters() error {
	q := v.query("endpoint", "tenant", "brand", "status", "waybill_code", "since", "until", "cursor")
	q.Set("limit", "50")
	page, err := ask[api.DeadLetters](v, "GET /dead-letters", q)
	if err != nil {
		return err
	}

	out := deadLettersView{Endpoint: q.Get("endpoint")}
	for _, d := range page.DeadLetters {
		out.Rows = append(out.Rows, deadLetterRow{
			EventID: d.EventID, Href: v.path("/event", url.Values{"id": {d.EventID}}),
			Endpoint: d.Endpoint, EndpointHref: v.path("/endpoints/"+d.Endpoint, nil), Dead: v.moment(d.DeadAt),
			Brand: v.brandText(d.CPCode), Status: v.statusText(d.Status), Waybill: visible(d.WaybillCode),
			Attempts: d.Attempts, Reason: v.say(d.Reason),
		})
	}
	if out.Endpoint != "" && len(out.Rows) > 0 {
		health, err := ask[api.EndpointHealth](v, "GET /endpoints/{endpoint}", nil, out.Rows[0].Endpoint)
		if err != nil {
			return err
		}
		out.Total = count(health.Dead)
	}
	out.Next = v.nextPage("/dead-letters", q, page.Next)
	q.Del("limit")
	q.Del("cursor")
	out.Back = v.path("/dead-letters", q)
	return v.render(http.StatusOK, "dead-letters", out)
}

func (v *visit) redrive() error { return v.change("redrive") }
func (v *visit) dismiss() error { return v.change("dismiss") }

// change redrives or dismisses the dead letter of the form, or all of its endpoint.
func (v *visit) change(what string) error {
	endpoint := v.FormValue("endpoint")
	body := map[string]any{"dead_letters": []map[string]string{{
		"event_id": v.FormValue("event_id"), "endpoint": endpoint,
	}}}
	if v.FormValue("all") != "" {
		if endpoint == "" {
			return echo.NewHTTPError(http.StatusBadRequest, v.t("dead.which"))
		}
		body = map[string]any{"all": true, "filter": map[string]string{"endpoint": endpoint}}
	}

	done, err := inParts(body, func() (int, string, error) {
		result, err := send[api.DeadLettersResult](v, "POST /dead-letters/"+what, nil, body)
		return result.Done, result.Next, err
	})
	if err != nil {
		return err
	}
	return v.done(what, count(done))
}

// inParts asks the API again as long as it says that there is more: it changes a part of them, and gives the cursor of
// the next one, which goes into body. An error after the first part ends it: what was done by then counts.
func inParts(body map[string]any, ask func() (done int, next string, err error)) (all int, err error) {
	for range actsAtOnce {
		done, next, err := ask()
		if err != nil && all == 0 {
			return 0, err
		}
		all += done
		if err != nil || next == "" {
			break
		}
		body["cursor"] = next
	}
	return all, nil //nolint:nilerr // the page says how many were done
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
