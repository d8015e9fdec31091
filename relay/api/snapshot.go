package api

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

// What all ask is made at most every freshLeast, or freshShare times as long as it last took to make, if that is more:
// a fiftieth of the time at most, whoever asks. After an act, whose effect people look for, it is made sooner: at most
// a tenth of the time, however many act.
const (
	freshLeast    = 2 * time.Second
	freshShare    = 50
	freshActShare = 10
)

// fresh keeps what is dear to make, for all who ask for it. The zero fresh has nothing yet.
type fresh[T any] struct {
	mu    sync.Mutex
	value T
	until time.Time
	// acted says that something was done since value was made, which therefore is used until soon only.
	acted atomic.Bool
	soon  time.Time
}

// get returns the value, and makes it anew if it is too old; those who ask meanwhile wait for it. make says whether it
// is whole: one that is not, because Redis did not answer, is made again soon, however long that took. wrong says
// whether a value is known to be wrong before its time; nil: it never is.
func (f *fresh[T]) get(wrong func(T) bool, make func() (value T, whole bool)) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	began := time.Now()
	until := f.until
	if f.acted.Load() {
		until = f.soon
	}
	if began.Before(until) && (wrong == nil || !wrong(f.value)) {
		return f.value
	}

	f.acted.Store(false) // what is done from now on may not be in the value
	value, whole := make()
	f.value = value
	now := time.Now()
	f.soon = now.Add(freshActShare * now.Sub(began))
	f.until = now.Add(freshLeast)
	if whole {
		f.until = now.Add(max(freshLeast, freshShare*now.Sub(began)))
	}
	return value
}

const (
	// snapshotMost is how long making a snapshot may take.
	snapshotMost = 30 * time.Second
	// idleLooks is how many endpoints that have nothing a snapshot asks for, in turn: of few endpoints all, and of ten
	// thousand a few. The others are as they were when they were last asked for.
	idleLooks = 20
	// unknownNamed is how many of the endpoints that are in no config are named.
	unknownNamed = 5
)

// snapshot is what the relay is known to be like: one for everybody who asks this process. It is not changed once it is
// made.
type snapshot struct {
	replicas []Replica

	// endpoints are those of the config that have something, or had when they were last asked for. All others are idle.
	endpoints map[string]endpointNow
	// unknown are some endpoints that hold something, and are in no config. removed is what all of them hold.
	unknown []queue.EndpointHealth
	removed Removed
	// busy are the names of all endpoints that have something, in a config or not, sorted.
	busy []string

	replays         []event.OpenReplay
	quarantined     event.QuarantineCount
	work            ledger.Work
	unfinishedSince time.Time
	whenFailures    []WhenFailure

	// err is the first question that Redis did not answer, and doing says which it was; what comes after it is missing.
	// forOperator: it is only the operator's.
	err         error
	doing       string
	forOperator bool
}

// latest is the present snapshot, with what the next one takes over. That is used only while one is made.
type latest struct {
	fresh[*snapshot]
	known    map[string]endpointNow
	nextIdle int // where the next look at endpoints that have nothing begins
}

// each has a T for each tenant that asked (empty: the operator). Those of tenants that are no more go with the next
// config.
type each[T any] struct {
	mu  sync.Mutex
	all map[string]*T
}

// of gives the one of a tenant.
func (f *each[T]) of(tenant string) *T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = make(map[string]*T)
	}
	if f.all[tenant] == nil {
		f.all[tenant] = new(T)
	}
	return f.all[tenant]
}

// clear forgets all.
func (f *each[T]) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.all)
}

// endpointNow is an endpoint in a snapshot.
type endpointNow struct {
	queue.EndpointHealth
	latestDead time.Time
	lastHour   DayCell
}

// snapshot gives the present one.
func (c *call) snapshot() *snapshot { return c.snapshotWithin(c.ctx()) }

// snapshotWithin gives the present one. What is done for it goes on when ctx ends: it is for others, too.
func (c *call) snapshotWithin(ctx context.Context) *snapshot {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), snapshotMost)
	defer cancel()
	// While Redis is known to be down, asking it costs nothing.
	down := c.o.ReplicaStatus().RedisState == "down"
	whole := func(s *snapshot) bool { return s.err == nil }
	return c.latest.get(func(s *snapshot) bool { return down && whole(s) }, func() (*snapshot, bool) {
		s := c.take(ctx, c.settings)
		return s, whole(s)
	})
}

// take makes a snapshot.
func (c *API) take(ctx context.Context, set *settings) *snapshot {
	c.o.Probe(ctx)
	s := &snapshot{whenFailures: c.o.WhenFailures()}
	for _, question := range c.questions(ctx, set, s) {
		s.err = question.ask()
		if s.err != nil {
			s.doing = question.doing
			s.forOperator = question.forOperator
			break
		}
	}
	return s
}

// question is one that a snapshot asks Redis.
type question struct {
	doing       string
	forOperator bool // its answer is only for the operator
	ask         func() error
}

// questions are all that a snapshot asks. Each fills in its answer.
func (c *API) questions(ctx context.Context, set *settings, s *snapshot) []question {
	return []question{
		{doing: "look at endpoints", ask: func() error { return c.takeEndpoints(ctx, set, s) }},
		{doing: "list replays", ask: func() (err error) {
			s.replays, err = c.replays.OpenReplays(ctx)
			return err
		}},
		{doing: "count quarantine", forOperator: true, ask: func() (err error) {
			s.quarantined, err = c.quarantine.CountQuarantined(ctx, c.now().Add(-risingWithin))
			return err
		}},
		{doing: "list replicas", forOperator: true, ask: func() (err error) {
			s.replicas, err = c.o.Replicas(ctx)
			return err
		}},
		{doing: "count unfinished subscriptions", forOperator: true, ask: func() (err error) {
			s.work, s.unfinishedSince, err = c.o.Work(ctx)
			return err
		}},
	}
}

// takeEndpoints asks for the endpoints that have something, and for some of the others.
func (c *API) takeEndpoints(ctx context.Context, set *settings, s *snapshot) error {
	busy, err := c.endpoints.Busy(ctx)
	if err != nil {
		return err
	}
	latestDead := make(map[string]time.Time, len(busy))
	var known, unknown []string
	for _, b := range busy {
		latestDead[b.Endpoint] = b.LatestDead
		s.busy = append(s.busy, b.Endpoint)
		if set.endpoints[b.Endpoint] != nil {
			known = append(known, b.Endpoint)
		} else {
			unknown = append(unknown, b.Endpoint)
		}
	}

	slices.Sort(s.busy)

	now := make(map[string]endpointNow, len(c.latest.known))
	for part := range slices.Chunk(known, maxLimit) {
		health, err := c.endpoints.Health(ctx, part, maxAttention)
		if err != nil {
			return err
		}
		for _, h := range health {
			now[h.Endpoint] = endpointNow{EndpointHealth: h, latestDead: latestDead[h.Endpoint]}
		}
	}
	if err := c.takeHours(ctx, known, now); err != nil {
		return err
	}
	if err := c.takeIdle(ctx, set, now); err != nil {
		return err
	}

	if err := c.takeRemoved(ctx, unknown, s); err != nil {
		return err
	}
	s.endpoints = now
	c.latest.known = now
	return nil
}

// takeRemoved asks for what endpoints hold that are in no config. Those that are only paused hold nothing.
func (c *API) takeRemoved(ctx context.Context, names []string, s *snapshot) error {
	for part := range slices.Chunk(names, maxLimit) {
		health, err := c.endpoints.Health(ctx, part, 0)
		if err != nil {
			return err
		}
		for _, h := range health {
			if h.Open+h.Waiting+h.Dead == 0 {
				continue
			}
			s.removed.Endpoints++
			s.removed.Open += h.Open
			s.removed.Waiting += h.Waiting
			s.removed.Dead += h.Dead
			if len(s.unknown) < unknownNamed {
				s.unknown = append(s.unknown, h)
			}
		}
	}
	return nil
}

// hoursMost is how many of the endpoints that have something are asked for their last hour.
const hoursMost = 100

// takeHours adds what came of the attempts of the last hour to endpoints that have something. These are read once in
// dayFor at most.
func (c *API) takeHours(ctx context.Context, known []string, now map[string]endpointNow) error {
	days, err := c.Days(ctx, known[:min(hoursMost, len(known))])
	if err != nil {
		return err
	}
	for name, day := range days {
		is := now[name]
		is.lastHour = day.LastHour()
		now[name] = is
	}
	return nil
}

// takeIdle adds the endpoints of the config that have nothing: some are asked for, the others are as they were.
func (c *API) takeIdle(ctx context.Context, set *settings, now map[string]endpointNow) error {
	var asked []string
	looked := 0
	for ; looked < len(set.names) && len(asked) < idleLooks; looked++ {
		name := set.names[(c.latest.nextIdle+looked)%len(set.names)]
		if _, busy := now[name]; !busy {
			asked = append(asked, name)
		}
	}
	c.latest.nextIdle += looked

	delivered, err := c.endpoints.LastDelivered(ctx, asked)
	if err != nil {
		return err
	}
	for name, was := range c.latest.known {
		if _, busy := now[name]; !busy && set.endpoints[name] != nil {
			now[name] = was.idle()
		}
	}
	for i, name := range asked {
		is := now[name].deliveredAt(delivered[i])
		is.Endpoint = name
		if len(is.Latest) > 0 {
			now[name] = is
		} else {
			delete(now, name)
		}
	}
	return nil
}

// idle is an endpoint that has nothing any more: what remains are its latest two attempts.
func (e endpointNow) idle() endpointNow {
	is := queue.EndpointHealth{
		Endpoint: e.Endpoint, Delivered: e.Delivered, AnswersTwice: e.AnswersTwice,
		FailedInRow: e.FailedInRow, FailingSince: e.FailingSince,
	}
	is.Latest = slices.Clone(e.Latest[:min(2, len(e.Latest))])
	return endpointNow{EndpointHealth: is}
}

// deliveredAt is the endpoint with the latest delivery of its history. None: its history has ended.
func (e endpointNow) deliveredAt(at time.Time) endpointNow {
	switch {
	case at.IsZero() && e.FailedInRow > 0:
		return e
	case at.IsZero():
		return endpointNow{}
	case len(e.Latest) == 0 || at.After(e.Latest[0].At):
		e.Latest = []event.AttemptRecord{{At: at, Status: 200}}
		e.FailedInRow = 0
		e.FailingSince = time.Time{}
	}
	e.Delivered = at
	return e
}
