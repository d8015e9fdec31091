package relay

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/logonce"
	"kuairelay/relay/stats"
	"kuairelay/relay/store"
)

const (
	// statsEvery is how often what was counted is written. A process that is killed loses so much of it.
	statsEvery = 10 * time.Second
	// gaugesEvery is how often it is counted what is open, waiting and dead, and gaugesFor how long one replica has the
	// right to do that.
	gaugesEvery = time.Minute
	gaugesFor   = 55 * time.Second
	// lastStats is how long a process that stops waits for its last statistics to be written.
	lastStats = 3 * time.Second
)

// statistics writes to Redis what this process counts.
type statistics struct {
	store    *store.Store
	log      *zap.Logger
	counters *stats.Counters

	// unsent was taken from the counters. Its first part is sent with the number of the call, and again with the same
	// number if that fails: it may have been done.
	unsent []stats.Cell
	number int64
	again  bool
	failed logonce.Change[string]
}

func newStatistics(s *store.Store, log *zap.Logger) *statistics {
	return &statistics{store: s, log: log, counters: stats.NewCounters(s.Now)}
}

// run writes what is new until ctx ends. What is counted after that is left for last.
func (s *statistics) run(ctx context.Context) {
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	var gauges time.Time // when they were last due
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}

		err := s.flush(ctx)
		if err == nil && time.Since(gauges) >= gaugesEvery {
			gauges = time.Now()
			err = s.gauge(ctx)
		}
		if ctx.Err() == nil {
			s.report(err)
		}
	}
}

// last writes what is left when nothing is counted any more. It waits for Redis no longer than lastStats.
func (s *statistics) last(ctx context.Context) {
	if s.counters.Held() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastStats)
	defer cancel()
	err := s.store.WaitUp(ctx)
	if err == nil {
		err = s.flush(ctx)
	}
	s.report(err)
}

// report logs an error once for each time that it changes. What is wrong with Redis is told elsewhere.
func (s *statistics) report(err error) {
	var trouble interface{ Trouble() bool }
	if errors.As(err, &trouble) {
		err = nil
	}
	if s.failed.To(logonce.Text(err)) && err != nil {
		s.log.Error("statistics are not written, and are kept in memory", zap.Error(err))
	}
}

// flush writes what was counted. While Redis takes no events, it stays in memory.
func (s *statistics) flush(ctx context.Context) error {
	if !s.up() {
		return nil
	}
	if len(s.unsent) == 0 {
		s.unsent = s.counters.Take()
	}

	for len(s.unsent) > 0 {
		n := min(store.StatsMost, len(s.unsent))
		if err := s.send(ctx, s.unsent[:n]); err != nil {
			return err
		}
		s.unsent = s.unsent[n:]
		s.counters.Written(n)
	}
	return nil
}

// up says whether Redis takes what is written.
func (s *statistics) up() bool { return s.store.Available() == nil }

// send makes one call. After an error, the next one has to be with the same cells.
func (s *statistics) send(ctx context.Context, cells []stats.Cell) error {
	if !s.again {
		s.number++
	}
	err := s.store.AddStats(ctx, s.number, cells)
	s.again = err != nil
	return err
}

// gauge notes how much is open, waits and is dead at each endpoint that has something. One replica does it for all.
func (s *statistics) gauge(ctx context.Context) error {
	if !s.counters.On() || !s.up() {
		return nil
	}
	_, locked, err := s.store.TryLock(ctx, "gauges", gaugesFor) // it ends by itself
	if err != nil || !locked {
		return err
	}

	names, err := s.store.ActiveEndpoints(ctx)
	if err != nil {
		return err
	}
	depths, err := s.store.Depths(ctx, names)
	if err != nil {
		return err
	}
	now := s.store.Now()
	var cells []stats.Cell
	for _, d := range depths {
		if d.Open+d.Waiting+d.Dead > 0 {
			cells = append(cells, gaugesOf(d, now))
		}
	}
	s.counters.Put(cells)
	return s.flush(ctx)
}

// gaugesOf are the gauges of an endpoint.
func gaugesOf(d store.Depth, now time.Time) stats.Cell {
	c := stats.Cell{Subject: d.Endpoint, Minute: now.Unix() / 60}
	c.Counts[stats.Open] = d.Open
	c.Counts[stats.Waiting] = d.Waiting
	c.Counts[stats.DeadLetters] = d.Dead
	if !d.Oldest.IsZero() {
		c.Counts[stats.Oldest] = max(0, int64(now.Sub(d.Oldest).Seconds()))
	}
	return c
}
