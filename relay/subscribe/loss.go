package subscribe

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// lossData is the data of an event of the type event.TypeLost. The id of the event is made from it, so that it has
// nothing that could differ between two replicas.
type lossData struct {
	WaybillCode string    `json:"waybill_code"`
	CPCode      string    `json:"cp_code"`
	Reason      string    `json:"reason"`
	Code        int       `json:"code"`
	Msg         string    `json:"msg"`
	Since       time.Time `json:"since"`
	Asked       int       `json:"asked"`
}

// reasonOf says by which answer a loss came about.
func reasonOf(l *ledger.Loss) string {
	switch {
	case l.Answer.Code == kuaidihelp.CodeNoRecord:
		return string(ledger.NoRecord)
	case kuaidihelp.RefusesWaybill(l.Answer.Code):
		return string(ledger.Refused)
	}
	return string(ledger.Unanswered)
}

// lossEvent makes the event that tells tenants of a loss. The same loss always gives the same event, but for the time
// when it came.
func lossEvent(l ledger.Loss, now time.Time) (*event.Event, error) {
	data, err := json.Marshal(lossData{
		WaybillCode: l.Code,
		CPCode:      l.CPCode,
		Reason:      reasonOf(&l),
		Code:        l.Answer.Code,
		Msg:         strings.ToValidUTF8(l.Answer.Msg, "\uFFFD"),
		Since:       l.Since.UTC(),
		Asked:       l.Asked,
	})
	if err != nil {
		return nil, err
	}
	id, err := event.ID(event.TypeLost, l.CPCode, l.Code, data)
	if err != nil {
		return nil, err
	}
	return &event.Event{
		ID: id, Type: event.TypeLost, WaybillCode: l.Code, CPCode: l.CPCode, Data: data, ReceivedAt: now,
	}, nil
}

// tell begins to tell tenants of a loss, and returns the job that does it, nil if there is no room for it. A loss that
// nobody has been told of is handed out again.
func (p *Proxy) tell(loss ledger.Loss) *job {
	j := newJob(func(running context.Context) {
		// What has begun is finished, even if the relay stops.
		ctx := context.WithoutCancel(running)
		e, err := lossEvent(loss, p.o.Store.Now())
		if err == nil {
			err = p.o.Tell(ctx, e)
		}
		if err == nil {
			err = p.o.Store.Told(ctx, loss)
		}
		if err != nil && p.untold.Allow(time.Minute) {
			p.o.Logger.Warn("tenants cannot be told that a subscription failed; the relay goes on trying", zap.Error(err))
		}
	})
	if !p.catchUps.put(sweeper, j) {
		return nil
	}
	return j
}
