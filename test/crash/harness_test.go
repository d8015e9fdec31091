// Package crash kills, stops and continues the built binary under load, on a real Redis, and checks that nothing that was
// answered "success" is lost, and that every endpoint sees the updates of a waybill in order.
package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	token  = "callback-token"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	// inFlight is max_in_flight of every endpoint here.
	inFlight = 8
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kuairelay-crash")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "kuairelay")
	if out, err := exec.Command("go", "build", "-o", binary, "kuairelay").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// relay is one replica as a process.
type relay struct {
	t      *testing.T
	config string
	url    string // of the public listener
	admin  string // of the private listener
	cmd    *exec.Cmd
	log    *os.File
}

// newRelay writes the config of a replica that delivers to the receivers given; it is not started.
func newRelay(t *testing.T, redis string, timeout time.Duration, receivers ...*receiver) *relay {
	t.Helper()
	var eps, names []string
	for i, r := range receivers {
		names = append(names, fmt.Sprintf("e%d", i))
		eps = append(eps, fmt.Sprintf("      - {name: e%d, url: '%s', secrets: [%s]}\n", i, r.URL, secret))
	}
	return newReplica(t, fmt.Sprintf(`
redis: {url: '%s'}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.0/8]}
delivery: {timeout: %s, max_in_flight: %d, retry: [50ms, 100ms, 200ms, 500ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
tenants:
  - name: t
    endpoints:
%s    routes:
      - {to: [%s]}
`, redis, token, timeout, inFlight, strings.Join(eps, ""), strings.Join(names, ", ")))
}

// newReplica writes the config of a replica, with listeners of its own; it is not started.
func newReplica(t *testing.T, yaml string) *relay {
	t.Helper()
	public, admin := freePort(t), freePort(t)
	yaml = fmt.Sprintf("server: {listen: '127.0.0.1:%d'}\nadmin: {listen: '127.0.0.1:%d'}\n", public, admin) + yaml
	dir := t.TempDir()
	r := &relay{t: t, config: filepath.Join(dir, "config.yaml"), url: fmt.Sprintf("http://127.0.0.1:%d", public), admin: fmt.Sprintf("http://127.0.0.1:%d", admin)}
	if err := os.WriteFile(r.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	r.log = log
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the end of the log of %s:\n%s", r.url, text[max(0, len(text)-3000):])
		}
		_ = log.Close()
	})
	return r
}

// start starts the process, as changed, and waits until it takes callbacks.
func (r *relay) start(change ...func(*exec.Cmd)) {
	r.t.Helper()
	r.cmd = exec.Command(binary, "serve", "-c", r.config, "--log-level", "warn")
	r.cmd.Dir = filepath.Dir(r.config) // the spool is there
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, f := range change {
		f(r.cmd)
	}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	until(r.t, "the relay is ready", func() bool {
		status, _, err := get(r.t.Context(), r.url+"/readyz")
		return err == nil && status == 200
	})
}

func (r *relay) kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

func (r *relay) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func get(ctx context.Context, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	return do(req)
}

func do(req *http.Request) (int, string, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// post gives up after two seconds, as the provider does: the callback may be accepted all the same.
func post(url, body string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	return do(req)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 90 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// receiver is a tenant's endpoint: it checks every signature with the official library, and remembers what came in which order.
type receiver struct {
	*httptest.Server
	t *testing.T
	// hold, if set, is called with each update before it is answered.
	hold func(update)

	mu    sync.Mutex
	first []update // the first sight of each
	times map[update]int
	total int
}

// update is one update of one waybill: the n-th.
type update struct {
	waybill string
	n       int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	wh, err := webhook.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, times: map[update]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // its sender was killed
		}
		if err := wh.Verify(body, req.Header); err != nil {
			t.Errorf("the official library refuses a delivery: %v", err)
			return
		}
		var b struct {
			Data struct {
				Waybill string `json:"waybill_code"`
				N       int    `json:"n"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &b); err != nil {
			t.Error(err)
			return
		}
		u := update{b.Data.Waybill, b.Data.N}
		r.mu.Lock()
		if r.times[u]++; r.times[u] == 1 {
			r.first = append(r.first, u)
		}
		r.total++
		r.mu.Unlock()
		if r.hold != nil {
			r.hold(u)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) seen(u update) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times[u]
}

// check says whether everything acknowledged has come, and fails the test where a waybill's updates first came out of order.
// It returns how many requests were repetitions.
func (r *receiver) check(name string, acked []update) (repeated int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[string]int{}
	for _, u := range r.first {
		if u.n != last[u.waybill]+1 {
			r.t.Errorf("%s: update %d of waybill %s came after %d", name, u.n, u.waybill, last[u.waybill])
		}
		last[u.waybill] = u.n
	}
	lost := 0
	for _, u := range acked {
		if r.times[u] == 0 {
			lost++
		}
	}
	if lost > 0 {
		r.t.Errorf("%s: %d of %d events that were answered success are lost", name, lost, len(acked))
	}
	return r.total - len(r.first)
}

func (r *receiver) has(acked []update) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range acked {
		if r.times[u] == 0 {
			return false
		}
	}
	return true
}

// load pushes updates of its own waybills, one after the other, each until it is answered success.
type load struct {
	t     *testing.T
	stop  chan struct{}
	group sync.WaitGroup

	mu    sync.Mutex
	acked []update
}

// startLoad starts pushers, each with some waybills; where says which relay is asked for each try.
func startLoad(t *testing.T, pushers int, where func() string) *load {
	t.Helper()
	l := &load{t: t, stop: make(chan struct{})}
	for p := range pushers {
		l.group.Go(func() {
			for n := 1; ; n++ {
				for w := range 4 {
					if !l.push(update{fmt.Sprintf("%d-%d", p, w), n}, where) {
						return
					}
				}
			}
		})
	}
	return l
}

// push repeats one callback until it is answered success, or the load ends.
func (l *load) push(u update, where func() string) bool {
	body := fmt.Sprintf(`{"type":"express_sub_msg","data":[{"waybill_code":"%s","cp_code":"zt","status":"sending","n":%d,"data":[{"time":"%d"}]}]}`, u.waybill, u.n, u.n)
	for {
		select {
		case <-l.stop:
			return false
		default:
		}
		status, answer, err := post(where()+"/callback/"+token, body)
		if err == nil && status == 200 && answer == "success" {
			l.mu.Lock()
			l.acked = append(l.acked, u)
			l.mu.Unlock()
			return true
		}
		time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond) // the relay is being restarted
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// end stops the load and returns what was acknowledged.
func (l *load) end() []update {
	close(l.stop)
	l.group.Wait()
	return l.acked
}
