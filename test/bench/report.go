package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kuairelay/test/report"
)

// text is everything that was measured, as Markdown.
func text(m report.Machine, r results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\n%s\n", m)
	b.WriteString(preface)
	b.WriteString("## What it must show\n\n" + r.barTable().String())
	if r.has(always, forwarder1) {
		fmt.Fprintf(&b, "\nW1 with `appendfsync always`, which loses nothing when the host dies: %s, %s of the forwarder, "+
			"p50 of the callback's answer %s.\n",
			r.rates(always, figures.rate), plain(r.ratio(always, forwarder1, figures.rate)),
			millis(r.of(always, func(f figures) float64 {
				return f.Answer.P50
			})))
	}
	if r.has(durable, bare, forwarder1, "W1") {
		b.WriteByte('\n')
		for _, name := range []string{durable, bare} {
			fmt.Fprintf(&b, "The %s comes to %s of the forwarder's throughput, at %s times its CPU; W1 "+
				"has %s of that, at %s times.\n", name,
				plain(r.ratio(name, forwarder1, figures.rate)), plain(r.ratio(name, forwarder1, figures.cpu)),
				plain(r.ratio("W1", name, figures.rate)), plain(r.ratio("W1", name, figures.cpu)))
		}
	}
	if r.has(bareDrain, postLoop, "W4") {
		fmt.Fprintf(&b, "\nThe bare relay drains at %s of the post loop's throughput; W4 has %s of "+
			"that, at %s times its CPU.\n",
			plain(r.ratio(bareDrain, postLoop, figures.rate)), plain(r.ratio("W4", bareDrain, figures.rate)),
			plain(r.ratio("W4", bareDrain, figures.cpu)))
	}
	if r.has("W6") {
		fmt.Fprintf(&b, "\nW6 has %s routes of %s tenants; three of them match each event, and lead to three endpoints.\n",
			report.Count(r.most(func(f figures) float64 { return float64(f.Routes.Routes) }, "W6")),
			report.Count(r.most(func(f figures) float64 { return float64(f.Routes.Tenants) }, "W6")))
	}
	if r.has(reads) {
		b.WriteString("\n## What a tenant's reading costs others\n\n" + floodSays + r.floodTable().String())
	}
	b.WriteString("\n## Every case\n\n" + r.caseTable().String())
	if t := r.commandTable(); len(t.Rows) > 0 {
		b.WriteString("\n## Redis commands\n\n" + commandsSay + t.String())
	}
	if r.has("W4", memory) {
		b.WriteString("\n## Redis memory\n\n" + memorySays + r.memoryTable().String() + "\n" + sizingSays +
			r.sizingTable().String())
	}
	return b.String()
}

const preface = `Receiver, load, references, relay and Redis share the machine, so figures are ratios within this one
run: the absolute ones are those of this machine on this day. Cases take turns; figures are medians over the rounds
(lowest to highest), ratios the median of the ratios of each round. Callbacks have about 1 KB, one event of a waybill of
its own each, and come from 32 callers that push as fast as they are answered; throughput is deliveries received, from
the first push to the last arrival. Redis runs with ` + "`appendonly yes`, `appendfsync everysec`" + `. The receiver
counts every delivery: a run in which one is missing, or came twice, fails; one signature in 64 is verified.

- **post loop**: a bare net/http client posts signed bodies to the receiver, 32 at once (serial: one at a time).
- **forwarder**: an echo handler posts each callback as it came, unsigned, with the same client, 32 at once, from
  memory.
- **durable forwarder**: a forwarder with the relay's client, which signs, answers when Redis has the body, knows a
  duplicate by its bytes, and tells Redis what was delivered. It does not read the callback. No relay with these
  libraries is faster, however it keeps its state.
- **bare relay**: the relay without its logic. It has the relay's parser and client, and keeps in Redis what the relay
  keeps of such events, by the same commands on the same keys, in one script for many; but it decides nothing: no
  routes, order, leases, retries, log, or metrics. No relay that keeps its state like this is faster. **bare drain** is
  that on W4's backlog.
- **asked alone** is what Redis does for an event of W1 while nothing else is at work: new events, twelve in a call, and
  then their outcomes.

`

const commandsSay = "Calls of each command per event (`INFO commandstats`), and what Redis spent on it, in µs per " +
	"event. `evalsha` is what the\nrelay sends, and its time includes that of the commands within " +
	"scripts, which are all others.\n\n"

const memorySays = "A backlog of waybills with one update each, all pending, and then delivered, which Redis keeps " +
	"for `retention`. It is\n`used_memory` beyond the empty Redis' (without buffers of clients and append-only file), " +
	"less what the bodies\nwould take as keys of their own (`MEMORY USAGE`, a key of 57 characters included); the " +
	"last column takes off only the bodies'\nbytes instead.\n\n"

const sizingSays = "From that, what Redis holds if so many events a second are delivered and kept for `retention`, " +
	"with bodies of this size and\na waybill's record for `dedupe.window` (72 h) if that is longer. It is on the safe " +
	"side: real waybills share a record between their updates.\n\n"

const floodSays = "A tenant floods each of its paths on 64 connections, as fast as it is answered, while another " +
	"gets 200 callbacks a second: how long\ntheir answers and deliveries take, by the median of the times when nothing " +
	"is flooded, and how many go to the spool. It should be at most 1.5, and 0.\n\n"

func (r results) barTable() *report.Table {
	t := &report.Table{Head: []string{"case", "what", "measured", "reference", "figure", "bar", "met"}}
	for _, b := range r.bars() {
		sign, met := "at least ", "yes"
		if b.most {
			sign = "at most "
		}
		if !b.met() {
			met = "**no**"
		}
		t.Add(b.name, b.what, b.measured, b.reference, b.show(b.value), sign+b.show(b.limit), met)
	}
	return t
}

// caseTable has a row for each case, and leaves empty what a case does not measure.
func (r results) caseTable() *report.Table {
	columns := []struct {
		head string
		of   func(figures) float64
		show func(float64) string
	}{
		{"events", figures.events, perSecond},
		{"CPU per 1,000", func(f figures) float64 { return f.CPU / float64(f.Deliveries) * 1000 }, cpuTime},
		{"Redis' CPU", func(f figures) float64 { return f.RedisCPU / float64(f.Deliveries) * 1000 }, cpuTime},
		{"RSS", func(f figures) float64 { return f.RSS }, megabytes},
		{"arrival p50", func(f figures) float64 { return f.Latency.P50 }, millis},
		{"p95", func(f figures) float64 { return f.Latency.P95 }, millis},
		{"p99", func(f figures) float64 { return f.Latency.P99 }, millis},
		{"answer p50", func(f figures) float64 { return f.Answer.P50 }, millis},
		{"p99", func(f figures) float64 { return f.Answer.P99 }, millis},
	}
	t := &report.Table{Head: []string{"case", "deliveries"}}
	for _, c := range columns {
		t.Head = append(t.Head, c.head)
	}
	for _, c := range cases {
		if !r.has(c.name) || c.name == "W7" || c.name == calls { // which deliver nothing
			continue
		}
		cells := []string{c.name, r.rates(c.name, figures.rate)}
		for _, column := range columns {
			text := ""
			if v := r.of(c.name, column.of); v != 0 {
				text = column.show(v)
			}
			cells = append(cells, text)
		}
		t.Add(cells...)
	}
	return t
}

// commandTable lists what Redis did in W1 and W2, the most often used commands first.
func (r results) commandTable() *report.Table {
	t := &report.Table{Head: []string{"command"}}
	var columns []figures
	for _, name := range []string{"W1", "W2", "W4"} {
		if r.has(name) {
			columns = append(columns, r[name][0])
			t.Head = append(t.Head, name+" calls", "µs")
		}
	}
	if len(columns) == 0 {
		return t
	}
	calls := make(map[string]float64)
	for _, f := range columns {
		for name, c := range f.Commands {
			calls[name] += float64(c.Calls) / float64(f.Deliveries)
		}
	}
	names := slices.SortedFunc(maps.Keys(calls), func(a, b string) int { return cmp.Compare(calls[b], calls[a]) })
	for _, name := range names {
		cells := []string{name}
		for _, f := range columns {
			c := f.Commands[name]
			cells = append(cells, plain(float64(c.Calls)/float64(f.Events)), plain(float64(c.Micros)/float64(f.Events)))
		}
		t.Add(cells...)
	}
	total := []string{"all, per event"}
	each := []string{"all, per delivery"}
	for _, f := range columns {
		all, scripts := f.calls()
		total = append(total, plain(float64(all)/float64(f.Events)), "scripts: "+plain(float64(scripts)/float64(f.Events)))
		each = append(each, plain(float64(all)/float64(f.Deliveries)),
			"scripts: "+plain(float64(scripts)/float64(f.Deliveries)))
	}
	t.Add(total...)
	t.Add(each...)
	return t
}

func (r results) memoryTable() *report.Table {
	t := &report.Table{Head: []string{"state", "fan-out", "deliveries", "mean body", "beside the body, per delivery",
		"beside the body's bytes"}}
	for _, state := range []string{"pending", "delivered"} {
		for _, name := range []string{"W4", memory} {
			d := r[name][0].Drain
			s := d.Pending
			if state == "delivered" {
				s = d.Delivered
			}
			raw := (s.Used - d.Body*float64(d.Events)) / float64(d.Deliveries)
			t.Add(state, report.Count(float64(d.Deliveries/d.Events)), report.Count(float64(d.Deliveries)), bytesOf(d.Body),
				bytesOf(d.beside(s)), bytesOf(raw))
		}
	}
	return t
}

func (r results) sizingTable() *report.Table {
	t := &report.Table{Head: []string{"events", "1 endpoint, 24 h", "48 h", "7 days", "3 endpoints, 24 h", "48 h",
		"7 days"}}
	one, ten := r["W4"][0].Drain, r[memory][0].Drain
	const window = 72 * 3600.0
	for _, rate := range []float64{1, 10, 50, 100, 200} {
		cells := []string{perSecond(rate)}
		for _, fanout := range []float64{1, 3} {
			// An event takes a fixed part and one for each endpoint: the line through what was measured at 1 and at 10.
			line := func(of func(stored) float64) float64 {
				low, high := of(one.Delivered)/float64(one.Events), of(ten.Delivered)/float64(ten.Events)
				return low + (high-low)*(fanout-1)/(endpoints-1)
			}
			event, record := line(func(s stored) float64 {
				return s.Used - s.Records
			}), line(func(s stored) float64 { return s.Records })
			for _, hours := range []float64{24, 48, 168} {
				retention := hours * 3600
				cells = append(cells, plain(rate*(event*retention+record*max(retention, window))/1e9)+" GB")
			}
		}
		t.Add(cells...)
	}
	return t
}
