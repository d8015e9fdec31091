package main

import (
	"fmt"
	"slices"
	"strconv"

	"kuairelay/test/report"
)

// results are the figures of each case, one of each round.
type results map[string][]figures

// has says whether all these cases were measured.
func (r results) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return len(r[n]) == 0 })
}

// each is a quantity in each round.
func (r results) each(name string, of func(figures) float64) []float64 {
	var out []float64
	for _, f := range r[name] {
		out = append(out, of(f))
	}
	return out
}

// of is the median of a quantity over the rounds.
func (r results) of(name string, of func(figures) float64) float64 { return median(r.each(name, of)) }

// most is the highest value of a quantity in any of the cases.
func (r results) most(of func(figures) float64, names ...string) (most float64) {
	for _, n := range names {
		for _, v := range r.each(n, of) {
			most = max(most, v)
		}
	}
	return most
}

// ratio compares a case with its reference round by round, and gives the median of that: what slowed down a whole round
// cancels out.
func (r results) ratio(name, reference string, of func(figures) float64) float64 {
	ours, theirs := r.each(name, of), r.each(reference, of)
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		ratios = append(ratios, ours[i]/theirs[i])
	}
	return median(ratios)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// rates shows the median of a rate, with the lowest and the highest.
func (r results) rates(name string, of func(figures) float64) string {
	v := r.each(name, of)
	if len(v) < 2 {
		return perSecond(median(v))
	}
	return fmt.Sprintf("%s (%s to %s)", perSecond(median(v)), report.Count(slices.Min(v)), report.Count(slices.Max(v)))
}

func perSecond(v float64) string { return report.Count(v) + "/s" }
func megabytes(v float64) string { return strconv.FormatFloat(v/1e6, 'f', 0, 64) + " MB" }
func millis(v float64) string    { return strconv.FormatFloat(v*1e3, 'f', 2, 64) + " ms" }
func micros(v float64) string    { return strconv.FormatFloat(v*1e6, 'f', 1, 64) + " µs" }
func percent(v float64) string   { return strconv.FormatFloat(v*100, 'f', 2, 64) + " %" }
func plain(v float64) string     { return strconv.FormatFloat(v, 'f', 2, 64) }
func cpuTime(v float64) string   { return strconv.FormatFloat(v, 'f', 3, 64) + " s" }
func bytesOf(v float64) string   { return report.Count(v) + " B" }
