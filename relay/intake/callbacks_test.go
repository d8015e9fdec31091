package intake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/queue"
)

func TestEachCallbackOfACallGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.keep("1")
		var all []pending
		for _, waybill := range []string{"1", "2", "3"} {
			cb, parsed := update(waybill)
			all = append(all, pending{callback: cb, parsed: parsed})
		}
		o := b.acceptCallbacks(t.Context(), all)
		if o.err != nil || len(o.each) != 3 || o.each[0].Duplicates != 1 || o.each[0].New != 0 || o.each[1].New != 1 ||
			o.each[2].New != 1 {
			t.Errorf("%+v", o)
		}
		if o.sum.New != 2 || o.sum.Duplicates != 1 {
			t.Errorf("together: %+v", o.sum)
		}
	})
}

// manyItems is a callback of so many items.
func manyItems(n int) *event.Callback {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`{"waybill_code":"%d","cp_code":"zt","status":"signed","data":[]}`, i))
	}
	return &event.Callback{ReceivedAt: time.Now(),
		Body: []byte(`{"type":"express_sub_msg","data":[` + strings.Join(items, ",") + `]}`)}
}

func TestALargeCallbackIsTakenPartByPartUntilOneFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		fails := errors.New("redis is down")
		b.store.accept = func(call int, _ []queue.Routed) error {
			if call == 2 {
				return fails
			}
			return nil
		}
		four := manyItems(3*piece.Items + 1) // parts
		o := b.acceptLarge(t.Context(), pending{callback: four})
		if !errors.Is(o.err, fails) || o.sum.New != piece.Items || b.store.calls != 2 {
			t.Errorf("%+v after %d calls", o, b.store.calls)
		}
		o = b.acceptLarge(t.Context(), pending{callback: four})
		if o.err != nil || o.sum.Duplicates != piece.Items || o.sum.New != 2*piece.Items+1 || len(o.each) != 1 ||
			o.each[0] != o.sum || b.store.calls != 6 {
			t.Errorf("%+v after %d calls", o, b.store.calls)
		}

		ended, end := context.WithCancel(t.Context())
		end()
		if o := b.acceptLarge(ended, pending{callback: four}); o.err == nil || b.store.calls != 6 {
			t.Errorf("%+v after %d calls", o, b.store.calls)
		}
	})
}

func TestOfALargeCallbackNothingIsLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		cb := manyItems(whole.Items + 1)
		parsed, more := b.Parse(cb)
		if !more {
			t.Fatal("it is not large")
		}
		if sum, err := b.Keep(t.Context(), cb, parsed, more); err != nil || !sum.Spooled {
			t.Errorf("%+v, %v", sum, err)
		}
		b.run()
		time.Sleep(time.Second)
		if got, want := b.counted(), fmt.Sprint("new ", whole.Items+1); got != want || b.spool.Stats().Files != 0 {
			t.Errorf("counted: %s, want %s", got, want)
		}
		b.end()
	})
}

// The spool takes a callback for a small one that names few waybills. If the drain finds more items in it than fit,
// that one, and those behind it, wait for the next round.
func TestACallbackThatTurnsOutToBeLargeHoldsNothingBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.store.setDown(errors.New("redis is down"))
		b.keep("1")
		many := strings.Repeat("1,", whole.Items) + `{"waybill_code":"7","cp_code":"zt","status":"signed","data":[]}`
		cb := &event.Callback{ReceivedAt: time.Now(), Body: []byte(`{"type":"express_sub_msg","data":[` + many + `]}`)}
		parsed, more := b.Parse(cb)
		if sum, err := b.Keep(t.Context(), cb, parsed, more); err != nil || !more || !sum.Spooled {
			t.Fatalf("%+v, %v; it is large: %v", sum, err, more)
		}
		b.keep("2")

		b.store.setDown(nil)
		b.run()
		time.Sleep(time.Second)
		if left := b.spool.Stats().Files; left != 0 || b.Stats().Drained != 3 {
			t.Errorf("%d files are left, %+v", left, b.Stats())
		}
		b.end()
	})
}

// full is a store whose quarantine is full: what is newer is refused, or pushes one out. It notes which of the two was
// asked for.
type full struct {
	*fakeStore
	pushes []bool
}

func (f *full) Quarantine(_ context.Context, _ []event.Quarantined, push bool) (int, error) {
	f.pushes = append(f.pushes, push)
	if !push {
		return 0, event.ErrQuarantineFull
	}
	return 1, nil
}

func TestAFullQuarantineRefusesOnlyWhatHasNothingElseAndWasNotAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &full{fakeStore: &fakeStore{known: make(map[string]bool)}}
		b := newBench(t, func(o *Options) { o.Store = store })
		keep := func(body string) error {
			cb := &event.Callback{ReceivedAt: time.Now(), Body: []byte(body)}
			_, err := b.Keep(t.Context(), cb, kuaidihelp.Parse("", cb.Body, cb.ReceivedAt), false)
			return err
		}
		if err := keep("nonsense"); !errors.Is(err, event.ErrQuarantineFull) || b.Stats().Pushed != 0 {
			t.Errorf("%v, %+v", err, b.Stats())
		}
		if err := keep(`{"type":"express_sub_msg","data":[{"waybill_code":"1","cp_code":"zt"},7]}`); err != nil ||
			b.Stats().Pushed != 1 {
			t.Errorf("with an event besides: %v, %+v", err, b.Stats())
		}

		cb := &event.Callback{ReceivedAt: time.Now(), Body: []byte("nonsense")}
		file, err := b.spool.Put(cb, slices.Values([]string(nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		o := b.acceptCallbacks(t.Context(),
			[]pending{{callback: cb, parsed: kuaidihelp.Parse("", cb.Body, cb.ReceivedAt), file: file}})
		if o.err != nil || b.Stats().Pushed != 2 {
			t.Errorf("from the spool: %v, %+v", o.err, b.Stats())
		}
		if want := []bool{false, true, true}; !slices.Equal(store.pushes, want) {
			t.Errorf("asked to push: %v", store.pushes)
		}
	})
}

// behind is a store that knows the last update of every waybill, and queues it for whoever subscribes that, as often as
// it says.
type behind struct {
	*fakeStore
	queued, stale, calls int
	to                   []queue.Candidate
}

func (s *behind) Latest(_ context.Context, w event.Waybill) (*event.Event, bool, error) {
	last := &event.Event{ID: testID(1), Type: event.TypeWaybill, CPCode: w.CPCode, WaybillCode: w.Code, Data: []byte(`{}`)}
	return last, true, nil
}

func (s *behind) CatchUp(_ context.Context, _ string, _ event.Waybill, _ *event.Event,
	to []queue.Candidate) (queue.CatchUpResult, error) {
	s.calls++
	s.to = to
	return queue.CatchUpResult{Stale: s.calls <= s.stale, Queued: s.queued}, nil
}

// fed is a pool that counts how often it is told that something is due.
type fed struct {
	fakePool
	endpoints []string
}

func (f *fed) Feed(endpoint string) { f.endpoints = append(f.endpoints, endpoint) }

func TestATenantIsCaughtUpAtItsOwnEndpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		queued, stale, calls int
		err                  error
	}{{1, 0, 1, nil}, {0, 0, 1, nil}, {1, 19, 20, nil}, {1, 20, 20, errTooFast}} {
		synctest.Test(t, func(t *testing.T) {
			store, pool := &behind{fakeStore: &fakeStore{}, queued: c.queued, stale: c.stale}, &fed{}
			b := newBench(t, func(o *Options) { o.Store, o.Pool = store, pool })
			b.Use(func(*event.Event) []queue.Candidate {
				return []queue.Candidate{{Endpoint: "shop/orders", When: event.IfChanged, Ordered: true},
					{Endpoint: "shops/orders"}}
			}, "")
			err := b.CatchUp(t.Context(), "shop", event.Waybill{CPCode: "zt", Code: "1"})
			if !errors.Is(err, c.err) || store.calls != c.calls || len(store.to) != 1 || store.to[0].Endpoint != "shop/orders" ||
				!store.to[0].Ordered {
				t.Errorf("%+v: %v after %d calls, for %+v", c, err, store.calls, store.to)
			}
			if want := c.queued > 0 && c.err == nil; slices.Equal(pool.endpoints, []string{"shop/orders"}) != want {
				t.Errorf("%+v: due at %v", c, pool.endpoints)
			}
		})
	}
}

func TestWhatIsTakenFromQuarantineIsACallbackOrAnItem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		const item = `{"waybill_code":"%s","cp_code":"zt","status":"signed","data":[]}`
		for _, c := range []struct {
			raw      string
			want     RetakeResult
			rejected bool
		}{
			{fmt.Sprintf(`{"type":"express_sub_msg","data":[`+item+`]}`, "1"), RetakeResult{Events: 1, New: 1}, false},
			{fmt.Sprintf(item, "2"), RetakeResult{Events: 1, New: 1}, false},
			{fmt.Sprintf(item, "1"), RetakeResult{Events: 1}, false},
			{fmt.Sprintf(`{"type":"express_sub_msg","data":[`+item+`,7]}`, "3"), RetakeResult{Events: 1, New: 1}, true},
			{"nonsense", RetakeResult{}, true},
		} {
			got, err := b.Retake(t.Context(), event.Quarantined{Raw: []byte(c.raw), ReceivedAt: time.Now()}, []byte(c.raw))
			if rejected := got.Rejected != ""; err != nil || got.Events != c.want.Events || got.New != c.want.New ||
				rejected != c.rejected {
				t.Errorf("%s: %+v, %v", c.raw, got, err)
			}
		}
	})
}

func TestTheDrainGoesOnWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.store.setDown(errors.New("redis is down"))
		b.run()
		for i := range 3 * drainWorkers { // an outage for each worker, and more
			b.keep(fmt.Sprint(i))
			time.Sleep(time.Second)
			if n := b.spool.Stats().Files; n != 1 {
				t.Errorf("%d files while redis is down", n)
			}
			b.store.setDown(nil)
			time.Sleep(time.Second)
			if n := b.spool.Stats().Files; n != 0 {
				t.Fatalf("%d files when it is back", n)
			}
			b.store.setDown(errors.New("redis is down"))
		}
		b.end()
	})
}

// Redis answers after the budget, and the spool takes nothing: only what Redis has is a success.
func TestALateAnswerOfRedisIsTheLastChance(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]error{"it has it": nil, "it refuses it": errRefused} {
		synctest.Test(t, func(t *testing.T) {
			b := newBenchWithoutSpool(t)
			b.store.accept = func(int, []queue.Routed) error {
				time.Sleep(acceptBudget * 3 / 2)
				return late
			}
			cb, parsed := update("1")
			sum, err := b.Keep(t.Context(), cb, parsed, false)
			if (err != nil) != (late != nil) || (sum.New == 1) != (late == nil) {
				t.Errorf("%s: %+v, %v", name, sum, err)
			}
		})
	}
}

func TestWhatIsOwedToNobodyIsCountedAsThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.keep("1")
		b.Use(func(*event.Event) []queue.Candidate { return nil }, "")
		b.keep("2")
		b.keep("3")
		if got := b.counted(); got != "new 1, unrouted 2" {
			t.Errorf("counted: %s", got)
		}
	})
}

func TestWithoutRedisACallbackThatTheSpoolDoesNotTakeIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) { o.UntilDelivered = true })
		dir := t.TempDir() + "/file"
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b.spool = newSpool(dir + "/spool")
		cb, parsed := update("1")
		if sum, err := b.Keep(t.Context(), cb, parsed, false); err == nil {
			t.Errorf("%+v", sum)
		}
	})
}

func TestALargeCallbackThatTheSpoolDoesNotTakeGoesToRedisOrIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir() + "/file"
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b := newBench(t, nil)
		b.spool = newSpool(dir + "/spool")
		cb := manyItems(whole.Items + 1)
		if sum, err := b.Keep(t.Context(), cb, kuaidihelp.Result{}, true); err != nil || sum.New != whole.Items+1 {
			t.Errorf("%+v, %v", sum, err)
		}
		b.store.setDown(errors.New("redis is down"))
		if sum, err := b.Keep(t.Context(), cb, kuaidihelp.Result{}, true); err == nil {
			t.Errorf("nobody has it: %+v", sum)
		}
	})
}

// roomy is a pool that has a slot for every delivery, and counts those that it gets back.
type roomy struct {
	fakePool
	back map[string]int
}

func (*roomy) Reserve(string) bool { return true }

func (r *roomy) Start(reserved map[string]int, _ []*event.Delivery) { r.back = reserved }

func TestEverySlotThatWasReservedIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := &roomy{}
		b := newBench(t, func(o *Options) { o.Pool = pool })
		b.keep("1")
		if len(pool.back) != 1 || pool.back["shop/orders"] != 1 {
			t.Errorf("given back: %v", pool.back)
		}
	})
}

// halting is a store that fails so often, each time after it has accepted two more of the events that it is asked to.
type halting struct {
	*fakeStore
	one   sync.Mutex // call after another
	times int
}

func (s *halting) Accept(ctx context.Context, es []queue.Routed) ([]queue.Accepted, error) {
	s.one.Lock()
	defer s.one.Unlock()
	if s.times == 0 {
		return s.fakeStore.Accept(ctx, es)
	}
	s.times--
	fresh := 0
	for i, e := range es {
		if !s.known[e.Event.ID] {
			fresh++
		}
		if fresh > 2 {
			part, _ := s.fakeStore.Accept(ctx, es[:i])
			return part, errors.New("no answer")
		}
	}
	return s.fakeStore.Accept(ctx, es)
}

// Each call is told that what the calls before it have made durable is known.
func TestWhatTheDrainTakesInSeveralCallsIsCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &halting{fakeStore: &fakeStore{known: make(map[string]bool)}, times: 3}
		b := newBench(t, func(o *Options) { o.Store = store })
		b.store = store.fakeStore
		b.store.setDown(errors.New("redis is down"))
		for range 2 { // of the second callback all is known
			cb := manyItems(10)
			if _, err := b.Keep(t.Context(), cb, kuaidihelp.Parse("", cb.Body, cb.ReceivedAt), false); err != nil {
				t.Fatal(err)
			}
		}
		b.keep("another")
		b.store.setDown(nil)
		b.run()
		time.Sleep(time.Minute)
		b.end()
		if b.counted() != "duplicate 10, new 11" || store.times > 0 || len(b.drain.parts) > 0 {
			t.Errorf("counted: %s; it has to fail %d times more; %d parts are kept", b.counted(), store.times,
				len(b.drain.parts))
		}
	})
}

func TestTheEventsOfACallbackKnowItWhateverWayItTakes(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		items   int
		spooled bool
		id      string
	}{
		"to Redis":                {items: 2, id: "cb_mir3k9x2a7q2f8"},
		"through the spool":       {items: 2, spooled: true, id: "cb_mir3k9x2a7q2f8"},
		"in parts":                {items: whole.Items + 1, spooled: true, id: "cb_mir3k9x2a7q2f8"},
		"from an older version":   {items: 2, spooled: true},
		"from an older one's big": {items: whole.Items + 1, spooled: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				var got []event.Event
				b.store.accept = func(_ int, es []queue.Routed) error {
					b.store.with(func() {
						for _, e := range es {
							got = append(got, *e.Event)
						}
					})
					return nil
				}
				cb := manyItems(x.items)
				cb.ID, cb.From, cb.Replica = x.id, "203.0.113.9", "relay-b"
				if x.spooled {
					b.store.setDown(errors.New("redis is down"))
				}
				parsed, more := b.Parse(cb)
				if sum, err := b.Keep(t.Context(), cb, parsed, more); err != nil || sum.Spooled != x.spooled {
					t.Fatalf("%+v, %v", sum, err)
				}
				b.store.setDown(nil)
				b.run()
				time.Sleep(time.Minute)
				b.end()

				if len(got) != x.items {
					t.Fatalf("%d events, want %d", len(got), x.items)
				}
				want := event.Origin{ID: x.id, From: "203.0.113.9", Replica: "relay-b", Form: "json", Items: x.items}
				for i, e := range got {
					known := e.Origin != nil && *e.Origin == want || e.Origin == nil && x.id == ""
					if !known || e.Item != i+1 || e.Config != "a0b1c2d3" || !e.ReceivedAt.Equal(cb.ReceivedAt) {
						t.Fatalf("event %d: %+v of %+v", i, e, e.Origin)
					}
				}
			})
		})
	}
}

func TestWhatTheRelaySaysIsOwedToSubscribersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var accepted [][]queue.Candidate
		b := newBench(t, nil)
		b.store.accept = func(_ int, es []queue.Routed) error {
			accepted = append(accepted, es[0].To)
			return nil
		}
		own := &event.Event{ID: testID(7), Type: event.TypeLost, CPCode: "zt", WaybillCode: "1", Data: []byte(`{}`)}
		tell := func(owed ...string) error {
			b.Use(func(*event.Event) (out []queue.Candidate) {
				for _, endpoint := range owed {
					out = append(out, queue.Candidate{Endpoint: endpoint, When: event.IfSubscribed})
				}
				return out
			}, "a0b1c2d3")
			return b.Tell(t.Context(), own)
		}

		// Without anybody who is owed it, there is no event.
		if err := errors.Join(tell(), tell("other/a", "others/b")); err != nil || len(accepted) != 0 {
			t.Errorf("%v, accepted for %v", err, accepted)
		}
		if err := tell("other/a", "subscriber/b"); err != nil || len(accepted) != 1 || len(accepted[0]) != 1 ||
			accepted[0][0].Endpoint != "subscriber/b" || accepted[0][0].Slot || accepted[0][0].When != event.IfSubscribed {
			t.Errorf("%v, accepted for %+v", err, accepted)
		}

		// It waits behind older updates of the waybill, and for Redis.
		b.store.with(func() { b.store.down = errors.New("redis is down") })
		if err := tell("subscriber/b"); err == nil {
			t.Error("redis is down, and it is accepted")
		}
		b.keep("1")
		b.store.with(func() { b.store.down = nil })
		if err := tell("subscriber/b"); !errors.Is(err, errBehind) || len(accepted) != 1 {
			t.Errorf("%v, accepted for %+v", err, accepted)
		}
	})
}
