package console

import (
	"fmt"
	"strings"

	"kuairelay/relay/api"
)

// endpointSettings are those of an endpoint, as the config calls them.
func (v *visit) endpointSettings(s *api.EndpointSettings) []field {
	if s == nil {
		return nil
	}
	breaker := v.t("off")
	if s.Breaker.Failures > 0 {
		breaker = v.t("endpoint.breaker", s.Breaker.Failures, s.Breaker.CoolOff, s.Breaker.MaxCoolOff)
	}
	out := []field{
		{"timeout", s.Timeout},
		{"retry", strings.Join(s.Retry, ", ")},
		{"max_in_flight", count(s.MaxInFlight)},
		{"max_age", s.MaxAge},
		{"order", s.Order},
		{"breaker", breaker},
		{"secrets", count(len(s.Secrets))},
	}

	// What few endpoints have comes last.
	if s.Rate > 0 {
		out = append(out, field{"rate", v.t("endpoint.rate", fmt.Sprint(s.Rate))})
	}
	for _, secret := range s.Secrets {
		if end := v.moment(secret.Until); end.ISO != "" {
			out = append(out, field{"secrets", v.t("endpoint.secret.ends", end.Text)})
		}
	}
	if len(s.Headers) > 0 {
		out = append(out, field{"headers", visible(strings.Join(s.Headers, ", "))})
	}
	if end := v.moment(s.CertificateUntil); end.ISO != "" {
		out = append(out, field{"tls", end.Text})
	}
	return out
}
