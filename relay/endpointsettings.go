package relay

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
)

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
