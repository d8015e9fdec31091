package stats

import (
	"sync"
	"testing"
	"time"
)

// fixed are Counters at a time that the test sets.
type fixed struct {
	*Counters
	now time.Time
}

func newFixed() *fixed {
	f := &fixed{now: time.Unix(600, 0)} // the tenth minute
	f.Counters = NewCounters(func() time.Time { return f.now })
	f.Use(true)
	return f
}

// taken are the cells of a Take by subject and minute.
func (f *fixed) taken() map[string]map[int64]Cell {
	out := make(map[string]map[int64]Cell)
	for _, c := range f.Take() {
		if out[c.Subject] == nil {
			out[c.Subject] = make(map[int64]Cell)
		}
		out[c.Subject][c.Minute] = c
	}
	return out
}

func TestWhatHappensIsCountedByMinuteForItsEndpointItsTenantAndAll(t *testing.T) {
	t.Parallel()
	f := newFixed()
	f.Add("shop/a", Sample{What: Delivered, Took: 3 * time.Millisecond, Waited: time.Second})
	f.Add("shop/b", Sample{What: Timeout, Took: 15 * time.Second})
	f.Add("crm/a", Sample{What: Dead})
	f.Add(Callbacks, Sample{What: New, N: 7})
	f.now = f.now.Add(time.Minute)
	f.Add("shop/a", Sample{What: Delivered})

	got := f.taken()
	for subject, want := range map[string][3]int64{ // delivered, timeout and dead in the tenth minute
		"shop/a": {1, 0, 0}, "shop/b": {0, 1, 0}, "crm/a": {0, 0, 1}, "shop/": {1, 1, 0}, "crm/": {0, 0, 1}, "/": {1, 1, 1},
	} {
		counts := got[subject][10].Counts
		if is := [3]int64{counts[Delivered], counts[Timeout], counts[Dead]}; is != want {
			t.Errorf("%s: %v, want %v", subject, is, want)
		}
	}
	if got[Callbacks][10].Counts[New] != 7 || len(got) != 7 {
		t.Errorf("callbacks: %v, of %d subjects", got[Callbacks][10].Counts, len(got))
	}
	if got["shop/"][11].Counts[Delivered] != 1 || got["/"][11].Counts[Delivered] != 1 {
		t.Errorf("the next minute: %+v", got["shop/"][11])
	}
	all := got["/"][10]
	if all.Took[bucket(3*time.Millisecond)] != 1 || all.Took[bucket(15*time.Second)] != 1 ||
		all.Waited[bucket(time.Second)] != 1 {
		t.Errorf("the histograms of all: %v, %v", all.Took, all.Waited)
	}

	if more := f.Take(); len(more) != 0 {
		t.Errorf("taken twice: %v", more)
	}
}

func TestNothingIsCountedWhileStatisticsAreOff(t *testing.T) {
	t.Parallel()
	f := newFixed()
	f.Use(false)
	f.Add("shop/a", Sample{What: Delivered})
	if got := f.Take(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestAClockThatGoesBackMakesNoSecondMinute(t *testing.T) {
	t.Parallel()
	f := newFixed()
	f.Add("shop/a", Sample{What: Delivered})
	f.now = f.now.Add(-5 * time.Minute)
	f.Add("shop/a", Sample{What: Delivered})
	if got := f.taken()["shop/a"]; len(got) != 1 || got[10].Counts[Delivered] != 2 {
		t.Errorf("%v", got)
	}
}

func TestGaugesOfATenantAreSumsButTheOldest(t *testing.T) {
	t.Parallel()
	f := newFixed()
	gauges := func(subject string, open, oldest int64) Cell {
		c := Cell{Subject: subject, Minute: 10}
		c.Counts[Open] = open
		c.Counts[Oldest] = oldest
		return c
	}
	f.Add("shop/a", Sample{What: Delivered})
	f.Put([]Cell{gauges("shop/a", 3, 60), gauges("shop/b", 4, 30)})
	got := f.taken()
	for _, subject := range []string{"shop/", All} {
		counts := got[subject][10].Counts
		if counts[Open] != 7 || counts[Oldest] != 60 || counts[Delivered] != 1 {
			t.Errorf("%s: %v", subject, counts)
		}
	}
	if got["shop/a"][10].Counts[Open] != 3 {
		t.Errorf("shop/a: %v", got["shop/a"][10].Counts)
	}
}

func TestWhatIsInMemoryIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixed()
	for range mostMinutes + 10 {
		f.Add("shop/a", Sample{What: Delivered})
		f.now = f.now.Add(time.Minute)
	}
	if got := f.taken()["shop/a"]; len(got) != mostMinutes {
		t.Errorf("one endpoint has %d minutes", len(got))
	}

	// What was taken counts until it is written.
	held := int(f.cells.Load())
	for i := range mostCells {
		f.Add("t/"+string(rune('a'+i%26))+time.Duration(i).String(), Sample{What: Delivered})
	}
	if got := f.cells.Load(); got != mostCells {
		t.Errorf("%d cells are in memory", got)
	}
	f.Written(held)
	f.Add("one/more", Sample{What: Delivered})
	if got := f.taken()["one/more"]; got == nil {
		t.Error("there is room again, and nothing is counted")
	}
}

func TestNothingIsLostOrCountedTwiceWhileItIsTaken(t *testing.T) {
	t.Parallel()
	c := NewCounters(time.Now)
	c.Use(true)
	const workers, each = 8, 2000
	var counting sync.WaitGroup
	for range workers {
		counting.Go(func() {
			for range each {
				c.Add("shop/a", Sample{What: Delivered, Took: time.Millisecond})
			}
		})
	}
	done := make(chan struct{})
	go func() { counting.Wait(); close(done) }()

	sums := map[string]int64{}
	cells := 0
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		for _, cell := range c.Take() {
			sums[cell.Subject] += cell.Counts[Delivered]
			cells++
		}
	}
	for _, subject := range []string{"shop/a", "shop/", All} {
		if sums[subject] != workers*each {
			t.Errorf("%s: %d", subject, sums[subject])
		}
	}
	if c.Written(cells); c.cells.Load() != 0 {
		t.Errorf("%d cells too many are held", c.cells.Load())
	}
}

// BenchmarkAdd counts attempts of one endpoint in one goroutine, and in as many as there are processors, of one
// endpoint and of 64.
func BenchmarkAdd(b *testing.B) {
	s := Sample{What: Delivered, Took: 12 * time.Millisecond, Waited: 80 * time.Millisecond}
	names := make([]string, 64)
	for i := range names {
		names[i] = "shop/" + string(rune('0'+i))
	}
	for _, x := range []struct {
		name      string
		endpoints int
	}{{"one", 1}, {"of 64", len(names)}} {
		c := NewCounters(time.Now)
		c.Use(true)
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				c.Add(names[i%x.endpoints], s)
			}
		})
		b.Run(x.name+", parallel", func(b *testing.B) {
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					c.Add(names[i%x.endpoints], s)
				}
			})
		})
	}
}
