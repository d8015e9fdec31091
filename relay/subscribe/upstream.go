package subscribe

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// The answers to a tenant if the provider said nothing that concerns it.
var (
	credentialsAnswer = ledger.Answer{
		Code: codeCredentials,
		Msg:  "kuaidihelp refuses the relay's credentials; its operator has to see to that",
	}
	noAnswer = ledger.Answer{Code: codeNoAnswer, Msg: "kuaidihelp does not answer; try again later"}
)

// ask claims waybills of one brand, at most kuaidihelp.MaxPerCall, and asks the provider for those that nobody else has
// claimed. It returns the result for each. A waybill is pending if another is asking for it, or if the ledger does not
// answer. When ctx ends, a running call goes on, and no other begins.
func (p *Proxy) ask(ctx context.Context, token string, waybills []event.Waybill) []ledger.ClaimResult {
	pending := make([]ledger.ClaimResult, len(waybills))
	for i := range pending {
		pending[i].State = ledger.Pending
	}
	for try := 0; ; try++ {
		// Each call waits for its turn among those of all replicas, and begins the claim anew.
		wait, claimed, err := p.o.Store.Claim(context.WithoutCancel(ctx), token, waybills)
		if err != nil {
			p.o.Logger.Error("subscribe", zap.Error(err))
			return pending
		}
		var mine []event.Waybill
		var at []int // where these are in waybills
		unknown := true
		for i, c := range claimed {
			if c.Mine {
				mine = append(mine, waybills[i])
				at = append(at, i)
				unknown = unknown && c.Unknown
			}
		}
		if len(mine) == 0 {
			return claimed
		}
		if !pause(ctx, wait) {
			return pending
		}

		e, err := p.callFor(ctx, kuaidihelp.MethodSubscribe, mine)
		if err == nil && kuaidihelp.ConcernsOneWaybill(e.Code) && len(mine) > 1 {
			// The answer does not say which waybill it is about. Asking again finds that one, and the others get their own
			// answers.
			var found []ledger.ClaimResult
			for _, part := range split(mine, unknown) {
				found = append(found, p.ask(ctx, token, part)...)
			}
			for i, c := range found {
				claimed[at[i]] = c
			}
			return claimed
		}
		if err != nil && !refused(err) && try < len(p.o.Pauses) {
			if !pause(ctx, p.o.Pauses[try]) {
				return pending // the claim lapses, and another replica asks
			}
			continue
		}

		v, answer := verdict(e, err)
		for i, c := range p.conclude(ctx, token, mine, v, answer) {
			claimed[at[i]] = c
		}
		return claimed
	}
}

// splitAtOnce is the most waybills of a call that are asked for one by one after it was refused.
const splitAtOnce = kuaidihelp.MaxPerCall / 2

// split returns the next calls after one that was refused because of one waybill or more. Halves need few calls to find
// a single one, and each alone needs fewer where there are several. If the provider had no record of any before, it
// still has none of most. docs/design/decisions/asking-one-by-one.md has the figures.
func split(waybills []event.Waybill, unknown bool) [][]event.Waybill {
	size := 1
	if len(waybills) > splitAtOnce && !unknown {
		size = (len(waybills) + 1) / 2
	}
	return slices.Collect(slices.Chunk(waybills, size))
}

// conclude writes down what the provider said of waybills, and returns the result for each. It begins to tell tenants
// of losses.
func (p *Proxy) conclude(ctx context.Context, token string, waybills []event.Waybill, v ledger.Verdict,
	a ledger.Answer) []ledger.ClaimResult {
	written, err := p.o.Store.Answered(context.WithoutCancel(ctx), token, waybills, v, a)
	if err != nil {
		p.o.Logger.Error("subscribe", zap.Error(err)) // the claim lapses, and the sweeper asks again
	}

	out := make([]ledger.ClaimResult, len(waybills))
	for i := range out {
		out[i] = ledger.ClaimResult{State: ledger.Failed, Answer: a}
		switch {
		case v == ledger.Accepted:
			out[i].State = ledger.Live
		case err != nil:
			out[i].State = ledger.Pending
		case written[i].State == ledger.Live: // pushed meanwhile
			out[i] = ledger.ClaimResult{State: ledger.Live}
		case written[i].State != "":
			out[i].State = written[i].State
			out[i].RetryAt = written[i].RetryAt
		}
		if err == nil && written[i].Loss != nil {
			p.metrics.lost.WithLabelValues(reasonOf(written[i].Loss)).Inc()
			p.tell(*written[i].Loss)
		}
	}
	return out
}

// callFor makes a call about waybills of one brand. When ctx ends, it may go on for the grace.
func (p *Proxy) callFor(ctx context.Context, method string, waybills []event.Waybill) (kuaidihelp.Envelope, error) {
	codes := make([]string, len(waybills))
	for i, w := range waybills {
		codes[i] = w.Code
	}
	running, ended := p.outlive(ctx)
	defer ended()
	return p.call(running, method, kuaidihelp.CallData(waybills[0].CPCode, codes))
}

// outlive returns a context that goes on for ShutdownGrace after ctx has ended. The function returned ends it at once.
func (p *Proxy) outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(p.o.ShutdownGrace):
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// pause waits. It returns false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// verdict says what an answer, or its absence, means for the waybills of a call.
func verdict(e kuaidihelp.Envelope, err error) (ledger.Verdict, ledger.Answer) {
	answer := ledger.Answer{Code: e.Code, Msg: e.Msg, UID: e.UID}
	switch {
	case err != nil:
		return ledger.Unanswered, unanswered(err)
	case e.Code == kuaidihelp.CodeSuccess:
		return ledger.Accepted, answer
	case kuaidihelp.CredentialsRefused(e.Code):
		return ledger.Unanswered, credentialsAnswer
	case e.Code == kuaidihelp.CodeNoRecord:
		return ledger.NoRecord, answer
	case kuaidihelp.RefusesWaybill(e.Code):
		return ledger.Refused, answer
	}
	return ledger.Unanswered, answer
}

// unanswered returns the answer to a tenant if the provider gave none: what came instead, if anything.
func unanswered(err error) ledger.Answer {
	e, ok := errors.AsType[*kuaidihelp.ErrNoAnswer](err)
	if !ok || e.Said == "" {
		return noAnswer
	}
	return ledger.Answer{Code: codeNoAnswer, Msg: e.Said + "; try again later"}
}

func refused(err error) bool {
	e, ok := errors.AsType[*kuaidihelp.ErrNoAnswer](err)
	return ok && e.Refused
}

// call asks the provider once, counts the answer, and logs an error if the provider refuses the account.
func (p *Proxy) call(ctx context.Context, method string, data []byte) (kuaidihelp.Envelope, error) {
	upstream := p.current.Load().Upstream
	if upstream == nil { // since the call was asked for
		return kuaidihelp.Envelope{}, errors.New(notConfigured)
	}

	began := time.Now()
	e, err := upstream.Call(ctx, method, data)
	p.metrics.callTime.Observe(time.Since(began).Seconds())
	result := "success"
	switch {
	case err != nil:
		result = "no_answer"
	case kuaidihelp.CredentialsRefused(e.Code):
		result = "credentials"
	case e.Code == kuaidihelp.CodeNoRecord:
		result = "no_record"
	case e.Code != kuaidihelp.CodeSuccess:
		result = "refused"
	}
	p.metrics.calls.WithLabelValues(result).Inc()
	if err != nil {
		p.o.Logger.Warn("call to kuaidihelp",
			zap.String("method", method), zap.Duration("took", time.Since(began)), zap.Error(err))
		return e, err
	}

	p.account.answered(e, time.Now())
	// The log says when the provider begins to refuse the account, and when that ends.
	changed := p.refused.To(result == "credentials")
	switch {
	case changed && result == "credentials":
		p.o.Logger.Error("kuaidihelp refuses the account's credentials: no tenant can subscribe until kuaidihelp.app_id and "+
			"kuaidihelp.api_key are right (code 1005: until this machine's clock is right)",
			zap.Int("code", e.Code), zap.String("uid", e.UID))
	case changed:
		p.o.Logger.Info("kuaidihelp accepts the account's credentials again")
	}
	return e, nil
}

// Configured says whether there is an account to make calls with.
func (p *Proxy) Configured() bool { return p.current.Load().Upstream != nil }

// CredentialsRefused says whether the provider refused the account at the last call.
func (p *Proxy) CredentialsRefused() bool { return p.refused.Latest() }

// State says how it stands with the provider, as far as this process knows: whether there is an account, and how many
// calls wait for their turn.
func (p *Proxy) State() (configured bool, waiting int) {
	return p.current.Load().Upstream != nil, p.calls.waiting()
}
