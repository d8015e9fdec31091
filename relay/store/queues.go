package store

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/store/db"
)

// Depth is how many deliveries an endpoint has, and how old they are.
type Depth struct {
	Endpoint string
	// Open counts deliveries that are queued, retrying or leased; Waiting counts those behind an older update of their
	// waybill.
	Open, Waiting, Dead int64
	// Oldest is when the older one of two open deliveries was accepted: the one that is due first, and the one that is due
	// last (the longest backoff). One in between may be older. Zero if nothing is open.
	Oldest time.Time
	// OldestSince is when the age of the older one of these two began: later than Oldest if it was redriven, replayed, or
	// caught up with.
	OldestSince time.Time
	// Delivered is when the latest delivery was made, as far as the endpoint's history goes; zero: none.
	Delivered time.Time
}

// Depths returns the depth of each endpoint given, in the same order.
func (s *Store) Depths(ctx context.Context, endpoints []string) (out []Depth, err error) {
	defer db.Wrap(&err, "read queue depths")
	const most = db.SliceCommands / 6
	rows := make([]depthRow, len(endpoints))
	err = s.db.Slices(ctx, len(endpoints), most, func(p redis.Pipeliner, i int) {
		ep := endpoints[i]
		rows[i] = depthRow{
			endpoint: ep,
			open:     p.ZCard(ctx, s.queueKey(ep)), dead: p.ZCard(ctx, s.deadKey(ep)),
			waiting: p.HGet(ctx, s.db.Key("wait"), ep),
			first:   p.ZRange(ctx, s.queueKey(ep), 0, 0), last: p.ZRange(ctx, s.queueKey(ep), -1, -1),
			good: p.LIndex(ctx, s.deliveredKey(ep), 0),
		}
	})
	if err != nil {
		return nil, err
	}

	// Most endpoints have nothing open. For the others, the events at both ends of the queue show how old it is.
	var busy []*depthRow
	for i := range rows {
		if len(rows[i].first.Val()) == 1 {
			busy = append(busy, &rows[i])
		}
	}
	var shorts []string
	for _, r := range busy {
		shorts = append(shorts, r.first.Val()...)
		shorts = append(shorts, r.last.Val()...)
	}
	ends, err := s.readHeads(ctx, shorts)
	if err != nil {
		return nil, err
	}
	for _, r := range busy {
		n := len(r.first.Val()) + len(r.last.Val())
		r.ends, ends = ends[:n], ends[n:]
	}

	out = make([]Depth, len(endpoints))
	for i, r := range rows {
		out[i] = r.depth()
	}
	return out, nil
}

// depthRow has the questions about an endpoint's depth.
type depthRow struct {
	endpoint    string
	open, dead  *redis.IntCmd
	waiting     *redis.StringCmd
	first, last *redis.StringSliceCmd // of the queue
	good        *redis.StringCmd      // the latest attempt that delivered
	ends        []*stored             // the first and the last; nil: it is gone
}

// depth reads the answers.
func (r depthRow) depth() Depth {
	waiting, _ := r.waiting.Int64() // none waits: the field is not there
	d := Depth{
		Endpoint: r.endpoint, Open: r.open.Val(), Waiting: waiting, Dead: r.dead.Val(), Delivered: deliveredAt(r.good.Val()),
	}
	for _, v := range r.ends {
		if v == nil {
			continue
		}
		d.Oldest = earlierOf(d.Oldest, v.accepted)
		if owed := v.of(r.endpoint); owed != nil {
			d.OldestSince = earlierOf(d.OldestSince, owed.since(v.accepted))
		}
	}
	return d
}

// earlierOf returns the earlier one of two times, of which the first may be zero.
func earlierOf(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// Backlog is how many deliveries of an endpoint are open or wait.
func (s *Store) Backlog(ctx context.Context, endpoint string) (int, error) {
	d, err := s.Depths(ctx, []string{endpoint})
	if err != nil {
		return 0, err
	}
	return int(d[0].Open + d[0].Waiting), nil
}

// Orphans notes the endpoints that have open deliveries and are unknown to this replica. It drops the other notes that
// it can judge: those of endpoints that it knows, and of those with nothing open any more. It returns the unknown
// endpoints that no replica has known for the grace given. A replica that knows an endpoint drops its note each time,
// and the grace begins anew.
//
// It is no script, because each command does no harm by itself. If another replica drops a note in between, the
// endpoint was returned as it was a moment before. A note that is not written, or dropped by mistake, only makes the
// grace longer.
func (s *Store) Orphans(ctx context.Context, unknown []string, grace time.Duration) (old []string, err error) {
	defer db.Wrap(&err, "look for orphans")
	ctx, cancel := context.WithTimeout(ctx, 2*s.db.Timeout)
	defer cancel()
	now := s.db.Now()
	notes, err := s.db.Client.HGetAll(ctx, s.db.Key("orphans")).Result()
	if err != nil {
		return nil, err
	}

	err = s.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		for name, since := range notes {
			switch {
			case !slices.Contains(unknown, name):
				p.HDel(ctx, s.db.Key("orphans"), name)
			case now.Sub(time.UnixMilli(db.Number(since))) >= grace:
				old = append(old, name)
			}
		}
		for _, name := range unknown {
			p.HSetNX(ctx, s.db.Key("orphans"), name, now.UnixMilli())
		}
	})
	if err != nil {
		return nil, err
	}
	return old, nil
}
