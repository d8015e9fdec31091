package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"kuairelay/test/process"
)

const (
	token = "faults-token"
	// inFlight is max_in_flight of every endpoint: what may come twice when a relay dies.
	inFlight = 8
)

// relayOptions of a replica. A zero field means its default.
type relayOptions struct {
	redis    string        // URL; empty: embedded
	timeout  time.Duration // of an attempt; default 1 s. What a dead relay held is due again after twice that and 5 s
	spool    string        // folder; default: one of its own
	maxSpool string        // spool.max_bytes
	replicas int           // redis.wait_replicas
	quiet    bool          // log no line for each callback
}

// relay is one replica: the built binary as a process, or several in a row at the same address.
type relay struct {
	s          *stage
	spool      string
	config     string
	level      string // of the log
	url, admin string
	log        *os.File

	mu      sync.Mutex
	process *process.Process // nil while it is down
}

// relay makes a replica that delivers to the endpoints of the stage, and starts it.
func (s *stage) relay(o relayOptions) *relay {
	r := s.newRelay(o)
	r.start()
	return r
}

// newRelay writes the config of a replica, which is not started.
func (s *stage) newRelay(o relayOptions) *relay {
	dir := s.folder("relay")
	r := &relay{s: s, spool: o.spool, config: filepath.Join(dir, "config.yaml"), level: "info"}
	if o.quiet {
		r.level = "warn"
	}
	if r.spool == "" {
		r.spool = filepath.Join(dir, "spool")
	}
	public, admin := s.port(), s.port()
	r.url, r.admin = fmt.Sprintf("http://127.0.0.1:%d/callback/%s", public, token),
		fmt.Sprintf("http://127.0.0.1:%d", admin)
	if o.timeout == 0 {
		o.timeout = time.Second
	}
	if o.maxSpool == "" {
		o.maxSpool = "1GiB"
	}
	text := fmt.Sprintf(`
server: {listen: '127.0.0.1:%d'}
admin: {listen: '127.0.0.1:%d'}
redis: {url: '%s', wait_replicas: %d}
spool: {dir: '%s', max_bytes: %s}
callback: {tokens: [%s]}
egress: {allow_cidrs: [127.0.0.2]}
delivery: {timeout: %s, max_in_flight: %d, retry: [50ms, 100ms, 200ms, 500ms, %s1s]}
%s`,
		public, admin, o.redis, o.replicas, r.spool, o.maxSpool, token, o.timeout, inFlight,
		strings.Repeat("1s, ", 300), s.tenants())
	s.must(os.WriteFile(r.config, []byte(text), 0o600))
	var err error
	r.log, err = os.Create(filepath.Join(dir, "relay.log"))
	s.must(err)
	s.cleanup(func() {
		r.kill()
		_ = r.log.Close()
	})
	s.started = append(s.started, r)
	return r
}

// tenants is that part of the config: one tenant for each endpoint's first name, and a route to each endpoint.
func (s *stage) tenants() string {
	var b strings.Builder
	b.WriteString("tenants:\n")
	for i, e := range s.endpoints {
		name, own, _ := strings.Cut(e.name, "/")
		if i == 0 || !strings.HasPrefix(s.endpoints[i-1].name, name+"/") {
			fmt.Fprintf(&b, "  - name: %s\n    endpoints:\n", name)
			for _, e := range s.endpoints {
				if of, own, _ := strings.Cut(e.name, "/"); of == name {
					fmt.Fprintf(&b, "      - {name: %s, url: '%s', secrets: [%s]}\n", own, e.url(), e.secret)
				}
			}
			b.WriteString("    routes:\n")
		}
		match := ""
		if e.brand != "" {
			match = ", match: {cp_code: " + e.brand + "}"
		}
		fmt.Fprintf(&b, "      - {to: %s%s}\n", own, match)
	}
	return b.String()
}

// start starts the process, and waits until it takes callbacks.
func (r *relay) start() {
	r.launch()
	r.takesCallbacks()
}

// takesCallbacks waits until the process does.
func (r *relay) takesCallbacks() {
	r.s.await("the relay is ready", func() error {
		p := r.running()
		select {
		case <-p.Ended():
			return final(fmt.Errorf("the relay ended: %w", p.Wait()))
		default:
		}
		_, err := r.ready()
		return err
	})
}

// launch starts the process.
func (r *relay) launch() {
	p, err := process.Start(r.s.ctx, r.log, r.s.binary, "serve", "-c", r.config, "--log-level", r.level, "--log-format",
		"json", "--grace", "8s")
	r.s.must(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = p
}

func (r *relay) running() *process.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// kill ends the process as kill -9 does.
func (r *relay) kill() {
	if p := r.running(); p != nil {
		p.Kill()
	}
}

// terminate sends SIGTERM, and returns how long the process took and how it ended. One that stays is killed.
func (r *relay) terminate() (time.Duration, error) {
	p, began := r.running(), time.Now()
	r.signal(syscall.SIGTERM)
	select {
	case <-p.Ended():
		return time.Since(began), p.Wait()
	case <-time.After(patience):
		p.Kill()
		return time.Since(began), fmt.Errorf("it did not end within %s", patience)
	}
}

func (r *relay) signal(sig os.Signal) { r.s.must(r.running().Signal(sig)) }

// state is what /readyz says.
type state struct {
	Status  string `json:"status"` // ready or degraded
	Redis   string `json:"redis"`
	Spool   string `json:"spool"`
	Spooled int    `json:"spooled"`
	Config  struct {
		Reload string `json:"reload"` // ok or failed
	} `json:"config"`
}

// ready asks /readyz. An answer other than 200 is an error.
func (r *relay) ready() (state, error) {
	var s state
	status, text := get(r.s.ctx, r.admin+"/readyz")
	if status != http.StatusOK {
		return s, fmt.Errorf("/readyz answers %d: %s", status, text)
	}
	return s, json.Unmarshal([]byte(text), &s)
}

// drained returns nil when Redis is up and nothing waits in the spool.
func (r *relay) drained() error {
	s, err := r.ready()
	if err == nil && (s.Status != "ready" || s.Spooled > 0) {
		err = fmt.Errorf("/readyz says %+v", s)
	}
	return err
}

// metric sums up the series of a metric that hold all of these labels, each as it is written in the text of Prometheus:
// name="value". It is 0 if there is none.
func (r *relay) metric(name string, labels ...string) float64 {
	sum, _ := r.series(name, labels...)
	return sum
}

// depth is how many deliveries are in a state, open or dead, by what Redis says now.
func (r *relay) depth(state string) (float64, error) {
	sum, n := r.series("kuairelay_queue_depth", `state="`+state+`"`)
	if n == 0 {
		return 0, errors.New("there is no metric kuairelay_queue_depth: the relay or its Redis does not answer")
	}
	return sum, nil
}

// series is metric, and how many series there are.
func (r *relay) series(name string, labels ...string) (sum float64, n int) {
	_, text := get(r.s.ctx, r.admin+"/metrics")
series:
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		series, value := line[:at], line[at+1:]
		if of, _, _ := strings.Cut(series, "{"); of != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue series
			}
		}
		v, _ := strconv.ParseFloat(value, 64)
		sum, n = sum+v, n+1
	}
	return sum, n
}

// memory is the resident memory of the process now, in bytes.
func (r *relay) memory() float64 {
	now, _, err := process.MemoryOf(r.running().PID())
	r.s.must(err)
	return now
}

// logged is how many lines of the log, of all processes in a row, hold a text.
func (r *relay) logged(text string) (n int) {
	log, err := os.ReadFile(r.log.Name())
	r.s.must(err)
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
