package deliver

import (
	"fmt"

	"kuairelay/relay/event"
)

// Test sends an event to an endpoint at once, signed and guarded as any other, and says what came back. Nothing is written down,
// and the endpoint's slots, rate and state are not looked at: a person wants to know what it does.
func (p *Pool) Test(name string, e *event.Event) (event.Attempt, error) {
	c := p.client(name)
	if c == nil {
		return event.Attempt{}, fmt.Errorf("there is no endpoint %s", name)
	}
	return c.post(p.attempts, &event.Delivery{Event: e, Endpoint: name, Reason: event.ReasonNew}, p.o.Store.Now()), nil
}

// Rated says whether the store keeps an endpoint to a rate.
func (p *Pool) Rated(name string) bool { return p.client(name).rated() }

func (c *client) rated() bool { return c != nil && c.endpoint.Rated }

// ReserveSome is Reserve for what must not be in the way of anything else: it takes no more than a quarter of the endpoint's slots.
func (p *Pool) ReserveSome(name string) bool {
	e, c := p.endpoint(name), p.client(name)
	return c != nil && e.inFlight.Load() < int64(max(1, c.endpoint.MaxInFlight/4)) && e.reserve()
}
