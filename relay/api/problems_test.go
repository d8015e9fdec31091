package api

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// well is what the facts are like if nothing is wrong.
func well() Facts {
	return Facts{Now: noon, Replica: ReplicaStatus{
		StartedAt: noon.Add(-time.Hour), Durable: true, Status: Ready, Redis: "up", RedisState: "up", Spool: "ok",
		SpoolRoom: 1 << 30, SpoolMax: 1 << 30, Config: ConfigInUse{Reload: "ok"}, LastCallbackAt: noon.Add(-time.Second),
	}}
}

// endpointWith are facts of an endpoint that was delivered to a minute ago, changed by a function.
func endpointWith(change func(e *EndpointFacts)) []EndpointFacts {
	e := EndpointFacts{EndpointHealth: EndpointHealth{Endpoint: "shop/orders", State: EndpointOK,
		DeliveredAt: noon.Add(-time.Minute)}}
	change(&e)
	return []EndpointFacts{e}
}

// ago is a time before noon.
func ago(d time.Duration) time.Time { return noon.Add(-d) }

// provoked are the facts that provoke each problem, alone.
var provoked = []struct {
	code     string
	severity Severity
	since    time.Time
	subject  string
	why      string // is in it
	change   func(f *Facts)
}{
	{RedisDown, Critical, ago(time.Minute), "redis", "connection refused", func(f *Facts) {
		f.Replica.RedisState, f.Replica.RedisSince = "down", ago(time.Minute)
		f.Replica.RedisWhy = "redis at 10.0.0.1:6379 is down: connection refused"
	}},
	{NoticeFails, Warning, ago(time.Hour), "notices shop/slack-2", "it answers 404", func(f *Facts) {
		f.NoticeFailures = []NoticeFailure{{Receiver: "shop/slack-2", Tenant: "shop", Since: ago(time.Hour),
			Why: "it answers 404: no_service"}}
	}},
	{RedisFull, Critical, ago(time.Minute), "redis", "maxmemory", func(f *Facts) {
		f.Replica.RedisState, f.Replica.RedisSince = "full", ago(time.Minute)
		f.Replica.RedisWhy = "redis takes no events: it is full (maxmemory)"
	}},
	{RedisShort, Critical, ago(time.Minute), "redis", "replicas", func(f *Facts) {
		f.Replica.RedisState, f.Replica.RedisSince = "short", ago(time.Minute)
		f.Replica.RedisWhy = "redis takes no events: 0 of 1 replicas follow"
	}},
	{RedisEmptied, Critical, ago(time.Hour), "redis", "10.0.0.1:6379", func(f *Facts) {
		f.Replica.RedisEmptiedAt, f.Replica.RedisAddress = ago(time.Hour), "10.0.0.1:6379"
	}},
	{RedisAdvice, Warning, ago(time.Hour), "redis no_aof", "appendonly no", func(f *Facts) {
		f.Replica.Advice = []Advice{{Name: "no_aof", Why: "appendonly no", Since: ago(time.Hour)}}
	}},
	{RedisAdvice, Notice, ago(time.Hour), "redis unreadable", "INFO", func(f *Facts) {
		f.Replica.Advice = []Advice{{Name: "unreadable", Why: "it does not tell its INFO", Since: ago(time.Hour)}}
	}},
	{ClockDiffers, Warning, ago(time.Hour), "clock", "differ by 5s", func(f *Facts) {
		f.Replica.Advice = []Advice{{Name: "clock_skew", Why: "its clock and this one differ by 5s", Since: ago(time.Hour)}}
	}},
	{Incomplete, Warning, time.Time{}, "redis", "no answer in time", func(f *Facts) {
		f.Doing, f.Cause = "look at endpoints", "no answer in time"
	}},
	{Embedded, Notice, ago(time.Hour), "redis", "redis.url", func(f *Facts) { f.Replica.Embedded = true }},
	{SpoolInUse, Warning, ago(3 * time.Minute), "spool", "", func(f *Facts) {
		f.Replica.Spooled, f.Replica.SpooledSince = 412, ago(3*time.Minute)
	}},
	{SpoolInUse, Warning, ago(3 * time.Minute), "spool of relay-b", "", func(f *Facts) {
		f.Replicas = []Replica{{ID: "relay-b", Redis: "up", Spool: ReplicaSpool{Waiting: 1, OldestAt: ago(3 * time.Minute)}}}
	}},
	{SpoolNearlyFull, Critical, ago(time.Minute), "spool", "100 MiB more", func(f *Facts) {
		f.Replica.SpoolRoom, f.Replica.SpoolScarceSince = 100<<20, ago(time.Minute)
	}},
	{SpoolDiskSmall, Warning, ago(time.Minute), "spool disk", "the spool on it may take 900 MiB more", func(f *Facts) {
		f.Replica.SpoolMax, f.Replica.SpoolBytes, f.Replica.SpoolRoom = 1000<<20, 100<<20, 899<<20
		f.Replica.SpoolDisk, f.Replica.SpoolDiskFree, f.Replica.SpoolDiskSince = "a:1", 899<<20, ago(time.Minute)
	}},
	{SpoolFailing, Critical, ago(time.Minute), "spool", "read-only file system", func(f *Facts) {
		f.Replica.Spool, f.Replica.SpoolSince = "unwritable: read-only file system", ago(time.Minute)
	}},
	{ProviderSilent, Critical, ago(time.Minute), "kuaidihelp", "the latest came at", func(f *Facts) {
		f.Replica.Silent, f.Replica.SilentSince = true, ago(time.Minute)
	}},
	{CredentialsRefused, Critical, ago(time.Minute), "kuaidihelp", "app_id", func(f *Facts) {
		f.Replica.CredentialsRefusedSince = ago(time.Minute)
	}},
	{AccountLimited, Critical, ago(time.Hour), "kuaidihelp", "1008: 余额不足", func(f *Facts) {
		f.Replica.LimitedSince, f.Replica.LimitedLatest = ago(time.Hour), ago(time.Minute)
		f.Replica.LimitedSaid = "余额不足"
	}},
	{PushesMissed, Warning, ago(time.Hour), "kuaidihelp", "the latest was found at", func(f *Facts) {
		f.Replica.Missed, f.Replica.MissedSince, f.Replica.MissedLatest = 3, ago(time.Hour), ago(time.Minute)
	}},
	{SecretEnds, Warning, ago(6 * 24 * time.Hour), "shop/orders", "until", func(f *Facts) {
		f.SecretEnds = []SecretEnd{
			{Tenant: "shop", Of: "shop/orders", What: "a signing secret", Until: noon.Add(24 * time.Hour)},
			{Of: "admin", What: "a token of the operator old", Until: noon.Add(8 * 24 * time.Hour)},
			{Of: "callback", What: "a callback token", Until: ago(time.Hour)}}
	}},
	{SubscriptionsUnfinished, Warning, ago(time.Hour), "subscriptions", "kuaidihelp.rate", func(f *Facts) {
		f.Work.Unfinished, f.UnfinishedSince = 3, ago(time.Hour)
	}},
	{QueriesSpent, Warning, time.Time{}, "kuaidihelp", "asked for 500 of them today", func(f *Facts) {
		f.Work.Queries, f.Work.Budget = 500, 500
	}},
	{QuarantineRising, Warning, ago(50 * time.Minute), "quarantine", "the latest came at", func(f *Facts) {
		f.Quarantined = event.QuarantineCount{All: 9, New: 2, First: ago(50 * time.Minute), Latest: ago(time.Minute)}
	}},
	{ConfigRefused, Warning, ago(time.Minute), "config", "crm.yaml:14: there is no endpoint", func(f *Facts) {
		f.Replica.Config.Reload, f.Replica.ConfigRefusedSince = "failed", ago(time.Minute)
		f.Replica.ConfigMistakes = []string{`tenants.d/crm.yaml:14: there is no endpoint "crmm"`}
	}},
	{ConfigsDiffer, Warning, ago(2 * time.Minute), "replicas", "a serves 01\nb, c serves 02", func(f *Facts) {
		config := func(of string, since time.Time) ReplicaConfig { return ReplicaConfig{Fingerprint: of, Since: since} }
		f.Replicas = []Replica{{ID: "a", Config: config("01", ago(time.Hour))},
			{ID: "b", Config: config("02", ago(2*time.Minute))}, {ID: "c", Config: config("02", ago(3*time.Minute))}}
	}},
	{RestartNeeded, Warning, ago(time.Minute), "config", "a reload does not apply", func(f *Facts) {
		f.Replica.Restart, f.Replica.RestartSince = []string{"spool.dir"}, ago(time.Minute)
	}},
	{WhenFails, Warning, ago(time.Hour), "tenant shop", "failed 7 times", func(f *Facts) {
		f.WhenFailures = []WhenFailure{{Tenant: "shop", Route: "shop.yaml:7", Since: ago(time.Hour),
			Latest: ago(time.Minute), Count: 7}}
	}},
	{EndpointUnknown, Warning, ago(time.Hour), "shop/old", "renamed", func(f *Facts) {
		f.Unknown = []queue.EndpointHealth{{Endpoint: "shop/old", Open: 1, Oldest: ago(time.Hour)}}
	}},
	{EndpointUnknown, Warning, time.Time{}, "7 more endpoints", "", func(f *Facts) { f.MoreUnknown = 7 }},
	{BreakerOpen, Warning, ago(time.Hour), "shop/orders", "503 busy", func(f *Facts) {
		f.Endpoints = endpointWith(func(e *EndpointFacts) {
			e.State, e.Since, e.Open, e.OldestAt = "open", ago(time.Hour), 1204, ago(7*time.Hour)
			e.LastError = &Attempt{At: ago(time.Minute), Status: 503, Text: "busy"}
		})
	}},
	{EndpointGone, Warning, ago(time.Hour), "shop/orders", "410", func(f *Facts) {
		f.Endpoints = endpointWith(func(e *EndpointFacts) { e.State, e.Since = "gone", ago(time.Hour) })
	}},
	{EndpointFails, Warning, ago(time.Hour), "shop/orders", "timeout", func(f *Facts) {
		f.Endpoints = endpointWith(func(e *EndpointFacts) {
			e.State, e.FailingSince = EndpointFailing, ago(time.Hour)
			e.LastError = &Attempt{At: ago(time.Minute), Text: "timeout"}
		})
	}},
	{GetsNothing, Warning, ago(20 * time.Minute), "shop/orders", "no attempt fails", func(f *Facts) {
		f.Endpoints = endpointWith(func(e *EndpointFacts) {
			e.DeliveredAt, e.Open, e.OldestAt = ago(20*time.Minute), 3, ago(18*time.Minute)
		})
	}},
	{BacklogOld, Warning, ago(7 * time.Hour), "shop/orders", "", func(f *Facts) {
		f.Endpoints = endpointWith(func(e *EndpointFacts) { e.Open, e.OldestAt = 3, ago(7*time.Hour) })
	}},
	{DeadLettersRising, Warning, ago(time.Minute), "shop/orders", "422 no", func(f *Facts) {
		f.Endpoints = endpointWith(func(e *EndpointFacts) {
			e.Dead, e.LatestDead, e.LastError = 214, ago(time.Minute), &Attempt{At: ago(time.Minute), Status: 422, Text: "no"}
		})
	}},
}

func TestEachProblemHasItsFacts(t *testing.T) {
	t.Parallel()
	if all := Problems(well()); len(all) > 0 {
		t.Errorf("nothing is wrong, but there are %+v", all)
	}
	seen := map[string]bool{}
	for _, x := range provoked {
		f := well()
		x.change(&f)
		all := Problems(f)
		if len(all) != 1 {
			t.Errorf("%s: %d problems: %+v", x.code, len(all), all)
			continue
		}
		p := all[0]
		seen[p.Code] = true
		if p.Code != x.code || p.Severity != x.severity || !p.Since.Equal(x.since) || p.Subject != x.subject ||
			!strings.Contains(p.Why, x.why) {
			t.Errorf("want %s, %s since %s of %s, because of %q: %+v", x.code, x.severity, x.since, x.subject, x.why, p)
		}
		if p.What == "" || p.Do == "" || p.Links.Docs != "docs/operator/incidents.md#"+x.code {
			t.Errorf("%s: %+v", x.code, p)
		}
		if said := len(p.sentences) > 0; said != (p.Severity != Notice) {
			t.Errorf("%s: an old client is told %q", x.code, p.sentences)
		}
	}
	for _, code := range ProblemCodes() {
		if !seen[code] {
			t.Errorf("nothing provokes %s", code)
		}
	}
}

func TestAProblemSaysHowMuchOfTheLastHourItIs(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		hour DayCell
		want string
		of   func(e *EndpointFacts)
	}{
		{DayCell{Delivered: 2, Failed: 38}, "its attempts fail (38 of 40 within the last hour): 3 deliveries wait",
			func(e *EndpointFacts) { e.State, e.Open = EndpointFailing, 3 }},
		{DayCell{}, "its attempts fail: 3 deliveries wait", func(e *EndpointFacts) { e.State, e.Open = EndpointFailing, 3 }},
		{DayCell{Dead: 38}, "it has 214 dead letters, 38 of them of the last hour",
			func(e *EndpointFacts) { e.Dead, e.LatestDead = 214, ago(time.Minute) }},
		// Some were dismissed since then.
		{DayCell{Dead: 38}, "it has 2 dead letters, 2 of them of the last hour",
			func(e *EndpointFacts) { e.Dead, e.LatestDead = 2, ago(time.Minute) }},
		{DayCell{}, "it has 2 dead letters, the latest within the last hour",
			func(e *EndpointFacts) { e.Dead, e.LatestDead = 2, ago(time.Minute) }},
	} {
		f := well()
		f.Endpoints = endpointWith(x.of)
		f.Endpoints[0].LastHour = x.hour
		if all := Problems(f); len(all) != 1 || all[0].What != x.want {
			t.Errorf("%+v, want %q", all, x.want)
		}
	}
}

func TestWhatIsNotYetOrNoMoreAProblemIsNone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f *Facts){
		"a callback that is in the spool for a minute": func(f *Facts) { f.Replica.SpooledSince = ago(time.Minute) },
		"one that is there while Redis is down, at another replica": func(f *Facts) {
			f.Replicas = []Replica{{ID: "b", Redis: "down", Spool: ReplicaSpool{OldestAt: ago(time.Hour)}}}
		},
		"a Redis that came back empty two days ago": func(f *Facts) { f.Replica.RedisEmptiedAt = ago(48 * time.Hour) },
		"replicas that were reloaded just now": func(f *Facts) {
			f.Replicas = []Replica{{ID: "a", Config: ReplicaConfig{Fingerprint: "1", Since: ago(time.Hour)}},
				{ID: "b", Config: ReplicaConfig{Fingerprint: "2", Since: ago(30 * time.Second)}}}
		},
		"subscriptions that are new": func(f *Facts) { f.Work.Unfinished, f.UnfinishedSince = 3, ago(time.Minute) },
		"queries that are left":      func(f *Facts) { f.Work.Queries, f.Work.Budget = 499, 500 },
		"quarantine of yesterday":    func(f *Facts) { f.Quarantined.All = 9 },
		"an expression that failed yesterday": func(f *Facts) {
			f.WhenFailures = []WhenFailure{{Latest: ago(24 * time.Hour), Count: 1}}
		},
		"an endpoint that is paused, with an old backlog": func(f *Facts) {
			f.Endpoints = endpointWith(func(e *EndpointFacts) {
				e.State, e.Open, e.OldestAt, e.DeliveredAt = "paused", 3, ago(24*time.Hour), ago(24*time.Hour)
			})
		},
		"dead letters of yesterday": func(f *Facts) {
			f.Endpoints = endpointWith(func(e *EndpointFacts) { e.Dead, e.LatestDead = 9, ago(24*time.Hour) })
		},
		"an idle endpoint": func(f *Facts) {
			f.Endpoints = endpointWith(func(e *EndpointFacts) { e.State, e.DeliveredAt = EndpointIdle, time.Time{} })
		},
	} {
		f := well()
		change(&f)
		if all := Problems(f); len(all) > 0 {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

func TestTheWorstProblemComesFirstThenTheOldest(t *testing.T) {
	t.Parallel()
	f := well()
	f.Replica.Embedded = true
	f.Replica.CredentialsRefusedSince = ago(time.Minute)
	f.Replica.SpoolRoom, f.Replica.SpoolScarceSince = 0, ago(time.Hour)
	f.Replica.Restart, f.Replica.RestartSince = []string{"spool.dir"}, ago(2*time.Hour)
	f.Doing, f.Cause = "list events", "no answer"
	var got []string
	for _, p := range Problems(f) {
		got = append(got, p.Code)
	}
	want := []string{SpoolNearlyFull, CredentialsRefused, RestartNeeded, Incomplete, Embedded}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestReplicasOnOneDiskAreAddedUp(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	replica := func(id, disk string, free, used int64) Replica {
		return Replica{ID: id, Redis: "up", Spool: ReplicaSpool{Disk: disk, DiskFree: free, MaxBytes: gib, Bytes: used}}
	}
	small := func(f Facts) (out []string) {
		for _, p := range Problems(f) {
			if p.Code == SpoolDiskSmall {
				out = append(out, p.Subject+": "+p.Why)
			}
		}
		return out
	}
	f := well()
	f.Replica.SpoolMax, f.Replica.SpoolRoom, f.Replica.SpoolDisk, f.Replica.SpoolDiskFree = gib, gib, "a:1", 2*gib-1
	own := replica("a-1", "a:1", 2*gib-1, 0)
	own.Self = true
	f.Replicas = []Replica{own}
	if got := small(f); len(got) > 0 {
		t.Errorf("one replica on a disk: %q", got)
	}

	f.Replicas = append(f.Replicas, replica("a-2", "a:1", 2*gib-1, 0), replica("b-1", "b:1", gib, 0),
		replica("old", "", 0, 0))
	want := []string{"spool disk: 2047 MiB are free on the disk, and 2 spools on it may take 2048 MiB more"}
	if got := small(f); !slices.Equal(got, want) {
		t.Errorf("two replicas on a disk: %q, want %q", got, want)
	}

	// What a spool has taken is no longer free, and it needs it no more.
	f.Replicas[1].Spool.Bytes = 1
	if got := small(f); len(got) > 0 {
		t.Errorf("two replicas, one of which has a byte: %q", got)
	}
	f.Replicas[2].Spool.DiskFree--
	if got := small(f); len(got) != 1 || !strings.HasPrefix(got[0], "spool disk of b: ") {
		t.Errorf("a replica of another machine: %q", got)
	}
}

func TestOfThousandsOfEndpointsThatFailTwentyAreNamed(t *testing.T) {
	t.Parallel()
	f := well()
	for i := range 5000 {
		f.Endpoints = append(f.Endpoints, EndpointFacts{EndpointHealth: EndpointHealth{
			Endpoint: fmt.Sprint("t/e", i), State: EndpointFailing, FailingSince: ago(time.Duration(i) * time.Second)}})
	}
	all := Problems(f)
	if len(all) != 21 || !strings.Contains(fmt.Sprint(all), "4980 more endpoints") {
		t.Fatalf("%d: %+v", len(all), all)
	}
	if named := fmt.Sprint(all); !strings.Contains(named, "t/e4999 ") || strings.Contains(named, "t/e100 ") {
		t.Errorf("not those that fail for longest: %s", named)
	}
}

// A long answer of a receiver, and many mistakes of a config, do not make a problem long.
func TestAProblemIsNotLong(t *testing.T) {
	t.Parallel()
	f := well()
	f.Endpoints = endpointWith(func(e *EndpointFacts) {
		e.State, e.LastError = EndpointFailing, &Attempt{Status: 500, Text: strings.Repeat("说", 1024)}
	})
	f.Replica.Config.Reload = "failed"
	for i := range 1000 {
		f.Replica.ConfigMistakes = append(f.Replica.ConfigMistakes, fmt.Sprint("a.yaml:", i, ": wrong"))
	}
	for _, p := range Problems(f) {
		if len([]rune(p.Why)) > 300 {
			t.Errorf("%d characters: %s", len(p.Why), p.Why)
		}
		if p.Code == ConfigRefused && (len(p.sentences) != 12 || !strings.Contains(p.Why, "and 990 more; ")) {
			t.Errorf("%q", p.sentences)
		}
	}
}

func TestEveryProblemHasAHeadingThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operator/incidents.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)\n\n(.+)`).FindAllStringSubmatch(string(page), -1) {
		headings = append(headings, m[1])
	}
	codes := ProblemCodes()
	slices.Sort(codes)
	slices.Sort(headings)
	if !slices.Equal(headings, codes) {
		t.Errorf("docs/operator/incidents.md has the headings\n%v, and the codes are\n%v", headings, codes)
	}
}

// An alert and a problem about the same have to be found together: above each alert stands the code of the problem, or
// why there is none.
func TestEveryAlertNamesItsProblem(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("../../docs/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`(?m)((?:^ *#.*\n)*)^ *- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 15 {
		t.Fatalf("%d alerts: are they found?", len(alerts))
	}
	for _, alert := range alerts {
		m := regexp.MustCompile(`(?m)^ *# problem: (\S+)( \S.*)?$`).FindStringSubmatch(alert[1])
		switch {
		case m == nil:
			t.Errorf("%s: no line `# problem: CODE`, nor `# problem: none, because …`, above it", alert[2])
		case m[1] == "none," && m[2] != "":
		default:
			for code := range strings.SplitSeq(m[1], ",") {
				if !slices.Contains(ProblemCodes(), code) {
					t.Errorf("%s: there is no problem %q", alert[2], code)
				}
			}
		}
	}
}

func TestAProblemQuotesTheLatestAttempt(t *testing.T) {
	t.Parallel()
	at := noon.UTC().Format("2006-01-02T15:04:05Z")
	for _, x := range []struct {
		attempt Attempt
		want    string
	}{
		{Attempt{Status: 502, At: noon}, "502, at " + at},
		{Attempt{Status: 503, Text: "busy", At: noon}, "503 busy, at " + at},
		{Attempt{Text: "timeout", At: noon}, "timeout, at " + at},
	} {
		if got := told(x.attempt); got != x.want {
			t.Errorf("%+v: %q, not %q", x.attempt, got, x.want)
		}
	}
}
