package relay_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
)

// by decides what the provider answers by what the waybill is called: the worst one of a call counts.
func by(call fake.Call) fake.Reply {
	for _, code := range call.Codes {
		kind, _, _ := strings.Cut(code, "-")
		switch kind {
		case "norecord":
			return fake.Reply{Code: 201101, Msg: "查询暂无记录"}
		case "bad":
			return fake.Reply{Code: 201102, Msg: "请求参数错误"}
		case "poor":
			return fake.Reply{Code: 1008, Msg: "余额不足"}
		case "odd":
			return fake.Reply{Code: 4711, Msg: "what is that"}
		case "auth":
			return fake.Reply{Code: 1006, Msg: "鉴权失败 " + sharedKey}
		case "down":
			return fake.Reply{Status: 503}
		case "lost":
			return fake.Reply{Lost: true}
		}
	}
	return fake.Reply{}
}

func TestWhatTheProviderAnswersReachesTheWaybillsThatItConcerns(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{Decide: by})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	all := []string{"1", "2", "norecord-1", "3", "bad-1", "4", "5", "6", "7", "8", "9", "10", "11"}
	for i, got := range r.subscribe(shopKey, "zt", all...) {
		want := result{CPCode: "zt", WaybillCode: all[i], Result: "subscribed", UID: got.UID, Warning: got.Warning}
		switch all[i] {
		case "norecord-1":
			want.Result, want.Code, want.Msg = "pending", 201101, got.Msg // with the time when it is asked for again
		case "bad-1":
			want.Result, want.Code, want.Msg = "failed", 201102, "请求参数错误"
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, c := range p.Calls() {
		if len(c.Codes) > 10 {
			t.Errorf("a call for %d waybills", len(c.Codes))
		}
	}
	for code, want := range map[string]result{
		"poor-1": {Code: 1008, Msg: "余额不足"},
		"odd-1":  {Code: 4711, Msg: "what is that"},
	} {
		if got := r.subscribe(shopKey, "zt", code)[0]; got.Result != "failed" || got.Code != want.Code ||
			got.Msg != want.Msg {
			t.Errorf("%+v", got)
		}
	}
	if got := r.subscribe(shopKey, "sf", "1")[0]; got.Code != 201103 || got.Msg != "不支持的快递品牌" {
		t.Errorf("an unknown brand: %+v", got)
	}
	if code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), shopKey, `{"waybill_codes":"1,`+
		`norecord-2,12","cp_code":"zt"}`)); code != 0 ||
		msg != "成功 (no record yet of 1 of 3, the relay asks again: norecord-2)" {
		t.Errorf("%d %s", code, msg)
	}
	// A refused waybill is asked for again by the next who wants it.
	before := p.asked("bad-1")
	r.subscribe(alertsKey, "zt", "bad-1")
	if p.asked("bad-1") != before+1 {
		t.Errorf("asked %d times after %d", p.asked("bad-1"), before)
	}
	// One without a record is not: it is asked for at its own time.
	before = p.asked("norecord-1")
	if got := r.subscribe(alertsKey, "zt", "norecord-1")[0]; got.Result != "pending" || p.asked("norecord-1") != before {
		t.Errorf("%+v after %d calls", got, p.asked("norecord-1")-before)
	}
	if code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), shopKey, `{"waybill_codes":"20,`+
		`bad-2,norecord-3","cp_code":"zt"}`)); code != 201102 ||
		msg != "请求参数错误 (1 of 3: bad-2) (no record yet of 1 of 3, the relay asks again: norecord-3)" {
		t.Errorf("%d %s", code, msg)
	}
	status, text, _ := r.api("GET", "/v1/subscriptions/zt/bad-1", shopKey, "")
	if status != 200 || !strings.Contains(text, `"state":"failed","code":201102,"msg":"请求参数错误"`) {
		t.Errorf("%d %s", status, text)
	}
}

func TestAProviderThatDoesNotAnswerIsAskedAgainAndThenSaidToBeDown(t *testing.T) {
	t.Parallel()
	var lost atomic.Int64
	hang := make(chan struct{})
	p := newProvider(t, fake.Options{Decide: func(c fake.Call) fake.Reply {
		switch {
		case c.Codes[0] == "hang":
			<-hang
		case c.Codes[0] == "lost-once" && lost.Add(1) == 1:
			return fake.Reply{Lost: true}
		case c.Codes[0] == "lost-once":
			return fake.Reply{}
		}
		return by(c)
	}})
	defer close(hang)
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000, timeout: 2s")+two(shop, alerts))
	if got := r.subscribe(shopKey, "zt", "lost-once")[0]; got.Result != "subscribed" || p.asked("lost-once") != 2 {
		t.Errorf("%+v after %d calls", got, p.asked("lost-once"))
	}
	for _, code := range []string{"down-1", "hang", "lost-1"} {
		status, text, _ := r.api("POST", "/v1/subscriptions", shopKey, `{"cp_code":"zt","waybill_codes":"`+code+`"}`)
		says := "kuaidihelp does not answer"
		if code == "down-1" {
			says = "kuaidihelp answers HTTP 503 without its envelope"
		}
		if status != 504 || !strings.Contains(text, says) || p.asked(code) != 3 {
			t.Errorf("%s: %d %s after %d calls", code, status, text, p.asked(code))
		}
	}
	if code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), shopKey,
		`{"waybill_codes":"down-2","cp_code":"zt"}`)); code != 1001 || !strings.Contains(msg, "kuaidihelp answers HTTP 503") {
		t.Errorf("%d %s", code, msg)
	}
	nobody := start(t, account("http://127.0.0.1:1/api", "")+two(shop, alerts))
	if status, text, _ := nobody.api("POST", "/v1/subscriptions", shopKey,
		`{"cp_code":"zt","waybill_codes":"1"}`); status != 504 || strings.Contains(text, "127.0.0.1") {
		t.Errorf("%d %s", status, text)
	}
}

func TestRefusedCredentialsAreTheOperatorsAffair(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{Decide: by})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	for range 2 {
		status, text, _ := r.api("POST", "/v1/subscriptions", shopKey, `{"cp_code":"zt","waybill_codes":"auth-1"}`)
		if status != 502 || !strings.Contains(text, "refuses the relay's credentials") || strings.Contains(text, sharedID) ||
			strings.Contains(text, sharedKey) {
			t.Errorf("%d %s", status, text)
		}
	}
	if code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), shopKey,
		`{"waybill_codes":"auth-1","cp_code":"zt"}`)); code != 1001 || !strings.Contains(msg, "credentials") {
		t.Errorf("%d %s", code, msg)
	}
	if r.metric("kuairelay_upstream_credentials_refused") != "1" ||
		r.metric(`kuairelay_upstream_calls_total{answer="credentials"}`) != "3" {
		t.Error("no metric says so")
	}
	if n := r.logs.FilterMessageSnippet("refuses the account's credentials").Len(); n != 1 {
		t.Errorf("%d lines in the log say so", n)
	}
	r.api("POST", "/v1/subscriptions", shopKey, `{"cp_code":"zt","waybill_codes":"poor-1"}`)
	if r.metric("kuairelay_upstream_limited") != "1" || r.metric("kuairelay_upstream_credentials_refused") != "0" {
		t.Error("no metric says that there is no credit")
	}
	r.subscribe(shopKey, "zt", "good")
	if r.metric("kuairelay_upstream_credentials_refused") != "0" || r.metric("kuairelay_upstream_limited") != "0" {
		t.Error("the alarm does not end")
	}
}

func TestTheAPIAnswersBadRequestsAsDocumented(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	yaml := strings.Replace(two(shop, alerts), "api_keys: ["+shopKey, "subscriptions: {rate: 0}\n    api_keys: ["+shopKey,
		1)
	r := start(t, account(p.URL, ", rate: 1000")+yaml)
	many := strings.Repeat("1,", 1000)
	thousandAndOne := make([]string, 1001)
	for i := range thousandAndOne {
		thousandAndOne[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		detail                  string
	}{
		{"POST", "", "", `{}`, 401, "the header Authorization must be Bearer"},
		{"POST", "", "wrong-key", `{}`, 401, "the header Authorization must be Bearer"},
		{"GET", "", "wrong-key", ``, 401, "the header Authorization must be Bearer"},
		{"DELETE", "/zt/1", "wrong-key", ``, 401, "the header Authorization must be Bearer"},
		{"POST", "", shopKey, ``, 400, "not a JSON object"},
		{"POST", "", shopKey, `{"cp_code":"zt",}`, 400, "not JSON, at byte 17"},
		{"POST", "", shopKey, `[]`, 400, "must be a text"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybills":["1"]}`, 400, `unknown field \"waybills\"`},
		{"POST", "", shopKey, `{"waybill_codes":["1"]}`, 400, "cp_code must be a brand's code"},
		{"POST", "", shopKey, `{"cp_code":7,"waybill_codes":["1"]}`, 400, "cp_code must be a text, not a number"},
		{"POST", "", shopKey, `{"cp_code":"zt"}`, 400, "waybill_codes is missing"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":[]}`, 400, "waybill_codes is missing"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":""}`, 400, "waybill_codes[0] is empty"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":"1,,2"}`, 400, "waybill_codes[1] is empty"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":["1","a\u0007"]}`, 400,
			"waybill_codes[1] must be 1 to 64 printable"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":["1,2"]}`, 400, "waybill_codes[0] must be 1 to 64 printable"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":["运单"]}`, 400, "waybill_codes[0] must be 1 to 64 printable"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":["1", 7.77006E+14]}`, 400,
			"waybill_codes[1] is 7.77006E+14, a number that is not only digits"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":[1.0]}`, 400, "waybill_codes[0] is 1.0, a number"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":[-5]}`, 400, "waybill_codes[0] is -5, a number"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":[1e5]}`, 400, "waybill_codes[0] is 1e5, a number"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":"1,7.77006E+14"}`, 400,
			"waybill_codes[1] is 7.77006E+14, a number as a spreadsheet may write it"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":["+1e+3"]}`, 400, "waybill_codes[0] is +1e+3, a number"},
		{"POST", "", shopKey, `{"cp_code":"ZTO","waybill_codes":["1"]}`, 400,
			"cp_code ZTO is not a brand's code: kuaidihelp's page lists sto, zt, ytsd, jt, yd, dbkd; did you mean zt?"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":{}}`, 400, "waybill_codes must be a list"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":"` + strings.Join(thousandAndOne, ",") + `"}`, 400,
			"1001 codes, and 1000 is the most"},
		{"POST", "", shopKey, `{"cp_code":"zt","waybill_codes":"` + strings.Repeat(many, 200) + `1"}`, 413,
			"larger than 256 KiB"},
		{"GET", "?limit=0", shopKey, ``, 400, "limit must be"},
		{"GET", "?cursor=x", shopKey, ``, 400, "cursor must be"},
		{"GET", "/zt/none", shopKey, ``, 404, "has not subscribed"},
		{"DELETE", "/zt/none", shopKey, ``, 404, "has not subscribed"},
	} {
		status, text, header := r.api(c.method, "/v1/subscriptions"+c.path, c.key, c.body)
		if status != c.status || !strings.Contains(text, c.detail) ||
			header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %.60s: %d %s", c.method, c.path, c.body, status, text)
		}
	}
	if n := len(p.Calls()); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	if got := r.subscribe(shopKey, "zt", "1"); got[0].Result != "subscribed" {
		t.Errorf("%+v", got)
	}
	if status, text, _ := r.api("POST", "/v1/subscriptions", shopKey,
		`{"cp_code":"zt","waybill_codes":[777005949070187, "1", "1"]}`); status != 200 ||
		!strings.Contains(text, `"waybill_code":"777005949070187","result":"subscribed"`) ||
		strings.Count(text, "already") != 1 {
		t.Errorf("%d %s", status, text)
	}
}

func TestTheDropInReadsFormsAsThoseOfCallbacksAreRead(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	const method, data = "express.sub.msg", `{"waybill_codes":"1","cp_code":"zt"}`
	with := func(note string) string {
		f := form("shop", method, now10(), shopKey, "")
		f.Del("data")
		return f.Encode() + `&data={"waybill_codes":"1","cp_code":"zt","note":"` + note + `"}`
	}
	var multipart strings.Builder
	for name, values := range form("shop", method, now10(), shopKey, data) {
		multipart.WriteString("--X\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + values[0] + "\r\n")
	}
	multipart.WriteString("--X--\r\n")
	for _, c := range []struct{ contentType, body string }{
		{"application/x-www-form-urlencoded", with("5% off")},
		{"application/x-www-form-urlencoded", with("a;b")},
		{"application/x-www-form-urlencoded; charset=gbk", with("%D2%D1")},
		{"Multipart/Form-Data; boundary=X", multipart.String()},
		{"multipart/form-data", multipart.String()},
		{"", with("")},
	} {
		if status, text := r.post("/api", c.contentType, c.body); status != 200 || !strings.Contains(text, `"code":0`) {
			t.Errorf("%s %q: %d %s", c.contentType, c.body, status, text)
		}
	}
}

func TestTheDropInAnswersBadCallsInTheProvidersEnvelope(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	const method, data = "express.sub.msg", `{"waybill_codes":"1","cp_code":"zt"}`
	ago := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(-d).Unix(), 10) }
	upper := form("shop", method, now10(), shopKey, data)
	upper.Set("sign", strings.ToUpper(upper.Get("sign")))
	for name, c := range map[string]struct {
		form map[string][]string
		code int
		msg  string
	}{
		"good":          {form("shop", method, now10(), shopKey, data), 0, "成功"},
		"the other key": {form("shop", method, now10(), "shop-key-2", data), 0, "成功"},
		"milliseconds": {form("shop", method, strconv.FormatInt(time.Now().UnixMilli(), 10), shopKey, data), 0,
			"成功"},
		"eleven codes": {form("shop", method, now10(), shopKey, `{"waybill_codes":"1,2,3,4,5,6,`+
			`7,8,9,10,11","cp_code":"zt"}`), 0, "成功"},
		"wrong key":          {form("shop", method, now10(), alertsKey, data), 1006, "app_id is not a tenant"},
		"unknown tenant":     {form("nobody", method, now10(), shopKey, data), 1006, "app_id is not a tenant"},
		"sign in upper case": {upper, 1006, "app_id is not a tenant"},
		"stale ts": {form("shop", method, ago(11*time.Minute), shopKey, data), 1005,
			"ts must be the time now"},
		"ts of the future": {form("shop", method, ago(-11*time.Minute), shopKey, data), 1005,
			"ts must be the time now"},
		"ts of 12 digits":      {form("shop", method, "176000000000", shopKey, data), 1005, "ts must be the time now"},
		"ts that is no number": {form("shop", method, "now", shopKey, data), 1005, "ts must be the time now"},
		"another method": {form("shop", "cloud.print.do", now10(), shopKey, data), 1003,
			"passes only express.sub.msg"},
		"no sign": {map[string][]string{"app_id": {"shop"}, "method": {method}, "ts": {now10()},
			"data": {data}}, 1004, "the form has no sign"},
		"nothing": {nil, 1004, "the form has no app_id"},
		"data that is not JSON": {form("shop", method, now10(), shopKey, "x"), 201102,
			"请求参数错误: data: not JSON, at byte 1"},
		"data without codes": {form("shop", method, now10(), shopKey, `{"cp_code":"zt"}`), 201102,
			"waybill_codes is missing"},
		"an empty code": {form("shop", method, now10(), shopKey, `{"waybill_codes":"1,","cp_code":"zt"}`), 201102,
			"waybill_codes[1] is empty"},
		"a code with a line break": {form("shop", method, now10(), shopKey, `{"waybill_codes":"1\n2","cp_code":"zt"}`),
			201102, "waybill_codes[0] must be"},
		"an unknown brand": {form("shop", method, now10(), shopKey, `{"waybill_codes":"1","cp_code":"sf"}`), 201103,
			"不支持的快递品牌"},
		"an oversized body": {form("shop", method, now10(), shopKey, strings.Repeat("x", 300<<10)), 1002,
			"larger than 256 KiB"},
	} {
		if code, msg := r.dropIn(c.form); code != c.code || !strings.Contains(msg, c.msg) {
			t.Errorf("%s: %d %s", name, code, msg)
		}
	}
	if status, text := r.post("/api", "application/json", data); status != 200 || !strings.Contains(text, `"code":1004`) {
		t.Errorf("JSON instead of a form: %d %s", status, text)
	}
	if n := p.asked("11"); n != 1 {
		t.Errorf("the eleventh waybill was asked for %d times", n)
	}
}

func TestOtherMethodsArePassedOnOnlyIfTheConfigSaysSo(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{Decide: func(c fake.Call) fake.Reply {
		if c.Method == "cloud.print.do" && strings.Contains(c.Data, "auth") {
			return fake.Reply{Code: 1006, Msg: "鉴权失败"}
		}
		return fake.Reply{}
	}})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", methods: [express.sub.msg, cloud.print.do]")+two(shop, alerts))
	if code, msg := r.dropIn(form("shop", "cloud.print.do", now10(), shopKey, `{"waybill_no":"1"}`)); code != 0 ||
		msg != "成功" {
		t.Errorf("%d %s", code, msg)
	}
	if calls := p.Calls(); len(calls) != 1 || calls[0].Method != "cloud.print.do" ||
		calls[0].Data != `{"waybill_no":"1"}` {
		t.Errorf("%+v", calls)
	}
	if code, msg := r.dropIn(form("shop", "cloud.print.do", now10(), shopKey, `auth`)); code != 1001 ||
		!strings.Contains(msg, "credentials") {
		t.Errorf("%d %s", code, msg)
	}
}

func TestWithoutAnAccountNothingCanBeSubscribedAndCallbacksGoOn(t *testing.T) {
	t.Parallel()
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, two(shop, alerts)+"    \n")
	if status, text, _ := r.api("POST", "/v1/subscriptions", shopKey,
		`{"cp_code":"zt","waybill_codes":"1"}`); status != 503 || !strings.Contains(text, "kuaidihelp.api_key") {
		t.Errorf("%d %s", status, text)
	}
	if code, msg := r.dropIn(form("shop", "express.sub.msg", now10(), shopKey,
		`{"waybill_codes":"1","cp_code":"zt"}`)); code != 1001 || !strings.Contains(msg, "kuaidihelp.api_key") {
		t.Errorf("%d %s", code, msg)
	}
	if status, answer := r.push("application/json", callback(item("1", "sending", "1"))); status != 200 ||
		answer != "success" {
		t.Errorf("%d %s", status, answer)
	}
}

func TestATenantOverItsLimitsIsToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	yaml := strings.Replace(two(shop, alerts), "api_keys: ["+alertsKey+"]",
		"api_keys: ["+alertsKey+"]\n    subscriptions: {rate: 0, daily_quota: 5}", 1)
	yaml = strings.Replace(yaml, "api_keys: ["+shopKey+", shop-key-2]",
		"api_keys: ["+shopKey+"]\n    subscriptions: {rate: 1}", 1)
	r := start(t, account(p.URL, "")+yaml)
	r.subscribe(alertsKey, "zt", "1", "2", "3")
	status, text, header := r.api("POST", "/v1/subscriptions", alertsKey, `{"cp_code":"zt","waybill_codes":"4,5,6"}`)
	if wait, _ := strconv.Atoi(header.Get("Retry-After")); status != 429 || wait < 1 || wait > 86400 ||
		!strings.Contains(text, "daily_quota") {
		t.Errorf("%d %s, Retry-After %s", status, text, header.Get("Retry-After"))
	}
	r.subscribe(alertsKey, "zt", "4", "5") // what was refused has used up nothing
	if code, msg := r.dropIn(form("alerts", "express.sub.msg", now10(), alertsKey,
		`{"waybill_codes":"6","cp_code":"zt"}`)); code != 1008 || !strings.Contains(msg, "daily_quota") {
		t.Errorf("%d %s", code, msg)
	}
	limited := 0
	for range 50 {
		status, text, header := r.api("GET", "/v1/subscriptions", shopKey, "")
		if status == 429 {
			limited++
			if header.Get("Retry-After") != "1" || !strings.Contains(text, "subscriptions.rate") {
				t.Errorf("%s, Retry-After %s", text, header.Get("Retry-After"))
			}
		}
	}
	if limited == 0 {
		t.Error("fifty requests at once, one a second, and none was too many")
	}
}

func TestSubscriptionsAreListedReadAndDeleted(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	var codes []string
	for i := range 25 {
		codes = append(codes, fmt.Sprint("w", i))
	}
	r.subscribe(shopKey, "zt", codes[:12]...)
	r.subscribe(shopKey, "yt", codes[12:]...)
	r.subscribe(alertsKey, "zt", "other")
	var got []string
	for cursor, pages := "", 0; ; pages++ {
		status, text, _ := r.api("GET", "/v1/subscriptions?limit=10&cursor="+cursor, shopKey, "")
		var page struct {
			Subscriptions []struct {
				CPCode      string `json:"cp_code"`
				WaybillCode string `json:"waybill_code"`
				Since       time.Time
				Expires     time.Time
				State       string
			}
			Next string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != 200 || len(page.Subscriptions) > 10 ||
			pages > 3 {
			t.Fatalf("%d %s", status, text)
		}
		for _, s := range page.Subscriptions {
			got = append(got, s.WaybillCode)
			if life := s.Expires.Sub(s.Since); s.State != "live" || life < 59*24*time.Hour || life > 61*24*time.Hour {
				t.Errorf("%+v", s)
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	slices.Sort(got)
	slices.Sort(codes)
	if !slices.Equal(got, codes) {
		t.Errorf("listed %v", got)
	}
	if status, text, _ := r.api("GET", "/v1/subscriptions/ytsd/w20", shopKey, ""); status != 200 ||
		!strings.Contains(text, `"cp_code":"ytsd","waybill_code":"w20"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _, _ := r.api("GET", "/v1/subscriptions/zt/other", shopKey, ""); status != 404 {
		t.Errorf("another tenant's subscription: %d", status)
	}
	for _, want := range []int{204, 404} {
		if status, text, _ := r.api("DELETE", "/v1/subscriptions/zt/w1", shopKey, ""); status != want {
			t.Errorf("%d %s", status, text)
		}
	}
	r.push("application/json", callback(item("w1", "sending", "1")))
	until(t, "it is unrouted", func() bool { return r.metric(`kuairelay_events_total{result="unrouted"}`) == "1" })
	if r.subscribe(shopKey, "zt", "w1"); p.asked("w1") != 1 {
		t.Errorf("asked %d times", p.asked("w1"))
	}
	shop.wait(1) // the update that came in between
}

// node and curl make the calls of the provider's page, with only host and key changed.
const nodeSample = `
const http = require('http'), crypto = require('crypto'), querystring = require('querystring');
const [host, appId, appKey, ts, data] = process.argv.slice(2);
const method = 'express.sub.msg';
const sign = crypto.createHash('md5').update(appId + method + ts + appKey).digest('hex');
const body = querystring.stringify({app_id: appId, method: method, ts: ts, sign: sign, data: data});
const url = new URL(host + '/api');
const req = http.request({hostname: url.hostname, port: url.port, path: url.pathname, method: 'POST',
  headers: {'Content-Type': 'application/x-www-form-urlencoded; charset=UTF-8',
    'Content-Length': Buffer.byteLength(body)}},
  res => { res.setEncoding('utf8'); res.on('data', chunk => process.stdout.write(chunk)); });
req.write(body);
req.end();
`

func TestTheProvidersOwnSamplesWorkAfterChangingHostAndKey(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	script := filepath.Join(t.TempDir(), "sample.js")
	if err := os.WriteFile(script, []byte(nodeSample), 0o600); err != nil {
		t.Fatal(err)
	}
	const data = `{"waybill_codes":"6387423984","cp_code":"zt"}`
	for _, ts := range []string{now10(), strconv.FormatInt(time.Now().UnixMilli(), 10)} {
		for name, args := range map[string][]string{
			"node": {script, r.public, "shop", shopKey, ts, data},
			"curl": {"-sS", "-X", "POST", r.public + "/api", "-H", "Content-Type: application/x-www-form-urlencoded; " +
				"charset=UTF-8",
				"--data-urlencode", "app_id=shop", "--data-urlencode", "method=express.sub.msg", "--data-urlencode", "ts=" + ts,
				"--data-urlencode", "sign=" + kuaidihelp.Sign("shop", "express.sub.msg", ts, shopKey), "--data-urlencode",
				"data=" + data},
		} {
			t.Run(name+" with "+strconv.Itoa(len(ts))+" digits", func(t *testing.T) {
				needProgram(t, name)
				out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
				if err != nil || !strings.HasPrefix(string(out), `{"code":0,"msg":"成功","data":{},"uid":"`) {
					t.Errorf("%v %s", err, out)
				}
			})
		}
	}
	if !p.HasSubscribed("zt", "6387423984") {
		t.Error("nothing was subscribed")
	}
}

// needProgram skips a test where a program is missing; in a CI it fails.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
}

func TestAnAnswerWithoutAnEnvelopeIsToldAsWhatItIsAndAskedForOnce(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	escaped := ""
	for _, b := range []byte(sharedKey) {
		escaped += fmt.Sprintf(`\u%04x`, b)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		data := r.PostFormValue("data")
		switch {
		case strings.Contains(data, "mark"):
			_, _ = io.WriteString(w, "\uFEFF"+`{"code":0,"msg":"ok","data":{},"uid":"u1"}`)
		case strings.Contains(data, "page"):
			_, _ = io.WriteString(w, "<html>系统维护 "+sharedKey+"</html>")
		case strings.Contains(data, "echo"):
			_, _ = fmt.Fprintf(w, `{"code":1008,"msg":"%s %s","data":{"k":"%s"},"uid":"%s"}`, escaped, strings.Repeat("满", 2000),
				escaped, escaped)
		}
	}))
	defer server.Close()
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(server.URL, `, rate: 1000, methods: ["express.sub.msg", "cloud.print.do"]`)+two(shop, alerts))

	if got := r.subscribe(shopKey, "zt", "mark")[0]; got.Result != "subscribed" || got.UID != "u1" || calls.Load() != 1 {
		t.Errorf("%+v after %d calls", got, calls.Load())
	}
	status, text, _ := r.api("POST", "/v1/subscriptions", shopKey, `{"cp_code":"zt","waybill_codes":"page"}`)
	if status != 504 || !strings.Contains(text, "kuaidihelp answers HTTP 200 without its envelope") ||
		!strings.Contains(text, "系统维护") || calls.Load() != 2 {
		t.Errorf("%d %s after %d calls", status, text, calls.Load())
	}

	var shown []string
	got := r.subscribe(shopKey, "zt", "echo")[0]
	if got.Code != 1008 || len([]rune(got.Msg)) > 300 {
		t.Errorf("%+v", got)
	}
	_, kept, _ := r.api("GET", "/v1/subscriptions/zt/echo", shopKey, "")
	for _, method := range []string{"express.sub.msg", "cloud.print.do"} {
		_, answer := r.post("/api", "application/x-www-form-urlencoded",
			form("shop", method, now10(), shopKey, `{"waybill_codes":"echo","cp_code":"zt"}`).Encode())
		shown = append(shown, answer)
	}
	shown = append(shown, fmt.Sprint(got), text, kept)
	for _, entry := range r.logs.All() {
		shown = append(shown, fmt.Sprint(entry.Message, entry.ContextMap()))
	}
	for _, s := range shown {
		if strings.Contains(s, sharedKey) || strings.Contains(s, escaped) || strings.Contains(s, strings.Repeat("满", 301)) {
			t.Errorf("it shows %.500s", s)
		}
	}
}
