package api

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ofConfig are the problems of the config, at this replica and over all.
func (f *Facts) ofConfig() []StatusProblem {
	return slices.Concat(f.ofMistakes(), f.ofRestart(), f.ofExpressions(), f.ofSecrets(), f.differentConfigs())
}

// ofMistakes is a config that was not reloaded.
func (f *Facts) ofMistakes() []StatusProblem {
	r := &f.Replica
	if r.Config.Reload != "failed" {
		return nil
	}

	shown := r.ConfigMistakes[:min(mistakesShown, len(r.ConfigMistakes))]
	if more := len(r.ConfigMistakes) - len(shown); more > 0 {
		shown = append(slices.Clone(shown), fmt.Sprintf("and %d more; kuairelay check lists them", more))
	}
	keeps := "the relay keeps the config of " + stamp(r.Config.LoadedAt)
	sentences := []string{"the config's files have mistakes: " + keeps}
	for _, mistake := range shown {
		sentences = append(sentences, "config: "+mistake)
	}
	return []StatusProblem{{
		Code: ConfigRefused, Severity: Warning, Since: r.ConfigRefusedSince, Subject: "config",
		What: "its files have mistakes: " + keeps, Why: strings.Join(shown, "\n"),
		Do:    "correct the files (kuairelay check); they are read again by themselves",
		Links: Links{Page: "config"}, sentences: sentences,
	}}
}

// ofRestart are keys that wait for a restart.
func (f *Facts) ofRestart() []StatusProblem {
	keys := strings.Join(f.Replica.Restart, ", ")
	if keys == "" {
		return nil
	}
	return []StatusProblem{{
		Code: RestartNeeded, Severity: Warning, Since: f.Replica.RestartSince, Subject: "config",
		What: "a restart is needed for " + keys + ", which keep their values until then",
		Why:  "these keys were changed, and a reload does not apply them", Do: "restart one replica after the other",
		Links: Links{Page: "config"}, sentences: []string{"config: a restart is needed for " + keys},
	}}
}

// ofExpressions are routes whose expressions failed within the last hour.
func (f *Facts) ofExpressions() (all []StatusProblem) {
	for _, w := range f.WhenFailures {
		if f.Now.Sub(w.Latest) < risingWithin {
			all = append(all, StatusProblem{
				Code: WhenFails, Severity: Warning, Since: w.Since, Subject: "tenant " + w.Tenant, key: w.Tenant + " " + w.Route,
				What: "the when expression at " + w.Route + " fails, so that the route does not match",
				Why:  fmt.Sprintf("it failed %d times at this replica, the latest at %s", w.Count, stamp(w.Latest)),
				Do:   "see what it makes of an event (kuairelay explain), and correct it", Links: Links{Page: "routes"},
			})
		}
	}
	return all
}

// differentConfigs is the problem of replicas that serve different configs for longer than a reload of all takes.
func (f *Facts) differentConfigs() []StatusProblem {
	serve := map[string][]string{}
	var since time.Time
	for _, r := range f.Replicas {
		serve[r.Config.Fingerprint] = append(serve[r.Config.Fingerprint], r.ID)
		if r.Config.Since.After(since) {
			since = r.Config.Since
		}
	}
	if len(serve) < 2 || f.Now.Sub(since) < configsMayVary {
		return nil
	}

	var who []string
	for fingerprint, replicas := range serve {
		who = append(who, fmt.Sprintf("%s serves %s", strings.Join(replicas, ", "), fingerprint))
	}
	slices.Sort(who)
	return []StatusProblem{{
		Code: ConfigsDiffer, Severity: Warning, Since: since, Subject: "replicas",
		What: "they serve different configs: what becomes of an event depends on who gets it", Why: strings.Join(who, "\n"),
		Do:    "give all of them the same files, and see what a reload says (kuairelay config)",
		Links: Links{Page: "system"},
	}}
}
