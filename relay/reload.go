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
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/console"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/ingest"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/route"
	"kuairelay/relay/store/db"
)

// Load reads and checks a config file with the checks of all parts of a relay. So New refuses nothing that Load has
// accepted, and all mistakes are reported at once, with their lines. onRead, if not nil, is called with every file that
// the config depends on.
func Load(file string, onRead func(path string)) (*config.Config, error) {
	return loadBy(file, config.Options{OnRead: onRead})
}

// LoadWithoutSecrets is Load where variables and files are missing: values that need them have placeholders, which are
// counted. It is for checks: nothing can run with such a config.
func LoadWithoutSecrets(file string) (c *config.Config, placeholders int, err error) {
	c, err = loadBy(file, config.Options{Placeholder: func() { placeholders++ }})
	return c, placeholders, err
}

func loadBy(file string, o config.Options) (*config.Config, error) {
	o.CheckWhen = route.CheckWhen
	o.CheckRedisURL = db.CheckURL
	o.CheckEndpointURL = deliver.CheckURL
	o.MatchMeans = matchMeans
	o.ProblemCodes, o.TenantProblemCodes = api.NoticeCodes()
	return config.Load(file, o)
}

// matchMeans returns what was meant by a value of match that no event has: events have the canonical names of statuses
// and brands. It does not guess a brand by similar letters: there are more brands than those that can be subscribed,
// and codes are so short that a similar one may be another brand.
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
	failures := &whenFailuresOf{all: r.when}
	table, err := NewTable(c, failures.note)
	if err != nil {
		return err
	}

	eps, built, err := endpoints(c.Tenants, r.reload.built)
	if err != nil {
		return err
	}
	out, err := egress(c)
	if err != nil {
		return err
	}

	// The pool is the last part that can refuse the config. It knows a new endpoint before an event is owed to it.
	err = r.pool.Use(deliver.Settings{
		Endpoints:   eps,
		Egress:      out,
		OrphanGrace: c.Delivery.OrphanGrace,
		Retention:   c.Retention,
	})
	if err != nil {
		return err
	}

	r.store.use(c)
	r.intake.Use(routesOf(table, c.Tenants), configName(c))
	r.when.use(failures)
	r.ends.use(c)
	r.receiver.Use(ingest.Settings{
		Tokens:     callbackTokens(c),
		AllowCIDRs: c.Callback.AllowCIDRs,
		Ack:        c.Callback.Ack,
		MaxBody:    c.Callback.MaxBody,
	})
	r.proxy.Use(proxySettings(c, r.upstream, r.store.Now))
	r.shares.Use(allowances(c.Tenants))
	set := apiSettings(c, table, r.pool, r.shares.Test(r.pool.SendTest))
	set.EndpointSettings = settingsBy(built, r.store.Now)
	set.TestNotices = r.testNotices
	set.NoticeNames = r.notices.Names
	r.api.Use(set)
	r.notices.Use(receivers(c, out))
	r.console.Use(console.Settings{
		Tenants:    c.Console.Tenants,
		Zone:       c.Console.Timezone,
		Rate:       c.Limits.Reads,
		NoOperator: len(c.Operators()) == 0,
		Language:   c.Console.Language,
	})
	r.sessions.Use(apiKeys(c.Tenants), accessKeys(c.Operators()), c.Console.Session)
	r.keys.Use(apiKeys(c.Tenants), accessKeys(c.Operators())) // last: all parts know the tenants now
	r.queues.use(eps)
	r.heartbeat.use(c.Callback.Silence)
	r.settings.use(r.reload.built, built)
	r.stats.counters.Use(c.Console.History > 0)
	r.reload.done(c, built)
	return nil
}

// The results of the last reload in /readyz.
const (
	ReloadOK     = "ok"
	ReloadFailed = "failed" // the files have mistakes, and the relay keeps the config from before
)

// ReloadResult is the result of a reload.
type ReloadResult = api.ReloadResult

// errNoFile says that there is no config to be read again.
var errNoFile = errors.New("this relay was not started with a config file")

// Reload reads the config again and switches to it, or returns what is wrong with it and keeps the old one. Nothing
// under way is cut short. What begins afterwards, also a retry of a pending delivery, uses the new config. why is for
// the log.
func (r *Relay) Reload(why string) (ReloadResult, error) {
	r.reload.one.Lock()
	defer r.reload.one.Unlock()
	out, err := r.read(why)
	r.o.AfterRead()
	return out, err
}

func (r *Relay) read(why string) (ReloadResult, error) {
	if r.o.Load == nil {
		return ReloadResult{}, errNoFile
	}

	began := time.Now()
	before := r.reload.current()
	var paths []string
	c, err := r.o.Load(func(path string) { paths = append(paths, path) })
	r.reload.setFiles(paths)
	changed := err == nil && c.Fingerprint != before.fingerprint
	if changed {
		err = r.use(c)
	}
	if err != nil {
		// Every mistake is a line of the log.
		mistakes := mistakesOf(err)
		lines := mistakeLines(mistakes)
		r.reload.failed(mistakes)
		r.log.Error("config not reloaded: the relay keeps the one from before", zap.String("why", why),
			zap.Int("mistakes", len(lines)))
		for _, line := range lines {
			r.log.Error("config", zap.String("mistake", line))
		}
		return ReloadResult{Fingerprint: before.fingerprint}, err
	}

	out := ReloadResult{Fingerprint: c.Fingerprint, Changed: changed, Restart: r.reload.fixed.changed(c)}
	for _, w := range c.Warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	r.reload.needs(out.Restart)

	// The watch looks often, and logs nothing about files that have not changed.
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
		r.log.Warn("config: these keys keep their values until a restart",
			zap.Strings("keys", out.Restart))
	}
	return out, nil
}

// warn logs what in a config is probably a mistake.
func (r *Relay) warn(c *config.Config) {
	for _, w := range c.Warnings {
		r.log.Warn("config", zap.String("at", w.Pos.String()), zap.String("warning", w.Msg))
	}
}

// reloadHTTP answers POST /-/reload: the result, or all mistakes, as problem JSON with errors.
func (r *Relay) reloadHTTP(c echo.Context) error {
	out, err := r.Reload("POST /-/reload")
	r.api.Note(c.Request().Context(), reloadAct(out, err, c.RealIP()))
	if err != nil {
		return &api.MistakesError{Mistakes: strings.Split(err.Error(), "\n")}
	}
	return c.JSON(http.StatusOK, out)
}

// reloadAct returns a reload as the audit has it. It asks for no token: who reaches the private listener counts as the
// operator.
func reloadAct(out ReloadResult, err error, from string) event.Act {
	a := event.Act{
		By:      event.Actor{Name: event.Operator, From: from},
		What:    api.ActReload,
		Subject: out.Fingerprint,
		Result:  "unchanged",
	}
	switch {
	case err != nil:
		a.Result = "refused"
	case out.Changed:
		a.Count = 1
		a.Result = "done"
	}
	return a
}

// reloadByAPI is a reload that the operator asked for by the API.
func (r *Relay) reloadByAPI(ctx context.Context, from string) (ReloadResult, error) {
	if r.o.Load == nil {
		return ReloadResult{}, errNoFile
	}
	out, err := r.Reload("POST /config/reload")
	r.api.Note(ctx, reloadAct(out, err, from))
	if err != nil {
		return ReloadResult{}, &api.MistakesError{Mistakes: strings.Split(err.Error(), "\n")}
	}
	return out, nil
}

// onChange is the reason of a reload by the watch.
const onChange = "a file changed"

// watch reloads the config whenever one of its files was changed, until ctx is cancelled.
func (r *Relay) watch(ctx context.Context) {
	if r.o.Load == nil {
		return
	}
	r.reload.setFiles(r.o.Read)
	w := watch{handled: look(r.o.Read)}
	if !config.Same(r.o.Read, r.reload.current().fingerprint) {
		_, _ = r.Reload(onChange) // they were changed since they were read for the start, or are not known
	}
	for {
		began := time.Now()
		changed, pause := w.changed(r.reload.current().paths), lookEvery
		// with ten thousand files, looking must not keep the machine busy
		if took := time.Since(began); took > lookEvery/200 {
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

// configState knows which config was loaded, and when.
type configState struct {
	one   sync.Mutex // held while the config is read, and swapped
	built map[string]builtEndpoint
	fixed restartKeys

	mu  sync.Mutex
	now loadedConfig
}

type loadedConfig struct {
	fingerprint  string
	since        time.Time         // it came into use
	at           time.Time         // of the last success
	ok           bool              // the last reload
	failedAt     time.Time         // since when reloads fail, if the last one did
	paths        []string          // of the last reload
	mistakes     []config.Mistake  // of the last reload, if it failed; without a file: of none
	warnings     []config.Mistake  // of the config in use
	files        config.Files      // of the same
	homes        map[string]string // tenants with files of their own, and these
	restart      []string          // keys that have changed since the start, and keep their values until the next one
	restartSince time.Time
}

func (l *configState) current() loadedConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// unchanged notes that the files were read again and are right.
func (l *configState) unchanged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.ok, l.now.at = true, time.Now()
}

// done notes a config that is in use from now on.
func (l *configState) done(c *config.Config, built map[string]builtEndpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.ok, l.now.at, l.now.since, l.now.fingerprint, l.built = true, time.Now(), time.Now(), c.Fingerprint, built
	l.now.warnings, l.now.files, l.now.homes = c.Warnings, c.Files, homesOf(c)
	if l.fixed == nil {
		l.fixed = newRestartKeys(c)
	}
}

// failed notes that the files have mistakes.
func (l *configState) failed(mistakes []config.Mistake) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.ok {
		l.now.failedAt = time.Now()
	}
	l.now.ok, l.now.mistakes = false, mistakes
}

// needs notes the changed keys that only a restart applies.
func (l *configState) needs(keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(keys) == 0:
		l.now.restartSince = time.Time{}
	case len(l.now.restart) == 0:
		l.now.restartSince = time.Now()
	}
	l.now.restart = keys
}

// setFiles notes the files that a config was read from.
func (l *configState) setFiles(paths []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.paths = paths
}

func (l *configState) ready() configReadiness {
	now := l.current()
	out := configReadiness{Fingerprint: now.fingerprint, LoadedAt: now.at.UTC().Truncate(time.Millisecond),
		Reload: ReloadOK}
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
func (l *configState) Describe(ch chan<- *prometheus.Desc) {
	ch <- configInfo
	ch <- configOK
	ch <- configAt
}

// Collect implements prometheus.Collector.
func (l *configState) Collect(ch chan<- prometheus.Metric) {
	now, ok := l.current(), 0.0
	if now.ok {
		ok = 1
	}
	ch <- prometheus.MustNewConstMetric(configInfo, prometheus.GaugeValue, 1, now.fingerprint)
	ch <- prometheus.MustNewConstMetric(configOK, prometheus.GaugeValue, ok)
	ch <- prometheus.MustNewConstMetric(configAt, prometheus.GaugeValue, float64(now.at.UnixMilli())/1000)
}

// restartKeys are the values of the keys that only a restart applies.
type restartKeys []struct {
	key   string
	value any
}

func newRestartKeys(c *config.Config) restartKeys {
	return restartKeys{
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

// RestartKeys returns the keys that only a restart applies. A reload applies all others.
func RestartKeys() []string {
	var keys []string
	for _, k := range newRestartKeys(&config.Config{}) {
		keys = append(keys, k.key)
	}
	return keys
}

// changed returns the keys that have other values in a config.
func (f restartKeys) changed(c *config.Config) []string {
	var keys []string
	for i, k := range newRestartKeys(c) {
		if !reflect.DeepEqual(k.value, f[i].value) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// lookEvery is the shortest time between two looks at the files.
const lookEvery = time.Second

// watch notices when files have changed, and are not being changed any more. It polls, because that works for a link
// that is swapped (as Kubernetes does), for a file that does not exist yet, and on every file system.
type watch struct {
	// handled describes the files when a change was last reported, and last at the last look.
	handled, last string
}

// changed looks at the files. It reports a change once, when two looks in a row find the same: a file that is half
// written has the time between two looks to be finished.
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

// look describes files and folders; any change of theirs changes the description. It follows links.
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
