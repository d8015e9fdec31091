package subscribe

import (
	"sync"
	"time"

	"kuairelay/relay/kuaidihelp"
)

// missedKept is how long a push that was missed is told of after the latest one.
const missedKept = time.Hour

// limitedKept is how long after an answer 1008 the next one counts as the same lack.
const limitedKept = time.Hour

// limitedShown is how long after an answer 1008 the metric has it: the alert waits for longer, and needs more of them.
const limitedShown = 4 * time.Minute

// account is what the answers say of the shared account and of the push channel.
type account struct {
	mu      sync.Mutex
	limited Limited
	missed  Missed
}

// Limited is that the provider answers each call with code 1008, from a time on (zero: it does not) until the Latest of
// these answers. The code has two meanings, so what it Said is handed on.
type Limited struct {
	Since, Latest time.Time
	Said          string
}

// Missed counts news that reconcile found, which no callback had brought, since the first of them. They count as one
// run as long as there is an hour at most between two.
type Missed struct {
	Count         int
	Since, Latest time.Time
}

// answered takes notice of an answer of the provider.
func (a *account) answered(e kuaidihelp.Envelope, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case e.Code != kuaidihelp.CodeTooMuch:
		a.limited = Limited{}
	case at.Sub(a.limited.Latest) > limitedKept:
		a.limited = Limited{Since: at, Latest: at, Said: e.Msg}
	default:
		a.limited.Latest, a.limited.Said = at, e.Msg
	}
}

// found takes notice of news that no callback had brought.
func (a *account) found(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.Sub(a.missed.Latest) > missedKept {
		a.missed = Missed{Since: at}
	}
	a.missed.Count++
	a.missed.Latest = at
}

// Limited says whether the provider answers that there are too many calls, or that the account is out of credit.
func (p *Proxy) Limited() Limited {
	p.account.mu.Lock()
	defer p.account.mu.Unlock()
	return p.account.limited
}

func (p *Proxy) limitedNow() bool { return time.Since(p.Limited().Latest) < limitedShown }

// Missed gives the news that reconcile found.
func (p *Proxy) Missed() Missed {
	p.account.mu.Lock()
	defer p.account.mu.Unlock()
	return p.account.missed
}
