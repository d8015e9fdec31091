package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// Park pauses an endpoint: its deliveries stay open, and none is attempted. by is who does it. An endpoint that is
// paused already stays as it is. One that answers 410 is parked as gone without a call of Park.
func (s *Store) Park(ctx context.Context, endpoint string, by event.Actor) error {
	return s.park(ctx, endpoint, queue.ParkedPaused, by)
}

// Resume ends the pause of an endpoint that is paused, gone, or held back by its breaker. Its backlog is sent at a
// growing pace, and an endpoint that was seen to answer twice is trusted again. by is who does it.
func (s *Store) Resume(ctx context.Context, endpoint string, by event.Actor) error {
	return s.park(ctx, endpoint, "", by)
}

func (s *Store) park(ctx context.Context, endpoint string, state queue.Parked, by event.Actor) (err error) {
	defer db.Wrap(&err, "park or resume endpoint")
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return err
	}
	now, entry := s.db.Now(), event.LogEntry{What: event.LogPaused, By: by}
	if state == "" {
		entry.What = event.LogResumed
	}
	return parkScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, now.UnixMilli(), endpoint, string(state), by.Name,
		encodeLogEntry(entry, now, ""), s.logLife()).Err()
}

// ramp is the state in Redis of an endpoint whose breaker has closed, or that was resumed: its deliveries are sent at a
// growing pace; see lua/lib/control.lua.
const ramp = "ramp"

// Parked lists the endpoints whose deliveries do not move, each with why.
func (s *Store) Parked(ctx context.Context) (map[string]queue.Parked, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	all, err := s.db.Client.HGetAll(ctx, s.db.Key("ctl")).Result()
	if err != nil {
		return nil, fmt.Errorf("list parked endpoints: %w", err)
	}

	out := make(map[string]queue.Parked, len(all))
	for name, control := range all {
		if state, _, _ := strings.Cut(control, " "); state != ramp {
			out[name] = queue.Parked(state)
		}
	}
	return out, nil
}

// Distrust notes that an endpoint was seen to answer twice, until it is resumed. The first time is kept. It is one
// command, and repeating it changes nothing.
func (s *Store) Distrust(ctx context.Context, endpoint string) (err error) {
	defer db.Wrap(&err, "note that an endpoint answers twice")
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return err
	}
	return s.db.Client.HSetNX(ctx, s.db.Key("twice"), endpoint, s.db.Now().UnixMilli()).Err()
}

// Distrusted lists the endpoints that were seen to answer twice, with the time since when.
func (s *Store) Distrusted(ctx context.Context) (map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	all, err := s.db.Client.HGetAll(ctx, s.db.Key("twice")).Result()
	if err != nil {
		return nil, fmt.Errorf("list endpoints that answer twice: %w", err)
	}

	out := make(map[string]time.Time, len(all))
	for name, since := range all {
		out[name] = time.UnixMilli(db.Number(since))
	}
	return out, nil
}

// Health sums up endpoints, in the order given. latest is how many of their attempts are wanted; of those that failed,
// only the latest has its text.
func (s *Store) Health(ctx context.Context, endpoints []string, latest int) (out []queue.EndpointHealth, err error) {
	depths, err := s.Depths(ctx, endpoints)
	if err != nil {
		return nil, err
	}
	defer db.Wrap(&err, "look at the health of endpoints")

	type row struct {
		parked, twice *redis.StringCmd
		failed        *redis.XMessageSliceCmd
		good          *redis.StringSliceCmd
	}
	rows := make([]row, len(endpoints))
	most := max(1, 1000/max(latest, 10)) // attempts are what costs most
	err = s.db.Slices(ctx, len(endpoints), most, func(p redis.Pipeliner, i int) {
		r := &rows[i]
		r.parked = p.HGet(ctx, s.db.Key("ctl"), endpoints[i])
		r.twice = p.HGet(ctx, s.db.Key("twice"), endpoints[i])
		if latest > 0 {
			r.failed, r.good = s.latest(ctx, p, endpoints[i], latest)
		}
	})
	if err != nil {
		return nil, err
	}

	out = make([]queue.EndpointHealth, len(endpoints))
	var began []*queue.EndpointHealth // those that have failed for longer than the latest attempts tell
	for i, d := range depths {
		r := &rows[i]
		out[i] = queue.EndpointHealth{
			Endpoint: d.Endpoint, Open: d.Open, Waiting: d.Waiting, Dead: d.Dead,
			Oldest: d.Oldest, OldestSince: d.OldestSince, Delivered: d.Delivered,
		}
		readParked(r.parked.Val(), &out[i])
		if since := r.twice.Val(); since != "" {
			out[i].AnswersTwice = time.UnixMilli(db.Number(since))
		}
		if latest == 0 {
			continue
		}

		attempts, err := latestFirst(r.failed.Val(), r.good.Val(), latest)
		if err != nil {
			return nil, err
		}
		*r = row{} // frees what was read: it may be much
		h := &out[i]
		h.Latest = recordsOf(attempts)
		whole := false
		h.FailedInRow, h.FailingSince, whole = event.FailedInRow(h.Latest)
		if !whole && len(h.Latest) == latest {
			began = append(began, h)
		}
	}
	if err := s.addPausedBy(ctx, out); err != nil {
		return nil, err
	}
	return out, s.addFailingSince(ctx, began)
}

// addPausedBy adds who has paused them to those endpoints that are paused.
func (s *Store) addPausedBy(ctx context.Context, all []queue.EndpointHealth) error {
	var paused []*queue.EndpointHealth
	for i := range all {
		if all[i].Parked == queue.ParkedPaused {
			paused = append(paused, &all[i])
		}
	}

	by := make([]*redis.StringCmd, len(paused))
	err := s.db.Slices(ctx, len(paused), db.SliceCommands, func(p redis.Pipeliner, i int) {
		by[i] = p.HGet(ctx, s.db.Key("by"), paused[i].Endpoint)
	})
	if err != nil {
		return err
	}
	for i, h := range paused {
		h.PausedBy = by[i].Val()
	}
	return nil
}

// addFailingSince adds since when they fail to endpoints whose latest attempts have all failed: that is the first one
// that failed after the latest delivery, as far as the history goes.
func (s *Store) addFailingSince(ctx context.Context, all []*queue.EndpointHealth) error {
	first := make([]*redis.XMessageSliceCmd, len(all))
	err := s.db.Slices(ctx, len(all), db.SliceCommands, func(p redis.Pipeliner, i int) {
		from := "-"
		if !all[i].Delivered.IsZero() {
			from = strconv.FormatInt(all[i].Delivered.UnixMilli(), 10)
		}
		first[i] = p.XRangeN(ctx, s.failedKey(all[i].Endpoint), from, "+", 1)
	})
	if err != nil {
		return err
	}
	for i, h := range all {
		if found := first[i].Val(); len(found) == 1 {
			h.FailingSince = readFailed(found[0]).At
		}
	}
	return nil
}

// readParked reads why an endpoint is held back: its state, since when, and for a breaker until when (ms).
func readParked(control string, h *queue.EndpointHealth) {
	f := strings.Fields(control)
	if len(f) < 2 || f[0] == ramp {
		return
	}
	h.Parked = queue.Parked(f[0])
	h.ParkedSince = time.UnixMilli(db.Number(f[1]))
	if len(f) > 2 {
		h.ParkedUntil = time.UnixMilli(db.Number(f[2]))
	}
}

// recordsOf returns attempts without their events. Of those that failed, only the latest has what is kept of it.
func recordsOf(attempts []queue.EndpointAttempt) []event.AttemptRecord {
	var out []event.AttemptRecord
	told := false
	for _, a := range attempts {
		if told {
			a.Text, a.Reason, a.Replica, a.Headers = "", "", "", nil
		}
		told = told || !a.Good()
		out = append(out, a.AttemptRecord)
	}
	return out
}
