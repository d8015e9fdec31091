package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

// upstreamStates by the letter that the scripts keep.
var upstreamStates = map[string]ledger.State{"p": ledger.Pending, "l": ledger.Live, "f": ledger.Failed}

// upstreamLetters is the inverse of upstreamStates.
var upstreamLetters = map[ledger.State]string{ledger.Pending: "p", ledger.Live: "l", ledger.Failed: "f"}

// entry names a waybill in the ledger.
func entry(w event.Waybill) string { return w.CPCode + " " + w.Code }

func readEntry(entry string) event.Waybill {
	brand, code, _ := strings.Cut(entry, " ")
	return event.Waybill{CPCode: brand, Code: code}
}

// Subscribe writes a tenant's subscriptions of waybills down; see lua/subscribe.lua. The results are in the order of
// the waybills. After an error some may have been written; subscribing them again changes nothing.
func (s *Store) Subscribe(ctx context.Context, tenant string, waybills []event.Waybill) (
	[]ledger.SubscribeResult, error,
) {
	set := s.settings()
	head := []any{
		set.ClaimTTL.Milliseconds(), set.SubscriptionTTL.Milliseconds(), set.SignedTTL.Milliseconds(), tenant,
		set.SubscriptionsMax,
	}

	out := make([]ledger.SubscribeResult, 0, len(waybills))
	err := s.inParts(ctx, subscribeScript, head, waybills, 0, func(row []any) error {
		if len(row) != 4 {
			return errShape
		}
		state, _ := row[0].(string)
		uid, _ := row[3].(string)
		out = append(out, ledger.SubscribeResult{
			State:   upstreamStates[state],
			Full:    state == "x",
			Already: number(row[1]) == 1,
			CatchUp: number(row[2]) == 1,
			Answer:  ledger.Answer{UID: uid},
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
func (s *Store) Claim(ctx context.Context, token string, waybills []event.Waybill) (
	wait time.Duration, claimed []ledger.ClaimResult, err error,
) {
	head := []any{token, s.settings().ClaimTTL.Milliseconds(), 1000 / s.settings().UpstreamRate}
	err = s.inParts(ctx, claimScript, head, waybills, 1, func(row []any) error {
		if len(row) == 1 {
			wait = max(wait, time.Duration(number(row[0]))*time.Millisecond)
			return nil
		}
		if len(row) != 5 {
			return errShape
		}
		state, _ := row[1].(string)
		claimed = append(claimed, ledger.ClaimResult{
			Mine: number(row[0]) == 1, State: upstreamStates[state], Answer: readAnswer(row[2], row[3], row[4]),
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
	a := ledger.Answer{Code: int(number(code))}
	a.Msg, _ = msg.(string)
	a.UID, _ = uid.(string)
	return a
}

// ReserveCall reserves the next call to the provider, over all replicas, and returns how long the caller has to wait
// for it.
func (s *Store) ReserveCall(ctx context.Context) (time.Duration, error) {
	wait, _, err := s.Claim(ctx, "", nil)
	return wait, err
}

// Answered writes down the provider's answer about waybills that the caller had claimed; see lua/answer.lua.
func (s *Store) Answered(ctx context.Context, token string, waybills []event.Waybill,
	state ledger.State, a ledger.Answer,
) error {
	ctx, cancel := context.WithTimeout(ctx, 5*s.o.Timeout)
	defer cancel()
	args := []any{s.Now().UnixMilli(), token, s.settings().SignedTTL.Milliseconds()}
	for _, w := range waybills {
		args = append(args, entry(w), upstreamLetters[state], a.Code, a.Msg, a.UID)
	}
	if _, err := s.run(ctx, answerScript, args); err != nil {
		return fmt.Errorf("write the provider's answer: %w", err)
	}
	return nil
}

// inParts runs a script on some waybills at a time. The arguments of the script are the time, a head, and entries. Its
// answer has lead numbers, which become rows of one value, and then one row for each waybill.
func (s *Store) inParts(ctx context.Context, script *redis.Script, head []any, waybills []event.Waybill, lead int,
	read func(row []any) error,
) error {
	if err := s.clock.ensure(ctx); err != nil {
		return err
	}
	for from := 0; from == 0 || from < len(waybills); from += sliceSubscriptions {
		part := waybills[from:min(from+sliceSubscriptions, len(waybills))]
		args := append([]any{s.Now().UnixMilli()}, head...)
		for _, w := range part {
			args = append(args, entry(w))
		}

		var answer []any
		err := s.aside(ctx, func(ctx context.Context) (err error) {
			answer, err = s.run(ctx, script, args)
			return err
		})
		if err == nil && len(answer) != lead+len(part) {
			err = errShape
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
				return errShape
			}
			if err := read(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unsubscribe deletes a tenant's subscription, and says whether there was one.
func (s *Store) Unsubscribe(ctx context.Context, tenant string, w event.Waybill) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	answer, err := s.run(ctx, unsubscribeScript, []any{tenant, entry(w)})
	if err != nil {
		return false, fmt.Errorf("delete subscription: %w", err)
	}
	return len(answer) == 1 && number(answer[0]) == 1, nil
}

// TakeOver returns work that others have begun and not finished, at most so much; see lua/takeover.lua.
func (s *Store) TakeOver(ctx context.Context, most int) (out []ledger.UnfinishedWork, err error) {
	defer wrap(&err, "look for unfinished subscriptions")
	answer, err := s.call(ctx, takeOverScript, anySize, s.settings().ClaimTTL.Milliseconds(), most)
	if err != nil {
		return nil, err
	}

	out = make([]ledger.UnfinishedWork, len(answer))
	for i, v := range answer {
		member, _ := v.(string)
		tenant, entry, _ := strings.Cut(member, " ")
		out[i] = ledger.UnfinishedWork{Tenant: tenant, Waybill: readEntry(entry)}
	}
	return out, nil
}

// CountUnfinished counts unfinished work: waybills to be subscribed upstream, and tenants to be caught up.
func (s *Store) CountUnfinished(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	n, err := s.client.ZCard(ctx, s.key("todo")).Result()
	if err != nil {
		return 0, fmt.Errorf("count unfinished subscriptions: %w", err)
	}
	return n, nil
}

// Latest returns the last event of a waybill that is in the ledger, and whether one is known. The event has the fields
// that are stored; the others can be read from its data again.
func (s *Store) Latest(ctx context.Context, w event.Waybill) (e *event.Event, known bool, err error) {
	defer wrap(&err, "read the last event of a waybill")
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	short, err := s.client.HGet(ctx, s.entryKey(entry(w)), "e").Result()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}

	var body *redis.StringCmd
	var state *redis.SliceCmd
	err = s.roundTrip(ctx, func(p redis.Pipeliner) {
		body = p.Get(ctx, s.bodyKey(short))
		state = p.HMGet(ctx, s.eventKey(short), "q", "t")
	})
	if err != nil {
		return nil, false, err
	}
	id, err := longID(short)
	if err != nil {
		return nil, false, err
	}

	e, lost := decodeBody(body.Val())
	if lost != nil {
		e = &event.Event{} // it is gone: there is nothing to catch up with
	}
	e.ID = id
	if fields := state.Val(); len(fields) == 2 {
		e.Sequence = number(fields[0])
		e.AcceptedAt = time.UnixMilli(number(fields[1]))
	}
	return e, true, nil
}

// CatchUp queues the last event of a waybill for those of a tenant's endpoints that have no delivery of it; see
// lua/catchup.lua. Without an event, or without endpoints, it only notes that the tenant has been caught up.
func (s *Store) CatchUp(ctx context.Context, tenant string, w event.Waybill, e *event.Event, to []queue.Candidate) (
	result queue.CatchUpResult, err error,
) {
	defer wrap(&err, "catch up")
	short := ""
	if e != nil {
		if short, err = shortID(e.ID); err != nil {
			return queue.CatchUpResult{}, err
		}
	}

	args := []any{s.newCall(), tenant, entry(w), short, s.settings().Retention.Milliseconds()}
	for _, c := range to {
		args = append(args, c.Endpoint, flag(c.Ordered))
	}
	answer, err := s.call(ctx, catchUpScript, 3, args...)
	if err != nil {
		return queue.CatchUpResult{}, err
	}
	return queue.CatchUpResult{
		Stale: number(answer[0]) == 0, Deliveries: int(number(answer[1])), Queued: int(number(answer[2])),
	}, nil
}
