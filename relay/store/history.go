package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
)

// Tried is one attempt of an endpoint's history.
type Tried struct {
	event.Try
	EventID string
	// N is the number of the attempt of its delivery, from 1.
	N int
	// Kind is what became of the delivery: an event.Kind.
	Kind byte
}

// History lists the latest attempts of an endpoint, the latest first, at most most of them. About Options.History are kept of
// those that failed, and of those that delivered.
func (s *Store) History(ctx context.Context, endpoint string, most int) ([]Tried, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	var failed, good *redis.XMessageSliceCmd
	err := s.pipelined(ctx, func(p redis.Pipeliner) {
		failed = p.XRevRangeN(ctx, s.key("a:"+endpoint), "+", "-", int64(most))
		good = p.XRevRangeN(ctx, s.key("d:"+endpoint), "+", "-", int64(most))
	})
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	entries := latestFirst(good.Val(), failed.Val(), most)
	out := make([]Tried, len(entries))
	for i, e := range entries {
		field := func(name string) string { v, _ := e.Values[name].(string); return v }
		id, err := longID(field("i"))
		if err != nil {
			return nil, fmt.Errorf("list attempts: %w", err)
		}
		out[i] = Tried{Try: tryOf(e), EventID: id, N: int(number(field("n"))), Kind: byte(event.Delivered)}
		if k := field("k"); k != "" {
			out[i].Kind = k[0]
		}
	}
	return out, nil
}

// Closed says of each event given whether it owes nothing any more: no delivery is open, and none is a dead letter.
func (s *Store) Closed(ctx context.Context, ids []string) ([]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	states := make([]*redis.SliceCmd, len(ids))
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			short, err := shortID(id)
			if err != nil {
				return err
			}
			states[i] = p.HMGet(ctx, s.eventKey(short), "o", "x")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for closed events: %w", err)
	}
	closed := make([]bool, len(ids))
	for i, state := range states {
		f := state.Val()
		closed[i] = len(f) == 2 && number(f[0]) <= 0 && number(f[1]) <= 0
	}
	return closed, nil
}

// latestFirst merges two lists of entries of streams, the latest first; of two in the same millisecond, that of a goes first.
func latestFirst(a, b []redis.XMessage, most int) []redis.XMessage {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y redis.XMessage) int { return cmp.Compare(atOf(y), atOf(x)) })
	return all[:min(most, len(all))]
}

// atOf is the time of an entry of a stream, in ms.
func atOf(e redis.XMessage) int64 {
	ms, _, _ := strings.Cut(e.ID, "-")
	return number(ms)
}

// tryOf reads an attempt of an endpoint's history.
func tryOf(e redis.XMessage) event.Try {
	field := func(name string) string { v, _ := e.Values[name].(string); return v }
	return event.Try{At: time.UnixMilli(atOf(e)), Status: int(number(field("s"))), Text: field("m"),
		Duration: time.Duration(number(field("d"))) * time.Millisecond}
}
