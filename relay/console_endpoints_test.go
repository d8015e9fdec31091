package relay_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"kuairelay/relay/api"
	"kuairelay/test/redisserver"
)

// severalEndpoints is a relay with endpoints of two tenants, and what they answer.
func severalEndpoints(t *testing.T) (a *apiClient, answer map[string]*atomic.Int64) {
	t.Helper()
	answer = map[string]*atomic.Int64{}
	endpoint := func(name string, status int64) string {
		code := &atomic.Int64{}
		code.Store(status)
		answer[name] = code
		x := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
			w.WriteHeader(int(code.Load()))
			_, _ = w.Write([]byte("</pre><b>no " + name))
		})
		return fmt.Sprintf("{name: %s, url: %q, secrets: [%s], retry: [%s]}", name, x.URL, secret,
			strings.Repeat("20ms, ", 3)+"1h")
	}
	a = startAPI(t, withToken(redisserver.Start(t).URL())+fmt.Sprintf(`
admin: {token: %s}
tenants:
  - name: shop
    api_keys: [%s]
    endpoints: [%s]
    routes: [{to: [good, failing, refusing, gone]}]
  - name: other
    api_keys: [%s]
    endpoints: [%s]
    routes: [{to: calm}]
`, adminToken, shopKey, strings.Join([]string{
		endpoint("good", 200), endpoint("failing", 503), endpoint("refusing", 422), endpoint("gone", 410),
	}, ", "), otherKey, endpoint("calm", 200)))
	return a, answer
}

// namesOf are the endpoints of a page, in their order.
func namesOf(page string) (names []string) {
	for _, m := range regexp.MustCompile(`data-endpoint="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		names = append(names, m[1])
	}
	return names
}

func TestThePageOfEndpointsFindsAndSortsThem(t *testing.T) {
	t.Parallel()
	a, _ := severalEndpoints(t)
	operator, shop := operatorAndShop(t, a.running)
	a.mustPush(update("777005949070187", "collected"))
	until(t, "the worst come first", func() bool {
		names := namesOf(operator.get("/endpoints").body)
		return len(names) == 5 && names[0] == "shop/gone" && names[1] == "shop/failing" && names[2] == "shop/refusing"
	})
	for path, want := range map[string]string{
		"/endpoints?sort=name":                    "[other/calm shop/failing shop/gone shop/good shop/refusing]",
		"/endpoints?name=OO":                      "[shop/good]",
		"/endpoints?tenant=other":                 "[other/calm]",
		"/endpoints?state=gone":                   "[shop/gone]",
		"/endpoints?state=paused":                 "[]",
		"/endpoints?name=%3Cb%3E&sort=name":       "[]",
		"/endpoints?sort=name&tenant=shop&name=g": "[shop/failing shop/gone shop/good shop/refusing]",
	} {
		if got := operator.get(path); fmt.Sprint(namesOf(got.body)) != want || got.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %v, want %s", path, got.StatusCode, namesOf(got.body), want)
		}
	}
	if names := namesOf(shop.get("/endpoints").body); len(names) != 4 {
		t.Errorf("shop sees %v", names)
	}
}

func TestSeveralEndpointsArePausedResumedAndRedriven(t *testing.T) {
	t.Parallel()
	a, _ := severalEndpoints(t)
	operator, shop := operatorAndShop(t, a.running)
	a.mustPush(update("777005949070187", "collected"))
	until(t, "there is a dead letter", func() bool { return a.problems(shopKey)[api.DeadLettersRising].Code != "" })
	state := func(name string) string {
		return string(ok[api.EndpointHealth](a, shopKey, "GET", "/v1/endpoints/"+name, "").State)
	}
	until(t, "the good one has got it", func() bool { return state("good") == "ok" })

	// It is asked first, with how many there are, and nothing is done yet.
	query := "?what=%s&endpoint=shop/good&endpoint=shop/failing&endpoint=shop/good"
	asked := operator.get(fmt.Sprintf("/endpoints/some"+query, "pause"))
	if !strings.Contains(asked.body, ">Pause 2</button>") || state("good") != "ok" {
		t.Errorf("%d %s", asked.StatusCode, asked.body)
	}
	chosen := url.Values{"what": {"pause"}, "endpoint": {"shop/good", "shop/failing"}, "back": {"/endpoints?sort=name"}}
	got := operator.post("/endpoints/some", chosen)
	if to := got.Header.Get("Location"); to != "/endpoints?did=pause-some&n=2&sort=name" {
		t.Errorf("%d to %q: %s", got.StatusCode, to, got.body)
	}
	if state("good") != "paused" || state("failing") != "paused" {
		t.Errorf("%s, %s", state("good"), state("failing"))
	}
	again := shop.get(fmt.Sprintf("/endpoints/some"+query, "pause")).body
	if strings.Contains(again, "<button class=\"main\"") {
		t.Errorf("paused ones can be paused: %s", again)
	}
	chosen["what"] = []string{"resume"}
	if shop.post("/endpoints/some", chosen); state("good") == "paused" || state("failing") == "paused" {
		t.Errorf("%s, %s", state("good"), state("failing"))
	}

	// Dead letters are counted, and only those of the chosen ones are sent again.
	asked = shop.get("/endpoints/some?what=redrive&endpoint=shop/refusing&endpoint=shop/good")
	if !strings.Contains(asked.body, ">Send 1 again</button>") {
		t.Errorf("%d %s", asked.StatusCode, asked.body)
	}
	got = shop.post("/endpoints/some", url.Values{"what": {"redrive"}, "endpoint": {"shop/refusing"}})
	if to := got.Header.Get("Location"); !strings.HasSuffix(to, "did=redrive-some&n=1") {
		t.Errorf("%d to %q", got.StatusCode, to)
	}

	// What is not there, is another's, or is too much, is not done at all.
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprint("shop/e", i))
	}
	for name, form := range map[string]url.Values{
		"none": {"what": {"pause"}}, "unknown": {"what": {"drop"}, "endpoint": {"shop/good"}},
		"another's": {"what": {"pause"}, "endpoint": {"other/calm", "shop/good"}},
		"101":       {"what": {"pause"}, "endpoint": many},
	} {
		if got := shop.post("/endpoints/some", form); got.StatusCode < 400 || state("good") == "paused" {
			t.Errorf("%s: %d, %s", name, got.StatusCode, state("good"))
		}
	}
}

// One act takes twenty requests of a hundred at most. It says what it left, in both languages.
func TestARedriveOfManyDeadLettersSaysHowManyAreLeft(t *testing.T) {
	t.Parallel()
	r, _ := withDeadLetters(t, 2030)
	operator, _ := operatorAndShop(t, r.running)
	chosen := url.Values{"what": {"redrive"}, "endpoint": {"shop/orders"}, "back": {"/endpoints"}}
	got := operator.post("/endpoints/some", chosen)
	to := got.Header.Get("Location")
	if to != "/endpoints?did=redrive-left&n=2%2C000&n=30" {
		t.Fatalf("%d to %q: %s", got.StatusCode, to, got.body)
	}
	for query, want := range map[string]string{
		"&lang=en": "2,000 dead letters are sent again, as many as go at once. 30 are left: do it again for these.",
		"&lang=zh": "已重新投递 2,000 个死信，达到单次上限；还剩 30 个，请再次操作。",
	} {
		if page := operator.get(to + query).body; !strings.Contains(page, want) {
			t.Errorf("no %q in %s", want, page)
		}
	}
	got = operator.post("/endpoints/some", chosen)
	if to := got.Header.Get("Location"); to != "/endpoints?did=redrive-some&n=30" || deadOf(r) != 0 {
		t.Errorf("%d to %q, and %d are dead", got.StatusCode, to, deadOf(r))
	}
}

func TestTheTestOfAnEndpointShowsWhatWasSentAndWhatCameBack(t *testing.T) {
	t.Parallel()
	a, answer := severalEndpoints(t)
	_, shop := operatorAndShop(t, a.running)
	page := "/endpoints/shop/good/test"
	first := shop.get(page).body
	if !strings.Contains(first, `value="signed"`) || strings.Contains(first, "data-test-result") {
		t.Error(first)
	}
	for status, want := range map[int64]string{200: "took the test event", 401: "kuairelay verify", 500: "not with 2xx"} {
		answer["good"].Store(status)
		got := shop.post(page, url.Values{"status": {"signed"}})
		for _, part := range []string{want, fmt.Sprint(status, " in "), "POST http://127.0.0.1", "Webhook-Id: evt_",
			"&#34;status&#34;:&#34;signed&#34;", "&lt;/pre&gt;&lt;b&gt;no good", `<option value="signed" selected>`} {
			if !strings.Contains(got.body, part) {
				t.Errorf("%d: no %q in %s", status, part, got.body)
			}
		}
		if strings.Contains(got.body, secret) {
			t.Error("it shows the secret")
		}
	}
	if got := shop.post(page, url.Values{"status": {"nothing"}}); got.StatusCode != http.StatusBadRequest {
		t.Errorf("a status that is none: %d", got.StatusCode)
	}
}

func TestAnEndpointThatIsGoneIsResumedAfterAQuestion(t *testing.T) {
	t.Parallel()
	a, answer := severalEndpoints(t)
	_, shop := operatorAndShop(t, a.running)
	a.mustPush(update("777005949070187", "collected"))
	var page answered
	until(t, "it is gone", func() bool {
		page = shop.get("/endpoints/shop/gone")
		return strings.Contains(page.body, "It answered 410.")
	})
	if _, forms := references(t, page.body); strings.Contains(fmt.Sprint(forms), "/resume") {
		t.Errorf("it can be resumed without a question: %v", forms)
	}
	asked := shop.get("/endpoints/shop/gone/resume")
	if !strings.Contains(asked.body, "Resume it?") || !strings.Contains(asked.body, "1 delivery waiting.") {
		t.Errorf("%d %s", asked.StatusCode, asked.body)
	}
	answer["gone"].Store(200)
	shop.post("/endpoints/shop/gone/resume", nil)
	until(t, "it is ok", func() bool {
		got := shop.get("/endpoints/shop/gone").body
		return strings.Contains(got, "Its latest attempt was answered with 2xx.") && strings.Contains(got, ">resumed</b>")
	})
}

func TestTheOverviewBeginsWithTheFirstSteps(t *testing.T) {
	t.Parallel()
	a, _ := severalEndpoints(t)
	operator, shop := operatorAndShop(t, a.running)
	other := newBrowser(t, a.public+"/console").login(otherKey)
	if got := operator.get("/"); !strings.Contains(got.body, "/callback/TOKEN") || strings.Contains(got.body, token) {
		t.Errorf("the operator: %s", got.body)
	}
	first := shop.get("/").body
	if !strings.Contains(first, a.public+"/v1/subscriptions") || strings.Count(first, `class="done"`) != 0 {
		t.Errorf("the tenant: %s", first)
	}
	other.post("/endpoints/other/calm/test", nil)
	until(t, "the test is ticked off", func() bool { return strings.Count(other.get("/").body, `class="done"`) == 1 })

	a.mustPush(update("777005949070187", "collected"))
	until(t, "something has come", func() bool {
		return !strings.Contains(operator.get("/").body, "/callback/TOKEN") && strings.Contains(operator.get("/").body,
			`data-problem="endpoint_gone"`)
	})
	overview := operator.get("/").body
	if strings.Contains(overview, "Everything accepted is safe.") == strings.Contains(overview, `"redis_advice"`) {
		t.Errorf("what is accepted is safe, unless Redis is set up so that it is not: %s", overview)
	}
	for _, part := range []string{"/endpoints/shop/gone/resume", "/endpoints/shop/failing/pause",
		"/endpoints/shop/failing/test", "Duplicates", "No route matched"} {
		until(t, "the overview has "+part, func() bool { return strings.Contains(operator.get("/").body, part) })
	}
}
