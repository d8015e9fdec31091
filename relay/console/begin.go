package console

import (
	"net/url"

	"kuairelay/relay/api"
)

// beginView says what to do first, to those for whom nothing has come yet.
type beginView struct {
	Steps []step
}

// step is one of the first steps.
type step struct {
	Done        bool
	Name, Text  string
	Code        string // to copy
	Href, Label string // a link
}

// addBegin adds the first steps, if nothing has ever come.
func (v *visit) addBegin(out *overviewView, s api.Status) error {
	if s.Partial || !s.LastEventAt.IsZero() || s.Endpoints == 0 && v.tenant != "" {
		return nil
	}
	if v.tenant == "" {
		out.Begin = v.operatorsBegin(s)
		return nil
	}

	var err error
	out.Begin, err = v.tenantsBegin()
	return err
}

// tenantsBegin are the first steps of a tenant, ticked off by what is known of it.
func (v *visit) tenantsBegin() (*beginView, error) {
	tests, err := askKept[api.Audit](v, seldom, "", "GET /audit", url.Values{"what": {"test"}, "limit": {"1"}})
	if err != nil {
		return nil, err
	}
	subscribed, err := askKept[api.SubscriptionSummary](v, seldom, "", "GET /subscriptions/summary", nil)
	if err != nil {
		return nil, err
	}
	page, err := askKept[api.Endpoints](v, seldom, "", "GET /endpoints", url.Values{"limit": {"1"}})
	if err != nil {
		return nil, err
	}

	test := step{Name: v.t("begin.test"), Text: v.t("begin.test.text"), Done: len(tests.Acts) > 0}
	if len(page.Endpoints) > 0 {
		test.Href = v.endpointPath(page.Endpoints[0].Endpoint)
		test.Label = page.Endpoints[0].Endpoint
	}

	return &beginView{Steps: []step{
		{
			Name: v.t("begin.verify"), Text: v.t("begin.verify.text"), Code: "kuairelay listen --secret whsec_…",
			Href: v.path("/help", nil), Label: v.t("menu.help"),
		},
		test,
		{
			Name: v.t("begin.subscribe"), Text: v.t("begin.subscribe.text"), Done: hasSubscribed(subscribed),
			Code: `curl -H "Authorization: Bearer $KEY" ` + v.origin() + `/v1/subscriptions -d ` +
				`'{"cp_code":"zt","waybill_codes":["777005949070187"]}'`,
		},
	}}, nil
}

// operatorsBegin are the first steps of a relay that got no callback yet.
func (v *visit) operatorsBegin(s api.Status) *beginView {
	return &beginView{Steps: []step{
		{Name: v.t("begin.tenant"), Text: v.t("begin.tenant.text"), Done: s.Endpoints > 0, Href: v.path("/config", nil),
			Label: v.t("menu.config")},
		{Name: v.t("begin.register"), Text: v.t("begin.register.text"), Done: !s.LastCallAt.IsZero(),
			Code: "https://relay.example.com/callback/TOKEN"},
		{Name: v.t("begin.try"), Text: v.t("begin.try.text"), Code: "kuairelay send --status signed"},
	}}
}

// hasSubscribed says whether a tenant has a subscription.
func hasSubscribed(s api.SubscriptionSummary) bool {
	return len(s.Tenants) > 0 && s.Tenants[0].Subscribed > 0
}

// origin is where this console is, as the reader's browser has it.
func (v *visit) origin() string {
	scheme := "http://"
	if v.secure() {
		scheme = "https://"
	}
	return scheme + visible(v.Request().Host)
}
