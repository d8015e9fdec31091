package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// SeenProblem is a problem with the replicas that see it.
type SeenProblem struct {
	StatusProblem
	// Key tells it from others of its code, for as long as it lasts.
	Key string `json:"key"`
	// By are the replicas that see it; none: that does not depend on the replica.
	By []string `json:"-"`
}

// seenByReplicas are the codes of problems that a replica may have while others have not.
var seenByReplicas = []string{
	RedisDown, RedisFull, RedisShort, RedisEmptied, RedisAdvice, ClockDiffers, SpoolNearlyFull, SpoolFailing,
	CredentialsRefused, AccountLimited, PushesMissed, ConfigRefused, RestartNeeded, WhenFails,
}

// seen adds to problems what tells them apart.
func seen(all []StatusProblem) []SeenProblem {
	out := make([]SeenProblem, len(all))
	for i, p := range all {
		out[i] = SeenProblem{StatusProblem: p, Key: cmp.Or(p.key, p.Subject)}
	}
	return out
}

// OwnProblems gives those that this replica sees without asking Redis.
func (c *API) OwnProblems() []SeenProblem {
	out := seen(Problems(Facts{
		Now: c.now(), Replica: c.o.ReplicaStatus(), WhenFailures: c.o.WhenFailures(), SecretEnds: c.o.SecretEnds(),
		NoticeFailures: c.o.NoticeFailures(), Unquoted: true,
	}))
	for i := range out {
		if p := &out[i]; p.Code == SpoolInUse { // as the others have it
			p.Subject = "spool of " + c.o.Replica
			p.Key = p.Subject
		}
	}
	return out
}

// ProblemsOf gives those that any replica sees, for the operator (empty) and for tenants, without what receivers
// answered. whole says that none is missing, because Redis did not answer.
func (c *API) ProblemsOf(ctx context.Context, tenants []string) (all map[string][]SeenProblem, whole bool) {
	set := c.current.Load()
	s := (&call{API: c, settings: set}).snapshotWithin(ctx)
	all = make(map[string][]SeenProblem, len(tenants))
	for _, tenant := range tenants {
		as := &call{API: c, settings: set, tenant: tenant}
		_, facts := as.sumUp(s)
		facts.Unquoted = true
		if err := as.errOf(s); err != nil {
			facts.Cause = as.cause(err)
		}
		all[tenant] = c.ofAllReplicas(seen(Problems(facts)), s.replicas, tenant)
	}
	return all, s.err == nil
}

// ofAllReplicas adds what other replicas see, and who sees what.
func (c *API) ofAllReplicas(all []SeenProblem, replicas []Replica, tenant string) []SeenProblem {
	at := make(map[string]int, len(all))
	for i := range all {
		p := &all[i]
		if p.Code == SpoolInUse && p.Subject == "spool" {
			p.Subject = "spool of " + c.o.Replica
			p.Key = p.Subject
		}
		if slices.Contains(seenByReplicas, p.Code) {
			p.By = []string{c.o.Replica}
		}
		at[p.Code+" "+p.Key] = i
	}

	for _, r := range replicas {
		if r.Self {
			continue
		}
		for _, p := range r.Problems {
			i, known := at[p.Code+" "+p.Key]
			switch {
			case tenant != "" && p.Subject != "tenant "+tenant:
			case known && all[i].By != nil:
				all[i].By = append(all[i].By, r.ID)
			case !known && slices.Contains(seenByReplicas, p.Code):
				at[p.Code+" "+p.Key] = len(all)
				p.By = []string{r.ID}
				all = append(all, p)
			}
		}
	}

	for i := range all {
		if len(all[i].By) >= len(replicas) || tenant != "" {
			all[i].By = nil // all see it, or it is nobody's business
		}
	}
	return all
}

// addNotices adds the receivers of a caller's notices that get none: those to which this replica sends in vain, and
// those of which others say so.
func (f *Facts) addNotices(own []NoticeFailure, replicas []Replica, tenant string) {
	for _, n := range own {
		if tenant == "" || n.Tenant == tenant {
			f.NoticeFailures = append(f.NoticeFailures, n)
		}
	}
	for _, r := range replicas {
		if r.Self {
			continue
		}
		for _, p := range r.Problems {
			if p.Code == NoticeFails && (tenant == "" || strings.HasPrefix(p.Key, tenant+"/")) {
				f.NoticeFailures = append(f.NoticeFailures, NoticeFailure{Receiver: p.Key, Since: p.Since, Why: p.Why})
			}
		}
	}
}

// ofNotices are receivers that get no notices. No notice tells of that: it would go the same way.
func (f *Facts) ofNotices() (all []StatusProblem) {
	known := make(map[string]bool)
	for _, n := range f.NoticeFailures {
		if known[n.Receiver] || len(all) == problemsPerCode {
			continue
		}
		known[n.Receiver] = true
		all = append(all, StatusProblem{
			Code: NoticeFails, Severity: Warning, Since: n.Since, Subject: "notices " + n.Receiver, key: n.Receiver,
			What: "messages to it are not taken: nobody is told there of problems", Why: n.Why,
			Do: "correct its address or secret (notices in the config), then kuairelay notices test " + n.Receiver,
		})
	}
	return all
}

// NoticeTest is what became of a test message to a receiver of notices.
type NoticeTest struct {
	Receiver string `json:"receiver" doc:"its format and its place in the list; before it its tenant"`
	Format   string `json:"format" doc:"wecom, feishu, dingtalk, slack or webhook"`
	Host     string `json:"host" doc:"where it is; the rest of its address is a secret"`
	Sent     bool   `json:"sent" doc:"whether it took the message"`
	Why      string `json:"why,omitempty" doc:"why it did not"`
}

// NoticeTests are those of several receivers.
type NoticeTests struct {
	Tests []NoticeTest `json:"tests" doc:"one for each receiver, in the order of the config"`
}

// noticeTestRequest says which receivers get a message.
type noticeTestRequest struct {
	Receiver string `json:"receiver,omitempty" doc:"the name of one; default: all of the caller's"`
}

// testNotices sends a message to the receivers of the caller's notices.
func testNotices(c *call) (out NoticeTests, err error) {
	var request noticeTestRequest
	if err := c.body(&request); err != nil {
		return out, err
	}
	out.Tests = []NoticeTest{}
	if c.settings.TestNotices != nil {
		out.Tests = append(out.Tests, c.settings.TestNotices(c.ctx(), c.tenant, request.Receiver)...)
	}
	if request.Receiver != "" && len(out.Tests) == 0 {
		return out, echo.NewHTTPError(http.StatusNotFound, c.noReceiver())
	}

	sent := 0
	for _, t := range out.Tests {
		if t.Sent {
			sent++
		}
	}
	c.did(c.tenant, request.Receiver, sent)
	if failed := len(out.Tests) - sent; failed > 0 {
		c.deeds.result = fmt.Sprintf("failed: %d of %d not taken", failed, len(out.Tests))
	}
	return out, nil
}

// receiversNamed is how many receivers of notices an answer names.
const receiversNamed = 20

// noReceiver says that the caller has no receiver of the name that was asked for, and which there are.
func (c *call) noReceiver() string {
	const none = "there is no receiver of notices of that name"
	var names []string
	if c.settings.NoticeNames != nil {
		names = c.settings.NoticeNames(c.tenant)
	}
	if len(names) == 0 {
		return none + ", nor any other: notices in the config has none"
	}
	more := ""
	if len(names) > receiversNamed {
		more = fmt.Sprintf(", and %d more", len(names)-receiversNamed)
		names = names[:receiversNamed]
	}
	return none + ": there are " + strings.Join(names, ", ") + more
}
