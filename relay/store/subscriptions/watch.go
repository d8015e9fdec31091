package subscriptions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
)

// stuckTypes are the types of events by the numbers of lua/lib/watch.lua.
var stuckTypes = map[int64]string{1: event.TypeNotCollected, 2: event.TypeStalled, 3: event.TypeNotPickedUp}

// watchArgs says to all replicas what tenants are told: a name of it, the shortest span, and the text of each tenant.
// The name changes with all that says when a waybill is to be looked at.
func watchArgs(set *Settings) []any {
	var least time.Duration
	var texts []any
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, set.Silence.After, set.Silence.Interval)
	for _, tenant := range slices.Sorted(maps.Keys(set.Watches)) {
		w := set.Watches[tenant]
		shortest := w.Least()
		if shortest == 0 {
			continue
		}
		if least == 0 || shortest < least {
			least = shortest
		}
		text := fmt.Sprintf("%d %d %d", w.NotCollected.Milliseconds(), w.Stalled.Milliseconds(),
			w.NotPickedUp.Milliseconds())
		texts = append(texts, tenant, text)
		_, _ = fmt.Fprintln(sum, tenant, text)
	}

	const digits = 16
	name := hex.EncodeToString(sum.Sum(nil))[:digits]
	return append([]any{name, least.Milliseconds()}, texts...)
}

// Watch says to all replicas what Settings.Watches says, unless another has said something else and force is not set.
// It returns a name for what they are told now, and whether every waybill is to be noted anew by it (ListenFor), which
// Listened ends.
func (l *Ledger) Watch(ctx context.Context, force bool) (name string, anew bool, err error) {
	defer db.Wrap(&err, "say what tenants watch")
	ctx, cancel := context.WithTimeout(ctx, 2*l.db.Timeout)
	defer cancel()
	answer, err := l.db.Do(ctx, watchScript, append([]any{db.Flag(force)}, l.settings().watch...))
	if err != nil {
		return "", false, err
	}
	if len(answer) != 2 {
		return "", false, db.ErrShape
	}
	name, _ = answer[0].(string)
	return name, db.Number(answer[1]) == 1, nil
}

// Listened notes that every waybill was noted anew by what has this name.
func (l *Ledger) Listened(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*l.db.Timeout)
	defer cancel()
	if err := l.db.Client.HSet(ctx, l.db.Key("watch"), " listened", name).Err(); err != nil {
		return fmt.Errorf("note that all waybills are looked at: %w", err)
	}
	return nil
}

// Look looks at waybills when it is time, at most most; see lua/look.lua. It returns those whose tenants are to be
// told. Until ToldStuck ends that, they are given out again after Settings.ClaimTTL. looked is how many it looked at,
// and at is until when what they are to be told counts.
func (l *Ledger) Look(ctx context.Context, most int) (stuck []ledger.Stuck, at time.Time, looked int, err error) {
	defer db.Wrap(&err, "look at silent waybills")
	if err := l.db.EnsureClock(ctx); err != nil {
		return nil, at, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*l.db.Timeout)
	defer cancel()
	at = l.db.Now()
	set := l.settings()
	answer, err := l.db.Do(ctx, lookScript, []any{at.UnixMilli(), set.Silence.After.Milliseconds(),
		set.Silence.Interval.Milliseconds(), set.ClaimTTL.Milliseconds(), most})
	if err != nil {
		return nil, at, 0, err
	}
	if len(answer) == 0 {
		return nil, at, 0, db.ErrShape
	}

	for _, v := range answer[1:] {
		row, _ := v.([]any)
		one, ok := readStuck(row)
		if !ok {
			return nil, at, 0, db.ErrShape
		}
		stuck = append(stuck, one)
	}
	return stuck, at, int(db.Number(answer[0])), nil
}

// readStuck reads a row of lua/look.lua: entry, type, status, and for each event since (ms), span (ms), tenants.
func readStuck(row []any) (out ledger.Stuck, ok bool) {
	const head, each = 3, 3
	if len(row) < head+each || len(row)%each != 0 {
		return out, false
	}
	entry, _ := row[0].(string)
	out.Waybill = readEntry(entry)
	out.Type = stuckTypes[db.Number(row[1])]
	out.Status, _ = row[2].(string)
	for i := head; i < len(row); i += each {
		tenants, _ := row[i+2].(string)
		out.Tell = append(out.Tell, ledger.Overdue{
			Since:   time.UnixMilli(db.Number(row[i])),
			After:   time.Duration(db.Number(row[i+1])) * time.Millisecond,
			Tenants: strings.Fields(tenants),
		})
	}
	return out, out.Type != ""
}

// ToldStuck notes that tenants were told of waybills, of all that counted until a time (Look).
func (l *Ledger) ToldStuck(ctx context.Context, at time.Time, waybills []event.Waybill) (err error) {
	if len(waybills) == 0 {
		return nil
	}
	defer db.Wrap(&err, "note that tenants were told of waybills")
	silence := l.settings().Silence
	args := []any{silence.After.Milliseconds(), silence.Interval.Milliseconds(), at.UnixMilli()}
	for _, w := range waybills {
		args = append(args, Entry(w))
	}
	_, err = l.db.Call(ctx, toldScript, 0, args...)
	return err
}
