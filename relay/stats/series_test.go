package stats

import (
	"slices"
	"testing"
	"time"
)

// at is a time of day.
func at(hour, minute int) time.Time { return time.Date(2026, 11, 24, hour, minute, 0, 0, time.UTC) }

func TestASpanHasTheStepsThatBeginInIt(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		since, until time.Time
		step         time.Duration
		from         time.Time
		steps        int
	}{
		{at(6, 0), at(12, 0), time.Minute, at(6, 0), 360},
		{at(6, 0).Add(30 * time.Second), at(12, 0).Add(30 * time.Second), time.Minute, at(6, 1), 360},
		{at(6, 1), at(7, 1), time.Hour, at(7, 0), 1},
		{at(7, 1), at(7, 2), time.Hour, at(7, 0), 1},
		{at(7, 0), at(8, 0), time.Hour, at(7, 0), 1},
	} {
		got := SpanOf(x.since, x.until, x.step)
		if !got.From.Equal(x.from) || got.Steps != x.steps {
			t.Errorf("%s to %s by %s: %d from %s", x.since, x.until, x.step, got.Steps, got.From)
		}
	}
}

func TestASeriesReadsFewPages(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		span time.Duration
		step time.Duration
		most int
	}{
		{6 * time.Hour, 5 * time.Minute, 2},
		{6 * time.Hour, time.Minute, 4},
		{24 * time.Hour, 15 * time.Minute, 3},
		{15 * 24 * time.Hour, 3 * time.Hour, 4},
	} {
		for offset := range 24 {
			until := at(12, 7).Add(time.Duration(offset) * time.Hour)
			pages := SpanOf(until.Add(-x.span), until, x.step).Pages("shop/a")
			if len(pages) > x.most {
				t.Errorf("%s by %s until %s: %d pages", x.span, x.step, until, len(pages))
			}
		}
	}
}

// pageOf is the page that a time is in, and the field of its cell.
func pageOf(r Resolution, t time.Time) (Page, int64) {
	cell := t.Unix() / int64(r.Cell/time.Second)
	return Page{Subject: "shop/a", Resolution: r, Number: cell / r.Cells}, cell % r.Cells
}

func TestRowsComeIntoTheStepThatTheyAreIn(t *testing.T) {
	t.Parallel()
	span := SpanOf(at(11, 0), at(13, 0), 15*time.Minute)
	s := NewSeries(span)
	page, first := pageOf(FiveMinutes, at(12, 0)) // a new page begins at noon
	before := page
	before.Number--
	if first != 0 || !slices.Equal(span.Pages("shop/a"), []Page{before, page}) {
		t.Fatalf("pages %v", span.Pages("shop/a"))
	}

	s.Add(before, map[string]string{"131": "A9", "132": "A1K5", "133": "A2K3", "143": "B4", "a133": "C8", "x": "A1",
		"-1": "A7", "": "A1"})
	s.Add(page, map[string]string{"0": "A3", "12": "A9", "999": "A9", "d0": "D2"})
	for step, want := range map[int][3]int64{0: {3, 0, 5}, 1: {}, 3: {0, 4, 0}, 4: {3, 0, 0}, 7: {}} {
		counts := s.Points[step].Counts
		if got := [3]int64{counts[Delivered], counts[Timeout], counts[Open]}; got != want {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
	}
	if total := s.Total.Counts; total[Delivered] != 6 || total[Timeout] != 4 || total[Open] != 5 {
		t.Errorf("the total: %v", total)
	}
	if s.Points[0].Took[2] != 8 || s.Points[4].Waited[3] != 2 || s.Total.Took[2] != 8 || s.Total.Waited[3] != 2 {
		t.Errorf("histograms: %v, %v", s.Points[0].Took, s.Points[4].Waited)
	}
}

func TestAMinuteHasTheHistogramOfItsFiveMinutes(t *testing.T) {
	t.Parallel()
	span := SpanOf(at(12, 3), at(12, 13), time.Minute)
	s := NewSeries(span)
	for _, page := range span.Pages("shop/a") {
		if page.Resolution == Minutes {
			_, cell := pageOf(Minutes, at(12, 4))
			if cell != 4 {
				t.Fatalf("cell %d", cell)
			}
			s.Add(page, map[string]string{"2": "A9", "3": "A1", "12": "A2", "13": "A9"})
		} else {
			s.Add(page, map[string]string{"0": "A9", "a0": "A1", "a1": "A2", "a2": "A3", "a3": "A9"})
		}
	}
	var took []int64
	for _, p := range s.Points {
		took = append(took, p.Took[0])
	}
	if want := []int64{1, 1, 2, 2, 2, 2, 2, 3, 3, 3}; !slices.Equal(took, want) {
		t.Errorf("%v, want %v", took, want)
	}
	if s.Total.Took[0] != 6 || s.Total.Counts[Delivered] != 3 || s.Points[0].Counts[Delivered] != 1 {
		t.Errorf("the total has %d, and %d delivered", s.Total.Took[0], s.Total.Counts[Delivered])
	}
}
