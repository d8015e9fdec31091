package subscribe

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// This file asks the provider how waybills stand that no callback has come for. What is new takes the way of a
// callback.

// Reconcile says whether the provider is asked, and what becomes of its answers.
type Reconcile struct {
	// On says that it is asked. DryRun only counts what its answers would be.
	On, DryRun bool
}

const (
	// silentAtOnce is how many waybills are taken at one time: enough to fill calls, although each is for one brand.
	silentAtOnce = 100
	// queryPause comes after a call without an answer that concerns a waybill. It is doubled after each, up to queryMost.
	queryPause, queryMost = time.Minute, 30 * time.Minute
)

// reconcile asks the provider for silent waybills, until ctx ends.
func (p *Proxy) reconcile(ctx context.Context) {
	back := time.Duration(0)
	for pause(ctx, max(p.o.SilentEvery, back)) {
		set := p.current.Load()
		if !set.Reconcile.On || set.Upstream == nil || p.o.Quiet() {
			continue
		}

		good, more := true, true
		for good && more && ctx.Err() == nil {
			good, more = p.askSilent(ctx)
		}
		back = min(queryMost, max(queryPause, 2*back))
		if good {
			back = 0
		}
	}
}

// askSilent takes silent waybills, and asks the provider for them. good is false if it did not answer, or refuses: then
// it is left alone for a while. more says that there may be more of them.
func (p *Proxy) askSilent(ctx context.Context) (good, more bool) {
	silent, until, spent, err := p.o.Store.TakeSilent(ctx, silentAtOnce)
	if err != nil {
		if ctx.Err() == nil {
			p.metrics.sweepErrors.Inc()
		}
		return true, false
	}
	if spent && p.spent.Allow(time.Hour) {
		p.o.Logger.Warn("kuaidihelp.query.daily_budget is used up: silent waybills wait until midnight in China")
	}

	how := asking{results: p.metrics.reconciled, dryRun: p.current.Load().Reconcile.DryRun}
	_, good = p.askInTurn(ctx, silent, until, how)
	return good, len(silent) == silentAtOnce
}

// asking says what becomes of the answers to queries.
type asking struct {
	results *prometheus.CounterVec
	dryRun  bool // they are only counted
}

// askInTurn asks the provider for waybills that were taken until a time, each call when its turn comes. It returns
// those that it has not asked for, which count as such. good is false if the provider did not answer, or refuses.
func (p *Proxy) askInTurn(ctx context.Context, taken []ledger.Silent, until time.Time, how asking) (
	left []event.Waybill, good bool,
) {
	calls := together(taken)
	good = true
	for good && len(calls) > 0 && p.turn(ctx) && time.Now().Before(until) {
		good = p.query(ctx, calls[0], how)
		p.rests.saw(good)
		calls = calls[1:]
	}

	left = slices.Concat(calls...)
	p.heard(ctx, all(left, ledger.Unasked)) // they may be asked for again at once
	return left, good
}

// all says the same of each waybill.
func all[T any](waybills []event.Waybill, what T) map[event.Waybill]T {
	out := make(map[event.Waybill]T, len(waybills))
	for _, w := range waybills {
		out[w] = what
	}
	return out
}

// together groups waybills into calls: each is for one brand, or for one waybill that is to be asked for alone.
func together(silent []ledger.Silent) (calls [][]event.Waybill) {
	brands := map[string][]event.Waybill{}
	for _, s := range silent {
		if s.Alone {
			calls = append(calls, []event.Waybill{s.Waybill})
			continue
		}
		brands[s.CPCode] = append(brands[s.CPCode], s.Waybill)
	}
	for _, ws := range brands {
		calls = slices.AppendSeq(calls, slices.Chunk(ws, kuaidihelp.MaxPerCall))
	}
	return calls
}

// turn waits for the turn of a query among those of all replicas. It returns false if ctx has ended, or if the turns
// are not known.
func (p *Proxy) turn(ctx context.Context) bool {
	for {
		wait, err := p.o.Store.ReserveQuery(ctx)
		if err != nil {
			return false
		}
		if wait == 0 {
			return ctx.Err() == nil
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}

// query asks the provider for waybills of one brand, and hands on what is new. It returns false if the provider did not
// answer, or if its answer concerns the account rather than a waybill.
func (p *Proxy) query(ctx context.Context, waybills []event.Waybill, how asking) bool {
	e, err := p.callFor(ctx, kuaidihelp.MethodQuery, waybills)
	if err == nil && e.Code == kuaidihelp.CodeSuccess {
		p.heard(ctx, p.readQuery(ctx, waybills, e, how))
		return true
	}

	result := "error"
	if err == nil && e.Code == kuaidihelp.CodeNoRecord {
		result = string(ledger.Unknown)
	}
	how.results.WithLabelValues(result).Add(float64(len(waybills)))
	if err != nil || !(kuaidihelp.ConcernsOneWaybill(e.Code) || kuaidihelp.RefusesWaybill(e.Code)) {
		p.heard(ctx, all(waybills, ledger.NoAnswer))
		return false
	}

	// Of several waybills the answer does not say which it is about.
	heard := ledger.Unknown
	if len(waybills) > 1 {
		heard = ledger.Unclear
	}
	p.heard(ctx, all(waybills, heard))
	return true
}

// readQuery hands on what the provider has answered, and says what was heard of each waybill.
func (p *Proxy) readQuery(ctx context.Context, waybills []event.Waybill, e kuaidihelp.Envelope, how asking,
) map[event.Waybill]ledger.Heard {
	answers := map[event.Waybill]ledger.Heard{}
	count := func(result string) { how.results.WithLabelValues(result).Inc() }
	items, ok := kuaidihelp.QueryItems(e.Data)
	if !ok {
		if p.odd.Allow(time.Hour) {
			p.o.Logger.Warn("kuaidihelp's answer to express.info.get is not understood", zap.String("uid", e.UID))
		}
		for range waybills {
			count("error")
		}
		return all(waybills, ledger.NoAnswer)
	}

	// An answer that has begun to be handed on is handed on whole, even if the relay stops.
	ctx = context.WithoutCancel(ctx)
	for _, item := range items {
		isNew, err := p.o.Hear(ctx, item.Body, how.dryRun)
		at := slices.IndexFunc(waybills, func(w event.Waybill) bool { return w.Code == item.Code })
		if at < 0 {
			continue // it is handed on, though nobody asked
		}
		w := waybills[at]
		switch {
		case err != nil:
			p.o.Logger.Warn("what kuaidihelp has answered cannot be kept; it is asked again later", zap.Error(err))
			answers[w] = ledger.NoAnswer
			count("error")
		case isNew:
			answers[w] = ledger.Missed
			if how.results == p.metrics.reconciled {
				p.account.found(time.Now())
			}
		case answers[w] == "":
			answers[w] = ledger.Unchanged
		}
	}

	for _, w := range waybills {
		heard, known := answers[w]
		switch {
		case !known:
			answers[w] = ledger.Unknown
			count(string(ledger.Unknown))
		case heard != ledger.NoAnswer:
			count(string(heard))
		}
	}
	return answers
}

// heard writes down what was heard of waybills of a call, and subscribes those again whose callbacks do not come. They
// stay live meanwhile: if that fails, the next answer that is news tries it again.
func (p *Proxy) heard(ctx context.Context, answers map[event.Waybill]ledger.Heard) {
	again, err := p.o.Store.Heard(context.WithoutCancel(ctx), answers)
	if err != nil {
		p.metrics.sweepErrors.Inc()
		return
	}
	if len(again) == 0 || p.current.Load().Reconcile.DryRun {
		return
	}

	wait, err := p.o.Store.ReserveCall(ctx)
	if err != nil || !pause(ctx, wait) {
		return
	}
	e, err := p.callFor(ctx, kuaidihelp.MethodSubscribe, again)
	if err != nil || e.Code != kuaidihelp.CodeSuccess {
		return
	}
	p.o.Logger.Info("subscribed waybills again whose callbacks do not come", zap.Int("waybills", len(again)))
	if _, err := p.o.Store.Heard(context.WithoutCancel(ctx), all(again, ledger.Resubscribed)); err != nil {
		p.metrics.sweepErrors.Inc()
	}
}
