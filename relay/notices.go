package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/console"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/notify"
)

// newNotices makes what tells people of problems: it tells nobody until use.
func (r *Relay) newNotices() *notify.Notifier {
	return notify.New(notify.Options{
		Store: r.store,
		Own:   func() []notify.Problem { return noticed(r.api.OwnProblems()) },
		All: func(ctx context.Context, tenants []string) (map[string][]notify.Problem, bool) {
			found, whole := r.api.ProblemsOf(ctx, tenants)
			all := make(map[string][]notify.Problem, len(found))
			for tenant, problems := range found {
				all[tenant] = noticed(problems)
			}
			return all, whole
		},
		Say:       func(to notify.Language, text string) string { return console.Say(string(to), text) },
		Replica:   r.heartbeat.id,
		UserAgent: "kuairelay/" + r.o.Version,
		Now:       r.store.Now,
		Look:      r.o.NoticesLook,
		Logger:    r.log,
		Registry:  r.registry,
	})
}

// webhooks are those of the OpenAPI document: what endpoints get, and receivers of notices.
func webhooks() map[string]any {
	all := deliver.Webhooks(kuaidihelp.Statuses())
	maps.Copy(all, notify.Webhooks())
	return all
}

// noticed are the problems that notices tell of.
func noticed(all []api.SeenProblem) (out []notify.Problem) {
	told, _ := api.NoticeCodes()
	for _, p := range all {
		if slices.Contains(told, p.Code) {
			out = append(out, notify.Problem{
				Code: p.Code, Severity: string(p.Severity), Since: p.Since, Subject: p.Subject,
				What: p.What, Why: p.Why, Do: p.Do, Key: p.Key, By: p.By,
			})
		}
	}
	return out
}

// receivers are those of notices: of the operator, and of tenants.
func receivers(c *config.Config, out deliver.Egress) (all []notify.Receiver) {
	client := deliver.NewClient(out, nil, "egress.allow_cidrs")
	ofTenants := deliver.NewClient(out, c.Egress.TenantCIDRs, "egress.allow_cidrs, nor in egress.tenant_cidrs")
	add := func(tenant string, notices []config.Notice, client *http.Client) {
		for i, n := range notices {
			name := fmt.Sprintf("%s-%d", n.Format, i+1)
			if tenant != "" {
				name = tenant + "/" + name
			}
			zone := c.Console.Timezone
			if zone == nil && n.Language == string(notify.Chinese) {
				zone = event.China
			}
			all = append(all, notify.Receiver{
				Name: name, Tenant: tenant, Format: notify.Format(n.Format), URL: n.To.Reveal(), Secret: n.Secret.Reveal(),
				On: n.On, Every: n.Every, Language: notify.Language(n.Language), Zone: zone, Client: client,
			})
		}
	}
	add("", c.Notices, client)
	for _, t := range c.Tenants {
		add(t.Name, t.Notices, ofTenants)
	}
	return all
}

// testNotices sends a test message to receivers of notices.
func (r *Relay) testNotices(ctx context.Context, tenant, name string) (out []api.NoticeTest) {
	for _, t := range r.notices.Test(ctx, tenant, name) {
		test := api.NoticeTest{Receiver: t.Receiver, Format: string(t.Format), Host: t.Host, Sent: t.Err == nil}
		if t.Err != nil {
			test.Why = t.Err.Error()
		}
		out = append(out, test)
	}
	return out
}

// noticeFailures are the receivers of notices that get none from this replica.
func (r *Relay) noticeFailures() (out []api.NoticeFailure) {
	for _, f := range r.notices.Failures() {
		out = append(out, api.NoticeFailure(f))
	}
	return out
}

// seenMost bounds what a replica says of its problems, in bytes.
const seenMost = 16 << 10

// seenHere are the problems that this replica sees by itself, for the one that tells people of all; empty: none.
func (r *Relay) seenHere() string {
	all := slices.DeleteFunc(r.api.OwnProblems(), func(p api.SeenProblem) bool {
		return p.Severity == api.Notice || p.Code == api.SpoolInUse // the others see that
	})
	for len(all) > 0 {
		text, err := json.Marshal(all)
		if err != nil {
			return ""
		}
		if len(text) <= seenMost {
			return string(text)
		}
		all = all[:len(all)/2] // the worst
	}
	return ""
}

// readSeen reads what seenHere gave. What cannot be read is nothing.
func readSeen(text string) (all []api.SeenProblem) {
	if text == "" || json.Unmarshal([]byte(text), &all) != nil {
		return nil
	}
	return all
}
