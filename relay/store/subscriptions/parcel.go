package subscriptions

import (
	"context"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
)

// ReadParcel reads the fields u, z, q and e of an entry: what they say of its waybill, and the event that is its last
// update, empty if there is none.
func ReadParcel(w event.Waybill, fields []any, now time.Time) (parcel ledger.Parcel, last string) {
	state, _ := fields[0].(string)
	query, _ := fields[2].(string)
	last, _ = fields[3].(string)
	parcel = ledger.Parcel{Waybill: w, Subscription: upstreamStates[state], Signed: fields[1] != nil}

	// See lua/lib/silent.lua.
	if q := strings.Fields(query); len(q) == 4 {
		parcel.Asking = db.Number(q[0]) > now.UnixMilli()
		if answered := db.Number(q[1]); answered > 0 {
			parcel.HeardAt = time.UnixMilli(answered)
			parcel.Queried = true
		}
	}
	return parcel, last
}

// leaves are those of lua/query.lua.
var leaves = map[string]ledger.Leave{
	"c": ledger.LeaveGiven, "a": ledger.LeaveAlone, "w": ledger.LeaveTaken, "i": ledger.LeaveInterval,
	"b": ledger.LeaveBudget, "e": ledger.LeaveInactive,
}

// AskFor takes waybills for the caller to ask the provider how they stand, as far as they may be asked for now; see
// lua/query.lua. As after TakeSilent, the caller asks until a time, or says that they are Unasked. The answers are in
// the order of the waybills.
func (l *Ledger) AskFor(ctx context.Context, waybills []event.Waybill) (
	out []ledger.Leave, until time.Time, err error,
) {
	defer db.Wrap(&err, "take waybills to ask for")
	silence := l.settings().Silence
	until = time.Now().Add(silence.Turn())
	args := []any{silence.Interval.Milliseconds(), silence.Budget, dayOf(l.db.Now()), silence.Turn().Milliseconds()}
	for _, w := range waybills {
		args = append(args, Entry(w))
	}
	answer, err := l.db.Call(ctx, queryScript, len(waybills), args...)
	if err != nil {
		return nil, until, err
	}
	for _, v := range answer {
		letter, _ := v.(string)
		out = append(out, leaves[letter])
	}
	return out, until, nil
}
