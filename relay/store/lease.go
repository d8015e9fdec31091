package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
)

// Due lists endpoints with a delivery that is due by now plus the span given, earliest first, at most most of them from the
// offset on. An endpoint may be listed early, never late, unless it is parked.
func (s *Store) Due(ctx context.Context, within time.Duration, offset, most int) ([]event.Due, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return nil, fmt.Errorf("list due endpoints: %w", err)
	}
	till := s.Now().Add(within).UnixMilli()
	zs, err := s.client.ZRangeByScoreWithScores(ctx, s.key("due"), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(till, 10), Offset: int64(offset), Count: int64(most),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("list due endpoints: %w", err)
	}
	out := make([]event.Due, len(zs))
	for i, z := range zs {
		name, _ := z.Member.(string)
		out[i] = event.Due{Endpoint: name, At: time.UnixMilli(int64(z.Score))}
	}
	return out, nil
}

// maxLeaseBytes bounds the bodies of one answer: a larger one could take longer than a round trip may.
const maxLeaseBytes = 1 << 20

// leaseKept is how long a call of lease can be asked again with the same answer, less some seconds; see lua/lease.lua.
const leaseKept = 50 * time.Second

// Lease takes deliveries that are due, for the caller alone until their leases lapse; see lua/lease.lua. looked says for each
// ask how far it went. A delivery whose body was lost is Damaged. A call that meets trouble on its way is asked again when
// Redis is back, as long as its leases have not lapsed.
func (s *Store) Lease(ctx context.Context, asks []event.LeaseRequest) (ds []*event.Delivery, looked []event.LeaseProgress, err error) {
	spans, longest := make(map[string]time.Duration, len(asks)), 2*s.o.Timeout
	for _, a := range asks {
		spans[a.Endpoint], longest = a.Lease, max(longest, min(a.Lease, leaseKept))
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}
	local := time.Now()
	answer, err := s.run(ctx, leaseScript, s.leaseArgs(asks, s.Now(), s.newCall()))
	if err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}
	if len(answer) != 2 {
		return nil, nil, fmt.Errorf("lease deliveries: %w", errShape)
	}
	counts, _ := answer[0].([]any)
	if len(counts) != 4*len(asks) {
		return nil, nil, fmt.Errorf("lease deliveries: %w", errShape)
	}
	for i := 0; i < len(counts); i += 4 {
		again := number(counts[i+3])
		looked = append(looked, event.LeaseProgress{N: int(number(counts[i])),
			Next:    event.QueueCursor{Due: time.UnixMilli(number(counts[i+1])), Skip: int(number(counts[i+2]))},
			Limited: again != 0, Again: time.Duration(max(again, 0)) * time.Millisecond})
	}
	if ds, err = readDeliveries(answer[1], local, spans); err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}
	return ds, looked, nil
}

// leaseArgs lists the arguments of lua/lease.lua.
func (s *Store) leaseArgs(asks []event.LeaseRequest, now time.Time, token string) []any {
	args := make([]any, 0, 4+8*len(asks))
	args = append(args, now.UnixMilli(), token, maxLeaseBytes, len(asks))
	for _, a := range asks {
		args = append(args, a.Endpoint, a.Lease.Milliseconds(), a.Most, flag(a.Parked), millis(a.OpenBefore), millis(a.From.Due), a.From.Skip,
			s.pacingOf(a.Endpoint).rate)
	}
	return args
}

// millis is a time as the scripts have it, 0 for none.
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
		var err error
		if ds[i], err = readDelivery(r, local, spans); err != nil {
			return nil, err
		}
	}
	return ds, nil
}

// readDelivery reads a row as row() of lua/lib/state.lua gives it: endpoint, id, attempts, reason, sequence, accepted at, open since,
// token, body.
func readDelivery(row any, local time.Time, spans map[string]time.Duration) (*event.Delivery, error) {
	r, ok := row.([]any)
	if !ok || len(r) != 9 {
		return nil, errShape
	}
	endpoint, _ := r[0].(string)
	short, _ := r[1].(string)
	reason, _ := r[3].(string)
	token, _ := r[7].(string)
	body, _ := r[8].(string)
	id, err := longID(short)
	if err != nil {
		return nil, err
	}
	d := &event.Delivery{
		Endpoint: endpoint, Attempts: int(number(r[2])), Reason: reasons[reason], Since: time.UnixMilli(number(r[6])),
		Token: token, LeaseEnds: local.Add(spans[endpoint]),
	}
	if d.Event, err = decodeBody(body); err != nil {
		d.Event, d.Damaged = &event.Event{}, err.Error()
	}
	d.Event.ID, d.Event.Sequence, d.Event.AcceptedAt = id, number(r[4]), time.UnixMilli(number(r[5]))
	if d.Attempts > 0 || d.Reason == "" {
		d.Reason = event.ReasonRetry
	}
	return d, nil
}

// reasons by the letter that the scripts keep.
var reasons = map[string]event.Reason{
	"n": event.ReasonNew, "r": event.ReasonRetry, "d": event.ReasonRedrive, "p": event.ReasonReplay, "c": event.ReasonCatchUp,
}

// number reads an integer of an answer, which may come as one or as its digits.
func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case string:
		i, _ := strconv.ParseInt(n, 10, 64)
		return i
	}
	return 0
}
