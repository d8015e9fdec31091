package console

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

type helpView struct {
	States    []meaning // of deliveries
	Endpoints []meaning // states of endpoints
	Words     []explainedWord
	Begin     *beginView // the first steps of a tenant; nil: they are not known
}

// explainedWord is a word of the pages with what it means.
type explainedWord struct{ Name, Means string }

// meaning is a state with what it means.
type meaning struct {
	Word  word
	Means string
}

func (v *visit) showHelp() error {
	out := helpView{}
	for _, s := range []string{"delivered", "queued", "sending", "retrying", "waiting", "dead", "dismissed", "unrouted"} {
		out.States = append(out.States, meaning{Word: v.state(s), Means: v.t("means." + s)})
	}
	for _, s := range api.EndpointStates() {
		out.Endpoints = append(out.Endpoints, meaning{Word: v.endpointState(s), Means: v.t("endpoint.is." + breakerWord(s))})
	}
	for _, w := range []string{"callback", "event", "endpoint", "route", "delivery", "attempt", "dead", "line",
		"subscription", "replay", "quarantine", "spool"} {
		out.Words = append(out.Words, explainedWord{Name: v.t("word." + w), Means: v.t("word." + w + ".is")})
	}
	if v.tenant != "" {
		if begin, err := v.tenantsBegin(); err == nil {
			out.Begin = begin
		}
	}
	return v.render(http.StatusOK, "help", out)
}

// readTime reads a time of a form: as the API has it, a span before now, or as an input of the browser gives it, in the
// reader's zone.
func (v *visit) readTime(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", pickerLayout} {
		if at, err := time.ParseInLocation(layout, text, v.zone); err == nil {
			return at, nil
		}
	}
	for name, span := range spans {
		if text == name {
			return v.now.Add(-span), nil
		}
	}
	if span, err := time.ParseDuration(text); err == nil && span >= 0 { // from a link
		return v.now.Add(-span), nil
	}
	return time.Time{}, echo.NewHTTPError(http.StatusBadRequest, v.t("error.time", visible(text)))
}

// spans are those that a form offers.
var spans = map[string]time.Duration{
	"1h": time.Hour, "6h": 6 * time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour,
}
