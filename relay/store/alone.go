package store

import (
	"context"
	"fmt"
	"time"
)

// Alone lets one replica at a time do something that is named: it says whether the caller may, for so long at most, or
// until it calls done. It is one command: if its reply is lost, nobody does it until the span is over.
func (s *Store) Alone(ctx context.Context, what string, span time.Duration) (done func(), may bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	token := s.newCall()
	may, err = s.client.SetNX(ctx, s.aloneKey(what), token, span).Result()
	if err != nil {
		return nil, false, fmt.Errorf("be alone at %s: %w", what, err)
	}
	return func() { s.letGo(ctx, "only", what, token) }, may, nil
}

// letGo ends what only one replica may do at a time, a replay or something that is named, if holder still does it; see
// lua/letgo.lua. If it fails, that ends by itself. It runs also if ctx has ended.
func (s *Store) letGo(ctx context.Context, kind, what, holder string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Timeout)
	defer cancel()
	_ = letGoScript.Run(ctx, s.client, []string{s.prefix}, kind, what, holder).Err()
}
