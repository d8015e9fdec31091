package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// What a person has sent again, or sooner.

// Resend sends an event again to an endpoint that it was owed to, due at once, with the reason replay; see
// lua/resend.lua. It returns false if the delivery is open, or not there.
func (s *Store) Resend(ctx context.Context, endpoint, id string) (queued bool, err error) {
	defer db.Wrap(&err, "send an event again")
	if err := s.db.EnsureClock(ctx); err != nil {
		return false, err
	}
	n, err := s.changeDeliveries(ctx, []string{id}, s.mayRedrive, func(ctx context.Context, shorts []any) ([]any, error) {
		return s.db.Do(ctx, resendScript, append([]any{s.db.Now().UnixMilli(), s.db.NewCall(), endpoint,
			db.Flag(!s.pacingOf(endpoint).unordered)}, shorts...))
	})
	return n == 1, err
}

// advanceLines lets lines of updates that are sent again go on whose head is closed without having moved them; see
// lua/advance.lua.
func (s *Store) advanceLines(ctx context.Context) (err error) {
	defer db.Wrap(&err, "let updates that are sent again go on")
	const most = 20
	if err := s.db.EnsureClock(ctx); err != nil {
		return err
	}
	n := most
	for n == most {
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			n, err = advanceScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, s.db.Now().UnixMilli(), most).Int()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EventsByID returns events with their deliveries, but without their data, in the order of their acceptance. It leaves
// out those that are not there.
func (s *Store) EventsByID(ctx context.Context, ids []string) ([]*event.Record, error) {
	var shorts []string
	for _, id := range ids {
		if short, err := shortID(id); err == nil {
			shorts = append(shorts, short)
		}
	}
	found, err := s.load(ctx, shorts, ofAnyone, 0)
	slices.SortFunc(found, func(a, b *event.Record) int {
		return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(a.Sequence, b.Sequence), strings.Compare(a.ID, b.ID))
	})
	return found, err
}

// Retry has deliveries of an endpoint that wait for their next attempt due at once; see lua/retry.lua. Those that wait
// in a line do not move. A process does that for about 500 a second, as with Redrive. It stops at a parked endpoint.
func (s *Store) Retry(ctx context.Context, endpoint string, ids ...string) (out queue.Retried, err error) {
	defer db.Wrap(&err, "retry deliveries")
	if err := s.db.EnsureClock(ctx); err != nil {
		return out, err
	}
	shorts, err := shortIDs(ids)
	if err != nil {
		return out, err
	}
	return s.retry(ctx, endpoint, shorts)
}

// retry is Retry for events by the ids that keys have.
func (s *Store) retry(ctx context.Context, endpoint string, shorts []any) (out queue.Retried, err error) {
	out.Due, err = s.changeShort(ctx, shorts, s.mayRedrive, func(ctx context.Context, shorts []any) ([]any, error) {
		answer, err := s.db.Do(ctx, retryScript, append([]any{s.db.Now().UnixMilli(), endpoint}, shorts...))
		if err != nil || len(answer) != 1+len(shorts) {
			return nil, cmp.Or(err, db.ErrShape)
		}
		why, _ := answer[0].(string)
		out.Parked = queue.Parked(why)
		return answer[1:], nil
	})
	return out, err
}

// RetryAll is Retry for those that wait for an attempt at an endpoint, at most most of them, from the cursor of an
// earlier call on. next is empty if these were all. An attempt that fails meanwhile makes a delivery wait again: as
// many are looked at as waited at the first call.
func (s *Store) RetryAll(ctx context.Context, endpoint, cursor string, most int) (
	out queue.Retried, next string, err error,
) {
	skip, left, err := s.retryPlace(ctx, endpoint, cursor)
	if err != nil {
		return out, "", err
	}

	// What is moved leaves the range. What is being attempted stays in it, and is passed over.
	var shorts []string
	most = min(most, left)
	err = s.db.InTurn(ctx, func(ctx context.Context) (err error) {
		shorts, err = s.db.Client.ZRangeByScore(ctx, s.queueKey(endpoint), &redis.ZRangeBy{
			Min: s.afterNow(), Max: "+inf", Offset: int64(skip), Count: int64(most),
		}).Result()
		return err
	})
	if err != nil {
		return out, "", fmt.Errorf("retry deliveries: %w", err)
	}
	ids := make([]any, len(shorts))
	for i, short := range shorts {
		ids[i] = short
	}

	out, err = s.retry(ctx, endpoint, ids)
	left -= len(ids)
	if err != nil || len(ids) < most || left <= 0 || out.Parked != "" {
		db.Wrap(&err, "retry deliveries")
		return out, "", err
	}
	return out, fmt.Sprintf("%d-%d", skip+len(ids)-out.Due, left), nil
}

// afterNow is the lower bound of what is due later.
func (s *Store) afterNow() string { return "(" + strconv.FormatInt(s.db.Now().UnixMilli(), 10) }

// retryPlace reads how many deliveries are to be passed over, and how many are left to look at. Without a cursor, it
// counts them.
func (s *Store) retryPlace(ctx context.Context, endpoint, cursor string) (skip, left int, err error) {
	if cursor != "" {
		first, second, _ := strings.Cut(cursor, "-")
		skip, errSkip := strconv.Atoi(first)
		left, errLeft := strconv.Atoi(second)
		if errSkip != nil || errLeft != nil || skip < 0 || left < 1 {
			return 0, 0, event.ErrCursor
		}
		return skip, left, nil
	}

	err = s.db.EnsureClock(ctx)
	if err == nil {
		err = s.db.InTurn(ctx, func(ctx context.Context) error {
			n, err := s.db.Client.ZCount(ctx, s.queueKey(endpoint), s.afterNow(), "+inf").Result()
			left = int(n)
			return err
		})
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count deliveries that wait: %w", err)
	}
	return 0, left, nil
}
