package relay

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/logonce"
	"kuairelay/relay/store"
)

// settingsLog writes into the logs of endpoints what a config has changed of them. It compares with what is written
// down in Redis: so each change is told once, by the first replica that comes to it, and also if the replicas were
// restarted for it. Where nothing is written down yet, nothing has changed.
type settingsLog struct {
	store *stores
	log   *zap.Logger
	wake  chan struct{} // full if there is something to write
	last  logonce.Change[string]
	first bool // nothing was written down before, and not all is yet: so no endpoint is told to be added

	mu      sync.Mutex
	uses    int // of a config
	built   map[string]builtEndpoint
	all     bool            // all endpoints are to be compared, also those that are only written down
	changed map[string]bool // otherwise these
}

func newSettingsLog(s *stores, log *zap.Logger) *settingsLog {
	return &settingsLog{store: s, log: log, wake: make(chan struct{}, 1), changed: make(map[string]bool)}
}

// use takes note of a config. before are the endpoints of the one before; nil: this is the first.
func (l *settingsLog) use(before, now map[string]builtEndpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uses++
	l.built = now
	l.all = l.all || before == nil
	if !l.all {
		for name, e := range now {
			if before[name].is != e.is {
				l.changed[name] = true
			}
		}
		for name := range before {
			if now[name].is == nil {
				l.changed[name] = true
			}
		}
	}
	l.wakeUp()
}

func (l *settingsLog) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run writes what is to be written, until ctx is cancelled. After an error it tries again.
func (l *settingsLog) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}

		err := l.write(ctx)
		if err == nil {
			l.last.To("")
			continue
		}
		var trouble interface{ Trouble() bool } // of Redis, which is told elsewhere
		if !errors.Is(err, errOtherWrites) && !errors.As(err, &trouble) && ctx.Err() == nil && l.last.To(err.Error()) {
			l.log.Warn("what has changed of endpoints is not in their logs yet", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
			l.wakeUp()
		}
	}
}

// errOtherWrites says that another replica writes at present: at a first start, two would take each other's endpoints
// for new ones.
var errOtherWrites = errors.New("another replica writes")

// write compares what is to be compared, and writes what has changed.
func (l *settingsLog) write(ctx context.Context) error {
	unlock, locked, err := l.store.TryLock(ctx, "settings", time.Minute)
	if err != nil {
		return err
	}
	if !locked {
		return errOtherWrites
	}
	defer unlock()

	l.mu.Lock()
	uses, built, all, names := l.uses, l.built, l.all, slices.Sorted(maps.Keys(l.changed))
	l.mu.Unlock()
	switch {
	case all:
		names = nil
	case len(names) == 0:
		return nil
	}
	known, err := l.store.KnownSettings(ctx, names)
	if err != nil {
		return err
	}
	l.first = l.first || all && len(known) == 0
	if all {
		names = slices.Sorted(maps.Keys(built))
		for name := range known {
			if built[name].is == nil {
				names = append(names, name)
			}
		}
	}

	var changes []store.SettingsChange
	for _, name := range names {
		c := store.SettingsChange{Endpoint: name, Before: known[name]}
		if e := built[name]; e.is != nil {
			c.After = writtenSettings(e.of)
		}
		if c.Before == c.After {
			continue
		}
		if !l.first {
			c.Entry = settingsEntry(c)
		}
		changes = append(changes, c)
	}
	if err := l.store.ChangeSettings(ctx, changes); err != nil {
		return err
	}
	l.first = false

	// What a newer config has changed meanwhile is still to be compared.
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.uses == uses {
		l.all = false
		clear(l.changed)
	}
	return nil
}

// settingsEntry is what the log of an endpoint tells of a change; nil: nothing.
func settingsEntry(c store.SettingsChange) *event.LogEntry {
	switch {
	case c.Before == "":
		return &event.LogEntry{What: event.LogAdded}
	case c.After == "":
		return &event.LogEntry{What: event.LogRemoved}
	}
	changes := settingChanges(c.Before, c.After)
	if len(changes) == 0 {
		return nil
	}
	return &event.LogEntry{What: event.LogChanged, Changes: changes}
}

// settingsBy returns the function that gives the settings of an endpoint by its name; nil: there is no such endpoint.
func settingsBy(built map[string]builtEndpoint, now func() time.Time) func(string) *api.EndpointSettings {
	return func(name string) *api.EndpointSettings {
		if e, known := built[name]; known {
			return settingsOf(e.of, now())
		}
		return nil
	}
}

// settingsOf returns the settings of an endpoint as they may be shown: no value of a secret or a header. Of the secrets
// it has those that sign at the time given.
func settingsOf(e config.Endpoint, now time.Time) *api.EndpointSettings {
	d := e.Delivery
	out := &api.EndpointSettings{
		Timeout:     deliver.Brief(d.Timeout),
		Retry:       spans(d.Retry),
		AttemptsMax: len(d.Retry) + 1,
		MaxInFlight: d.MaxInFlight,
		Rate:        d.Rate,
		MaxAge:      deliver.Brief(d.MaxAge),
		MaxBacklog:  d.MaxBacklog,
		Order:       d.Order,
		Format:      e.Format,
		Breaker: api.BreakerSettings{
			Failures:   d.Breaker.Failures,
			Ratio:      d.Breaker.Ratio,
			Window:     deliver.Brief(d.Breaker.Window),
			CoolOff:    deliver.Brief(d.Breaker.CoolOff),
			MaxCoolOff: deliver.Brief(d.Breaker.MaxCoolOff),
		},
		Secrets: []api.SecretSettings{},
		Headers: []string{},
		At:      e.Pos.String(),
	}

	for _, s := range e.Secrets {
		if s.Until.IsZero() || now.Before(s.Until) {
			out.Secrets = append(out.Secrets, api.SecretSettings{Until: s.Until})
		}
	}
	for _, h := range e.Headers {
		out.Headers = append(out.Headers, h.Name)
	}
	if e.TLS != nil && len(e.TLS.Certificates) > 0 && e.TLS.Certificates[0].Leaf != nil {
		out.CertificateUntil = e.TLS.Certificates[0].Leaf.NotAfter
	}
	return out
}

// spans shows spans as a config has them.
func spans(all []time.Duration) []string {
	out := []string{}
	for _, d := range all {
		out = append(out, deliver.Brief(d))
	}
	return out
}

// writtenSettings are the settings of an endpoint as the store keeps them: JSON, by key. They are compared, so that the
// log of an endpoint tells what has changed. Keys whose values are not for the log have two bytes of a hash instead,
// from which no value can be found; one change in 65,536 is missed.
func writtenSettings(e config.Endpoint) string {
	d := e.Delivery
	all := map[string]string{
		"format":               e.Format,
		"timeout":              deliver.Brief(d.Timeout),
		"retry":                strings.Join(spans(d.Retry), " "),
		"max_in_flight":        strconv.Itoa(d.MaxInFlight),
		"rate":                 strconv.FormatFloat(d.Rate, 'g', -1, 64),
		"max_age":              deliver.Brief(d.MaxAge),
		"max_backlog":          strconv.Itoa(d.MaxBacklog),
		"order":                d.Order,
		"breaker.failures":     strconv.Itoa(d.Breaker.Failures),
		"breaker.ratio":        strconv.FormatFloat(d.Breaker.Ratio, 'g', -1, 64),
		"breaker.window":       deliver.Brief(d.Breaker.Window),
		"breaker.cool_off":     deliver.Brief(d.Breaker.CoolOff),
		"breaker.max_cool_off": deliver.Brief(d.Breaker.MaxCoolOff),
		"allow_cidrs":          fmt.Sprint(e.AllowCIDRs),
	}

	var headers, secrets, tls []string
	for _, h := range e.Headers {
		headers = append(headers, h.Name, h.Value.Reveal())
	}
	for _, s := range e.Secrets {
		secrets = append(secrets, s.Secret.Reveal(), s.Until.String())
	}
	if e.TLS != nil {
		tls = append(tls, e.TLS.ServerName)
		for _, c := range e.TLS.Certificates {
			tls = append(tls, string(slices.Concat(c.Certificate...)))
		}
		if e.TLS.RootCAs != nil { // it was read from a file: the system's are not in it
			tls = append(tls, string(slices.Concat(e.TLS.RootCAs.Subjects()...))) //nolint:staticcheck // see above
		}
	}
	for key, parts := range map[string][]string{
		"url": {e.URL, e.Shown}, "headers": headers, "secrets": secrets, "tls": tls,
	} {
		all[key] = hiddenMark + twoBytes(parts)
	}

	text, _ := json.Marshal(all) // it has nothing that cannot be written
	return string(text)
}

// hiddenMark begins what stands for a value that is not for the log. No other value begins with it.
const hiddenMark = "#"

// twoBytes are two bytes of a hash of texts, in hex.
func twoBytes(texts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	return hex.EncodeToString(sum[:2])
}

// settingMost bounds how much of a value is in a log, in bytes.
const settingMost = 100

// settingChanges compares two texts of writtenSettings, and returns what has changed, by key. A key that only one of
// them has belongs to another version of the relay: it has not changed.
func settingChanges(before, after string) []event.SettingChange {
	var was, is map[string]string
	if json.Unmarshal([]byte(before), &was) != nil || json.Unmarshal([]byte(after), &is) != nil {
		return nil
	}

	var changes []event.SettingChange
	for key, old := range was {
		now, known := is[key]
		switch {
		case !known || now == old:
		case strings.HasPrefix(now, hiddenMark):
			changes = append(changes, event.SettingChange{Key: key})
		default:
			changes = append(changes, event.SettingChange{
				Key: key,
				Old: old[:min(len(old), settingMost)],
				New: now[:min(len(now), settingMost)],
			})
		}
	}
	slices.SortFunc(changes, func(a, b event.SettingChange) int { return cmp.Compare(a.Key, b.Key) })
	return changes
}
