package subscriptions

import (
	"context"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
)

// queries is the limiter that the calls to ask how waybills stand have together.
const queries = "* queries"

// heardLetters are the answers as lua/heard.lua knows them.
var heardLetters = map[ledger.Heard]string{
	ledger.Missed: "m", ledger.Unchanged: "k", ledger.Unknown: "n", ledger.Unclear: "a", ledger.Resubscribed: "s",
	ledger.Unasked: "x", ledger.NoAnswer: "f",
}

// ListenFor notes when to look at the waybills of a tenant, whether something was heard of them: of about a hundred,
// from where the cursor says, 0 at first; see lua/listen.lua. It returns the cursor of the next ones, 0 after the last.
// A waybill is noted once, or with anew once more, and looked at again until it has ended.
func (l *Ledger) ListenFor(ctx context.Context, tenant string, cursor uint64, anew bool) (next uint64, err error) {
	defer db.Wrap(&err, "note when waybills are looked at")
	silence := l.settings().Silence
	var pairs []string // entry, score, entry, …
	err = l.db.InTurn(ctx, func(ctx context.Context) (err error) {
		pairs, next, err = l.db.Client.ZScan(ctx, l.subscribedKey(tenant), cursor, "", db.SliceCommands).Result()
		return err
	})
	if err != nil || len(pairs) == 0 {
		return next, err
	}

	args := []any{silence.After.Milliseconds(), silence.Interval.Milliseconds(), db.Flag(anew)}
	for i := 0; i < len(pairs); i += 2 {
		args = append(args, pairs[i])
	}
	return next, l.db.InTurn(ctx, func(ctx context.Context) error {
		_, err := l.db.Call(ctx, listenScript, 1, args...)
		return err
	})
}

// TakeSilent takes waybills of which nothing was heard for Settings.Silence.After, as Look has found them, the longest
// silent first, at most most; see lua/silent.lua. The caller asks the provider for them until a time, or says that they
// are Unasked: they count as asked for then. spent says that there are more, and that the budget of the day is used up.
func (l *Ledger) TakeSilent(ctx context.Context, most int) (
	silent []ledger.Silent, until time.Time, spent bool, err error,
) {
	defer db.Wrap(&err, "look for silent waybills")
	silence := l.settings().Silence
	until = time.Now().Add(silence.Turn())
	answer, err := l.db.Call(ctx, silentScript, db.AnySize, silence.After.Milliseconds(),
		silence.Interval.Milliseconds(), most, silence.Budget, dayOf(l.db.Now()), silence.Turn().Milliseconds())
	if err != nil {
		return nil, until, false, err
	}
	if len(answer) == 0 {
		return nil, until, false, db.ErrShape
	}

	for _, v := range answer[1:] {
		row, _ := v.([]any)
		if len(row) != 2 {
			return nil, until, false, db.ErrShape
		}
		name, _ := row[0].(string)
		silent = append(silent, ledger.Silent{Waybill: readEntry(name), Alone: db.Number(row[1]) == 1})
	}
	return silent, until, db.Number(answer[0]) == 1, nil
}

// Heard writes down what the provider has said of waybills that the caller had taken (TakeSilent); see lua/heard.lua.
// It returns those that are to be subscribed again. Without an answer, a waybill is asked for again after
// Settings.Silence.Interval.
func (l *Ledger) Heard(ctx context.Context, answers map[event.Waybill]ledger.Heard) (again []event.Waybill, err error) {
	defer db.Wrap(&err, "write down what was heard of waybills")
	silence := l.settings().Silence
	args := []any{silence.After.Milliseconds(), silence.Interval.Milliseconds(), silence.ResubscribeAfter,
		dayOf(l.db.Now())}
	var waybills []event.Waybill
	for w, heard := range answers {
		waybills = append(waybills, w)
		args = append(args, Entry(w), heardLetters[heard])
	}
	if len(waybills) == 0 {
		return nil, nil
	}

	answer, err := l.db.Call(ctx, heardScript, len(waybills), args...)
	if err != nil {
		return nil, err
	}
	for i, v := range answer {
		if db.Number(v) == 1 {
			again = append(again, waybills[i])
		}
	}
	return again, nil
}

// ReserveQuery reserves the next call that asks how waybills stand, of all replicas together, or returns how long to
// wait before asking again.
func (l *Ledger) ReserveQuery(ctx context.Context) (wait time.Duration, err error) {
	wait, _, err = l.Admit(ctx, queries, ledger.Limits{Rate: l.settings().QueryRate}, 0)
	return wait, err
}

// dayOf numbers days: it rises at midnight in China.
func dayOf(now time.Time) int64 {
	_, offset := now.In(china).Zone()
	return (now.Unix() + int64(offset)) / int64((24 * time.Hour).Seconds())
}

// untilMidnight is how long the day in China still lasts, at least a millisecond.
func untilMidnight(now time.Time) time.Duration {
	here := now.In(china)
	midnight := time.Date(here.Year(), here.Month(), here.Day()+1, 0, 0, 0, 0, china)
	return max(time.Millisecond, midnight.Sub(now))
}
