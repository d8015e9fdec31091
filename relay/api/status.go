package api

import (
	"cmp"
	"context"
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
	ProblemList []StatusProblem       `json:"problem_list" doc:"the same with all that is known of each, and notices: the worst first, then the oldest"`
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
	Removed     *Removed              `json:"removed,omitempty" doc:"what endpoints hold that are in no config, in addition; none: there are none. For the operator only"`
	OldestAt    time.Time             `json:"oldest_at,omitzero" doc:"when the oldest open delivery was accepted; it may be older"`
	LastEventAt time.Time             `json:"last_event_at,omitzero" doc:"when the latest event was accepted"`
	LastCallAt  time.Time             `json:"last_callback_at,omitzero" doc:"when the latest callback came, at any replica; for the operator only"`
	Silent      bool                  `json:"silent" doc:"whether no callback came for longer than callback.silence; for the operator only"`
	Replays     int                   `json:"replays" doc:"number of running replays"`
	Quarantined int                   `json:"quarantined" doc:"callbacks that were not understood; for the operator only"`
	Attention   []EndpointHealth      `json:"attention" doc:"endpoints that are parked or failing, or have dead letters, the worst 20"`
}

// Removed is what endpoints hold that are in no config any more.
type Removed struct {
	Endpoints int   `json:"endpoints" doc:"how many hold something"`
	Open      int64 `json:"open" doc:"their deliveries queued or retrying"`
	Waiting   int64 `json:"waiting" doc:"their deliveries behind an older update of their waybill"`
	Dead      int64 `json:"dead" doc:"their dead letters"`
}

// maxAttention is the most endpoints that a status shows, and the number of latest attempts that it reads of each.
const maxAttention = 20

// readStatus gives a summary of the relay. Without Redis it answers too, with less.
func readStatus(c *call) (Status, error) {
	r := c.reader()
	if err := r.end(); err != nil {
		return Status{}, err
	}

	s := c.snapshot()
	out, facts := c.sumUp(s)
	err := c.errOf(s)
	if err == nil {
		facts.Doing = "list events"
		out.LastEventAt, err = c.lastEvent()
	}
	if err != nil {
		out.Partial = true
		facts.Cause = c.cause(err)
	}

	out.addProblems(facts)
	return out, nil
}

// sumUp is the caller's status by a snapshot, and what the rules look at, without a command to Redis.
func (c *call) sumUp(s *snapshot) (Status, Facts) {
	names := c.settings.names
	if c.tenant != "" {
		names = c.settings.endpointsOf(c.tenant)
	}
	replica := c.o.ReplicaStatus() // as it is now: what it knows of itself costs nothing
	out := Status{
		Version:     c.o.Version,
		Time:        utc(c.now()),
		UptimeS:     int64(time.Since(c.began).Seconds()),
		Ready:       replica.Durable,
		Status:      replica.Status,
		Problems:    []string{},
		ProblemList: []StatusProblem{},
		Endpoints:   len(names),
		States:      map[EndpointState]int{},
		Attention:   []EndpointHealth{},
	}
	facts := Facts{Now: c.now(), Doing: s.doing}
	for _, w := range s.whenFailures {
		if c.tenant == "" || w.Tenant == c.tenant {
			facts.WhenFailures = append(facts.WhenFailures, w)
		}
	}
	for _, s := range c.o.SecretEnds() {
		if c.tenant == "" || s.Tenant == c.tenant {
			facts.SecretEnds = append(facts.SecretEnds, s)
		}
	}
	facts.addNotices(c.o.NoticeFailures(), s.replicas, c.tenant)
	if c.tenant == "" {
		out.addReplica(replica)
		facts.Replica = replica
		facts.addOperators(s)
		if removed := s.removed; removed.Endpoints > 0 {
			out.Removed = &removed
		}
	}

	// If Redis does not answer, the status is partial, and says so.
	if s.endpoints != nil {
		facts.Endpoints = c.addEndpoints(&out, s, names)
	}
	c.addReplays(&out, s)
	return out, facts
}

// errOf is the first question that Redis did not answer of those whose answers the caller may see.
func (c *call) errOf(s *snapshot) error {
	if c.tenant != "" && s.forOperator {
		return nil
	}
	return s.err
}

// addReplica adds what only the operator may know of the replica.
func (s *Status) addReplica(replica ReplicaStatus) {
	s.Redis = replica.Redis
	s.Spool = replica.Spool
	s.Spooled = replica.Spooled
	s.SpooledAt = utc(replica.SpooledSince)
	s.Config = &replica.Config
	s.LastCallAt = utc(replica.LastCallbackAt)
	s.Silent = replica.Silent
}

// addOperators adds the facts that only the operator may know.
func (f *Facts) addOperators(s *snapshot) {
	f.Replicas = s.replicas
	f.Unknown = s.unknown
	f.MoreUnknown = s.removed.Endpoints - len(s.unknown)
	f.Quarantined = s.quarantined
	f.Work = s.work
	f.UnfinishedSince = s.unfinishedSince
}

// addEndpoints counts the caller's endpoints, and shows the worst of them. It returns what the rules look at.
func (c *call) addEndpoints(out *Status, s *snapshot, names []string) (facts []EndpointFacts) {
	for _, name := range names {
		e, known := s.endpoints[name]
		state := stateOfEndpoint(e.EndpointHealth)
		out.States[state]++
		if !known || state == EndpointOK && e.Open+e.Waiting+e.Dead == 0 {
			continue
		}
		health := c.showEndpoint(e.EndpointHealth)
		out.add(health)
		facts = append(facts, EndpointFacts{
			EndpointHealth: health, LatestDead: utc(e.latestDead), LastHour: e.lastHour,
		})
	}

	slices.SortStableFunc(out.Attention, func(a, b EndpointHealth) int {
		return cmp.Or(cmp.Compare(rankOf(a), rankOf(b)), cmp.Compare(holds(b), holds(a)))
	})
	out.Attention = out.Attention[:min(maxAttention, len(out.Attention))]
	return facts
}

// add counts what an endpoint holds, and notes it if it needs attention.
func (s *Status) add(e EndpointHealth) {
	s.Open += e.Open
	s.Waiting += e.Waiting
	s.Dead += e.Dead
	if !e.OldestAt.IsZero() && (s.OldestAt.IsZero() || e.OldestAt.Before(s.OldestAt)) {
		s.OldestAt = e.OldestAt
	}
	good := (e.State == EndpointOK || e.State == EndpointIdle) && e.Dead == 0
	if !good {
		s.Attention = append(s.Attention, e)
	}
}

// rankOf orders endpoints by what is wrong with them, the worst first.
func rankOf(e EndpointHealth) int { return troubleOf(e.State, e.Dead > 0) }

// holds is how much an endpoint holds.
func holds(e EndpointHealth) int64 { return e.Open + e.Waiting + e.Dead }

// addReplays counts the caller's replays that are under way.
func (c *call) addReplays(out *Status, s *snapshot) {
	for _, r := range s.replays {
		if c.tenant == "" || r.Tenant == c.tenant {
			out.Replays++
		}
	}
	if c.tenant == "" {
		out.Quarantined = s.quarantined.All
	}
}

// addProblems adds what needs a person.
func (s *Status) addProblems(f Facts) {
	s.ProblemList = append(s.ProblemList, Problems(f)...)
	for _, p := range s.ProblemList {
		s.Problems = append(s.Problems, p.sentences...)
	}
}

// lastEvent is when the latest event of somebody was accepted, or why that is not known.
type lastEvent struct {
	at  time.Time
	err error
}

// lastEvent says when the caller's latest event was accepted. It is asked for as seldom as a snapshot, for each tenant.
func (c *call) lastEvent() (time.Time, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx()), snapshotMost)
	defer cancel()
	last := c.lastEvents.of(c.tenant).get(nil, func() (lastEvent, bool) {
		// Only the latest event is read, for its time.
		page, err := c.events.Events(ctx, event.Query{Most: 1, Endpoints: c.ownEndpoints()})
		var out lastEvent
		out.err = err
		for _, e := range page.Events {
			out.at = e.AcceptedAt
		}
		return out, err == nil
	})
	return utc(last.at), last.err
}

// ownEndpoints are those that a tenant's lists are limited to; nil for the operator.
func (c *call) ownEndpoints() []string {
	if c.tenant == "" {
		return nil
	}
	return c.settings.endpointsOf(c.tenant)
}
