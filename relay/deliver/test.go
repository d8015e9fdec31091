package deliver

import (
	"context"
	"fmt"

	"kuairelay/relay/event"
)

// Test sends an event to an endpoint at once, signed and guarded as any other, and says what came back. Nothing is written down,
// and the endpoint's slots, rate and state are not looked at: a person wants to know what it does. It ends with ctx.
func (p *Pool) Test(ctx context.Context, name string, e *event.Event) (event.Attempt, error) {
	c := p.client(name)
	if c == nil {
		return event.Attempt{}, fmt.Errorf("there is no endpoint %s", name)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.attempts, cancel)()
	return c.post(ctx, &event.Delivery{Event: e, Endpoint: name, Reason: event.ReasonNew}, p.o.Store.Now()), nil
}

// Rated says whether the store keeps an endpoint to a rate.
func (p *Pool) Rated(name string) bool { return p.client(name).rated() }

func (c *client) rated() bool { return c != nil && c.endpoint.Rated }

// ReserveSome is Reserve for what must not be in the way of anything else: it takes a slot while fewer than a quarter of the endpoint's
// are taken, or fewer than two where it has four or more.
func (p *Pool) ReserveSome(name string) bool {
	e, c := p.endpoint(name), p.client(name)
	if c == nil {
		return false
	}
	slots := c.endpoint.MaxInFlight
	some := max(1, min(slots/2, max(2, slots/4)))
	return e.inFlight.Load() < int64(some) && e.reserve()
}
