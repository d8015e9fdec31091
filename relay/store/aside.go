package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// What people read is made in slices that hold Redis for about half a millisecond each, one slice of a process at a
// time, and after each millisecond Redis is left alone for twice as long: whatever is read, and by however many, new
// events and outcomes get their turn, and at least two thirds of Redis' time.
const (
	// sliceEvents, sliceCommands and sliceBytes bound a slice: events or endpoints looked at, cheap commands, bytes of
	// bodies, dead letters and subscriptions changed.
	sliceEvents        = 10
	sliceCommands      = 50
	sliceBytes         = 128 << 10
	sliceDeadLetters   = 5
	sliceSubscriptions = 5
	// restLeast is how much work is followed by a rest: a timer cannot wait for less than a millisecond. restMost
	// bounds a rest: a slice may have waited for a Redis that is busy, or far away.
	restLeast = time.Millisecond
	restMost  = 5 * time.Millisecond
	// redriveEvery is how often sliceDeadLetters are redriven. Their deliveries come due at once, and each costs Redis and
	// the relay as much as a new event.
	redriveEvery = 10 * time.Millisecond
)

// Aside waits for the turn of a slice that asks Redis nothing: the CPU that reading needs is kept from callbacks like
// Redis' time. The caller calls end when it has worked for about half a millisecond, and may then ask for the next
// turn. It waits no longer than for Redis, and goes on without a turn then.
func (s *Store) Aside(ctx context.Context) (end func()) {
	end, err := s.takeTurn(ctx)
	if err != nil {
		return func() {}
	}
	return end
}

// aside runs a slice when its turn comes. Turns are given in the order in which they are asked for. While Redis does
// not answer, nobody waits for one for longer than for an answer.
func (s *Store) aside(ctx context.Context, do func(context.Context) error) error {
	end, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer end()
	ctx, done := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer done()
	return do(ctx)
}

// takeTurn waits for a turn. When it ends, the next one begins after a rest, if one is due.
func (s *Store) takeTurn(ctx context.Context) (end func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
	case <-waiting.Done():
		return nil, waiting.Err()
	}
	began := time.Now()
	return func() {
		s.worked += time.Since(began)
		if s.worked < restLeast {
			<-s.turn
			return
		}
		rest := min(2*s.worked, restMost)
		s.worked = 0
		time.AfterFunc(rest, func() { <-s.turn })
	}, nil
}

// slices runs commands for each of n things, so many things to a slice.
func (s *Store) slices(ctx context.Context, n, most int, fill func(p redis.Pipeliner, i int)) error {
	for from := 0; from < n; from += most {
		err := s.aside(ctx, func(ctx context.Context) error {
			return s.roundTrip(ctx, func(p redis.Pipeliner) {
				for i := from; i < min(from+most, n); i++ {
					fill(p, i)
				}
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readBodies reads the bodies of events; see readStrings.
func (s *Store) readBodies(ctx context.Context, shorts []string, most int64) ([]string, error) {
	keys := make([]string, len(shorts))
	for i, short := range shorts {
		keys[i] = s.bodyKey(short)
	}
	return s.readStrings(ctx, keys, most)
}

// readStrings reads the values of keys, in their order, at most about so many bytes, but the first whatever its length.
// One that is not there, or not any more, is empty. It returns as many as it has read.
func (s *Store) readStrings(ctx context.Context, keys []string, most int64) ([]string, error) {
	sizes := make([]*redis.IntCmd, len(keys))
	err := s.slices(ctx, len(keys), sliceCommands, func(p redis.Pipeliner, i int) {
		sizes[i] = p.StrLen(ctx, keys[i])
	})
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(keys) && (n == 0 || most >= sizes[n].Val()) {
		most -= sizes[n].Val()
		n++
	}

	// A slice has several small ones, or a part of a large one: it goes on with value from, at its byte at.
	bodies := make([][]byte, n)
	from := 0
	at := int64(0)
	for from < n {
		err := s.aside(ctx, func(ctx context.Context) error {
			var parts []*redis.StringCmd
			first := from
			err := s.roundTrip(ctx, func(p redis.Pipeliner) {
				room := int64(sliceBytes)
				for from < n && room > 0 && len(parts) < sliceCommands {
					size := min(room, sizes[from].Val()-at)
					parts = append(parts, p.GetRange(ctx, keys[from], at, at+max(size, 1)-1))
					room -= size
					at += size
					if at >= sizes[from].Val() {
						from++
						at = 0
					}
				}
			})
			for i, part := range parts {
				bodies[first+i] = append(bodies[first+i], part.Val()...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}

	out := make([]string, n)
	for i, body := range bodies {
		if int64(len(body)) == sizes[i].Val() {
			out[i] = string(body)
		}
	}
	return out, nil
}

// roundTrip runs commands in one round trip. What is not there is no error.
func (s *Store) roundTrip(ctx context.Context, fill func(redis.Pipeliner)) error {
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		fill(p)
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}
