package subscribe

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// This file asks the provider how waybills stand that somebody wants to know of: once, however many want to. In a
// process they wait for the same refresh, and of several replicas the ledger lets one ask.

// Why a state is stale, beside the reasons of ledger.Leave.
const (
	staleOff        = "off"
	staleBusy       = "busy"
	staleUnanswered = "unanswered"
)

// refresh is a question about waybills of one brand, as many as one call takes.
type refresh struct {
	waybills []event.Waybill
	began    time.Time
	done     chan struct{}
	// why is, when done is closed, why the provider has not said how a waybill stands, if it has not.
	why map[event.Waybill]string
}

// refreshes are those under way in this process, by their waybills.
type refreshes struct {
	mu sync.Mutex
	of map[event.Waybill]*refresh
}

// join returns the refreshes that waybills are in: those under way, and new ones for the others, which the caller runs.
func (r *refreshes) join(waybills []event.Waybill, now time.Time) (all, begun []*refresh) {
	r.mu.Lock()
	defer r.mu.Unlock()
	under := map[*refresh]bool{}
	brands := map[string][]event.Waybill{}
	for _, w := range waybills {
		if running := r.of[w]; running != nil {
			under[running] = true
		} else {
			brands[w.CPCode] = append(brands[w.CPCode], w)
		}
	}

	for _, ws := range brands {
		for part := range slices.Chunk(ws, kuaidihelp.MaxPerCall) {
			one := &refresh{waybills: part, began: now, done: make(chan struct{})}
			begun = append(begun, one)
			for _, w := range part {
				r.of[w] = one
			}
		}
	}
	return slices.AppendSeq(slices.Clone(begun), maps.Keys(under)), begun
}

// end ends a refresh.
func (r *refreshes) end(one *refresh, why map[event.Waybill]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range one.waybills {
		delete(r.of, w)
	}
	one.why = why
	close(one.done)
}

// refresh has the provider asked for waybills, unless it may not be, and waits for that until ctx ends. It returns why
// it has not answered for a waybill, and when the first of these refreshes began: what it has answered since is as
// fresh as can be.
func (p *Proxy) refresh(ctx context.Context, tenant string, waybills []event.Waybill) (
	why map[event.Waybill]string, began time.Time,
) {
	began = p.o.Store.Now()
	set := p.current.Load()
	if set.Upstream == nil || !set.Queries {
		return all(waybills, staleOff), began
	}

	why = all(waybills, staleBusy)
	joined, begun := p.refreshing.join(waybills, began)
	for _, one := range begun {
		go func() {
			// Whoever has begun it may go away: others wait for it, too.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.o.Budget)
			defer cancel()
			p.refreshing.end(one, p.askOrWait(ctx, tenant, one.waybills))
		}()
	}
	for _, one := range joined {
		began = earlier(began, one.began)
		select {
		case <-one.done:
			maps.Copy(why, one.why)
		case <-ctx.Done():
			return why, began
		}
	}
	return why, began
}

// askOrWait asks the provider for waybills, and waits while another replica asks for some. It returns why there is no
// answer for a waybill, unless there is one.
func (p *Proxy) askOrWait(ctx context.Context, tenant string, waybills []event.Waybill) map[event.Waybill]string {
	why := all(waybills, staleBusy)
	open := waybills
	for len(open) > 0 {
		var said map[event.Waybill]string
		var others []event.Waybill
		j := newJob(func(running context.Context) { said, others = p.askNow(running, ctx, open) })
		if !p.queries.put(tenant, j) {
			return why
		}
		select {
		case <-j.done:
		case <-ctx.Done():
			return why
		}

		maps.Copy(why, said)
		if len(others) > 0 && !p.awaitOthers(ctx, others) {
			return why
		}
		open = others
	}
	return why
}

// awaitOthers waits until nobody asks for waybills any more. It returns false if ctx ends before.
func (p *Proxy) awaitOthers(ctx context.Context, waybills []event.Waybill) bool {
	for pause(ctx, waiterPause) {
		parcels, err := p.o.Store.Parcels(ctx, "", waybills, false)
		if err == nil && !slices.ContainsFunc(parcels, func(x ledger.Parcel) bool { return x.Asking }) {
			return true
		}
	}
	return false
}

// askNow asks the provider for those of the waybills that may be asked for, unless ctx has ended, and says why there is
// no answer for a waybill. others are those that somebody else is asking for. running is the context of Run.
func (p *Proxy) askNow(running, ctx context.Context, waybills []event.Waybill) (
	why map[event.Waybill]string, others []event.Waybill,
) {
	if ctx.Err() != nil || running.Err() != nil {
		return all(waybills, staleBusy), nil
	}
	if p.rests.now() {
		return all(waybills, staleUnanswered), nil
	}
	leaves, until, err := p.o.Store.AskFor(context.WithoutCancel(ctx), waybills)
	if err != nil {
		if p.unread.Allow(time.Minute) {
			p.o.Logger.Error("the states of waybills cannot be refreshed", zap.Error(err))
		}
		return all(waybills, staleUnanswered), nil
	}

	why = map[event.Waybill]string{}
	var taken []ledger.Silent
	for i, w := range waybills {
		switch leaves[i] {
		case ledger.LeaveGiven, ledger.LeaveAlone:
			taken = append(taken, ledger.Silent{Waybill: w, Alone: leaves[i] == ledger.LeaveAlone})
			why[w] = staleUnanswered
		case ledger.LeaveTaken:
			others = append(others, w)
			why[w] = staleUnanswered
		default:
			why[w] = string(leaves[i])
		}
	}

	deadline, _ := ctx.Deadline()
	calling, cancel := context.WithDeadline(running, deadline)
	defer cancel()
	left, _ := p.askInTurn(calling, taken, until, asking{results: p.metrics.refreshed})
	maps.Copy(why, all(left, staleBusy))
	return why, others
}

const (
	// restAfter calls in a row that had no answer, or one that concerns the account, nobody's wish to know makes another
	// for restFor.
	restAfter = 3
	restFor   = 10 * time.Second
)

// rests leave the provider alone for a while when it does not answer queries.
type rests struct {
	mu     sync.Mutex
	failed int // in a row
	until  time.Time
}

func (r *rests) now() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until)
}

// saw notes whether a query was answered.
func (r *rests) saw(good bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed++
	if good {
		r.failed = 0
	}
	if r.failed >= restAfter {
		r.until = time.Now().Add(restFor)
	}
}
