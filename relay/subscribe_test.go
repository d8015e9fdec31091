package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

const (
	sharedID  = "50001"
	sharedKey = "marked-shared-key-7b1d93"
	shopKey   = "shop-key-1"
	alertsKey = "alerts-key-1"
)

// provider is a kuaidihelp that is played, on a port of its own.
type provider struct {
	*fake.Provider
	*httptest.Server
}

func newProvider(t *testing.T, o fake.Options) *provider {
	t.Helper()
	o.AppID, o.APIKey = sharedID, sharedKey
	p := &provider{Provider: fake.NewProvider(o)}
	p.Server = httptest.NewServer(p.Provider)
	t.Cleanup(p.Server.Close)
	return p
}

// asked counts in how many calls a waybill was named.
func (p *provider) asked(code string) int {
	n := 0
	for _, c := range p.Calls() {
		if slices.Contains(c.Codes, code) {
			n++
		}
	}
	return n
}

// account is the config of the shared account at a provider; more are further keys of it.
func account(url, more string) string {
	return fmt.Sprintf("\nkuaidihelp: {api_url: %q, app_id: %q, api_key: %q%s}\n", url, sharedID, sharedKey, more)
}

// two is the config of two tenants that get what they have subscribed.
func two(shop, alerts *tenant) string {
	return fmt.Sprintf(`
tenants:
  - name: shop
    api_keys: [%s, shop-key-2]
    endpoints: [{name: orders, url: "%s", secrets: [%s]}]
    routes: [{to: orders, match: {subscribed: true}}]
  - name: alerts
    api_keys: [%s]
    endpoints: [{name: orders, url: "%s", secrets: [%s]}]
    routes: [{to: orders, match: {subscribed: true}}]
`, shopKey, shop.URL, secret, alertsKey, alerts.URL, secret)
}

type result struct {
	CPCode      string `json:"cp_code"`
	WaybillCode string `json:"waybill_code"`
	Result      string `json:"result"`
	Code        int    `json:"code"`
	Msg         string `json:"msg"`
	UID         string `json:"uid"`
	Warning     string `json:"warning"`
}

// api makes a request to the tenants' API, and returns status, body and headers of the answer.
func (r *running) api(method, path, key, body string) (int, string, http.Header) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.public+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	var resp *http.Response
	client := &http.Client{Transport: roundTripper(func(req *http.Request) (_ *http.Response, err error) {
		resp, err = http.DefaultTransport.RoundTrip(req)
		return resp, err
	})}
	status, text := r.doWith(client, req)
	r.held.Do(func() { r.document = &apiClient{running: r, t: r.t} })
	r.document.check(method, req.URL.EscapedPath(), resp, []byte(text))
	return status, text, resp.Header
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// subscribe asks for waybills, and returns their results; it fails the test unless the answer is 200. While Redis is
// too slow, it asks again.
func (r *running) subscribe(key, brand string, codes ...string) []result {
	r.t.Helper()
	body, _ := json.Marshal(map[string]any{"cp_code": brand, "waybill_codes": codes})
	status, text := 0, ""
	until(r.t, "the ledger answers", func() bool {
		status, text, _ = r.api("POST", "/v1/subscriptions", key, string(body))
		return status != http.StatusServiceUnavailable
	})
	var answer struct{ Results []result }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || len(answer.Results) != len(codes) {
		r.t.Fatalf("answer %d %s", status, text)
	}
	return answer.Results
}

// form is a call to /api as the provider's samples make it.
func form(appID, method, ts, key, data string) url.Values {
	return url.Values{"app_id": {appID}, "method": {method}, "ts": {ts}, "sign": {kuaidihelp.Sign(appID, method, ts, key)},
		"data": {data}}
}

func now10() string { return strconv.FormatInt(time.Now().Unix(), 10) }

// dropIn calls /api, and returns the envelope.
func (r *running) dropIn(f url.Values) (code int, msg string) {
	r.t.Helper()
	status, text := r.post("/api", "application/x-www-form-urlencoded; charset=UTF-8", f.Encode())
	var e struct {
		Code *int
		Msg  string
		Data map[string]any
		UID  string
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil || status != 200 || e.Code == nil || e.Data == nil ||
		e.UID == "" {
		r.t.Fatalf("answer %d %s (%v)", status, text, err)
	}
	return *e.Code, e.Msg
}

func TestATenantGetsWhatItSubscribedAndNothingElse(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	for _, got := range r.subscribe(shopKey, "zt", "1", "2") {
		if got.Result != "subscribed" || got.UID == "" || got.Code != 0 {
			t.Errorf("%+v", got)
		}
	}
	if got := r.subscribe("shop-key-2", "zt", "2", "3"); got[0].Result != "already" || got[1].Result != "subscribed" {
		t.Errorf("%+v", got)
	}
	if got := r.subscribe(alertsKey, "zt", "2"); got[0].Result != "subscribed" {
		t.Errorf("%+v", got)
	}
	for _, code := range []string{"1", "2", "3"} {
		if n := p.asked(code); n != 1 {
			t.Errorf("the provider was asked for %s %d times", code, n)
		}
	}
	r.push("application/json", callback(item("1", "sending", "a"), item("2", "sending", "a"), item("3", "sending", "a"),
		item("4", "sending", "a")))
	shop.wait(3)
	alerts.wait(1)
	until(t, "everything is delivered", func() bool {
		return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == "3" &&
			r.metric(`kuairelay_events_total{result="unrouted"}`) == "1"
	})
	if len(shop.all()) != 3 || len(alerts.all()) != 1 || !strings.Contains(alerts.all()[0].body, `"waybill_code":"2"`) {
		t.Errorf("shop got %d, alerts %d", len(shop.all()), len(alerts.all()))
	}
}

func TestAnAliasIsTheSameBrandAndAnEventWithoutBrandIsOfAny(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	r.subscribe(shopKey, "yt", "1")
	if got := r.subscribe(alertsKey, "ytsd", "1"); got[0].Result != "subscribed" || got[0].CPCode != "ytsd" ||
		p.asked("1") != 1 {
		t.Errorf("%+v, and the provider was asked %d times", got, p.asked("1"))
	}
	r.push("application/json", callback(strings.ReplaceAll(item("1", "sending", "a"), `"zt"`, `"yt"`)))
	r.push("application/json", callback(strings.ReplaceAll(item("1", "sending", "b"), `"cp_code":"zt",`, "")))
	r.push("application/json", callback(item("1", "sending", "c"))) // of another brand
	shop.wait(2)
	alerts.wait(2)
	until(t, "the event of another brand is unrouted", func() bool {
		return r.metric(`kuairelay_events_total{result="unrouted"}`) == "1"
	})
}

func TestATenantThatSubscribesLaterIsCaughtUpAtOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	r.taken(callback(item("1", "collected", "0"))) // before anybody has subscribed it
	r.subscribe(shopKey, "zt", "1")
	if got := shop.wait(1)[0]; got.header.Get("Kuairelay-Reason") != "catch-up" ||
		!strings.Contains(got.body, "collected") {
		t.Errorf("%v %s", got.header, got.body)
	}
	r.push("application/json", callback(item("1", "sending", "1")))
	r.push("application/json", callback(item("1", "delivering", "2")))
	got := shop.wait(3)
	if got[2].header.Get("Kuairelay-Reason") != "new" {
		t.Errorf("%v", got[2].header)
	}
	r.subscribe(alertsKey, "zt", "1")
	late := alerts.wait(1)[0]
	if late.header.Get("Kuairelay-Reason") != "catch-up" || late.body != got[2].body ||
		late.header.Get("Webhook-Id") != got[2].header.Get("Webhook-Id") {
		t.Errorf("%v %s", late.header, late.body)
	}
	r.subscribe(alertsKey, "zt", "1")
	r.subscribe(shopKey, "zt", "1")
	r.push("application/json", callback(item("1", "signed", "3")))
	alerts.wait(2)
	shop.wait(4)
	if len(alerts.all()) != 2 || len(shop.all()) != 4 {
		t.Errorf("alerts got %d, shop %d", len(alerts.all()), len(shop.all()))
	}
}

func TestAManyTimesSubscribedWaybillIsOneCallOverReplicas(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	p := newProvider(t, fake.Options{Decide: func(fake.Call) fake.Reply {
		calls.Add(1)
		time.Sleep(50 * time.Millisecond) // the time in which the others ask
		return fake.Reply{}
	}})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	yaml := "redis: {url: '" + redisserver.Start(t).URL() + "'}\n" + account(p.URL, ", rate: 1000") + two(shop, alerts)
	replicas := []*running{start(t, yaml), start(t, yaml)}
	var codes []string
	for i := range 20 {
		codes = append(codes, fmt.Sprint("w", i))
	}
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			for _, got := range replicas[i%2].subscribe([]string{shopKey, alertsKey}[i/2%2], "zt", codes...) {
				if got.Result != "subscribed" && got.Result != "already" {
					t.Errorf("%+v", got)
				}
			}
		})
	}
	group.Wait()
	for _, code := range codes {
		if n := p.asked(code); n != 1 {
			t.Errorf("the provider was asked for %s %d times", code, n)
		}
	}
}
