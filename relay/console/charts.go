package console

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kuairelay/relay/api"
)

// Size of a chart, in the units of its drawing. It is scaled to its place.
const (
	chartWidth  = 600
	chartHeight = 120
	chartFoot   = 2
)

// chart is a drawing, with its numbers as a table for those who do not see it.
type chart struct {
	Title  string
	Bars   []chartBar
	Lines  []chartLine
	Top    string // what the upper edge stands for
	Keys   []chartKey
	Ticks  []chartTick
	Heads  []string
	Rows   []chartRow
	Width  int
	Height int
	Foot   int    // the height with what is below
	None   string // instead of the drawing: why there is none
	Limit  string // what the line across is; empty: there is none

	// Since is when the first point begins, Step how long one is, both in ms: chart.js reads them.
	Since, Step int64
	Points      int
}

// chartBar is a part of a stack.
type chartBar struct {
	X, Y, Width, Height string
	Class               string
}

// chartLine is a line through points.
type chartLine struct{ Points, Class string }

// chartKey says which colour stands for what.
type chartKey struct{ Name, Class string }

// chartRow is a point in the table.
type chartRow struct {
	Point int
	Cells []string
}

// chartTick is a time below the drawing.
type chartTick struct{ Text string }

// series is what a chart draws of a point.
type series struct {
	name  string
	class string
	of    func(api.StatsPoint) float64
}

// newChart makes a chart without a drawing.
func newChart(title string, heads ...string) *chart {
	return &chart{Title: title, Width: chartWidth, Height: chartHeight, Foot: chartHeight + chartFoot, Heads: heads}
}

// stack draws the parts of each point above each other.
func (v *visit) stack(title string, s api.Stats, parts ...series) *chart {
	c := v.framed(title, s, parts)
	most := 0.0
	for _, p := range s.Points {
		sum := 0.0
		for _, part := range parts {
			sum += part.of(p)
		}
		most = max(most, sum)
	}
	if most == 0 {
		c.None = v.t("chart.none")
		return c
	}

	c.Top = count(int64(most))
	wide := float64(chartWidth) / float64(len(s.Points))
	for i, p := range s.Points {
		floor := float64(chartHeight)
		for _, part := range parts {
			high := part.of(p) / most * (chartHeight - 4)
			if high == 0 {
				continue
			}
			high = max(high, 1)
			floor -= high
			c.Bars = append(c.Bars, chartBar{
				X: number(float64(i) * wide), Y: number(floor),
				Width: number(max(wide-1, wide*0.8)), Height: number(high), Class: part.class,
			})
		}
	}
	return c
}

// lines draws a line for each part, on a logarithmic scale: a second and a millisecond are both seen.
//
// limit is drawn as a line across (0: none).
func (v *visit) lines(title string, s api.Stats, limit time.Duration, parts ...series) *chart {
	c := v.framed(title, s, parts)
	most, least := 0.0, math.Inf(1)
	for _, p := range s.Points {
		for _, part := range parts {
			if x := part.of(p); x > 0 {
				most, least = max(most, x), min(least, x)
			}
		}
	}
	if most == 0 {
		c.None = v.t("chart.none")
		return c
	}

	// The limit is shown if it is near: far above all it would only press them down.
	const near = 20
	if ms := float64(limit.Milliseconds()); ms > 0 && ms < most*near {
		most = max(most, ms)
		c.Limit = v.t("chart.timeout", v.span(limit))
	}
	c.Top = v.millis(int64(most))
	low, high := math.Log(least/2), math.Log(most)
	if c.Limit != "" {
		y := chartHeight - (math.Log(float64(limit.Milliseconds()))-low)/(high-low)*(chartHeight-6)
		across := fmt.Sprintf("0,%s %d,%s", number(y), chartWidth, number(y))
		c.Lines = append(c.Lines, chartLine{Points: across, Class: "limit"})
	}
	wide := float64(chartWidth) / float64(len(s.Points))
	for _, part := range parts {
		var points []string
		for i, p := range s.Points {
			if x := part.of(p); x > 0 {
				y := chartHeight - (math.Log(x)-low)/(high-low)*(chartHeight-6)
				points = append(points, number((float64(i)+0.5)*wide)+","+number(y))
			}
		}
		if len(points) == 1 { // a line of one point is not seen
			x, y, _ := strings.Cut(points[0], ",")
			at, _ := strconv.ParseFloat(x, 64) // it was written above
			points = append(points, number(at+3)+","+y)
		}
		c.Lines = append(c.Lines, chartLine{Points: strings.Join(points, " "), Class: part.class})
	}
	return c
}

// framed makes a chart with its times and its table.
func (v *visit) framed(title string, s api.Stats, parts []series) *chart {
	c := newChart(title, v.t("chart.time"))
	c.Since, c.Step, c.Points = s.Since.UnixMilli(), s.StepS*1000, len(s.Points)
	for _, part := range parts {
		c.Heads = append(c.Heads, part.name)
		c.Keys = append(c.Keys, chartKey{Name: part.name, Class: part.class})
	}
	layout := "15:04"
	if s.Until.Sub(s.Since) > 24*time.Hour {
		layout = v.t("layout.date")
	}

	// A row of the table is left out if it has nothing.
	const ticks = 4
	for i, p := range s.Points {
		if i%max(len(s.Points)/ticks, 1) == 0 && len(c.Ticks) < ticks {
			c.Ticks = append(c.Ticks, chartTick{Text: p.At.In(v.zone).Format(layout)})
		}
		row := []string{v.moment(p.At).Text}
		some := false
		for _, part := range parts {
			x := part.of(p)
			some = some || x > 0
			row = append(row, count(int64(x)))
		}
		if some {
			c.Rows = append(c.Rows, chartRow{Point: i, Cells: row})
		}
	}
	return c
}

// number is a coordinate.
func number(x float64) string { return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64) }

// ranges are the spans that charts can show.
var ranges = []string{"1h", "6h", "24h", "7d"}

// The spans that pages show if the reader has chosen none.
const (
	overviewRange = "1h"
	endpointRange = "6h"
)

// chartRange is the span that the reader has chosen.
func (v *visit) chartRange(usual string) string {
	asked := v.QueryParam("range")
	if slices.Contains(ranges, asked) {
		return asked
	}
	return usual
}

// rangeChoices lead to the same page with another span. chosen is the one that is shown; empty: none of them.
func (v *visit) rangeChoices(path, chosen string) []choice {
	var out []choice
	for _, r := range ranges {
		out = append(out, choice{
			Href: v.path(path, url.Values{"range": {r}}), Name: v.t("last." + r), Chosen: r == chosen,
		})
	}
	return out
}

// deliveryCharts are those of an endpoint. timeout is that of its attempts; 0: it is not known.
func (v *visit) deliveryCharts(s api.Stats, why string, timeout time.Duration) []*chart {
	titles := []string{v.t("chart.deliveries"), v.t("chart.attempts"), v.t("chart.backlog")}
	if why != "" {
		c := newChart(titles[0])
		c.None = why
		return []*chart{c}
	}

	took := func(p *api.Percentiles, of func(api.Percentiles) int64) float64 {
		if p == nil {
			return 0
		}
		return float64(max(of(*p), 1))
	}
	return []*chart{
		v.stack(titles[0], s,
			series{name: v.t("state.delivered"), class: "good", of: func(p api.StatsPoint) float64 {
				return float64(p.Delivered)
			}},
			series{name: v.t("state.failed"), class: "warn", of: func(p api.StatsPoint) float64 { return float64(p.Failed) }},
			series{name: v.t("state.dead"), class: "bad", of: func(p api.StatsPoint) float64 { return float64(p.Dead) }},
		),
		v.lines(titles[1], s, timeout,
			series{name: "p50", class: "good", of: func(p api.StatsPoint) float64 {
				return took(p.Attempt, func(x api.Percentiles) int64 { return x.P50MS })
			}},
			series{name: "p95", class: "warn", of: func(p api.StatsPoint) float64 {
				return took(p.Attempt, func(x api.Percentiles) int64 { return x.P95MS })
			}},
		),
		v.stack(titles[2], s,
			series{name: v.t("col.open"), class: "wait", of: func(p api.StatsPoint) float64 { return float64(p.Open) }},
			series{name: v.t("col.behind"), class: "hold", of: func(p api.StatsPoint) float64 { return float64(p.Waiting) }},
		),
	}
}

// failures says how often attempts failed, by cause.
func failures(s api.Stats) string {
	var parts []string
	for _, cause := range []string{"5xx", "timeout", "connect", "tls", "denied", "4xx", "3xx", "egress"} {
		if n := s.Total.Failures[cause]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s ×%s", cause, count(n)))
		}
	}
	return strings.Join(parts, "   ")
}
