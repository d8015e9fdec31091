package db

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
func (d *DB) Marker(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	key := d.Key("marker")
	found, err := d.Client.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		if err = d.Client.SetNX(ctx, key, rand.Text(), 0).Err(); err == nil {
			found, err = d.Client.Get(ctx, key).Result() // another replica may have been faster
		}
	}
	if err != nil {
		return "", fmt.Errorf("look for the marker: %w", err)
	}
	return found, nil
}
