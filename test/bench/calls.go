package main

import (
	"context"
	"fmt"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/queue"
	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
)

// callEvents is how many events a call of W1 has, on average.
const callEvents = 12

// measureCalls asks an idle Redis what W1 asks it, through the store: new events that go to one endpoint, twelve in a
// call, and then their outcomes, as many. Nothing else is at work, so Redis' time is that of its commands alone.
func measureCalls(ctx context.Context, s *session) (f figures, err error) {
	st, err := s.newStand(calls, "everysec")
	if err != nil {
		return f, err
	}
	defer st.close()
	d, err := db.New(db.Options{URL: st.redis.URL(), Timeout: 30 * time.Second})
	if err != nil {
		return f, err
	}
	defer func() { _ = d.Close() }()
	kept := store.New(d, store.Options{})
	c, err := newCallbacks(1, false)
	if err != nil {
		return f, err
	}
	if _, err := kept.Accept(ctx, asked(c, 0, 1)); err != nil { // Redis learns the script
		return f, err
	}

	before, err := st.readRedis()
	if err != nil {
		return f, err
	}
	f.Events = s.backlog() / callEvents * callEvents
	f.Deliveries = f.Events
	var leased []*event.Delivery
	for at := 0; at < f.Events; at += callEvents {
		out, err := kept.Accept(ctx, asked(c, 1+at, callEvents))
		if err != nil {
			return f, err
		}
		for _, a := range out {
			leased = append(leased, a.Leased...)
		}
	}
	if len(leased) != f.Deliveries {
		return f, fmt.Errorf("%d of %d deliveries were leased", len(leased), f.Deliveries)
	}
	for len(leased) > 0 {
		outcomes := make([]queue.Outcome, callEvents)
		for i := range outcomes {
			outcomes[i] = queue.Outcome{Delivery: leased[i], Kind: queue.Delivered,
				Attempt: &event.Attempt{Status: 200, Duration: time.Millisecond}}
		}
		if _, err := kept.Settle(ctx, outcomes...); err != nil {
			return f, err
		}
		leased = leased[callEvents:]
	}
	after, err := st.readRedis()
	f.Commands = after.commandsSince(before)
	for name, c := range f.Commands {
		if isScript(name) {
			f.RedisCPU += float64(c.Micros) / 1e6
		}
	}
	f.Seconds = f.RedisCPU
	return f, err
}

// asked are the events of W1's callbacks, one in each, from a serial number on, with a slot for each delivery.
func asked(c *callbacks, serial, n int) []queue.Routed {
	out := make([]queue.Routed, n)
	for i := range out {
		now := time.Now()
		body := c.appendTo(nil, now.UnixNano(), serial+i, 1)
		out[i] = queue.Routed{Event: kuaidihelp.Parse("application/json", body, now).Events[0], To: []queue.Candidate{
			{Endpoint: bareEndpoint, When: event.Always, Ordered: true, Slot: true, Lease: time.Hour},
		}}
	}
	return out
}
