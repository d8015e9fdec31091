package subscriptions

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
)

// upstreamStates by the letter that the scripts keep.
var upstreamStates = map[string]ledger.State{"p": ledger.Pending, "l": ledger.Live, "f": ledger.Failed}

// upstreamLetters is the inverse of upstreamStates.
var upstreamLetters = map[ledger.State]string{ledger.Pending: "p", ledger.Live: "l", ledger.Failed: "f"}

// verdictLetters are the verdicts as the scripts know them.
var verdictLetters = map[ledger.Verdict]string{
	ledger.Accepted: "l", ledger.NoRecord: "n", ledger.Refused: "f", ledger.Unanswered: "v",
}

// sliceSubscriptions bounds a slice of subscriptions that are changed.
const sliceSubscriptions = 5

// Subscribe writes a tenant's subscriptions of waybills down; see lua/subscribe.lua. The results are in the order of
// the waybills. After an error some may have been written; subscribing them again changes nothing.
func (l *Ledger) Subscribe(ctx context.Context, tenant string, waybills []event.Waybill) (
	[]ledger.SubscribeResult, error,
) {
	set := l.settings()
	head := []any{
		set.ClaimTTL.Milliseconds(), set.TTL.Milliseconds(), set.SignedTTL.Milliseconds(), tenant,
		set.Max,
	}

	out := make([]ledger.SubscribeResult, 0, len(waybills))
	err := l.inParts(ctx, subscribeScript, head, waybills, 0, func(row []any) error {
		if len(row) != 7 {
			return db.ErrShape
		}
		state, _ := row[0].(string)
		out = append(out, ledger.SubscribeResult{
			State:   upstreamStates[state],
			Full:    state == "x",
			Already: db.Number(row[1]) == 1,
			CatchUp: db.Number(row[2]) == 1,
			Answer:  readAnswer(row[5], row[6], row[3]),
			RetryAt: timeOf(row[4]),
		})
		return nil
	})

	if err != nil {
		return nil, fmt.Errorf("write subscriptions: %w", err)
	}
	return out, nil
}

// Claim gives those of the waybills that are pending and not claimed to the caller, who then asks the provider for
// them; see lua/claim.lua. token names the claim. If the caller got any, it waits for the time returned before it makes
// the call, and then has Settings.ClaimTTL for it. It takes at most 10 waybills (sliceSubscriptions).
func (l *Ledger) Claim(ctx context.Context, token string, waybills []event.Waybill) (
	wait time.Duration, claimed []ledger.ClaimResult, err error,
) {
	head := []any{token, l.settings().ClaimTTL.Milliseconds(), 1000 / l.settings().UpstreamRate}
	err = l.inParts(ctx, claimScript, head, waybills, 1, func(row []any) error {
		if len(row) == 1 {
			wait = max(wait, time.Duration(db.Number(row[0]))*time.Millisecond)
			return nil
		}
		if len(row) != 7 {
			return db.ErrShape
		}
		state, _ := row[1].(string)
		claimed = append(claimed, ledger.ClaimResult{
			Mine:    db.Number(row[0]) == 1,
			State:   upstreamStates[state],
			Answer:  readAnswer(row[2], row[3], row[4]),
			RetryAt: timeOf(row[5]),
			Unknown: db.Number(row[6]) == 1,
		})
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("claim subscriptions: %w", err)
	}
	return wait, claimed, nil
}

// readAnswer reads the provider's answer about a waybill, as the ledger has it.
func readAnswer(code, msg, uid any) ledger.Answer {
	a := ledger.Answer{Code: int(db.Number(code))}
	a.Msg, _ = msg.(string)
	a.UID, _ = uid.(string)
	return a
}

// timeOf reads a time of an answer (ms); the zero time for 0.
func timeOf(v any) time.Time {
	if ms := db.Number(v); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// ReserveCall reserves the next call to the provider, over all replicas, and returns how long the caller has to wait
// for it.
func (l *Ledger) ReserveCall(ctx context.Context) (time.Duration, error) {
	wait, _, err := l.Claim(ctx, "", nil)
	return wait, err
}

// Answered writes down what the provider said of waybills that the caller had claimed; see lua/answer.lua. The results
// are in the order of the waybills. Without Settings.NoRecord, one without a record fails at once.
func (l *Ledger) Answered(ctx context.Context, token string, waybills []event.Waybill,
	verdict ledger.Verdict, a ledger.Answer,
) (out []ledger.AnswerResult, err error) {
	defer db.Wrap(&err, "write the provider's answer")
	ctx, cancel := context.WithTimeout(ctx, 5*l.db.Timeout)
	defer cancel()
	set := l.settings()
	args := []any{
		l.db.Now().UnixMilli(), token, set.SignedTTL.Milliseconds(), set.ClaimTTL.Milliseconds(), set.schedule,
	}
	for _, w := range waybills {
		args = append(args, Entry(w), verdictLetters[verdict], a.Code, a.Msg, a.UID)
	}
	answer, err := l.db.Do(ctx, answerScript, args)
	if err != nil {
		return nil, err
	}
	if len(answer) != len(waybills) {
		return nil, db.ErrShape
	}

	out = make([]ledger.AnswerResult, len(answer))
	for i, v := range answer {
		row, _ := v.([]any)
		if len(row) != 3 {
			return nil, db.ErrShape
		}
		state, _ := row[0].(string)
		lost, _ := row[2].(string)
		out[i] = ledger.AnswerResult{State: upstreamStates[state], RetryAt: timeOf(row[1]), Loss: readLoss(lost)}
	}
	return out, nil
}

// readLoss reads a member of lost; nil if it is none.
func readLoss(member string) *ledger.Loss {
	const fields = 6 // since, asked, code, brand, waybill, text
	f := strings.SplitN(member, " ", fields)
	if len(f) != fields {
		return nil
	}
	return &ledger.Loss{
		Waybill: event.Waybill{CPCode: f[3], Code: f[4]},
		Since:   time.UnixMilli(db.Number(f[0])),
		Asked:   int(db.Number(f[1])),
		Answer:  ledger.Answer{Code: int(db.Number(f[2])), Msg: f[5]},
		Key:     member,
	}
}

// Told notes that the tenants have been told of a loss. It is not handed out any more.
func (l *Ledger) Told(ctx context.Context, loss ledger.Loss) error {
	ctx, cancel := context.WithTimeout(ctx, 2*l.db.Timeout)
	defer cancel()
	if err := l.db.Client.ZRem(ctx, l.db.Key("lost"), loss.Key).Err(); err != nil {
		return fmt.Errorf("note that a loss was told of: %w", err)
	}
	return nil
}

// SubscribedBy says of each of the tenants whether it has subscribed a waybill.
func (l *Ledger) SubscribedBy(ctx context.Context, w event.Waybill, tenants []string) ([]bool, error) {
	out := make([]bool, len(tenants))
	if len(tenants) == 0 {
		return out, nil
	}
	fields := make([]string, len(tenants))
	for i, tenant := range tenants {
		fields[i] = "@" + tenant
	}

	ctx, cancel := context.WithTimeout(ctx, 2*l.db.Timeout)
	defer cancel()
	since, err := l.db.Client.HMGet(ctx, l.entryKey(Entry(w)), fields...).Result()
	if err != nil {
		return nil, fmt.Errorf("look who has subscribed a waybill: %w", err)
	}
	for i := range since {
		out[i] = since[i] != nil
	}
	return out, nil
}

// inParts runs a script on some waybills at a time. The arguments of the script are the time, a head, and entries. Its
// answer has lead numbers, which become rows of one value, and then one row for each waybill.
func (l *Ledger) inParts(ctx context.Context, script *redis.Script, head []any, waybills []event.Waybill, lead int,
	read func(row []any) error,
) error {
	if err := l.db.EnsureClock(ctx); err != nil {
		return err
	}
	for from := 0; from == 0 || from < len(waybills); from += sliceSubscriptions {
		part := waybills[from:min(from+sliceSubscriptions, len(waybills))]
		args := append([]any{l.db.Now().UnixMilli()}, head...)
		for _, w := range part {
			args = append(args, Entry(w))
		}

		var answer []any
		err := l.db.InTurn(ctx, func(ctx context.Context) (err error) {
			answer, err = l.db.Do(ctx, script, args)
			return err
		})
		if err == nil && len(answer) != lead+len(part) {
			err = db.ErrShape
		}
		if err != nil {
			return err
		}

		for i, v := range answer {
			row, ok := v.([]any)
			if i < lead {
				row, ok = []any{v}, true
			}
			if !ok {
				return db.ErrShape
			}
			if err := read(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unsubscribe deletes a tenant's subscription, and says whether there was one.
func (l *Ledger) Unsubscribe(ctx context.Context, tenant string, w event.Waybill) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*l.db.Timeout)
	defer cancel()
	answer, err := l.db.Do(ctx, unsubscribeScript, []any{tenant, Entry(w)})
	if err != nil {
		return false, fmt.Errorf("delete subscription: %w", err)
	}
	return len(answer) == 1 && db.Number(answer[0]) == 1, nil
}

// TakeOver returns work that others have begun and not finished, waybills that are asked for again, and losses that
// nobody has told of, at most so much of the first two, and of the last; see lua/takeover.lua.
func (l *Ledger) TakeOver(ctx context.Context, most int) (out []ledger.UnfinishedWork, err error) {
	defer db.Wrap(&err, "look for unfinished subscriptions")
	answer, err := l.db.Call(ctx, takeOverScript, 2, l.settings().ClaimTTL.Milliseconds(), most)
	if err != nil {
		return nil, err
	}

	work, _ := answer[0].([]any)
	for _, v := range work {
		member, _ := v.(string)
		tenant, entry, _ := strings.Cut(member, " ")
		out = append(out, ledger.UnfinishedWork{Tenant: tenant, Waybill: readEntry(entry)})
	}
	lost, _ := answer[1].([]any)
	for _, v := range lost {
		member, _ := v.(string)
		if loss := readLoss(member); loss != nil {
			out = append(out, ledger.UnfinishedWork{Waybill: loss.Waybill, Loss: loss})
		}
	}
	return out, nil
}

// Work counts what is to be done for subscriptions.
func (l *Ledger) Work(ctx context.Context) (work ledger.Work, err error) {
	defer db.Wrap(&err, "count unfinished subscriptions")
	ctx, cancel := context.WithTimeout(ctx, l.db.Timeout)
	defer cancel()
	var todo, lost, waiting *redis.IntCmd
	var queries *redis.StringCmd
	err = l.db.RoundTrip(ctx, func(p redis.Pipeliner) {
		todo = p.ZCard(ctx, l.db.Key("todo"))
		lost = p.ZCard(ctx, l.db.Key("lost"))
		waiting = p.ZCard(ctx, l.db.Key("norecord"))
		queries = p.Get(ctx, l.db.Key("queries"))
	})
	if err != nil {
		return work, err
	}
	work.Unfinished = int(todo.Val() + lost.Val())
	work.NoRecord = int(waiting.Val())
	work.Budget = l.settings().Silence.Budget
	if day, n, _ := strings.Cut(queries.Val(), " "); db.Number(day) == dayOf(l.db.Now()) {
		work.Queries = int(db.Number(n))
	}
	return work, nil
}
