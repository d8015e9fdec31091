package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

const (
	// quarantineCount and quarantineBytes bound the quarantine as a whole.
	quarantineCount = 50_000
	quarantineBytes = 128 << 20
	// pageBytes bounds a page of it.
	pageBytes = 8 << 20
	// sliceQuarantine is how many are taken out in a slice.
	sliceQuarantine = 5
)

// Quarantine keeps callbacks or items for Options.DeadLetterRetention. Their IDs are derived from the content, so that
// the same content is kept once. If there is no room, the error is ErrQuarantineFull; with push the oldest are removed
// instead, and it returns how many.
func (s *Store) Quarantine(ctx context.Context, qs []event.Quarantined, push bool) (pushed int, err error) {
	defer db.Wrap(&err, "quarantine")
	ctx, cancel := context.WithTimeout(ctx, 2*s.db.Timeout)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return 0, err
	}

	head := []any{
		s.db.Now().UnixMilli(), s.settings().DeadLetterRetention.Milliseconds(),
		cmp.Or(s.o.QuarantineCount, quarantineCount), cmp.Or(s.o.QuarantineBytes, quarantineBytes), db.Flag(push),
	}
	args := slices.Clone(head)
	size := 0
	for i, q := range qs {
		body, err := json.Marshal(q)
		if err != nil {
			return pushed, err
		}
		args = append(args, q.ID, body)
		size += len(body)
		if size < maxBytes && len(args) < 2*maxDeliveries && i < len(qs)-1 {
			continue
		}

		// The call is full, or this was the last one.
		answer, err := quarantineScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, args...).Int64Slice()
		if err != nil && strings.Contains(err.Error(), "quarantine: it is full") {
			err = event.ErrQuarantineFull
		}
		if err == nil && len(answer) != 2 {
			err = db.ErrShape
		}
		if err != nil {
			return pushed, err
		}
		pushed += int(answer[1])
		args = slices.Clone(head)
		size = 0
	}
	return pushed, nil
}

// CountQuarantined counts callbacks and items in quarantine, and those of them that came at a time or later.
func (s *Store) CountQuarantined(ctx context.Context, since time.Time) (out event.QuarantineCount, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	kept := "(" + strconv.FormatInt(s.db.Now().Add(-s.settings().DeadLetterRetention).UnixMilli(), 10)
	from := strconv.FormatInt(since.UnixMilli(), 10)
	var all, fresh *redis.IntCmd
	var first, latest *redis.ZSliceCmd
	err = s.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		all = p.ZCount(ctx, s.db.Key("quarantine"), kept, "+inf")
		fresh = p.ZCount(ctx, s.db.Key("quarantine"), from, "+inf")
		first = p.ZRangeByScoreWithScores(ctx, s.db.Key("quarantine"), &redis.ZRangeBy{Min: from, Max: "+inf", Count: 1})
		latest = p.ZRevRangeWithScores(ctx, s.db.Key("quarantine"), 0, 0)
	})
	if err != nil {
		return out, fmt.Errorf("count quarantine: %w", err)
	}

	out.All = int(all.Val())
	out.New = int(fresh.Val())
	for _, z := range first.Val() {
		out.First = time.UnixMilli(int64(z.Score))
	}
	for _, z := range latest.Val() {
		out.Latest = time.UnixMilli(int64(z.Score))
	}
	return out, nil
}

// Quarantined lists what is in quarantine, the latest first, at most most of them from the offset on, and fewer if they
// are large. next is the offset of the next page, 0 if this is the last.
func (s *Store) Quarantined(ctx context.Context, offset, most int) (page []event.Quarantined, next int, err error) {
	defer db.Wrap(&err, "list quarantine")
	var ids []string
	err = s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		ids, err = s.db.Client.ZRevRange(ctx, s.db.Key("quarantine"), int64(offset), int64(offset+most)).Result()
		return err
	})
	if err != nil {
		return nil, 0, err
	}

	// One more than wanted was asked for, to see whether there is a next page.
	more := len(ids) > most
	keys := make([]string, min(len(ids), most))
	for i := range keys {
		keys[i] = s.quarantinedKey(ids[i])
	}
	bodies, err := s.db.ReadStrings(ctx, keys, pageBytes)
	if err != nil {
		return nil, 0, err
	}
	if more || len(bodies) < len(keys) {
		next = offset + len(bodies)
	}

	for _, body := range bodies {
		if body == "" {
			continue // it has just expired
		}
		end := s.db.Aside(ctx)
		q, err := readQuarantined([]byte(body))
		end()
		if err != nil {
			return nil, 0, err
		}
		page = append(page, *q)
	}
	return page, next, nil
}

const (
	// namingLooked and namingBytes bound what FindQuarantined looks into, and namingBody each entry.
	namingLooked = 500
	namingBytes  = 8 << 20
	namingBody   = 64 << 10
)

// FindQuarantined looks for texts in the latest entries of quarantine that are not long. It returns the entries with
// each text, the latest first, at most most.
func (s *Store) FindQuarantined(ctx context.Context, texts []string, most int) (
	found map[string][]event.Quarantined, err error,
) {
	defer db.Wrap(&err, "look into quarantine")
	var ids []string
	err = s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		ids, err = s.db.Client.ZRevRange(ctx, s.db.Key("quarantine"), 0, namingLooked-1).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	sizes := make([]*redis.IntCmd, len(ids))
	err = s.db.Slices(ctx, len(ids), db.SliceCommands, func(p redis.Pipeliner, i int) {
		sizes[i] = p.StrLen(ctx, s.quarantinedKey(ids[i]))
	})
	if err != nil {
		return nil, err
	}

	// As many as have namingBytes together are read, a slice at a time.
	found = make(map[string][]event.Quarantined)
	room := int64(namingBytes)
	var keys []string
	size := int64(0) // of what they hold
	for i, id := range ids {
		if n := sizes[i].Val(); n > 0 && n <= min(namingBody, room) {
			keys = append(keys, s.quarantinedKey(id))
			size += n
			room -= n
		}
		if len(keys) == 0 || size < db.SliceBytes && len(keys) < db.SliceCommands && i < len(ids)-1 {
			continue
		}
		if err := s.findIn(ctx, keys, texts, most, found); err != nil {
			return nil, err
		}
		keys = keys[:0]
		size = 0
	}
	return found, nil
}

// findIn adds to found what of quarantine is under some keys and holds one of the texts.
func (s *Store) findIn(
	ctx context.Context, keys, texts []string, most int, found map[string][]event.Quarantined,
) error {
	var bodies []any
	err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		bodies, err = s.db.Client.MGet(ctx, keys...).Result()
		return err
	})
	if err != nil {
		return err
	}

	end := s.db.Aside(ctx) // to decode them takes time
	defer end()
	for _, body := range bodies {
		text, ok := body.(string)
		if !ok {
			continue // it has just expired
		}
		q, err := readQuarantined([]byte(text))
		if err != nil {
			return err
		}
		for _, wanted := range texts {
			if len(found[wanted]) < most && bytes.Contains(q.Raw, []byte(wanted)) {
				found[wanted] = append(found[wanted], *q)
			}
		}
	}
	return nil
}

// QuarantinedByID returns what is in quarantine under an id, and whether there is something.
func (s *Store) QuarantinedByID(ctx context.Context, id string) (q *event.Quarantined, ok bool, err error) {
	defer db.Wrap(&err, "look into quarantine")
	ctx, cancel := context.WithTimeout(ctx, s.db.Timeout)
	defer cancel()
	return s.readOne(ctx, id)
}

// readOne is QuarantinedByID within the caller's time.
func (s *Store) readOne(ctx context.Context, id string) (*event.Quarantined, bool, error) {
	body, err := s.db.Client.Get(ctx, s.quarantinedKey(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	q, err := readQuarantined(body)
	return q, err == nil, err
}

// Unquarantine takes callbacks or items out of quarantine. It returns how many of the ids were there.
func (s *Store) Unquarantine(ctx context.Context, ids ...string) (n int, err error) {
	defer db.Wrap(&err, "take out of quarantine")
	for part := range slices.Chunk(ids, sliceQuarantine) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		err := s.db.InTurn(ctx, func(ctx context.Context) error {
			out, err := unquarantineScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, args...).Int()
			n += out
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func readQuarantined(body []byte) (*event.Quarantined, error) {
	var q event.Quarantined
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, err
	}
	return &q, nil
}
