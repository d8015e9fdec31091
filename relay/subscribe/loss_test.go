package subscribe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// losing is a ledger with losses that are handed out every 10 s until they were told of.
type losing struct {
	leftovers
	mu     sync.Mutex
	losses map[string]ledger.Loss
	next   time.Time
}

func (*losing) Now() time.Time { return time.Now() }

func (l *losing) TakeOver(context.Context, int) (todo []ledger.UnfinishedWork, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.next) {
		return nil, nil
	}
	l.next = time.Now().Add(10 * time.Second)
	for _, loss := range l.losses {
		todo = append(todo, ledger.UnfinishedWork{Waybill: loss.Waybill, Loss: &loss})
	}
	return todo, nil
}

func (l *losing) Told(_ context.Context, loss ledger.Loss) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.losses, loss.Key)
	return nil
}

func TestALossIsToldOfUntilTheEventIsAccepted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &losing{losses: map[string]ledger.Loss{}}
		for i, code := range []int{kuaidihelp.CodeNoRecord, kuaidihelp.CodeBadParameters, codeNoAnswer} {
			key := fmt.Sprint(i)
			l.losses[key] = ledger.Loss{
				Waybill: event.Waybill{CPCode: "zt", Code: key}, Since: time.UnixMilli(1_700_000_000_123), Asked: 7,
				Answer: ledger.Answer{Code: code, Msg: "no\xff \"record\""}, Key: key,
			}
		}
		var mu sync.Mutex
		told := map[string][]*event.Event{}
		p := New(Options{Store: l, Tell: func(_ context.Context, e *event.Event) error {
			mu.Lock()
			defer mu.Unlock()
			told[e.WaybillCode] = append(told[e.WaybillCode], e)
			if len(told[e.WaybillCode]) < 3 {
				return errors.New("redis is down")
			}
			return nil
		}})
		runs(t, p)
		time.Sleep(time.Minute)
		synctest.Wait()

		mu.Lock()
		defer mu.Unlock()
		for key, reason := range map[string]string{"0": "no_record", "1": "refused", "2": "unanswered"} {
			events := told[key]
			if len(events) != 3 || events[0].ID != events[2].ID || !event.IsID(events[0].ID) {
				t.Fatalf("loss %s: %d events", key, len(events))
			}
			e := events[0]
			code := []int{201101, 201102, 504}[key[0]-'0']
			want := fmt.Sprintf(`{"waybill_code":%q,"cp_code":"zt","reason":%q,"code":%d,"msg":"no\uFFFD \"record\"",`+
				`"since":"2023-11-14T22:13:20.123Z","asked":7}`, key, reason, code)
			if got := string(e.Data); got != strings.ReplaceAll(want, `\uFFFD`, "\uFFFD") {
				t.Errorf("data %s, want %s", got, want)
			}
			if !e.Own() || e.CPCode != "zt" || e.Status != "" || e.Bare || e.ReceivedAt.IsZero() {
				t.Errorf("%+v", e)
			}
		}
		if len(l.losses) != 0 {
			t.Errorf("left: %v", l.losses)
		}
	})
}

// waits is a ledger in which every waybill waits until it is asked for again.
type waits struct {
	leftovers
	until time.Time
}

func (w *waits) Subscribe(_ context.Context, _ string, waybills []event.Waybill) ([]ledger.SubscribeResult, error) {
	out := make([]ledger.SubscribeResult, len(waybills))
	for i := range out {
		out[i] = ledger.SubscribeResult{
			State: ledger.Pending, RetryAt: w.until, Answer: ledger.Answer{Code: 201101, Msg: "查询暂无记录", UID: "u"},
		}
	}
	return out, nil
}

func TestARequestDoesNotWaitForWhatIsAskedForLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := &waits{until: began.Add(time.Hour)}
		p := New(Options{Store: l, Settings: Settings{Upstream: slow{}}})
		runs(t, p)
		results, err := p.subscribe(t.Context(), tenant("a"), "zt", []string{"1", "2"})
		if err != nil || len(results) != 2 || time.Since(began) != 0 || l.asked.Load() != 0 {
			t.Fatalf("%+v, %v, after %s and %d calls", results, err, time.Since(began), l.asked.Load())
		}
		want := WaybillResult{
			CPCode: "zt", WaybillCode: "2", Result: Pending, Code: 201101, UID: "u", RetryAt: l.until.UTC(),
			Msg: "查询暂无记录; the relay asks again at " + l.until.UTC().Format(time.RFC3339),
		}
		if results[1] != want {
			t.Errorf("%+v, want %+v", results[1], want)
		}
	})
}

func TestARefusedCallIsSplitIntoHalvesOrOnes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n       int
		unknown bool
		want    []int
	}{
		{10, false, []int{5, 5}},
		{9, false, []int{5, 4}},
		{6, false, []int{3, 3}},
		{5, false, []int{1, 1, 1, 1, 1}},
		{2, false, []int{1, 1}},
		{10, true, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		var got []int
		var all []event.Waybill
		waybills := make([]event.Waybill, c.n)
		for i := range waybills {
			waybills[i].Code = fmt.Sprint(i)
		}
		for _, part := range split(waybills, c.unknown) {
			got = append(got, len(part))
			all = append(all, part...)
		}
		if !slices.Equal(got, c.want) || !slices.Equal(all, waybills) {
			t.Errorf("%d, unknown %v: %v, want %v", c.n, c.unknown, got, c.want)
		}
	}
}
