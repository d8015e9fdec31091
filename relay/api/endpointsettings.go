package api

import "time"

// EndpointSettings are the settings of an endpoint, with the defaults filled in. Spans are written as in the config.
type EndpointSettings struct {
	Timeout          string           `json:"timeout" doc:"of a whole attempt, like 15s"`
	Retry            []string         `json:"retry" doc:"the pauses after the first attempt, the second, and so on"`
	AttemptsMax      int              `json:"attempts_max" doc:"attempts that a delivery gets at most"`
	MaxInFlight      int              `json:"max_in_flight" doc:"attempts at one time, of each relay"`
	Rate             float64          `json:"rate" doc:"attempts a second, of all relays together; 0: no limit"`
	MaxAge           string           `json:"max_age" doc:"age at which a delivery becomes a dead letter"`
	MaxBacklog       int              `json:"max_backlog" doc:"deliveries that it keeps while it is paused, gone or failing"`
	Order            string           `json:"order" doc:"waybill: the updates of a waybill one at a time, in their order; or none"`
	Format           string           `json:"format" doc:"standard or kuaidihelp"`
	Breaker          BreakerSettings  `json:"breaker" doc:"when nothing is sent to it because it keeps failing"`
	Secrets          []SecretSettings `json:"secrets" doc:"one for each secret that signs at present; their values are never shown"`
	Headers          []string         `json:"headers" doc:"names of the headers that every request has; their values are never shown"`
	CertificateUntil time.Time        `json:"certificate_until,omitzero" doc:"when the TLS client certificate ends"`
	At               string           `json:"at" doc:"file and line of the config"`
}

// BreakerSettings say when a breaker opens, and for how long.
type BreakerSettings struct {
	Failures   int     `json:"failures" doc:"attempts in a row that fail, or as many in the window; 0: it never opens"`
	Ratio      float64 `json:"ratio" doc:"share of the attempts in the window that fail, 0 to 1"`
	Window     string  `json:"window" doc:"the window"`
	CoolOff    string  `json:"cool_off" doc:"pause before the first probe; each probe that fails doubles it"`
	MaxCoolOff string  `json:"max_cool_off" doc:"the longest pause"`
}

// SecretSettings is a secret that signs, without its value.
type SecretSettings struct {
	Until time.Time `json:"until,omitzero" doc:"when it ends; none: it does not"`
}
