package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// The cases in which some endpoints are bad, each beside the quiet one that it is compared with.
const (
	tenQuiet     = "N quiet"
	tenHang      = "N hang"
	tenFail      = "N fail"
	tenReset     = "N reset"
	manyQuiet    = "N1000 quiet"
	manyHang     = "N1000 hang"
	badTimeout   = 2 * time.Second
	groups       = 100 // tenants of ten endpoints each
	hangingGroup = 2   // of the ten
)

// bad are the settings of an endpoint of the receiver that takes requests and then does something else than answer 200.
func (s *session) bad(how string, i int) string {
	return fmt.Sprintf("url: '%s/%s/%d', timeout: %s", s.receiver.url, how, i, badTimeout)
}

// measureTen pushes 2,000 events to each of ten endpoints as fast as they are answered, and then some at a low rate:
// the latencies of a flood are those of a queue. how says what the tenth does; empty: answer. What is measured are the
// first nine.
func measureTen(name, how string) measurement {
	return func(ctx context.Context, s *session) (figures, error) {
		n := endpoints - 1
		all := s.answering(endpoints)
		if how != "" {
			all[n] = s.bad(how, n)
		}
		return s.besideBad(ctx, name, oneTenant(all), n)
	}
}

// measureThousand is that with 100 tenants, each of which gets every hundredth event at its ten endpoints. The last two
// of each hang, if they are to.
func measureThousand(name string, hang bool) measurement {
	return func(ctx context.Context, s *session) (figures, error) {
		n := endpoints - hangingGroup
		all := s.answering(endpoints)
		for i := n; hang && i < endpoints; i++ {
			all[i] = s.bad("hang", i)
		}
		var b strings.Builder
		b.WriteString("tenants:\n")
		for g := range groups {
			fmt.Fprintf(&b, "  - name: g%02d\n    endpoints:\n", g)
			var names []string
			for i, more := range all {
				names = append(names, fmt.Sprintf("e%d", i))
				fmt.Fprintf(&b, "      - {name: e%d, secrets: [%s], %s}\n", i, secret, more)
			}
			fmt.Fprintf(&b, "    routes:\n      - {to: [%s], match: {waybill_code: \"*%02d\"}}\n", strings.Join(names, ", "), g)
		}
		return s.besideBad(ctx, name, b.String(), n)
	}
}

func (s *session) besideBad(ctx context.Context, name, yaml string, n int) (figures, error) {
	events := 2000
	if s.Quick {
		events = 500
	}
	st, err := s.newRelay(ctx, name, "everysec", yaml)
	if err != nil {
		return figures{}, err
	}
	defer st.close()
	if err := s.warm(ctx, st, n); err != nil {
		return figures{}, err
	}
	f, err := s.measure(ctx, st, n, loadOptions{Callers: callers, Events: events})
	if err != nil {
		return figures{}, err
	}
	st.name += " calm"
	calm, err := s.measure(ctx, st, n, loadOptions{Rate: 50, Duration: s.Duration})
	f.Calm, f.RSS = calm.Latency, max(f.RSS, calm.RSS)
	return f, err
}

// neighbourBars compare what the good endpoints get with what they get where all are good.
func (r results) neighbourBars() (bars []bar) {
	for _, c := range []struct {
		name, quiet string
		throughput  float64
	}{
		{tenHang, tenQuiet, 0.9}, {tenFail, tenQuiet, 0.9}, {tenReset, tenQuiet, 0.9}, {manyHang, manyQuiet, 0.8},
	} {
		if !r.has(c.name, c.quiet) {
			continue
		}
		compare := func(what string, show func(float64) string, of func(figures) float64, limit float64, most bool) {
			bars = append(bars, bar{name: c.name, what: what, measured: show(r.of(c.name, of)),
				reference: "quiet " + show(r.of(c.quiet, of)),
				value:     r.ratio(c.name, c.quiet, of), limit: limit, most: most, show: plain})
		}
		compare("throughput of each good one", perSecond, figures.events, c.throughput, false)
		compare("p99 of the good ones, in a flood", millis, func(f figures) float64 { return f.Latency.P99 }, 1.5, true)
		compare("p99 of the good ones, at 50 events a second", millis, func(f figures) float64 {
			return f.Calm.P99
		}, 1.5, true)
	}
	return bars
}
