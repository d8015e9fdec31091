package relay_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"kuairelay/relay"
	"kuairelay/relay/config"
	"kuairelay/relay/spool"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
	"kuairelay/relay/store/subscriptions"
)

const (
	token  = "callback-token"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// running is a relay under test.
type running struct {
	t             testing.TB
	public, admin string // base URLs
	stop          context.CancelFunc
	done          chan error
	logs          *observer.ObservedLogs
	relay         *relay.Relay
	held          sync.Once
	document      *apiClient // which answers of the API are held to
	file, spool   string
}

// whole completes a config with what every test needs.
func whole(yaml, spool string) string {
	if !strings.HasPrefix(yaml, "server:") {
		yaml = "server: {listen: '127.0.0.1:0'}\n" + yaml
	}
	if !strings.Contains(yaml, "admin: {token") {
		yaml += "\nadmin: {listen: '127.0.0.1:0'}\n"
	} else {
		yaml = strings.Replace(yaml, "admin: {", "admin: {listen: '127.0.0.1:0', ", 1)
	}
	if !strings.Contains(yaml, "\ncallback:") {
		yaml += "\ncallback: {tokens: [" + token + "]}\n"
	}
	if !strings.Contains(yaml, "\negress:") { // the receivers of the tests are on this machine
		yaml += "\negress: {allow_cidrs: [127.0.0.0/8, '::1/128']}\n"
	}
	if !strings.Contains(yaml, "\nlimits:") { // tests ask often
		yaml += "\nlimits: {reads: 100000, tests: 1000, replays: 10}\n"
	}
	if !strings.Contains(yaml, "\nspool:") {
		yaml += "\nspool: {dir: " + spool + "}\n"
	}
	return yaml
}

// write puts another config in place of the one that the relay was started with; the relay has still to read it. It
// replaces the file, so that nobody reads a half of it.
func (r *running) write(yaml string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.file+".new", []byte(whole(yaml, r.spool)), 0o600))
	must(r.t, os.Rename(r.file+".new", r.file))
}

// grace is what the relays of the tests have to end.
const grace = 5 * time.Second

// noticesLook is how often they look whether there is something to tell people.
const noticesLook = 200 * time.Millisecond

// start runs a relay with the YAML given, on ports of its own choice, until the test ends.
func start(t testing.TB, yaml string) *running {
	t.Helper()
	return startAt(t, time.Now, yaml)
}

// startAt is start with another local clock.
func startAt(t testing.TB, clock func() time.Time, yaml string) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	spool := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(file, []byte(whole(yaml, spool)), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(onRead func(string)) (*config.Config, error) {
		return relay.Load(file, onRead)
	}
	c, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	ready := make(chan [2]net.Addr, 1)
	r, err := relay.New(relay.Options{Config: c, Load: load, Logger: zap.New(core), Grace: grace, Clock: clock,
		NoticesLook:   noticesLook,
		SessionRounds: 1, // a tenth of a second is two of them under the race detector
		OnListen:      func(public, admin net.Addr) { ready <- [2]net.Addr{public, admin} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	run := &running{t: t, stop: cancel, done: make(chan error, 1), logs: logs, relay: r, file: file, spool: spool}
	go func() { run.done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-run.done; err != nil {
			t.Errorf("the relay ended with: %v", err)
		}
		run.done <- nil
	})
	select {
	case addrs := <-ready:
		run.public, run.admin = "http://"+addrs[0].String(), "http://"+addrs[1].String()
	case err := <-run.done:
		run.done <- nil
		t.Fatal(err)
	}
	return run
}

// push posts a callback and returns status and body of the answer. If the disk of a busy machine did not take it in
// time, it is sent again, as kuaidihelp does it.
func (r *running) push(contentType, body string) (status int, answer string) {
	r.t.Helper()
	return r.pushTo("/callback/"+token, contentType, body)
}

func (r *running) pushTo(path, contentType, body string) (status int, answer string) {
	r.t.Helper()
	until(r.t, "the disk takes a callback", func() bool {
		status, answer = r.post(path, contentType, body)
		return status != http.StatusServiceUnavailable || !r.onlyDiskHung()
	})
	return status, answer
}

// onlyDiskHung says whether all callbacks that were refused so far were refused because the disk did not answer.
func (r *running) onlyDiskHung() bool {
	return !slices.ContainsFunc(r.logs.FilterMessage("callback").All(), func(line observer.LoggedEntry) bool {
		fields := line.ContextMap()
		why, _ := fields["error"].(string)
		return fields["answer"] == int64(http.StatusServiceUnavailable) && !strings.Contains(why, spool.ErrHangs.Error())
	})
}

// taken pushes a callback, and waits until the store has it: on a busy machine it goes there by way of the spool,
// after it was answered.
func (r *running) taken(body string) {
	r.t.Helper()
	r.mustPush(body)
	r.drained()
}

// drained waits until the store has all callbacks.
func (r *running) drained() {
	r.t.Helper()
	until(r.t, "no callback waits in the spool", func() bool { return r.metric("kuairelay_spool_waiting") == "0" })
}

func (r *running) post(path, contentType, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.public+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return r.do(req)
}

func (r *running) get(url string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(req)
}

func (r *running) do(req *http.Request) (int, string) {
	r.t.Helper()
	return r.doWith(http.DefaultClient, req)
}

func (r *running) doWith(client *http.Client, req *http.Request) (int, string) {
	r.t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// metric returns the value of a series as /metrics prints it, "" if it is not there.
func (r *running) metric(series string) string {
	r.t.Helper()
	_, body := r.get(r.admin + "/metrics")
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// count is metric for a series that is a count.
func (r *running) count(series string) (n int) {
	r.t.Helper()
	_, err := fmt.Sscan(r.metric(series), &n)
	must(r.t, err)
	return n
}

// received is one request that a tenant got.
type received struct {
	header http.Header
	body   string
}

// tenant is a real HTTP receiver that checks every request with the official library of Standard Webhooks.
type tenant struct {
	*httptest.Server
	t *testing.T
	// answer decides the answer; nil: 200 to everything.
	answer func(w http.ResponseWriter, n int, r received)

	mu  sync.Mutex
	got []received
	// connections: how many there were, are, and were at the same time.
	connected, open, most int
}

func newTenant(t *testing.T, answer func(w http.ResponseWriter, n int, r received)) *tenant {
	t.Helper()
	wh, err := webhook.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	x := &tenant{t: t, answer: answer}
	x.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the relay gave the attempt up
		}
		if err := wh.Verify(body, req.Header); err != nil {
			t.Errorf("the official library refuses a delivery: %v", err)
		}
		r := received{header: req.Header.Clone(), body: string(body)}
		x.mu.Lock()
		x.got = append(x.got, r)
		n := len(x.got)
		x.mu.Unlock()
		if x.answer != nil {
			x.answer(w, n, r)
		}
	}))
	x.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		x.mu.Lock()
		defer x.mu.Unlock()
		switch s {
		case http.StateNew:
			x.connected++
			x.open++
			x.most = max(x.most, x.open)
		case http.StateClosed:
			x.open--
		}
	}
	x.Start()
	t.Cleanup(x.Close)
	return x
}

func (x *tenant) all() []received {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]received(nil), x.got...)
}

// wait polls until the tenant has had n requests.
func (x *tenant) wait(n int) []received {
	x.t.Helper()
	until(x.t, fmt.Sprintf("the tenant gets %d requests", n), func() bool { return len(x.all()) >= n })
	return x.all()
}

// patience is how long until waits: many times what anything takes on a quiet machine.
const patience = 3 * time.Minute

// until waits for something, or fails the test.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for pause := 2 * time.Millisecond; !ok(); pause = min(2*pause, 25*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(pause)
	}
}

// one is the config of one tenant with one endpoint that gets everything; more are further keys of the endpoint.
func one(url, more string) string {
	return fmt.Sprintf(`
tenants:
  - name: shop
    endpoints:
      - {name: orders, url: "%s", secrets: [%s]%s}
    routes:
      - {to: orders}
`, url, secret, more)
}

// stores are what is kept in a Redis.
type stores struct {
	*db.DB
	*store.Store
	*subscriptions.Ledger
}

func openStores(t testing.TB, o db.Options) *stores {
	t.Helper()
	o.Timeout = cmp.Or(o.Timeout, time.Minute) // of the test, which has time
	d, err := db.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return &stores{DB: d, Store: store.New(d, store.Options{}), Ledger: subscriptions.New(d, subscriptions.Settings{})}
}

// item is one waybill update as kuaidihelp pushes it.
func item(waybill, status, at string) string {
	return fmt.Sprintf(`{"waybill_code":"%s","cp_code":"zt","status":"%s","data":[{"time":"%s",`+
		`"context":"…","status":"%s"}]}`, waybill, status, at, status)
}

func callback(items ...string) string {
	return `{"type":"express_sub_msg","data":[` + strings.Join(items, ",") + `]}`
}

// answers is the status that a tenant answers with, which a test can change.
type answers struct{ now atomic.Int64 }

func newSwitch() *answers {
	a := &answers{}
	a.set(http.StatusOK)
	return a
}

func (a *answers) set(status int) { a.now.Store(int64(status)) }
func (a *answers) status() int    { return int(a.now.Load()) }
