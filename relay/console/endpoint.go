package console

import (
	"fmt"
	"net/url"
	"strings"

	"kuairelay/relay/api"
)

// logRow is an entry in the log of an endpoint.
type logRow struct {
	At       moment
	What, By string
	Detail   string
}

// addHistory adds the latest attempts that failed, and the log. What cannot be read is left out: the rest of the page
// says why.
func (v *visit) addHistory(out *endpointView) {
	attempts, err := ask[api.EndpointAttempts](v, "GET /endpoints/{endpoint}/attempts",
		url.Values{"failed": {"true"}, "limit": {"10"}}, out.Name)
	if err == nil {
		for _, a := range attempts.Attempts {
			row := v.attempt(a.Attempt)
			row.Event = v.path("/event", url.Values{"id": {a.EventID}})
			out.Failed = append(out.Failed, row)
		}
	}

	log, err := ask[api.EndpointLog](v, "GET /endpoints/{endpoint}/log", nil, out.Name)
	if err == nil {
		for _, e := range log.Entries[:min(len(log.Entries), 20)] {
			out.Log = append(out.Log, v.logRow(e))
		}
	}
}

func (v *visit) logRow(e api.LogEntry) logRow {
	row := logRow{At: v.moment(e.At), What: v.t("log." + string(e.What)), By: v.person(e.By, e.Key)}

	var parts []string
	if e.N > 0 {
		parts = append(parts, "×"+count(e.N))
	}
	if e.Status > 0 {
		parts = append(parts, fmt.Sprint(e.Status))
	}
	if e.Text != "" {
		parts = append(parts, visible(e.Text))
	}
	for _, c := range e.Changes {
		if c.Old == "" && c.New == "" {
			parts = append(parts, visible(c.Key))
		} else {
			parts = append(parts, fmt.Sprintf("%s: %s → %s", visible(c.Key), visible(c.Old), visible(c.New)))
		}
	}
	row.Detail = strings.Join(parts, " · ")
	return row
}

// setting is one of an endpoint's settings.
type setting struct{ Name, Value string }

// settings of an endpoint, as the config calls them.
func (v *visit) endpointSettings(s *api.EndpointSettings) []setting {
	if s == nil {
		return nil
	}
	out := []setting{
		{"timeout", s.Timeout},
		{"retry", strings.Join(s.Retry, ", ")},
		{"max_in_flight", count(s.MaxInFlight)},
		{"max_age", s.MaxAge},
		{"order", s.Order},
		{"breaker", v.t("endpoint.breaker", s.Breaker.Failures, s.Breaker.CoolOff, s.Breaker.MaxCoolOff)},
		{"secrets", count(len(s.Secrets))},
	}

	// What few endpoints have comes last.
	if s.Rate > 0 {
		out = append(out, setting{"rate", v.t("endpoint.rate", fmt.Sprint(s.Rate))})
	}
	for _, secret := range s.Secrets {
		if end := v.moment(secret.Until); end.ISO != "" {
			out = append(out, setting{"secrets", v.t("endpoint.secret.ends", end.Text)})
		}
	}
	if len(s.Headers) > 0 {
		out = append(out, setting{"headers", visible(strings.Join(s.Headers, ", "))})
	}
	if end := v.moment(s.CertificateUntil); end.ISO != "" {
		out = append(out, setting{"tls", end.Text})
	}
	return append(out, setting{v.t("endpoint.at"), visible(s.At)})
}

// retry tries what waits for its next attempt at once: one event, or all of the endpoint.
func (v *visit) retry() error {
	body := map[string]any{"all": true}
	if id := v.FormValue("event_id"); id != "" {
		body = map[string]any{"event_id": id}
	}
	done, err := inParts(body, func() (int, string, error) {
		result, err := send[api.RetryResult](v, "POST /endpoints/{endpoint}/retry", nil, body, v.endpointName())
		return result.Done, result.Next, err
	})
	if err != nil {
		return err
	}
	return v.done("retry", count(done))
}

// resend sends an event once more to an endpoint that it was owed to.
func (v *visit) resend() error {
	id, endpoint := v.FormValue("event_id"), v.FormValue("endpoint")
	_, err := send[api.Delivery](v, "POST /events/{id}/resend", nil, map[string]string{"endpoint": endpoint}, id)
	if err != nil {
		return err
	}
	return v.done("redrive", "1")
}

// wrongAnswer is an answer of the API that a page did not expect: a fault of the program.
func wrongAnswer(route string, got any) error {
	return fmt.Errorf("%s gives %T", route, got)
}
