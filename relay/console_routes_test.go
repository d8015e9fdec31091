package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"kuairelay/relay"
	"kuairelay/relay/config"
	"kuairelay/test/redisserver"
)

// wordsOf is the text of a page as a reader sees it, with single spaces.
func wordsOf(t *testing.T, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	var out strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			out.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}

// tested are the tests for config files that a page offers, by tenant.
func tested(t *testing.T, page string) map[string]string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	must(t, err)
	out := map[string]string{}
	tenant := ""
	for n := range root.Descendants() {
		if n.Type != html.TextNode {
			continue
		}
		if _, of, found := strings.Cut(n.Data, "For the file of "); found {
			tenant = of
		}
		if n.Parent.Data == "pre" && strings.HasPrefix(n.Data, "tests:") {
			out[tenant] = n.Data
		}
	}
	return out
}

// allowed gives the answer to a request that is not too early: a tenant has few explanations a second.
func allowed(t *testing.T, ask func() answered) (got answered) {
	t.Helper()
	until(t, "the tester has a turn", func() bool {
		got = ask()
		return !strings.Contains(got.body, "Too many requests")
	})
	return got
}

// routed is the config of two tenants whose routes have conditions.
const routed = `
tenants:
  - name: shop
    api_keys: [` + shopKey + `]
    endpoints:
      - {name: orders, url: 'http://127.0.0.1:1', secrets: [` + secret + `]}
      - {name: alerts, url: 'http://127.0.0.1:1', secrets: [` + secret + `]}
    routes:
      - {to: orders}
      - {to: alerts, match: {status: [question, allograph]}}
  - name: other
    api_keys: [` + otherKey + `]
    endpoints: [{name: mail, url: 'http://127.0.0.1:1', secrets: [` + secret + `]}]
    routes: [{to: mail, match: {subscribed: true}}]
`

func startRouted(t *testing.T) *apiClient {
	t.Helper()
	return startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(redisserver.Start(t).URL())+routed)
}

func TestTheTesterSaysWhatTheAPISays(t *testing.T) {
	t.Parallel()
	r := startRouted(t)
	operator, shop := operatorAndShop(t, r.running)
	item := `{"waybill_code":"777005949070187","cp_code":"zt","status":"question","data":[]}`
	for _, side := range []struct {
		*browser
		key, path string
		not       string // is on no page
	}{{operator, adminToken, "/admin/v1/explain", "\x00"}, {shop, shopKey, "/v1/explain", "mail"}} {
		got := side.post("/routes", url.Values{"text": {item}})
		words := wordsOf(t, got.body)
		want := ok[explained](r, side.key, "POST", side.path, `{"event":`+item+`}`)
		if got.StatusCode != http.StatusOK || len(want.Events) != 1 || strings.Contains(got.body, side.not) {
			t.Fatalf("%d %s", got.StatusCode, words)
		}
		if !strings.Contains(words, want.Events[0].ID) {
			t.Errorf("%s is not on the page: %s", want.Events[0].ID, words)
		}
		for _, ep := range want.Events[0].Endpoints {
			if !strings.Contains(words, ep.Endpoint) {
				t.Errorf("%s is not on the page: %s", ep.Endpoint, words)
			}
			for _, route := range ep.Routes {
				if !strings.Contains(words, route.At+" "+route.Why) {
					t.Errorf("the page does not say %s %s: %s", route.At, route.Why, words)
				}
			}
		}
	}
	if _, body := r.call(shopKey, "GET", "/v1/events", ""); strings.Contains(body, "777005949070187") {
		t.Error("the sample has become an event")
	}

	// In Chinese, as a form and not as JSON; a part that is not understood is said.
	shop.language = "zh-CN"
	form := "type=express_sub_msg&data=" + url.QueryEscape("["+item+`,{"cp_code":"zt"}]`)
	words := wordsOf(t, shop.post("/routes", url.Values{"text": {form}}).body)
	for _, want := range []string{"shop/alerts ✓ 会收到", "无法解析", "waybill_code"} {
		if !strings.Contains(words, want) {
			t.Errorf("the page does not say %q: %s", want, words)
		}
	}
}

func TestTheTesterTakesNamesOfWhatIsHere(t *testing.T) {
	t.Parallel()
	r := startRouted(t)
	operator, shop := operatorAndShop(t, r.running)
	r.taken(update("777005949070187", "question"))
	_, body := r.call(shopKey, "GET", "/v1/events", "")
	var list struct{ Events []struct{ ID string } }
	must(t, json.Unmarshal([]byte(body), &list))
	id := list.Events[0].ID

	for base, b := range map[string]*browser{"": operator, "/console": shop} {
		for _, asked := range []string{id, "777005949070187", " 777 0059 49070187\r\n"} {
			got := b.post("/routes", url.Values{"text": {asked}})
			to, own := strings.CutPrefix(got.Header.Get("Location"), base+"/routes?of=")
			if got.StatusCode != http.StatusSeeOther || !own {
				t.Fatalf("%q: %d to %q", asked, got.StatusCode, got.Header.Get("Location"))
			}
			page := allowed(t, func() answered { return b.get("/routes?of=" + to) })
			words := wordsOf(t, page.body)
			if !strings.Contains(words, id) || !strings.Contains(words, "shop/alerts") ||
				!strings.Contains(words, "Link to this test") || !strings.Contains(page.body, `href="`+base+`/event?id=`+id) {
				t.Errorf("%q: %s", asked, words)
			}
		}
		for _, asked := range []string{"evt_" + strings.Repeat("0", 64), "999"} {
			got := allowed(t, func() answered { return b.get("/routes?of=" + asked) })
			if !strings.Contains(wordsOf(t, got.body), "no such event") || got.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %s", asked, got.StatusCode, wordsOf(t, got.body))
			}
		}
	}

	// What is another's is not there.
	other := newBrowser(t, r.public+"/console").login(otherKey)
	if words := wordsOf(t, other.get("/routes?of="+id).body); !strings.Contains(words, "no such event") {
		t.Errorf("other sees %s", words)
	}
}

// What a page gives as a test for the file passes there, whatever the sample holds.
func TestTheTestThatThePageGivesPasses(t *testing.T) {
	t.Parallel()
	r := startRouted(t)
	operator, shop := operatorAndShop(t, r.running)
	r.taken(update("5556667778880", "signed"))
	_, body := r.call(shopKey, "GET", "/v1/events", "")
	var list struct{ Events []struct{ ID string } }
	must(t, json.Unmarshal([]byte(body), &list))

	item := `{"waybill_code":"1","cp_code":"zt","status":%s,"n":9007199254740993,"data":[{"context":%s}]}`
	for name, text := range map[string]string{
		"plain": fmt.Sprintf(item, `"question"`, `"快件"`),
		"hostile": fmt.Sprintf(item, `"question"`,
			`"it's $5, ${HOME} $HOME $$ #: \u202e\"`+"\u202e\u2028\x7f\U000E0001 file:x"+`"`),
		"status":     fmt.Sprintf(item, `"\n- x: '${HOME}"`, `"x"`),
		"nobody":     `{"type":"express_sub_msg","data":[` + fmt.Sprintf(item, `"signed"`, `"x"`) + `]}`,
		"of a store": "",
	} {
		for side, b := range map[string]*browser{"operator": operator, "shop": shop} {
			var tests map[string]string
			until(t, "the page has a test, for which a tenant needs two turns", func() bool {
				page := b.get("/routes?of=" + list.Events[0].ID)
				if text != "" {
					page = b.post("/routes", url.Values{"text": {text}})
				}
				tests = tested(t, page.body)
				return tests["shop"] != ""
			})
			if side == "shop" && len(tests) != 1 || side == "operator" && tests["other"] == "" {
				t.Errorf("%s, %s: %v", name, side, tests)
			}
			for tenant, test := range tests {
				failed, reaches := checkTest(t, tenant, test)
				if len(failed) > 0 || tenant == "other" && len(reaches) != 1 || tenant == "shop" && len(reaches) == 0 {
					t.Errorf("%s, %s: %v, it reaches %v:\n%s", name, tenant, failed, reaches, test)
				}
			}
		}
	}
}

// checkTest puts a test into the file of a tenant, and gives what fails, and the endpoints that it names.
func checkTest(t *testing.T, tenant, test string) (failed []config.Mistake, reaches []string) {
	t.Helper()
	whole := strings.Replace(routed, "  - name: "+tenant+"\n", "  - name: "+tenant+"\n"+
		regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimSpace(test), "    ")+"\n", 1)
	path := filepath.Join(t.TempDir(), "config.yaml")
	const head = "admin: {token: " + adminToken + "}\ncallback: {tokens: [callback-token-1]}\n"
	must(t, os.WriteFile(path, []byte(head+whole), 0o600))
	c, err := config.Load(path, config.Options{})
	must(t, err)
	x, err := relay.NewExplainer(c)
	must(t, err)
	for _, of := range c.Tenants {
		for _, test := range of.Tests {
			reaches = test.Reaches
		}
	}
	return x.FailedTests(), reaches
}

func TestTheTesterIsBounded(t *testing.T) {
	t.Parallel()
	r := startRouted(t)
	operator, shop := operatorAndShop(t, r.running)
	item := `{"waybill_code":"1","cp_code":"zt","status":"signed","data":[{"context":"%s"}]}`
	for _, b := range []*browser{operator, shop} {
		for size, want := range map[int]int{250 << 10: http.StatusOK, 260 << 10: http.StatusOK, 1 << 20: 413} {
			got := b.post("/routes", url.Values{"text": {fmt.Sprintf(item, strings.Repeat("&", size))}})
			words := wordsOf(t, got.body)
			if got.StatusCode != want || strings.Contains(words, "shop/orders") != (size < 256<<10) ||
				strings.Contains(words, "at most 256 KiB") != (size > 256<<10) {
				t.Errorf("%d bytes: %d %s", size, got.StatusCode, words[:min(len(words), 2000)])
			}
		}
	}

	// The tester of a stranger reads nothing, and another form stays small.
	large := url.Values{"text": {strings.Repeat("x", 1<<20)}}
	if got := newBrowser(t, r.public+"/console").post("/routes", large); got.StatusCode != http.StatusSeeOther {
		t.Errorf("a stranger: %d", got.StatusCode)
	}
	large.Set("back", "/console/routes")
	if got := shop.post("/endpoints/shop/orders/pause", large); strings.Contains(got.Header.Get("Location"), "routes") {
		t.Errorf("a large form of another page: %d %q", got.StatusCode, got.Header.Get("Location"))
	}
}

func TestTheTesterShowsHostileTextAsText(t *testing.T) {
	t.Parallel()
	r := startRouted(t)
	operator, _ := operatorAndShop(t, r.running)
	evil := `</textarea><script>window.pwned=1</script>"><img src=x onerror=alert(1)>{{.}}` + "\u202e\x00"
	for _, text := range []string{
		evil,
		fmt.Sprintf(`{"waybill_code":%q,"cp_code":%[1]q,"status":%[1]q}`, evil),
		fmt.Sprintf(`{"waybill_code":"1","cp_code":%q,"status":%[1]q,"type":%[1]q}`, evil),
		"data=" + url.QueryEscape(evil),
	} {
		got := operator.post("/routes", url.Values{"text": {text}})
		for _, live := range []string{"<script>window", "<img src=x", "</textarea><"} {
			if strings.Contains(strings.Replace(got.body, "</textarea>\n", "", 1), live) {
				t.Errorf("%q: the page has %s", text, live)
			}
		}
		if strings.Contains(wordsOf(t, strings.Split(got.body, "</textarea>")[1]), "\u202e") {
			t.Errorf("%q turns the page", text)
		}
	}
}

func TestTheTesterWorksWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	r := startAPI(t, "admin: {token: "+adminToken+"}\n"+withToken(server.URL())+routed)
	operator, _ := operatorAndShop(t, r.running)
	server.Kill()
	item := `{"waybill_code":"1","cp_code":"zt","status":"question"}`
	words := wordsOf(t, operator.post("/routes", url.Values{"text": {item}}).body)
	for _, want := range []string{"Redis does not answer", "shop/alerts ✓ gets it", "other/mail ? may get it"} {
		if !strings.Contains(words, want) {
			t.Errorf("the page does not say %q: %s", want, words)
		}
	}
	if got := operator.get("/routes?of=1"); !strings.Contains(got.body, "<textarea") ||
		!strings.Contains(wordsOf(t, got.body), "Redis does not answer") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}
