package relay_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// problems are what GET /status tells of, for whoever has the key.
func (a *apiClient) problems(key string) map[string]api.StatusProblem {
	a.t.Helper()
	path := "/v1/status"
	if key == adminToken {
		path = "/admin" + path
	}
	out := map[string]api.StatusProblem{}
	for _, p := range ok[api.Status](a, key, "GET", path, "").ProblemList {
		out[p.Code] = p
	}
	return out
}

// appears waits for a problem, which has to say since when and why.
func (a *apiClient) appears(t *testing.T, key, code string, since time.Time) api.StatusProblem {
	t.Helper()
	var p api.StatusProblem
	until(t, code+" appears", func() bool {
		var there bool
		p, there = a.problems(key)[code]
		return there
	})
	soon := time.Now().Add(time.Second) // since is told by the clock of the store, which may differ a little
	if p.Why == "" || p.What == "" || p.Do == "" || p.Since.After(soon) ||
		p.Since.Before(since.Add(-time.Minute)) && !since.IsZero() {
		t.Errorf("%s: %+v", code, p)
	}
	return p
}

// goes waits for the end of a problem.
func (a *apiClient) goes(t *testing.T, key, code string) {
	t.Helper()
	until(t, code+" goes", func() bool { _, there := a.problems(key)[code]; return !there })
}

func TestProblemsOfEndpointsAppearAndGoWhenTheyAreMended(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var good atomic.Bool
	receiver := func(status int) string {
		x := newTenant(t, func(w http.ResponseWriter, _ int, _ received) {
			if !good.Load() {
				w.WriteHeader(status)
			}
		})
		return x.URL
	}
	endpoint := func(name string, status, failures int) string {
		return fmt.Sprintf("{name: %s, url: %q, secrets: [%s], retry: [%s], breaker: {failures: %d, cool_off: 100ms}}", name,
			receiver(status), secret, strings.Repeat("200ms, ", 400)+"1h", failures)
	}
	yaml := func(endpoints ...string) string {
		return withToken(redisserver.Start(t).URL()) + fmt.Sprintf(`
admin: {token: %s}
tenants:
  - name: shop
    api_keys: [%s]
    endpoints: [%s]
    routes:
      - {to: [failing, broken, gone, refusing]}
      - {to: failing, when: 'event.data.nothing.like_it == 1'}
`, adminToken, shopKey, strings.Join(endpoints, ", "))
	}
	a := startAPI(t, yaml(endpoint("failing", 503, 0), endpoint("broken", 503, 1), endpoint("gone", 410, 0),
		endpoint("refusing", 422, 0)))
	a.push("application/json", callback(item("1", "collected", "2026-11-23 09:00:00")))
	for code, subject := range map[string]string{
		api.EndpointFails: "shop/failing", api.BreakerOpen: "shop/broken", api.EndpointGone: "shop/gone",
		api.DeadLettersRising: "shop/refusing", api.WhenFails: "tenant shop",
	} {
		for _, key := range []string{adminToken, shopKey} {
			if p := a.appears(t, key, code, began); p.Subject != subject {
				t.Errorf("%s is told of %s: %+v", code, p.Subject, p)
			}
		}
	}

	good.Store(true)
	ok[map[string]any](a, shopKey, "POST", "/v1/endpoints/gone/resume", "")
	ok[map[string]any](a, shopKey, "POST", "/v1/endpoints/broken/resume", "")
	ok[map[string]any](a, shopKey, "POST", "/v1/dead-letters/redrive", `{"all":true}`)
	for _, code := range []string{api.EndpointFails, api.BreakerOpen, api.EndpointGone, api.DeadLettersRising} {
		a.goes(t, adminToken, code)
	}
}

func TestProblemsOfTheConfigAppearAndGoWhenTheyAreMended(t *testing.T) {
	t.Parallel()
	began := time.Now()
	shop := newTenant(t, nil)
	good := "admin: {token: " + adminToken + "}\n" + one(shop.URL, "")
	a := startAPI(t, good)
	a.appears(t, adminToken, api.Embedded, began)
	a.write(good + "nonsense: 1\n")
	if p := a.appears(t, adminToken, api.ConfigRefused, began); !strings.Contains(p.Why, `unknown key "nonsense"`) {
		t.Errorf("%+v", p)
	}
	a.write(good + "limits: {reads: 100000, connections: 500}\n")
	if p := a.appears(t, adminToken, api.RestartNeeded, began); !strings.Contains(p.What, "limits.connections") {
		t.Errorf("%+v", p)
	}
	a.goes(t, adminToken, api.ConfigRefused)
	a.write(good)
	a.goes(t, adminToken, api.RestartNeeded)
}

func TestProblemsOfRedisAndTheSpoolAppearAndGoWhenTheyAreMended(t *testing.T) {
	t.Parallel()
	began := time.Now()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	a := startAPI(t, withToken(redis.URL())+"admin: {token: "+adminToken+"}\n"+one(shop.URL, ""))
	if p := a.appears(t, adminToken, api.RedisAdvice, began); !strings.Contains(p.Why, "appendonly") {
		t.Errorf("%+v", p)
	}

	ask(t, redis, "CONFIG", "SET", "maxmemory", "1")
	a.push("application/json", callback(item("1", "signed", "2026-11-23 09:00:00")))
	if p := a.appears(t, adminToken, api.RedisFull, began); p.Severity != api.Critical {
		t.Errorf("%+v", p)
	}
	ask(t, redis, "CONFIG", "SET", "maxmemory", "0")
	a.goes(t, adminToken, api.RedisFull)

	must(t, os.RemoveAll(a.spool))
	must(t, os.WriteFile(a.spool, nil, 0o600)) // a file is no folder
	a.appears(t, adminToken, api.SpoolFailing, began)
	must(t, os.Remove(a.spool))
	a.goes(t, adminToken, api.SpoolFailing)

	redis.Kill()
	if p := a.appears(t, adminToken, api.RedisDown, began); !strings.Contains(p.Why, "is down") {
		t.Errorf("%+v", p)
	}
	a.appears(t, adminToken, api.Incomplete, time.Time{})
	must(t, redis.Restart())
	a.goes(t, adminToken, api.RedisDown)
	a.goes(t, adminToken, api.Incomplete)
}

func TestProblemsWithKuaidihelpAppearAndGoWhenTheyAreMended(t *testing.T) {
	t.Parallel()
	began := time.Now()
	shop := newTenant(t, nil)
	provider := newProvider(t, fake.Options{})
	good := account(provider.URL, "") + "callback: {tokens: [" + token + "], silence: 300ms}\n" +
		"admin: {token: " + adminToken + "}\n" +
		strings.Replace(one(shop.URL, ""), "name: shop", "name: shop\n    api_keys: ["+shopKey+"]", 1)
	a := startAPI(t, strings.Replace(good, sharedKey, "a-wrong-key-1234", 1))
	a.appears(t, adminToken, api.ProviderSilent, began)
	until(t, "callbacks end the silence", func() bool {
		a.push("application/json", callback(item("1", "collected", "2026-11-23 09:00:00")))
		_, silent := a.problems(adminToken)[api.ProviderSilent]
		return !silent
	})

	a.push("text/plain", "what nobody understands")
	a.appears(t, adminToken, api.QuarantineRising, began)

	if status, text, _ := a.api("POST", "/v1/subscriptions", shopKey,
		`{"cp_code":"zt","waybill_codes":["777005949070187"]}`); status != http.StatusBadGateway {
		t.Errorf("%d %s", status, text)
	}
	a.appears(t, adminToken, api.CredentialsRefused, began)
	a.mustReload(good)
	a.subscribe(shopKey, "zt", "777005949070188")
	a.goes(t, adminToken, api.CredentialsRefused)
	if _, told := a.problems(shopKey)[api.QuarantineRising]; told {
		t.Error("a tenant is told of the quarantine")
	}
}

// The operator is told of all secrets that end within a week, and a tenant of its own.
func TestASecretThatEndsSoonIsAProblemOfItsOwner(t *testing.T) {
	t.Parallel()
	soon, later := time.Now().Add(48*time.Hour), time.Now().Add(8*24*time.Hour)
	until := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	good := "redis: {url: '" + redisserver.Start(t).URL() + "'}\nadmin: {token: " + adminToken + "}\n" +
		strings.Replace(one("http://127.0.0.1:1/", ""), "name: shop", "name: shop\n    api_keys: ["+shopKey+
			", {key: another-key-of-shop, name: ci, until: "+until(soon)+"}, {key: a-third-key-of-shop, name: later, until: "+
			until(later)+"}]", 1)
	a := startAPI(t, good)
	p := a.appears(t, adminToken, api.SecretEnds, soon.Add(-7*24*time.Hour))
	if want := "an API key ci ends at "; p.Subject != "tenant shop" || !strings.HasPrefix(p.What, want) {
		t.Errorf("%+v", p)
	}
	a.appears(t, shopKey, api.SecretEnds, soon.Add(-7*24*time.Hour))
	if n := a.metric("kuairelay_secrets_ending"); n != "1" {
		t.Errorf("%s secrets end", n)
	}
	a.mustReload(strings.Replace(good, until(soon), until(later), 1))
	a.goes(t, adminToken, api.SecretEnds)
}

func TestWhatARemovedEndpointHoldsIsAProblemUntilItIsBack(t *testing.T) {
	t.Parallel()
	began := time.Now()
	yaml := withToken(redisserver.Start(t).URL()) + "admin: {token: " + adminToken + "}\n"
	with := yaml + one("http://127.0.0.1:1/", ", retry: [1h]")
	a := startAPI(t, with)
	a.push("application/json", callback(item("1", "signed", "2026-11-23 09:00:00")))
	a.mustReload(yaml)
	if p := a.appears(t, adminToken, api.EndpointUnknown, began); p.Subject != "shop/orders" {
		t.Errorf("%+v", p)
	}
	a.mustReload(with)
	a.goes(t, adminToken, api.EndpointUnknown)
}

func TestReplicasAreListedWithWhatTheyServe(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	yaml := withToken(redis.URL()) + "admin: {token: " + adminToken + "}\n" + one("http://127.0.0.1:1/", "")
	first, second := startAPI(t, yaml), startAPI(t, yaml)
	second.taken(callback(item("1", "signed", "2026-11-23 09:00:00")))
	var s api.System
	until(t, "the first knows of the second, and that a callback came to it, and Redis answers in time", func() bool {
		s = ok[api.System](first, adminToken, "GET", "/admin/v1/system", "")
		return len(s.Replicas) == 2 && s.Kuaidihelp.LastReplica == s.Replicas[1].ID && s.Redis.State == "up" &&
			!slices.ContainsFunc(s.Replicas, func(r api.Replica) bool { return r.Redis != "up" })
	})
	for _, r := range s.Replicas {
		if r.ID == "" || r.Version != "dev" || r.Status != api.Ready || r.Redis != "up" || r.Config.Fingerprint == "" ||
			r.Config.Since.IsZero() || r.StartedAt.IsZero() || time.Since(r.SeenAt) > time.Minute {
			t.Errorf("%+v", r)
		}
	}
	if a, b := s.Replicas[0], s.Replicas[1]; !a.Self || b.Self || a.ID == b.ID {
		t.Errorf("%+v", s.Replicas)
	}
	if r := s.Redis; r.State != "up" || r.Version == "" || r.Memory == 0 || r.Policy != "noeviction" || r.Persists == "" ||
		r.LatencyMS <= 0 {
		t.Errorf("%+v", r)
	}
	if s.Memory.Events != 1 || s.Memory.Bytes == 0 || s.Kuaidihelp.Credentials != "none" ||
		s.Kuaidihelp.SilenceS != 6*3600 {
		t.Errorf("%+v", s)
	}

	second.end()
	until(t, "one that has stopped is forgotten", func() bool {
		return len(ok[api.System](first, adminToken, "GET", "/admin/v1/system", "").Replicas) == 1
	})
	if status, _ := first.get(first.public + "/v1/system"); status != 404 {
		t.Errorf("tenants have a path for it: %d", status)
	}
}
