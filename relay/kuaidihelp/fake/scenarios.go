package fake

import "kuairelay/relay/kuaidihelp"

// Scenario is what happens to a parcel that a Provider plays.
type Scenario string

// The scenarios.
const (
	Plain    Scenario = "plain"     // every update is pushed, until the parcel is signed for
	NoRecord Scenario = "no-record" // the first calls to subscribe it are answered 201101
	LostPush Scenario = "lost-push" // one update on its way is not pushed; a query has it
	Returned Scenario = "returned"  // it moves again after it was signed for
	Silent   Scenario = "silent"    // it is collected and sent, and then nothing is heard of it
)

// Scenarios lists all scenarios.
func Scenarios() []Scenario { return []Scenario{Plain, NoRecord, LostPush, Returned, Silent} }

// callsWithoutRecord is how many calls have no record of a parcel that plays NoRecord.
const callsWithoutRecord = 2

// play changes the journey of a parcel that has not begun.
func (p *Parcel) play(s Scenario) {
	switch s {
	case Returned:
		p.journey = append(p.journey, kuaidihelp.StatusSending, kuaidihelp.StatusDelivering, kuaidihelp.StatusSigned)
	case Silent:
		p.journey = []string{kuaidihelp.StatusCollected, kuaidihelp.StatusSending}
	}
}

// scenarioOf is what a parcel plays. It is asked for once for each. The caller holds p.mu.
func (p *Provider) scenarioOf(code string) Scenario {
	s, known := p.playing[code]
	if !known {
		s = Plain
		if p.o.Scenario != nil {
			s = p.o.Scenario(code)
		}
		p.playing[code] = s
		if s == NoRecord {
			p.unscanned[code] = callsWithoutRecord
		}
	}
	return s
}

// noRecord says whether a call names a parcel of which there is no record yet, and counts the call.
func (p *Provider) noRecord(codes []string) (none bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, code := range codes {
		p.scenarioOf(code)
		if p.unscanned[code] > 0 {
			p.unscanned[code]--
			none = true
		}
	}
	return none
}

// loses says whether an update is not pushed: of a parcel that plays LostPush the first on its way to the door.
func (p *Provider) loses(item Item) bool {
	p.mu.Lock()
	scenario := p.scenarioOf(item.WaybillCode)
	p.mu.Unlock()
	delivering := 0
	for _, t := range item.Tracks {
		if t.Status == kuaidihelp.StatusDelivering {
			delivering++
		}
	}
	return scenario == LostPush && item.Status == kuaidihelp.StatusDelivering && delivering == 1
}

// pushed tells of an update, with the answer to its callback; empty: it was lost on the way.
func (p *Provider) pushed(item Item, answer string) {
	if p.o.OnPush != nil {
		p.o.OnPush(item, answer)
	}
}
