package console

import (
	"net/http"
	"net/url"
	"strings"

	"kuairelay/relay/api"
)

// findView is what several lines name, one after the other.
type findView struct {
	Asked string // for the field to ask again
	Rows  []foundRow
	Wrong said // why it was not asked
}

// foundRow is what a line names.
type foundRow struct {
	ID      string
	Query   string
	Href    string // empty: there is nothing
	Kind    string
	Verdict word
	Text    said
	Next    said
}

// find goes to what was typed into the search box, if that is one thing. Of several lines it shows what each names.
func (v *visit) find() error {
	asked := v.QueryParam("q")
	if strings.TrimSpace(asked) == "" {
		if v.Request().URL.Query().Has("q") {
			return v.Redirect(http.StatusSeeOther, v.path("/events", nil))
		}
		return v.render(http.StatusOK, "find", findView{})
	}

	all, err := ask[api.Finds](v, "GET /find", url.Values{"q": {asked}})
	status, text := statusOf(err)
	switch {
	case err != nil && (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && oneLine(asked):
		return v.Redirect(http.StatusSeeOther, v.guessed(tidy(asked))) // the page says what is known without Redis
	case status == http.StatusBadRequest:
		return v.render(status, "find", findView{Asked: asked, Wrong: v.say(text)})
	case err != nil:
		return err
	}
	if len(all.Found) == 1 {
		one := all.Found[0]
		if one.Path != "" || one.Kind == api.FoundWaybill {
			return v.Redirect(http.StatusSeeOther, v.placeOf(one))
		}
	}

	out := findView{Asked: asked}
	for _, f := range all.Found {
		row := foundRow{
			ID: "f-" + visible(f.Query), Query: visible(f.Query), Kind: v.t("found." + string(f.Kind)),
			Verdict: v.foundWord(f), Text: v.sentence(f.Verdict.Text), Next: v.sentence(f.Verdict.Next),
		}
		if f.Path != "" || f.Kind == api.FoundWaybill {
			row.Href = v.placeOf(f)
		}
		out.Rows = append(out.Rows, row)
	}
	v.pollEvery(hardlyEver)
	if len(out.Rows) == 1 {
		return v.renderOf(http.StatusNotFound, "find", out)
	}
	return v.render(http.StatusOK, "find", out)
}

// foundWord shows the verdict on what was found: of an endpoint and a replay it is the state.
func (v *visit) foundWord(f api.Found) word {
	switch {
	case f.Path == "":
		return v.verdict(f.Verdict.Code)
	case f.Kind == api.FoundEndpoint:
		return v.endpointState(string(f.Verdict.Code))
	case f.Kind == api.FoundReplay:
		return v.state(string(f.Verdict.Code))
	case f.Kind == api.FoundTenant:
		return word{Sign: "→", Class: "dim", Text: v.t("found.tenant")}
	}
	return v.verdict(f.Verdict.Code)
}

// placeOf is the page of what was found.
func (v *visit) placeOf(f api.Found) string {
	switch f.Kind {
	case api.FoundEvent:
		return v.eventPath(f.Query)
	case api.FoundCallback:
		return v.path("/events", url.Values{"callback": {f.Query}})
	case api.FoundQuarantined:
		return v.quarantinedPath(f.Query)
	case api.FoundReplay:
		return v.path("/replays/"+url.PathEscape(f.Query), nil)
	case api.FoundTenant:
		return v.path("/endpoints", url.Values{"tenant": {f.Query}})
	case api.FoundEndpoint:
		path := f.Path
		if v.tenant != "" { // the API's path leaves the tenant out
			path = strings.Replace(path, "/endpoints/", "/endpoints/"+url.PathEscape(v.tenant)+"/", 1)
		}
		return v.side.base + path
	}
	return v.waybillPath(f.Query)
}

// guessed is the page of what a text looks like.
func (v *visit) guessed(asked string) string {
	switch {
	case strings.HasPrefix(asked, "evt_"):
		return v.eventPath(asked)
	case strings.HasPrefix(asked, "rpl_"):
		return v.path("/replays/"+url.PathEscape(asked), nil)
	case strings.HasPrefix(asked, "cb_"):
		return v.path("/events", url.Values{"callback": {asked}})
	case strings.HasPrefix(asked, "qtn_") && v.tenant == "":
		return v.quarantinedPath(asked)
	case strings.Count(asked, "/") == 1:
		tenant, name, _ := strings.Cut(asked, "/")
		return v.path("/endpoints/"+url.PathEscape(tenant)+"/"+url.PathEscape(name), nil)
	}
	return v.waybillPath(asked)
}

// searched is what the search box has: one line, as it has no room for more.
func (v *visit) searched() string {
	if q := v.QueryParam("q"); oneLine(q) {
		return q
	}
	return ""
}

// oneLine says whether a text names one thing at most.
func oneLine(s string) bool { return !strings.ContainsAny(strings.TrimSpace(s), "\r\n\t,，") }

// tidy removes what a copied number has around and within it, and makes wide letters and digits plain ones.
func tidy(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\u3000' || r == '\u00a0' || hidden(r):
			return -1
		}
		return r
	}, s)
}
