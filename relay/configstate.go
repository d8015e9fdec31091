package relay

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
)

// homesOf are the tenants that have files of their own, which hold nothing of others, with these files.
func homesOf(c *config.Config) map[string]string {
	own := make(map[string]bool)
	for _, path := range c.Files.OfTenants() {
		own[path] = true
	}
	homes := make(map[string]string)
	for _, t := range c.Tenants {
		if own[t.Pos.File] {
			homes[t.Name] = t.Pos.File
		}
	}
	return homes
}

// configStateOf is the state of the config. Of the mistakes and warnings, a tenant (empty: the operator) gets those of
// the file that is its own.
func (r *Relay) configStateOf(tenant string) api.ConfigState {
	now := r.reload.current()
	out := api.ConfigState{
		Fingerprint: now.fingerprint,
		Since:       utcMilli(now.since),
		CheckedAt:   utcMilli(now.at),
		Reload:      ReloadOK,
		Restart:     now.restart,
		Warnings:    notesOf(now.warnings, tenant, now.homes),
	}
	if !now.ok {
		out.Reload = ReloadFailed
		out.RefusedAt = utcMilli(now.failedAt)
		out.Mistakes = notesOf(now.mistakes, tenant, now.homes)
	}
	return out
}

// notesOf are mistakes or warnings that a tenant may see.
func notesOf(all []config.Mistake, tenant string, homes map[string]string) (out []api.ConfigNote) {
	own := homes[tenant]
	for _, m := range all {
		note := api.ConfigNote{File: m.Pos.File, Line: m.Pos.Line, Text: m.Msg}
		if tenant != "" && m.Others {
			note.Text = "it is the same as another tenant's, or belongs to one: the operator can say more"
		}
		if tenant == "" || own != "" && m.Pos.File == own {
			out = append(out, note)
		}
	}
	return out
}

// effective is the config in use as YAML. It is made when it is first asked for, once for each config: that costs about
// as much as a reload.
type effective struct {
	mu   sync.Mutex
	of   string // fingerprint
	made *config.Effective
}

// effectiveText is all of it (empty: the operator), or the part of a tenant; nil: the tenant is not in it.
func (r *Relay) effectiveText(tenant string) ([]byte, error) {
	now := r.reload.current()
	e := &r.effective
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.made == nil || e.of != now.fingerprint {
		made, err := now.files.Effective()
		if err != nil {
			return nil, err
		}
		e.of, e.made = now.fingerprint, made
	}
	return e.made.Text(tenant), nil
}

// utcMilli is a time as answers have it; zero stays zero.
func utcMilli(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// mistakesOf are those that an error names.
func mistakesOf(err error) (all []config.Mistake) {
	if found, ok := errors.AsType[config.Mistakes](err); ok {
		return found
	}
	for line := range strings.Lines(err.Error()) {
		all = append(all, config.Mistake{Msg: strings.TrimSuffix(line, "\n")})
	}
	return all
}

// mistakeLines are mistakes as text, a line each.
func mistakeLines(all []config.Mistake) (lines []string) {
	for _, mistake := range all {
		if mistake.Pos.File == "" {
			lines = append(lines, mistake.Msg)
		} else {
			lines = append(lines, mistake.String())
		}
	}
	return lines
}

// secretEnds are the secrets of the config in use that end.
type secretEnds struct {
	all atomic.Pointer[[]api.SecretEnd]
}

// use finds the secrets of a config that end, the first to end first.
func (e *secretEnds) use(c *config.Config) {
	var all []api.SecretEnd
	add := func(tenant, of, what, name string, until time.Time) {
		if name != "" {
			what += " " + name
		}
		if !until.IsZero() {
			all = append(all, api.SecretEnd{Tenant: tenant, Of: of, What: what, Until: until})
		}
	}

	for _, t := range c.Admin.Tokens {
		add("", "admin", "a token of the operator", t.Name, t.Until)
	}
	for _, t := range c.Callback.Tokens {
		add("", "callback", "a callback token", t.Name, t.Until)
	}
	for _, t := range c.Tenants {
		for _, k := range t.APIKeys {
			add(t.Name, "tenant "+t.Name, "an API key", k.Name, k.Until)
		}
		for _, endpoint := range t.Endpoints {
			for _, s := range endpoint.Secrets {
				add(t.Name, t.Name+"/"+endpoint.Name, "a signing secret", "", s.Until)
			}
		}
	}

	slices.SortFunc(all, func(a, b api.SecretEnd) int { return a.Until.Compare(b.Until) })
	e.all.Store(&all)
}

// list gives them.
func (e *secretEnds) list() []api.SecretEnd {
	if all := e.all.Load(); all != nil {
		return *all
	}
	return nil
}
