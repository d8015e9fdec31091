package db

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// What people read is made in slices that hold Redis for about half a millisecond each, one slice of a process at a
// time, and after each millisecond Redis is left alone for twice as long: whatever is read, and by however many, new
// events and outcomes get their turn, and at least two thirds of Redis' time.
const (
	// SliceCommands and SliceBytes bound a slice: cheap commands, and bytes of values. What else a slice has is for those
	// to bound who read it.
	SliceCommands = 50
	SliceBytes    = 128 << 10
	// restLeast is how much work is followed by a rest: a timer cannot wait for less than a millisecond. restMost
	// bounds a rest: a slice may have waited for a Redis that is busy, or far away.
	restLeast = time.Millisecond
	restMost  = 5 * time.Millisecond
)

// Aside waits for the turn of a slice that asks Redis nothing: the CPU that reading needs is kept from callbacks like
// Redis' time. The caller calls end when it has worked for about half a millisecond, and may then ask for the next
// turn. It waits no longer than for Redis, and goes on without a turn then.
func (d *DB) Aside(ctx context.Context) (end func()) {
	end, err := d.takeTurn(ctx)
	if err != nil {
		return func() {}
	}
	return end
}

// InTurn runs a slice when its turn comes. Turns are given in the order in which they are asked for. While Redis does
// not answer, nobody waits for one for longer than for an answer.
func (d *DB) InTurn(ctx context.Context, do func(context.Context) error) error {
	end, err := d.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer end()
	ctx, done := context.WithTimeout(ctx, 2*d.Timeout)
	defer done()
	return do(ctx)
}

// takeTurn waits for a turn. When it ends, the next one begins after a rest, if one is due.
func (d *DB) takeTurn(ctx context.Context) (end func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, 2*d.Timeout)
	defer cancel()
	select {
	case d.turn <- struct{}{}:
	case <-waiting.Done():
		return nil, waiting.Err()
	}
	began := time.Now()
	return func() {
		d.worked += time.Since(began)
		if d.worked < restLeast {
			<-d.turn
			return
		}
		rest := min(2*d.worked, restMost)
		d.worked = 0
		time.AfterFunc(rest, func() { <-d.turn })
	}, nil
}

// Slices runs commands for each of n things, so many things to a slice.
func (d *DB) Slices(ctx context.Context, n, most int, fill func(p redis.Pipeliner, i int)) error {
	for from := 0; from < n; from += most {
		err := d.InTurn(ctx, func(ctx context.Context) error {
			return d.RoundTrip(ctx, func(p redis.Pipeliner) {
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

// ReadStrings reads the values of keys, in their order, at most about so many bytes, but the first whatever its length.
// One that is not there, or not any more, is empty. It returns as many as it has read. One of at most SliceBytes is as
// it was at some moment. A longer one is read in parts, which may be of different moments.
func (d *DB) ReadStrings(ctx context.Context, keys []string, most int64) ([]string, error) {
	sizes := make([]*redis.IntCmd, len(keys))
	err := d.Slices(ctx, len(keys), SliceCommands, func(p redis.Pipeliner, i int) {
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

	// A slice has several small ones, or a part of a large one: the next one goes on with value from, at its byte at.
	bodies := make([][]byte, n)
	from := 0
	at := int64(0)
	for from < n {
		err := d.InTurn(ctx, func(ctx context.Context) error {
			var parts []*redis.StringCmd
			first := from
			err := d.RoundTrip(ctx, func(p redis.Pipeliner) {
				room := int64(SliceBytes)
				for from < n && room > 0 && len(parts) < SliceCommands {
					whole := sizes[from].Val()
					if at == 0 && whole > room && len(parts) > 0 {
						break // it is read in one part, if that is possible
					}
					size := min(room, whole-at)
					end := at + max(size, 1) - 1
					if size == whole {
						end = -1 // it is what it is at that moment, though it may have become longer
					}
					parts = append(parts, p.GetRange(ctx, keys[from], at, end))
					room -= size
					at += size
					if at >= whole {
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
		if int64(len(body)) >= sizes[i].Val() {
			out[i] = string(body)
		}
	}
	return out, nil
}
