package deliver

import (
	"context"
	"strings"

	"kuairelay/relay/event"
)

// Preview is the request that an attempt would send now, as people may see it.
type Preview struct {
	Method string
	// Headers are the fields of its head by name, without Host. The values that the config gives are "(hidden)", and those
	// that every attempt makes anew say in parentheses what they are.
	Headers map[string]string
	Body    []byte
}

// What stands in a Preview for a value that is not shown.
const (
	hiddenValue    = "(hidden)"
	timestampValue = "(unix time of the attempt)"
	signatureValue = "v1,(signature)" // one for each key
	spanValue      = "(id of the attempt)"
)

// Preview makes the request of a delivery as an attempt does, and sends nothing. It returns false if the endpoint is
// not in the config.
func (p *Pool) Preview(d *event.Delivery) (Preview, bool) {
	c := p.client(d.Endpoint)
	if c == nil {
		return Preview{}, false
	}

	m := c.message(d, p.o.Store.Now())
	r := m.request(context.Background())
	out := Preview{Method: r.Method, Headers: make(map[string]string, len(r.Header)), Body: m.body}
	for name, values := range r.Header {
		out.Headers[name] = strings.Join(values, ", ")
	}
	for name := range c.endpoint.Headers {
		out.Headers[name] = hiddenValue
	}

	signatures := strings.Fields(r.Header.Get("Webhook-Signature"))
	for i := range signatures {
		signatures[i] = signatureValue
	}
	out.Headers["Webhook-Signature"] = strings.Join(signatures, " ")
	out.Headers["Webhook-Timestamp"] = timestampValue
	trace := strings.Split(m.traceparent(), "-")
	trace[2] = spanValue
	out.Headers[event.TraceHeader] = strings.Join(trace, "-")
	return out, true
}
