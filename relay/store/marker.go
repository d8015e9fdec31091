package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Marker returns a random text that is kept in Redis for ever, and writes one if there is none. If it has changed,
// Redis has lost its data. It is no script: of several replicas that find none, the first one writes it, and all read
// it after that.
func (s *Store) Marker(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	key := s.key("marker")
	found, err := s.client.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		if err = s.client.SetNX(ctx, key, rand.Text(), 0).Err(); err == nil {
			found, err = s.client.Get(ctx, key).Result() // another replica may have been faster
		}
	}
	if err != nil {
		return "", fmt.Errorf("look for the marker: %w", err)
	}
	return found, nil
}
