package console

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// subscriptionsView is the page of subscriptions: of one tenant, of one waybill, or for the operator of all tenants.
type subscriptionsView struct {
	Tenant  string // whose; empty: the operator's page of all tenants, or of a waybill
	Tenants []tenantRow
	Figures []figure
	Account string // how it stands with kuaidihelp; empty: a tenant is not told
	Refused bool   // kuaidihelp refuses the account, or there is none

	Waybill, State string
	States, Brands []option
	Here           string // path of the forms
	Clear          string

	Rows  []ledgerRow
	Owner bool // rows are of several tenants
	Again []string
	Next  string
	Empty string

	Export, ExportNote string
	Results            []subscribeRow // of the form; none: the page was only asked for
	Live               bool
}

func (s subscriptionsView) title(v *visit) string {
	if s.Tenant != "" && v.side.operator {
		return v.t("title.subscriptions") + " · " + s.Tenant
	}
	return v.t("title.subscriptions")
}

// tenantRow is what one tenant has subscribed.
type tenantRow struct {
	Name, Href                string
	Subscribed, Live, Pending string
	Failed, FailedHref        string
	Quota                     string
}

// ledgerRow is a subscription in the list.
type ledgerRow struct {
	ID, Tenant    string
	Brand         string
	Waybill, Href string
	State         word
	Reason        string
	Retry         moment // when kuaidihelp is asked again, because it has no record yet
	Since, Until  moment
	Failed        bool
	Name          string // brand and waybill, for forms
	Path, End     string // of the forms
}

// subscribeRow is what became of one waybill of the form.
type subscribeRow struct {
	Waybill, Href string
	Result        word
	Reason        string
	Retry         moment // when kuaidihelp is asked again, because it has no record yet
}

// exportMost bounds an export, and the next two each answer that it is made of, of the operator and of a tenant. The
// last ones are how many are made at the same time, for one tenant and together.
const (
	exportMost    = 10_000
	exportPage    = 500
	exportOwnPage = 1000
	exportsAtOnce = 2
	exportsInAll  = 8
)

func (v *visit) showSubscriptions() error { return v.subscriptions(nil) }

// subscriptions shows the page, with what became of a form's waybills.
func (v *visit) subscriptions(results []subscribeRow) error {
	q := v.query("waybill_code", "state", "cursor")
	q.Set("waybill_code", tidy(q.Get("waybill_code")))
	out := subscriptionsView{
		Tenant: cmp.Or(v.tenant, v.QueryParam("tenant")), Waybill: q.Get("waybill_code"), State: q.Get("state"),
		Results: results, Live: len(results) == 0,
	}
	own := url.Values{}
	if v.tenant == "" && out.Tenant != "" {
		own.Set("tenant", out.Tenant)
		q.Set("tenant", out.Tenant)
	}
	out.Here = v.path("/subscriptions", own)
	out.Clear = out.Here
	if err := v.addSummary(&out); err != nil {
		return err
	}
	if out.Tenant != "" || out.Waybill != "" {
		if err := v.addSubscriptions(&out, q); err != nil {
			return err
		}
	}

	states := []string{string(ledger.Live), string(ledger.Pending), string(ledger.Failed)}
	out.States = v.options(states, out.State, func(s string) string { return v.state(s).Text })
	for _, b := range kuaidihelp.Brands() {
		out.Brands = append(out.Brands, option{Value: b, Text: v.brandText(b)})
	}
	return v.render(http.StatusOK, "subscriptions", out)
}

// addSummary adds how many subscriptions there are: of the tenant, or of each one. A page that is only brought up to
// date has no need of it, and it costs the most.
func (v *visit) addSummary(out *subscriptionsView) error {
	if v.part() {
		return nil
	}
	q := url.Values{"limit": {"100"}}
	if v.tenant == "" && out.Tenant != "" {
		q.Set("tenant", out.Tenant)
	}
	if out.Tenant == "" && v.QueryParam("cursor") != "" {
		q.Set("cursor", v.QueryParam("cursor"))
	}
	s, err := ask[api.SubscriptionSummary](v, "GET /subscriptions/summary", q)
	if err != nil {
		return err
	}
	if up := s.Upstream; up != nil {
		out.Account, out.Refused = v.account(up)
	}

	for _, t := range s.Tenants {
		row := v.tenantRow(t)
		if out.Tenant == "" {
			out.Tenants = append(out.Tenants, row)
			continue
		}
		out.Figures = []figure{
			{Name: v.t("subscriptions.all"), Value: row.Subscribed},
			{Name: v.state("live").Text, Value: row.Live},
			{Name: v.state("pending").Text, Value: row.Pending},
			{Name: v.state("failed").Text, Value: row.Failed, Href: row.FailedHref, Bad: t.States[ledger.Failed] > 0},
			{Name: v.t("subscriptions.quota"), Value: row.Quota},
		}
		if !t.QuotaEndsAt.IsZero() {
			out.Figures[4].Note = v.t("subscriptions.quota.until", v.moment(t.QuotaEndsAt).Text)
		}
		out.Export = v.path("/subscriptions/export", exportOf(v.tenant, t.Tenant))
		if t.Subscribed > exportMost {
			out.ExportNote = v.t("subscriptions.export.some", count(exportMost))
		}
	}
	if out.Tenant == "" {
		out.Next = v.nextPage("/subscriptions", url.Values{}, s.Next)
	}
	return nil
}

// exportOf are the parameters of an export of a tenant's subscriptions.
func exportOf(who, tenant string) url.Values {
	if who != "" {
		return nil
	}
	return url.Values{"tenant": {tenant}}
}

func (v *visit) tenantRow(t api.TenantSubscriptions) tenantRow {
	of := func(state ledger.State) string {
		n := count(t.States[state])
		if t.AtLeast {
			n = "≥ " + n
		}
		return n
	}
	q := url.Values{}
	if v.tenant == "" {
		q.Set("tenant", t.Tenant)
	}
	row := tenantRow{
		Name: t.Tenant, Href: v.path("/subscriptions", q), Subscribed: count(t.Subscribed),
		Live: of(ledger.Live), Pending: of(ledger.Pending), Failed: of(ledger.Failed), Quota: "–",
	}
	q.Set("state", string(ledger.Failed))
	row.FailedHref = v.path("/subscriptions", q)
	if t.DailyQuota > 0 {
		row.Quota = count(t.Today) + " / " + count(t.DailyQuota)
	}
	return row
}

// account says how it stands with kuaidihelp.
func (v *visit) account(up *api.Upstream) (text string, refused bool) {
	switch {
	case !up.Configured:
		return v.t("subscriptions.account.none"), true
	case up.CredentialsRefused:
		return v.t("subscriptions.account.refused"), true
	}
	return v.t("subscriptions.account.ok", count(up.Waiting), strconv.FormatFloat(up.Rate, 'g', -1, 64)), false
}

// addSubscriptions adds a page of the list.
func (v *visit) addSubscriptions(out *subscriptionsView, q url.Values) error {
	q.Set("limit", "50")
	if q.Get("waybill_code") == "" {
		q.Del("waybill_code")
	}
	all, next, err := v.listSubscriptions(q)
	if err != nil {
		return err
	}
	out.Owner = out.Tenant == ""
	for _, s := range all {
		row := v.ledgerRow(s)
		if row.Failed && !out.Owner {
			out.Again = append(out.Again, row.Name)
		}
		out.Rows = append(out.Rows, row)
	}
	out.Next = v.nextPage("/subscriptions", q, next)

	switch {
	case len(out.Rows) > 0:
	case out.Next != "":
		out.Empty = v.t("subscriptions.none.here")
	case out.Waybill != "" || out.State != "":
		out.Empty = v.t("subscriptions.none.filter")
	default:
		out.Empty = v.t("subscriptions.none")
	}
	return nil
}

// listSubscriptions asks for a page of them, of whichever type the API has for the caller.
func (v *visit) listSubscriptions(q url.Values) (all []api.Subscription, next string, err error) {
	if v.tenant == "" {
		page, err := ask[api.Subscriptions](v, "GET /subscriptions", q)
		return page.Subscriptions, page.Next, err
	}
	page, err := ask[api.OwnSubscriptions](v, "GET /subscriptions", q)
	for _, s := range page.Subscriptions {
		all = append(all, api.Subscription{Tenant: v.tenant, OwnSubscription: s})
	}
	return all, page.Next, err
}

func (v *visit) ledgerRow(s api.Subscription) ledgerRow {
	q := url.Values{}
	if v.tenant == "" {
		q.Set("tenant", s.Tenant)
	}
	return ledgerRow{
		ID: "s-" + s.Tenant + "-" + s.CPCode + "-" + s.WaybillCode, Tenant: s.Tenant, Brand: v.brandText(s.CPCode),
		Waybill: visible(s.WaybillCode), Href: v.waybillPath(s.WaybillCode),
		State: v.state(string(s.State)), Reason: v.refusal(s.Code, s.Msg), Retry: v.moment(s.RetryAt),
		Since: v.moment(s.Since), Until: v.moment(s.Expires),
		Failed: s.State == ledger.Failed, Name: s.CPCode + " " + s.WaybillCode,
		Path: v.path("/subscriptions", q), End: v.path("/subscriptions/remove", q),
	}
}

// refusal says why a waybill is not subscribed: in words if the code is known, with what kuaidihelp says.
func (v *visit) refusal(code int, msg string) string {
	if code == 0 {
		return ""
	}
	msg = visible(msg)
	key := "refusal." + strconv.Itoa(code)
	if v.look.language.has(key) {
		msg = v.t(key)
	}
	return strconv.Itoa(code) + " " + msg
}

// subscribe subscribes the waybills of the form, or those that it names together with their brands.
func (v *visit) subscribe() error {
	form, err := v.FormParams()
	if err != nil {
		return echo.NewHTTPError(http.StatusRequestEntityTooLarge, v.t("subscriptions.large"))
	}
	byBrand := make(map[string][]string)
	var brands []string
	add := func(brand, code string) {
		if byBrand[brand] == nil {
			brands = append(brands, brand)
		}
		byBrand[brand] = append(byBrand[brand], code)
	}
	apart := func(r rune) bool { return strings.ContainsRune(" \t\r\n,;，；、", r) }
	for _, code := range strings.FieldsFunc(form.Get("codes"), apart) {
		add(form.Get("cp_code"), tidy(code))
	}
	for _, name := range form["subscription"] {
		if brand, code, ok := strings.Cut(name, " "); ok {
			add(brand, code)
		}
	}
	if len(brands) == 0 {
		return echo.NewHTTPError(http.StatusBadRequest, v.t("subscriptions.which"))
	}

	var rows []subscribeRow
	for _, brand := range brands {
		body := map[string]any{"cp_code": brand, "waybill_codes": byBrand[brand]}
		if v.tenant == "" {
			body["tenant"] = v.QueryParam("tenant")
		}
		got, err := send[api.SubscribeResults](v, "POST /subscriptions", nil, body)
		if err != nil {
			return err
		}
		for _, r := range got.Results {
			rows = append(rows, v.subscribeRow(r))
		}
	}
	return v.subscriptions(rows)
}

func (v *visit) subscribeRow(r api.SubscribeResult) subscribeRow {
	row := subscribeRow{
		Waybill: visible(r.WaybillCode), Href: v.waybillPath(r.WaybillCode),
		Result: word{Sign: "✓", Text: v.t("subscribed." + r.Result), Class: "good"}, Reason: visible(r.Warning),
	}
	switch r.Result {
	case api.SubscribeFailed:
		row.Result.Sign, row.Result.Class = "✗", "bad"
		row.Reason = v.refusal(r.Code, r.Msg)
	case string(ledger.Pending):
		row.Result.Sign, row.Result.Class = "◷", "wait"
		row.Retry = v.moment(r.RetryAt)
		if r.Code != 0 {
			row.Reason = v.refusal(r.Code, r.Msg)
		}
	}
	return row
}

// unsubscribe ends the subscription of the form.
func (v *visit) unsubscribe() error {
	brand, code, _ := strings.Cut(v.FormValue("subscription"), " ")
	q := url.Values{}
	if v.tenant == "" {
		q.Set("tenant", v.QueryParam("tenant"))
	}
	if _, err := ask[any](v, "DELETE /subscriptions/{cp_code}/{waybill}", q, brand, code); err != nil {
		return err
	}
	return v.done("unsubscribe")
}

// exportSubscriptions answers with a tenant's subscriptions as a file that `kuairelay subscriptions import` reads: a
// line of JSON each. It is made before it is sent, so that an error is an answer of its own.
func (v *visit) exportSubscriptions() error {
	leave, ok := v.exports.take(v.tenant)
	if !ok {
		v.Response().Header().Set(echo.HeaderRetryAfter, "1")
		return echo.NewHTTPError(http.StatusTooManyRequests)
	}
	defer leave()

	q := v.query("state")
	if v.tenant == "" {
		q.Set("tenant", v.QueryParam("tenant"))
	}
	q.Set("limit", strconv.Itoa(exportPage))
	if v.tenant != "" {
		q.Set("limit", strconv.Itoa(exportOwnPage)) // a tenant has few requests a second
	}
	var out strings.Builder
	lines := json.NewEncoder(&out)
	n := 0
	for n < exportMost {
		all, next, err := v.listSubscriptions(q)
		if err != nil {
			return err
		}
		for _, s := range all[:min(len(all), exportMost-n)] {
			if err := lines.Encode(s); err != nil {
				return err
			}
		}
		n += len(all)
		if next == "" {
			break
		}
		q.Set("cursor", next)
	}
	return v.download("subscriptions-"+cmp.Or(v.tenant, q.Get("tenant"))+".jsonl", []byte(out.String()))
}
