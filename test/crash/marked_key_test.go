package crash

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// markedKey is searched for in everything that comes out of the relay.
const markedKey = "marked-key-5d41402abc4b2a76b9719d911017c592"

// output is all that came out, by where it did.
type output struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (o *output) add(where string, text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[where] = append(o.all[where], text...)
}

// TestTheSharedKeyComesOutOfTheRelayInNoWay runs everything with a marked key, at a provider that repeats it wherever
// it can, and searches all output: answers, logs, metrics, profiles, what tenants get, what is in Redis, and what the
// commands print.
func TestTheSharedKeyComesOutOfTheRelayInNoWay(t *testing.T) {
	t.Parallel()
	out := &output{all: map[string][]byte{}}
	var signs []string
	var mu sync.Mutex
	digest := md5.Sum([]byte(markedKey))
	telltale := "key " + markedKey + " md5 " + hex.EncodeToString(digest[:]) + " " +
		strings.ToUpper(hex.EncodeToString(digest[:])) + " sign "

	// A provider that repeats what it should not, in each of its answers.
	taken := fake.NewProvider(fake.Options{AppID: accountID, APIKey: markedKey})
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		form, _ := url.ParseQuery(string(body))
		mu.Lock()
		signs = append(signs, form.Get("sign"))
		mu.Unlock()
		told := telltale + form.Get("sign")
		code := 0
		var asked struct {
			Codes string `json:"waybill_codes"`
		}
		_ = json.Unmarshal([]byte(form.Get("data")), &asked)
		queried := form.Get("method") == kuaidihelp.MethodQuery && strings.Contains(","+asked.Codes+",", ",2,")
		switch data := form.Get("data"); {
		case queried: // by the relay itself, beside others
		case strings.Contains(data, "down"):
			http.Error(w, told, http.StatusBadGateway)
			return
		case strings.Contains(data, "junk"):
			_, _ = io.WriteString(w, told)
			return
		case strings.Contains(data, "cut"):
			panic(http.ErrAbortHandler)
		case strings.Contains(data, "away"):
			http.Redirect(w, req, "/?"+url.QueryEscape(told), http.StatusTemporaryRedirect)
			return
		case strings.Contains(data, "auth"):
			code = kuaidihelp.CodeAuthFailed
		case strings.Contains(data, "refused"):
			code = 4711
		}
		req.Body = io.NopCloser(strings.NewReader(string(body)))
		taken.ServeHTTP(httptest.NewRecorder(), req)
		var data any = map[string]string{"told": told}
		if queried {
			data = []any{map[string]any{"waybill_code": "2", "cp_code": "zt", "status": "delivering",
				"data": []any{map[string]string{"time": "2026-11-02 10:00:00", "context": told}}}}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "msg": told, "data": data, "uid": told})
	}))
	t.Cleanup(provider.Close)
	tenant := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		out.add("what tenants get", fmt.Appendf(body, "%v\n", req.Header))
	}))
	t.Cleanup(tenant.Close)

	redis := redisserver.Start(t, "--appendonly", "yes")
	r := newReplica(t, fmt.Sprintf(`
redis: {url: '%s'}
kuaidihelp: {api_url: '%s/api', app_id: '%s', api_key: '${MARKED_KEY}', rate: 1000, timeout: 1s,
  methods: [express.sub.msg, express.info.get], query: {daily_budget: 100, rate: 1000, min_interval: 1s}}
subscriptions: {rate: 0, reconcile: {after: 1s}}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.0/8]}
tenants:
  - name: shop
    api_keys: [key-of-the-shop]
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: e, match: {subscribed: true}}]
`, redis.URL(), provider.URL, accountID, token, tenant.URL, secret))
	env := append(os.Environ(), "MARKED_KEY="+markedKey)
	r.start(func(c *exec.Cmd) { c.Env, c.Args = env, append(c.Args, "--log-level", "debug") })

	ask := func(method, at, path, body string, header ...string) {
		t.Helper()
		req, err := http.NewRequest(method, at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		out.add("answers", fmt.Appendf(text, "%v\n", resp.Header))
	}
	for _, code := range []string{"1", "2", "refused", "auth", "down", "junk", "cut", "away"} {
		ask("POST", r.url, "/v1/subscriptions", `{"cp_code":"zt","waybill_codes":["`+code+`"]}`, "Authorization",
			"Bearer key-of-the-shop")
		ask("GET", r.url, "/v1/subscriptions/zt/"+code, "", "Authorization", "Bearer key-of-the-shop")
		ask("GET", r.url, "/v1/waybills/"+code+"?max_age=0s", "", "Authorization", "Bearer key-of-the-shop")
		ask("POST", r.url, "/v1/waybills/states?max_age=0s", `{"cp_code":"zt","waybill_codes":["`+code+`"]}`,
			"Authorization", "Bearer key-of-the-shop")
		for _, method := range []string{"express.sub.msg", "express.info.get"} {
			for _, key := range []string{"key-of-the-shop", markedKey} {
				ts := strconv.FormatInt(time.Now().Unix(), 10)
				form := url.Values{"app_id": {"shop"}, "method": {method}, "ts": {ts},
					"sign": {kuaidihelp.Sign("shop", method, ts, key)},
					"data": {`{"waybill_codes":"` + code + `x","cp_code":"zt"}`}}
				ask("POST", r.url, "/api", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
			}
		}
		ask("POST", r.url, "/callback/"+token, `{"type":"express_sub_msg","data":[{"waybill_code":"`+code+
			`","cp_code":"zt","status":"sending","data":[{"time":"1"}]}]}`)
	}
	ask("GET", r.url, "/v1/subscriptions", "", "Authorization", "Bearer key-of-the-shop")
	for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/readyz",
		"/nothing"} {
		ask("GET", r.admin, path, "")
	}
	for _, command := range [][]string{
		{"check", r.config}, {"check", r.config, "-o", "json"}, {"subscriptions", "export", "-c", r.config},
		{"subscribe", "zt", "1", "refused", "--to", r.url}, {"demo", "--once", "--log-level", "debug"}, {"schema"},
	} {
		c := exec.Command(binary, command...)
		c.Env = append(slices.Clone(env), "SHOP_API_KEY=key-of-the-shop", "KUAIDIHELP_API_KEY="+markedKey)
		text, _ := c.CombinedOutput()
		out.add("command "+command[0], text)
	}
	until(t, "the tenant gets what it subscribed", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return strings.Count(string(out.all["what tenants get"]), "Webhook-Id") >= 2
	})
	until(t, "it gets what a query has found", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return strings.Contains(string(out.all["what tenants get"]), "Kuairelay-Reason:[reconcile]")
	})
	r.signal(os.Interrupt)
	if err := r.cmd.Wait(); err != nil {
		t.Error(err)
	}
	r.cmd = nil
	log, err := os.ReadFile(r.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	out.add("log", log)
	redis.Stop()
	if err := filepath.WalkDir(redis.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, _ := os.ReadFile(path)
			out.add("redis files", text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	secrets := map[string]string{"the key": markedKey, "its end": markedKey[len(markedKey)-20:],
		"its MD5":               hex.EncodeToString(digest[:]),
		"its MD5 in upper case": strings.ToUpper(hex.EncodeToString(digest[:])),
		"its base64":            base64.StdEncoding.EncodeToString([]byte(markedKey))}
	mu.Lock()
	for i, s := range signs {
		secrets[fmt.Sprint("sign ", i)] = s
	}
	mu.Unlock()
	for where, text := range out.all {
		t.Logf("%-20s %d bytes", where, len(text))
		if len(text) == 0 {
			t.Errorf("nothing came out of %s", where)
		}
		for name, s := range secrets {
			if i := strings.Index(string(text), s); i >= 0 {
				t.Errorf("%s: %s is in …%s…", where, name, text[max(0, i-80):min(len(text), i+len(s)+20)])
			}
		}
	}
	for where, want := range map[string]string{"log": "refuses the account's credentials",
		"answers": `"uid":"key *** md5 ***`, "redis files": "s:zt 1", "command subscribe": "refused"} {
		if !strings.Contains(string(out.all[where]), want) {
			t.Errorf("%s has no %q: the test does not see what it is to search", where, want)
		}
	}
}
