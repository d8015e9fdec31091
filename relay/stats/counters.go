package stats

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// mostMinutes bounds the minutes of a subject that are in memory, which happens while Redis takes nothing.
	mostMinutes = 24 * 60
	// mostCells bounds the minutes of all subjects together: they take 25 MB then. What is above is not counted.
	mostCells = 1 << 15
)

// Sample is something that happened.
type Sample struct {
	What Measure
	// N is how often; 0: once.
	N int
	// Took is how long the attempt took, or until the callback was durable. Waited is the time from acceptance to
	// delivery. 0: it is not known.
	Took, Waited time.Duration
}

// Cell has what was counted for a subject in a minute, and was not written down yet.
type Cell struct {
	Subject      string
	Minute       int64 // since the epoch
	Counts       Row
	Took, Waited Row // histograms
}

// Counters count for many subjects. All methods may be called at the same time.
type Counters struct {
	now   func() time.Time
	on    atomic.Bool
	cells atomic.Int64 // in memory, see mostCells

	mu sync.RWMutex // held for reading while something is counted
	by map[string]*counter
}

// NewCounters makes Counters, which count nothing until Use. now is their clock.
func NewCounters(now func() time.Time) *Counters {
	return &Counters{now: now, by: make(map[string]*counter)}
}

// Use says whether they count from now on.
func (c *Counters) Use(on bool) { c.on.Store(on) }

// On says whether they count.
func (c *Counters) On() bool { return c.on.Load() }

// Add counts for a subject something that happened now.
func (c *Counters) Add(subject string, s Sample) {
	if !c.on.Load() {
		return
	}
	minute := c.now().Unix() / 60
	for !c.add(subject, minute, s) {
		c.open(subject)
	}
}

// add counts, unless the subject has no counter.
func (c *Counters) add(subject string, minute int64, s Sample) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	one := c.by[subject]
	if one == nil {
		return false
	}
	one.add(minute, s)
	return true
}

// open makes the counter of a subject.
func (c *Counters) open(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[subject] == nil {
		c.by[subject] = &counter{all: c, subject: subject}
	}
}

// Put adds gauges: the counts of cells. All of them are in the same Take, so that their sums are whole.
func (c *Counters) Put(cells []Cell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range cells {
		subject := cells[i].Subject
		one := c.by[subject]
		if one == nil {
			one = &counter{all: c, subject: subject}
			c.by[subject] = one
		}
		if cell := one.cell(cells[i].Minute); cell != nil {
			cell.Counts.addCounts(&cells[i].Counts)
		}
	}
}

// Take returns what was counted since the last call, and the sums over the endpoints of each tenant and over all. The
// caller calls Written when it no longer holds them.
func (c *Counters) Take() []Cell {
	c.mu.Lock()
	taken := c.by
	c.by = make(map[string]*counter)
	c.mu.Unlock()

	var out []Cell
	for _, one := range taken {
		out = append(out, one.cells...)
	}
	sums := Sums(out)
	c.cells.Add(int64(len(sums)))
	return append(out, sums...)
}

// Held is how many cells are in memory: those that were not taken, and those of Take until they are written.
func (c *Counters) Held() int { return int(c.cells.Load()) }

// Written notes that so many cells of Take need no memory any more.
func (c *Counters) Written(n int) { c.cells.Add(-int64(n)) }

// Sums adds up the cells of endpoints, minute by minute, for each tenant and for All.
func Sums(cells []Cell) []Cell {
	type key struct {
		subject string
		minute  int64
	}
	at := make(map[key]int) // in sums
	var sums []Cell
	for i := range cells {
		cell := &cells[i]
		tenant, _, isEndpoint := strings.Cut(cell.Subject, "/")
		if !isEndpoint {
			continue
		}

		for _, subject := range []string{Tenant(tenant), All} {
			k := key{subject, cell.Minute}
			place, known := at[k]
			if !known {
				place = len(sums)
				at[k] = place
				sums = append(sums, Cell{Subject: subject, Minute: cell.Minute})
			}
			sums[place].sum(cell)
		}
	}
	return sums
}

// sum adds a cell of an endpoint to one of many endpoints: what is open at each is open at all.
func (c *Cell) sum(other *Cell) {
	oldest := max(c.Counts[Oldest], other.Counts[Oldest])
	c.Counts.add(&other.Counts)
	c.Counts[Oldest] = oldest
	c.Took.add(&other.Took)
	c.Waited.add(&other.Waited)
}

// counter counts for one subject, until what it counted is taken.
type counter struct {
	all     *Counters
	subject string

	mu    sync.Mutex
	cells []Cell // by minute
}

func (c *counter) add(minute int64, s Sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cell := c.cell(minute)
	if cell == nil {
		return
	}

	cell.Counts[s.What] += int64(max(1, s.N))
	if s.Took > 0 {
		cell.Took[bucket(s.Took)]++
	}
	if s.Waited > 0 {
		cell.Waited[bucket(s.Waited)]++
	}
}

// cell returns the cell of a minute; nil: there is no room for it. If the clock went back, it is the latest one.
func (c *counter) cell(minute int64) *Cell {
	if last := len(c.cells) - 1; last >= 0 && c.cells[last].Minute >= minute {
		return &c.cells[last]
	}
	if len(c.cells) >= mostMinutes {
		return nil
	}
	if c.all.cells.Add(1) > mostCells {
		c.all.cells.Add(-1)
		return nil
	}
	c.cells = append(c.cells, Cell{Subject: c.subject, Minute: minute})
	return &c.cells[len(c.cells)-1]
}
