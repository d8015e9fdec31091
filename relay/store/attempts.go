package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// sliceAttempts is how many attempts that failed a slice reads: each may have a KiB of text.
const sliceAttempts = 100

// Attempts returns a page of the attempts of an endpoint, the latest first, and the cursor of the next page, empty at
// the end. About Options.History attempts are kept of those that failed, and as many of those that delivered.
func (s *Store) Attempts(ctx context.Context, q queue.AttemptsQuery) (
	page []queue.EndpointAttempt, next string, err error,
) {
	defer db.Wrap(&err, "list attempts")
	after, err := readAttemptCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}

	// One more than is wanted says whether there is a next page.
	failed, err := s.failedAttempts(ctx, q.Endpoint, after.upTo(), q.Most+after.passed+1)
	if err != nil {
		return nil, "", err
	}
	var good []string
	if !q.Failed {
		if good, err = s.goodAttempts(ctx, q.Endpoint); err != nil {
			return nil, "", err
		}
	}
	all, err := latestFirst(failed, good, len(failed)+len(good))
	if err != nil {
		return nil, "", err
	}

	// What the pages before had is left out.
	begin := 0
	for begin < len(all) && !after.at.IsZero() && all[begin].At.After(after.at) {
		begin++
	}
	begin = min(begin+after.passed, len(all))
	end := min(begin+q.Most, len(all))
	page = all[begin:end]
	if end == len(all) || len(page) == 0 {
		return page, "", nil
	}
	return page, attemptCursorAt(all[:end]).String(), nil
}

// failedAttempts reads the latest attempts that failed, up to the entry given, as many as are wanted.
func (s *Store) failedAttempts(ctx context.Context, endpoint, upTo string, most int) (all []redis.XMessage, err error) {
	for len(all) < most {
		want := min(most-len(all), sliceAttempts)
		var part *redis.XMessageSliceCmd
		err := s.db.Slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
			part = p.XRevRangeN(ctx, s.failedKey(endpoint), upTo, "-", int64(want))
		})
		if err != nil {
			return nil, err
		}
		all = append(all, part.Val()...)
		if len(part.Val()) < want {
			break
		}
		upTo = "(" + all[len(all)-1].ID
	}
	return all, nil
}

// goodAttempts reads the attempts that delivered.
func (s *Store) goodAttempts(ctx context.Context, endpoint string) ([]string, error) {
	var all *redis.StringSliceCmd
	err := s.db.Slices(ctx, 1, 1, func(p redis.Pipeliner, _ int) {
		all = p.LRange(ctx, s.deliveredKey(endpoint), 0, -1)
	})
	if err != nil {
		return nil, err
	}
	return all.Val(), nil
}

// attemptCursor is where a page of attempts ended: at a time, after so many attempts of that time. The zero cursor is
// the beginning.
type attemptCursor struct {
	at     time.Time
	passed int
}

// attemptCursorAt returns the cursor behind the last of the attempts given.
func attemptCursorAt(attempts []queue.EndpointAttempt) attemptCursor {
	c := attemptCursor{at: attempts[len(attempts)-1].At}
	for _, a := range attempts {
		if a.At.Equal(c.at) {
			c.passed++
		}
	}
	return c
}

// String writes the cursor as readAttemptCursor reads it: "<ms>-<passed>".
func (c attemptCursor) String() string { return fmt.Sprintf("%d-%d", c.at.UnixMilli(), c.passed) }

// passedMost bounds the attempts of one millisecond that a cursor may have passed: more are not kept.
const passedMost = 10_000

func readAttemptCursor(text string) (attemptCursor, error) {
	if text == "" {
		return attemptCursor{}, nil
	}
	ms, passed, _ := strings.Cut(text, "-")
	at, err := strconv.ParseInt(ms, 10, 64)
	n, nErr := strconv.Atoi(passed)
	if err != nil || nErr != nil || at < 0 || n < 1 || n > passedMost {
		return attemptCursor{}, event.ErrCursor
	}
	return attemptCursor{at: time.UnixMilli(at), passed: n}, nil
}

// upTo is the latest entry of a stream that the page may have.
func (c attemptCursor) upTo() string {
	if c.at.IsZero() {
		return "+"
	}
	return strconv.FormatInt(c.at.UnixMilli(), 10) // with any number behind it
}

// latest asks for the latest attempts of an endpoint, for latestFirst.
func (s *Store) latest(ctx context.Context, p redis.Pipeliner, endpoint string, most int) (
	failed *redis.XMessageSliceCmd, good *redis.StringSliceCmd,
) {
	failed = p.XRevRangeN(ctx, s.failedKey(endpoint), "+", "-", int64(most))
	good = p.LRange(ctx, s.deliveredKey(endpoint), 0, int64(most)-1)
	return failed, good
}

// latestFirst merges failed and delivered attempts (a: and d: of db/lua/lib/base.lua), the latest first. Of two in the
// same millisecond, the delivered one comes first.
func latestFirst(failed []redis.XMessage, good []string, most int) ([]queue.EndpointAttempt, error) {
	all := make([]queue.EndpointAttempt, 0, len(failed)+len(good))
	for _, entry := range good {
		a, err := readDelivered(entry)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	for _, entry := range failed {
		all = append(all, readFailed(entry))
	}
	slices.SortStableFunc(all, func(x, y queue.EndpointAttempt) int { return y.At.Compare(x.At) })
	all = all[:min(most, len(all))]

	for i := range all {
		id, err := longID(all[i].EventID)
		if err != nil {
			return nil, err
		}
		all[i].EventID = id
	}
	return all, nil
}

// readDelivered reads an attempt that delivered: "<at, ms> <status> <duration, ms> <number> <id>".
func readDelivered(entry string) (queue.EndpointAttempt, error) {
	f := strings.Fields(entry)
	if len(f) != 5 {
		return queue.EndpointAttempt{}, fmt.Errorf("attempt %q: not five fields", entry)
	}
	a := queue.EndpointAttempt{AttemptRecord: readRecord(f[0], f[1], f[2]), EventID: f[4], Kind: queue.Delivered}
	a.N = int(db.Number(f[3]))
	return a, nil
}

// readFailed reads an attempt that failed, an entry of a stream whose id begins with its time (ms). Those that an older
// version wrote have no origin.
func readFailed(entry redis.XMessage) queue.EndpointAttempt {
	field := func(name string) string {
		v, _ := entry.Values[name].(string)
		return v
	}
	ms, _, _ := strings.Cut(entry.ID, "-")
	a := queue.EndpointAttempt{EventID: field("i")}
	a.AttemptRecord = readRecord(ms, field("s"), field("d"))
	a.N = int(db.Number(field("n")))
	a.Text = field("m")
	if a.Status == 0 {
		a.Class = event.ClassOf(a.Text)
	}
	if parts := strings.Split(field("o"), originSeparator); len(parts) > 1 {
		a.Replica = parts[0]
		a.Reason = event.Reason(parts[1])
		a.Headers = parts[2:]
	}
	if k := field("k"); k != "" {
		a.Kind = queue.OutcomeKind(k[0])
	}
	return a
}

// originSeparator stands between the parts of an origin. None of them has it.
const originSeparator = "\t"

// originOf writes where an attempt that failed came from, and the headers of its answer, as readFailed reads them.
func originOf(d *event.Delivery, a event.Attempt, replica string) string {
	return strings.Join(append([]string{replica, string(d.Reason)}, a.Headers...), originSeparator)
}

// readRecord reads when an attempt was made (ms), its status, and how long it took (ms).
func readRecord(at, status, took string) event.AttemptRecord {
	return event.AttemptRecord{
		At: time.UnixMilli(db.Number(at)), Status: int(db.Number(status)),
		Duration: time.Duration(db.Number(took)) * time.Millisecond,
	}
}
