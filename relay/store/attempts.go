package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// EndpointAttempt is one attempt of an endpoint's history.
type EndpointAttempt struct {
	event.AttemptRecord
	EventID string
	// N is the number of the attempt of its delivery, from 1.
	N int
	// Kind is what became of the delivery: a queue.OutcomeKind.
	Kind byte
}

// Attempts lists the latest attempts of an endpoint, the latest first, at most most of them. About Options.History
// attempts are kept of those that failed, and as many of those that delivered.
func (s *Store) Attempts(ctx context.Context, endpoint string, most int) (attempts []EndpointAttempt, err error) {
	defer wrap(&err, "list attempts")
	var failed *redis.XMessageSliceCmd
	var good *redis.StringSliceCmd
	err = s.slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
		failed, good = s.latest(ctx, p, endpoint, most)
	})
	if err != nil {
		return nil, err
	}
	return latestFirst(failed.Val(), good.Val(), most)
}

// latest asks for the latest attempts of an endpoint, for latestFirst.
func (s *Store) latest(ctx context.Context, p redis.Pipeliner, endpoint string, most int) (
	failed *redis.XMessageSliceCmd, good *redis.StringSliceCmd,
) {
	failed = p.XRevRangeN(ctx, s.failedKey(endpoint), "+", "-", int64(most))
	good = p.LRange(ctx, s.deliveredKey(endpoint), 0, int64(most)-1)
	return failed, good
}

// latestFirst merges failed and delivered attempts (a: and d: of lua/lib/base.lua), the latest first. Of two in the
// same millisecond, the delivered one comes first.
func latestFirst(failed []redis.XMessage, good []string, most int) ([]EndpointAttempt, error) {
	all := make([]EndpointAttempt, 0, len(failed)+len(good))
	for _, entry := range good {
		a, err := readDelivered(entry)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	for _, entry := range failed {
		all = append(all, readFailed(entry))
	}
	slices.SortStableFunc(all, func(x, y EndpointAttempt) int { return y.At.Compare(x.At) })
	all = all[:min(most, len(all))]

	for i := range all {
		id, err := longID(all[i].EventID)
		if err != nil {
			return nil, err
		}
		all[i].EventID = id
	}
	return all, nil
}

// readDelivered reads an attempt that delivered: "<at, ms> <status> <duration, ms> <number> <id>".
func readDelivered(entry string) (EndpointAttempt, error) {
	f := strings.Fields(entry)
	if len(f) != 5 {
		return EndpointAttempt{}, fmt.Errorf("attempt %q: not five fields", entry)
	}
	return EndpointAttempt{
		AttemptRecord: readRecord(f[0], f[1], f[2]), EventID: f[4], N: int(number(f[3])), Kind: byte(queue.Delivered),
	}, nil
}

// readFailed reads an attempt that failed, an entry of a stream whose id begins with its time (ms).
func readFailed(entry redis.XMessage) EndpointAttempt {
	field := func(name string) string {
		v, _ := entry.Values[name].(string)
		return v
	}
	ms, _, _ := strings.Cut(entry.ID, "-")
	a := EndpointAttempt{EventID: field("i"), N: int(number(field("n")))}
	a.AttemptRecord = readRecord(ms, field("s"), field("d"))
	a.Text = field("m")
	if k := field("k"); k != "" {
		a.Kind = k[0]
	}
	return a
}

// readRecord reads when an attempt was made (ms), its status, and how long it took (ms).
func readRecord(at, status, took string) event.AttemptRecord {
	return event.AttemptRecord{
		At: time.UnixMilli(number(at)), Status: int(number(status)),
		Duration: time.Duration(number(took)) * time.Millisecond,
	}
}
