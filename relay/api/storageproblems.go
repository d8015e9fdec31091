package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ofRedis are the problems of Redis.
func (f *Facts) ofRedis() (all []StatusProblem) {
	switch f.Replica.RedisState {
	case "down":
		all = f.takesNothing(RedisDown, "start it, or mend what it refuses; a change of redis.url takes a restart. "+
			"The spool is taken in by itself then")
	case "full":
		all = f.takesNothing(RedisFull, "raise maxmemory, or lower retention; never let it evict")
	case "short":
		all = f.takesNothing(RedisShort, "bring its replicas back, or lower redis.wait_replicas")
	}
	if f.Cause != "" {
		all = append(all, StatusProblem{
			Code: Incomplete, Severity: Warning, Subject: "redis",
			What: "cannot " + f.Doing + ": what only redis knows is missing here", Why: f.Cause,
			Do: "ask again when redis answers", sentences: []string{"cannot " + f.Doing + ": " + f.Cause},
		})
	}
	return slices.Concat(all, f.ofEmptiedRedis(), f.ofEmbeddedRedis(), f.ofAdvice())
}

// takesNothing is a Redis that takes no events.
func (f *Facts) takesNothing(code, do string) []StatusProblem {
	r := &f.Replica
	what := "callbacks go to the spool until it takes them"
	if !r.Durable {
		what = refusedCallbacks
	}
	return []StatusProblem{{
		Code: code, Severity: Critical, Since: r.RedisSince, Subject: "redis", What: what, Why: r.RedisWhy, Do: do,
		Links: Links{Page: "system"}, sentences: []string{r.RedisWhy + "; " + what},
	}}
}

// ofEmptiedRedis is a Redis that came back without what it had held.
func (f *Facts) ofEmptiedRedis() []StatusProblem {
	r := &f.Replica
	at := r.RedisEmptiedAt
	if at.IsZero() || f.Now.Sub(at) >= emptiedTold {
		return nil
	}
	return []StatusProblem{{
		Code: RedisEmptied, Severity: Critical, Since: at, Subject: "redis",
		What:  "it was found without what it had held: open deliveries, pauses and subscriptions are gone",
		Why:   "it was flushed, came back without its files, or redis.url leads to another one: " + r.RedisAddress,
		Do:    "see whether it is the right one; then kuairelay subscriptions import",
		Links: Links{Page: "system"},
		sentences: []string{fmt.Sprintf("redis at %s was found at %s without what it had held: open deliveries, pauses and "+
			"subscriptions are gone; is it the right one? (kuairelay subscriptions import)", r.RedisAddress, stamp(at))},
	}}
}

// ofEmbeddedRedis is a Redis in the relay's own memory.
func (f *Facts) ofEmbeddedRedis() []StatusProblem {
	if !f.Replica.Embedded {
		return nil
	}
	return []StatusProblem{{
		Code: Embedded, Severity: Notice, Since: f.Replica.StartedAt, Subject: "redis",
		What: "it is embedded in this process: a restart loses all but the callbacks that are not delivered",
		Why:  "there is no redis.url", Do: "set redis.url before this is more than a try",
		Links: Links{Page: "system"},
	}}
}

// emptiedTold is how long a Redis is told of that came back empty.
const emptiedTold = 24 * time.Hour

// refusedCallbacks is what happens if neither Redis nor the spool takes callbacks.
const refusedCallbacks = "callbacks are answered 503"

// ofAdvice are the properties of Redis that put events at risk.
func (f *Facts) ofAdvice() (all []StatusProblem) {
	for _, a := range f.Replica.Advice {
		if strings.HasPrefix(a.Name, "refuses_") || a.Name == "other_form" {
			continue // it takes no events then, which is told with the same reason
		}
		p := StatusProblem{
			Code: RedisAdvice, Severity: Warning, Since: a.Since, Subject: "redis " + a.Name,
			What: "it is set up so that accepted events can be lost", Why: a.Why,
			Do:    "change its settings: the section Redis of docs/operator/install.md has them",
			Links: Links{Page: "system"}, sentences: []string{"redis advice " + a.Name + ": " + a.Why},
		}
		switch a.Name {
		case "clock_skew":
			p.Code = ClockDiffers
			p.Subject = "clock"
			p.What = "the times of events and deliveries differ from those of this machine"
			p.Do = "have both machines set their clocks by NTP (timedatectl)"
		case "unreadable":
			p.Severity = Notice
			p.What = "its settings are not known"
			p.Do = "allow the relay's user INFO, or see for yourself that Redis is set up well"
		}
		all = append(all, p)
	}
	return all
}

// ofSpool are the problems of the spools of all replicas, as far as they are known.
func (f *Facts) ofSpool() (all []StatusProblem) {
	r := &f.Replica
	if failing := r.Spool; failing != "" && failing != "ok" {
		what := refusedCallbacks
		if r.Durable {
			what = "if redis fails too, " + refusedCallbacks
		}
		all = append(all, StatusProblem{
			Code: SpoolFailing, Severity: Critical, Since: r.SpoolSince, Subject: "spool", What: what,
			Why: "the spool is " + failing, Do: "make room on its disk, or let the relay's user write there",
			Links: Links{Page: "system"}, sentences: []string{"the spool is " + failing + "; " + what},
		})
	} else if r.SpoolMax > 0 && r.SpoolRoom < r.SpoolMax/SpoolScarce {
		left := fmt.Sprintf("the spool can take %d MiB more, of spool.max_bytes or of its disk", r.SpoolRoom>>20)
		what := "when it is full, and redis takes nothing, " + refusedCallbacks
		all = append(all, StatusProblem{
			Code: SpoolNearlyFull, Severity: Critical, Since: r.SpoolScarceSince, Subject: "spool", What: what, Why: left,
			Do:    "mend redis, which empties the spool; or make room: a larger disk or spool.max_bytes, another replica",
			Links: Links{Page: "system"}, sentences: []string{left + "; " + what},
		})
	}
	return slices.Concat(all, f.smallDisks(), f.spoolsInUse())
}

// spoolDisk is a disk with the spools on it.
type spoolDisk struct {
	spools     int
	free, want int64 // bytes: what is free, and what the spools may still take
}

// smallDisks are the disks that have less room than the spools on them may take.
func (f *Facts) smallDisks() (all []StatusProblem) {
	r := &f.Replica
	disks := map[string]*spoolDisk{}
	add := func(id string, free, want int64) {
		if id == "" {
			return
		}
		if disks[id] == nil {
			disks[id] = &spoolDisk{free: free}
		}
		disks[id].spools++
		disks[id].want += max(0, want)
	}
	add(r.SpoolDisk, r.SpoolDiskFree, r.SpoolMax-r.SpoolBytes)
	for _, other := range f.Replicas {
		if !other.Self {
			add(other.Spool.Disk, other.Spool.DiskFree, other.Spool.MaxBytes-other.Spool.Bytes)
		}
	}

	for _, id := range slices.Sorted(maps.Keys(disks)) {
		d := disks[id]
		if d.free >= d.want {
			continue
		}
		p := StatusProblem{
			Code: SpoolDiskSmall, Severity: Warning, Subject: "spool disk", key: id,
			What: "it is full before the spool holds spool.max_bytes, and then, if redis takes nothing, " + refusedCallbacks,
			Why: fmt.Sprintf("%d MiB are free on the disk, and %s on it may take %d MiB more",
				d.free>>20, spools(d.spools), d.want>>20),
			Do:    "make room on the disk, or lower spool.max_bytes, which counts for each replica",
			Links: Links{Page: "system"},
		}
		if id == r.SpoolDisk {
			p.Since = r.SpoolDiskSince
		} else {
			host, _, _ := strings.Cut(id, ":")
			p.Subject += " of " + host
		}
		all = append(all, p)
	}
	return all
}

func spools(n int) string {
	if n == 1 {
		return "the spool"
	}
	return fmt.Sprintf("%d spools", n)
}

// spoolsInUse are the spools in which callbacks wait although Redis takes callbacks.
func (f *Facts) spoolsInUse() (all []StatusProblem) {
	late := func(subject string, waiting int, oldest time.Time, sentences []string) {
		all = append(all, StatusProblem{
			Code: SpoolInUse, Severity: Warning, Since: oldest, Subject: subject,
			What: "redis takes callbacks, but " + someWait(waiting) + " in the spool: their deliveries are late",
			Do:   "look into the replica's log, which says why", Links: Links{Page: "system"}, sentences: sentences,
		})
	}
	r := &f.Replica
	if age := f.Now.Sub(r.SpooledSince); r.RedisState == "up" && !r.SpooledSince.IsZero() && age > spoolLate {
		late("spool", r.Spooled, r.SpooledSince, []string{fmt.Sprintf(
			"redis takes callbacks, but one has waited in the spool for %s: the log says why", age.Round(time.Second))})
	}
	for _, other := range f.Replicas {
		if oldest := other.Spool.OldestAt; !other.Self && other.Redis == "up" && !oldest.IsZero() &&
			f.Now.Sub(oldest) > spoolLate {
			late("spool of "+other.ID, other.Spool.Waiting, oldest, nil)
		}
	}
	return all
}

// someWait says that callbacks do.
func someWait(n int) string {
	if n == 1 {
		return "1 callback waits"
	}
	return fmt.Sprintf("%d callbacks wait", n)
}
