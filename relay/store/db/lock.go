package db

import (
	"context"
	"fmt"
	"time"
)

// TryLock lets one replica at a time do what is named. It returns whether the caller got the lock, which ends after the
// span, or when the caller unlocks it. It is one command: if its reply is lost, nobody has the lock until the span is
// over.
func (d *DB) TryLock(ctx context.Context, what string, span time.Duration) (unlock func(), locked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	token := d.NewCall()
	locked, err = d.Client.SetNX(ctx, d.Key("only:"+what), token, span).Result()
	if err != nil {
		return nil, false, fmt.Errorf("lock %s: %w", what, err)
	}
	return func() { d.Release(ctx, "only", what, token) }, locked, nil
}

// Release ends a lock, or a replay's claim, if holder still has it; see lua/release.lua. If the call fails, the lock
// ends by itself. Release also works if ctx has ended.
func (d *DB) Release(ctx context.Context, kind, what, holder string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Timeout)
	defer cancel()
	_ = releaseScript.Run(ctx, d.Client, []string{d.Prefix}, kind, what, holder).Err()
}
