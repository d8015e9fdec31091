// Package crash kills the built binary between a tenant's subscription and the provider, on a real Redis, and checks
// what everybody gets and who is asked. test/faults has everything else that may fail.
package crash

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kuairelay/test/process"
)

const (
	token  = "callback-token"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
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

// newReplica writes the config of a replica, with listeners of its own; it is not started.
func newReplica(t *testing.T, yaml string) *relay {
	t.Helper()
	public, admin := freePort(t), freePort(t)
	yaml = fmt.Sprintf("server: {listen: '127.0.0.1:%d'}\nadmin: {listen: '127.0.0.1:%d'}\n", public, admin) + yaml
	dir := t.TempDir()
	r := &relay{t: t, config: filepath.Join(dir, "config.yaml"), url: fmt.Sprintf("http://127.0.0.1:%d", public),
		admin: fmt.Sprintf("http://127.0.0.1:%d", admin)}
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
	port, err := process.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return port
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
	within(t, 90*time.Second, what, ok)
}

// within waits until something is so, and fails the test if that takes longer than most.
func within(t *testing.T, most time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(most)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", most, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
