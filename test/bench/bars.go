package main

import (
	"fmt"
	"slices"

	"kuairelay/test/report"
)

// bar is one thing that the relay has to show: the figure aimed at, beside the one measured.
type bar struct {
	name, what, measured, reference string
	value, limit                    float64
	most                            bool // limit is the most that value may be, not the least
	show                            func(float64) string
}

func (b bar) met() bool {
	if b.most {
		return b.value <= b.limit
	}
	return b.value >= b.limit
}

// bars are those of the cases that were measured.
func (r results) bars() []bar {
	return slices.Concat(r.forwarderBars("W1", forwarder1), r.callBars(), r.forwarderBars("W2", forwarderX),
		r.hangBars(), r.drainBars(),
		r.latencyBars(), r.replayBars(), r.routeBars(), r.idleBars(), r.orderBars(), r.neighbourBars(), r.whenBars(),
		r.bodyBars(),
		r.footprintBars())
}

// forwarderBars are those of W1 and W2.
func (r results) forwarderBars(name, reference string) []bar {
	if !r.has(name, reference) {
		return nil
	}
	return []bar{
		{name: name, what: "throughput", measured: r.rates(name, figures.rate),
			reference: "forwarder " + r.rates(reference, figures.rate),
			value:     r.ratio(name, reference, figures.rate), limit: 0.60, show: plain},
		{name: name, what: "CPU of relay and Redis per 1,000", measured: cpuTime(r.of(name, figures.cpu)),
			reference: "forwarder " + cpuTime(r.of(reference, figures.cpu)),
			value:     r.ratio(name, reference, figures.cpu), limit: 2.2, most: true, show: plain},
	}
}

// callBars are what one event costs Redis, if that has nothing else to do.
func (r results) callBars() []bar {
	if !r.has(calls) {
		return nil
	}
	return []bar{
		{name: "W1", what: "Redis' time for one event, asked alone", value: r.of(calls, func(f figures) float64 {
			return f.RedisCPU / float64(f.Events)
		}), limit: 45e-6, most: true, show: micros},
		{name: "W1", what: "Redis commands for one event, asked alone", value: r.of(calls, func(f figures) float64 {
			all, _ := f.calls()
			return float64(all) / float64(f.Events)
		}), limit: 8, most: true, show: plain},
	}
}

func (r results) hangBars() []bar {
	if !r.has("W3", "W2") {
		return nil
	}
	compare := func(what string, show func(float64) string, of func(figures) float64, limit float64, most bool) bar {
		return bar{name: "W3", what: what, measured: show(r.of("W3", of)), reference: "W2 " + show(r.of("W2", of)),
			value: r.ratio("W3", "W2", of), limit: limit, most: most, show: plain}
	}
	return []bar{
		compare("throughput of each of the nine", perSecond, figures.events, 0.9, false),
		compare("p99 of the nine, in a flood", millis, func(f figures) float64 { return f.Latency.P99 }, 1.5, true),
		compare("p99 of the nine, at 50 events a second", millis, func(f figures) float64 { return f.Calm.P99 }, 1.5, true),
	}
}

func (r results) drainBars() []bar {
	if !r.has("W4", postLoop) {
		return nil
	}
	tenth := r.of("W4", func(f figures) float64 { return f.Drain.Tenth })
	peak := r.of("W4", func(f figures) float64 { return f.Drain.Peak })
	return []bar{
		{name: "W4", what: fmt.Sprintf("drain of %s", report.Count(float64(r["W4"][0].Deliveries))),
			measured:  r.rates("W4", figures.rate),
			reference: "post loop " + r.rates(postLoop, figures.rate), value: r.ratio("W4", postLoop, figures.rate), limit: 0.60,
			show: plain},
		{name: "W4", what: "the relay's peak memory, by that after a tenth", measured: megabytes(peak),
			reference: megabytes(tenth),
			value:     peak / tenth, limit: 1.25, most: true, show: plain},
	}
}

func (r results) latencyBars() []bar {
	if !r.has("W5") {
		return nil
	}
	most := func(what string, limit float64, of func(figures) float64) bar {
		return bar{name: "W5", what: what, value: r.of("W5", of), limit: limit, most: true, show: millis}
	}
	return []bar{
		most("callback to receiver, p50", 2e-3, func(f figures) float64 { return f.Latency.P50 }),
		most("callback to receiver, p99", 10e-3, func(f figures) float64 { return f.Latency.P99 }),
		most("the callback's own answer, p99", 6e-3, func(f figures) float64 { return f.Answer.P99 }),
	}
}

func (r results) replayBars() []bar {
	if !r.has(replaying) {
		return nil
	}
	p99, alone := r.of(replaying, func(f figures) float64 {
		return f.Latency.P99
	}), r.of(replaying, func(f figures) float64 { return f.Calm.P99 })
	return []bar{{name: replaying, what: "p99 of new events during a replay of 100,000, by that before",
		measured: millis(p99), reference: millis(alone),
		value: r.of(replaying, func(f figures) float64 {
			return f.Latency.P99 / f.Calm.P99
		}), limit: 1.5, most: true, show: plain}}
}

func (r results) routeBars() []bar {
	if !r.has("W6", "W1", fewRoutes) {
		return nil
	}
	return []bar{
		{name: "W6", what: "throughput, of three deliveries per event", measured: r.rates("W6", figures.rate),
			reference: "W1 " + r.rates("W1", figures.rate),
			value:     r.ratio("W6", "W1", figures.rate), limit: 0.9, show: plain},
		{name: "W6", what: "throughput, by that of the three routes alone", measured: r.rates("W6", figures.rate),
			reference: r.rates(fewRoutes, figures.rate), value: r.ratio("W6", fewRoutes, figures.rate), limit: 0.9, show: plain},
		{name: "W6", what: "matching one event", value: r.of("W6", func(f figures) float64 {
			return f.Routes.Match
		}), limit: 20e-6, most: true, show: micros},
	}
}

func (r results) idleBars() []bar {
	if !r.has("W7") {
		return nil
	}
	return []bar{
		{name: "W7", what: "Redis commands a second", value: r.of("W7", func(f figures) float64 {
			return f.Idle.Commands
		}), limit: 5, most: true, show: plain},
		{name: "W7", what: "CPU, of one core", value: r.of("W7", func(f figures) float64 {
			return f.Idle.CPU
		}), limit: 0.005, most: true, show: percent},
	}
}

func (r results) orderBars() []bar {
	if !r.has("W8", serialLoop) {
		return nil
	}
	return []bar{{name: "W8", what: "updates of one waybill, in order", measured: r.rates("W8", figures.rate),
		reference: "serial post loop " + r.rates(serialLoop, figures.rate), value: r.ratio("W8", serialLoop, figures.rate),
		limit: 0.5, show: plain}}
}

// footprintBars are memory, and the labels of histograms.
func (r results) footprintBars() (bars []bar) {
	most := func(what string, value, limit float64, show func(float64) string) {
		bars = append(bars, bar{name: "footprint", what: what, value: value, limit: limit, most: true, show: show})
	}
	rss := func(f figures) float64 { return f.RSS }
	if v := r.most(rss, "W1", always, "W2", "W3", "W4", memory, "W5", "W7", "W8"); v > 0 {
		most("relay RSS, the most in any case but W6", v, 100e6, megabytes)
	}
	if r.has("W6") {
		most("relay RSS in W6, at the end", r.most(func(f figures) float64 { return f.Routes.RSS }, "W6"), 250e6, megabytes)
		most("relay RSS in W6, at its peak, with the config being loaded", r.most(rss, "W6"), 250e6, megabytes)
		most("histograms with an endpoint label in W6", r.most(func(f figures) float64 {
			return float64(f.Routes.Labels)
		}, "W6"), 0, report.Count)
	}
	pending := func(f figures) float64 { return f.Drain.beside(f.Drain.Pending) }
	delivered := func(f figures) float64 { return f.Drain.beside(f.Drain.Delivered) }
	if r.has(memory) {
		most("Redis beside the body, per pending delivery at fan-out 10", r.of(memory, pending), 150, bytesOf)
		most("Redis beside the body, per delivered one at fan-out 10", r.of(memory, delivered), 130, bytesOf)
	}
	if r.has("W4") {
		most("Redis beside the body, per pending delivery at fan-out 1", r.of("W4", pending), 420, bytesOf)
		most("Redis beside the body, per delivered one at fan-out 1", r.of("W4", delivered), 400, bytesOf)
	}
	return bars
}
