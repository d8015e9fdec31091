package store

import (
	"context"
	"fmt"
	"time"
)

// TryLock lets one replica at a time do what is named. It returns whether the caller got the lock, which ends after the
// span, or when the caller unlocks it. It is one command: if its reply is lost, nobody has the lock until the span is
// over.
func (s *Store) TryLock(ctx context.Context, what string, span time.Duration) (unlock func(), locked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	token := s.newCall()
	locked, err = s.client.SetNX(ctx, s.lockKey(what), token, span).Result()
	if err != nil {
		return nil, false, fmt.Errorf("lock %s: %w", what, err)
	}
	return func() { s.release(ctx, "only", what, token) }, locked, nil
}

// release ends a lock, or a replay's claim, if holder still has it; see lua/release.lua. If the call fails, the lock
// ends by itself. release also works if ctx has ended.
func (s *Store) release(ctx context.Context, kind, what, holder string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Timeout)
	defer cancel()
	_ = releaseScript.Run(ctx, s.client, []string{s.prefix}, kind, what, holder).Err()
}
