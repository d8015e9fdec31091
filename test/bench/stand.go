package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"kuairelay/test/process"
	"kuairelay/test/redisserver"
)

// stand is what callbacks are pushed to: a relay, or the bare one, with its Redis, or the forwarder.
type stand struct {
	s          *session
	name       string
	push       string // the callback URL
	process    *process.Process
	redis      *redisserver.Server // nil: the forwarder has none
	admin      string              // base URL of the relay's private listener
	dir        string
	log        *os.File
	viewers    *viewers     // nil: there are none
	subscribed atomic.Int64 // requests to subscribe so far
}

// newForwarder starts the forwarder, which posts everything to the first n endpoints.
func (s *session) newForwarder(ctx context.Context, n int) (*stand, error) {
	p, url, err := startServer(ctx, "forwarder", forwarderOptions{URLs: s.urls(n)})
	return &stand{s: s, process: p, push: url + "/callback/" + token}, err
}

// newRelay starts a Redis with an append-only file, and a relay with this config (all but listeners, Redis and token).
func (s *session) newRelay(ctx context.Context, name, fsync, yaml string) (*stand, error) {
	st, err := s.newStand(name, fsync)
	if err != nil {
		return nil, err
	}
	if err := st.launch(ctx, yaml); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// newStand starts a Redis with an append-only file, and makes room for what is to use it.
func (s *session) newStand(name, fsync string) (*stand, error) {
	dir, err := os.MkdirTemp(s.scratch, "stand")
	if err != nil {
		return nil, err
	}
	st := &stand{s: s, name: name, dir: dir}
	if st.log, err = os.Create(filepath.Join(dir, "relay.log")); err != nil {
		return nil, err
	}
	if st.redis, err = redisserver.New(dir, "--appendonly", "yes", "--appendfsync", fsync); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// launch starts the relay, and returns when it takes callbacks.
func (st *stand) launch(ctx context.Context, yaml string) error {
	public, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	admin, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	st.push, st.admin = fmt.Sprintf("http://127.0.0.1:%d/callback/%s", public, token),
		fmt.Sprintf("http://127.0.0.1:%d", admin)
	head := fmt.Sprintf("server: {listen: '127.0.0.1:%d'}\nadmin: {listen: '127.0.0.1:%d', token: %s}\n"+
		"redis: {url: '%s'}\ncallback: {tokens: [%s]}\nspool: {dir: '%s'}\negress: {allow_cidrs: [127.0.0.0/8]}\n",
		public, admin, adminToken, st.redis.URL(), token, filepath.Join(st.dir, "spool"))
	config := filepath.Join(st.dir, "config.yaml")
	if err := os.WriteFile(config, []byte(head+yaml), 0o600); err != nil {
		return err
	}
	st.process, err = process.Start(ctx, st.log, st.s.binary, "serve", "-c", config, "--grace", "200ms", "--log-level",
		st.s.LogLevel)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err = get(ctx, st.admin+"/readyz"); err == nil {
			return st.open(ctx)
		}
		select {
		case <-st.process.Ended():
			return st.blame(fmt.Errorf("the relay ended: %w", st.process.Wait()))
		default:
		}
		if time.Now().After(deadline) {
			return st.blame(fmt.Errorf("the relay does not get ready: %w", err))
		}
	}
}

// open has viewers open the pages, as many as the options say.
func (st *stand) open(ctx context.Context) (err error) {
	if st.s.Viewers > 0 {
		st.viewers, err = openPages(ctx, st.admin, st.s.Viewers)
	}
	return err
}

// blame adds the end of the relay's log to an error.
func (st *stand) blame(err error) error {
	if err == nil || st.log == nil {
		return err
	}
	text, _ := os.ReadFile(st.log.Name())
	var bad []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `"level":"info"`) {
			bad = append(bad, line)
		}
	}
	return errors.Join(err, errors.New("the end of the relay's log:\n"+strings.Join(bad[max(0, len(bad)-10):], "")))
}

// close ends everything and removes what is on disk.
func (st *stand) close() {
	if st.viewers != nil {
		if err := st.viewers.close(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: the pages were not looked at to the end:", err)
		}
	}
	if st.process != nil {
		st.process.Kill()
	}
	if st.redis != nil {
		st.redis.Kill()
	}
	if st.log != nil {
		_ = st.log.Close()
	}
	if st.dir != "" {
		_ = os.RemoveAll(st.dir)
	}
	http.DefaultClient.CloseIdleConnections()
}

// urls are the first n endpoints of the receiver.
func (s *session) urls(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s/e/%d", s.receiver.url, i))
	}
	return out
}

// answering are the settings, as YAML, of the first n endpoints of the receiver.
func (s *session) answering(n int) []string {
	var out []string
	for _, url := range s.urls(n) {
		out = append(out, fmt.Sprintf("url: '%s'", url))
	}
	return out
}

// hanging are the settings of endpoints that take a request and never answer, with this time-out and this many attempts
// at one time.
func (s *session) hanging(n int, timeout time.Duration, inFlight int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("url: '%s/hang/%d', timeout: %s, max_in_flight: %d", s.receiver.url, i, timeout,
			inFlight))
	}
	return out
}

// oneTenant is a config whose only tenant gets every event at every endpoint.
func oneTenant(settings []string) string {
	var b strings.Builder
	b.WriteString("tenants:\n  - name: bench\n    endpoints:\n")
	var names []string
	for i, more := range settings {
		names = append(names, fmt.Sprintf("e%d", i))
		fmt.Fprintf(&b, "      - {name: e%d, secrets: [%s], %s}\n", i, secret, more)
	}
	fmt.Fprintf(&b, "    routes:\n      - {to: [%s]}\n", strings.Join(names, ", "))
	return b.String()
}

// reading is what the processes of a stand have used up to now.
type reading struct {
	process, redis float64 // CPU seconds
	commands       map[string]redisserver.Command
}

func (st *stand) read() (reading, error) {
	var r reading
	var err error
	if st.redis != nil {
		if r, err = st.readRedis(); err != nil {
			return r, err
		}
	}
	r.process, err = process.CPUOf(st.process.PID())
	return r, err
}

func (st *stand) readRedis() (r reading, err error) {
	if r.redis, err = process.CPUOf(st.redis.PID()); err != nil {
		return r, err
	}
	r.commands, err = st.redis.Commands()
	return r, err
}

// commandsSince are those between an earlier reading and this one.
func (r reading) commandsSince(earlier reading) map[string]redisserver.Command {
	out := make(map[string]redisserver.Command)
	for name, c := range r.commands {
		was := earlier.commands[name]
		if c.Calls > was.Calls && name != "info" {
			out[name] = redisserver.Command{Calls: c.Calls - was.Calls, Micros: c.Micros - was.Micros}
		}
	}
	return out
}
