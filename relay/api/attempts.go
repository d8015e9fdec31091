package api

import "kuairelay/relay/queue"

// EndpointAttempts is a page.
type EndpointAttempts struct {
	Attempts []EndpointAttempt `json:"attempts" doc:"the latest first; about 500 that failed are kept, and 500 that delivered"`
	Next     string            `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
}

// EndpointAttempt is an attempt with the event that it sent.
type EndpointAttempt struct {
	Attempt
	EventID string `json:"event_id" doc:"id of the event"`
	Outcome string `json:"outcome" doc:"what became of the delivery: delivered, retry, dead (a dead letter), or gone (the endpoint answered 410)"`
}

// outcomes are the words for what became of a delivery.
var outcomes = map[queue.OutcomeKind]string{
	queue.Delivered: "delivered",
	queue.Retry:     "retry",
	queue.Dead:      "dead",
	queue.Gone:      "gone",
}

// listAttempts gives a page of the latest attempts of an endpoint.
func listAttempts(c *call) (EndpointAttempts, error) {
	name, err := c.endpointToRead()
	if err != nil {
		return EndpointAttempts{}, err
	}
	r := c.reader()
	q := queue.AttemptsQuery{Endpoint: name, Most: r.limit(), Cursor: r.param("cursor"), Failed: r.flag("failed")}
	if err := r.end(); err != nil {
		return EndpointAttempts{}, err
	}
	page, next, err := c.endpoints.Attempts(c.ctx(), q)
	if err != nil {
		return EndpointAttempts{}, c.failed("list attempts", err)
	}

	out := EndpointAttempts{Attempts: make([]EndpointAttempt, len(page)), Next: next}
	for i, a := range page {
		out.Attempts[i] = EndpointAttempt{
			Attempt: c.showAttempt(a.AttemptRecord),
			EventID: a.EventID,
			Outcome: outcomes[a.Kind],
		}
	}
	return out, nil
}
