package api

import (
	"fmt"
	"slices"
	"time"

	"kuairelay/relay/event"
)

// Status sums up the relay, within what the caller may see.
type Status struct {
	Version     string                `json:"version" doc:"version of the relay"`
	Time        time.Time             `json:"time" doc:"the relay's time"`
	UptimeS     int64                 `json:"uptime_s" doc:"of the replica that answers"`
	Ready       bool                  `json:"ready" doc:"whether callbacks can be accepted durably"`
	Status      Readiness             `json:"status" doc:"ready, degraded (callbacks are accepted durably, but something is wrong), or unready"`
	Problems    []string              `json:"problems" doc:"what needs a person now, or soon; each is a sentence"`
	Partial     bool                  `json:"partial,omitempty" doc:"Redis does not answer: what comes from it is missing"`
	Redis       string                `json:"redis,omitempty" doc:"up, embedded, or what is wrong and why; of the replica that answers, for the operator only"`
	Spool       string                `json:"spool,omitempty" doc:"ok, or why it takes nothing; for the operator only"`
	Spooled     int                   `json:"spooled,omitempty" doc:"callbacks that wait in the spool; for the operator only"`
	SpooledAt   time.Time             `json:"spooled_at,omitzero" doc:"when the oldest of them came"`
	Config      *ConfigInUse          `json:"config,omitempty" doc:"for the operator only"`
	Endpoints   int                   `json:"endpoints" doc:"number of endpoints"`
	States      map[EndpointState]int `json:"states" doc:"endpoints by state"`
	Open        int64                 `json:"open" doc:"deliveries queued, retrying or being sent"`
	Waiting     int64                 `json:"waiting" doc:"deliveries behind an older update of their waybill"`
	Dead        int64                 `json:"dead" doc:"dead letters"`
	OldestAt    time.Time             `json:"oldest_at,omitzero" doc:"when the oldest open delivery was accepted; it may be older"`
	LastEventAt time.Time             `json:"last_event_at,omitzero" doc:"when the latest event was accepted"`
	LastCallAt  time.Time             `json:"last_callback_at,omitzero" doc:"when the latest callback came, at any replica; for the operator only"`
	Silent      bool                  `json:"silent" doc:"whether no callback came for longer than callback.silence; for the operator only"`
	Replays     int                   `json:"replays" doc:"number of running replays"`
	Quarantined int                   `json:"quarantined" doc:"callbacks that were not understood; for the operator only"`
	Attention   []EndpointHealth      `json:"attention" doc:"endpoints that are parked or failing, or have dead letters, at most 20"`
}

// maxAttention is the most endpoints that a status shows, and the number of latest attempts that it reads of each.
const maxAttention = 20

// readStatus gives a summary of the relay. Without Redis it answers too, with less.
func readStatus(c *call) (Status, error) {
	r := c.reader()
	if err := r.end(); err != nil {
		return Status{}, err
	}

	names := c.settings.names
	if c.tenant != "" {
		names = c.settings.endpointsOf(c.tenant)
	}
	replica := c.o.ReplicaStatus(c.ctx())
	out := Status{
		Version:   c.o.Version,
		Time:      utc(c.now()),
		UptimeS:   int64(time.Since(c.began).Seconds()),
		Ready:     replica.Durable,
		Status:    replica.Status,
		Problems:  []string{},
		Endpoints: len(names),
		States:    map[EndpointState]int{},
		Attention: []EndpointHealth{},
	}
	if c.tenant == "" {
		out.addReplica(replica)
		last, silent := c.o.LastCallback()
		out.LastCallAt = utc(last)
		out.Silent = silent
	}

	// If Redis does not answer, the status is partial, and says so.
	if doing, err := c.askStore(&out, names); err != nil {
		out.Partial = true
		out.Problems = append(out.Problems, "cannot "+doing+": "+c.cause(err))
	}
	return out, nil
}

// addReplica adds what only the operator may know of the replica.
func (s *Status) addReplica(replica ReplicaStatus) {
	s.Problems = append(s.Problems, replica.Problems...)
	s.Redis = replica.Redis
	s.Spool = replica.Spool
	s.Spooled = replica.Spooled
	s.SpooledAt = utc(replica.SpooledSince)
	s.Config = &replica.Config
}

// askStore adds what only Redis knows. After an error, doing is the step that failed, and out may have a part.
func (c *call) askStore(out *Status, names []string) (doing string, err error) {
	for part := range slices.Chunk(names, maxLimit) {
		health, err := c.endpoints.Health(c.ctx(), part, maxAttention)
		if err != nil {
			return "look at endpoints", err
		}
		for _, h := range health {
			out.add(c.showEndpoint(h))
		}
	}

	// Only the latest event is read, for its time.
	latest, err := c.events.Events(c.ctx(), event.Query{Most: 1, Endpoints: c.ownEndpoints()})
	if err != nil {
		return "list events", err
	}
	for _, e := range latest.Events {
		out.LastEventAt = utc(e.AcceptedAt)
	}

	replays, err := c.replays.OpenReplays(c.ctx())
	if err != nil {
		return "list replays", err
	}
	for _, r := range replays {
		if c.tenant == "" || r.Tenant == c.tenant {
			out.Replays++
		}
	}

	if c.tenant == "" {
		return c.askForOperator(out)
	}
	return "", nil
}

// askForOperator adds what only Redis knows, and only the operator may know.
func (c *call) askForOperator(out *Status) (doing string, err error) {
	out.Quarantined, err = c.quarantine.CountQuarantined(c.ctx())
	if err != nil {
		return "count quarantine", err
	}
	orphans, err := c.orphans()
	if err != nil {
		return "look for endpoints that are not in the config", err
	}
	out.Problems = append(out.Problems, orphans...)
	return "", nil
}

// orphans says which endpoints have deliveries but are not in the config. It names at most five.
func (c *call) orphans() (all []string, err error) {
	const most = 5
	names, err := c.endpoints.ActiveEndpoints(c.ctx())
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return c.settings.endpoints[name] != nil })

	more := len(names) - most
	health, err := c.endpoints.Health(c.ctx(), names[:min(most, len(names))], 0)
	if err != nil {
		return nil, err
	}
	for _, h := range health {
		if h.Open+h.Waiting+h.Dead > 0 {
			all = append(all, fmt.Sprintf("%s is not in the config, and has %d open deliveries and %d dead letters; "+
				"open ones become dead letters after delivery.orphan_grace", h.Endpoint, h.Open+h.Waiting, h.Dead))
		}
	}
	if more > 0 {
		all = append(all, fmt.Sprintf("%d more endpoints with deliveries are not in the config", more))
	}
	return all, nil
}

// ownEndpoints are those that a tenant's lists are limited to; nil for the operator.
func (c *call) ownEndpoints() []string {
	if c.tenant == "" {
		return nil
	}
	return c.settings.endpointsOf(c.tenant)
}

// add counts an endpoint, and shows it if it needs attention.
func (s *Status) add(e EndpointHealth) {
	s.States[e.State]++
	s.Open += e.Open
	s.Waiting += e.Waiting
	s.Dead += e.Dead
	if !e.OldestAt.IsZero() && (s.OldestAt.IsZero() || e.OldestAt.Before(s.OldestAt)) {
		s.OldestAt = e.OldestAt
	}

	good := (e.State == EndpointOK || e.State == EndpointIdle) && e.Dead == 0
	if !good && len(s.Attention) < maxAttention {
		s.Attention = append(s.Attention, e)
	}
}
