package relay

import (
	"cmp"
	"context"
	"fmt"
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
)

const (
	// replayLook is how often a replica looks for replays that no replica works off.
	replayLook = 2 * time.Second
	// replaysHere is how many replays a process works off at the same time. While others wait for a place, each has
	// replayTurn, and goes on later where it was.
	replaysHere = 16
	replayTurn  = 5 * time.Second
)

// replayer works off replays, several at the same time. It hands deliveries to the pool from memory, in a small share
// of the slots, so that new deliveries do not wait behind them. Tenants and the operator take turns. The store knows
// how far each replay is.
type replayer struct {
	store *stores
	pool  *deliver.Pool
	// match returns the endpoints that an event may be owed to by the routes in use.
	match func(*event.Event) []queue.Candidate
	// endpoints returns the endpoints of a tenant.
	endpoints func(tenant string) []string
	// most is how many replays of a tenant run at the same time, over all replicas; 0: any number.
	most func(tenant string) int
	log  *zap.Logger

	wake chan struct{} // a place is free
	mu   sync.Mutex
	turns
	failed logonce.Change[string] // the last error that was logged
}

// turns decide whose replay is next in a process.
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

// run works off replays until ctx ends. It returns when the claims of those under way are released.
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
		r.logError(ctx, r.claimOpen(ctx, &running))
	}
}

// logError logs an error once, until it changes.
func (r *replayer) logError(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if r.failed.To(logonce.Text(err)) && err != nil {
		r.log.Error("the store failed", zap.String("doing", "replay"), zap.Error(err))
	}
}

// claimOpen claims as many open replays as there are places for, and begins to work them off.
func (r *replayer) claimOpen(ctx context.Context, running *sync.WaitGroup) error {
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
		o.Taken = true // by this replica, or else by another one
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
			r.logError(ctx, err)
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

// isOver says whether a replay that was claimed at a time has had its turn, and others wait.
func (r *replayer) isOver(taken time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crowded && time.Since(taken) > replayTurn
}

// tenantTurn is the beginning of a tenant's name in served.
const tenantTurn = "of "

// next returns the index of the replay to claim, -1 if there is none, or no place. It prefers, in this order: the
// tenant with the fewest running replays; the tenant whose last claim here is the oldest; of its replays, the one whose
// last claim here is the oldest; the oldest replay.
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

// pagePart is a part of a replay's page, with the slots that are reserved for it.
type pagePart struct {
	event.ReplayPage
	reserved map[string]int // by endpoint
}

// full says that the part is as large as one script call may be.
func (p *pagePart) full() bool { return len(p.Resends) >= replaySends }

// add adds a delivery to the part.
func (p *pagePart) add(s event.Resend, slot bool) {
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
	// replaySends bounds the deliveries of one script call, replayEvents the events of one page.
	replaySends  = 64
	replayEvents = 50
	// replayWait is how long a delivery waits for a slot. If none is free by then, the delivery is queued like any other.
	replayWait = 2 * time.Second
)

// workOff sends a claimed replay page by page, to its end, or until others wait for its place.
func (r *replayer) workOff(ctx context.Context, replay *event.Replay) error {
	taken := time.Now()
	defer r.store.ReleaseReplay(context.WithoutCancel(ctx), replay.ID)

	plan, err := api.PlanOf(*replay, r.endpoints)
	if err != nil {
		_, err = r.store.CancelReplay(ctx, replay.ID, "its request is of another version") // it would never end
		return err
	}
	r.log.Info("replay", zap.String("id", replay.ID), zap.String("state", "running"))

	// Few events at a time, and often: new events must not wait behind many.
	plan.Query.Most = min(replayEvents, max(1, plan.Rate/100))
	pace := taken
	for ctx.Err() == nil && !r.isOver(taken) {
		page, err := plan.Page(ctx, r.store)
		if err != nil {
			return err
		}
		mine, err := r.send(ctx, replay.ID, plan, page)
		if err != nil || !mine {
			return err
		}
		if page.End {
			r.log.Info("replay", zap.String("id", replay.ID), zap.String("state", "done"))
			return r.tellEnd(ctx, replay.ID, plan.Told())
		}

		plan.Query.Cursor = page.Next
		if !plan.DryRun {
			pace = keepPace(ctx, pace, len(page.Events), plan.Rate)
		}
	}
	return nil
}

// tellEnd writes into the logs of endpoints that a replay has ended.
func (r *replayer) tellEnd(ctx context.Context, id string, endpoints []string) error {
	if len(endpoints) == 0 {
		return nil
	}
	ended, known, err := r.store.Replay(ctx, id)
	if err != nil || !known {
		return err
	}
	for _, endpoint := range endpoints {
		e := event.LogEntry{What: event.LogReplayEnded, Replay: id, N: int(ended.Queued)}
		if err := r.store.NoteEndpoint(ctx, endpoint, e); err != nil {
			return err
		}
	}
	return nil
}

// keepPace waits until so many events may have been sent since a time, at a rate a second, and returns that time; or
// now, if that is later: missed events are not made up for.
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

// send sends a page. It returns false if the replay is no longer this replica's.
func (r *replayer) send(ctx context.Context, id string, plan api.Plan, page event.Page) (mine bool, err error) {
	s := &pageSender{replayer: r, id: id, looked: page.Looked}
	defer func() { r.pool.Start(s.part.reserved, nil) }() // after an error: slots that were not used

	all, over, err := r.wantedOf(ctx, id, plan, page.Events)
	if err != nil || over {
		return false, err
	}
	for i, e := range page.Events {
		w := all[i]
		if plan.DryRun {
			s.part.Counted += len(w.resends)
			s.part.CountedDead += w.dead
		} else if mine, err := s.add(ctx, w.resends); err != nil || !mine {
			return false, err
		}

		// All deliveries of this event are in the part, so the cursor moves past it.
		s.part.Cursor = e.Next
		s.part.Left += w.left
		s.part.Looked++
		if len(w.resends) > 0 {
			s.part.Matched++
		}
	}

	s.part.Cursor = page.Next
	s.part.Looked = s.looked
	s.part.Done = page.End
	return s.flush(ctx)
}

// pageSender sends a page in parts. Each part moves the cursor past the last event that is complete.
type pageSender struct {
	*replayer
	id     string
	part   pagePart
	looked int // events of the page that no part has counted
}

// add adds deliveries to the part, and sends the part whenever it is full, or has to free its slots.
func (s *pageSender) add(ctx context.Context, resends []event.Resend) (mine bool, err error) {
	for _, one := range resends {
		if s.part.full() {
			if mine, err := s.flush(ctx); err != nil || !mine {
				return false, err
			}
		}

		slot := s.pool.ReserveSome(one.Endpoint)
		if !slot && len(s.part.Resends) > 0 { // deliveries with slots are sent before the wait
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
		if slot && !s.pool.Rated(one.Endpoint) { // with a rate, it is leased when its turn comes
			one.Lease = lease
		}
		s.part.add(one, slot)
	}
	return true, nil
}

// flush sends the part, and begins the next one.
func (s *pageSender) flush(ctx context.Context) (mine bool, err error) {
	sent := s.part
	s.part = pagePart{}
	s.looked -= sent.Looked
	return s.queue(ctx, s.id, sent)
}

// awaitSlot waits for a slot of an endpoint, for replayWait at most.
func (r *replayer) awaitSlot(ctx context.Context, endpoint string) bool {
	ctx, cancel := context.WithTimeout(ctx, replayWait)
	defer cancel()
	return r.pool.AwaitSome(ctx, endpoint)
}

// queue queues the deliveries of a part. Those with a reserved slot are leased to this process.
func (r *replayer) queue(ctx context.Context, id string, part pagePart) (mine bool, err error) {
	leased, mine, err := r.store.ReplayPage(ctx, id, part.ReplayPage)
	r.pool.Start(part.reserved, leased)
	for _, s := range part.Resends {
		if s.Lease == 0 {
			r.pool.Feed(s.Endpoint)
		}
	}
	return mine, err
}

// wanted are the deliveries of an event that a replay sends.
type wanted struct {
	resends []event.Resend
	dead    int // how many of them are dead letters
	left    int // others, which are open
}

// wantedOf returns what a replay sends of each event of a page. over says that it would send over a tenth more than it
// expects, and was ended.
func (r *replayer) wantedOf(ctx context.Context, id string, plan api.Plan, events []*event.Record) (
	all []wanted, over bool, err error,
) {
	n := 0
	for _, e := range events {
		w, err := r.wanted(ctx, plan, e)
		if err != nil {
			return nil, false, err
		}
		n += len(w.resends)
		all = append(all, w)
	}
	if n == 0 || plan.DryRun || plan.Expect == 0 {
		return all, false, nil
	}

	now, known, err := r.store.Replay(ctx, id)
	if err != nil || !known || !api.OverExpected(plan.Expect, int(now.Queued)+n) {
		return all, false, err
	}
	why := fmt.Sprintf("there are over a tenth more than the %d that were expected: count again", plan.Expect)
	ended, err := r.store.CancelReplay(ctx, id, why)
	if err != nil || !ended {
		return nil, true, err
	}
	r.log.Info("replay", zap.String("id", id), zap.String("state", "cancelled"), zap.String("why", why))
	return nil, true, r.tellEnd(ctx, id, plan.Told())
}

// wanted returns the deliveries of an event that a replay sends.
func (r *replayer) wanted(ctx context.Context, plan api.Plan, e *event.Record) (out wanted, err error) {
	if !plan.Reroute {
		for _, o := range e.Deliveries {
			switch {
			case r.pool.Lease(o.Endpoint) == 0: // it is in no config, and gets nothing
			case plan.Wants(o):
				out.resends = append(out.resends, event.Resend{EventID: e.ID, Endpoint: o.Endpoint})
				if o.State == event.StateDead {
					out.dead++
				}
			case plan.LeavesAlone(o):
				out.left++
			}
		}
		return out, nil
	}

	// The routes in use decide, and the ledger answers their conditions. A changed status counts as true.
	whole, ok, err := r.store.Event(ctx, e.ID, "")
	if err != nil || !ok {
		return out, err
	}
	for _, c := range r.match(kuaidihelp.Reread(whole.Event)) {
		owed := c.When&(event.Always|event.IfChanged) != 0
		if !owed {
			tenant, _, _ := strings.Cut(c.Endpoint, "/")
			_, owed, err = r.store.Subscription(ctx, tenant, event.Waybill{CPCode: e.CPCode, Code: e.WaybillCode})
			if err != nil {
				return out, err
			}
		}
		if owed && plan.Wants(event.DeliveryRecord{Endpoint: c.Endpoint}) {
			out.resends = append(out.resends, event.Resend{EventID: e.ID, Endpoint: c.Endpoint, Add: true})
		}
	}
	return out, nil
}
