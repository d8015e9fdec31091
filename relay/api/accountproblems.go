package api

import (
	"fmt"
	"time"
)

const (
	limitedFor = 5 * time.Minute    // a single call may come too early
	endsSoon   = 7 * 24 * time.Hour // a secret that ends within that
)

// SecretEndsSoon says whether a secret with this end ends soon.
func SecretEndsSoon(until, now time.Time) bool { return until.After(now) && until.Sub(now) < endsSoon }

// SecretEnd is a secret that is valid until a time.
type SecretEnd struct {
	Tenant string // whose it is; empty: the operator's
	Of     string // tenant/endpoint, tenant NAME, admin or callback
	What   string // an API key, with its name if it has one; and so on
	Until  time.Time
}

// ofLimited is an account that gets nothing but 1008, which has two meanings.
func (f *Facts) ofLimited() []StatusProblem {
	since, latest := f.Replica.LimitedSince, f.Replica.LimitedLatest
	if latest.Sub(since) < limitedFor || f.Now.Sub(latest) >= risingWithin {
		return nil
	}
	why := "it answers each call with 1008"
	if said := f.Replica.LimitedSaid; said != "" {
		why += ": " + said
	}
	return []StatusProblem{{
		Code: AccountLimited, Severity: Critical, Since: since, Subject: "kuaidihelp",
		What: "nobody can subscribe: the account is out of credit, or makes too many calls", Why: why,
		Do:    "look at the account's credit; if there is some, lower kuaidihelp.rate and kuaidihelp.query.rate",
		Links: Links{Page: "subscriptions"},
	}}
}

// ofMissed are pushes that did not come, as reconcile has found.
func (f *Facts) ofMissed() []StatusProblem {
	r := &f.Replica
	if r.Missed == 0 || f.Now.Sub(r.MissedLatest) >= risingWithin {
		return nil
	}
	return []StatusProblem{{
		Code: PushesMissed, Severity: Warning, Since: r.MissedSince, Subject: "kuaidihelp",
		What:  howMany(int64(r.Missed), "update was not pushed", "updates were not pushed"),
		Why:   "kuaidihelp had them when it was asked; the latest was found at " + stamp(r.MissedLatest),
		Do:    "see whether the proxy in front refuses callbacks; if not, ask kuaidihelp why it does not push",
		Links: Links{Page: "subscriptions"},
	}}
}

// ofSecrets are secrets that end soon, the first to end first; of many, the others together.
func (f *Facts) ofSecrets() (all []StatusProblem) {
	more := 0
	for _, s := range f.SecretEnds {
		if !SecretEndsSoon(s.Until, f.Now) {
			continue
		}
		if len(all) == problemsPerCode {
			more++
			continue
		}
		all = append(all, StatusProblem{
			Code: SecretEnds, Severity: Warning, Since: s.Until.Add(-endsSoon), Subject: s.Of, key: s.Of + " " + s.What,
			What:  s.What + " ends at " + stamp(s.Until),
			Why:   "the config says so (until)",
			Do:    "see that its holder has the next one, and uses it; then take this one out of the config",
			Links: Links{Page: "config"},
		})
	}
	if more > 0 {
		all = append(all, StatusProblem{
			Code: SecretEnds, Severity: Warning, Subject: fmt.Sprintf("%d more secrets", more), What: "they end within a week",
			Do: "look for `until` in the config", Links: Links{Page: "config"},
		})
	}
	return all
}
