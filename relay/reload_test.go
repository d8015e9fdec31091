package relay_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"

	"kuairelay/relay"
	"kuairelay/relay/spool"
	"kuairelay/test/redisserver"
)

// reload asks the relay to read its config again.
func (r *running) reload() (status int, answer struct {
	relay.ReloadResult
	Detail string
	Errors []string
}) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.admin+"/-/reload", nil)
	must(r.t, err)
	status, body := r.do(req)
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		r.t.Fatalf("%d %s", status, body)
	}
	return status, answer
}

func (r *running) mustReload(yaml string) relay.ReloadResult {
	r.t.Helper()
	r.write(yaml)
	status, answer := r.reload()
	if status != http.StatusOK {
		r.t.Fatalf("%d %+v", status, answer)
	}
	return answer.ReloadResult
}

const otherSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

func TestAPendingRetryUsesTheURLAndSecretOfAReload(t *testing.T) {
	t.Parallel()
	down := newTenant(t, func(w http.ResponseWriter, _ int, _ received) { w.WriteHeader(http.StatusServiceUnavailable) })
	shop := newTenant(t, nil)
	// Until the reload it is signed with another secret than that which shop checks.
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(refuses.Close)
	retry := ", retry: [1s" + strings.Repeat(", 1s", 50) + "]" // reloads may take some seconds on a busy machine
	r := start(t, one(down.URL, retry))
	r.mustPush(callback(item("w1", "signed", "1")))
	down.wait(1)
	got := r.mustReload(strings.Replace(one(refuses.URL, retry), secret, otherSecret, 1))
	if !got.Changed || len(got.Restart) > 0 || got.Fingerprint == "" {
		t.Errorf("%+v", got)
	}
	r.mustReload(one(shop.URL, retry))
	if e := shop.wait(1)[0]; e.header.Get("kuairelay-reason") != "retry" {
		t.Errorf("reason %q", e.header.Get("kuairelay-reason"))
	}
	until(t, "it is settled", func() bool { return r.delivered("shop/orders") == 1 })
	if again := r.mustReload(one(shop.URL, retry)); again.Changed {
		t.Error("the same files are said to have changed")
	}
}

func TestAReloadChangesWhatCallbacksAreTakenAndWhoMayAsk(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	before := "admin: {token: 'before-token-123456'}\n" + strings.Replace(one(shop.URL, ""), "name: shop",
		"name: shop\n    api_keys: [shop-key-before-1]", 1)
	after := strings.NewReplacer("before-token-123456", "after-token-1234567", "shop-key-before-1",
		"shop-key-after-12").Replace(before) +
		"\ncallback: {tokens: [another-token], ack: '{\"ok\":1}', max_body: 1KiB}\n"
	r := start(t, before)
	r.mustReload(after)
	if status, _ := r.push("application/json", callback(item("w1", "signed", "1"))); status != http.StatusNotFound {
		t.Errorf("the old token: %d", status)
	}
	if status, body := r.post("/callback/another-token", "application/json",
		callback(item("w1", "signed", "1"))); status != http.StatusOK || body != `{"ok":1}` {
		t.Errorf("the new token: %d %s", status, body)
	}
	if status, _ := r.post("/callback/another-token", "application/json",
		strings.Repeat(" ", 1025)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("larger than max_body: %d", status)
	}
	shop.wait(1)
	for _, c := range []struct {
		url, key string
		want     int
	}{
		{r.public + "/v1/events", "shop-key-before-1", 401}, {r.public + "/v1/events", "shop-key-after-12", 200},
		{r.public + "/v1/subscriptions", "shop-key-before-1", 401},
		{r.public + "/v1/subscriptions", "shop-key-after-12", 200},
		{r.admin + "/admin/v1/events", "before-token-123456", 401},
		{r.admin + "/admin/v1/events", "after-token-1234567", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url, nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+c.key)
		if status, body := r.do(req); status != c.want {
			t.Errorf("%s with %s: %d %s", c.url, c.key, status, body)
		}
	}
}

func TestAConfigWithMistakesIsNotTakenAndAllOfThemAreSaid(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	good := one(shop.URL, "")
	r := start(t, good)
	fingerprint := r.mustReload(good).Fingerprint
	dir := filepath.Join(filepath.Dir(r.file), "tenants.d")
	must(t, os.Mkdir(dir, 0o700))
	bad := good + "tenants_dir: tenants.d\n"
	var want []string
	for i := range 5 { // at lines 1 to 5 of the file, and five in each of three others
		bad = fmt.Sprintf("unknown_%d: 1\n", i) + bad
	}
	for i := range 5 {
		want = append(want, fmt.Sprintf("%s:%d: unknown key", r.file, i+2)) // below the line of server
	}
	for _, name := range []string{"a.yaml", "b.yaml", "c.yaml"} {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte("name: "+name[:1]+"\nx1: 1\nx2: 1\nx3: 1\nx4: 1\nx5: 1\n"), 0o600))
		for i := range 5 {
			want = append(want, fmt.Sprintf("%s:%d: unknown key", file, i+2))
		}
	}
	r.write(bad)
	status, answer := r.reload()
	if status != http.StatusUnprocessableEntity || len(answer.Errors) != 20 {
		t.Fatalf("%d, %d errors: %+v", status, len(answer.Errors), answer)
	}
	for i, line := range answer.Errors {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("error %d is %q, want %s", i+1, line, want[i])
		}
	}
	logged := r.logs.FilterField(zap.String("mistake", answer.Errors[19])).Len()
	if logged == 0 {
		t.Error("the last mistake is not in the log")
	}
	// The old one goes on serving, and whoever looks is told.
	r.mustPush(callback(item("w1", "signed", "1")))
	shop.wait(1)
	if _, ready := r.readyz(); ready["status"] != "degraded" || ready["config"].(map[string]any)["reload"] != "failed" ||
		ready["config"].(map[string]any)["fingerprint"] != fingerprint {
		t.Errorf("readyz: %v", ready)
	}
	if r.metric("kuairelay_config_last_reload_successful") != "0" ||
		r.metric(`kuairelay_config_info{fingerprint="`+fingerprint+`"}`) != "1" {
		t.Error("the metrics do not say so")
	}
	must(t, os.RemoveAll(dir))
	// An endpoint that could never be reached is found only when the pool is to take it.
	r.write(one("http://169.254.169.254/", ""))
	if status, answer := r.reload(); status != http.StatusUnprocessableEntity ||
		!strings.Contains(strings.Join(answer.Errors, ""), "169.254.169.254 is never allowed") {
		t.Errorf("%d %+v", status, answer)
	}
	r.mustReload(good)
	until(t, "it is ready", func() bool { _, ready := r.readyz(); return ready["status"] == "ready" })
	if got := r.metric("kuairelay_config_last_reload_successful"); got != "1" {
		t.Errorf("the metric of the last reload is %s", got)
	}
}

func TestAFileThatChangesIsRead(t *testing.T) {
	t.Parallel()
	before, after := newTenant(t, nil), newTenant(t, nil)
	r := start(t, one(before.URL, ""))
	r.mustPush(callback(item("w1", "signed", "1")))
	before.wait(1)
	r.write(one(after.URL, ""))
	until(t, "it is reloaded", func() bool { return r.logs.FilterMessage("config reloaded").Len() == 1 })
	r.mustPush(callback(item("w2", "signed", "1")))
	after.wait(1)
	// A mistake is found without being asked for, once; and so is the end of it.
	r.write("nonsense: 1\n" + one(after.URL, ""))
	until(t, "the mistake is logged", func() bool { return r.logs.FilterMessageSnippet("config not reloaded").Len() == 1 })
	r.write(one(after.URL, ""))
	until(t, "it is right again", func() bool { _, ready := r.readyz(); return ready["status"] == "ready" })
	if n := r.logs.FilterMessageSnippet("config not reloaded").Len(); n != 1 {
		t.Errorf("the mistake is logged %d times", n)
	}
	// So is a file that goes away for a while.
	must(t, os.Rename(r.file, r.file+".away"))
	until(t, "it is missed", func() bool { return r.logs.FilterMessageSnippet("config not reloaded").Len() == 2 })
	must(t, os.Rename(r.file+".away", r.file))
	until(t, "it is there again", func() bool { _, ready := r.readyz(); return ready["status"] == "ready" })
}

func TestKeysThatNeedARestartAreNamedAndTheRestIsTaken(t *testing.T) {
	t.Parallel()
	before, after := newTenant(t, nil), newTenant(t, nil)
	r := start(t, one(before.URL, ""))
	got := r.mustReload("redis: {wait_replicas: 2}\nkuaidihelp: {concurrency: 5}\n" + one(after.URL, ""))
	if !slices.Equal(got.Restart, []string{"redis.wait_replicas", "kuaidihelp.concurrency"}) {
		t.Errorf("restart %q", got.Restart)
	}
	r.mustPush(callback(item("w1", "signed", "1")))
	after.wait(1)
	if got = r.mustReload(one(after.URL, "")); len(got.Restart) > 0 {
		t.Errorf("restart %q, though they are as they were at the start", got.Restart)
	}
}

func TestAnEndpointThatIsTakenOutLosesNothingAndOneThatStaysKeepsItsConnections(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	gone := newTenant(t, func(_ http.ResponseWriter, n int, _ received) {
		if n <= 2 {
			<-held
		}
	})
	stays := newTenant(t, nil)
	const tenants = `
tenants:
  - name: shop
    endpoints:
      - {name: stays, url: "%s", secrets: [%s]}
      %s
    routes:
      - {to: [%s]}
`
	with := fmt.Sprintf(tenants, stays.URL, secret, `- {name: gone, max_in_flight: 2, url: "`+gone.URL+`", secrets: [`+
		secret+`]}`, "stays, gone")
	without := fmt.Sprintf(tenants, stays.URL, secret, "", "stays")
	redis := "redis: {url: '" + redisserver.Start(t).URL() + "'}\n"
	r := start(t, redis+with)
	began := time.Now()
	for i := range 10 {
		r.mustPush(callback(item(fmt.Sprint("w", i), "signed", "1"), item(fmt.Sprint("w", i), "signed", "2")))
	}
	gone.wait(2)
	stays.wait(20)
	conns := stays.connections()
	r.mustReload(redis + without)
	if status, body := r.get(r.admin + "/metrics"); status != 200 ||
		strings.Contains(body, `kuairelay_deliveries_total{endpoint="shop/gone"`) {
		t.Error("its series are still there")
	}
	close(held) // what was under way ends as it began
	until(t, "what was under way is settled", func() bool {
		return r.logs.FilterField(zap.String("outcome", "delivered")).FilterField(
			zap.String("endpoint", "shop/gone")).Len() == 2
	})
	// A connection rests for as long as an answer took, and no answer took longer than all of this.
	took, rests := time.Since(began), time.Now()
	until(t, "the connections have rested", func() bool { return time.Since(rests) > took })
	r.mustPush(callback(item("after", "signed", "1")))
	stays.wait(21)
	if n := len(gone.all()); n != 2 {
		t.Errorf("%d requests to an endpoint that is in the config no more", n-2)
	}
	if now := stays.connections(); now != conns {
		t.Errorf("%d connections were opened anew to an endpoint that has not changed", now-conns)
	}
	r.mustReload(redis + with)
	got := gone.wait(20)
	seen := map[string]bool{}
	for _, e := range got {
		seen[e.header.Get("webhook-id")] = true
	}
	if len(seen) != 20 || len(got) != 20 {
		t.Errorf("%d requests of %d events, want 20 of 20", len(got), len(seen))
	}
}

// connections is how many were opened so far.
func (x *tenant) connections() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.connected
}

var reloads = flag.Int("reloads", 200, "how many reloads there are under load")

// Two configs take turns under load: the endpoint u/all moves between two receivers that check different secrets, and
// each event is owed either to t/even or to t/odd, whichever config is in force.
func TestReloadsUnderLoadLoseAndMisrouteNothing(t *testing.T) {
	var mu sync.Mutex
	got := map[string]map[string]int{} // receiver, waybill: requests
	var servers []*httptest.Server
	receiver := func(name, secret string) string {
		wh, err := webhook.NewWebhook(secret)
		must(t, err)
		got[name] = map[string]int{}
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			if err := wh.Verify(body, req.Header); err != nil {
				t.Errorf("%s got what is signed with another secret: %v", name, err)
			}
			var e struct {
				Data struct {
					WaybillCode string `json:"waybill_code"`
				}
			}
			if err := json.Unmarshal(body, &e); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[name][e.Data.WaybillCode]++
		}))
		t.Cleanup(s.Close)
		servers = append(servers, s)
		return s.URL
	}
	even, odd := receiver("even", secret), receiver("odd", secret)
	moving := [2]string{receiver("moving0", secret), receiver("moving1", otherSecret)}
	redis := redisserver.Start(t).URL()
	config := func(n int) string {
		return fmt.Sprintf(`
redis: {url: "%s"}
tenants:
  - name: t
    endpoints:
      - {name: even, url: "%s", secrets: [%s]}
      - {name: odd, url: "%s", secrets: [%s]}
    routes:
      - {to: [%s]}
  - name: u
    endpoints:
      - {name: all, url: "%s", secrets: [%s]}
    routes:
      - {to: [all]}
`, redis, even, secret, odd, secret, []string{"even", "odd"}[n%2], moving[n%2], []string{secret, otherSecret}[n%2])
	}
	r := start(t, config(0))

	// Each callback notes which configs were in force while it was on its way.
	var now struct {
		sync.RWMutex
		from, to int // the config that is surely in force, and the last one that may be
	}
	type sent struct {
		waybill  string
		from, to int
	}
	var all []sent
	push := func(n int) {
		waybill := fmt.Sprint("w", n)
		now.RLock()
		from := now.from
		now.RUnlock()
		r.mustPush(callback(item(waybill, "signed", "1")))
		now.RLock()
		to := now.to
		now.RUnlock()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, sent{waybill, from, to})
	}
	const perSecond, callers = 500, 16
	stop, jobs := make(chan struct{}), make(chan int)
	var load sync.WaitGroup
	n := 0
	for range callers {
		load.Go(func() {
			for n := range jobs {
				push(n)
			}
		})
	}
	burst := func(most int) { // at perSecond, until most or stop
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for ; most != 0; most-- {
			select {
			case <-stop:
				return
			case <-tick.C:
				jobs <- n
				n++
			}
		}
	}
	burst(500)                   // so that what is there before has all that it needs
	spooled := map[string]bool{} // accepted only after they were answered, by whatever config was in force then
	takeLogs := func() {
		for _, line := range r.logs.TakeAll() {
			fields := line.ContextMap()
			if fields["spooled"] == true {
				spooled[fields["waybill"].(string)] = true
			}
			if why, _ := fields["error"].(string); line.Message == "callback" && fields["answer"] != int64(http.StatusOK) &&
				!strings.Contains(why, spool.ErrHangs.Error()) {
				t.Errorf("a callback is refused: %v", fields)
			}
		}
	}
	settled := func() (goroutines int, heap uint64) {
		takeLogs()
		http.DefaultClient.CloseIdleConnections() // how many there are depends on how many requests met
		for _, s := range servers {
			s.CloseClientConnections()
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	until(t, "all are delivered", func() bool { return r.delivered("u/all") == n })
	goroutines, heap := settled()

	var loading sync.WaitGroup
	loading.Go(func() { burst(-1) })
	began := time.Now()
	for i := 1; i <= *reloads; i++ {
		now.Lock()
		now.to = i
		now.Unlock()
		if !r.mustReload(config(i)).Changed && i > 1 {
			// The relay found the change by itself, before it was asked.
			t.Logf("reload %d was faster", i)
		}
		now.Lock()
		now.from = i
		now.Unlock()
		until(t, "a callback comes and goes under this config", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(all) > 0 && slices.ContainsFunc(all[max(0, len(all)-100):], func(s sent) bool { return s.from == i })
		})
		if ahead := time.Until(began.Add(time.Duration(i) * 25 * time.Millisecond)); ahead > 0 {
			<-time.After(ahead) // 40 a second
		}
		if i%20 == 0 {
			takeLogs()
		}
	}
	took := time.Since(began)
	close(stop)
	loading.Wait()
	close(jobs)
	load.Wait()
	count := func(names ...string) (sum int) {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range names {
			for _, times := range got[name] {
				sum += times
			}
		}
		return sum
	}
	until(t, "all are delivered", func() bool { return count("moving0", "moving1") >= n && count("even", "odd") >= n })
	takeLogs()
	sure, lost, misrouted, twice := 0, 0, 0, 0
	for _, s := range all {
		pairs := [][2]int{{got["even"][s.waybill], got["odd"][s.waybill]},
			{got["moving0"][s.waybill], got["moving1"][s.waybill]}}
		for _, p := range pairs {
			switch {
			case p[0]+p[1] == 0:
				lost++
			case p[0]+p[1] > 1:
				twice++
			}
		}
		if s.from == s.to && !spooled[s.waybill] {
			sure++
			if pairs[0][s.from%2] == 0 {
				misrouted++
			}
		}
	}
	t.Logf("%d reloads in %s beside %d callbacks, %d of them surely under one config (%d spooled): %d "+
		"lost, %d misrouted, %d twice", *reloads, took.Round(time.Millisecond), n, sure,
		len(spooled), lost, misrouted, twice)
	if lost+misrouted+twice > 0 || sure < *reloads {
		t.Error("none of them may be, and there is at least one that is sure for each config")
	}
	g, h := settled()
	for deadline := time.Now().Add(time.Minute); g > goroutines+5 || h > heap+4<<20; g, h = settled() {
		if time.Now().After(deadline) {
			t.Errorf("after a minute there are %d goroutines, and there were %d; the heap has %d KiB, and had %d", g, goroutines,
				h>>10, heap>>10)
			break
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Logf("goroutines %d, then %d; heap %d KiB, then %d KiB", goroutines, g, heap>>10, h>>10)
}
