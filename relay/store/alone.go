package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Alone lets one replica at a time do something that is named: it says whether the caller may, for so long at most, or
// until it calls done.
func (s *Store) Alone(ctx context.Context, what string, span time.Duration) (done func(), may bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	key, token := s.aloneKey(what), s.newCall()
	may, err = s.client.SetNX(ctx, key, token, span).Result()
	if err != nil {
		return nil, false, fmt.Errorf("be alone at %s: %w", what, err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Timeout)
		defer cancel()
		held, err := s.client.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) || held != token {
			return
		}
		s.client.Del(ctx, key) // if that fails, it ends by itself
	}, may, nil
}
