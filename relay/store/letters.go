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
)

// sameTime is how many dead letters of an endpoint a page can step over that were given up in the millisecond where it begins.
const sameTime = 200

// Letters lists the dead letters of endpoints (nil: of all), the latest first, at most most of them, from the cursor of an
// earlier page on. next is empty at the end.
func (s *Store) Letters(ctx context.Context, endpoints []string, cursor string, most int) (out []event.Letter, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*s.o.Timeout)
	defer cancel()
	after, err := readLetterCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	oldest := strconv.FormatInt(s.Now().Add(-s.settings().DeadLetterRetention).UnixMilli(), 10)
	latest, err := s.client.ZRevRangeByScoreWithScores(ctx, s.key("dead"), &redis.ZRangeBy{Min: oldest, Max: "+inf"}).Result()
	if err != nil {
		return nil, "", fmt.Errorf("list dead letters: %w", err)
	}
	if endpoints != nil {
		latest = slices.DeleteFunc(latest, func(z redis.Z) bool { name, _ := z.Member.(string); return !slices.Contains(endpoints, name) })
	}
	var all []letter
	for len(latest) > 0 {
		// An endpoint whose latest is older than all that a page takes has nothing to add.
		if len(all) > most && latest[0].Score < float64(all[most].at) {
			break
		}
		part := latest[:min(100, len(latest))]
		latest = latest[len(part):]
		found, err := s.lettersOf(ctx, part, after, oldest, most)
		if err != nil {
			return nil, "", fmt.Errorf("list dead letters: %w", err)
		}
		all = append(all, found...)
		slices.SortFunc(all, letter.compare)
	}
	if len(all) > most {
		all = all[:most]
		last := all[most-1]
		next = fmt.Sprintf("%d %s %s", last.at, last.short, last.endpoint)
	}
	out, err = s.readLetters(ctx, all)
	return out, next, err
}

// letter is where a dead letter stands in the list.
type letter struct {
	at              int64 // ms
	endpoint, short string
}

func (l letter) compare(o letter) int {
	return cmp.Or(cmp.Compare(o.at, l.at), strings.Compare(l.endpoint, o.endpoint), strings.Compare(l.short, o.short))
}

func readLetterCursor(cursor string) (l letter, err error) {
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

// lettersOf lists the dead letters of some endpoints that come after one.
func (s *Store) lettersOf(ctx context.Context, of []redis.Z, after letter, oldest string, most int) (all []letter, err error) {
	by := &redis.ZRangeBy{Min: oldest, Max: "+inf", Count: int64(most + 1)}
	if after.at > 0 {
		by.Max, by.Count = strconv.FormatInt(after.at, 10), int64(most+1+sameTime)
	}
	found := make([]*redis.ZSliceCmd, len(of))
	err = s.pipelined(ctx, func(p redis.Pipeliner) {
		for i, z := range of {
			name, _ := z.Member.(string)
			found[i] = p.ZRevRangeByScoreWithScores(ctx, s.deadKey(name), by)
		}
	})
	for i, z := range of {
		name, _ := z.Member.(string)
		for _, dead := range found[i].Val() {
			short, _ := dead.Member.(string)
			if l := (letter{int64(dead.Score), name, short}); after.at == 0 || after.compare(l) < 0 {
				all = append(all, l)
			}
		}
	}
	return all, err
}

// readLetters reads what else is to be known of dead letters.
func (s *Store) readLetters(ctx context.Context, all []letter) ([]event.Letter, error) {
	states, heads := make([]*redis.StringCmd, len(all)), make([]*redis.StringCmd, len(all))
	if err := s.pipelined(ctx, func(p redis.Pipeliner) {
		for i, l := range all {
			states[i], heads[i] = p.HGet(ctx, s.eventKey(l.short), l.endpoint), p.GetRange(ctx, s.key("b:"+l.short), 0, 511)
		}
	}); err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var out []event.Letter
	for i, l := range all {
		id, err := longID(l.short)
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		if states[i].Val() == "" {
			continue
		}
		o := readOwed(l.endpoint, states[i].Val(), "")
		if o.State != event.StateDead {
			continue
		}
		x := event.Letter{EventID: id, Endpoint: l.endpoint, DeadAt: time.UnixMilli(l.at), Attempts: o.Attempts, Reason: o.Why}
		if e, err := decodeBody(heads[i].Val()); err == nil {
			x.Type, x.WaybillCode, x.CPCode, x.Status = e.Type, e.WaybillCode, e.CPCode, e.Status
		}
		out = append(out, x)
	}
	return out, nil
}

// Dismiss is done with dead letters of an endpoint; see lua/dismiss.lua. It returns how many there were.
func (s *Store) Dismiss(ctx context.Context, endpoint string, ids ...string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	args := []any{s.settings().Retention.Milliseconds(), endpoint}
	for _, id := range ids {
		short, err := shortID(id)
		if err != nil {
			return 0, fmt.Errorf("dismiss dead letters: %w", err)
		}
		args = append(args, short)
	}
	answer, err := dismissScript.Run(ctx, s.client, []string{s.prefix}, args...).Slice()
	if err != nil {
		return 0, fmt.Errorf("dismiss dead letters: %w", err)
	}
	n := 0
	for _, v := range answer {
		n += int(number(v))
	}
	return n, nil
}
