package console

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// eventFilter are the parameters of a list of events, as the API has them.
var eventFilter = []string{
	"status", "brand", "endpoint", "tenant", "waybill_code", "state", "callback", "since", "until",
}

// filterView is what a list of events can be narrowed by.
type filterView struct {
	Picks            []pick
	Endpoint, Tenant string
	Waybill          string
	Callback         string
	Endpoints        []string // some names, for a field to offer
	Since            string   // a span before now; empty: none, or a time
	From, To         string   // for inputs of a time, in the reader's zone
	Time             string   // the span in words
	Spans            []choice
	Chips            []choice // each leads to the list without it
	Clear            string
	Size             string
	Any              bool
}

// pick is a field that takes several of some values.
type pick struct {
	Field, Name string
	Sum         string // what is chosen, in short
	Options     []option
}

// readEventFilter reads the filter of a list of events. A form may name a value several times, and times as inputs of a
// browser write them, in the reader's zone: then the page has another address, where they are the same for everybody.
func (v *visit) readEventFilter(path string) (q url.Values, elsewhere string, err error) {
	given := v.QueryParams()
	q = url.Values{}
	moved := false
	for _, name := range eventFilter {
		values := slices.DeleteFunc(slices.Clone(given[name]), func(s string) bool { return strings.TrimSpace(s) == "" })
		moved = moved || len(values) > 1
		if len(values) > 0 {
			q.Set(name, strings.Join(values, ","))
		}
	}

	for field, name := range map[string]string{"from": "since", "to": "until", "jump": "at"} {
		if text := given.Get(field); text != "" {
			at, err := v.readTime(text)
			if err != nil {
				return nil, "", err
			}
			q.Set(name, at.UTC().Format(time.RFC3339))
			moved = true
		}
	}
	if !moved {
		return q, "", nil
	}
	if size := given.Get("limit"); size != "" {
		q.Set("limit", size)
	}
	return q, v.path(path, q), nil
}

// filterView shows a filter of a list at a path.
func (v *visit) filterView(path string, q url.Values) filterView {
	f := filterView{
		Endpoint: q.Get("endpoint"), Tenant: q.Get("tenant"), Waybill: q.Get("waybill_code"), Callback: q.Get("callback"),
		Clear: v.path(path, nil), Any: len(q) > 0,
	}
	f.Endpoints, _ = v.o.API.Names(v.tenant, mostNames)
	states := []string{"open"}
	for _, s := range event.States() {
		states = append(states, string(s))
	}
	if v.tenant == "" {
		states = append(states, api.StateUnrouted)
	}
	f.Picks = []pick{
		v.pick("status", v.t("col.status"), words(), q.Get("status"), v.statusText),
		v.pick("brand", v.t("col.brand"), kuaidihelp.Brands(), q.Get("brand"), v.brandText),
		v.pick("state", v.t("col.state"), states, q.Get("state"), func(s string) string { return v.state(s).Text }),
	}
	v.addTimes(&f, path, q)

	// Each part of the filter can be taken away alone.
	for _, name := range eventFilter {
		value := q.Get(name)
		if value == "" {
			continue
		}
		without := maps.Clone(q)
		without.Del(name)
		f.Chips = append(f.Chips, choice{Name: v.filtered(name, value), Href: v.path(path, without)})
	}
	return f
}

// mostNames is how many endpoints a field offers.
const mostNames = 200

// pick makes a field of several values. Those that are chosen and not known are offered, too.
func (v *visit) pick(field, name string, known []string, chosen string, text func(string) string) pick {
	has := strings.FieldsFunc(chosen, func(r rune) bool { return r == ',' })
	for _, x := range has {
		if !slices.Contains(known, x) {
			known = append(slices.Clone(known), x)
		}
	}
	out := pick{Field: field, Name: name}
	var sum []string
	for _, x := range known {
		o := option{Value: x, Text: text(x), Chosen: slices.Contains(has, x)}
		if o.Chosen {
			sum = append(sum, o.Text)
		}
		out.Options = append(out.Options, o)
	}
	switch len(sum) {
	case 0:
		out.Sum = v.t("all")
	case 1:
		out.Sum = sum[0]
	default:
		out.Sum = count(len(sum))
	}
	return out
}

// pickerLayout is how an input of a browser writes a time.
const pickerLayout = "2006-01-02T15:04:05"

// addTimes adds what a filter says of times.
func (v *visit) addTimes(f *filterView, path string, q url.Values) {
	since, until := q.Get("since"), q.Get("until")
	if _, isSpan := spans[since]; isSpan {
		f.Since = since
		f.Time = v.t("last." + since)
	}
	if at, err := time.Parse(time.RFC3339, since); err == nil {
		f.From = at.In(v.zone).Format(pickerLayout)
		f.Time = v.t("from.to", v.moment(at).Text, "")
	}
	if at, err := time.Parse(time.RFC3339, until); err == nil {
		f.To = at.In(v.zone).Format(pickerLayout)
		from := ""
		if at, err := time.Parse(time.RFC3339, since); err == nil {
			from = v.moment(at).Text
		}
		f.Time = v.t("from.to", from, v.moment(at).Text)
	}
	if f.Time == "" {
		f.Time = v.t("all")
	}

	anyTime := maps.Clone(q)
	anyTime.Del("since")
	anyTime.Del("until")
	f.Spans = []choice{{Name: v.t("all"), Href: v.path(path, anyTime), Chosen: since == "" && until == ""}}
	for _, span := range ranges {
		f.Spans = append(f.Spans, choice{
			Name: v.t("last." + span), Href: v.path(path, with(anyTime, "since", span)), Chosen: since == span && until == "",
		})
	}
}

// filtered says in words what a part of a filter takes.
func (v *visit) filtered(name, value string) string {
	each := func(text func(string) string) string {
		var all []string
		for x := range strings.SplitSeq(value, ",") {
			all = append(all, text(x))
		}
		return strings.Join(all, ", ")
	}
	at := func(s string) string {
		if at, err := time.Parse(time.RFC3339, s); err == nil {
			return v.moment(at).Text
		}
		if _, ok := spans[s]; ok {
			return v.t("last." + s)
		}
		return visible(s)
	}

	switch name {
	case "status":
		return v.t("col.status") + v.t("colon") + each(v.statusText)
	case "brand":
		return v.t("col.brand") + v.t("colon") + each(v.brandText)
	case "state":
		return v.t("col.state") + v.t("colon") + each(func(s string) string { return v.state(s).Text })
	case "endpoint":
		return v.t("col.endpoint") + v.t("colon") + visible(value)
	case "tenant":
		return v.t("col.tenant") + v.t("colon") + visible(value)
	case "waybill_code":
		return v.t("col.waybill") + v.t("colon") + visible(value)
	case "callback":
		return v.t("callback.of") + v.t("colon") + visible(value)
	case "since":
		if _, ok := spans[value]; ok {
			return v.t("last." + value)
		}
		return v.t("since") + " " + at(value)
	}
	return v.t("until") + " " + at(value)
}
