package api

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

// Severity says how soon a problem needs somebody.
type Severity string

// The severities, the worst first.
const (
	// Critical wakes somebody: callbacks are refused, may be lost soon, or do not come; or nobody can subscribe.
	Critical Severity = "critical"
	// Warning can wait for the morning.
	Warning Severity = "warning"
	// Notice is as it is set up, and no fault. Somebody should know it.
	Notice Severity = "notice"
)

// rank orders severities, the worst first.
func (s Severity) rank() int { return slices.Index([]Severity{Critical, Warning, Notice}, s) }

// StatusProblem is something that needs a person. One set of rules makes them (see Problems), wherever they are shown.
type StatusProblem struct {
	Code     string    `json:"code" doc:"what kind of problem it is; docs/operator/incidents.md has a heading for each"`
	Severity Severity  `json:"severity" doc:"critical: it wakes somebody; warning: it can wait for the morning; notice: it is as it is set up"`
	Since    time.Time `json:"since,omitzero" doc:"since when, as far as it is known"`
	Subject  string    `json:"subject" doc:"what has it: redis, spool, kuaidihelp, config, replicas, tenant/endpoint, …"`
	What     string    `json:"what" doc:"what follows from it, as a sentence about the subject"`
	Why      string    `json:"why,omitempty" doc:"its cause, as far as it is known; several lines if there are several"`
	Do       string    `json:"do" doc:"what a person does about it"`
	Links    Links     `json:"links" doc:"where to look"`

	// sentences are what an old client shows of it.
	sentences []string
	// key tells it from others of its code, for as long as it lasts; empty: its subject does.
	key string
}

// Links say where to look for a problem.
type Links struct {
	Page string `json:"page,omitempty" doc:"path of a page of the console, below its root"`
	Docs string `json:"docs" doc:"heading of the documentation"`
}

// The codes of problems.
const (
	RedisDown               = "redis_down"
	RedisFull               = "redis_full"
	RedisShort              = "redis_short"
	RedisEmptied            = "redis_emptied"
	RedisAdvice             = "redis_advice"
	ClockDiffers            = "clock_differs"
	Incomplete              = "incomplete"
	Embedded                = "embedded"
	SpoolInUse              = "spool_in_use"
	SpoolNearlyFull         = "spool_nearly_full"
	SpoolDiskSmall          = "spool_disk_small"
	SpoolFailing            = "spool_failing"
	ProviderSilent          = "provider_silent"
	CredentialsRefused      = "credentials_refused"
	SubscriptionsUnfinished = "subscriptions_unfinished"
	QueriesSpent            = "queries_spent"
	AccountLimited          = "account_limited"
	PushesMissed            = "pushes_missed"
	SecretEnds              = "secret_ends"
	QuarantineRising        = "quarantine_rising"
	ConfigRefused           = "config_refused"
	ConfigsDiffer           = "configs_differ"
	RestartNeeded           = "restart_needed"
	WhenFails               = "when_fails"
	EndpointUnknown         = "endpoint_unknown"
	BreakerOpen             = "breaker_open"
	EndpointGone            = "endpoint_gone"
	EndpointFails           = "endpoint_fails"
	GetsNothing             = "gets_nothing"
	BacklogOld              = "backlog_old"
	DeadLettersRising       = "dead_letters_rising"
	NoticeFails             = "notice_fails"
)

// ProblemCodes lists all codes.
func ProblemCodes() []string {
	return []string{
		RedisDown, RedisFull, RedisShort, RedisEmptied, RedisAdvice, ClockDiffers, Incomplete, Embedded,
		SpoolInUse, SpoolNearlyFull, SpoolDiskSmall, SpoolFailing,
		ProviderSilent, CredentialsRefused, AccountLimited, PushesMissed, SubscriptionsUnfinished, QueriesSpent,
		QuarantineRising, SecretEnds,
		ConfigRefused, ConfigsDiffer, RestartNeeded, WhenFails,
		EndpointUnknown, BreakerOpen, EndpointGone, EndpointFails, GetsNothing, BacklogOld, DeadLettersRising,
		NoticeFails,
	}
}

// NoticeCodes lists the codes of problems that notices tell of: to the operator, and those of them that tenants have.
// That notices fail is told by none.
func NoticeCodes() (operator, tenants []string) {
	told := func(code string) bool { return code != NoticeFails && code != Incomplete }
	for _, code := range ProblemCodes() {
		if told(code) {
			operator = append(operator, code)
		}
	}
	return operator, []string{
		WhenFails, SecretEnds, BreakerOpen, EndpointGone, EndpointFails, GetsNothing, BacklogOld, DeadLettersRising,
	}
}

// SpoolScarce is the share of spool.max_bytes, a fifth, below which its room is scarce.
const SpoolScarce = 5

// The bounds of the rules. docs/alerts.yaml has the same.
const (
	spoolLate       = 2 * time.Minute  // a callback waits so long in the spool although Redis takes callbacks
	configsMayVary  = time.Minute      // replicas are reloaded one after the other
	unfinishedLate  = 15 * time.Minute // subscriptions have been unfinished for so long
	nothingFor      = 15 * time.Minute // an endpoint has something open, and got nothing
	backlogLate     = 6 * time.Hour    // the oldest delivery that an endpoint is owed
	risingWithin    = time.Hour        // a dead letter, a callback in quarantine, a failed expression is new
	problemsPerCode = 20               // of one kind, those that began first; the others are one more problem
	mistakesShown   = 10               // of a config
)

// Facts are what the rules look at. What is not known, or not for the caller, is zero.
type Facts struct {
	Now time.Time
	// Replica is the one that answers. Its other fields are empty for a tenant.
	Replica ReplicaStatus
	// Replicas are all that are alive, also the one that answers.
	Replicas []Replica
	// Doing and Cause say which question Redis did not answer, and why.
	Doing, Cause string
	// Endpoints are those that have something, or had.
	Endpoints []EndpointFacts
	// Unknown are endpoints that have something, and are in no config, with how many more there are.
	Unknown     []queue.EndpointHealth
	MoreUnknown int
	// Quarantined counts what is in quarantine, and what came within the last hour.
	Quarantined event.QuarantineCount
	// Work is what is to be done for subscriptions; some of it is unfinished since UnfinishedSince.
	Work            ledger.Work
	UnfinishedSince time.Time
	// WhenFailures are the latest of each route.
	WhenFailures []WhenFailure
	// SecretEnds are the secrets that end, the first to end first.
	SecretEnds []SecretEnd
	// NoticeFailures are receivers of notices that get none, of all replicas.
	NoticeFailures []NoticeFailure
	// Unquoted leaves out what receivers answered: it may be anything, also personal data.
	Unquoted bool
}

// EndpointFacts are what the rules look at of an endpoint.
type EndpointFacts struct {
	EndpointHealth
	// LatestDead is when the latest dead letter was given up.
	LatestDead time.Time
	// LastHour has what came of its attempts within about an hour; zero: nothing, or that is not known.
	LastHour DayCell
}

// WhenFailure is a route whose when expression fails.
type WhenFailure struct {
	Tenant, Route string // its tenant; file:line
	Since, Latest time.Time
	Count         int
}

// NoticeFailure is a receiver of notices that gets none.
type NoticeFailure struct {
	Receiver string    `json:"receiver"`
	Tenant   string    `json:"tenant,omitempty"` // whose it is; empty: the operator's
	Since    time.Time `json:"since"`
	Why      string    `json:"why"`
}

// Problems gives everything that needs a person, the worst first, then the oldest.
func Problems(f Facts) []StatusProblem {
	all := slices.Concat(
		f.ofRedis(),
		f.ofSpool(),
		f.ofProvider(),
		f.ofConfig(),
		f.ofEndpoints(),
		f.ofNotices(),
	)
	for i := range all {
		all[i].complete()
	}
	slices.SortStableFunc(all, worstFirst)
	return all
}

// worstFirst orders problems by severity, then the oldest first. One whose beginning is not known comes last of its
// severity.
func worstFirst(a, b StatusProblem) int {
	return cmp.Or(
		cmp.Compare(a.Severity.rank(), b.Severity.rank()),
		cmp.Compare(a.began(), b.began()),
		strings.Compare(a.Subject, b.Subject),
	)
}

// began is when a problem began, in ms; one of which that is not known began after all others.
func (p StatusProblem) began() int64 {
	if p.Since.IsZero() {
		return math.MaxInt64
	}
	return p.Since.UnixMilli()
}

// complete fills in what follows from the code, and what an old client shows.
func (p *StatusProblem) complete() {
	p.Since = utc(p.Since)
	p.Links.Docs = "docs/operator/incidents.md#" + p.Code
	if p.Severity == Notice {
		p.sentences = nil
		return
	}
	if p.sentences != nil {
		return
	}
	text := p.Subject + ": " + p.What
	if p.Why != "" {
		text += ": " + strings.ReplaceAll(p.Why, "\n", "; ")
	}
	p.sentences = []string{text}
}

// ofProvider are the problems with kuaidihelp, and with what it sends.
func (f *Facts) ofProvider() []StatusProblem {
	return slices.Concat(f.ofSilence(), f.ofCredentials(), f.ofLimited(), f.ofMissed(), f.ofUnfinished(), f.ofQueries(),
		f.ofQuarantine())
}

// ofSilence is a provider from which no callback comes.
func (f *Facts) ofSilence() []StatusProblem {
	r := &f.Replica
	if !r.Silent {
		return nil
	}
	why := "none came since the relay was started"
	if !r.LastCallbackAt.IsZero() {
		why = "the latest came at " + stamp(r.LastCallbackAt)
	}
	return []StatusProblem{{
		Code: ProviderSilent, Severity: Critical, Since: r.SilentSince, Subject: "kuaidihelp",
		What: "no callback for longer than callback.silence", Why: why,
		Do:    "see whether callbacks get here (curl the address of callbacks), and whether kuaidihelp still pushes",
		Links: Links{Page: "system"},
	}}
}

// ofCredentials is an account that the provider refuses.
func (f *Facts) ofCredentials() []StatusProblem {
	since := f.Replica.CredentialsRefusedSince
	if since.IsZero() {
		return nil
	}
	return []StatusProblem{{
		Code: CredentialsRefused, Severity: Critical, Since: since, Subject: "kuaidihelp", What: "nobody can subscribe",
		Why: "it refuses the account (kuaidihelp.app_id, .api_key)",
		Do:  "correct the key or the account, and the clock of this machine", Links: Links{Page: "subscriptions"},
		sentences: []string{"kuaidihelp refuses the account (kuaidihelp.app_id, .api_key): nobody can subscribe"},
	}}
}

// ofUnfinished are subscriptions that have been unfinished for long.
func (f *Facts) ofUnfinished() []StatusProblem {
	if f.Work.Unfinished == 0 || f.Now.Sub(f.UnfinishedSince) <= unfinishedLate {
		return nil
	}
	return []StatusProblem{{
		Code: SubscriptionsUnfinished, Severity: Warning, Since: f.UnfinishedSince, Subject: "subscriptions",
		What:  fmt.Sprintf("%d of them are still to be made at kuaidihelp, or to be caught up with", f.Work.Unfinished),
		Why:   "it does not answer, or the line is longer than kuaidihelp.rate allows",
		Do:    "look for the log lines `call to kuaidihelp`; raise kuaidihelp.rate if it is only a long line",
		Links: Links{Page: "subscriptions"},
	}}
}

// ofQueries is a day on which the provider may not be asked any more.
func (f *Facts) ofQueries() []StatusProblem {
	if f.Work.Budget == 0 || f.Work.Queries < f.Work.Budget {
		return nil
	}
	return []StatusProblem{{
		Code: QueriesSpent, Severity: Warning, Subject: "kuaidihelp",
		What:  "until midnight in China it is not asked how waybills stand",
		Why:   fmt.Sprintf("it was asked for %d of them today (kuaidihelp.query.daily_budget)", f.Work.Queries),
		Do:    "see which queries bring news (kuairelay_reconciled_total); raise the budget, or ask later or more seldom",
		Links: Links{Page: "subscriptions"},
	}}
}

// ofQuarantine is what came into quarantine within the last hour.
func (f *Facts) ofQuarantine() []StatusProblem {
	q := f.Quarantined
	if q.New == 0 || f.Now.Sub(q.Latest) >= risingWithin {
		return nil
	}
	return []StatusProblem{{
		Code: QuarantineRising, Severity: Warning, Since: q.First, Subject: "quarantine",
		What: howMany(int64(q.New), "callback or item of the last hour was not understood",
			"callbacks or items of the last hour were not understood"),
		Why: "kuaidihelp sends what this version does not know; the latest came at " + stamp(q.Latest),
		Do:  "look at them (kuairelay quarantine), and take them in after an upgrade", Links: Links{Page: "quarantine"},
	}}
}
