package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/store/db"
)

// DeadLetters lists the dead letters of endpoints (nil: of all), the latest first, at most most of them, from the
// cursor of an earlier page on. next is empty at the end.
func (s *Store) DeadLetters(ctx context.Context, endpoints []string, cursor string, most int) (
	out []event.DeadLetter, next string, err error,
) {
	after, err := readDeadLetterCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	defer db.Wrap(&err, "list dead letters")

	oldest := s.db.Now().Add(-s.settings().DeadLetterRetention).UnixMilli()
	m := &deadLetterMerge{store: s, after: after, endpoints: endpoints, oldest: oldest}
	var all []deadLetter
	for len(all) <= most { // one more than wanted shows that there is a next page
		l, ok, err := m.next(ctx)
		if err != nil {
			return nil, "", err
		}
		if !ok {
			break
		}
		all = append(all, l)
	}
	if len(all) > most {
		all = all[:most]
		last := all[most-1]
		next = fmt.Sprintf("%d %s %s", last.at, last.short, last.endpoint)
	}

	out, err = s.readDeadLetters(ctx, all)
	return out, next, err
}

// deadLetter is the place of a dead letter in the list.
type deadLetter struct {
	at              int64 // ms
	endpoint, short string
}

// compare orders the latest first, and those of one endpoint and time as Redis does.
func (l deadLetter) compare(o deadLetter) int {
	return cmp.Or(cmp.Compare(o.at, l.at), strings.Compare(l.endpoint, o.endpoint), strings.Compare(o.short, l.short))
}

func readDeadLetterCursor(cursor string) (l deadLetter, err error) {
	if cursor == "" {
		return l, nil
	}
	f := strings.Fields(cursor)
	if len(f) != 3 {
		return l, event.ErrCursor
	}
	if l.at, err = strconv.ParseInt(f[0], 10, 64); err != nil {
		return l, event.ErrCursor
	}
	l.short, l.endpoint = f[1], f[2]
	return l, nil
}

// CountDeadLetters counts the dead letters of endpoints (nil: of all) that were given up at since or later, and before
// until; a zero time is no bound.
func (s *Store) CountDeadLetters(ctx context.Context, endpoints []string, since, until time.Time) (n int, err error) {
	defer db.Wrap(&err, "count dead letters")
	oldest := s.db.Now().Add(-s.settings().DeadLetterRetention)
	if since.Before(oldest) {
		since = oldest
	}
	from, to := strconv.FormatInt(ceilMillis(since), 10), "+inf"
	if !until.IsZero() {
		to = "(" + strconv.FormatInt(ceilMillis(until), 10)
	}
	if endpoints == nil {
		if endpoints, err = s.deadEndpoints(ctx, from); err != nil {
			return 0, err
		}
	}

	counts := make([]*redis.IntCmd, len(endpoints))
	err = s.db.Slices(ctx, len(endpoints), db.SliceCommands, func(p redis.Pipeliner, i int) {
		counts[i] = p.ZCount(ctx, s.deadKey(endpoints[i]), from, to)
	})
	if err != nil {
		return 0, err
	}
	for _, count := range counts {
		n += int(count.Val())
	}
	return n, nil
}

// ceilMillis is a time in ms, rounded up.
func ceilMillis(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// deadEndpoints lists the endpoints whose latest dead letter was given up at a time (ms) or later.
func (s *Store) deadEndpoints(ctx context.Context, from string) (out []string, err error) {
	const most = 500
	for {
		var page []string
		err := s.db.InTurn(ctx, func(ctx context.Context) (err error) {
			page, err = s.db.Client.ZRangeByScore(ctx, s.db.Key("dead"), &redis.ZRangeBy{
				Min: from, Max: "+inf", Offset: int64(len(out)), Count: most,
			}).Result()
			return err
		})
		out = append(out, page...)
		if err != nil || len(page) < most {
			slices.Sort(out)
			return slices.Compact(out), err // one that has a new dead letter meanwhile may be found twice
		}
	}
}

// readDeadLetters reads the events and states of dead letters.
func (s *Store) readDeadLetters(ctx context.Context, all []deadLetter) ([]event.DeadLetter, error) {
	shorts := make([]string, len(all))
	why := make([]*redis.StringCmd, len(all))
	for i, l := range all {
		shorts[i] = l.short
	}
	found, err := s.readLines(ctx, shorts)
	if err != nil {
		return nil, err
	}
	err = s.db.Slices(ctx, len(all), db.SliceCommands, func(p redis.Pipeliner, i int) {
		why[i] = p.HGet(ctx, s.rareKey(all[i].short), "!"+all[i].endpoint)
	})
	if err != nil {
		return nil, err
	}

	// Dead letters that were redriven or dismissed meanwhile are left out.
	var out []event.DeadLetter
	for i, l := range all {
		v := found[i]
		if v == nil {
			continue
		}
		d := v.of(l.endpoint)
		if d == nil || d.state != 'x' {
			continue
		}
		x := event.DeadLetter{
			EventID: v.id, Endpoint: l.endpoint, DeadAt: time.UnixMilli(l.at), Attempts: d.attempts, Reason: why[i].Val(),
		}
		if e, err := v.event(); err == nil {
			x.Type, x.WaybillCode, x.CPCode, x.Status = e.Type, e.WaybillCode, e.CPCode, e.Status
		}
		out = append(out, x)
	}
	return out, nil
}

// Dismiss closes dead letters of an endpoint for good; see lua/dismiss.lua. It returns how many there were.
func (s *Store) Dismiss(ctx context.Context, endpoint string, ids ...string) (n int, err error) {
	defer db.Wrap(&err, "dismiss dead letters")
	if err := s.db.EnsureClock(ctx); err != nil {
		return 0, err
	}
	return s.changeDeliveries(ctx, ids, atOnce, func(ctx context.Context, shorts []any) ([]any, error) {
		args := append([]any{s.db.Now().UnixMilli(), endpoint}, shorts...)
		return dismissScript.Run(ctx, s.db.Client, []string{s.db.Prefix}, args...).Slice()
	})
}

const (
	// sliceDeadLetters bounds a slice of dead letters that are changed.
	sliceDeadLetters = 5
	// redriveEvery is how often sliceDeadLetters are redriven. Their deliveries come due at once, and each costs Redis and
	// the relay as much as a new event.
	redriveEvery = 10 * time.Millisecond
)

// mayRedrive waits until this process may redrive, resend or retry some more deliveries.
func (s *Store) mayRedrive(ctx context.Context) error {
	select {
	case s.redriving <- struct{}{}:
		time.AfterFunc(redriveEvery, func() { <-s.redriving })
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// atOnce does not wait.
func atOnce(context.Context) error { return nil }

// changeDeliveries runs a script on some events of an endpoint at a time, and waits before each part as may says. It
// returns the number of events that the script answers with 1.
func (s *Store) changeDeliveries(ctx context.Context, ids []string, may func(context.Context) error,
	run func(ctx context.Context, shorts []any) ([]any, error),
) (int, error) {
	shorts, err := shortIDs(ids)
	if err != nil {
		return 0, err
	}
	return s.changeShort(ctx, shorts, may, run)
}

// changeShort is changeDeliveries for events by the ids that keys have.
func (s *Store) changeShort(ctx context.Context, shorts []any, may func(context.Context) error,
	run func(ctx context.Context, shorts []any) ([]any, error),
) (int, error) {
	n := 0
	for part := range slices.Chunk(shorts, sliceDeadLetters) {
		if err := may(ctx); err != nil {
			return n, err
		}
		err := s.db.InTurn(ctx, func(ctx context.Context) error {
			answer, err := run(ctx, part)
			for _, v := range answer {
				n += int(db.Number(v))
			}
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Redrive queues dead letters of an endpoint again, due at once. It returns how many there were. A process redrives
// about 500 a second, so that the deliveries that follow leave room for new events.
func (s *Store) Redrive(ctx context.Context, endpoint string, ids ...string) (n int, err error) {
	defer db.Wrap(&err, "redrive dead letters")
	if err := s.db.EnsureClock(ctx); err != nil {
		return 0, err
	}
	return s.changeDeliveries(ctx, ids, s.mayRedrive, func(ctx context.Context, shorts []any) ([]any, error) {
		return s.db.Do(ctx, redriveScript, append([]any{s.db.Now().UnixMilli(), s.db.NewCall(), endpoint}, shorts...))
	})
}
