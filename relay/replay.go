package relay

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/api"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/logonce"
	"kuairelay/relay/queue"
	"kuairelay/relay/store"
)

const (
	// replayLook is how often a replica looks for replays that nobody works off.
	replayLook = 2 * time.Second
	// replaysHere is how many replays a process works off at one time. While others wait for their places, each has
	// replayTurn, and goes on later where it was.
	replaysHere = 16
	replayTurn  = 5 * time.Second
)

// replayer works off replays, several at one time: it hands what is sent again to the pool from memory, in a small
// share of the slots, so that nothing new waits behind it. Tenants and the operator take turns. Where a replay is, the
// store knows.
type replayer struct {
	store *store.Store
	pool  *deliver.Pool
	// match gives the endpoints that an event may be owed to by the routes in use.
	match func(*event.Event) []queue.Candidate
	// endpoints lists those of a tenant.
	endpoints func(tenant string) []string
	// most is how many replays of a tenant run at one time, in all replicas; 0: any number.
	most func(tenant string) int
	log  *zap.Logger

	wake chan struct{} // a place is free
	mu   sync.Mutex
	turns
	failed logonce.Change[string] // as it was logged
}

// turns say whose replay comes next in a process.
type turns struct {
	here    map[string]bool      // replays that are worked off here
	served  map[string]time.Time // when a replay, or one of a tenant, was last taken up here
	crowded bool                 // others wait for a place
}

func newReplayer(r *replayer) *replayer {
	r.wake = make(chan struct{}, 1)
	r.turns = turns{here: make(map[string]bool), served: make(map[string]time.Time)}
	return r
}

// run works off replays until ctx ends. It returns when those under way have been let go.
func (r *replayer) run(ctx context.Context) {
	tick := time.NewTicker(replayLook)
	defer tick.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
		}
		r.tell(ctx, r.takeUp(ctx, &running))
	}
}

// tell logs an error once.
func (r *replayer) tell(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if r.failed.To(logonce.Text(err)) && err != nil {
		r.log.Error("the store failed", zap.String("doing", "replay"), zap.Error(err))
	}
}

// takeUp begins with as many replays as there is room for.
func (r *replayer) takeUp(ctx context.Context, running *sync.WaitGroup) error {
	open, err := r.store.OpenReplays(ctx)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		r.mu.Lock()
		next := r.next(open, r.most)
		r.mu.Unlock()
		if next < 0 {
			return nil
		}

		o := &open[next]
		o.Taken = true // if not by us, then by another replica
		var others []string
		for _, x := range open {
			if x.Tenant == o.Tenant && x.ID != o.ID {
				others = append(others, x.ID)
			}
		}

		replay, ok, err := r.store.ClaimReplay(ctx, o.ID, others, r.most(o.Tenant))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		r.begin(*o, time.Now())
		running.Go(func() {
			err := r.workOff(ctx, replay)
			r.tell(ctx, err)
			r.end(replay.ID, err == nil)
		})
	}
	return nil
}

func (r *replayer) begin(o event.OpenReplay, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.here[o.ID], r.served[o.ID], r.served[tenantTurn+o.Tenant] = true, now, now
}

func (r *replayer) end(id string, well bool) {
	r.mu.Lock()
	delete(r.here, id)
	r.mu.Unlock()
	if !well {
		return // the next tick tries again
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// isOver says whether a replay that was taken up then has had its turn, and others wait.
func (r *replayer) isOver(taken time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crowded && time.Since(taken) > replayTurn
}

// tenantTurn begins the name of a tenant in served.
const tenantTurn = "of "

// next gives the index of the replay to take up, -1 if there is none, or no place: one of the tenant of whom the fewest
// run, then of whom one was taken up the longest ago here; of its replays that which was taken up the longest ago, then
// the oldest.
func (t *turns) next(open []event.OpenReplay, most func(tenant string) int) int {
	runs := make(map[string]int) // of each tenant
	known := make(map[string]bool)
	for _, o := range open {
		known[o.ID], known[tenantTurn+o.Tenant] = true, true
		if o.Taken || t.here[o.ID] {
			runs[o.Tenant]++
		}
	}
	for name := range t.served {
		if !known[name] {
			delete(t.served, name)
		}
	}

	best := -1
	for i, o := range open {
		m := most(o.Tenant)
		if o.Taken || t.here[o.ID] || m > 0 && runs[o.Tenant] >= m {
			continue
		}
		if best < 0 || cmp.Or(cmp.Compare(runs[o.Tenant], runs[open[best].Tenant]),
			t.served[tenantTurn+o.Tenant].Compare(t.served[tenantTurn+open[best].Tenant]),
			t.served[o.ID].Compare(t.served[open[best].ID])) < 0 {
			best = i
		}
	}
	t.crowded = len(t.here) >= replaysHere && best >= 0
	if t.crowded {
		return -1
	}
	return best
}

// resend is a part of a replay's page, and the slots that are reserved for it.
type resend struct {
	event.ReplayPage
	reserved map[string]int // by endpoint
}

// full says that a part is as much as one script call takes.
func (p *resend) full() bool { return len(p.Resends) >= replaySends }

// add takes a delivery into the part.
func (p *resend) add(s event.Resend, slot bool) {
	p.Resends = append(p.Resends, s)
	if !slot {
		return
	}
	if p.reserved == nil {
		p.reserved = make(map[string]int)
	}
	p.reserved[s.Endpoint]++
}

const (
	// replaySends bounds the deliveries that one script call queues, replayEvents the events of one page.
	replaySends  = 64
	replayEvents = 50
	// replayWait is how long a delivery that is sent again waits for a slot. Where none gets free for so long, it is
	// queued as any other.
	replayWait = 2 * time.Second
)

// workOff sends a replay that was taken up page by page, to its end, or until others wait for its place.
func (r *replayer) workOff(ctx context.Context, replay *event.Replay) error {
	taken := time.Now()
	defer r.store.ReleaseReplay(context.WithoutCancel(ctx), replay.ID)

	plan, err := api.PlanOf(*replay, r.endpoints)
	if err != nil {
		_, err = r.store.CancelReplay(ctx, replay.ID) // of another version: it would never end
		return err
	}
	r.log.Info("replay", zap.String("id", replay.ID), zap.String("state", "taken up"))

	// often a few, rather than many that what is new waits behind
	plan.Query.Most = min(replayEvents, max(1, plan.Rate/100))
	pace := taken
	for ctx.Err() == nil && !r.isOver(taken) {
		page, err := r.store.Events(ctx, plan.Query)
		if err != nil {
			return err
		}
		mine, err := r.send(ctx, replay.ID, plan, page)
		if err != nil || !mine {
			return err
		}
		if page.End {
			r.log.Info("replay", zap.String("id", replay.ID), zap.String("state", "done"))
			return nil
		}

		plan.Query.Cursor = page.Next
		if !plan.DryRun {
			pace = keepPace(ctx, pace, len(page.Events), plan.Rate)
		}
	}
	return nil
}

// keepPace waits until so many events may have been sent since a time, at a rate a second, and gives that time; it
// gives now if that was before: what was missed is not made up for.
func keepPace(ctx context.Context, since time.Time, events, rate int) time.Time {
	next := since.Add(time.Duration(events) * time.Second / time.Duration(max(1, rate)))
	ahead := time.Until(next)
	if ahead <= 0 {
		return time.Now()
	}
	select {
	case <-ctx.Done():
	case <-time.After(ahead):
	}
	return next
}

// send sends a page. It says whether the replay is still ours.
func (r *replayer) send(ctx context.Context, id string, plan api.Plan, page event.Page) (mine bool, err error) {
	s := &sending{replayer: r, id: id, looked: page.Looked}
	defer func() { r.pool.Start(s.part.reserved, nil) }() // after an error, what was reserved for nothing

	for _, e := range page.Events {
		resends, err := r.wanted(ctx, plan, e)
		if err != nil {
			return false, err
		}
		if plan.DryRun {
			s.part.Counted += len(resends)
		} else if mine, err := s.add(ctx, resends); err != nil || !mine {
			return false, err
		}

		// All deliveries of this event are in the part: the replay goes on behind it.
		s.part.Cursor = e.Next
		s.part.Looked++
		if len(resends) > 0 {
			s.part.Matched++
		}
	}

	s.part.Cursor = page.Next
	s.part.Looked = s.looked
	s.part.Done = page.End
	return s.flush(ctx)
}

// sending sends a page in parts. Each moves the replay on behind the last event of which it has all deliveries.
type sending struct {
	*replayer
	id     string
	part   resend
	looked int // events of the page that no part has counted
}

// add puts deliveries into the part, and sends it each time that it is full or has to make place.
func (s *sending) add(ctx context.Context, resends []event.Resend) (mine bool, err error) {
	for _, one := range resends {
		if s.part.full() {
			if mine, err := s.flush(ctx); err != nil || !mine {
				return false, err
			}
		}

		slot := s.pool.ReserveSome(one.Endpoint)
		if !slot && len(s.part.Resends) > 0 { // what holds slots goes first
			if mine, err := s.flush(ctx); err != nil || !mine {
				return false, err
			}
		}
		if !slot {
			slot = s.awaitSlot(ctx, one.Endpoint)
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}

		lease := s.pool.Lease(one.Endpoint)
		if lease == 0 {
			continue // a reload has taken the endpoint out of the config
		}
		if slot && !s.pool.Rated(one.Endpoint) { // else it is leased when its turn comes
			one.Lease = lease
		}
		s.part.add(one, slot)
	}
	return true, nil
}

// flush sends the part, and begins another one.
func (s *sending) flush(ctx context.Context) (mine bool, err error) {
	sent := s.part
	s.part = resend{}
	s.looked -= sent.Looked
	return s.queue(ctx, s.id, sent)
}

// awaitSlot waits for a slot of an endpoint, for at most replayWait.
func (r *replayer) awaitSlot(ctx context.Context, endpoint string) bool {
	ctx, cancel := context.WithTimeout(ctx, replayWait)
	defer cancel()
	return r.pool.AwaitSome(ctx, endpoint)
}

// queue queues some deliveries again, those that a slot is reserved for leased to us.
func (r *replayer) queue(ctx context.Context, id string, part resend) (mine bool, err error) {
	leased, mine, err := r.store.ReplayPage(ctx, id, part.ReplayPage)
	r.pool.Start(part.reserved, leased)
	for _, s := range part.Resends {
		if s.Lease == 0 {
			r.pool.Feed(s.Endpoint)
		}
	}
	return mine, err
}

// wanted lists the deliveries of an event that a replay sends.
func (r *replayer) wanted(ctx context.Context, plan api.Plan, e *event.Record) (out []event.Resend, err error) {
	if !plan.Reroute {
		for _, o := range e.Deliveries {
			if plan.Wants(o) && r.pool.Lease(o.Endpoint) > 0 { // one that is in no config any more has nobody to send it
				out = append(out, event.Resend{EventID: e.ID, Endpoint: o.Endpoint})
			}
		}
		return out, nil
	}

	// By today's routes, whose conditions are asked of the ledger: that of a changed status is taken to hold.
	whole, ok, err := r.store.Event(ctx, e.ID, "")
	if err != nil || !ok {
		return nil, err
	}
	for _, c := range r.match(kuaidihelp.Reread(whole.Event)) {
		owed := c.When&(event.Always|event.IfChanged) != 0
		if !owed {
			tenant, _, _ := strings.Cut(c.Endpoint, "/")
			_, owed, err = r.store.Subscription(ctx, tenant, event.Waybill{CPCode: e.CPCode, Code: e.WaybillCode})
			if err != nil {
				return nil, err
			}
		}
		if owed && plan.Wants(event.DeliveryRecord{Endpoint: c.Endpoint}) {
			out = append(out, event.Resend{EventID: e.ID, Endpoint: c.Endpoint, Add: true})
		}
	}
	return out, nil
}
