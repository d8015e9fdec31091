package store

import (
	"context"
	"fmt"
	"time"

	"kuairelay/relay/event"
)

type settleCall struct {
	event.Outcome
	short string
}

// Settle writes down what came of a delivery; see lua/settle.lua. Outcomes that are settled at the same time share one round
// trip. After an error the outcome may have been written; settling it again does no harm.
func (s *Store) Settle(ctx context.Context, o event.Outcome) (event.Settled, error) {
	short, err := shortID(o.Delivery.Event.ID)
	if err != nil {
		return event.Settled{}, fmt.Errorf("settle delivery: %w", err)
	}
	settled, err := s.settles.ask(ctx, settleCall{o, short})
	if err != nil {
		return event.Settled{}, fmt.Errorf("settle delivery: %w", err)
	}
	return settled, nil
}

func (s *Store) settleAll(calls []settleCall) ([]event.Settled, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*s.o.Timeout)
	defer cancel()
	if err := s.clock.ensure(ctx); err != nil {
		return nil, err
	}
	local := time.Now()
	answer, err := s.run(ctx, settleScript, s.settleArgs(calls, s.Now()))
	if err != nil {
		return nil, err
	}
	if len(answer) != len(calls) {
		return nil, errShape
	}
	out := make([]event.Settled, len(calls))
	var delivered []string
	for i, c := range calls {
		row, _ := answer[i].([]any)
		if len(row) == 0 {
			return nil, errShape
		}
		out[i].Late = number(row[0]) == 0
		if c.Kind == event.Delivered {
			delivered = append(delivered, c.Delivery.Event.ID)
		}
		if len(row) > 1 && row[1] != nil {
			d, err := readDelivery(row[1], local, map[string]time.Duration{c.Delivery.Endpoint: c.Next})
			if err != nil {
				return nil, err
			}
			out[i].Next = d
		}
		if len(row) > 2 {
			out[i].Breaker = readBreaker(row[2])
		}
	}
	if s.o.OnDelivered != nil && len(delivered) > 0 {
		s.o.OnDelivered(delivered)
	}
	return out, nil
}

// settleArgs lists the arguments of lua/settle.lua.
func (s *Store) settleArgs(calls []settleCall, now time.Time) []any {
	index := make(map[string]int)
	var names []string
	var spans []time.Duration
	for _, c := range calls {
		i, known := index[c.Delivery.Endpoint]
		if !known {
			i = len(names)
			index[c.Delivery.Endpoint] = i
			names, spans = append(names, c.Delivery.Endpoint), append(spans, 0)
		}
		spans[i] = max(spans[i], c.Next)
	}
	args := make([]any, 0, 7+4*len(names)+13*len(calls))
	args = append(args, now.UnixMilli(), s.settings().Retention.Milliseconds(), s.settings().DeadLetterRetention.Milliseconds(),
		s.settings().Window.Milliseconds(), s.o.History, len(names), len(calls))
	for i, name := range names {
		f := s.flowOf(name)
		args = append(args, name, spans[i].Milliseconds(), f.rate, f.breaker)
	}
	for _, c := range calls {
		due := now
		if c.Kind == event.Retry {
			due = c.Due
		}
		attempt, sign, text := event.Attempt{}, 0, ""
		if c.Attempt != nil {
			attempt, sign = *c.Attempt, 1+int(c.Sign)
			text = attempt.Text()
		}
		args = append(args, c.short, index[c.Delivery.Endpoint]+1, c.Delivery.Token, string(rune(c.Kind)), due.UnixMilli(), c.Reason,
			flag(c.Next > 0), sign, attempt.RetryAfter.Milliseconds(), c.Delivery.Attempts+flag(c.Attempt != nil), attempt.Status,
			attempt.Duration.Milliseconds(), text)
	}
	return args
}
