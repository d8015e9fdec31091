package subscribe

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
)

// This file finds waybills of which nothing new is heard: those that the provider is to be asked for, and those whose
// tenants are to be told.

// Listening says how they are found.
type Listening struct {
	// Every is how often the ledger is looked over for waybills that are not watched yet; 0: nothing is watched.
	Every time.Duration
	// HoldOff is for how long nobody looks once the provider as a whole is not silent any more: then it pushes what it
	// held back.
	HoldOff time.Duration
	// Tenants are those whose waybills are watched. Nil: all.
	Tenants []string
}

const (
	// lookAtOnce is how many waybills are looked at in one step.
	lookAtOnce = 100
	// stuckPause comes after each waybill that tenants are told of: a replica tells of at most 100 a second.
	stuckPause = 10 * time.Millisecond
)

// watch looks at waybills when it is time, until ctx ends.
func (p *Proxy) watch(ctx context.Context) {
	var said *settings
	var listened, quiet time.Time
	for pause(ctx, p.o.SilentEvery) {
		set, now := p.current.Load(), time.Now()
		if p.o.Quiet() {
			quiet = now
			continue
		}
		if set.Listening.Every == 0 || now.Sub(quiet) < set.Listening.HoldOff {
			continue
		}

		if set != said || now.Sub(listened) >= set.Listening.Every {
			if p.listen(ctx, set, set != said) {
				said, listened = set, now
			}
		}
		more := true
		for more && ctx.Err() == nil {
			more = p.look(ctx)
		}
	}
}

// listen notes when to look at each waybill that is not watched yet. Of all replicas one does it in each span. After
// the settings have changed, it notes all of them anew. It returns false if it has to be done again.
func (p *Proxy) listen(ctx context.Context, set *settings, changed bool) bool {
	name, anew, err := p.o.Store.Watch(ctx, changed)
	if err != nil {
		p.metrics.sweepErrors.Inc()
		return false
	}
	lock := "listen"
	if anew {
		lock += " " + name
	}
	unlock, locked, err := p.o.Store.TryLock(ctx, lock, set.Listening.Every)
	if err != nil || !locked {
		return err == nil
	}

	tenants := set.Listening.Tenants
	if tenants == nil {
		tenants, err = p.o.Store.Subscribers(ctx)
	}
	for _, tenant := range tenants {
		cursor := uint64(0)
		for begun := false; err == nil && (!begun || cursor != 0); begun = true {
			cursor, err = p.o.Store.ListenFor(ctx, tenant, cursor, anew)
		}
	}
	if err == nil && anew {
		err = p.o.Store.Listened(ctx, name)
	}
	if err != nil {
		unlock() // another replica, or this one, begins anew
		p.metrics.sweepErrors.Inc()
	}
	return err == nil
}

// look looks at those waybills for which it is time, and tells tenants of those that are stuck. It returns whether
// there may be more.
func (p *Proxy) look(ctx context.Context) (more bool) {
	stuck, at, looked, err := p.o.Store.Look(ctx, lookAtOnce)
	if err != nil {
		if ctx.Err() == nil {
			p.metrics.sweepErrors.Inc()
		}
		return false
	}

	var mu sync.Mutex
	var told []event.Waybill
	var jobs []*job
	for _, w := range stuck {
		j := newJob(func(running context.Context) {
			if p.tellStuck(context.WithoutCancel(running), w) { // what has begun is finished, even if the relay stops
				mu.Lock()
				defer mu.Unlock()
				told = append(told, w.Waybill)
			}
		})
		if p.catchUps.put(sweeper, j) {
			jobs = append(jobs, j)
		}
	}
	await(ctx, jobs)

	mu.Lock()
	defer mu.Unlock()
	if err := p.o.Store.ToldStuck(context.WithoutCancel(ctx), at, told); err != nil {
		p.metrics.sweepErrors.Inc() // they are looked at again, and their events are duplicates then
	}
	return looked == lookAtOnce && pause(ctx, time.Duration(len(stuck))*stuckPause)
}

// tellStuck accepts the events that tell tenants of a waybill, and returns whether that is done.
func (p *Proxy) tellStuck(ctx context.Context, w ledger.Stuck) bool {
	for _, x := range w.Tell {
		e, err := stuckEvent(&w, &x, p.o.Store.Now())
		if err == nil {
			err = p.o.Tell(ctx, e)
		}
		if err != nil {
			if p.untold.Allow(time.Minute) {
				p.o.Logger.Warn("tenants cannot be told that a parcel does not move; the relay goes on trying", zap.Error(err))
			}
			return false
		}
		p.metrics.stuck.WithLabelValues(kindOf(w.Type)).Inc()
	}
	return true
}

// kindOf is what a silence is, by the type of its events: "stalled" for event.TypeStalled.
func kindOf(typ string) string {
	_, kind, _ := strings.Cut(typ, ".")
	return kind
}

// stuckData is the data of an event that tells of a parcel that does not move. The id of the event is made from it, so
// that it has nothing that could differ between two replicas, or between two tenants with the same span.
type stuckData struct {
	WaybillCode string    `json:"waybill_code"`
	CPCode      string    `json:"cp_code"`
	Status      string    `json:"status,omitempty"`
	Since       time.Time `json:"since"`
	AfterS      float64   `json:"after_s"`
}

// stuckEvent makes such an event. The same silence and span always give the same one, but for the time when it came.
func stuckEvent(w *ledger.Stuck, x *ledger.Overdue, now time.Time) (*event.Event, error) {
	data, err := json.Marshal(stuckData{
		WaybillCode: w.Code, CPCode: w.CPCode, Status: w.Status, Since: x.Since.UTC(), AfterS: x.After.Seconds(),
	})
	if err != nil {
		return nil, err
	}
	id, err := event.ID(w.Type, w.CPCode, w.Code, data)
	if err != nil {
		return nil, fmt.Errorf("name an event: %w", err)
	}
	return &event.Event{
		ID: id, Type: w.Type, WaybillCode: w.Code, CPCode: w.CPCode, Data: data, ReceivedAt: now, For: x.Tenants,
	}, nil
}

// SpanOf is the span that such an event is about; 0: it has none.
func SpanOf(e *event.Event) time.Duration {
	var data stuckData
	if json.Unmarshal(e.Data, &data) != nil {
		return 0
	}
	return time.Duration(data.AfterS*float64(time.Second) + 0.5).Round(time.Millisecond)
}
