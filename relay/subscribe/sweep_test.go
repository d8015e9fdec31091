package subscribe

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// leftovers is a ledger with waybills that a replica which was killed has left: each is handed out once.
type leftovers struct {
	Store
	left          int
	handed, asked atomic.Int64
}

func (l *leftovers) Todo(_ context.Context, most int) (todo []event.Todo, _ error) {
	for ; l.left > 0 && len(todo) < most; l.left-- {
		todo = append(todo, event.Todo{Waybill: event.Waybill{CPCode: "zt", Code: fmt.Sprint(l.left)}})
	}
	l.handed.Add(int64(len(todo)))
	return todo, nil
}

func (l *leftovers) Claim(_ context.Context, _ string, waybills []event.Waybill) (time.Duration, []event.Claimed, error) {
	claimed := make([]event.Claimed, len(waybills))
	for i := range claimed {
		claimed[i] = event.Claimed{Mine: true, State: event.Pending}
	}
	return 0, claimed, nil
}

func (l *leftovers) Answered(_ context.Context, _ string, waybills []event.Waybill, _ event.Upstream, _ event.Answer) error {
	l.asked.Add(int64(len(waybills)))
	return nil
}

// slow is a provider that takes its time.
type slow struct{}

func (slow) Call(context.Context, string, []byte) (kuaidihelp.Envelope, error) {
	time.Sleep(time.Second)
	return kuaidihelp.Envelope{}, nil
}

func TestTheSweeperTakesNoMoreThanItCanBeginWith(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const all = 3000
		l := &leftovers{left: all}
		p := New(Options{Store: l, Settings: Settings{Upstream: slow{}}, Concurrency: 1})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = p.Run(ctx); close(ended) }()
		most := int64(0)
		for range all/kuaidihelp.MaxPerCall + 30 {
			time.Sleep(time.Second)
			synctest.Wait()
			most = max(most, l.handed.Load()-l.asked.Load())
		}
		cancel()
		<-ended
		if asked := l.asked.Load(); asked != all || most > 200 {
			t.Errorf("%d of %d waybills were asked for; of what it had taken, %d waited", asked, all, most)
		}
	})
}
