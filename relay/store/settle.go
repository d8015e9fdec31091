package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kuairelay/relay/event"
)

type settleCall struct {
	event.Outcome
	short string
}

// Settle writes down what came of a delivery, or of several of one line in their order; see lua/settle.lua. At most maxOutcomes. Calls
// at the same time share one round trip. After an error the outcomes may have been written; settling them again does no harm.
func (s *Store) Settle(ctx context.Context, line ...event.Outcome) ([]event.Settled, error) {
	calls := make([]settleCall, len(line))
	for i, o := range line {
		short, err := shortID(o.Delivery.Event.ID)
		if err != nil {
			return nil, fmt.Errorf("settle delivery: %w", err)
		}
		calls[i] = settleCall{o, short}
	}
	settled, err := s.settles.Ask(ctx, calls)
	if err != nil {
		return nil, fmt.Errorf("settle delivery: %w", err)
	}
	return settled, nil
}

// settleAll makes one script call of many Settles.
func (s *Store) settleAll(lines [][]settleCall) ([][]event.Settled, error) {
	settled, err := s.settleCalls(slices.Concat(lines...))
	if err != nil {
		return nil, err
	}
	out := make([][]event.Settled, len(lines))
	for i, line := range lines {
		out[i], settled = settled[:len(line)], settled[len(line):]
	}
	return out, nil
}

func (s *Store) settleCalls(calls []settleCall) ([]event.Settled, error) {
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
			line, err := readDeliveries(row[1], local, map[string]time.Duration{c.Delivery.Endpoint: c.Next})
			if err != nil {
				return nil, err
			}
			out[i].Leased, out[i].Line = true, line
			if c.Held == 0 && len(line) > 0 {
				out[i].Next, out[i].Line = line[0], line[1:]
			}
		}
		if len(row) > 2 {
			out[i].Breaker = readBreaker(row[2])
		}
	}
	if s.listener.Delivered != nil && len(delivered) > 0 {
		s.listener.Delivered(delivered)
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
	args := make([]any, 0, 7+4*len(names)+14*len(calls))
	args = append(args, now.UnixMilli(), s.settings().Retention.Milliseconds(), s.settings().DeadLetterRetention.Milliseconds(),
		s.settings().Window.Milliseconds(), s.o.History, len(names), len(calls))
	for i, name := range names {
		f := s.pacingOf(name)
		args = append(args, name, spans[i].Milliseconds(), f.rate, f.breaker)
	}
	for _, c := range calls {
		due, wanted := now, 0
		if c.Next > 0 {
			wanted = max(1, c.Held) + c.Wanted
		}
		if c.Kind == event.Retry {
			due = c.Due
		}
		attempt, sign, text := event.Attempt{}, 0, ""
		if c.Attempt != nil {
			attempt, sign = *c.Attempt, 1+int(c.Signal)
			text = attempt.Text()
		}
		args = append(args, c.short, index[c.Delivery.Endpoint]+1, c.Delivery.Token, string(rune(c.Kind)), due.UnixMilli(), c.Reason,
			wanted, sign, attempt.RetryAfter.Milliseconds(), c.Delivery.Attempts+flag(c.Attempt != nil), attempt.Status,
			attempt.Duration.Milliseconds(), text, c.Held)
	}
	return args
}
