package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
)

// Quarantine keeps them for Options.DeadLetterRetention. ID has to be derived from the content: the same one is kept once.
func (s *Store) Quarantine(ctx context.Context, qs []event.Quarantined) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	head := []any{s.Now().UnixMilli(), s.settings().DeadLetterRetention.Milliseconds()}
	args, bytes := slices.Clone(head), 0
	for i, q := range qs {
		body, err := json.Marshal(q)
		if err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		args, bytes = append(args, q.ID, body), bytes+len(body)
		if bytes < maxBytes && len(args) < 2*maxDeliveries && i < len(qs)-1 {
			continue
		}
		if err := quarantineScript.Run(ctx, s.client, []string{s.prefix}, args...).Err(); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		args, bytes = slices.Clone(head), 0
	}
	return nil
}

// Quarantined lists what is in quarantine, the latest first, at most most of them from the offset on.
func (s *Store) Quarantined(ctx context.Context, offset, most int) ([]event.Quarantined, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	ids, err := s.client.ZRevRange(ctx, s.key("quarantine"), int64(offset), int64(offset+most-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	var out []event.Quarantined
	for part := range slices.Chunk(ids, 200) {
		keys := make([]string, len(part))
		for i, id := range part {
			keys[i] = s.key("z:" + id)
		}
		bodies, err := s.client.MGet(ctx, keys...).Result()
		if err != nil {
			return nil, fmt.Errorf("list quarantine: %w", err)
		}
		for _, body := range bodies {
			text, ok := body.(string)
			if !ok {
				continue // it has just expired
			}
			q, err := readQuarantined([]byte(text))
			if err != nil {
				return nil, err
			}
			out = append(out, *q)
		}
	}
	return out, nil
}

// OneQuarantined gives what is in quarantine under an id; nil if there is nothing.
func (s *Store) OneQuarantined(ctx context.Context, id string) (*event.Quarantined, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	body, err := s.client.Get(ctx, s.key("z:"+id)).Bytes()
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
	if _, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, s.key("z:"+id))
		p.ZRem(ctx, s.key("quarantine"), id)
		return nil
	}); err != nil {
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
