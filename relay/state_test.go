package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// parcelState is how a waybill stands, as a tenant is told.
type parcelState struct {
	WaybillCode  string    `json:"waybill_code"`
	CPCode       string    `json:"cp_code"`
	Status       string    `json:"status"`
	Sequence     int64     `json:"sequence"`
	ChangedAt    time.Time `json:"changed_at"`
	HeardAt      time.Time `json:"heard_at"`
	Source       string    `json:"source"`
	Stale        bool      `json:"stale"`
	StaleBecause string    `json:"stale_because"`
	Subscription string    `json:"subscription"`
	Tracks       []struct{ Time, Context, Status string }
}

// patient makes a request again that is too much, or that Redis is too slow for, as may be on a machine that is busy.
func (r *running) patient(method, path, key, body string) (status int, text string, header http.Header) {
	r.t.Helper()
	until(r.t, method+" "+path+" is answered", func() bool {
		status, text, header = r.api(method, path, key, body)
		return status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable
	})
	return status, text, header
}

// state asks how a waybill stands; query may be max_age. It fails the test unless the answer has a state.
func (r *running) state(key, code, query string) (parcelState, http.Header) {
	r.t.Helper()
	status, text, header := r.patient("GET", "/v1/waybills/"+code+query, key, "")
	var answer struct{ State *parcelState }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.State == nil {
		r.t.Fatalf("%s: %d %s", code, status, text)
	}
	return *answer.State, header
}

// states asks how many waybills stand.
func (r *running) states(key, query, brand string, codes ...string) []parcelState {
	r.t.Helper()
	body, _ := json.Marshal(map[string]any{"cp_code": brand, "waybill_codes": codes})
	status, text, _ := r.patient("POST", "/v1/waybills/states"+query, key, string(body))
	var answer struct{ States []parcelState }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.States == nil {
		r.t.Fatalf("%d %s", status, text)
	}
	return answer.States
}

func TestTheStateOfAParcelIsThatOfItsLastUpdate(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	r.subscribe(shopKey, "zt", "1001", "1002")

	none, _ := r.state(shopKey, "1001", "")
	if none.Status != "" || none.Source != "" || !none.HeardAt.IsZero() || none.Stale || none.Subscription != "live" ||
		none.CPCode != "zt" || none.WaybillCode != "1001" {
		t.Errorf("before any update: %+v", none)
	}

	before := time.Now().Add(-time.Second)
	r.pushed(parcelAt("1001", "sending", "2026-11-01 10:00:00"))
	shop.wait(1)
	sequence := shop.all()[0].header.Get("kuairelay-sequence")
	until(t, "it is written down that it was delivered", func() bool {
		_, body, _ := r.patient("GET", "/v1/waybills/1001", shopKey, "")
		return strings.Contains(body, `"state":"delivered"`)
	})
	got, header := r.state(shopKey, "1001", "")
	if got.Status != "sending" || got.Source != "push" || fmt.Sprint(got.Sequence) != sequence ||
		got.ChangedAt.Before(before) || !got.HeardAt.Equal(got.ChangedAt) || len(got.Tracks) != 1 ||
		got.Tracks[0].Time != "2026-11-01 10:00:00" || got.Tracks[0].Context == "" {
		t.Errorf("after an update: %+v, sequence %s", got, sequence)
	}

	tag := header.Get("ETag")
	if status, body := r.tagged(shopKey, "1001", tag); status != http.StatusNotModified || body != "" {
		t.Errorf("with its tag: %d %s", status, body)
	}
	for _, list := range []string{`"x", ` + tag, strings.TrimPrefix(tag, "W/"), "*"} {
		if status, _ := r.tagged(shopKey, "1001", list); status != http.StatusNotModified {
			t.Errorf("with %s: %d", list, status)
		}
	}

	// An update that comes again is heard, and changes nothing else. An older one is heard, too.
	r.pushed(parcelAt("1001", "sending", "2026-11-01 10:00:00"))
	r.drained()
	again, _ := r.state(shopKey, "1001", "")
	if !again.HeardAt.After(got.HeardAt) || !again.ChangedAt.Equal(got.ChangedAt) || again.Sequence != got.Sequence {
		t.Errorf("when it came again: %+v, before %+v", again, got)
	}
	if status, _ := r.tagged(shopKey, "1001", tag); status != http.StatusOK {
		t.Errorf("with an old tag: %d", status)
	}

	page := wordsOf(t, newBrowser(t, r.public+"/console").login(shopKey).get("/waybill?code=1001").body)
	if !strings.Contains(page, "Last heard of at ") || !strings.Contains(page, ", by a callback") {
		t.Errorf("the page is %s", page)
	}

	many := r.states(shopKey, "", "zt", "1002", "9999", "1001", "1001")
	if len(many) != 2 || many[0].WaybillCode != "1002" || many[1].Status != "sending" || many[1].Tracks != nil {
		t.Errorf("many: %+v", many)
	}
}

// tagged asks for a waybill with an If-None-Match.
func (r *running) tagged(key, code, list string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.public+"/v1/waybills/"+code, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("If-None-Match", list)
	return r.do(req)
}

func TestATenantLearnsNothingOfAParcelThatItHasNotSubscribed(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	r.subscribe(shopKey, "zt", "1001")
	r.subscribe(alertsKey, "sto", "1001") // the same number under another brand
	r.pushed(parcelAt("1001", "sending", "2026-11-01 10:00:00"))
	shop.wait(1)

	if got, _ := r.state(alertsKey, "1001", ""); got.CPCode != "sto" || got.Status != "" || got.Sequence != 0 {
		t.Errorf("alerts sees %+v", got)
	}
	if got := r.states(alertsKey, "", "zt", "1001"); len(got) != 0 {
		t.Errorf("alerts sees %+v", got)
	}
	if status, _, _ := r.api("DELETE", "/v1/subscriptions/sto/1001", alertsKey, ""); status != 204 {
		t.Fatal(status)
	}
	_, header := r.state(shopKey, "1001", "")
	for _, list := range []string{"*", header.Get("ETag")} {
		if status, text := r.tagged(alertsKey, "1001", list); status != 404 || strings.Contains(text, "sending") {
			t.Errorf("If-None-Match: %s: %d %s", list, status, text)
		}
	}
	if status, _, _ := r.api("GET", "/v1/waybills/1001", alertsKey, ""); status != 404 {
		t.Errorf("%d", status)
	}
}

func TestTheStatesOfAThousandWaybillsAreReadAtOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, ", rate: 1000")+two(shop, alerts))
	codes := make([]string, 1001)
	for i := range codes {
		codes[i] = fmt.Sprint(7000 + i)
	}
	r.subscribe(shopKey, "zt", codes[:1000]...)
	if got := r.states(shopKey, "", "zt", codes[:1000]...); len(got) != 1000 || got[999].WaybillCode != "7999" {
		t.Errorf("%d states", len(got))
	}

	body := func(codes ...string) string {
		text, _ := json.Marshal(map[string]any{"cp_code": "zt", "waybill_codes": codes})
		return string(text)
	}
	for name, wrong := range map[string]struct{ body, want string }{
		"one too many":   {body(codes...), "1000 is the most"},
		"none":           {`{"cp_code":"zt","waybill_codes":[]}`, "missing"},
		"a line":         {body("1\n2"), "waybill_codes[0]"},
		"a long one":     {body("1", strings.Repeat("9", 65)), "waybill_codes[1]"},
		"no ASCII":       {body("运单"), "waybill_codes[0]"},
		"a bad brand":    {`{"cp_code":"z t","waybill_codes":["1"]}`, "cp_code"},
		"another key":    {`{"cp_code":"zt","waybill_codes":["1"],"tenant":"alerts"}`, "tenant"},
		"no JSON":        {`zt`, "JSON"},
		"too many bytes": {`{"cp_code":"zt","waybill_codes":["` + strings.Repeat("9", 300<<10) + `"]}`, "256 KiB"},
	} {
		status, text, _ := r.api("POST", "/v1/waybills/states", shopKey, wrong.body)
		if status/100 != 4 || !strings.Contains(text, wrong.want) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	for _, hostile := range []string{"{x}:s:zt", "@shop", "*", "%00", `"`, "../7000"} {
		if got := r.states(shopKey, "", "zt", hostile); len(got) != 0 {
			t.Errorf("%q: %+v", hostile, got)
		}
	}
}

// queriesOf is the config of an account that may make queries.
func queriesOf(url, query string) string {
	return account(url, ", rate: 1000, query: {rate: 1000, "+query+"}") + "limits: {reads: 1000}\n"
}

func TestAStateThatManyWantToKnowIsAskedForOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{Decide: func(c fake.Call) fake.Reply {
		if c.Method == kuaidihelp.MethodQuery {
			time.Sleep(300 * time.Millisecond) // all of them come while it is asked
		}
		return fake.Reply{}
	}})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	yaml := "redis: {url: '" + redisserver.Start(t).URL() + "'}\n" +
		queriesOf(p.URL, "daily_budget: 100, min_interval: 1h") + two(shop, alerts)
	replicas := []*running{start(t, yaml), start(t, yaml), start(t, yaml)}
	replicas[0].subscribe(shopKey, "zt", "1001")
	p.Move(parcelAt("1001", "delivering", "2026-11-02 10:00:00"))

	const clients = 100
	answers := make(chan parcelState, 3*clients)
	var asking sync.WaitGroup
	for _, r := range replicas {
		for i := range clients {
			asking.Go(func() {
				if i%2 == 0 {
					s, _ := r.state(shopKey, "1001", "?max_age=10m")
					answers <- s
				} else {
					answers <- r.states(shopKey, "?max_age=10m", "zt", "1001")[0]
				}
			})
		}
	}
	asking.Wait()
	close(answers)
	for s := range answers {
		if s.Status != "delivering" || s.Source != "query" || s.Stale {
			t.Errorf("%+v", s)
		}
	}
	if n := queried(p, "1001"); n != 1 {
		t.Errorf("kuaidihelp was asked %d times", n)
	}

	// The news is delivered like any other, and what is fresh costs no call.
	if news := shop.wait(1)[0]; news.header.Get("kuairelay-reason") != "reconcile" ||
		!strings.Contains(news.body, `"status":"delivering"`) {
		t.Errorf("the news came as %q: %s", news.header.Get("kuairelay-reason"), news.body)
	}
	for _, r := range replicas {
		if s, _ := r.state(shopKey, "1001", "?max_age=10m"); s.Stale || s.Status != "delivering" {
			t.Errorf("%+v", s)
		}
	}
	if n := queried(p, "1001"); n != 1 {
		t.Errorf("kuaidihelp was asked %d times", n)
	}
	if got := replicas[0].states(alertsKey, "?max_age=0s", "zt", "1001"); len(got) != 0 {
		t.Errorf("alerts sees %+v", got)
	}
	if status, text, _ := replicas[0].api("GET", "/v1/waybills/1001?max_age=0s", alertsKey, ""); status != 404 ||
		strings.Contains(text, "delivering") {
		t.Errorf("alerts sees %d %s", status, text)
	}
}

func TestAStateIsStaleWhereKuaidihelpIsNotAsked(t *testing.T) {
	t.Parallel()
	refuses := atomic.Bool{}
	p := newProvider(t, fake.Options{Decide: func(c fake.Call) fake.Reply {
		if c.Method == kuaidihelp.MethodQuery && (refuses.Load() || strings.Contains(c.Data, "1009")) {
			return fake.Reply{Code: kuaidihelp.CodeSystem, Msg: "系统错误"}
		}
		return fake.Reply{}
	}})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	redis := redisserver.Start(t).URL()
	with := func(query string) *running {
		return start(t, "redis: {url: '"+redis+"'}\n"+queriesOf(p.URL, query)+two(shop, alerts))
	}
	r := with("daily_budget: 3, min_interval: 1h")
	r.subscribe(shopKey, "zt", "1001", "1002", "1003", "1004", "1009")
	r.pushed(parcelAt("1004", "signed", "2026-11-01 10:00:00"))
	shop.wait(1)

	// One that has an answer, one that has none, and then the interval.
	check := func(r *running, code, because string) {
		t.Helper()
		s, _ := r.state(shopKey, code, "?max_age=1ms")
		if s.Stale != (because != "") || s.StaleBecause != because {
			t.Errorf("%s: %+v, want stale because %q", code, s, because)
		}
	}
	if s, _ := r.state(shopKey, "1001", "?max_age=10m"); s.Stale || s.Source != "query" || s.Status != "" {
		t.Errorf("without a record: %+v", s)
	}
	if s, _ := r.state(shopKey, "1001", "?max_age=10m"); s.Stale {
		t.Errorf("fresh: %+v", s)
	}
	check(r, "1001", "interval")
	check(r, "1009", "unanswered")
	check(r, "1009", "interval")
	check(r, "1002", "")
	check(r, "1003", "budget")
	check(r, "1004", "") // it was signed for
	if n := len(p.Calls()) - 1; n != 3 {
		t.Errorf("%d queries of 3", n)
	}

	check(with("daily_budget: 0, min_interval: 1h"), "1003", "off")
	many := with("daily_budget: 1000, min_interval: 1h")
	many.subscribe(shopKey, "zt", "2001", "2002", "2003", "2004")
	refuses.Store(true)
	check(many, "2001", "unanswered")
	if got := many.states(shopKey, "?max_age=10m", "zt", "2002"); len(got) != 1 || got[0].StaleBecause != "unanswered" {
		t.Errorf("%+v", got)
	}
	check(many, "2003", "unanswered")

	// After three calls in vain it is left alone for a while.
	before := len(p.Calls())
	refuses.Store(false)
	check(many, "2004", "unanswered")
	if n := len(p.Calls()); n != before {
		t.Errorf("%d more calls", n-before)
	}
}

func TestAStateIsStaleWhenKuaidihelpIsSlow(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	defer close(hold)
	p := newProvider(t, fake.Options{Decide: func(c fake.Call) fake.Reply {
		if c.Method == kuaidihelp.MethodQuery {
			<-hold
		}
		return fake.Reply{}
	}})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	yaml := "redis: {url: '" + redisserver.Start(t).URL() + "'}\n" +
		account(p.URL, ", timeout: 1s, query: {daily_budget: 100, min_interval: 1h}") + two(shop, alerts)
	one, other := start(t, yaml), start(t, yaml)
	one.subscribe(shopKey, "zt", "1001")
	var asking sync.WaitGroup
	for _, r := range []*running{one, other} {
		asking.Go(func() {
			s, _ := r.state(shopKey, "1001", "?max_age=10m")
			if !s.Stale || s.StaleBecause != "unanswered" && s.StaleBecause != "interval" {
				t.Errorf("%+v", s)
			}
		})
	}
	asking.Wait()
	if n := queried(p, "1001"); n != 1 {
		t.Errorf("kuaidihelp was asked %d times", n)
	}
}

func TestMaxAgeIsASpan(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, queriesOf(p.URL, "daily_budget: 10, min_interval: 1h")+two(shop, alerts))
	r.subscribe(shopKey, "zt", "1001")
	for _, wrong := range []string{"10", "-1s", "soon", "1d2h", "NaNs", "%00", "99999999999999h"} {
		for _, get := range []bool{true, false} {
			method, path, body := "POST", "/v1/waybills/states", `{"cp_code":"zt","waybill_codes":["1001"]}`
			if get {
				method, path, body = "GET", "/v1/waybills/1001", ""
			}
			status, text, _ := r.api(method, path+"?max_age="+wrong, shopKey, body)
			if status != 400 || !strings.Contains(text, "max_age: must be a span like") {
				t.Errorf("%s %q: %d %s", method, wrong, status, text)
			}
		}
	}
	if n := queried(p, "1001"); n != 0 {
		t.Errorf("kuaidihelp was asked %d times", n)
	}
}

// live subscribes waybills for shop, and waits until they are live.
func (r *running) live(t *testing.T, n int) (codes []string) {
	t.Helper()
	for i := range n {
		codes = append(codes, fmt.Sprint(7000+i))
	}
	r.subscribe(shopKey, "zt", codes...)
	until(t, "they are live", func() bool {
		return !slices.ContainsFunc(r.states(shopKey, "", "zt", codes...), func(s parcelState) bool {
			return s.Subscription != "live"
		})
	})
	return codes
}

func TestManyStatesAreRefreshedInCallsOfTen(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, queriesOf(p.URL, "daily_budget: 295, min_interval: 1h")+two(shop, alerts))
	codes := r.live(t, 300)
	before := len(p.Calls())
	stale := map[string]int{}
	for _, s := range r.states(shopKey, "?max_age=1h", "zt", codes...) {
		stale[s.StaleBecause]++
	}
	if stale[""] != 295 || stale["budget"] != 5 {
		t.Errorf("the states are stale because of %v", stale)
	}
	if n := len(p.Calls()) - before; n != 30 {
		t.Errorf("%d calls", n)
	}
}

func TestATenantWithManyStatesHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, strings.Replace(queriesOf(p.URL, "daily_budget: 9999, min_interval: 1h"), "query: {rate: 1000",
		"query: {rate: 5", 1)+two(shop, alerts))
	codes := r.live(t, 300)
	r.subscribe(alertsKey, "zt", "1001")
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.states(shopKey, "?max_age=1h", "zt", codes...)
	}()
	until(t, "shop's queries are under way", func() bool { return queried(p, "7") > 0 })
	if s, _ := r.state(alertsKey, "1001", "?max_age=1h"); s.Stale {
		t.Errorf("%+v", s)
	}
	select {
	case <-done:
		t.Error("alerts had to wait until shop had all of its answers")
	default:
	}
	<-done
}

// queryLike asks by /api as an old client would, and returns the code of the envelope and its items. query may be
// max_age.
func (r *running) queryLike(tenant, key, query, data string) (code int, msg string, items []map[string]any) {
	r.t.Helper()
	status, text := r.post("/api"+query, "application/x-www-form-urlencoded",
		form(tenant, kuaidihelp.MethodQuery, now10(), key, data).Encode())
	var e struct {
		Code *int
		Msg  string
		Data json.RawMessage
		UID  string
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil || status != 200 || e.Code == nil || e.UID == "" {
		r.t.Fatalf("%d %s", status, text)
	}
	if *e.Code == 0 {
		if err := json.Unmarshal(e.Data, &items); err != nil {
			r.t.Fatalf("%s", text)
		}
	} else if string(e.Data) != "{}" {
		r.t.Errorf("with code %d: %s", *e.Code, e.Data)
	}
	return *e.Code, e.Msg, items
}

func TestAnOldClientsQueryIsAnsweredFromTheState(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, strings.Replace(queriesOf(p.URL, "daily_budget: 10, min_interval: 1h"), ", rate: 1000",
		", rate: 1000, methods: [express.sub.msg, express.info.get]", 1)+two(shop, alerts))
	r.subscribe(shopKey, "zt", "1001", "1002", "1003")
	r.subscribe(shopKey, "yt", "1001") // the same number under another brand
	parcel := fake.NewParcels(1, nil).Of("zt", "1001")
	parcel.Update("collected")
	pushed := parcel.Update("sending")
	r.pushed(pushed)
	r.pushed(parcelAt("1002", "delivering", "2026-11-01 10:00:00"))
	shop.wait(2)

	code, msg, items := r.queryLike("shop", shopKey, "", `{"waybill_codes":"1002,1001,1003,9999","cp_code":"zt"}`)
	if code != 0 || msg != "成功" || len(items) != 2 || items[0]["waybill_code"] != "1002" ||
		items[1]["status"] != "sending" || items[1]["order"] != "desc" {
		t.Errorf("%d %s %v", code, msg, items)
	}
	newest := func(items []map[string]any, at int) any {
		tracks, _ := items[0]["data"].([]any)
		if len(tracks) != len(pushed.Tracks) {
			t.Fatalf("%v", items)
		}
		return tracks[at].(map[string]any)["time"]
	}
	for _, asked := range []struct {
		data string
		at   int
	}{
		{`{"waybill_codes":["1001"]}`, 0}, // of any brand
		{`{"waybill_codes":"1001","cp_code":"zt","result_sort":0,"phone":"1234"}`, 0},
		{`{"waybill_codes":"1001","cp_code":"zt","result_sort":1}`, len(pushed.Tracks) - 1},
		{`{"waybill_codes":"1001","cp_code":"zt","result_sort":"1"}`, len(pushed.Tracks) - 1},
	} {
		if code, _, items := r.queryLike("shop", shopKey, "", asked.data); code != 0 || len(items) != 1 ||
			newest(items, asked.at) != pushed.Tracks[0].Time {
			t.Errorf("%s: %d %v", asked.data, code, items)
		}
	}
	if len(p.Calls()) != 2 {
		t.Errorf("%d calls to kuaidihelp, want the two that subscribe", len(p.Calls()))
	}

	// Who has not subscribed it has no record of it, also with max_age.
	for _, query := range []string{"", "?max_age=0s"} {
		code, msg, _ := r.queryLike("alerts", alertsKey, query, `{"waybill_codes":"1001","cp_code":"zt"}`)
		if code != 201101 || msg != "查询暂无记录" {
			t.Errorf("alerts: %d %s", code, msg)
		}
	}
	if code, _, _ := r.queryLike("shop", shopKey, "", `{"waybill_codes":"1003","cp_code":"zt"}`); code != 201101 {
		t.Errorf("without an update: %d", code)
	}

	// max_age has kuaidihelp asked.
	p.Move(parcelAt("1003", "collected", "2026-11-01 10:00:00"))
	code, _, items = r.queryLike("shop", shopKey, "?max_age=10m", `{"waybill_codes":"1003","cp_code":"zt"}`)
	if code != 0 || len(items) != 1 || items[0]["status"] != "collected" {
		t.Errorf("with max_age: %d %v", code, items)
	}
	code, msg, _ = r.queryLike("shop", shopKey, "?max_age=1ns", `{"waybill_codes":"1003","cp_code":"zt"}`)
	if code != 0 || msg != "成功 (older than max_age: 1003)" {
		t.Errorf("a stale one: %d %s", code, msg)
	}

	for _, wrong := range []struct{ query, data, want string }{
		{"", `{"waybill_codes":"1,2,3,4,5,6,7,8,9,10,11","cp_code":"zt"}`, "10 is the most"},
		{"", `{"waybill_codes":"","cp_code":"zt"}`, "is empty"},
		{"", `{"cp_code":"zt"}`, "missing"},
		{"", `{"waybill_codes":"1 2"}`, "waybill_codes[0]"},
		{"", `zt`, "JSON"},
		{"?max_age=soon", `{"waybill_codes":"1001"}`, "max_age"},
	} {
		if code, msg, _ := r.queryLike("shop", shopKey, wrong.query, wrong.data); code != 201102 ||
			!strings.Contains(msg, wrong.want) {
			t.Errorf("%s%s: %d %s", wrong.query, wrong.data, code, msg)
		}
	}
	if code, _ := r.dropIn(form("shop", kuaidihelp.MethodQuery, now10(), alertsKey, "{}")); code != 1006 {
		t.Errorf("with another's key: %d", code)
	}
}
