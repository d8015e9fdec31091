package stats

import (
	"slices"
	"strconv"
	"time"
)

// Resolution is how finely rows are kept. The rows of one hash, a page, are so many that Redis keeps it as a listpack
// (hash-max-listpack-entries, 512).
type Resolution struct {
	Cell  time.Duration // the span of a row
	Cells int64         // of a page
}

// The resolutions. Minutes have no histograms: FiveMinutes and Hours have them beside the counts.
var (
	Minutes     = Resolution{Cell: time.Minute, Cells: 360}
	FiveMinutes = Resolution{Cell: 5 * time.Minute, Cells: 144}
	Hours       = Resolution{Cell: time.Hour, Cells: 120}
)

// HoursKept is how long the rows of Hours are kept.
const HoursKept = 15 * 24 * time.Hour

// Page is a hash of rows. The field of a row is the place of its cell in the page; with TookField or WaitedField before
// it, the row is the histogram.
type Page struct {
	Subject    string
	Resolution Resolution
	Number     int64 // since the epoch
}

// The letters before the fields of histograms.
const (
	TookField   = 'a'
	WaitedField = 'd'
)

// Span is a part of time, in steps.
type Span struct {
	From  time.Time // the beginning of the first step
	Step  time.Duration
	Steps int
}

// SpanOf returns the steps of a part of time: those that begin in it, and at least the one that it ends in.
func SpanOf(since, until time.Time, step time.Duration) Span {
	from := since.Truncate(step)
	if from.Before(since) {
		from = from.Add(step)
	}
	if !from.Before(until) {
		from = until.Add(-1).Truncate(step)
	}
	return Span{From: from, Step: step, Steps: int((until.Sub(from) + step - 1) / step)}
}

// Until is the end of the last step.
func (s Span) Until() time.Time { return s.From.Add(time.Duration(s.Steps) * s.Step) }

// Steps are those that a span may have. Each is a whole number of cells of its resolution.
func Steps() []time.Duration {
	const day = 24 * time.Hour
	return []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day}
}

// counts is the resolution that the counts of a span are read in, and histograms that of its histograms.
func (s Span) counts() Resolution {
	if s.Step < FiveMinutes.Cell {
		return Minutes
	}
	return s.histograms()
}

func (s Span) histograms() Resolution {
	if s.Step%Hours.Cell == 0 {
		return Hours
	}
	return FiveMinutes
}

// Pages are those that a series of a subject is made of.
func (s Span) Pages(subject string) []Page {
	var out []Page
	for _, r := range slices.Compact([]Resolution{s.counts(), s.histograms()}) {
		long := int64(r.Cell/time.Second) * r.Cells
		for n := s.From.Unix() / long; n*long < s.Until().Unix(); n++ {
			out = append(out, Page{Subject: subject, Resolution: r, Number: n})
		}
	}
	return out
}

// Point is a step of a series.
type Point struct {
	Counts Row
	// Took and Waited are histograms: see Sample. If the step is shorter than FiveMinutes, they are those of the five
	// minutes that it is in.
	Took, Waited Row
}

// Series has the points of a span, and what they sum up to.
type Series struct {
	Span
	Points []Point
	Total  Point
}

// NewSeries makes an empty series. Add adds to it what was read.
func NewSeries(s Span) *Series { return &Series{Span: s, Points: make([]Point, s.Steps)} }

// Add adds the rows of a page, by their fields.
func (s *Series) Add(p Page, rows map[string]string) {
	counts := p.Resolution == s.counts()
	histograms := p.Resolution == s.histograms()
	for field, text := range rows {
		if field == "" {
			continue
		}
		kind := field[0]
		if kind == TookField || kind == WaitedField {
			field = field[1:]
		}
		place, err := strconv.ParseInt(field, 10, 64)
		if err != nil || place >= p.Resolution.Cells {
			continue
		}

		at := time.Unix((p.Number*p.Resolution.Cells+place)*int64(p.Resolution.Cell/time.Second), 0)
		switch {
		case kind == TookField && histograms:
			s.addHistogram(at, text, func(p *Point) *Row { return &p.Took })
		case kind == WaitedField && histograms:
			s.addHistogram(at, text, func(p *Point) *Row { return &p.Waited })
		case kind != TookField && kind != WaitedField && counts:
			s.addCounts(at, text)
		}
	}
}

// step is the place of the step that a time is in.
func (s *Series) step(at time.Time) int {
	if at.Before(s.From) {
		return -1
	}
	return int(at.Sub(s.From) / s.Step)
}

func (s *Series) addCounts(at time.Time, text string) {
	step := s.step(at)
	if step < 0 || step >= s.Steps {
		return
	}
	row := ParseRow(text)
	s.Points[step].Counts.addCounts(&row)
	s.Total.Counts.addCounts(&row)
}

// addHistogram adds a histogram to the step that it is in, or to all steps that are in it.
func (s *Series) addHistogram(at time.Time, text string, of func(*Point) *Row) {
	end := at.Add(s.histograms().Cell)
	first := max(0, s.step(at))
	if at.Before(s.From) && !end.After(s.From) || first >= s.Steps {
		return
	}

	row := ParseRow(text)
	of(&s.Total).add(&row)
	for step := first; step < s.Steps && s.From.Add(time.Duration(step)*s.Step).Before(end); step++ {
		of(&s.Points[step]).add(&row)
	}
}
