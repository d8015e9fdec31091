package browser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"kuairelay/relay"
	"kuairelay/relay/config"
	"kuairelay/test/process"
	"kuairelay/test/redisserver"
)

const (
	callbackToken = "callback-token-of-the-stage"
	operatorKey   = "operator-token-of-the-stage"
	shopKey       = "shop-key-of-the-stage"
	crmKey        = "crm-key-of-the-stage"
	// plainHost is a host name that the browser maps to loopback, unlike localhost not one that browsers trust.
	plainHost = "insecure.test"
	// grace is what a relay has to end.
	grace = 5 * time.Second
)

// tenants of a stage that asks for no others. RECEIVER is the URL of the receivers: what is posted to RECEIVER/orders
// is orders' in the actions answer and got.
const tenants = `
tenants:
  - name: shop
    api_keys: [{key: ` + shopKey + `, name: backend}]
    endpoints:
      - {name: orders, url: 'RECEIVER/orders?token=hidden', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw],
         retry: [200ms, 1s, 5s, 1h]}
      - {name: spare, url: 'RECEIVER/spare', secrets: [whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
    routes:
      - {to: orders}
      - {to: spare, match: {status: question}}
  - name: crm
    api_keys: [` + crmKey + `]
    endpoints:
      - {name: sync, url: 'RECEIVER/sync', secrets: [whsec_PfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
      - {name: mail, url: 'RECEIVER/mail', secrets: [whsec_QfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
    routes:
      - {to: sync, match: {status: signed}}
      - {to: mail, match: {cp_code: sf}}
`

// stageAsk is what a check wants of a stage. A zero field means its default.
type stageAsk struct {
	Tenants string // YAML: the tenants, and further keys
	Relays  int    // default 2
}

// stage is what checks play on: Redis, relays in this process, receivers, and what stands around them.
type stage struct {
	dir       string
	redis     *redisserver.Server
	relays    []*replica
	receivers *receivers
	elsewhere *elsewhere
	ahead     atomic.Int64 // of the clock of relays, ns

	mu       sync.Mutex
	body     string // the config of all relays, without what each has for itself
	cleanups []func()
}

// replica is a relay of a stage, or several in a row at the same addresses.
type replica struct {
	s             *stage
	head          string            // its own part of the config
	own           map[string]string // the variables in it: files that are the same make replicas that agree
	file          string
	public, admin string            // URLs
	tls           map[string]string // the URLs of a proxy in front that speaks TLS, by listener

	mu    sync.Mutex
	relay *relay.Relay // nil while it is stopped
	stop  context.CancelFunc
	done  chan error
	log   *zap.Logger
}

// newStage makes a stage. Its relays log what is wrong to logTo.
func newStage(ctx context.Context, ask stageAsk, logTo zapcore.WriteSyncer) (s *stage, err error) {
	s = &stage{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.dir, err = os.MkdirTemp("", "kuairelay-browser")
	if err != nil {
		return s, err
	}
	s.cleanup(func() { _ = os.RemoveAll(s.dir) })
	s.redis, err = redisserver.New(s.dir, "--appendonly", "yes")
	if err != nil {
		return s, err
	}
	s.cleanup(s.redis.Kill)
	s.receivers = newReceivers()
	s.cleanup(s.receivers.close)
	s.elsewhere = newElsewhere()
	s.cleanup(s.elsewhere.server.Close)

	s.body = s.text(cmp.Or(ask.Tenants, tenants))
	encoder := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	logger := zap.New(zapcore.NewCore(encoder, logTo, zapcore.WarnLevel))
	for i := range ask.Relays {
		r, err := s.newReplica(ctx, i, logger)
		if err != nil {
			return s, err
		}
		if err := r.start(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// text is the common part of the config.
func (s *stage) text(tenants string) string {
	all := fmt.Sprintf("redis: {url: '%s'}\n", s.redis.URL())
	if !strings.Contains(tenants, "\nconsole:") {
		all += "console: {hosts: [" + plainHost + "]}\n"
	}
	for key, value := range map[string]string{
		"callback": "{tokens: [" + callbackToken + "]}",
		"egress":   "{allow_cidrs: [127.0.0.0/8]}",
		"limits":   "{reads: 100000, tests: 1000, replays: 10}", // checks ask often
	} {
		if !strings.Contains(tenants, "\n"+key+":") {
			all += key + ": " + value + "\n"
		}
	}
	return all + strings.ReplaceAll(tenants, "RECEIVER", s.receivers.server.URL)
}

func (s *stage) cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// close ends everything that was started, the last first.
func (s *stage) close() {
	s.mu.Lock()
	all := s.cleanups
	s.cleanups = nil
	s.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		all[i]()
	}
}

// now is the clock of the relays.
func (s *stage) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// newReplica gives a relay its addresses, for as long as the stage stands; it is not started.
func (s *stage) newReplica(ctx context.Context, i int, log *zap.Logger) (*replica, error) {
	public, err := process.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	admin, err := process.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, fmt.Sprintf("relay%d", i))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	r := &replica{
		s:      s,
		file:   filepath.Join(dir, "config.yaml"),
		public: fmt.Sprintf("http://127.0.0.1:%d", public),
		admin:  fmt.Sprintf("http://127.0.0.1:%d", admin),
		log:    log.With(zap.Int("relay", i)),
	}
	r.own = map[string]string{
		"STAGE_PUBLIC": fmt.Sprintf("127.0.0.1:%d", public),
		"STAGE_ADMIN":  fmt.Sprintf("127.0.0.1:%d", admin),
		"STAGE_SPOOL":  filepath.Join(dir, "spool"),
	}
	r.head = "server: {listen: '${STAGE_PUBLIC}', trusted_proxies: [127.0.0.0/8]}\n" +
		"admin: {listen: '${STAGE_ADMIN}', token: " + operatorKey + "}\n" +
		"spool: {dir: '${STAGE_SPOOL}'}\n"
	r.tls = map[string]string{"public": s.inFrontOf(r.public), "admin": s.inFrontOf(r.admin)}
	s.cleanup(func() { _ = r.end() })
	s.relays = append(s.relays, r)
	return r, r.write()
}

// write writes the config of a relay. It replaces the file, so that nobody reads a half of it.
func (r *replica) write() error {
	r.s.mu.Lock()
	text := r.head + r.s.body
	r.s.mu.Unlock()
	if err := os.WriteFile(r.file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(r.file+".new", r.file)
}

// loading is held while a relay of any stage reads its config, with its own variables in the environment.
var loading sync.Mutex

// load reads the config of a relay.
func (r *replica) load(onRead func(string)) (*config.Config, error) {
	loading.Lock()
	defer loading.Unlock()
	for name, value := range r.own {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return relay.Load(r.file, onRead)
}

// start starts the relay, and returns when it listens.
func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.relay != nil {
		return errors.New("this relay runs already")
	}
	c, err := r.load(nil)
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	made, err := relay.New(relay.Options{
		Config:   c,
		Load:     r.load,
		Logger:   r.log,
		Grace:    grace,
		Clock:    r.s.now,
		OnListen: func(_, _ net.Addr) { close(ready) },
	})
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- made.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		return fmt.Errorf("the relay ended: %w", err)
	}
	r.relay = made
	r.stop = cancel
	r.done = done
	return nil
}

// end stops the relay in good order.
func (r *replica) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.relay == nil {
		return nil
	}
	r.stop()
	r.relay = nil
	return <-r.done
}

// reload reads the config again, and returns its mistakes.
func (r *replica) reload() error {
	if err := r.write(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.relay == nil {
		return nil
	}
	_, err := r.relay.Reload("a check")
	return err
}

// inFrontOf starts a proxy that speaks TLS, with a certificate that nobody trusts.
func (s *stage) inFrontOf(to string) string {
	target, _ := url.Parse(to) // never fails: it is ours
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.SetXForwarded()
			p.Out.Host = p.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewUnstartedServer(proxy)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a browser says first that it does not know the certificate
	server.StartTLS()
	s.cleanup(server.Close)
	return server.URL
}
