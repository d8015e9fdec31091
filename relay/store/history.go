package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Tried is one attempt of an endpoint's history.
type Tried struct {
	EventID string
	// N is the number of the attempt of its delivery, from 1.
	N int
	// At is when it was settled; Duration how long it took.
	At       time.Time
	Duration time.Duration
	// Status is the HTTP status, 0 if no answer came.
	Status int
	// Kind is what became of the delivery: an event.Kind.
	Kind byte
	// Text is the error, or the beginning of the answer of an attempt that failed.
	Text string
}

// History lists the latest attempts of an endpoint, the latest first, at most most of them. About Options.History are kept.
func (s *Store) History(ctx context.Context, endpoint string, most int) ([]Tried, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	entries, err := s.client.XRevRangeN(ctx, s.key("a:"+endpoint), "+", "-", int64(most)).Result()
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	out := make([]Tried, len(entries))
	for i, e := range entries {
		field := func(name string) string { v, _ := e.Values[name].(string); return v }
		id, err := longID(field("i"))
		if err != nil {
			return nil, fmt.Errorf("list attempts: %w", err)
		}
		ms, _, _ := strings.Cut(e.ID, "-")
		out[i] = Tried{EventID: id, N: int(number(field("n"))), At: time.UnixMilli(number(ms)), Status: int(number(field("s"))),
			Duration: time.Duration(number(field("d"))) * time.Millisecond, Text: field("m")}
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
