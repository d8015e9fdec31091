package deliver

import (
	"context"
	"fmt"

	"kuairelay/relay/event"
)

// SendTest sends an event to an endpoint at once, signed and guarded like any other, and returns the result. Nothing is
// stored, and the endpoint's slots, rate and state do not count: a person wants to see what the endpoint answers. It
// ends with ctx.
func (p *Pool) SendTest(ctx context.Context, name string, e *event.Event) (event.Attempt, error) {
	c := p.client(name)
	if c == nil {
		return event.Attempt{}, fmt.Errorf("there is no endpoint %s", name)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.attempts, cancel)()
	return c.post(ctx, &event.Delivery{Event: e, Endpoint: name, Reason: event.ReasonNew}, p.o.Store.Now()), nil
}
