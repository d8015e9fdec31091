package deliver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"kuairelay/relay/queue"
)

// janitor gives up deliveries that would stay open for ever: those to endpoints that no replica has had in its config
// for the orphan grace, and those of parked endpoints that are too old, or too many.
type janitor struct {
	pool *Pool
	// aged is when the deliveries of a parked endpoint were last checked for their age.
	aged map[string]time.Time
}

func (j *janitor) run(ctx context.Context) {
	store := complaints{log: j.pool.log}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(j.pause()):
			store.about("end old deliveries", j.sweep(ctx))
		}
	}
}

// pause is how long the next sweep may be away.
func (j *janitor) pause() time.Duration {
	now := j.pool.current.Load()
	most := min(time.Minute, max(100*time.Millisecond, now.OrphanGrace/10))
	for _, e := range now.Settings.Endpoints {
		most = min(most, ageCheck(e.Policy.MaxAge))
	}
	return most
}

// ageCheck is how often the deliveries of a parked endpoint are checked for the age given. Each check reads all of
// them, so it is rare.
func ageCheck(age time.Duration) time.Duration {
	if age == 0 {
		return time.Hour
	}
	return min(time.Hour, max(time.Second, age/100))
}

func (j *janitor) sweep(ctx context.Context) error {
	p, now := j.pool, j.pool.current.Load()
	parked, err := p.o.Store.Parked(ctx)
	if err != nil {
		return err
	}
	orphans, err := j.orphans(ctx, parked, now.OrphanGrace)
	for _, name := range orphans {
		reason := fmt.Sprintf("no replica has had the endpoint in its config for %s", now.OrphanGrace)
		err = errors.Join(err, j.giveUp(ctx, queue.LeaseRequest{Endpoint: name, Lease: time.Minute, Parked: true},
			math.MaxInt, reason))
	}
	for name, state := range parked {
		if c := p.client(name); c != nil {
			err = errors.Join(err, j.boundAge(ctx, c, state, now.Retention), j.boundBacklog(ctx, c, state))
		}
	}
	return err
}

// boundAge gives up deliveries that are past max_age, and at an endpoint that a person has to resume also those that
// are past the retention.
func (j *janitor) boundAge(ctx context.Context, c *client, state queue.Parked, r time.Duration) error {
	e := &c.endpoint
	age, reason := e.Policy.MaxAge, e.Policy.expiry()
	if state != queue.ParkedOpen && r > 0 && (age == 0 || r < age) {
		age, reason = r, fmt.Sprintf("older than the retention of %s, at an endpoint that is %s", Brief(r), state)
	}
	if age == 0 || time.Since(j.aged[e.Name]) < ageCheck(age) {
		return nil
	}
	began := time.Now()
	ask := queue.LeaseRequest{Endpoint: e.Name, Lease: c.lease(), Parked: true, OpenBefore: j.pool.o.Store.Now().Add(-age)}
	err := j.giveUp(ctx, ask, math.MaxInt, reason)
	if err == nil { // else the next sweep checks them again
		j.aged[e.Name] = began
	}
	return err
}

// boundBacklog gives up deliveries above max_backlog, the oldest first.
func (j *janitor) boundBacklog(ctx context.Context, c *client, state queue.Parked) error {
	more := c.endpoint.MaxBacklog > 0
	for more && ctx.Err() == nil {
		var err error
		more, err = j.shedBacklog(ctx, c, state)
		if err != nil {
			return err
		}
	}
	return nil
}

// shedBacklog gives up a part of the deliveries above max_backlog, and says whether there may be more. One replica at a
// time does this: several would count the same backlog, and each give up the whole excess.
func (j *janitor) shedBacklog(ctx context.Context, c *client, state queue.Parked) (more bool, err error) {
	const atOnce, span = 100, time.Minute
	e, store := &c.endpoint, j.pool.o.Store
	unlock, locked, err := store.TryLock(ctx, "shed "+e.Name, span)
	if err != nil || !locked {
		return false, err
	}
	defer unlock()
	n, err := store.Backlog(ctx, e.Name)
	if err != nil || n <= e.MaxBacklog {
		return false, err
	}
	what := "is " + string(state)
	if state == queue.ParkedOpen {
		what = "keeps failing"
	}
	reason := fmt.Sprintf("more than max_backlog %d deliveries at an endpoint that %s", e.MaxBacklog, what)
	ask := queue.LeaseRequest{Endpoint: e.Name, Lease: c.lease(), Parked: true}
	if err := j.giveUp(ctx, ask, min(atOnce, n-e.MaxBacklog), reason); err != nil {
		return false, err
	}
	left, err := store.Backlog(ctx, e.Name)
	return left < n, err
}

// orphans returns the endpoints with open deliveries that no replica has known for the grace.
func (j *janitor) orphans(ctx context.Context, parked map[string]queue.Parked, grace time.Duration) ([]string, error) {
	p := j.pool
	unknown := make(map[string]bool)
	for name := range parked {
		unknown[name] = true
	}
	const farAhead = 10 * 365 * 24 * time.Hour
	for offset := 0; ; offset += duePage {
		page, err := p.o.Store.Due(ctx, farAhead, offset, duePage)
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			unknown[d.Endpoint] = true
		}
		if len(page) < duePage {
			break
		}
	}
	var names []string
	for name := range unknown {
		if p.client(name) == nil {
			names = append(names, name)
		}
	}
	return p.o.Store.Orphans(ctx, names, grace)
}

// giveUp makes dead letters of the deliveries that the request leases, at most most of them, until there are no more.
// Deliveries that become due meanwhile, because their predecessor was given up, are found at the end.
func (j *janitor) giveUp(ctx context.Context, ask queue.LeaseRequest, most int, reason string) error {
	for most > 0 && ctx.Err() == nil {
		ask.Most = min(most, 100)
		ds, looked, err := j.pool.o.Store.Lease(ctx, []queue.LeaseRequest{ask})
		if err != nil {
			return err
		}
		for _, d := range ds {
			o := queue.Outcome{Delivery: d, Kind: queue.Dead, Reason: reason}
			settled, err := j.pool.o.Store.Settle(ctx, o)
			if err != nil {
				j.pool.report(o, queue.Settled{}, err)
				return err
			}
			j.pool.report(o, settled[0], nil)
		}
		if looked[0].N < ask.Most && len(ds) == 0 {
			return nil
		}
		most -= len(ds)
		ask.From = looked[0].Next
	}
	return nil
}
