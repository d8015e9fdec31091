package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kuairelay/test/report"
)

// write is everything that was shown, as Markdown.
func write(m report.Machine, seed uint64, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Faults\n\n%s\n%s", m, preface)
	fmt.Fprintf(&b, "\nSeed %d.\n\n## Nothing is lost\n\n%s", seed, countTable(results))
	fmt.Fprintf(&b, "\n## It heals by itself\n\n%s\n%s", healSays, healTable(results))
	b.WriteString("\n## What each row does\n\n")
	for _, r := range results {
		fmt.Fprintf(&b, "- **%s**: %s.", r.row.name, r.row.does)
		if len(r.figures) > 0 {
			fmt.Fprintf(&b, " Seen: %s.", strings.Join(r.figures, "; "))
		}
		if r.err != nil {
			fmt.Fprintf(&b, " **Failed: %.300s**", strings.SplitN(r.err.Error(), "\n", 2)[0])
		}
		b.WriteString("\n")
	}
	return b.String() + missing
}

// longHeading begins the section of a long run.
const longHeading = "\n## All of it at random, for long\n"

// writeLong is write for a long run.
func writeLong(m report.Machine, seed uint64, lasts time.Duration, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\nSeed %d, %s.\n\n%s\n%s", longHeading, m, seed, lasts, countTable(results),
		healTable(results))
	for _, r := range results {
		fmt.Fprintf(&b, "\nSeen: %s.\n", strings.Join(r.figures, "; "))
	}
	return b.String()
}

const preface = `The built binary, real redis-servers (` + "`appendfsync always`" + ` unless said otherwise) and three
endpoints on one machine, under load. A checker knows every event that was answered ` + "`success`" + `, and what each
endpoint got. Updates of a waybill are pushed one after the other, the next when the last was acknowledged.

- **lost**: deliveries of acknowledged events that never came, although they were owed.
- **again**: requests for what had come before, and how many there may be: what was in flight, each time.
- **disorder**: updates that first came after a newer one of their waybill, or with a sequence that does not rise.
- **unsigned**: requests that the official library of Standard Webhooks refuses, with that endpoint's own secret.
- **misrouted**: requests to an endpoint that is not owed them, or for what nobody pushed.
- **altered**: requests whose data is not byte for byte what was pushed, or whose ` + "`webhook-id`" + ` is not the
  event's own.
`

const healSays = "Answers are those that callbacks got while the fault lasted. *Resumed* is from the end of the " +
	"fault to the next delivery, *drained*\nuntil Redis is used again and nothing is left in the spool; the longest, " +
	"where the fault came several times.\n"

const missing = `
## Not measured here

- Clocks of replicas: a relay takes the time from Redis and its own monotonic clock, so that setting its wall clock
  changes nothing; the tests of ` + "`relay/store`" + ` and ` + "`relay`" + ` do that, with replicas a minute apart. The
  row ` + "`clock-step`" + ` sets the clock of Redis.
- A name whose addresses change between check and dial: the tests of ` + "`relay/deliver`" + ` have a resolver that does
  that.
`

func countTable(results []result) *report.Table {
	t := &report.Table{Head: []string{"row", "fault", "times", "events", "lost", "again", "disorder", "unsigned",
		"misrouted", "altered", "passed"}}
	for _, r := range results {
		f, passed := r.faults, "yes"
		if r.err != nil {
			passed = "**no**"
		}
		t.Add(r.row.name, r.row.fault, report.Count(float64(r.times)), report.Count(float64(r.acked)), strconv.Itoa(f.Lost),
			fmt.Sprintf("%d of %s", f.Repeated, report.Count(float64(r.repeated))), strconv.Itoa(f.Disordered),
			strconv.Itoa(f.Unsigned),
			strconv.Itoa(f.Misrouted), strconv.Itoa(f.Altered), passed)
	}
	return t
}

func healTable(results []result) *report.Table {
	t := &report.Table{Head: []string{"row", "callbacks", "success", "failure", "no answer", "p50", "p99", "slowest",
		"resumed", "drained"}}
	for _, r := range results {
		a := r.during
		if a.all() == 0 && r.resumed == 0 {
			continue
		}
		cells := []string{r.row.name, report.Count(float64(a.all())), report.Count(float64(a.Success)),
			report.Count(float64(a.Failure)), report.Count(float64(a.None))}
		for _, d := range []time.Duration{a.quantile(0.5), a.quantile(0.99), a.quantile(1), r.resumed, r.drained} {
			cells = append(cells, round(d))
		}
		t.Add(cells...)
	}
	return t
}

// summary is a result in a line.
func (r result) summary() string {
	f := r.faults
	return fmt.Sprintf("%7d events, %d lost, %d of %d again, %d disorder, %d unsigned, %d misrouted, %d "+
		"altered; p99 %s, resumed %s  %s",
		r.acked, f.Lost, f.Repeated, r.repeated, f.Disordered, f.Unsigned, f.Misrouted, f.Altered,
		cmp.Or(round(r.during.quantile(0.99)), "-"), cmp.Or(round(r.resumed), "-"), strings.Join(r.figures, "; "))
}

// round shows a span with three digits or so; none is nothing.
func round(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Second:
		return strconv.FormatFloat(float64(d)/1e6, 'f', 1, 64) + " ms"
	default:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	}
}
