package console

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"kuairelay/relay/api"
)

// configView is the config that is served, and what is wrong with its files.
type configView struct {
	Fingerprint     string
	Since           moment
	Refused         moment // since when the files have mistakes; none: they have not
	Mistakes, Notes []noteRow
	More            int
	By              string       // how many replicas serve it; empty: that is not known
	Others          []replicaRow // that serve another one
	Restart         string
	Tenants         string
	Endpoints       string
	Effective       string // as YAML
}

// noteRow is a mistake or a warning.
type noteRow struct {
	At   string
	Text said
}

func (v *visit) noteRows(notes []api.ConfigNote) (out []noteRow) {
	for _, n := range notes {
		row := noteRow{Text: v.sayMistakes(n.Text)}
		if n.File != "" {
			row.At = fmt.Sprintf("%s:%d", visible(n.File), n.Line)
		}
		out = append(out, row)
	}
	return out
}

func (v *visit) showConfig() error {
	c, err := ask[api.ConfigState](v, "GET /config", nil)
	if err != nil {
		return err
	}
	out := configView{
		Fingerprint: c.Fingerprint, Since: v.moment(c.Since), Refused: v.moment(c.RefusedAt),
		Mistakes: v.noteRows(c.Mistakes), Notes: v.noteRows(c.Warnings), More: c.More,
		Restart: strings.Join(c.Restart, ", "), Endpoints: count(c.Endpoints),
	}
	if v.tenant == "" {
		out.Tenants = count(c.Tenants)
	}
	out.By, out.Others = v.servedBy(c.Fingerprint)

	effective, err := ask[api.Document](v, "GET /config/effective", nil)
	if err == nil {
		out.Effective = visible(string(effective.Text))
	}
	return v.render(http.StatusOK, "config", out)
}

// reload has the relay read its config again, and says what came of it: mistakes of the files are on the page of the
// config.
func (v *visit) reload() error {
	result, err := send[api.ReloadResult](v, "POST /config/reload", nil, nil)
	if wrong, ok := errors.AsType[*api.MistakesError](err); ok {
		return v.done("reload-refused", count(len(wrong.Mistakes)))
	}
	switch {
	case err != nil:
		return err
	case !result.Changed:
		return v.done("reload-same")
	}
	return v.done("reload", result.Fingerprint)
}

// servedBy are the replicas that serve a config, and those that serve another one. A tenant is not told.
func (v *visit) servedBy(fingerprint string) (by string, others []replicaRow) {
	if v.tenant != "" {
		return "", nil
	}
	s, err := v.system()
	if err != nil || len(s.Replicas) == 0 {
		return "", nil
	}
	same := 0
	for _, r := range s.Replicas {
		if r.Config.Fingerprint == fingerprint {
			same++
		} else {
			others = append(others, replicaRow{Name: visible(r.ID), Config: r.Config.Fingerprint})
		}
	}
	return v.t("config.by", count(same), count(len(s.Replicas))), others
}

// systemView is what the relay runs on.
type systemView struct {
	Replicas []replicaRow
	Partial  bool
	Parts    []systemPart
	Advice   []noteRow
	Audit    []auditRow
	Acts     []option // that the audit can be narrowed to
	Tenant   string
	NoAudit  bool // Redis does not answer
	Next     string
	Filtered bool
}

// replicaRow is a replica.
type replicaRow struct {
	Name, Version, Config string
	State                 word
	Up                    moment
	Rate, Spooled         string
}

// systemPart is a part of the system with what is known of it.
type systemPart struct {
	Name string
	Rows []systemRow
}

// systemRow is something that is known of a part.
type systemRow struct {
	Name, Value string
	Foreign     bool // Value is a name, or a word of Redis
}

// auditRow is what somebody did.
type auditRow struct {
	At                moment
	By, What, Subject string
	Count, Times      string // empty: one, once
	From, Result      string // Result is empty if there is nothing to say
}

// system is what the relay runs on, as old as an open page at most.
func (v *visit) system() (api.System, error) {
	return askKept[api.System](v, pace, "", "GET /system", nil)
}

func (v *visit) showSystem() error {
	s, err := ask[api.System](v, "GET /system", nil)
	if err != nil {
		return err
	}

	out := systemView{Partial: s.Partial}
	for _, r := range s.Replicas {
		out.Replicas = append(out.Replicas, replicaRow{
			Name: visible(r.ID), Version: visible(r.Version), Config: r.Config.Fingerprint, State: v.state(string(r.Status)),
			Up: v.moment(r.StartedAt), Rate: v.t("per.second", fmt.Sprintf("%.1f", r.Callbacks)), Spooled: count(r.Spool.Files),
		})
	}
	for _, a := range s.Advice {
		out.Advice = append(out.Advice, noteRow{At: a.Name, Text: v.say(a.Why)})
	}
	out.Parts = v.systemParts(s)

	if err := v.addAudit(&out); err != nil {
		return err
	}
	return v.render(http.StatusOK, "system", out)
}

// addAudit adds a page of the audit, of one act or one tenant if the address says so. It is in Redis: without it the
// rest is shown.
func (v *visit) addAudit(out *systemView) error {
	q := v.query("what", "tenant", "since", "cursor")
	q.Set("limit", "20")
	out.Tenant, out.Filtered = q.Get("tenant"), q.Has("what") || q.Has("tenant") || q.Has("since")
	out.Acts = v.options(api.ActNames(), q.Get("what"), v.deed)
	acts, err := ask[api.Audit](v, "GET /audit", q)
	if status, _ := statusOf(err); status == http.StatusServiceUnavailable {
		out.NoAudit = true
		return nil
	}
	if err != nil {
		return err
	}
	for _, a := range acts.Acts {
		out.Audit = append(out.Audit, v.auditRow(a))
	}
	out.Next = v.nextPage("/system", q, acts.Next)
	return nil
}

// deed is the name of an act in words.
func (v *visit) deed(name string) string {
	key := "audit." + name
	if v.look.language.has(key) {
		return v.t(key)
	}
	return visible(name)
}

func (v *visit) auditRow(a api.AuditEntry) auditRow {
	row := auditRow{
		At: v.moment(a.At), By: v.person(a.By.Name, a.By.Key), What: v.deed(a.What), Subject: visible(a.Subject),
		From: visible(a.By.From),
	}
	if a.Count > 1 && a.Count != a.Times {
		row.Count = count(a.Count)
	}
	if a.Times > 1 {
		row.Times = v.t("audit.times", a.Times)
	}
	if a.Result != "done" {
		row.Result = visible(a.Result)
	}
	return row
}

// systemParts are Redis, the spool, kuaidihelp and memory.
func (v *visit) systemParts(s api.System) []systemPart {
	state := s.Redis.State
	if s.Redis.Why != "" {
		state += ": " + s.Redis.Why
	}
	memory, latency, replicas := "", "", ""
	if s.Redis.Memory > 0 { // an embedded one knows none of these
		memory = size(int(s.Redis.Memory))
		latency = "<0.1 ms"
		if s.Redis.LatencyMS >= 0.1 {
			latency = fmt.Sprintf("%.1f ms", s.Redis.LatencyMS)
		}
		replicas = count(s.Redis.Replicas)
	}
	if s.Redis.MaxMemory > 0 {
		memory += " / " + size(int(s.Redis.MaxMemory))
	}
	credentials := v.say(s.Kuaidihelp.Credentials).String()
	if since := v.moment(s.Kuaidihelp.RefusedSince); since.ISO != "" {
		credentials += " · " + since.Text
	}
	last := v.moment(s.Kuaidihelp.LastCallbackAt)

	return []systemPart{
		{Name: "Redis", Rows: filled(
			systemRow{Name: v.t("col.state"), Value: v.say(state).String()},
			foreign(v.t("system.version"), s.Redis.Version),
			systemRow{Name: v.t("system.memory"), Value: memory},
			foreign(v.t("system.policy"), s.Redis.Policy),
			foreign(v.t("system.persistence"), s.Redis.Persists),
			systemRow{Name: v.t("system.replicas"), Value: replicas},
			systemRow{Name: v.t("system.latency"), Value: latency},
		)},
		{Name: v.t("system.spool"), Rows: filled(
			systemRow{Name: v.t("col.state"), Value: v.say(s.Spool.State).String()},
			systemRow{Name: v.t("system.room"), Value: size(int(s.Spool.RoomBytes))},
		)},
		{Name: v.t("system.kuaidihelp"), Rows: filled(
			systemRow{Name: v.t("overview.callback"), Value: last.Text + " " + last.Ago},
			foreign(v.t("system.callback.at"), s.Kuaidihelp.LastReplica),
			systemRow{Name: v.t("system.credentials"), Value: credentials},
		)},
		{Name: v.t("system.kept"), Rows: filled(
			systemRow{Name: v.t("menu.events"), Value: "≈ " + count(s.Memory.Events)},
			systemRow{Name: v.t("system.memory"), Value: sizeOf(s.Memory.Bytes)},
		)},
	}
}

// sizeOf is a number of bytes in words; empty: it is not known.
func sizeOf(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return size(int(bytes))
}

// foreign is a row with a word that is not of the pages.
func foreign(name, value string) systemRow {
	return systemRow{Name: name, Value: visible(value), Foreign: true}
}

// filled leaves out what is not known.
func filled(all ...systemRow) (out []systemRow) {
	for _, s := range all {
		if strings.TrimSpace(s.Value) != "" {
			out = append(out, s)
		}
	}
	return out
}
