package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
)

// The names of acts in the audit.
const (
	actPause             = "pause"
	actResume            = "resume"
	actTest              = "test"
	actTestNotices       = "notices-test"
	actRedrive           = "redrive"
	actDismiss           = "dismiss"
	actResend            = "resend"
	actRetry             = "retry"
	actReplay            = "replay"
	actCancelReplay      = "replay-cancel"
	actSubscribe         = "subscribe"
	actUnsubscribe       = "unsubscribe"
	actReadQuarantine    = "quarantine-read"
	actReplayQuarantine  = "quarantine-replay"
	actDismissQuarantine = "quarantine-dismiss"
	// ActReload is the reload of the config, which is no route of this API.
	ActReload = "reload"
	// ActLogin is a login to the pages.
	ActLogin = "login"
)

// ActNames are the names of all acts in the audit.
func ActNames() []string {
	return []string{
		actPause, actResume, actTest, actTestNotices,
		actRedrive, actDismiss, actResend, actRetry,
		actReplay, actCancelReplay,
		actSubscribe, actUnsubscribe,
		actReadQuarantine, actReplayQuarantine, actDismissQuarantine,
		ActReload, ActLogin,
	}
}

const (
	// done is the result of an act of which there is nothing else to say.
	done = "done"
	// noteTakes is how long an answer waits for its entry in the audit.
	noteTakes = 2 * time.Second
	// noteText bounds each text of an entry, in bytes.
	noteText = 200
	// notesAtOnce is how many entries one request makes.
	notesAtOnce = 20
)

// deeds are what a request has done so far, for the audit.
type deeds struct {
	changes []change
	// result says what came of it; empty: done.
	result string
	// none says that nothing was changed, although the request was right.
	none bool
}

// change is what was done to one thing.
type change struct {
	tenant  string // whose it is; empty: nobody's
	subject string
	count   int
}

// did notes that so many things of a subject were changed, which is a tenant's, or nobody's (empty).
func (c *call) did(tenant, subject string, count int) {
	tenant = cmp.Or(c.tenant, tenant) // a tenant changes its own only
	c.deeds.changes = append(c.deeds.changes, change{tenant: tenant, subject: subject, count: count})
}

// didTo notes that so many things of an endpoint were changed.
func (c *call) didTo(endpoint string, count int) {
	tenant, _, _ := strings.Cut(endpoint, "/")
	c.did(tenant, endpoint, count)
}

// didNothing notes that the request changes nothing, so that the audit has no entry of it.
func (c *call) didNothing() { c.deeds.none = true }

// record writes into the audit and the log what a request did. A request that was refused before it did anything has no
// entry.
func (c *call) record(what string, err error) {
	changes := c.deeds.changes
	result := cmp.Or(c.deeds.result, done)
	if err != nil {
		status := http.StatusInternalServerError
		if he, ok := errors.AsType[*echo.HTTPError](err); ok {
			status = he.Code
		}
		if status < http.StatusInternalServerError && len(changes) == 0 {
			return
		}
		result = fmt.Sprintf("failed: %d", status) // its detail is for the log: it may name a server
	}
	if c.deeds.none {
		return
	}

	if len(changes) == 0 {
		c.didToPath()
		changes = c.deeds.changes
	}
	for _, x := range changes {
		c.log(c.act(what, x, result))
	}
	for _, x := range byTenant(changes) {
		c.write(c.ctx(), c.act(what, x, result))
	}
}

// didToPath notes that the one thing was changed that the path names.
func (c *call) didToPath() {
	if e, err := c.endpoint(); c.Param("endpoint") != "" && err == nil {
		c.didTo(e.ID, 1)
		return
	}
	c.did(c.tenant, c.Param("id"), 1)
}

func (c *call) act(what string, x change, result string) event.Act {
	return event.Act{By: c.actor(), What: what, Tenant: x.tenant, Subject: x.subject, Count: x.count, Result: result}
}

// byTenant sums changes up, so that no request fills the audit: one for each tenant, and of many tenants one for all
// others.
func byTenant(changes []change) []change {
	sums := make(map[string]change)
	for _, x := range changes {
		sum, more := sums[x.tenant]
		if more && sum.subject != x.subject {
			x.subject = "" // several
		}
		x.count += sum.count
		sums[x.tenant] = x
	}

	var out []change
	for i, tenant := range slices.Sorted(maps.Keys(sums)) {
		if i < notesAtOnce {
			out = append(out, sums[tenant])
			continue
		}
		last := &out[notesAtOnce-1]
		*last = change{count: last.count + sums[tenant].count}
	}
	return out
}

// Note writes into the audit and the log what somebody did, for acts that are no route of this API. It is called after
// the act. It does not fail: what Redis does not take is in the log.
func (c *API) Note(ctx context.Context, a event.Act) {
	c.log(a)
	c.write(ctx, a)
}

// log logs an act.
func (c *API) log(a event.Act) { c.o.Logger.Info("API action", fieldsOf(a)...) }

// write writes an act into the audit, also if the client has gone away.
func (c *API) write(ctx context.Context, a event.Act) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTakes)
	defer cancel()
	a.By.From = short(a.By.From)
	a.Subject = short(a.Subject)
	a.Result = short(a.Result)
	if err := c.audit.Note(ctx, a); err != nil {
		c.o.Logger.Error("API action is not in the audit", append(fieldsOf(a), zap.Error(err))...)
	}
}

// short bounds a text of an entry.
func short(text string) string {
	return strings.ToValidUTF8(text[:min(noteText, len(text))], "")
}

// fieldsOf are those of an act in the log.
func fieldsOf(a event.Act) []zap.Field {
	fields := []zap.Field{
		zap.String("done", a.What),
		zap.String("subject", short(a.Subject)),
		zap.Int("count", a.Count),
		zap.String("by", a.By.Name),
		zap.String("from", a.By.From),
		zap.String("result", short(a.Result)),
	}
	if a.By.Key != "" {
		fields = append(fields, zap.String("key", a.By.Key))
	}
	return fields
}

// AuditEntry is something that somebody did through the API.
type AuditEntry struct {
	At      time.Time `json:"at" doc:"when; of several, the latest"`
	By      Actor     `json:"by" doc:"who did it"`
	What    string    `json:"what" doc:"name of the act"`
	Tenant  string    `json:"tenant,omitempty" doc:"whose things it was done to; none: of several tenants, or of none"`
	Subject string    `json:"subject,omitempty" doc:"what it was done to: an endpoint, an id, a brand and waybill; none: several"`
	Count   int       `json:"count" doc:"how many things it changed"`
	Times   int       `json:"times" doc:"how often it was done: acts that are alike, within a minute, are one entry"`
	Result  string    `json:"result" doc:"what came of it"`
}

// Actor is who did something.
type Actor struct {
	Name string `json:"name" doc:"operator, or the tenant"`
	Key  string `json:"key,omitempty" doc:"name of the tenant's API key, if it has one"`
	From string `json:"from,omitempty" doc:"address that the request came from; a tenant is not told the operator's"`
}

// Audit is a page.
type Audit struct {
	Acts []AuditEntry `json:"acts" doc:"the latest first"`
	Next string       `json:"next,omitempty" doc:"cursor of the next page; none: this is the end. A page may hold fewer acts than limit, even none, and still have a next"`
}

// listAudit gives a page of what people did, the latest first. A tenant sees what it did, and what the operator did to
// its things.
func listAudit(c *call) (Audit, error) {
	r := c.reader()
	q := event.ActQuery{Most: r.limit(), Cursor: r.param("cursor")}
	tenant := r.filterOf("tenant").Tenant
	what := one(r, "what", "", readAct)
	q.Since = one(r, "since", time.Time{}, c.readTime)
	until := one(r, "until", time.Time{}, c.readTime)
	if err := r.end(); err != nil {
		return Audit{}, err
	}

	q.Match = func(a *event.Act) bool {
		return (tenant == "" || a.Tenant == tenant) &&
			(what == "" || a.What == what) &&
			(until.IsZero() || a.At.Before(until))
	}
	page, next, err := c.audit.Acts(c.ctx(), q)
	if err != nil {
		return Audit{}, c.failed("list the audit", err)
	}
	out := Audit{Acts: []AuditEntry{}, Next: next}
	for _, a := range page {
		out.Acts = append(out.Acts, c.showAct(a))
	}
	return out, nil
}

// readAct reads the name of an act.
func readAct(name string) (string, error) {
	if !slices.Contains(ActNames(), name) {
		return "", fmt.Errorf("must be one of %s", strings.Join(ActNames(), ", "))
	}
	return name, nil
}

func (c *call) showAct(a event.Act) AuditEntry {
	out := AuditEntry{
		At:      utc(a.At),
		By:      Actor(a.By),
		What:    a.What,
		Tenant:  a.Tenant,
		Subject: a.Subject,
		Count:   a.Count,
		Times:   a.Times,
		Result:  a.Result,
	}
	if c.tenant != "" && (a.By.Name != c.tenant || a.By.Name == event.Operator) { // a tenant may have that name
		out.By.Key, out.By.From = "", ""
	}
	return out
}
