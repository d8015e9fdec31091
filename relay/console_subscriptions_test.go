package relay_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// hostileCode is a waybill that a tenant may subscribe.
const hostileCode = `"><img/src=x/onerror=alert(1)>${x}{{.}}`

// withSubscriptions is a relay whose tenants shop and alerts have subscribed something. kuaidihelp has no record of 404
// until it is told that it knows, and is not asked again for it. more are further keys of subscriptions.
func withSubscriptions(t *testing.T, more string) (*apiClient, *provider, *atomic.Bool) {
	t.Helper()
	knows := &atomic.Bool{}
	p := newProvider(t, fake.Options{Decide: func(c fake.Call) fake.Reply {
		if slices.Contains(c.Codes, "404") && !knows.Load() {
			return fake.Reply{Code: kuaidihelp.CodeNoRecord, Msg: "查询暂无记录"}
		}
		return fake.Reply{}
	}})
	target := newTenant(t, nil)
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+account(p.URL, "")+
		"subscriptions: {no_record: {retry: []}"+more+"}\n"+two(target, target))
	r.subscribe(shopKey, "zt", "777005949070187", hostileCode)
	r.subscribe(shopKey, "jt", "404")
	r.subscribe(alertsKey, "sto", "5556667778880")
	return r, p, knows
}

func TestThePageOfSubscriptionsShowsWhatTheAPISays(t *testing.T) {
	t.Parallel()
	r, _, _ := withSubscriptions(t, ", daily_quota: 1000")
	operator, shop := operatorAndShop(t, r.running)
	for base, page := range map[string]answered{
		"": operator.get("/subscriptions?tenant=shop"), "/console": shop.get("/subscriptions"),
	} {
		words := wordsOf(t, page.body)
		for _, want := range []string{
			"Subscribed 3 live 2 pending 0 failed 1", "Quota today 3 / 1,000", "777005949070187 zt ✓ live",
			"404 jt ✗ failed 201101 kuaidihelp has no record of it yet.", hostileCode,
		} {
			if !strings.Contains(words, want) {
				t.Errorf("%s: it does not say %q: %s", base, want, words)
			}
		}
		if strings.Contains(page.body, "<img/src") || strings.Contains(words, "5556667778880") {
			t.Errorf("%s: %s", base, page.body)
		}
	}

	// By state and by waybill; the operator sees all tenants, and whose a waybill is.
	for path, wants := range map[string][]string{
		"/subscriptions": {"alerts 1 1 0 0", "shop 3 2 0 1", "kuaidihelp answers"},
		"/subscriptions?waybill_code=+５５５６６６７７７８８８０": {"alerts 5556667778880 sto ✓ live"},
		"/subscriptions?tenant=shop&state=pending":   {"No subscription matches."},
	} {
		words := wordsOf(t, operator.get(path).body)
		for _, want := range wants {
			if !strings.Contains(words, want) {
				t.Errorf("%s does not say %q: %s", path, want, words)
			}
		}
	}
	if words := wordsOf(t, shop.get("/subscriptions?tenant=alerts").body); strings.Contains(words, "5556667778880") ||
		strings.Contains(words, "alerts") {
		t.Errorf("shop sees another's: %s", words)
	}
	shop.language = "zh-CN"
	if words := wordsOf(t, shop.get("/subscriptions?state=failed").body); !strings.Contains(words,
		"404 jt 极兔 ✗ 失败 201101 快宝暂无该运单的记录") || strings.Contains(words, "777005949070187") {
		t.Errorf("in Chinese: %s", words)
	}
}

// Of a waybill without a record, the page says when kuaidihelp is asked again: in the list, and where it is subscribed.
func TestThePageOfSubscriptionsSaysWhenAWaybillIsAskedForAgain(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{Decide: func(fake.Call) fake.Reply {
		return fake.Reply{Code: kuaidihelp.CodeNoRecord, Msg: "查询暂无记录"}
	}})
	target := newTenant(t, nil)
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+account(p.URL, "")+
		"subscriptions: {no_record: {retry: [2h]}}\n"+two(target, target))
	operator, shop := operatorAndShop(t, r.running)
	const why = "201101 kuaidihelp has no record of it yet. It is asked again at "
	for path, b := range map[string]*browser{"/subscriptions?tenant=shop": operator, "/subscriptions": shop} {
		done := wordsOf(t, b.post(path, url.Values{"cp_code": {"zt"}, "codes": {"404"}}).body)
		if !strings.Contains(done, "404 ◷ pending "+why) {
			t.Errorf("%s: what became of it is %s", path, done)
		}
		list := wordsOf(t, b.get(path).body)
		_, after, found := strings.Cut(list, "404 zt ◷ pending "+why)
		if !found || !regexp.MustCompile(`^(\d+ \w+ )?\S+ in [12] h `).MatchString(after) {
			t.Errorf("%s: the list is %s", path, list)
		}
	}
	shop.language = "zh-CN"
	if list := wordsOf(t, shop.get("/subscriptions").body); !strings.Contains(list, "再次查询时间") {
		t.Errorf("in Chinese: %s", list)
	}
}

func TestWaybillsAreSubscribedAndEndedOnThePage(t *testing.T) {
	t.Parallel()
	r, p, knows := withSubscriptions(t, "")
	operator, shop := operatorAndShop(t, r.running)
	state := func(brand, code string) string {
		_, body := r.call(shopKey, "GET", "/v1/subscriptions/"+brand+"/"+code, "")
		var s struct{ State string }
		must(t, json.Unmarshal([]byte(body), &s))
		return s.State
	}

	// The form takes what people paste. One that failed is asked for again.
	got := shop.post("/subscriptions", url.Values{"cp_code": {"zt"}, "codes": {" 1001\r\n１００２、1003 "}})
	if words := wordsOf(t, got.body); !strings.Contains(words, "1001 ✓ subscribed 1002 ✓ subscribed 1003 ✓ subscribed") ||
		state("zt", "1002") != "live" {
		t.Errorf("%d %s", got.StatusCode, words)
	}
	before := p.asked("404")
	again := url.Values{"subscription": {"jt 404", "zt 1001"}}
	if words := wordsOf(t, operator.post("/subscriptions?tenant=shop", again).body); p.asked("404") == before ||
		!strings.Contains(words, "404 ✗ failed 201101 kuaidihelp has no record") ||
		!strings.Contains(words, "1001 ✓ already subscribed") {
		t.Errorf("asked %d times: %s", p.asked("404")-before, words)
	}
	knows.Store(true)
	if shop.post("/subscriptions", again); state("jt", "404") != "live" {
		t.Errorf("asked again, it is %s", state("jt", "404"))
	}

	// It is ended by either side.
	for code, b := range map[string]*browser{"1001": operator, "1002": shop} {
		form := url.Values{"subscription": {"zt " + code}, "back": {"/subscriptions"}}
		if got := b.post("/subscriptions/remove?tenant=shop", form); got.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d %s", code, got.StatusCode, wordsOf(t, got.body))
		}
		if status, _ := r.call(shopKey, "GET", "/v1/subscriptions/zt/"+code, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", code, status)
		}
	}
	_, audit := r.call(adminToken, "GET", "/admin/v1/audit", "")
	for _, want := range []string{`"subject":"zt 1001"`, `"subject":"zt 1002"`, `"what":"subscribe"`} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit lacks %s: %s", want, audit)
		}
	}

	// What cannot be done is said.
	const path, remove = "/subscriptions", "/subscriptions/remove"
	large := url.Values{"codes": {strings.Repeat("1\n", 10000)}}
	theirs := url.Values{"subscription": {"sto 5556667778880"}}
	for name, x := range map[string]struct {
		b    *browser
		path string
		form url.Values
		want int
	}{
		"nothing":         {b: shop, path: path, form: url.Values{"cp_code": {"zt"}}, want: 400},
		"for nobody":      {b: operator, path: path, form: again, want: 400},
		"for a stranger":  {b: operator, path: path + "?tenant=x", form: again, want: 404},
		"another's":       {b: shop, path: remove, form: theirs, want: 404},
		"a wrong brand":   {b: shop, path: path, form: url.Values{"cp_code": {"快"}, "codes": {"1"}}, want: 400},
		"for another":     {b: shop, path: path + "?tenant=alerts", form: url.Values{"subscription": {"zt 9"}}, want: 200},
		"a form of 20 kB": {b: shop, path: path, form: large, want: 413},
		"no waybill":      {b: operator, path: remove + "?tenant=shop", form: nil, want: 404},
	} {
		if got := x.b.post(x.path, x.form); got.StatusCode != x.want {
			t.Errorf("%s: %d %s", name, got.StatusCode, wordsOf(t, got.body))
		}
	}
	if _, body := r.call(alertsKey, "GET", "/v1/subscriptions", ""); strings.Contains(body, `"9"`) {
		t.Error("shop subscribed for another")
	}
}

func TestSubscriptionsAreExportedAsTheyAreImported(t *testing.T) {
	t.Parallel()
	r, _, _ := withSubscriptions(t, "")
	operator, shop := operatorAndShop(t, r.running)
	for base, got := range map[string]answered{
		"": operator.get("/subscriptions/export?tenant=shop"), "/console": shop.get("/subscriptions/export?tenant=alerts"),
	} {
		h := got.Header
		if got.StatusCode != 200 || h.Get("Content-Disposition") != `attachment; filename="subscriptions-shop.jsonl"` ||
			!strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") ||
			h.Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%s: %d %v", base, got.StatusCode, h)
		}
		var codes []string
		for line := range strings.Lines(got.body) {
			var s struct {
				Tenant, State string
				CPCode        string `json:"cp_code"`
				WaybillCode   string `json:"waybill_code"`
				Since         string
			}
			must(t, json.Unmarshal([]byte(line), &s))
			codes = append(codes, s.Tenant+" "+s.CPCode+" "+s.WaybillCode+" "+s.State)
		}
		slices.Sort(codes)
		want := []string{"shop jt 404 failed", "shop zt " + hostileCode + " live", "shop zt 777005949070187 live"}
		if !slices.Equal(codes, want) {
			t.Errorf("%s: %q", base, codes)
		}
	}
	if got := operator.get("/subscriptions/export"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("of nobody: %d", got.StatusCode)
	}
}

func TestSubscriptionsSayThatRedisDoesNotAnswer(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(server.URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	server.Kill()
	operator, shop := operatorAndShop(t, r.running)
	for _, b := range []*browser{operator, shop} {
		for _, path := range []string{"/subscriptions", "/subscriptions/export?tenant=shop"} {
			got := b.get(path)
			if got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, `<nav class="side"`) {
				t.Errorf("%s: %d %s", path, got.StatusCode, wordsOf(t, got.body))
			}
		}
	}
}
