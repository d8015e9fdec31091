package console

import (
	"net/url"
	"slices"
	"strings"

	"kuairelay/relay/api"
)

// whyNot says why endpoints have no delivery of a waybill's latest update.
type whyNot struct {
	Title  string
	Routes []routeRow
	More   string // how many more there are, which the update's page has
	Href   string // that page
}

// addWhyNot adds why others do not get the latest update of a waybill. An open page does not ask for it again: it costs
// more than the rest, and changes with the config only.
func (v *visit) addWhyNot(out *waybillView, latest api.Event) error {
	e, err := ask[api.Event](v, "GET /events/{id}", nil, latest.ID)
	if err != nil {
		return err
	}
	has := func(endpoint string) bool {
		return slices.ContainsFunc(e.Deliveries, func(d api.Delivery) bool { return d.Endpoint == endpoint })
	}
	left := e.RoutesLeft
	var rows []routeRow
	for _, r := range e.Routes {
		without := slices.DeleteFunc(slices.Clone(r.Endpoints), has)
		switch {
		case len(without) == 0:
		case len(rows) == mostWhyNot:
			left++
		default:
			rows = append(rows, routeRow{
				At: visible(r.At), Endpoints: strings.Join(without, ", "), Why: v.say(r.Why), Matched: r.Matched,
			})
		}
	}
	if len(rows) == 0 {
		return nil
	}

	out.WhyNot = &whyNot{Title: v.t("waybill.why.others"), Routes: rows, Href: v.eventPath(e.ID)}
	if len(e.Deliveries) == 0 {
		out.WhyNot.Title = v.t("waybill.why.nobody")
	}
	if left > 0 {
		out.WhyNot.More = v.t("event.routes.more", count(left))
	}
	return nil
}

// mostWhyNot is how many routes the page of a waybill shows. The page of an event shows more.
const mostWhyNot = 8

// addMisread adds callbacks in quarantine that name a waybill which has updates: one of them may be the missing one.
func (v *visit) addMisread(out *waybillView, code string) {
	if len(code) < shortestNamed {
		return
	}
	q := url.Values{"contains": {code}, "limit": {"5"}}
	found, err := ask[api.QuarantineList](v, "GET /quarantine", q)
	if err != nil || len(found.Quarantined) == 0 {
		return // the rest is worth showing without it
	}
	row := v.inQuarantine(api.Waybill{Quarantined: found.Quarantined})
	out.Misread = &row
}

// shortestNamed is the shortest code that is looked for in quarantine: a shorter one is in many callbacks by chance.
const shortestNamed = 5
