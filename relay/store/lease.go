package store

import (
	"context"
	"errors"
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

// Lease takes deliveries that are due, for the caller alone until their leases lapse; see lua/lease.lua. looked says for each
// ask how many due deliveries were looked at. A delivery whose body cannot be read is left leased and named in the error.
func (s *Store) Lease(ctx context.Context, asks []event.Ask) (ds []*event.Delivery, looked []int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}
	local, token := s.o.Clock(), s.newCall()
	args := make([]any, 0, 3+6*len(asks))
	args = append(args, s.Now().UnixMilli(), token, len(asks))
	spans := make(map[string]time.Duration, len(asks))
	for _, a := range asks {
		before := int64(0)
		if !a.AcceptedBefore.IsZero() {
			before = a.AcceptedBefore.UnixMilli()
		}
		args = append(args, a.Endpoint, a.Lease.Milliseconds(), a.Most, before, flag(a.Parked), a.Offset)
		spans[a.Endpoint] = a.Lease
	}
	answer, err := s.run(ctx, leaseScript, args)
	if err != nil {
		return nil, nil, fmt.Errorf("lease deliveries: %w", err)
	}
	if len(answer) != 2 {
		return nil, nil, fmt.Errorf("lease deliveries: %w", errShape)
	}
	counts, _ := answer[0].([]any)
	for _, n := range counts {
		looked = append(looked, int(number(n)))
	}
	rows, _ := answer[1].([]any)
	for _, row := range rows {
		d, rowErr := readDelivery(row, local, spans)
		if rowErr != nil {
			err = errors.Join(err, fmt.Errorf("lease deliveries: %w", rowErr))
			continue
		}
		ds = append(ds, d)
	}
	return ds, looked, err
}

// readDelivery reads a row as lease() of lua/lib.lua gives it: endpoint, id, attempts, reason, sequence, accepted at, token, body.
func readDelivery(row any, local time.Time, spans map[string]time.Duration) (*event.Delivery, error) {
	r, ok := row.([]any)
	if !ok || len(r) != 8 {
		return nil, errShape
	}
	endpoint, _ := r[0].(string)
	short, _ := r[1].(string)
	reason, _ := r[3].(string)
	token, _ := r[6].(string)
	body, _ := r[7].(string)
	id, err := longID(short)
	if err != nil {
		return nil, err
	}
	e, err := decodeBody(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	e.ID, e.Sequence, e.AcceptedAt = id, number(r[4]), time.UnixMilli(number(r[5]))
	d := &event.Delivery{
		Event: e, Endpoint: endpoint, Attempts: int(number(r[2])), Reason: reasons[reason],
		Token: token, LeaseEnds: local.Add(spans[endpoint]),
	}
	if d.Attempts > 0 || d.Reason == "" {
		d.Reason = event.ReasonRetry
	}
	return d, nil
}

// reasons by the letter that the scripts keep.
var reasons = map[string]event.Reason{"n": event.ReasonNew, "r": event.ReasonRetry, "d": event.ReasonRedrive}

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
