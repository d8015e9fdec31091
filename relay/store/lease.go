package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// Due lists endpoints with a delivery that is due within the span from now, the earliest first, at most most of them
// from the offset on. An endpoint may be listed early, but never late, unless it is parked.
func (s *Store) Due(ctx context.Context, within time.Duration, offset, most int) ([]queue.DueEndpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return nil, fmt.Errorf("list due endpoints: %w", err)
	}

	till := s.db.Now().Add(within).UnixMilli()
	zs, err := s.db.Client.ZRangeByScoreWithScores(ctx, s.db.Key("due"), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(till, 10), Offset: int64(offset), Count: int64(most),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("list due endpoints: %w", err)
	}

	out := make([]queue.DueEndpoint, len(zs))
	for i, z := range zs {
		name, _ := z.Member.(string)
		out[i] = queue.DueEndpoint{Endpoint: name, At: time.UnixMilli(int64(z.Score))}
	}
	return out, nil
}

// maxLeaseBytes bounds the bodies of one answer, so that it does not take longer than a round trip may.
const maxLeaseBytes = 1 << 20

// leaseKept is how long a call of lease can be asked again with the same answer, less some seconds; see lua/lease.lua.
const leaseKept = 50 * time.Second

// Lease leases deliveries that are due to the caller; see lua/lease.lua. progress says for each request how far it
// came. A delivery whose body was lost is Damaged. A call that meets trouble is asked again when Redis is back, as long
// as its leases have not lapsed.
func (s *Store) Lease(ctx context.Context, asks []queue.LeaseRequest) (
	ds []*event.Delivery, progress []queue.LeaseProgress, err error,
) {
	spans := make(map[string]time.Duration, len(asks))
	longest := 2 * s.db.Timeout
	for _, a := range asks {
		spans[a.Endpoint] = a.Lease
		longest = max(longest, min(a.Lease, leaseKept))
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}

	local := time.Now() // before the call, so that leases are never taken for longer than they are
	answer, err := s.db.Do(ctx, leaseScript, s.leaseArgs(asks, s.db.Now(), s.db.NewCall()))
	if err == nil && len(answer) != 2 {
		err = db.ErrShape
	}
	if err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}

	if progress, err = readProgress(answer[0], len(asks)); err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}
	if ds, err = readDeliveries(answer[1], local, spans); err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}
	return ds, progress, nil
}

// leaseArgs lists the arguments of lua/lease.lua.
func (s *Store) leaseArgs(asks []queue.LeaseRequest, now time.Time, token string) []any {
	args := make([]any, 0, 4+8*len(asks))
	args = append(args, now.UnixMilli(), token, maxLeaseBytes, len(asks))
	for _, a := range asks {
		args = append(args, a.Endpoint, a.Lease.Milliseconds(), a.Most, db.Flag(a.Parked), millis(a.OpenBefore),
			millis(a.From.Due), a.From.Skip, s.pacingOf(a.Endpoint).rate)
	}
	return args
}

// readProgress reads how far each of n requests came: deliveries, the next place (due, skip), and when to ask again
// (ms; 0: there is no limit, -1: when an attempt has ended).
func readProgress(answer any, n int) ([]queue.LeaseProgress, error) {
	counts, _ := answer.([]any)
	if len(counts) != 4*n {
		return nil, db.ErrShape
	}
	out := make([]queue.LeaseProgress, 0, n)
	for ask := range slices.Chunk(counts, 4) {
		again := db.Number(ask[3])
		out = append(out, queue.LeaseProgress{
			N:       int(db.Number(ask[0])),
			Next:    queue.Cursor{Due: time.UnixMilli(db.Number(ask[1])), Skip: int(db.Number(ask[2]))},
			Limited: again != 0,
			Again:   time.Duration(max(again, 0)) * time.Millisecond,
		})
	}
	return out, nil
}

// millis returns a time as the scripts have it, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// readDeliveries reads rows, each as readDelivery does.
func readDeliveries(rows any, local time.Time, spans map[string]time.Duration) ([]*event.Delivery, error) {
	rs, _ := rows.([]any)
	ds := make([]*event.Delivery, len(rs))
	for i, r := range rs {
		d, err := readDelivery(r, local, spans)
		if err != nil {
			return nil, err
		}
		ds[i] = d
	}
	return ds, nil
}

// readDelivery reads a row as row() of lua/lib/event.lua returns it: endpoint, id, attempts, reason, sequence, accepted
// at, open since, token, body.
func readDelivery(row any, local time.Time, spans map[string]time.Duration) (*event.Delivery, error) {
	r, ok := row.([]any)
	if !ok || len(r) != 9 {
		return nil, db.ErrShape
	}
	endpoint, _ := r[0].(string)
	hash, _ := r[1].(string)
	reason, _ := r[3].(string)
	token, _ := r[7].(string)
	body, _ := r[8].(string)
	id, err := longID(hash)
	if err != nil {
		return nil, err
	}

	d := &event.Delivery{
		Endpoint: endpoint, Attempts: int(db.Number(r[2])), Reason: reasons[reason], Since: time.UnixMilli(db.Number(r[6])),
		Token: token, LeaseEnds: local.Add(spans[endpoint]),
	}
	if d.Event, err = decodeBody(body); err != nil {
		d.Event = &event.Event{}
		d.Damaged = err.Error()
	}
	d.Event.ID = id
	d.Event.Sequence = db.Number(r[4])
	d.Event.AcceptedAt = time.UnixMilli(db.Number(r[5]))
	switch {
	case d.Attempts > 0 || d.Reason == "":
		d.Reason = event.ReasonRetry
	case d.Reason == event.ReasonNew:
		d.Reason = d.Event.Reason()
	}
	return d, nil
}

// reasons by the letter that the scripts keep.
var reasons = map[string]event.Reason{
	"n": event.ReasonNew, "r": event.ReasonRetry, "d": event.ReasonRedrive, "p": event.ReasonReplay,
	"c": event.ReasonCatchUp,
}
