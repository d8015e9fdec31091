package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

type settleCall struct {
	queue.Outcome
	short string
}

// Settle writes down the outcome of a delivery, or of several of one line in their order; see lua/settle.lua. At most
// maxOutcomes. Concurrent calls share a round trip. After an error the outcomes may have been written; settling them
// again changes nothing.
func (s *Store) Settle(ctx context.Context, line ...queue.Outcome) ([]queue.Settled, error) {
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
func (s *Store) settleAll(lines [][]settleCall) ([][]queue.Settled, error) {
	settled, err := s.settleCalls(slices.Concat(lines...))
	if err != nil {
		return nil, err
	}
	out := make([][]queue.Settled, len(lines))
	for i, line := range lines {
		out[i], settled = settled[:len(line)], settled[len(line):]
	}
	return out, nil
}

// settleCalls settles many outcomes in one call, and returns the result of each.
func (s *Store) settleCalls(calls []settleCall) ([]queue.Settled, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*s.db.Timeout)
	defer cancel()
	if err := s.db.EnsureClock(ctx); err != nil {
		return nil, err
	}

	local := time.Now() // before the call, so that leases are never taken for longer than they are
	answer, err := s.db.Do(ctx, settleScript, s.settleArgs(calls, s.db.Now()))
	if err != nil {
		return nil, err
	}
	if len(answer) != len(calls) {
		return nil, db.ErrShape
	}

	out := make([]queue.Settled, len(calls))
	var delivered []string
	for i, c := range calls {
		settled, err := readSettled(answer[i], c, local)
		if err != nil {
			return nil, err
		}
		out[i] = settled
		if c.Kind == queue.Delivered {
			delivered = append(delivered, c.Delivery.Event.ID)
		}
	}

	if s.onDelivered != nil && len(delivered) > 0 {
		s.onDelivered(delivered)
	}
	return out, nil
}

// settleArgs lists the arguments of lua/settle.lua.
func (s *Store) settleArgs(calls []settleCall, now time.Time) []any {
	// Each endpoint is named once, with the longest lease that is wanted at it; outcomes have its index.
	index := make(map[string]int)
	var names []string
	var spans []time.Duration
	for _, c := range calls {
		i, known := index[c.Delivery.Endpoint]
		if !known {
			i = len(names)
			index[c.Delivery.Endpoint] = i
			names = append(names, c.Delivery.Endpoint)
			spans = append(spans, 0)
		}
		spans[i] = max(spans[i], c.Next)
	}

	set := s.settings()
	args := make([]any, 0, 7+4*len(names)+14*len(calls))
	args = append(args, now.UnixMilli(), set.Retention.Milliseconds(), set.DeadLetterRetention.Milliseconds(),
		set.Window.Milliseconds(), s.o.History, len(names), len(calls))
	for i, name := range names {
		p := s.pacingOf(name)
		args = append(args, name, spans[i].Milliseconds(), p.rate, p.breaker)
	}
	for _, c := range calls {
		args = c.appendArgs(args, index[c.Delivery.Endpoint]+1, now, s.o.Replica)
	}
	return args
}

// appendArgs appends the arguments of lua/settle.lua for this outcome of a replica. endpoint is the index of its
// endpoint there.
func (c settleCall) appendArgs(args []any, endpoint int, now time.Time, replica string) []any {
	due := now
	if c.Kind == queue.Retry {
		due = c.Due
	}
	wanted := 0 // deliveries of the line, from the successor on
	if c.Next > 0 {
		wanted = max(1, c.Held) + c.Wanted
	}

	attempt, sign, text := event.Attempt{}, 0, ""
	if c.Attempt != nil {
		attempt = *c.Attempt
		sign = 1 + int(c.Signal)
		if c.Kind != queue.Delivered {
			text = originOf(c.Delivery, attempt, replica) + "\n" + attempt.Text()
		}
	}
	return append(args, c.short, endpoint, c.Delivery.Token, string(rune(c.Kind)), due.UnixMilli(), c.Reason,
		wanted, sign, attempt.RetryAfter.Milliseconds(), c.Delivery.Attempts+db.Flag(c.Attempt != nil), attempt.Status,
		attempt.Duration.Milliseconds(), text, c.Held)
}

// readSettled reads the answer of lua/settle.lua for one outcome: 0 if it came too late; if there are any, the
// deliveries of its line that are leased to the caller; and how its breaker has changed.
func readSettled(answer any, c settleCall, local time.Time) (queue.Settled, error) {
	row, _ := answer.([]any)
	if len(row) == 0 {
		return queue.Settled{}, db.ErrShape
	}
	out := queue.Settled{Late: db.Number(row[0]) == 0}

	if len(row) > 1 && row[1] != nil {
		line, err := readDeliveries(row[1], local, map[string]time.Duration{c.Delivery.Endpoint: c.Next})
		if err != nil {
			return queue.Settled{}, err
		}
		out.Leased = true
		out.Line = line
		if c.Held == 0 && len(line) > 0 {
			out.Next = line[0]
			out.Line = line[1:]
		}
	}

	if len(row) > 2 {
		out.Breaker = readBreaker(row[2])
	}
	return out, nil
}
