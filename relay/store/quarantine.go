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

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
)

const (
	// quarantineCount and quarantineBytes bound what is in quarantine, all together.
	quarantineCount = 50_000
	quarantineBytes = 128 << 20
	// pageBytes bounds what a page of it has.
	pageBytes = 8 << 20
)

// Quarantine keeps them for Options.DeadLetterRetention. ID has to be derived from the content: the same one is kept once. If
// there is no room, the error is ErrQuarantineFull; with push the oldest make place, and it returns how many did.
func (s *Store) Quarantine(ctx context.Context, qs []event.Quarantined, push bool) (pushed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return 0, fmt.Errorf("quarantine: %w", err)
	}
	head := []any{s.Now().UnixMilli(), s.settings().DeadLetterRetention.Milliseconds(),
		cmp.Or(s.o.QuarantineCount, quarantineCount), cmp.Or(s.o.QuarantineBytes, quarantineBytes), flag(push)}
	args, bytes := slices.Clone(head), 0
	for i, q := range qs {
		body, err := json.Marshal(q)
		if err != nil {
			return pushed, fmt.Errorf("quarantine: %w", err)
		}
		args, bytes = append(args, q.ID, body), bytes+len(body)
		if bytes < maxBytes && len(args) < 2*maxDeliveries && i < len(qs)-1 {
			continue
		}
		answer, err := quarantineScript.Run(ctx, s.client, []string{s.prefix}, args...).Int64Slice()
		if err != nil && strings.Contains(err.Error(), "quarantine: it is full") {
			err = event.ErrQuarantineFull
		}
		if err == nil && len(answer) != 2 {
			err = errShape
		}
		if err != nil {
			return pushed, fmt.Errorf("quarantine: %w", err)
		}
		pushed += int(answer[1])
		args, bytes = slices.Clone(head), 0
	}
	return pushed, nil
}

// CountQuarantined says how many there are in quarantine.
func (s *Store) CountQuarantined(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	since := s.Now().Add(-s.settings().DeadLetterRetention).UnixMilli()
	n, err := s.client.ZCount(ctx, s.key("quarantine"), "("+strconv.FormatInt(since, 10), "+inf").Result()
	if err != nil {
		return 0, fmt.Errorf("count quarantine: %w", err)
	}
	return int(n), nil
}

// Quarantined lists what is in quarantine, the latest first, at most most of them from the offset on, and fewer if they are
// large. next is the offset of the next page, 0 if this is the last.
func (s *Store) Quarantined(ctx context.Context, offset, most int) (page []event.Quarantined, next int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	ids, err := s.client.ZRevRange(ctx, s.key("quarantine"), int64(offset), int64(offset+most)).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("list quarantine: %w", err)
	}
	more := len(ids) > most
	ids = ids[:min(len(ids), most)]
	fit, err := s.fitting(ctx, ids)
	if err != nil {
		return nil, 0, fmt.Errorf("list quarantine: %w", err)
	}
	if more || fit < len(ids) {
		next = offset + fit
	}
	for part := range slices.Chunk(ids[:fit], 200) {
		keys := make([]string, len(part))
		for i, id := range part {
			keys[i] = s.quarantinedKey(id)
		}
		bodies, err := s.client.MGet(ctx, keys...).Result()
		if err != nil {
			return nil, 0, fmt.Errorf("list quarantine: %w", err)
		}
		for _, body := range bodies {
			text, ok := body.(string)
			if !ok {
				continue // it has just expired
			}
			q, err := readQuarantined([]byte(text))
			if err != nil {
				return nil, 0, err
			}
			page = append(page, *q)
		}
	}
	return page, next, nil
}

// fitting says how many of what is in quarantine have no more than pageBytes, or 1.
func (s *Store) fitting(ctx context.Context, ids []string) (int, error) {
	sizes := make([]*redis.IntCmd, len(ids))
	if len(ids) == 0 {
		return 0, nil
	}
	if _, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			sizes[i] = p.StrLen(ctx, s.quarantinedKey(id))
		}
		return nil
	}); err != nil {
		return 0, err
	}
	sum := int64(0)
	for i, size := range sizes {
		sum += size.Val()
		if i > 0 && sum > pageBytes {
			return i, nil
		}
	}
	return len(ids), nil
}

const (
	// namingLooked and namingBytes bound where QuarantinedNaming looks.
	namingLooked = 20
	namingBytes  = 64 << 10
)

// QuarantinedNaming gives what has a text in it of the latest in quarantine that are not long; nil if none has.
func (s *Store) QuarantinedNaming(ctx context.Context, text string) (*event.Quarantined, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	ids, err := s.client.ZRevRange(ctx, s.key("quarantine"), 0, namingLooked-1).Result()
	if err != nil {
		return nil, fmt.Errorf("look into quarantine: %w", err)
	}
	sizes := make([]*redis.IntCmd, len(ids))
	if err := s.roundTrip(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			sizes[i] = p.StrLen(ctx, s.quarantinedKey(id))
		}
	}); err != nil {
		return nil, fmt.Errorf("look into quarantine: %w", err)
	}
	for i, id := range ids {
		if sizes[i].Val() > namingBytes {
			continue
		}
		q, err := s.OneQuarantined(ctx, id)
		if err != nil {
			return nil, err
		}
		if q != nil && bytes.Contains(q.Raw, []byte(text)) {
			return q, nil
		}
	}
	return nil, nil
}

// OneQuarantined gives what is in quarantine under an id; nil if there is nothing.
func (s *Store) OneQuarantined(ctx context.Context, id string) (*event.Quarantined, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	body, err := s.client.Get(ctx, s.quarantinedKey(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into quarantine: %w", err)
	}
	return readQuarantined(body)
}

// Unquarantine takes something out of quarantine.
func (s *Store) Unquarantine(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if err := unquarantineScript.Run(ctx, s.client, []string{s.prefix}, id).Err(); err != nil {
		return fmt.Errorf("take out of quarantine: %w", err)
	}
	return nil
}

func readQuarantined(body []byte) (*event.Quarantined, error) {
	var q event.Quarantined
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, fmt.Errorf("look into quarantine: %w", err)
	}
	return &q, nil
}
