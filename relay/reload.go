package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/ingest"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/route"
	"kuairelay/relay/store"
)

// Load reads and checks a config file, with all that the parts of a relay say of it, so that New refuses nothing that
// Load has taken, and every mistake is told at once, with its line. onRead, which may be nil, hears of every file that
// it depends on.
func Load(file string, onRead func(path string)) (*config.Config, error) {
	return config.Load(file, config.Options{
		CheckWhen:        route.CheckWhen,
		CheckRedisURL:    store.CheckURL,
		CheckEndpointURL: deliver.CheckURL,
		MatchMeans:       matchMeans,
		OnRead:           onRead,
	})
}

// matchMeans says what is meant by a value of match that no event has, for events have the right names of statuses and
// brands. Of brands there are more than those that can be subscribed, with codes as short: what is near to one of these
// may well be another.
func matchMeans(field, value string) (meant string, known []string) {
	right := kuaidihelp.Status(value)
	if field == "status" {
		known = kuaidihelp.Statuses()
	} else {
		right = cmp.Or(kuaidihelp.SuggestBrand(value), kuaidihelp.Brand(value))
	}
	if right != value {
		meant = right
	}
	return meant, known
}

// use switches the relay to a config, at the start and at each reload. It builds everything first: after an error
// nothing has changed. Calls must not overlap.
func (r *Relay) use(c *config.Config) error {
	var complained sync.Map // a route that fails is logged once, and counted each time
	table, err := NewTable(c, func(rule *route.Rule, err error) {
		r.whenErrors.WithLabelValues(rule.Tenant).Inc()
		if _, known := complained.LoadOrStore(rule.Pos, true); !known {
			r.log.Warn("when failed, and is counted from now on", zap.String("route", rule.Pos), zap.Error(err))
		}
	})
	if err != nil {
		return err
	}

	eps, made, err := endpoints(c.Tenants, r.reload.made)
	if err != nil {
		return err
	}
	out, err := egress(c)
	if err != nil {
		return err
	}

	// The pool is the last that can refuse. It knows a new endpoint before an event is owed to it.
	err = r.pool.Use(deliver.Settings{
		Endpoints:   eps,
		Egress:      out,
		OrphanGrace: c.Delivery.OrphanGrace,
		Retention:   c.Retention,
	})
	if err != nil {
		return err
	}

	r.store.Use(storeSettings(c))
	r.intake.Use(routesOf(table, c.Tenants))
	r.receiver.Use(ingest.Settings{
		Tokens:     reveal(c.Callback.Tokens),
		AllowCIDRs: c.Callback.AllowCIDRs,
		Ack:        c.Callback.Ack,
		MaxBody:    c.Callback.MaxBody,
	})
	r.proxy.Use(proxySettings(c, r.upstream, r.store.Now))
	r.shares.Use(allowances(c.Tenants))
	r.api.Use(apiSettings(c, table, r.shares.Test(r.pool.SendTest)))
	r.keys.Use(apiKeys(c.Tenants), c.Admin.Token.Reveal()) // when all parts know the tenants that they let in
	r.queues.use(eps)
	r.heartbeat.use(c.Callback.Silence)
	r.reload.done(c, made)
	return nil
}

// What /readyz says of the last reload.
const (
	ReloadOK     = "ok"
	ReloadFailed = "failed" // the files have mistakes, and the config from before goes on serving
)

// Reloaded is what came of a reload.
type Reloaded struct {
	// Fingerprint is that of the config that is served by now.
	Fingerprint string `json:"fingerprint"`
	// Changed is false if the files have the same in them as before.
	Changed bool `json:"changed"`
	// Restart are the keys that have changed since the start, and keep their values until the next one.
	Restart  []string `json:"restart,omitempty"`
	Warnings []string `json:"warnings,omitempty"` // "file:line: what is surely not meant"
}

// Reload reads the config anew and serves by it, or returns what is wrong with it, and goes on as before. Nothing that
// is under way is cut short; what begins afterwards, a retry of a pending delivery as well, is done by the new config.
// why is for the log.
func (r *Relay) Reload(why string) (Reloaded, error) {
	r.reload.one.Lock()
	defer r.reload.one.Unlock()
	out, err := r.read(why)
	debug.FreeOSMemory() // reading a large config takes several times what is kept of it
	return out, err
}

func (r *Relay) read(why string) (Reloaded, error) {
	if r.o.Load == nil {
		return Reloaded{}, errors.New("this relay was not started with a config file")
	}

	began := time.Now()
	before := r.reload.current()
	var paths []string
	c, err := r.o.Load(func(path string) { paths = append(paths, path) })
	r.reload.consists(paths)
	changed := err == nil && c.Fingerprint != before.fingerprint
	if changed {
		err = r.use(c)
	}
	if err != nil {
		// Every mistake is a line of the log.
		lines := strings.Split(err.Error(), "\n")
		r.reload.failed(lines)
		r.log.Error("config not reloaded: the one from before goes on serving", zap.String("why", why),
			zap.Int("mistakes", len(lines)))
		for _, line := range lines {
			r.log.Error("config", zap.String("mistake", line))
		}
		return Reloaded{Fingerprint: before.fingerprint}, err
	}

	out := Reloaded{Fingerprint: c.Fingerprint, Changed: changed, Restart: r.reload.fixed.changed(c)}
	for _, w := range c.Warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	r.reload.needs(out.Restart)

	// The watch looks often: it says nothing of files that are as they were.
	if !changed {
		r.reload.unchanged()
		if why != onChange || !before.ok {
			r.log.Info("config unchanged", zap.String("why", why), zap.String("fingerprint", c.Fingerprint))
		}
		return out, nil
	}

	r.log.Info("config reloaded", zap.String("why", why), zap.String("fingerprint", c.Fingerprint),
		zap.Duration("took", time.Since(began)))
	r.warn(c)
	if len(out.Restart) > 0 {
		r.log.Warn("config: a restart is needed for these keys, until then they keep their values",
			zap.Strings("keys", out.Restart))
	}
	return out, nil
}

// warn logs what in a config is surely not meant.
func (r *Relay) warn(c *config.Config) {
	for _, w := range c.Warnings {
		r.log.Warn("config", zap.String("at", w.Pos.String()), zap.String("warning", w.Msg))
	}
}

// reloadHTTP answers POST /-/reload: what came of it, or all that is wrong, as problem JSON with errors.
func (r *Relay) reloadHTTP(c echo.Context) error {
	out, err := r.Reload("POST /-/reload")
	if err != nil {
		lines := strings.Split(err.Error(), "\n")
		return writeProblem(c, http.StatusUnprocessableEntity,
			"the config was not reloaded: the one from before goes on serving", map[string]any{"errors": lines})
	}
	return c.JSON(http.StatusOK, out)
}

// onChange is why a watch reloads.
const onChange = "a file changed"

// watch reloads the config whenever one of its files was changed, until ctx is cancelled.
func (r *Relay) watch(ctx context.Context) {
	if r.o.Load == nil {
		return
	}
	r.reload.consists(r.o.Read)
	w := watch{handled: look(r.o.Read)}
	if !config.Same(r.o.Read, r.reload.current().fingerprint) {
		_, _ = r.Reload(onChange) // they were changed since they were read for the start, or are not known
	}
	for {
		began := time.Now()
		changed, pause := w.changed(r.reload.current().paths), lookEvery
		if took := time.Since(began); took > lookEvery/200 { // ten thousand files are not to keep the machine busy
			pause = min(200*took, 10*lookEvery)
		}
		if changed {
			_, _ = r.Reload(onChange)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// reload knows what was loaded, and when.
type reload struct {
	one   sync.Mutex // held while the config is read, and swapped
	made  map[string]made
	fixed fixed

	mu  sync.Mutex
	now loaded
}

type loaded struct {
	fingerprint string
	at          time.Time // of the last success
	ok          bool      // the last reload
	paths       []string  // of the last reload
	mistakes    []string  // of the last reload, if it failed
	restart     []string  // keys that have changed since the start, and keep their values until the next one
}

func (l *reload) current() loaded {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// unchanged notes that the config in use was found right again.
func (l *reload) unchanged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.ok, l.now.at = true, time.Now()
}

// done notes a config that is served by from now on.
func (l *reload) done(c *config.Config, made map[string]made) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.ok, l.now.at, l.now.fingerprint, l.made = true, time.Now(), c.Fingerprint, made
	if l.fixed == nil {
		l.fixed = fixedKeys(c)
	}
}

// failed notes that the files have mistakes.
func (l *reload) failed(mistakes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.ok, l.now.mistakes = false, mistakes
}

// needs notes which keys only a restart takes over.
func (l *reload) needs(keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.restart = keys
}

// mistakesShown is how many mistakes of a config a status names.
const mistakesShown = 10

// problems says what of the config's files is not served by.
func (l *reload) problems() (all []string) {
	now := l.current()
	if !now.ok {
		all = append(all, fmt.Sprintf("the config's files have mistakes: the config of %s goes on serving",
			now.at.UTC().Format(time.RFC3339)))
		for _, mistake := range now.mistakes[:min(mistakesShown, len(now.mistakes))] {
			all = append(all, "config: "+mistake)
		}
		if more := len(now.mistakes) - mistakesShown; more > 0 {
			all = append(all, fmt.Sprintf("config: and %d more mistakes; kuairelay check lists them", more))
		}
	}
	if len(now.restart) > 0 {
		all = append(all, "config: a restart is needed for "+strings.Join(now.restart, ", "))
	}
	return all
}

// consists notes of which files a config was read.
func (l *reload) consists(paths []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.paths = paths
}

func (l *reload) readyFor() readyFor {
	now := l.current()
	out := readyFor{Fingerprint: now.fingerprint, LoadedAt: now.at.UTC().Truncate(time.Millisecond), Reload: ReloadOK}
	if !now.ok {
		out.Reload = ReloadFailed
	}
	return out
}

var (
	configInfo = prometheus.NewDesc("kuairelay_config_info",
		"Always 1; the label is the fingerprint of the config in use.", []string{"fingerprint"}, nil)
	configOK = prometheus.NewDesc("kuairelay_config_last_reload_successful",
		"1 if the config's files had no mistake when they were last read; 0: the previous config stays in use.", nil, nil)
	configAt = prometheus.NewDesc("kuairelay_config_last_reload_success_timestamp_seconds",
		"Unix time at which the config's files were last read without a mistake.", nil, nil)
)

// Describe implements prometheus.Collector.
func (l *reload) Describe(ch chan<- *prometheus.Desc) {
	ch <- configInfo
	ch <- configOK
	ch <- configAt
}

// Collect implements prometheus.Collector.
func (l *reload) Collect(ch chan<- prometheus.Metric) {
	now, ok := l.current(), 0.0
	if now.ok {
		ok = 1
	}
	ch <- prometheus.MustNewConstMetric(configInfo, prometheus.GaugeValue, 1, now.fingerprint)
	ch <- prometheus.MustNewConstMetric(configOK, prometheus.GaugeValue, ok)
	ch <- prometheus.MustNewConstMetric(configAt, prometheus.GaugeValue, float64(now.at.UnixMilli())/1000)
}

// fixed are the values of the keys that only a restart changes.
type fixed []struct {
	key   string
	value any
}

func fixedKeys(c *config.Config) fixed {
	return fixed{
		{"server.listen", c.Server.Listen},
		{"server.trusted_proxies", c.Server.TrustedProxies},
		{"admin.listen", c.Admin.Listen},
		{"redis.url", c.Redis.URL},
		{"redis.wait_replicas", c.Redis.WaitReplicas},
		{"spool.dir", c.Spool.Dir},
		{"spool.max_bytes", c.Spool.MaxBytes},
		{"kuaidihelp.concurrency", c.Kuaidihelp.Concurrency},
		{"limits.parse_bytes", c.Limits.ParseBytes},
		{"limits.connections", c.Limits.Connections},
		{"console.hosts", c.Console.Hosts},
	}
}

// RestartKeys returns the keys that only a restart changes. A reload takes all others over.
func RestartKeys() []string {
	var keys []string
	for _, k := range fixedKeys(&config.Config{}) {
		keys = append(keys, k.key)
	}
	return keys
}

// changed names the keys that have other values in a config.
func (f fixed) changed(c *config.Config) []string {
	var keys []string
	for i, k := range fixedKeys(c) {
		if !reflect.DeepEqual(k.value, f[i].value) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// lookEvery is the least time between two looks at the files.
const lookEvery = time.Second

// watch says when files were changed, and are not being changed any more. It looks, rather than being told: that works
// for a link that is swapped (as Kubernetes does), for a file that is not there yet, and on every file system.
type watch struct {
	// handled is what the files looked like when a change was last reported, and last at the last look.
	handled, last string
}

// changed looks at the files. It reports a change once, at the second look in a row that finds the same: a file that is
// half written is given the time between two looks to be finished.
func (w *watch) changed(paths []string) bool {
	now := look(paths)
	settled := now == w.last
	w.last = now
	if now == w.handled || !settled {
		return false
	}
	w.handled = now
	return true
}

// look describes files and folders so that any change of theirs changes the description. Links are followed.
func look(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s: not there\n", path)
			continue
		}
		target, _ := filepath.EvalSymlinks(path)
		fmt.Fprintf(&b, "%s: %s %d %d\n", path, target, info.Size(), info.ModTime().UnixNano())
		if !info.IsDir() {
			continue
		}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			fmt.Fprintf(&b, "  %s\n", e.Name())
		}
	}
	return b.String()
}
