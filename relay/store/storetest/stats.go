package storetest

import (
	"strings"
	"testing"
	"time"

	"kuairelay/relay/stats"
)

// noon is a minute at which a page of each resolution but the hours begins.
const noon = 29_000_160

// counted is a cell of a minute with some counts.
func counted(subject string, minute int64, counts map[stats.Measure]int64) stats.Cell {
	c := stats.Cell{Subject: subject, Minute: minute}
	for m, n := range counts {
		c.Counts[m] = n
	}
	return c
}

func addStats(t *testing.T, s *replica, number int64, cells ...stats.Cell) {
	t.Helper()
	if err := s.AddStats(t.Context(), number, cells); err != nil {
		t.Fatal(err)
	}
}

// series reads the statistics of a subject from two hours before noon to an hour after it.
func series(t *testing.T, s *replica, subject string, step time.Duration) *stats.Series {
	t.Helper()
	span := stats.SpanOf(time.Unix((noon-120)*60, 0), time.Unix((noon+60)*60, 0), step)
	pages := span.Pages(subject)
	rows, err := s.Stats(t.Context(), pages)
	if err != nil || len(rows) != len(pages) {
		t.Fatalf("%d of %d pages: %v", len(rows), len(pages), err)
	}
	out := stats.NewSeries(span)
	for i, p := range pages {
		out.Add(p, rows[i])
	}
	return out
}

func checkStats(t *testing.T, b *bench) {
	a, other := b.open(t, options{}), b.open(t, options{})
	took := counted("shop/a", noon+61, map[stats.Measure]int64{stats.Delivered: 1000, stats.Timeout: 7, stats.Open: 5})
	took.Took[3] = 900
	took.Waited[10] = 40
	addStats(t, a, 1, took, counted("shop/b", noon, map[stats.Measure]int64{stats.Dead: 1}))
	addStats(t, other, 1, took)
	addStats(t, other, 2,
		counted("shop/a", noon-1, map[stats.Measure]int64{stats.Delivered: 36, stats.Open: 9}),
		counted("shop/a", noon, map[stats.Measure]int64{stats.Delivered: 1, stats.Open: 2}),
		counted("shop/a", noon+1, map[stats.Measure]int64{stats.Delivered: 2, stats.Open: 4}))

	// The steps: one each minute, each five minutes, each hour; two before noon, and those from noon on.
	for _, x := range []struct {
		step            time.Duration
		before          int // the last step before noon
		delivered, open int64
	}{{time.Minute, 119, 1, 2}, {5 * time.Minute, 23, 3, 4}, {time.Hour, 1, 3, 4}} {
		got := series(t, a, "shop/a", x.step)
		before, after := got.Points[x.before].Counts, got.Points[x.before+1].Counts
		if before[stats.Delivered] != 36 || before[stats.Open] != 9 || after[stats.Delivered] != x.delivered ||
			after[stats.Open] != x.open {
			t.Errorf("by %s: %v, then %v", x.step, before, after)
		}
		if total := got.Total.Counts; total[stats.Delivered] != 39 || total[stats.Timeout] != 0 || total[stats.Open] != 9 {
			t.Errorf("by %s, the total is %v", x.step, total)
		}
	}

	span := stats.SpanOf(time.Unix((noon+60)*60, 0), time.Unix((noon+65)*60, 0), 5*time.Minute)
	rows, err := a.Stats(t.Context(), span.Pages("shop/a"))
	if err != nil {
		t.Fatal(err)
	}
	both := stats.NewSeries(span)
	both.Add(span.Pages("shop/a")[0], rows[0])
	if p := both.Points[0]; p.Counts[stats.Delivered] != 2000 || p.Counts[stats.Timeout] != 14 ||
		p.Counts[stats.Open] != 5 || p.Took[3] != 1800 || p.Waited[10] != 80 {
		t.Errorf("of two replicas: %+v", p)
	}
	if got := series(t, a, "shop/b", time.Minute).Total.Counts; got[stats.Dead] != 1 || got[stats.Delivered] != 0 {
		t.Errorf("of another endpoint: %v", got)
	}
	if got := series(t, a, "shop/none", time.Minute).Total; got != (stats.Point{}) {
		t.Errorf("of one with nothing: %v", got)
	}
}

func checkStatsOnce(t *testing.T, b *bench) {
	s, other := b.open(t, options{}), b.open(t, options{})
	one := counted("shop/a", noon, map[stats.Measure]int64{stats.Delivered: 1})
	addStats(t, s, 1, one)
	addStats(t, s, 1, one) // the answer was lost
	addStats(t, s, 2, one)
	addStats(t, s, 1, one) // it was under way for long
	addStats(t, other, 1, one)
	if got := series(t, s, "shop/a", time.Minute).Total.Counts[stats.Delivered]; got != 3 {
		t.Errorf("3 were counted, and there are %d", got)
	}
}

func checkStatsRow(t *testing.T, b *bench) {
	s := b.open(t, options{})
	var cell stats.Cell
	for i := range int64(2) {
		cell = stats.Cell{Subject: "shop/a", Minute: noon}
		for place := range cell.Took {
			cell.Took[place] = 30_000 + int64(place)
		}
		addStats(t, s, i+1, cell)
	}
	page := stats.SpanOf(time.Unix(noon*60, 0), time.Unix((noon+5)*60, 0), 5*time.Minute).Pages("shop/a")
	rows, err := s.Stats(t.Context(), page)
	if err != nil {
		t.Fatal(err)
	}
	text := rows[0]["a0"]
	row := stats.ParseRow(text)
	if last := len(row) - 1; len(text) > 64 || len(text) < 60 || row[last] != 2*cell.Took[last] || row[0] != 0 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

func checkStatsExpire(t *testing.T, b *bench) {
	s := b.open(t, options{Settings: settings{StatsTTL: retention}})
	addStats(t, s, 1, counted("shop/a", noon, map[stats.Measure]int64{stats.Delivered: 1}))
	found := 0
	for _, key := range b.Keys(t, b.prefix()+"m") {
		key = strings.TrimPrefix(key, b.prefix())
		want := retention
		if strings.HasPrefix(key, "mh:") || strings.HasPrefix(key, "mc:") {
			want = stats.HoursKept
		}
		b.lives(t, key, want)
		found++
	}
	if found != 4 {
		t.Errorf("%d keys, want 4", found)
	}
}
