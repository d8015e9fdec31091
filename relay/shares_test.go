package relay_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/access"
	"kuairelay/relay/api"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

const rivalKey = "rival-key-22222222"

// sharing is a relay with two tenants: shop, with few requests a second, and rival, which gets everything.
func sharing(t *testing.T, limits, shopURL string) (r *running, rival *tenant, redis *redisserver.Server) {
	t.Helper()
	rival, redis = newTenant(t, nil), redisserver.Start(t)
	r = start(t, account(newProvider(t, fake.Options{}).URL, "")+fmt.Sprintf(`
redis: {url: '%s'}
limits: %s
tenants:
  - name: shop
    api_keys: [%s]
    subscriptions: {rate: 5}
    endpoints: [{name: e, url: '%s', secrets: [%s], timeout: 60s}]
    routes: [{to: [e], match: {waybill_code: "shop*"}}]
  - name: rival
    api_keys: [%s]
    endpoints: [{name: e, url: '%s', secrets: [%s]}]
    routes: [{to: [e], match: {waybill_code: "rival*"}}]
`, redis.URL(), limits, shopKey, shopURL, secret, rivalKey, rival.URL, secret))
	return r, rival, redis
}

// Whatever path a tenant floods, it is told to come again later, and nothing of the others' goes to the spool.
func TestATenantThatFloodsAnyPathIsToldSoAndNobodyElseFeelsIt(t *testing.T) {
	t.Parallel()
	r, rival, redis := sharing(t, "{reads: 5, tests: 1, replays: 1}", newTenant(t, nil).URL)
	r.taken(callback(item("shop1", "signed", "1")))
	before := r.metric(`kuairelay_spool_callbacks_total{result="written"}`)
	stalls := watchForStalls(t, redis)
	delivered := 0
	for _, path := range access.TenantPaths() {
		method, path, _ := strings.Cut(path, " ")
		path = strings.NewReplacer(":cp_code", "zt", ":waybill", "shop1", ":endpoint", "e", ":id", "evt_0").Replace(path)
		t.Run(method+path, func(t *testing.T) {
			body := map[string]string{"/v1/subscriptions": `{"cp_code":"zt","waybill_codes":["1"]}`,
				"/v1/replays":              `{"dry_run":true}`,
				"/v1/dead-letters/redrive": `{"all":true}`, "/v1/dead-letters/dismiss": `{"all":true}`,
				"/v1/endpoints/e/retry": `{"all":true}`, "/v1/events/evt_0/resend": `{"endpoint":"e"}`}[path]
			var refused atomic.Int64
			var flood sync.WaitGroup
			began := time.Now()
			for range 64 {
				flood.Go(func() {
					status, told := flooding(t, r.public, method, path, body)
					switch {
					case status == http.StatusTooManyRequests && told:
						refused.Add(1)
					case status >= 500 && !stalls.Load():
						t.Errorf("answer %d", status)
					}
				})
			}
			r.push("application/json", callback(item(fmt.Sprint("rival", delivered), "signed", "1")))
			delivered++
			flood.Wait()
			took := time.Since(began)
			rival.wait(delivered)
			// A tenant has five a second: the longer the flood takes, the more are answered.
			least := max(1, 44-int64(10*took.Seconds()))
			if n := refused.Load(); n < least {
				t.Errorf("%d of 64 requests were refused, want %d", n, least)
			}
		})
	}
	if n := r.metric(`kuairelay_spool_callbacks_total{result="written"}`); n != before && !stalls.Load() {
		t.Errorf("%s callbacks went to the spool, and %s before", n, before)
	}
}

// watchForStalls says whether the machine, or Redis, stood still at some time, as a busy one may: then Redis' answers
// are late whoever asks.
func watchForStalls(t *testing.T, redis *redisserver.Server) *atomic.Bool {
	t.Helper()
	stalled := new(atomic.Bool)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); t.Context().Err() == nil; {
			<-tick.C
			if _, err := redis.Do("PING"); err != nil {
				return // the test is over
			}
			if now := time.Now(); now.Sub(last) > 100*time.Millisecond {
				stalled.Store(true)
			}
			last = time.Now()
		}
	}()
	return stalled
}

// flooding makes one request of shop's, and says whether the answer is a problem that names when to come again. /api
// has its own form.
func flooding(t *testing.T, public, method, path, body string) (status int, told bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, public+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, false
	}
	req.Header.Set("Authorization", "Bearer "+shopKey)
	if path == "/api" {
		f := form("shop", "express.sub.msg", now10(), shopKey, `{"cp_code":"zt","waybill_codes":"1"}`).Encode()
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(f)), int64(len(f))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if path == "/api" && strings.Contains(string(text), `"code":1008`) {
		return http.StatusTooManyRequests, resp.Header.Get("Retry-After") != ""
	}
	return resp.StatusCode, resp.Header.Get("Retry-After") != "" &&
		resp.Header.Get("Content-Type") == "application/problem+json"
}

func TestATestEventEndsWithTheRequestForItAndFewAreSentAtOneTime(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		n := now.Add(1)
		for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
		}
		<-req.Context().Done()
		now.Add(-1)
	}))
	t.Cleanup(hangs.Close)
	r, _, _ := sharing(t, "{reads: 1000, tests: 1000}", hangs.URL)
	var asking sync.WaitGroup
	leave, left := context.WithCancel(t.Context())
	var refused atomic.Int64
	for range 10 {
		asking.Go(func() {
			req, err := http.NewRequestWithContext(leave, http.MethodPost, r.public+"/v1/endpoints/e/test", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+shopKey)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusTooManyRequests {
				t.Errorf("answer %d of an endpoint that hangs", resp.StatusCode)
			}
			refused.Add(1)
		})
	}
	until(t, "all but two are refused", func() bool { return refused.Load() == 8 && now.Load() == 2 })
	left()
	until(t, "the test events have ended with their requests", func() bool { return now.Load() == 0 })
	asking.Wait()
	if n := most.Load(); n > 2 {
		t.Errorf("%d test events were sent at one time", n)
	}
}

func TestARelayWithAPathThatNothingBoundsDoesNotStart(t *testing.T) {
	t.Parallel()
	r, _, _ := sharing(t, "{reads: 1}", "http://127.0.0.1:1")
	err := r.relay.Unbounded(http.MethodGet, "/v1/everything")
	if err == nil || !strings.Contains(err.Error(), "GET /v1/everything") {
		t.Errorf("of a path without a bound: %v", err)
	}
}

// Each check of what Redis takes is a write, and strangers may ask for it.
func TestStrangersWhoAskWhetherTheRelayIsReadyShareAnAnswer(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	r := start(t, "redis: {url: '"+redis.URL()+"'}\n"+one(newTenant(t, nil).URL, ""))
	r.get(r.public + "/readyz")
	before := scripts(t, redis)
	for range 200 {
		if status, answer := r.get(r.public + "/readyz"); status != 200 {
			t.Fatalf("answer %d %s", status, answer)
		}
	}
	if n := scripts(t, redis) - before; n > 100 {
		t.Errorf("200 questions made Redis run %d scripts", n)
	}
}

func TestATenantIsAnsweredAtOnceWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	a := startAPI(t, withToken(redis.URL())+"admin: {token: "+adminToken+"}\n"+
		strings.Replace(one(shop.URL, ""), "name: shop", "name: shop\n    api_keys: ["+shopKey+"]", 1))
	a.push("application/json", callback(item("1", "signed", "2026-11-23 09:00:00"))) // the store has its time from Redis
	redis.Kill()
	until(t, "the relay knows", func() bool { _, down := a.problems(adminToken)[api.RedisDown]; return down })

	// Waiting for Redis took two seconds each time.
	const requests = 20
	began := time.Now()
	for range requests {
		if status := ok[api.Status](a, shopKey, "GET", "/v1/status", ""); !status.Partial {
			t.Fatalf("%+v", status)
		}
	}
	if took := time.Since(began); took > requests*time.Second {
		t.Errorf("%d requests took %s", requests, took)
	}
}
