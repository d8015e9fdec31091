package relay_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kuairelay/test/redisserver"
)

const (
	adminToken = "operator-token"
	otherKey   = "other-api-key"
)

// twoTenants is a config with shop, which gets all, and other, which gets what is signed for.
func twoTenants(shop, other string) string {
	return fmt.Sprintf(`
tenants:
  - name: shop
    api_keys: [%s]
    endpoints:
      - {name: orders, url: "%s/hooks?token=hidden", secrets: [%s], retry: [10ms, 1h]}
      - {name: spare, url: "%s", secrets: [%s]}
    routes:
      - {to: orders}
  - name: other
    api_keys: [%s]
    endpoints:
      - {name: mail, url: "%s", secrets: [%s]}
    routes:
      - {to: mail, match: {status: signed}}
`, shopKey, shop, secret, shop, secret, otherKey, other, secret)
}

func withToken(r string) string { return "redis: {url: '" + r + "'}\n" }

// startAPI runs a relay, to call its API.
func startAPI(t *testing.T, yaml string) *apiClient {
	t.Helper()
	return &apiClient{running: start(t, yaml), t: t}
}

// apiClient calls the API of a relay, and holds each answer to the OpenAPI document.
type apiClient struct {
	*running
	t        testing.TB
	once     sync.Once
	document *apiDocument
}

// apiDocument is an OpenAPI document, ready for holding answers to it.
type apiDocument struct {
	values map[string]any
	paths  []documentedPath // those with fewer parameters first

	mu       sync.Mutex // of the compiler, and of what it has compiled
	compiler *jsonschema.Compiler
}

// documentedPath is a path of a document, and what the paths of requests look like that are under it.
type documentedPath struct {
	name string
	form *regexp.Regexp
}

// documents are those that relays have served, by their text: nearly always one.
var documents = struct {
	sync.Mutex
	known map[string]*apiDocument
}{known: map[string]*apiDocument{}}

func (a *apiClient) load() *apiDocument {
	a.once.Do(func() {
		status, body := a.get(a.public + "/v1/openapi.json")
		if status != 200 {
			a.t.Fatalf("openapi.json: %d", status)
		}
		documents.Lock()
		defer documents.Unlock()
		if a.document = documents.known[body]; a.document != nil {
			return
		}
		d, err := readDocument(body)
		if err != nil {
			a.t.Fatal(err)
		}
		documents.known[body] = d
		a.document = d
	})
	return a.document
}

func readDocument(text string) (*apiDocument, error) {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	d := &apiDocument{values: v.(map[string]any), compiler: jsonschema.NewCompiler()}
	if err := d.compiler.AddResource("doc.json", v); err != nil {
		return nil, err
	}

	parameter := regexp.MustCompile(`\\\{\w+\\\}`)
	for name := range d.values["paths"].(map[string]any) {
		form := regexp.MustCompile("^" + parameter.ReplaceAllString(regexp.QuoteMeta(name), `[^/]+`) + "$")
		d.paths = append(d.paths, documentedPath{name: name, form: form})
	}
	slices.SortFunc(d.paths, func(a, b documentedPath) int {
		return cmp.Or(cmp.Compare(strings.Count(a.name, "{"), strings.Count(b.name, "{")), cmp.Compare(a.name, b.name))
	})
	return d, nil
}

// compile returns the schema at a place of the document.
func (d *apiDocument) compile(place string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compiler.Compile(place)
}

// template is the path of the document that a path of a request is under; empty: none.
func (a *apiClient) template(path string) string {
	for _, p := range a.load().paths {
		if p.form.MatchString(path) {
			return p.name
		}
	}
	return ""
}

// call makes a request with a key, and returns status and answer, which has to be what the document says.
func (a *apiClient) call(key, method, path, body string) (int, string) {
	a.t.Helper()
	base := a.public
	if strings.HasPrefix(path, "/admin") {
		base = a.admin
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	u, err := url.Parse(path)
	if err != nil {
		a.t.Fatal(err)
	}
	a.check(method, u.Path, resp, text)
	return resp.StatusCode, string(text)
}

func (a *apiClient) check(method, path string, resp *http.Response, text []byte) {
	a.t.Helper()
	name := a.template(path)
	if name == "" {
		a.t.Errorf("%s %s is not in the document", method, path)
		return
	}
	kind := resp.Header.Get("Content-Type")
	kind, _, _ = strings.Cut(kind, ";")
	place := fmt.Sprintf("doc.json#/paths/%s/%s/responses/%d/content/%s/schema", escape(name), strings.ToLower(method),
		resp.StatusCode, escape(kind))
	if resp.StatusCode == http.StatusNoContent {
		place = strings.TrimSuffix(place, "/content//schema")
		if len(text) > 0 {
			a.t.Errorf("%s %s answers %s with nothing to be said", method, path, text)
		}
	}
	schema, err := a.document.compile(place)
	if err != nil {
		a.t.Errorf("%s %s answers %d %s, which is not in the document: %v", method, path, resp.StatusCode, kind, err)
		return
	}
	if resp.StatusCode == http.StatusNoContent {
		return
	}
	if kind == "application/yaml" {
		if err := schema.Validate(string(text)); err != nil {
			a.t.Errorf("%s %s: %v", method, path, err)
		}
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		a.t.Errorf("%s %s: %v in %s", method, path, err, text)
		return
	}
	if err := schema.Validate(v); err != nil {
		a.t.Errorf("%s %s answers %s, which the document does not allow: %v", method, path, text, err)
	}
}

// escape is a part of a JSON pointer in a URL's fragment.
func escape(s string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
}

// ok makes a request that has to succeed, and reads the answer.
func ok[T any](a *apiClient, key, method, path, body string) T {
	a.t.Helper()
	status, text := 0, ""
	until(a.t, method+" "+path+" is answered", func() bool {
		status, text = a.call(key, method, path, body)
		return status != http.StatusServiceUnavailable // Redis may take a second on a machine that is busy
	})
	var v T
	if status/100 != 2 {
		a.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		a.t.Fatal(err)
	}
	return v
}

type delivery struct {
	Endpoint, State, Reason, Why, Behind string
	Attempts                             int
	Due                                  time.Time `json:"due_at"`
	Tries                                []struct {
		Status int
		Text   string
	}
	Parked *struct{ State string }
}

type shownEvent struct {
	ID, State, Status string
	Waybill           string `json:"waybill_code"`
	Repeats           int
	Deliveries        []delivery
	Data              json.RawMessage
	Routes            []struct {
		Tenant, At, Why string
		Matched         bool
	}
}

type listed struct {
	Events []shownEvent
	Next   string
}

type health struct {
	Endpoint, State, URL        string
	Open, Waiting, Dead, Sample int
	SuccessRate                 float64 `json:"success_rate"`
	PausedBy                    string  `json:"paused_by"`
	LastError                   *struct {
		Status int
		Text   string
	} `json:"last_error"`
}

func TestEveryRouteOfTheAPIIsOpenToThoseAloneWhomItIsFor(t *testing.T) {
	t.Parallel()
	shop, other := newTenant(t, nil), newTenant(t, nil)
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+twoTenants(shop.URL, other.URL))
	a.relay.AnswerWrongKeysAtOnce()
	a.push("application/json", callback(item("1001", "collected", "2026-11-23 09:00:00")))
	shop.wait(1)
	var mine listed
	until(t, "the event is listed", func() bool {
		mine = ok[listed](a, shopKey, "GET", "/v1/events", "")
		return len(mine.Events) == 1 && mine.Events[0].State == "delivered"
	})
	id := mine.Events[0].ID
	if with := ok[listed](a, shopKey, "GET", "/v1/events?data=true", "").Events[0].Data; !strings.Contains(string(with),
		`"1001"`) || mine.Events[0].Data != nil {
		t.Errorf("an event with its data: %s; without: %s", with, mine.Events[0].Data)
	}
	replay := ok[struct{ ID string }](a, shopKey, "POST", "/v1/replays", `{"dry_run":true}`)

	// What stands for a parameter: something of shop's.
	values := strings.NewReplacer(":tenant", "shop", ":endpoint", "orders", ":waybill", "1001", ":cp_code", "zt")
	callers := []struct{ name, key string }{{"no key", ""}, {"wrong key", "wrong-key"}, {"shop's key", shopKey},
		{"other's key", otherKey}, {"operator's token", adminToken}}
	// What another tenant's key gets where it is not 404: its own, empty lists.
	own := []string{"GET /v1/status", "GET /v1/config", "GET /v1/config/effective",
		"GET /v1/events", "GET /v1/endpoints", "GET /v1/dead-letters",
		"POST /v1/dead-letters/redrive",
		"POST /v1/dead-letters/dismiss", "GET /v1/audit", "GET /v1/replays", "POST /v1/replays", "GET /v1/subscriptions",
		"POST /v1/subscriptions", "GET /v1/stats",
		"GET /v1/find", "GET /v1/subscriptions/summary", "POST /v1/waybills/states",
		"POST /v1/notices/test"}
	tried := 0
	for _, r := range a.relay.Routes() {
		route, path := r.Method+" "+r.Path, values.Replace(r.Path)
		switch {
		case !strings.HasPrefix(r.Path, "/v1/") && !strings.HasPrefix(r.Path, "/admin/v1/"), route == "GET /v1/openapi.json":
			continue // it is no part of the API, or open to all
		case strings.Contains(path, "/replays/:id"):
			path = strings.Replace(path, ":id", replay.ID, 1)
		case strings.Contains(path, "/quarantine/:id"):
			path = strings.Replace(path, ":id", "qtn_0", 1)
		}
		path = strings.Replace(path, ":id", id, 1)
		if strings.Contains(path, ":") {
			t.Errorf("no value for a parameter of %s", r.Path)
		}
		admin := strings.HasPrefix(path, "/admin/")
		body := map[string]string{"/redrive": `{"all":true}`, "/dismiss": `{"all":true}`, "/replays": `{"dry_run":true}`,
			"/retry": `{"all":true}`, "/resend": `{"endpoint":"shop/orders"}`,
			"/quarantine/replay": `{"ids":["qtn_0"]}`, "/explain": `{"waybill_code":"1001"}`,
			"/quarantine/dismiss": `{"ids":["qtn_0"]}`,
			"/v1/subscriptions":   `{"cp_code":"zt","waybill_codes":["1001"]}`,
			"/states":             `{"cp_code":"zt","waybill_codes":["1001"]}`}[suffixOf(path)]
		if route == "POST /admin/v1/subscriptions" {
			body = `{"tenant":"shop","cp_code":"zt","waybill_codes":["1001"]}`
		}
		switch {
		case route == "GET /admin/v1/subscriptions", strings.HasPrefix(route, "DELETE /admin/v1/subscriptions"):
			path += "?tenant=shop"
		case strings.HasSuffix(path, "/request"):
			path += "?endpoint=shop/orders"
		case strings.HasSuffix(path, "/find"):
			path += "?q=" + id
		}
		for _, who := range callers {
			tried++
			name := who.name + ": " + r.Method + " " + path
			status, text := a.plain(who.key, r.Method, path, body)
			allowed := map[bool]string{true: adminToken, false: shopKey}[admin] == who.key
			switch {
			case allowed && strings.Contains(path+body, "qtn_0"), allowed && strings.HasPrefix(r.Path, "/v1/subscriptions"),
				allowed && r.Method != "GET" && strings.HasPrefix(r.Path, "/admin/v1/subscriptions"):
				if status == 401 || status == 403 {
					t.Errorf("%s: %d %s", name, status, text)
				}
			case allowed:
				// It may be under way from the call before, and the endpoint is paused by another route.
				not := status == 409 && (strings.HasSuffix(path, "/resend") || strings.HasSuffix(path, "/retry"))
				if status/100 != 2 && !not {
					t.Errorf("%s: %d %s", name, status, text)
				}
			case !admin && who.key == otherKey:
				if slices.Contains(own, route) {
					if status == 401 || strings.Contains(text, "1001") && r.Method == "GET" || strings.Contains(text, "shop") ||
						strings.Contains(text, replay.ID) {
						t.Errorf("%s: %d %s", name, status, text)
					}
				} else if status != 404 {
					t.Errorf("%s: %d %s, want 404", name, status, text)
				}
			default:
				if status != 401 || !strings.Contains(text, "Authorization") {
					t.Errorf("%s: %d %s, want 401", name, status, text)
				}
			}
		}
	}
	if tried < 5*40 {
		t.Errorf("only %d cases: are all routes there?", tried)
	}
	t.Logf("%d cases", tried)
	for _, r := range a.logs.All() {
		for _, key := range []string{adminToken, shopKey, otherKey, "wrong-key", "hidden"} {
			if strings.Contains(fmt.Sprint(r.Message, r.ContextMap()), key) {
				t.Errorf("a key is in the log: %v", r)
			}
		}
	}
}

// suffixOf is what tells the bodies of requests apart.
func suffixOf(path string) string {
	for _, s := range []string{"/quarantine/replay", "/quarantine/dismiss", "/redrive", "/dismiss", "/replays", "/retry",
		"/resend", "/explain", "/states"} {
		if strings.HasSuffix(path, s) {
			return s
		}
	}
	return path
}

func (a *apiClient) plain(key, method, path, body string) (int, string) {
	a.t.Helper()
	if a.template(strings.SplitN(path, "?", 2)[0]) != "" {
		return a.call(key, method, path, body)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.public+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	return a.do(req)
}

func TestWithoutATokenTheOperatorsAPIIsOff(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	a := startAPI(t, twoTenants(shop.URL, shop.URL))
	for _, key := range []string{"", "anything", " "} {
		if status, text := a.call(key, "GET", "/admin/v1/events", ""); status != 503 ||
			!strings.Contains(text, "admin.token") {
			t.Errorf("%q: %d %s", key, status, text)
		}
	}
}

func TestEveryRouteIsInTheOpenAPIDocumentAndTheOtherWayRound(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	a := startAPI(t, twoTenants(shop.URL, shop.URL))
	a.load()
	documented := map[string]bool{}
	for path, item := range a.document.values["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			documented[strings.ToUpper(method)+" "+path] = false
		}
	}
	params := regexp.MustCompile(`:(\w+)`)
	for _, r := range a.relay.Routes() {
		if !strings.HasPrefix(r.Path, "/v1/") && !strings.HasPrefix(r.Path, "/admin/") {
			continue
		}
		name := r.Method + " " + params.ReplaceAllString(r.Path, "{$1}")
		if _, known := documented[name]; !known {
			t.Errorf("%s is not in the document", name)
		}
		documented[name] = true
	}
	for name, served := range documented {
		if !served {
			t.Errorf("%s is in the document, and not served", name)
		}
	}
	if a.document.values["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", a.document.values["openapi"])
	}
	// Every schema compiles, which also says that every $ref leads somewhere, and says what its fields are.
	for name, schema := range a.document.values["components"].(map[string]any)["schemas"].(map[string]any) {
		if _, err := a.document.compile("doc.json#/components/schemas/" + name); err != nil {
			t.Error(err)
		}
		for field, about := range schema.(map[string]any)["properties"].(map[string]any) {
			if about.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s has no doc tag", name, field)
			}
		}
	}
}

func TestEverythingThatATenantReceivesIsInTheOpenAPIDocument(t *testing.T) {
	t.Parallel()
	standard, kuaidihelp := newTenant(t, nil), newTenant(t, nil)
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+fmt.Sprintf(`
callback: {tokens: [callback-token]}
egress: {allow_cidrs: [127.0.0.1]}
tenants:
  - name: shop
    api_keys: [%s]
    endpoints:
      - {name: standard, url: "%s", secrets: [%s]}
      - {name: kuaidihelp, url: "%s", secrets: [%[3]s], format: kuaidihelp}
    routes:
      - {to: [standard, kuaidihelp]}
`, shopKey, standard.URL, secret, kuaidihelp.URL))
	a.load()

	a.push("application/json", callback(item("1001", "signed", "2026-11-23 09:00:00")))
	a.push("application/json", callback(`{"waybill_no":1002,"data":[]}`))
	a.push("application/json", `{"type":"print_job","data":{"id":7}}`)
	for _, name := range []string{"standard", "kuaidihelp"} {
		ok[any](a, shopKey, "POST", "/v1/endpoints/"+name+"/test", "")
	}
	test := a.document.values["webhooks"].(map[string]any)["test"].(map[string]any)
	headers := test["post"].(map[string]any)["parameters"].([]any)
	for format, x := range map[string]*tenant{"standard": standard, "kuaidihelp": kuaidihelp} {
		seen := map[string]int{}
		for _, r := range x.wait(4) {
			for i, name := range []string{"waybill", "callback", "test"} {
				place := "doc.json#/webhooks/" + name + "/post/requestBody/content/application~1json/schema/anyOf/"
				formats := map[string]string{"standard": "0", "kuaidihelp": "1"}
				schema, err := a.document.compile(place + formats[format])
				if err != nil {
					t.Fatal(err)
				}
				v, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
				if err != nil {
					t.Fatal(err)
				}
				if schema.Validate(v) == nil {
					seen[name]++
					break
				}
				if i == 2 {
					t.Errorf("%s: %s is none of the webhooks", format, r.body)
				}
			}
			for _, p := range headers {
				if name := p.(map[string]any)["name"].(string); r.header.Get(name) == "" {
					t.Errorf("%s: there is no %s", r.body, name)
				}
			}
		}
		if seen["waybill"] != 2 {
			t.Errorf("%s: %v", format, seen)
		}
	}
}

func TestTheAPIShowsWhatBecameOfEveryEvent(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, func(w http.ResponseWriter, _ int, r received) {
		switch {
		case strings.Contains(r.body, `"1002"`):
			http.Error(w, "no such parcel", http.StatusInternalServerError)
		case strings.Contains(r.body, `"1003"`):
			w.WriteHeader(http.StatusGone)
		}
	})
	other := newTenant(t, nil)
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		twoTenants(shop.URL, other.URL))
	a.push("application/json", callback(item("1001", "collected", "2026-11-23 09:00:00")))
	a.push("application/json", callback(item("1001", "signed", "2026-11-23 10:00:00"),
		item("1002", "delivering", "2026-11-23 10:00:00")))
	a.push("application/json", callback(item("1001", "signed", "2026-11-23 10:00:00")))
	until(t, "1002 is tried twice", func() bool {
		w := ok[listed](a, adminToken, "GET", "/admin/v1/waybills/1002", "")
		return w.Events[0].Deliveries[0].Attempts == 2
	})
	a.push("application/json", callback(item("1002", "signed", "2026-11-23 11:00:00")))

	until(t, "1001 is delivered to both", func() bool {
		e := ok[listed](a, adminToken, "GET", "/admin/v1/waybills/1001", "").Events
		return len(e) == 2 && e[0].State == "delivered" && e[1].State == "delivered"
	})
	w := ok[listed](a, adminToken, "GET", "/admin/v1/waybills/1001", "").Events[1]
	if w.Status != "signed" || w.Repeats != 1 || len(w.Deliveries) != 2 || w.Deliveries[0].Endpoint != "other/mail" ||
		len(w.Routes) != 2 || string(w.Data) != item("1001", "signed", "2026-11-23 10:00:00") {
		t.Errorf("%+v", w)
	}
	collected := ok[listed](a, adminToken, "GET", "/admin/v1/waybills/1001", "").Events[0]
	if r := collected.Routes[1]; r.Matched || !strings.Contains(r.Why, `status "collected" is not signed`) {
		t.Errorf("%+v", collected.Routes)
	}
	// What is not shop's is not there for it.
	w = ok[listed](a, shopKey, "GET", "/v1/waybills/1001", "").Events[1]
	if len(w.Deliveries) != 1 || len(w.Routes) != 1 || w.Routes[0].Tenant != "shop" {
		t.Errorf("%+v", w)
	}
	if w := ok[listed](a, otherKey, "GET", "/v1/waybills/1001", ""); len(w.Events) != 1 || w.Events[0].Status != "signed" {
		t.Errorf("%+v", w)
	}
	if status, _ := a.call(otherKey, "GET", "/v1/events/"+collected.ID, ""); status != 404 {
		t.Errorf("another's event: %d", status)
	}
	e := ok[shownEvent](a, shopKey, "GET", "/v1/events/"+collected.ID, "")
	if e.ID != collected.ID || e.Deliveries[0].Tries[0].Status != 200 {
		t.Errorf("%+v", e)
	}

	two := ok[listed](a, shopKey, "GET", "/v1/waybills/1002", "").Events
	d := two[0].Deliveries[0]
	if d.State != "retrying" || time.Until(d.Due) < 50*time.Minute || len(d.Tries) != 2 || d.Tries[0].Status != 500 ||
		!strings.Contains(d.Tries[1].Text, "no such parcel") {
		t.Errorf("%+v", d)
	}
	if d := two[1].Deliveries[0]; d.State != "waiting" || d.Behind != two[0].ID {
		t.Errorf("%+v", d)
	}

	for query, want := range map[string]int{
		"": 4, "?limit=2": 2, "?status=signed": 2, "?state=open": 2, "?state=waiting": 1, "?state=delivered": 3,
		"?state=retrying": 1, "?waybill_code=1002": 2,
		"?brand=zt": 4, "?cp_code=sto": 0, "?since=1h": 4, "?until=1h": 0, "?endpoint=other/mail": 2, "?tenant=other": 2,
		"?tenant=other&endpoint=mail&state=delivered": 2,
		"?endpoint=shop/spare":                        0, "?state=unrouted": 0, "?newer=true": 4,
	} {
		if got := ok[listed](a, adminToken, "GET", "/admin/v1/events"+query, ""); len(got.Events) != want {
			t.Errorf("%s: %d events, want %d", query, len(got.Events), want)
		}
	}
	for query, want := range map[string]string{
		"?limit=0": "limit: must be", "?state=lost": "state: must be one of", "?since=yesterday": "since: must be a time",
		"?endpoint=shop/nope": `endpoint: there is no endpoint "shop/nope"`,
		"?tenant=nope":        "tenant: there is no tenant", "?sttaus=signed": "sttaus: there is no such parameter",
		"?cursor=x": "cursor: must be", "?since=1h&until=2h": "since: must be before until",
	} {
		if status, text := a.call(adminToken, "GET", "/admin/v1/events"+query, ""); status != 400 ||
			!strings.Contains(unquoted(text), want) {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	first := ok[listed](a, shopKey, "GET", "/v1/events?limit=3", "")
	second := ok[listed](a, shopKey, "GET", "/v1/events?limit=3&cursor="+first.Next, "")
	if len(first.Events) != 3 || len(second.Events) != 1 || second.Events[0].Status != "collected" || second.Next != "" {
		t.Errorf("pages: %+v then %+v", first, second)
	}

	// Health: 1003 has the endpoint gone.
	a.push("application/json", callback(item("1003", "collected", "2026-11-23 09:00:00")))
	var h health
	until(t, "the endpoint is gone", func() bool {
		h = ok[health](a, shopKey, "GET", "/v1/endpoints/orders", "")
		return h.State == "gone"
	})
	if h.Endpoint != "shop/orders" || strings.Contains(h.URL, "hidden") || h.Open != 2 || h.Waiting != 1 ||
		h.Sample != 5 || h.SuccessRate != 0.4 || h.LastError == nil || h.LastError.Status != 410 {
		t.Errorf("%+v", h)
	}
	if d := ok[listed](a, shopKey, "GET", "/v1/waybills/1003", "").Events[0].Deliveries[0]; d.Parked == nil ||
		d.Parked.State != "gone" {
		t.Errorf("%+v", d)
	}
	all := ok[struct{ Endpoints []health }](a, adminToken, "GET", "/admin/v1/endpoints?limit=2", "")
	if len(all.Endpoints) != 2 || all.Endpoints[0].Endpoint != "other/mail" || all.Endpoints[0].State != "ok" {
		t.Errorf("%+v", all)
	}
	until(t, "the status has it, which looks at all endpoints once a second", func() bool {
		st := ok[struct {
			Endpoints, Open, Waiting int
			States                   map[string]int
			Attention                []health
			Ready                    bool
		}](a, adminToken, "GET", "/admin/v1/status", "")
		return st.Endpoints == 3 && st.States["gone"] == 1 && st.States["idle"] == 1 && st.Open == 2 && st.Waiting == 1 &&
			len(st.Attention) == 1 && st.Ready
	})
	if st := ok[struct{ Endpoints int }](a, otherKey, "GET", "/v1/status", ""); st.Endpoints != 1 {
		t.Errorf("%+v", st)
	}
}

// unquoted is an answer without the escapes of JSON.
func unquoted(s string) string { return strings.ReplaceAll(s, `\"`, `"`) }

func TestAPersonPausesResumesTestsRedrivesAndDismisses(t *testing.T) {
	t.Parallel()
	var broken sync.Map
	broken.Store("yes", true)
	shop := newTenant(t, func(w http.ResponseWriter, _ int, r received) {
		if _, is := broken.Load("yes"); is && !strings.Contains(r.body, `"type":"test"`) {
			http.Error(w, "no", http.StatusTeapot)
		}
	})
	other := newTenant(t, nil)
	yaml := strings.Replace(twoTenants(shop.URL, other.URL), "retry: [10ms, 1h]", "retry: [1ms, 1ms, 1ms]", 1)
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+yaml)
	for i := range 4 {
		a.push("application/json", callback(item(fmt.Sprint(2000+i), "collected", "2026-11-23 09:00:00")))
	}
	type letters struct {
		Letters []struct {
			EventID  string `json:"event_id"`
			Endpoint string
			Waybill  string `json:"waybill_code"`
			Reason   string
			Attempts int
		} `json:"dead_letters"`
		Next string
	}
	var dead letters
	until(t, "all are dead", func() bool {
		dead = ok[letters](a, shopKey, "GET", "/v1/dead-letters", "")
		return len(dead.Letters) == 4
	})
	if l := dead.Letters[0]; l.Endpoint != "shop/orders" || l.Attempts != 4 || !strings.Contains(l.Reason, "418") {
		t.Errorf("%+v", l)
	}
	if l := ok[letters](a, otherKey, "GET", "/v1/dead-letters", ""); len(l.Letters) != 0 {
		t.Errorf("another's: %+v", l)
	}
	type done struct {
		Done int
		Next string
	}
	one := fmt.Sprintf(`{"dead_letters":[{"event_id":"%s","endpoint":"shop/orders"}]}`, dead.Letters[0].EventID)
	if status, text, _ := a.api("POST", "/v1/dead-letters/redrive", otherKey, one); status != 400 ||
		!strings.Contains(text, "not yours") {
		t.Errorf("another tenant redrives what is shop's: %d %s", status, text)
	}
	if n := ok[done](a, shopKey, "POST", "/v1/dead-letters/dismiss", one); n.Done != 1 {
		t.Errorf("%+v", n)
	}
	broken.Delete("yes")
	if n := ok[done](a, shopKey, "POST", "/v1/dead-letters/redrive",
		`{"all":true,"filter":{"endpoint":"orders","brand":"zt"}}`); n.Done != 3 || n.Next != "" {
		t.Errorf("%+v", n)
	}
	redriven := 0
	for _, r := range shop.wait(4*4 + 3) {
		if r.header.Get("Kuairelay-Reason") == "redrive" {
			redriven++
		}
	}
	if redriven != 3 {
		t.Errorf("%d redriven", redriven)
	}
	for body, want := range map[string]string{
		`{}`: "either dead_letters or all", `{"all":true,"filter":{"endpoint":"nope"}}`: "there is no endpoint",
		`{"al":true}`:   `there is no key "al"`,
		`{"all":"yes"}`: "all must be true or false", `{`: "not valid JSON",
		`{"all":true,"filter":{"since":"monday"}}`: "times like",
	} {
		if status, text := a.call(shopKey, "POST", "/v1/dead-letters/redrive", body); status != 400 ||
			!strings.Contains(unquoted(text), want) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}

	if h := ok[health](a, shopKey, "POST", "/v1/endpoints/orders/pause", ""); h.State != "paused" ||
		h.PausedBy != "shop" {
		t.Errorf("%+v", h)
	}
	a.push("application/json", callback(item("2100", "collected", "2026-11-23 09:00:00")))
	had := len(shop.all())
	until(t, "it is open", func() bool { return ok[health](a, shopKey, "GET", "/v1/endpoints/orders", "").Open == 1 })
	result := ok[struct {
		Delivered bool
		Status    int
	}](a, adminToken, "POST", "/admin/v1/endpoints/shop/orders/test", "")
	if !result.Delivered || result.Status != 200 {
		t.Errorf("%+v", result)
	}
	got := shop.all()
	if len(got) != had+1 || !strings.Contains(got[had].body, `{"type":"test","timestamp":"`) {
		t.Errorf("while it is paused: %+v", got[had:])
	}
	if h := ok[health](a, adminToken, "POST", "/admin/v1/endpoints/shop/orders/resume", ""); h.State == "paused" ||
		h.PausedBy != "" {
		t.Errorf("%+v", h)
	}
	shop.wait(had + 2)
}

func TestAReplaySendsAgainWhatItsFilterTakes(t *testing.T) {
	t.Parallel()
	shop, other := newTenant(t, nil), newTenant(t, nil)
	a := startAPI(t, withToken(redisserver.Start(t).URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(twoTenants(shop.URL, other.URL), "{to: orders}", `{to: orders, match: {waybill_code: "3*"}}`, 1))
	var items []string
	for i := range 120 {
		items = append(items, item(fmt.Sprint(3000+i), map[bool]string{true: "signed", false: "collected"}[i%4 == 0],
			"2026-11-23 09:00:00"))
	}
	a.push("application/json", callback(append(items, item("4000", "collected", "2026-11-23 09:00:00"))...))
	shop.wait(120)
	other.wait(30)
	until(t, "all is delivered", func() bool {
		return ok[struct{ Open int }](a, adminToken, "GET", "/admin/v1/status", "").Open == 0
	})
	type replay struct {
		ID, State                        string
		Looked, Matched, Queued, Skipped int
	}
	finish := func(key, prefix, body string) replay {
		t.Helper()
		r := ok[replay](a, key, "POST", prefix+"/replays", body)
		until(t, "the replay is done", func() bool {
			r = ok[replay](a, key, "GET", prefix+"/replays/"+r.ID, "")
			return r.State == "done"
		})
		return r
	}
	if r := finish(shopKey, "/v1", `{"dry_run":true}`); r.Queued != 120 || r.Matched != 120 {
		t.Errorf("dry run: %+v", r)
	}
	if r := finish(shopKey, "/v1", `{"status":"signed","since":"2020-01-01T00:00:00Z","rate":10000}`); r.Queued != 30 ||
		r.Matched != 30 || r.Skipped != 0 {
		t.Errorf("signed: %+v", r)
	}
	again := 0
	for _, r := range shop.wait(150) {
		if r.header.Get("Kuairelay-Reason") == "replay" {
			again++
		}
	}
	if again != 30 || len(other.all()) != 30 {
		t.Errorf("%d again, and other has %d", again, len(other.all()))
	}
	if r := finish(adminToken, "/admin/v1", `{"reroute":true,"dry_run":true}`); r.Matched != 0 {
		t.Errorf("reroute: %+v", r)
	}
	slow := ok[replay](a, adminToken, "POST", "/admin/v1/replays", `{"rate":1}`)
	if status, _ := a.call(shopKey, "GET", "/v1/replays/"+slow.ID, ""); status != 404 {
		t.Errorf("the operator's replay: %d", status)
	}
	if r := ok[replay](a, adminToken, "DELETE", "/admin/v1/replays/"+slow.ID, ""); r.State != "cancelled" {
		t.Errorf("%+v", r)
	}
	if all := ok[struct{ Replays []replay }](a, shopKey, "GET", "/v1/replays", ""); len(all.Replays) != 2 {
		t.Errorf("%+v", all)
	}
	for body, want := range map[string]string{
		`{"rate":-1}`: "rate: must be", `{"state":"open"}`: "state: open deliveries", `{"reroute":true}`: "reroute: unrouted",
		`{"state":"unrouted"}`: "state: unrouted events",
	} {
		if status, text := a.call(shopKey, "POST", "/v1/replays", body); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

func TestAReplayGoesOnWithAnotherRelay(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t).URL()
	shop, other := newTenant(t, nil), newTenant(t, nil)
	yaml := withToken(url) + "admin: {token: " + adminToken + "}\n" + twoTenants(shop.URL, other.URL)
	first := startAPI(t, yaml)
	const n = 300
	var items []string
	for i := range n {
		items = append(items, item(fmt.Sprint(6000+i), "collected", "2026-11-23 09:00:00"))
	}
	first.push("application/json", callback(items...))
	until(t, "all is delivered", func() bool {
		st := ok[struct {
			Open int
			Last time.Time `json:"last_event_at"`
		}](first, adminToken, "GET", "/admin/v1/status", "")
		return st.Open == 0 && len(shop.all()) >= n
	})
	again := func() map[string]int {
		ids := map[string]int{}
		for _, r := range shop.all() {
			if r.header.Get("Kuairelay-Reason") == "replay" {
				ids[r.header.Get("Webhook-Id")]++
			}
		}
		return ids
	}
	type replay struct {
		ID, State       string
		Queued, Skipped int
	}
	r := ok[replay](first, shopKey, "POST", "/v1/replays", `{"rate":200}`)
	until(t, "it has begun", func() bool { return len(again()) > 20 })
	first.stop()
	second := startAPI(t, yaml)
	until(t, "it is done", func() bool {
		r = ok[replay](second, shopKey, "GET", "/v1/replays/"+r.ID, "")
		return r.State == "done"
	})
	until(t, "all is sent again", func() bool { return len(again()) == n })
	twice := 0
	for _, k := range again() {
		twice += k - 1
	}
	// What was in flight when the first one ended may come twice.
	if r.Queued != n || r.Skipped != 0 || twice > 8 {
		t.Errorf("%+v, and %d twice", r, twice)
	}
}

func TestReroutedEventsReachWhomTheyAreOwedToToday(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t).URL()
	shop := newTenant(t, nil)
	before := startAPI(t, withToken(url)+"admin: {token: "+adminToken+"}\n")
	before.taken(callback(item("5000", "collected", "2026-11-23 09:00:00"),
		item("5001", "signed", "2026-11-23 09:00:00")))
	if e := ok[listed](before, adminToken, "GET", "/admin/v1/events?state=unrouted", ""); len(e.Events) != 2 {
		t.Fatalf("%+v", e)
	}
	a := startAPI(t, withToken(url)+"admin: {token: "+adminToken+"}\n"+twoTenants(shop.URL, shop.URL))
	before.stop()
	ok[map[string]any](a, adminToken, "POST", "/admin/v1/replays", `{"reroute":true}`)
	for _, r := range shop.wait(3) {
		if r.header.Get("Kuairelay-Reason") != "replay" {
			t.Errorf("%v", r.header)
		}
	}
	if e := ok[listed](a, otherKey, "GET", "/v1/events", ""); len(e.Events) != 1 || e.Events[0].Waybill != "5001" {
		t.Errorf("%+v", e)
	}
}

func TestQuarantineIsShownToTheOperatorAndTakenInAgain(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	a := startAPI(t, "admin: {token: "+adminToken+"}\n"+twoTenants(shop.URL, shop.URL))
	a.push("application/json", `{"type":"express_sub_msg","data":[{"no_waybill":"at all"}]}`)
	a.push("text/plain", "not a callback")
	a.drained()
	type shown struct{ ID, Reason, Text string }
	list := ok[struct{ Quarantined []shown }](a, adminToken, "GET", "/admin/v1/quarantine", "")
	if len(list.Quarantined) != 2 || list.Quarantined[0].Text != "" {
		t.Fatalf("%+v", list)
	}
	for _, q := range list.Quarantined {
		one := ok[shown](a, adminToken, "GET", "/admin/v1/quarantine/"+q.ID, "")
		if one.Text != "not a callback" && one.Text != `{"no_waybill":"at all"}` {
			t.Errorf("%+v", one)
		}
	}
	r := ok[struct {
		Tried, Released int
		Failed          []string
	}](a, adminToken, "POST", "/admin/v1/quarantine/replay", `{"all":true}`)
	if r.Tried != 2 || r.Released != 0 || len(r.Failed) != 2 {
		t.Errorf("%+v", r)
	}
}
