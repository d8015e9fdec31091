package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Marker gives a random text that is kept in Redis for ever, and puts one there if there is none: one that has changed
// says that Redis has lost what it held. It is no script: of several replicas that find none the first one puts it
// there, and all read it after that.
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
