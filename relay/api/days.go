package api

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"kuairelay/relay/stats"
)

const (
	// dayCells and dayCell are how a day is cut.
	dayCells = 96
	dayCell  = 15 * time.Minute
	// dayFor is how long a day that was read is shown.
	dayFor = 30 * time.Second
	// daysMost bounds the days in memory, which take 2 KB each, and daysAtOnce those that are read at one time.
	daysMost   = 2000
	daysAtOnce = 20
)

// Day has the last 24 hours of an endpoint in 96 cells, the oldest first. The last cell is not over yet.
type Day [dayCells]DayCell

// DayCell has what came of the attempts of 15 minutes, and how many deliveries were given up.
type DayCell struct{ Delivered, Failed, Dead int64 }

// LastHour sums up the last four quarters of an hour, and the one that is not over.
func (d *Day) LastHour() (sum DayCell) {
	const quarters = 5
	for _, cell := range d[len(d)-quarters:] {
		sum.Delivered += cell.Delivered
		sum.Failed += cell.Failed
		sum.Dead += cell.Dead
	}
	return sum
}

// dayCache keeps days for dayFor.
type dayCache struct {
	mu sync.Mutex
	by map[string]cachedDay
}

type cachedDay struct {
	day  *Day
	read time.Time
}

// Days returns the last 24 hours of endpoints by their names, as they were at most 30 s ago. The days must not be
// changed. Without statistics there are none. Of each endpoint it reads 2 or 3 hashes: the caller bounds the endpoints,
// to those of a page.
func (c *API) Days(ctx context.Context, endpoints []string) (map[string]*Day, error) {
	out := make(map[string]*Day, len(endpoints))
	if c.current.Load().History == 0 {
		return out, nil
	}

	endpoints = slices.Compact(slices.Sorted(slices.Values(endpoints)))
	now := c.now()
	missing := c.days.get(endpoints, now, out)
	for part := range slices.Chunk(missing, daysAtOnce) {
		read, err := c.readDays(ctx, part, now)
		if err != nil {
			return nil, err
		}
		c.days.put(read, now)
		maps.Copy(out, read)
	}
	return out, nil
}

// get puts the days that are fresh into out, and returns the endpoints whose days have to be read.
func (d *dayCache) get(endpoints []string, now time.Time, out map[string]*Day) (missing []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.by, func(_ string, one cachedDay) bool { return now.Sub(one.read) >= dayFor })
	for _, name := range endpoints {
		if one, known := d.by[name]; known {
			out[name] = one.day
		} else {
			missing = append(missing, name)
		}
	}
	return missing
}

func (d *dayCache) put(read map[string]*Day, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil || len(d.by) >= daysMost {
		d.by = make(map[string]cachedDay)
	}
	for name, day := range read {
		d.by[name] = cachedDay{day: day, read: now}
	}
}

// readDays reads days.
func (c *API) readDays(ctx context.Context, endpoints []string, now time.Time) (map[string]*Day, error) {
	span := stats.SpanOf(now.Add(-dayCells*dayCell), now, dayCell)
	var pages []stats.Page
	for _, name := range endpoints {
		pages = append(pages, span.Pages(name)...)
	}
	rows, err := c.stats.Stats(ctx, pages)
	if err != nil {
		return nil, err
	}

	// The pages of an endpoint follow each other.
	out := make(map[string]*Day, len(endpoints))
	for len(pages) > 0 {
		name := pages[0].Subject
		series := stats.NewSeries(span)
		for len(pages) > 0 && pages[0].Subject == name {
			series.Add(pages[0], rows[0])
			pages = pages[1:]
			rows = rows[1:]
		}
		out[name] = dayOf(series)
	}
	return out, nil
}

func dayOf(series *stats.Series) *Day {
	day := &Day{}
	for i := range series.Points {
		counts := &series.Points[i].Counts
		day[i] = DayCell{Delivered: counts[stats.Delivered], Failed: counts.Failed(), Dead: counts[stats.Dead]}
	}
	return day
}
