package relay_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"kuairelay/test/redisserver"
)

// browser asks for pages as a browser does: it keeps cookies, and says where a form comes from.
type browser struct {
	t        *testing.T
	base     string // URL of the pages, without a slash
	client   *http.Client
	language string
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &browser{t: t, base: base, language: "en", client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answered is an answer with its body.
type answered struct {
	*http.Response
	body string
}

func (b *browser) do(method, path string, form url.Values, header ...string) answered {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	must(b.t, err)
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Accept-Language", b.language)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		u, err := url.Parse(b.base)
		must(b.t, err)
		req.Header.Set("Origin", u.Scheme+"://"+u.Host)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	resp, err := b.client.Do(req)
	must(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	must(b.t, err)
	return answered{Response: resp, body: string(body)}
}

func (b *browser) get(path string) answered {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil)
}

func (b *browser) post(path string, form url.Values) answered {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	return b.do(http.MethodPost, path, form)
}

// login logs in, or fails the test.
func (b *browser) login(key string) *browser {
	b.t.Helper()
	if got := b.post("/login", url.Values{"key": {key}}); got.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("log in: %d %s", got.StatusCode, got.body)
	}
	return b
}

// operatorAndShop are a relay's pages for both, logged in.
func operatorAndShop(t *testing.T, r *running) (operator, shop *browser) {
	t.Helper()
	return newBrowser(t, r.admin).login(adminToken), newBrowser(t, r.public+"/console").login(shopKey)
}

// references are the links and forms of a page, without what leads elsewhere.
func references(t *testing.T, page string) (links, forms []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			switch {
			case n.Data == "a" && a.Key == "href" && !strings.HasPrefix(a.Val, "#"):
				page, _, _ := strings.Cut(a.Val, "#")
				links = append(links, page)
			case n.Data == "form" && a.Key == "action":
				forms = append(forms, a.Val)
			}
		}
	}
	return links, forms
}

// fieldsOf are the fields that a page's form with this action sends, if nothing is typed into it.
func fieldsOf(t *testing.T, page, action string) url.Values {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	attr := func(n *html.Node, key string) string {
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val
			}
		}
		return ""
	}
	out := url.Values{}
	for form := range root.Descendants() {
		if form.Data != "form" || attr(form, "action") != action {
			continue
		}
		for n := range form.Descendants() {
			if n.Data == "input" && attr(n, "name") != "" {
				out.Add(attr(n, "name"), attr(n, "value"))
			}
		}
	}
	return out
}

// walk gets every page that the first one leads to, of the console at a base.
func (b *browser) walk(base string, visit func(path string, got answered)) {
	b.t.Helper()
	const alike = 3 // addresses with the same path and the same parameters
	seen := map[string]bool{}
	kinds := map[string]int{}
	todo := []string{"/"}
	for len(todo) > 0 && len(seen) < 200 {
		path := todo[0]
		todo = todo[1:]
		u, err := url.Parse(path)
		must(b.t, err)
		kind := u.Path + " " + strings.Join(slices.Sorted(maps.Keys(u.Query())), " ")
		if seen[path] || kinds[kind] >= alike {
			continue
		}
		seen[path] = true
		kinds[kind]++
		var got answered
		until(b.t, path+" is answered", func() bool {
			got = b.get(path)
			return got.StatusCode != http.StatusServiceUnavailable // Redis may be slow on a machine that is busy
		})
		visit(path, got)
		links, _ := references(b.t, got.body)
		for _, link := range links {
			link, _, _ = strings.Cut(link, "#")
			own, ok := strings.CutPrefix(link, base)
			isAPI := strings.HasPrefix(link, "/v1/")
			if !ok || isAPI || strings.Contains(link, "lang=") || strings.Contains(link, "tz=") {
				continue
			}
			todo = append(todo, own)
		}
	}
	if len(seen) < 8 {
		b.t.Errorf("only %d pages were found", len(seen))
	}
}

// withEvents is a relay with two tenants that have got something, and a dead letter of each.
func withEvents(t *testing.T) *apiClient {
	t.Helper()
	refuses := newTenant(t, func(w http.ResponseWriter, _ int, r received) {
		if strings.Contains(r.body, "question") {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, "<script>window.pwned=1</script> no such status")
		}
	})
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+
		strings.NewReplacer("retry: [10ms, 1h]", "retry: [1ms, 1ms, 1ms, 1ms]", "- {to: orders}",
			"- {to: orders, match: {status: [collected, question]}}").Replace(twoTenants(refuses.URL, refuses.URL)))
	r.mustPush(update("777005949070187", "collected"))
	r.mustPush(update("777005949070187", "question"))
	r.mustPush(update("5556667778880", "signed"))
	until(t, "shop has a dead letter", func() bool {
		status, body := r.call(shopKey, "GET", "/v1/dead-letters", "")
		return status == 200 && strings.Contains(body, "777005949070187")
	})
	until(t, "other got its event", func() bool {
		status, body := r.call(otherKey, "GET", "/v1/waybills/5556667778880", "")
		return status == 200 && strings.Contains(body, `"delivered"`)
	})
	return r
}

// update is a callback with one update.
func update(code, status string) string {
	return fmt.Sprintf(`{"type":"express_sub_msg","data":[{"waybill_code":%q,"cp_code":"zt","status":%q,"tracks":[`+
		`{"time":"2026-11-29 10:00:00","context":"<img src=x onerror=alert(1)> %s","status":%q}]}]}`,
		code, status, status, status)
}

func TestEveryPageIsThereInBothLanguages(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	for _, language := range []string{"en", "zh-CN"} {
		operator, shop := operatorAndShop(t, r.running)
		for base, b := range map[string]*browser{"": operator, "/console": shop} {
			b.language = language
			b.walk(base, func(path string, got answered) {
				if got.StatusCode != http.StatusOK && got.StatusCode != http.StatusSeeOther {
					t.Errorf("%s%s in %s: %d\n%s", base, path, language, got.StatusCode, got.body)
				}
				if strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment") {
					return // a file is as it is
				}
				for _, odd := range []string{"⟪", "%!", "&lt;no value", "<nil>", "<script>window", "<img src=x"} {
					if strings.Contains(got.body, odd) {
						t.Errorf("%s%s in %s has %q", base, path, language, odd)
					}
				}
				isPage := got.Header.Get("Content-Disposition") == ""
				if isPage && got.StatusCode == http.StatusOK && !strings.Contains(got.body, `<html lang="`+language[:2]) {
					t.Errorf("%s%s is not in %s", base, path, language)
				}
			})
		}
	}
}

func TestATenantsPagesShowNothingOfAnother(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	_, shop := operatorAndShop(t, r.running)
	theirs := []string{"mail", "5556667778880"}
	shop.walk("/console", func(path string, got answered) {
		if strings.Contains(got.body, "other/") || strings.Contains(got.body, ">other<") { // it is a word of English, too
			t.Errorf("%s has the other tenant", path)
		}
		for _, word := range theirs {
			for _, w := range strings.FieldsFunc(got.body, func(c rune) bool {
				return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_')
			}) {
				if w == word {
					t.Errorf("%s has %q", path, word)
				}
			}
		}
	})

	// What it asks for by name is not there.
	_, body := r.call(otherKey, "GET", "/v1/events", "")
	var theirEvents struct{ Events []struct{ ID string } }
	must(t, json.Unmarshal([]byte(body), &theirEvents))
	for path, want := range map[string]int{
		"/event?id=" + theirEvents.Events[0].ID: http.StatusNotFound,
		"/endpoints/other/mail":                 http.StatusNotFound,
		"/quarantine":                           http.StatusNotFound,
	} {
		if got := shop.get(path); got.StatusCode != want || strings.Contains(got.body, theirEvents.Events[0].ID+"</") {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
	if got := shop.post("/endpoints/other/mail/pause", nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("another's endpoint is paused: %d", got.StatusCode)
	}
	if _, body := r.call(otherKey, "GET", "/v1/endpoints/mail", ""); strings.Contains(body, "paused") {
		t.Error("another's endpoint was paused")
	}
}

func TestOfAStrangersFormNoMoreIsReadThanOfALogin(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	for sample, next := range map[string]string{"{}": "/events", strings.Repeat("x", 20<<10): "/"} {
		got := newBrowser(t, r.admin).post("/routes", url.Values{"back": {"/events"}, "sample": {sample}})
		to, err := url.Parse(got.Header.Get("Location"))
		if err != nil || got.StatusCode != http.StatusSeeOther || to.Path != "/login" || to.Query().Get("next") != next {
			t.Errorf("a form of %d bytes: %d to %s, want the login, and then %s", len(sample), got.StatusCode, to, next)
		}
	}
}

func TestNobodySeesAPageWithoutALogin(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	operator, _ := operatorAndShop(t, r.running)
	var paths []string
	operator.walk("", func(path string, _ answered) { paths = append(paths, path) })
	stranger := newBrowser(t, r.admin)
	for _, path := range paths {
		got := stranger.get(path)
		if got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got.Header.Get("Location"), "/login") {
			t.Errorf("%s: %d to %q", path, got.StatusCode, got.Header.Get("Location"))
		}
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		if got := stranger.get(path + separator + "part=main"); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("a part of %s: %d", path, got.StatusCode)
		}
	}

	// A key that is wrong, or of the other side, opens nothing; a cookie of the other listener neither.
	for _, key := range []string{"", "wrong", shopKey, otherKey} {
		if got := newBrowser(t, r.admin).post("/login", url.Values{"key": {key}}); got.StatusCode != http.StatusForbidden {
			t.Errorf("%q as the operator: %d", key, got.StatusCode)
		}
	}
	next := "/events?status=signed"
	got := newBrowser(t, r.admin).post("/login", url.Values{"key": {adminToken}, "next": {next}})
	if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != next {
		t.Errorf("%d to %q", got.StatusCode, got.Header.Get("Location"))
	}
	for _, c := range got.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || strings.Contains(c.Value, adminToken) {
			t.Errorf("the cookie is %v", c)
		}
		if !strings.HasPrefix(c.Name, "kuairelay-operator") {
			t.Errorf("it is called %s", c.Name)
		}
	}
	over := newBrowser(t, r.admin).do(http.MethodPost, "/login", url.Values{"key": {adminToken}},
		"X-Forwarded-Proto", "https")
	if c := over.Cookies(); len(c) != 1 || !c[0].Secure || c[0].Name != "__Host-kuairelay-operator" || c[0].Path != "/" {
		t.Errorf("over TLS: %v", c)
	}

	// After logging out the browser has nothing.
	operator.post("/logout", nil)
	if got := operator.get("/events"); got.StatusCode != http.StatusSeeOther {
		t.Errorf("after the logout: %d", got.StatusCode)
	}
}

func TestTheSixthWrongLoginHasToWait(t *testing.T) {
	t.Parallel()
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	var statuses []int
	for range 5 {
		b := newBrowser(t, r.public+"/console")
		statuses = append(statuses, b.post("/login", url.Values{"key": {"wrong"}}).StatusCode)
	}
	got := newBrowser(t, r.public+"/console").post("/login", url.Values{"key": {shopKey}})
	if slices.Contains(statuses, http.StatusTooManyRequests) || got.StatusCode != http.StatusTooManyRequests ||
		got.Header.Get("Retry-After") == "" {
		t.Errorf("%d, then %d", statuses, got.StatusCode)
	}
	if n := r.metric(`kuairelay_console_logins_total{result="wrong",who="tenant"}`); n != "5" {
		t.Errorf("%s wrong ones are counted", n)
	}
}

func TestALoginSaysWhenTheConfigHasNoToken(t *testing.T) {
	t.Parallel()
	r := start(t, withToken(redisserver.Start(t).URL())+twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	operator := newBrowser(t, r.admin)
	got := operator.get("/login")
	if !strings.Contains(got.body, "the config has no admin.token") || strings.Contains(got.body, `name="key"`) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got := operator.post("/login", url.Values{"key": {""}}); got.StatusCode != http.StatusForbidden {
		t.Errorf("nobody logs in: %d", got.StatusCode)
	}
	if got := newBrowser(t, r.public+"/console").get("/login"); !strings.Contains(got.body, `name="key"`) {
		t.Errorf("a tenant can: %s", got.body)
	}
}

func TestASessionThatAsksTooOftenIsTold(t *testing.T) {
	t.Parallel()
	r := startAPI(t, "admin: {token: "+adminToken+"}\nlimits: {reads: 3}\n"+withToken(redisserver.Start(t).URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	operator, _ := operatorAndShop(t, r.running)
	until(t, "a page is refused", func() bool {
		got := operator.get("/help")
		if got.StatusCode != http.StatusTooManyRequests {
			return false
		}
		if got.Header.Get("Retry-After") != "1" || !strings.Contains(got.body, "Close some tabs") {
			t.Errorf("%v %s", got.Header, got.body)
		}
		return true
	})
	until(t, "it is served again", func() bool { return operator.get("/help").StatusCode == http.StatusOK })
}

func TestALoginIsASmallForm(t *testing.T) {
	t.Parallel()
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	large := url.Values{"filling": {strings.Repeat("x", 1<<20)}, "key": {shopKey}}
	if got := newBrowser(t, r.public+"/console").post("/login", large); got.StatusCode != http.StatusForbidden {
		t.Errorf("a form of 1 MiB: %d", got.StatusCode)
	}
	if got := newBrowser(t, r.public+"/console").post("/login?key="+shopKey, nil); got.StatusCode != http.StatusForbidden {
		t.Errorf("a key in the address: %d", got.StatusCode)
	}
}

func TestAnotherSiteCannotUseASession(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	operator, shop := operatorAndShop(t, r.running)
	for base, b := range map[string]*browser{"": operator, "/console": shop} {
		path := "/endpoints/shop/spare/pause"
		for _, header := range [][]string{
			{"Origin", "https://evil.example"},
			{"Origin", "http://127.0.0.1:1"}, // another port of the host
			{"Origin", "null"},
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", ""},
		} {
			got := b.do(http.MethodPost, path, url.Values{}, header...)
			if got.StatusCode != http.StatusForbidden {
				t.Errorf("%s%s with %q: %d", base, path, header, got.StatusCode)
			}
		}
	}
	if _, body := r.call(shopKey, "GET", "/v1/endpoints/spare", ""); strings.Contains(body, `"paused"`) {
		t.Error("it was paused")
	}

	// The API takes no session, and a page no bearer.
	cookie := operator.client.Jar.Cookies(mustURL(t, r.admin+"/"))[0]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.admin+"/admin/v1/events", nil)
	must(t, err)
	req.AddCookie(cookie)
	if status, _ := r.do(req); status != http.StatusUnauthorized {
		t.Errorf("the API takes a session: %d", status)
	}
	got := newBrowser(t, r.admin).do(http.MethodGet, "/events", nil, "Authorization", "Bearer "+adminToken)
	if got.StatusCode != http.StatusSeeOther {
		t.Errorf("a page takes a bearer: %d", got.StatusCode)
	}
}

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	must(t, err)
	return u
}

func TestAPageDoesWhatItsButtonsSay(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	operator, shop := operatorAndShop(t, r.running)
	state := func() string {
		var e struct{ State string }
		_, body := r.call(shopKey, "GET", "/v1/endpoints/orders", "")
		must(t, json.Unmarshal([]byte(body), &e))
		return e.State
	}

	for _, b := range []struct {
		*browser
		base string
	}{{operator, ""}, {shop, "/console"}} {
		page := "/endpoints/shop/orders"
		got := b.post(page+"/pause", url.Values{"back": {b.base + page}})
		to := got.Header.Get("Location")
		if got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, b.base+page+"?") || state() != "paused" {
			t.Errorf("pause: %d to %q, %s", got.StatusCode, to, state())
		}
		if after := b.get(page); !strings.Contains(after.body, "paused") || !strings.Contains(after.body, page+"/resume") {
			t.Errorf("the page of a paused endpoint: %s", after.body)
		}
		if b.post(page+"/resume", nil); state() == "paused" {
			t.Error("it was not resumed")
		}
		if got := b.post(page+"/test", nil); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "200 in") {
			t.Errorf("test: %d %s", got.StatusCode, got.body)
		}
	}

	// What was done is in the audit, and who has logged in.
	_, audit := r.call(adminToken, "GET", "/admin/v1/audit", "")
	for what, times := range map[string]int{`"login"`: 2, `"pause"`: 2, `"resume"`: 2, `"test"`: 2} {
		if n := strings.Count(audit, `"what":`+what); n != times {
			t.Errorf("the audit has %s %d times, not %d: %s", what, n, times, audit)
		}
	}

	// A dead letter is sent again, and is one again; then a person is done with it.
	var list struct {
		DeadLetters []struct {
			EventID string `json:"event_id"`
		} `json:"dead_letters"`
	}
	dead := func() int {
		_, body := r.call(shopKey, "GET", "/v1/dead-letters", "")
		must(t, json.Unmarshal([]byte(body), &list))
		return len(list.DeadLetters)
	}
	if dead() != 1 {
		t.Fatalf("%d dead letters", dead())
	}
	one := url.Values{"event_id": {list.DeadLetters[0].EventID}, "endpoint": {"shop/orders"}}
	if got := shop.post("/dead-letters/redrive", one); !strings.Contains(got.Header.Get("Location"), "did=redrive&n=1") {
		t.Errorf("redrive: %d %q", got.StatusCode, got.Header.Get("Location"))
	}
	until(t, "it is dead again", func() bool { return dead() == 1 })
	none := shop.post("/dead-letters/redrive", url.Values{"event_id": {"evt_none"}, "endpoint": {"shop/orders"}})
	if to := none.Header.Get("Location"); !strings.Contains(to, "did=not-dead") {
		t.Errorf("one that is none: %d %q", none.StatusCode, to)
	}
	// It was given up by the clock of Redis, as far as the relay knows it: some milliseconds may be in between.
	var question string
	until(t, "the question counts it", func() bool {
		question = operator.get("/dead-letters/sure?act=dismiss&endpoint=shop%2Forders").body
		return strings.Contains(question, ">Dismiss 1</button>")
	})
	all := fieldsOf(t, question, "/dead-letters/dismiss")
	dismissed := operator.post("/dead-letters/dismiss", all)
	if to := dismissed.Header.Get("Location"); !strings.Contains(to, "did=dismiss&") || !strings.HasSuffix(to, "n=1") {
		t.Errorf("dismiss: %d %q", dismissed.StatusCode, to)
	}
	if dead() != 0 {
		t.Error("it was not dismissed")
	}
	nothing := operator.get("/dead-letters/sure?act=redrive&endpoint=shop%2Forders").body
	if !strings.Contains(nothing, "There is nothing to do") || strings.Contains(nothing, "data-go") {
		t.Errorf("the question about nothing is %s", nothing)
	}
	if got := operator.post("/dead-letters/dismiss", url.Values{"all": {"1"}}); got.StatusCode != http.StatusBadRequest {
		t.Errorf("all of everybody: %d", got.StatusCode)
	}

	// A replay is counted first.
	counted := shop.post("/replays/new", url.Values{"endpoint": {"orders"}, "rate": {"100"}})
	at := strings.TrimPrefix(counted.Header.Get("Location"), "/console")
	if counted.StatusCode != http.StatusSeeOther || !strings.HasPrefix(at, "/replays/rpl_") {
		t.Fatalf("a replay: %d %q %s", counted.StatusCode, at, counted.body)
	}
	until(t, "it is counted", func() bool { return strings.Contains(shop.get(at).body, `name="go" value="rpl_`) })

	// What is wrong with it is said where it can be mended.
	backwards := url.Values{"endpoint": {"orders"}, "from": {"2026-11-02T00:00"}, "until": {"2026-11-01T00:00"}}
	for wrong, form := range map[string]url.Values{
		"begin before it ends": backwards, "no endpoint": {"endpoint": {"nowhere"}, "from": {"2026-11-02T00:00"}},
	} {
		got := shop.post("/replays/new", form)
		if got.StatusCode != http.StatusBadRequest || !strings.Contains(got.body, wrong) ||
			!strings.Contains(got.body, `value="2026-11-02T00:00"`) {
			t.Errorf("%s: %d %s", wrong, got.StatusCode, got.body)
		}
	}
	day := url.Values{"endpoint": {"orders"}, "day": {"2026-11-01"}}
	of := strings.TrimPrefix(shop.post("/replays/new", day).Header.Get("Location"), "/console")
	if body := shop.get(of).body; !strings.Contains(body, "· until ") {
		t.Errorf("the replay of a day does not say when it ends: %s", body)
	}
	until(t, "the same again ends then, too", func() bool {
		return strings.Contains(shop.get(of).body, "until=2026-11-0")
	})
}

func TestAPageHasItsHeadersAndIsLight(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	operator, shop := operatorAndShop(t, r.running)
	for base, b := range map[string]*browser{"": operator, "/console": shop} {
		first := b.get("/")
		weight := gzipped(first.body)
		for _, got := range []answered{first, b.get("/nothing/here"), b.get("/event?id=x"), b.get("/login")} {
			h := got.Header
			if h.Get("Cache-Control") != "no-store" || h.Get("X-Frame-Options") != "DENY" ||
				h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" ||
				!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'") {
				t.Errorf("%s%s: %v", base, got.Request.URL, h)
			}
			for _, inline := range []string{"<style", " style=", " onclick"} {
				if strings.Contains(got.body, inline) {
					t.Errorf("%s%s has %q in it", base, got.Request.URL, inline)
				}
			}
		}
		if got := b.get("/nothing/here"); got.StatusCode != http.StatusNotFound {
			t.Errorf("a page that is not there: %d", got.StatusCode)
		}

		for _, name := range []string{"app.css", "app.js", "live.js", "keys.js", "favicon.svg"} {
			at := strings.Index(first.body, "/assets/")
			hash, _, _ := strings.Cut(first.body[at+len("/assets/"):], "/")
			got := b.get("/assets/" + hash + "/" + name)
			if got.StatusCode != 200 || got.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
				t.Errorf("%s: %d %q", name, got.StatusCode, got.Header.Get("Cache-Control"))
			}
			old := b.get("/assets/0123456789ab/" + name)
			if old.StatusCode != 200 || old.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s of another version: %d %q", name, old.StatusCode, old.Header.Get("Cache-Control"))
			}
			weight += gzipped(got.body)
		}
		t.Logf("a first visit of %q takes %d bytes", base, weight)
		if weight > 60_000 {
			t.Errorf("a first visit takes %d bytes", weight)
		}
	}
}

func gzipped(text string) int {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return out.Len()
}

func TestAPageThatHasNotChangedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	operator, _ := operatorAndShop(t, r.running)
	var first answered
	until(t, "what has been delivered is on the page, and it is not sent again", func() bool {
		first = operator.get("/events?part=main")
		if first.StatusCode != 200 || first.Header.Get("ETag") == "" || strings.Contains(first.body, "<html") {
			t.Fatalf("%d %q", first.StatusCode, first.Header.Get("ETag"))
		}
		same := operator.do(http.MethodGet, "/events?part=main", nil, "If-None-Match", first.Header.Get("ETag"))
		return same.StatusCode == http.StatusNotModified
	})
	r.mustPush(update("777005949070188", "collected"))
	until(t, "there is a new event", func() bool {
		got := operator.do(http.MethodGet, "/events?part=main", nil, "If-None-Match", first.Header.Get("ETag"))
		return got.StatusCode == 200 && strings.Contains(got.body, "777005949070188")
	})
}

func TestPagesSayThatRedisDoesNotAnswer(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(server.URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	server.Kill()
	operator, shop := operatorAndShop(t, r.running) // a login needs no Redis
	for base, b := range map[string]*browser{"": operator, "/console": shop} {
		for _, path := range []string{"/", "/events", "/endpoints"} {
			got := b.get(path)
			if !strings.Contains(got.body, `<nav class="side"`) || !strings.Contains(got.body, "Redis") ||
				got.StatusCode == http.StatusInternalServerError {
				t.Errorf("%s%s: %d\n%s", base, path, got.StatusCode, got.body)
			}
		}
	}
}

func TestTenantsHaveNoPagesIfTheConfigSaysSo(t *testing.T) {
	t.Parallel()
	r := startAPI(t, "admin: {token: "+adminToken+"}\nconsole: {tenants: false}\n"+withToken(redisserver.Start(t).URL())+
		twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	got := newBrowser(t, r.public+"/console").post("/login", url.Values{"key": {shopKey}})
	if got.StatusCode != http.StatusNotFound {
		t.Errorf("a tenant logs in: %d", got.StatusCode)
	}
	newBrowser(t, r.admin).login(adminToken)
}

func TestEveryPageSaysWhatWaitsAndWhatIsCritical(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	operator, shop := operatorAndShop(t, r.running)
	for base, b := range map[string]*browser{"": operator, "/console": shop} {
		for _, path := range []string{"/events", "/help", "/events?part=main"} {
			until(t, "the menu counts the dead letters", func() bool {
				return strings.Contains(b.get(path).body, `title="Dead letters">1<span`)
			})
		}
		if strings.Contains(b.get("/events").body, `class="banner"`) {
			t.Errorf("%s: something is critical", base)
		}
	}

	r = startAPI(t, "admin: {token: "+adminToken+"}\ncallback: {tokens: ["+token+"], silence: 1s}\n"+
		"redis: {url: "+redisserver.Start(t).URL()+"}\n"+twoTenants("http://127.0.0.1:1", "http://127.0.0.1:1"))
	operator, shop = operatorAndShop(t, r.running)
	until(t, "the banner is there", func() bool {
		return strings.Contains(operator.get("/help").body, `class="banner" data-problem="provider_silent"`)
	})
	if got := shop.get("/help").body; strings.Contains(got, "provider_silent") {
		t.Error("a tenant is told what is the operator's")
	}
}

func TestColoursAreKept(t *testing.T) {
	t.Parallel()
	r := withEvents(t)
	operator, _ := operatorAndShop(t, r.running)
	has := func(path, colors string) {
		t.Helper()
		if got := operator.get(path).body; !strings.Contains(got, `data-colors="`+colors+`"`) {
			t.Errorf("%s has no %s", path, colors)
		}
	}
	has("/", "both")
	has("/events?colors=dark", "dark")
	has("/help", "dark")
	has("/help?colors=%22%3E", "dark")
	has("/help?colors=both", "both")
	has("/", "both")
}
