package intake

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/queue"
	"kuairelay/relay/spool"
)

// fakeStore accepts what it is asked to, unless a test says otherwise.
type fakeStore struct {
	mu          sync.Mutex
	down        error                                   // what Available says
	accept      func(call int, es []queue.Routed) error // before a call is made
	answer      func(call int)                          // after it was made
	calls       int
	known       map[string]bool // events that were accepted
	quarantined []event.Quarantined
	doubted     int
	open        map[string]bool // events that owe something; nil: all that were accepted
}

// with looks at the store, or changes it.
func (s *fakeStore) with(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *fakeStore) Available() (err error) {
	s.with(func() { err = s.down })
	return err
}

func (s *fakeStore) setDown(err error) { s.with(func() { s.down = err }) }

func (s *fakeStore) WaitUp(ctx context.Context) error {
	for s.Available() != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func (s *fakeStore) SuspectDown(time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubted++
	s.down = errors.New("redis is down")
}

func (s *fakeStore) Accept(_ context.Context, es []queue.Routed) ([]queue.Accepted, error) {
	var call int
	s.with(func() {
		s.calls++
		call = s.calls
	})
	if s.accept != nil {
		if err := s.accept(call, es); err != nil {
			return nil, err
		}
	}

	out := make([]queue.Accepted, len(es))
	s.with(func() {
		for i, e := range es {
			out[i] = queue.Accepted{Duplicate: s.known[e.Event.ID], Deliveries: len(e.To)}
			s.known[e.Event.ID] = true
		}
	})
	if s.answer != nil {
		s.answer(call)
	}
	return out, nil
}

func (s *fakeStore) Quarantine(_ context.Context, qs []event.Quarantined, _ bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quarantined = append(s.quarantined, qs...)
	return 0, nil
}

func (s *fakeStore) EventWithoutData(context.Context, string, string) (*event.Record, bool, error) {
	return nil, false, nil
}

func (s *fakeStore) Closed(_ context.Context, ids []string) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]bool, len(ids))
	for i, id := range ids {
		out[i] = !s.open[id]
	}
	return out, nil
}

func (s *fakeStore) Latest(context.Context, event.Waybill) (*event.Event, bool, error) {
	return nil, false, nil
}

func (s *fakeStore) SubscribedBy(_ context.Context, _ event.Waybill, tenants []string) ([]bool, error) {
	out := make([]bool, len(tenants))
	for i, tenant := range tenants {
		out[i] = tenant == "subscriber"
	}
	return out, nil
}

func (s *fakeStore) CatchUp(context.Context, string, event.Waybill, *event.Event,
	[]queue.Candidate) (queue.CatchUpResult, error) {
	return queue.CatchUpResult{}, nil
}

// fakePool has no slots.
type fakePool struct{}

func (fakePool) Reserve(string) bool                      { return false }
func (fakePool) Lease(string) time.Duration               { return time.Minute }
func (fakePool) Start(map[string]int, []*event.Delivery)  {}
func (fakePool) Feed(string)                              {}
func (fakePool) AwaitHeld(context.Context, time.Duration) {}

// errRefused is what Redis says of a callback that it never takes.
var errRefused = errors.New("refused for good")

// bench is an intake, on a spool of its own. Each event is owed to one endpoint.
type bench struct {
	*Intake
	t        *testing.T
	store    *fakeStore
	registry *prometheus.Registry
	dir      string
	stop     context.CancelFunc
	ended    chan struct{}
}

func newBench(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, store: &fakeStore{known: make(map[string]bool)}, registry: prometheus.NewRegistry(),
		dir: t.TempDir()}
	o := Options{
		Store: b.store, Pool: fakePool{}, Spool: newSpool(b.dir), Registry: b.registry, Logger: zap.NewNop(),
		Permanent: func(err error) bool { return errors.Is(err, errRefused) },
	}
	if change != nil {
		change(&o)
	}
	b.Intake = New(o)
	b.Use(func(*event.Event) []queue.Candidate { return []queue.Candidate{{Endpoint: "shop/orders"}} }, "a0b1c2d3")
	if _, err := o.Spool.Adopt(); err != nil { // what Run does first
		t.Fatal(err)
	}
	t.Cleanup(func() { time.Sleep(time.Minute) }) // idle workers end
	return b
}

func newSpool(dir string) *spool.Spool {
	return spool.New(spool.Options{Dir: dir, Deadline: time.Minute, Waybills: func(cb *event.Callback) iter.Seq[string] {
		return kuaidihelp.Waybills("", cb.Body)
	}})
}

// newBenchWithoutSpool is newBench with a spool that cannot be written.
func newBenchWithoutSpool(t *testing.T) *bench {
	t.Helper()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil { // no folder can be made below it
		t.Fatal(err)
	}
	b := newBench(t, nil)
	b.spool = newSpool(file + "/spool")
	_, _ = b.spool.Adopt()
	return b
}

// run runs the intake until end.
func (b *bench) run() {
	ctx, stop := context.WithCancel(b.t.Context())
	b.stop = stop
	b.ended = make(chan struct{})
	go func() {
		defer close(b.ended)
		b.Run(ctx)
	}()
}

func (b *bench) end() {
	b.stop()
	<-b.ended
	if err := b.Close(); err != nil {
		b.t.Error(err)
	}
}

// keep keeps an update of a waybill.
func (b *bench) keep(waybill string) event.Summary {
	b.t.Helper()
	cb, parsed := update(waybill)
	sum, err := b.Keep(b.t.Context(), cb, parsed, false)
	if err != nil {
		b.t.Errorf("waybill %s: %v", waybill, err)
	}
	return sum
}

func update(waybill string) (*event.Callback, kuaidihelp.Result) {
	body := fmt.Sprintf(`{"type":"express_sub_msg","data":[{"waybill_code":%q,"cp_code":"zt",`+
		`"status":"signed","data":[]}]}`, waybill)
	cb := &event.Callback{ReceivedAt: time.Now(), Body: []byte(body)}
	return cb, kuaidihelp.Parse("", cb.Body, cb.ReceivedAt)
}

// counted gives kuairelay_events_total by its results that are not 0.
func (b *bench) counted() string {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, m := range families[0].GetMetric() {
		if n := m.GetCounter().GetValue(); n > 0 {
			out = append(out, fmt.Sprint(m.GetLabel()[0].GetValue(), " ", n))
		}
	}
	return strings.Join(out, ", ")
}

// left gives the waybills of the callbacks that another process finds on disk.
func (b *bench) left() (waybills []string) {
	b.t.Helper()
	next := newSpool(b.dir)
	defer func() { _ = next.Close() }()
	if _, err := next.Adopt(); err != nil {
		b.t.Fatal(err)
	}
	for next.Stats().Waiting > 0 {
		files, err := next.Next(b.t.Context(), 100, 1<<20)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, f := range files {
			cb, err := next.Read(f)
			if err != nil {
				b.t.Fatal(err)
			}
			waybills = append(waybills, slices.Collect(kuaidihelp.Waybills("", cb.Body))...)
		}
		next.Hold(files)
	}
	return waybills
}

// A callback whose routing takes long goes to the spool. Redis was not asked yet, and is not said to be slow: the
// intake of this test has none that could be doubted.
func TestSlowRoutingIsNotTakenForASlowRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &Intake{log: zap.NewNop()}
		o, ended := in.await(make(chan struct{}), make(chan outcome))
		if ended || o.err == nil || !strings.Contains(o.err.Error(), "when expressions") {
			t.Errorf("got %v, %v", o.err, ended)
		}
	})
}

func TestACallbackThatRedisIsSlowToTakeIsSpooledAndItsFileWithdrawnWhenRedisHasIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		release := make(chan struct{})
		b.store.accept = func(int, []queue.Routed) error { <-release; return nil }
		began := time.Now()
		if sum := b.keep("1"); !sum.Spooled {
			t.Errorf("%+v", sum)
		}
		if took := time.Since(began); took != 300*time.Millisecond || b.store.doubted != 1 {
			t.Errorf("kept after %s, redis was doubted %d times", took, b.store.doubted)
		}
		if n := b.spool.Stats().Files; n != 1 || b.counted() != "" {
			t.Errorf("%d files, counted: %s", n, b.counted())
		}

		close(release)
		synctest.Wait()
		if n := b.spool.Stats().Files; n != 0 || b.counted() != "new 1" {
			t.Errorf("%d files are left, counted: %s", n, b.counted())
		}
	})
}

func TestACallbackThatTheDrainWasFasterToTakeIsCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		release := make(chan struct{})
		b.store.accept = func(call int, _ []queue.Routed) error {
			if call == 1 {
				<-release
			}
			return nil
		}
		b.keep("1")
		b.store.setDown(nil)
		b.run()
		time.Sleep(time.Second)
		if n := b.spool.Stats().Files; n != 0 || b.Stats().Drained != 1 {
			t.Errorf("%d files are left, %+v", n, b.Stats())
		}

		// The first call is answered now: Redis says that it has the event.
		close(release)
		synctest.Wait()
		if b.counted() != "new 1" {
			t.Errorf("counted: %s", b.counted())
		}
		b.end()
	})
}

// Redis has taken the callback, but its answer is late: the drain is told of a duplicate, which is none.
func TestACallbackWhoseAnswerIsLateIsCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		release := make(chan struct{})
		b.store.answer = func(call int) {
			if call == 1 {
				<-release
			}
		}
		b.keep("1")
		b.store.setDown(nil)
		b.run()
		time.Sleep(time.Second)
		close(release)
		synctest.Wait()
		if n := b.spool.Stats().Files; n != 0 || b.counted() != "new 1" {
			t.Errorf("%d files are left, counted: %s", n, b.counted())
		}

		// And once more, when it is a duplicate.
		again := make(chan struct{})
		b.store.with(func() {
			b.store.answer = func(call int) {
				if call == 3 {
					<-again
				}
			}
		})
		b.keep("1")
		b.store.setDown(nil)
		time.Sleep(time.Second)
		close(again)
		synctest.Wait()
		if b.counted() != "duplicate 1, new 1" {
			t.Errorf("counted: %s", b.counted())
		}
		b.end()
	})
}

// A call that failed may have made a part of a callback durable, which the drain is then told is known.
func TestWhatTwoCallsWereToldIsCountedAsOneWhicheverCameFirst(t *testing.T) {
	t.Parallel()
	part, rest := event.Summary{New: 64, Deliveries: 64}, event.Summary{New: 36, Duplicates: 64, Deliveries: 36}
	for _, told := range [][2]event.Summary{{part, rest}, {rest, part}} {
		var twice askedTwice
		var counted []event.Summary
		for _, sum := range told {
			twice.add(sum, func(s event.Summary) { counted = append(counted, s) })
		}
		if want := []event.Summary{{New: 100, Deliveries: 100}}; !slices.Equal(counted, want) {
			t.Errorf("counted: %+v", counted)
		}
	}
}

func TestANewerUpdateOfAWaybillWaitsBehindTheOneInTheSpool(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.store.setDown(errors.New("redis is down"))
		b.keep("1")
		b.store.setDown(nil)
		if sum := b.keep("1"); !sum.Spooled || len(b.spool.Naming("1", 9)) != 2 {
			t.Errorf("%+v", sum)
		}
		if sum := b.keep("2"); sum.Spooled || sum.New != 1 || len(b.spool.Naming("2", 9)) > 0 {
			t.Errorf("another waybill: %+v", sum)
		}
	})
}

func TestWhatRedisRefusesForGoodGoesToQuarantineAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		offered := make(map[string]int)
		b.store.accept = func(_ int, es []queue.Routed) error {
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			for _, e := range es {
				offered[e.Event.WaybillCode]++
			}
			if slices.ContainsFunc(es, func(e queue.Routed) bool { return e.Event.WaybillCode == "bad" }) {
				return errRefused
			}
			if slices.ContainsFunc(es, func(e queue.Routed) bool {
				return e.Event.WaybillCode == "unlucky" &&
					offered["unlucky"] < 10
			}) {
				return errors.New("not now")
			}
			return nil
		}
		for _, waybill := range []string{"bad", "unlucky", "good"} {
			b.keep(waybill)
		}
		b.run()
		time.Sleep(time.Minute)
		b.end()
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
		if q := b.store.quarantined; len(q) != 1 || !strings.Contains(string(q[0].Raw), `"bad"`) ||
			!strings.Contains(q[0].Reason, "refused for good") {
			t.Errorf("in quarantine: %+v", q)
		}
		if s := b.Stats(); s.Quarantined != 1 || s.Drained != 1 || b.spool.Stats().Files != 0 ||
			b.counted() != "new 2, quarantined 1" {
			t.Errorf("%+v, %d files, counted: %s", s, b.spool.Stats().Files, b.counted())
		}
		// At its arrival, beside the other one, and then alone.
		if want := 1 + 1 + refusals + 1; offered["bad"] != want {
			t.Errorf("it was offered %d times, want %d", offered["bad"], want)
		}
	})
}

func TestAFileStaysUntilAllItsEventsAreDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) { o.UntilDelivered = true })
		_, one := update("1")
		b.store.open = map[string]bool{one.Events[0].ID: true}
		b.run()
		if sum := b.keep("1"); sum.New != 1 {
			t.Errorf("%+v", sum)
		}
		b.Delivered([]string{one.Events[0].ID}) // to one endpoint of two
		time.Sleep(time.Second)
		if n := b.spool.Stats().Files; n != 1 {
			t.Errorf("%d files, though an endpoint is still owed the event", n)
		}
		b.store.with(func() { clear(b.store.open) })
		b.Delivered([]string{one.Events[0].ID})
		time.Sleep(time.Second)
		if n := b.spool.Stats().Files; n != 0 {
			t.Errorf("%d files are left", n)
		}
		b.end()
	})
}

// What is delivered while the answer of Accept is on its way was not tracked yet. Its file goes at once all the same,
// not with the sweep of everything.
func TestAnEventThatWasDeliveredBeforeItWasTrackedKeepsNoFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) { o.UntilDelivered = true })
		b.store.accept = func(_ int, es []queue.Routed) error {
			b.Delivered([]string{es[0].Event.ID})
			time.Sleep(time.Millisecond) // the store is asked about it meanwhile
			return nil
		}
		b.run()
		b.keep("1")
		time.Sleep(sweepEvery / 10)
		if n := b.spool.Stats().Files; n != 0 {
			t.Errorf("%d files are left", n)
		}
		b.end()
	})
}

func TestWhatIsDeliveredAtTheEndOfAProcessIsNotTakenUpByTheNextOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(o *Options) { o.UntilDelivered = true })
		_, delivered := update("1")
		_, open := update("2")
		b.store.open = map[string]bool{delivered.Events[0].ID: true, open.Events[0].ID: true}
		b.run()
		b.keep("1")
		b.keep("2")
		b.stop()
		<-b.ended
		b.store.with(func() { delete(b.store.open, delivered.Events[0].ID) })
		b.Delivered([]string{delivered.Events[0].ID})
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if left := b.left(); !slices.Equal(left, []string{"2"}) {
			t.Errorf("the next process finds %v, want that of waybill 2 alone", left)
		}
	})
}

// However a callback waits when its process is told to stop, Run ends at once, and the callback is on disk for the next
// one.
func TestAShutdownWaitsForNobodyAndLosesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arrange func(b *bench)
		accept  func(release <-chan struct{}) error
	}{
		"redis is down": {func(b *bench) { b.store.SuspectDown(0) }, nil},
		"redis hangs in the drain": {func(*bench) {}, func(release <-chan struct{}) error {
			<-release
			return errors.New("too late")
		}},
		"redis refuses it, for now": {func(*bench) {}, func(<-chan struct{}) error { return errors.New("not now") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				release := make(chan struct{})
				if c.accept != nil {
					b.store.accept = func(int, []queue.Routed) error { return c.accept(release) }
				}
				c.arrange(b)
				b.keep("1")
				if c.accept != nil {
					b.store.setDown(nil) // it was doubted meanwhile
				}
				b.run()
				time.Sleep(1500 * time.Millisecond)

				stopped := time.Now()
				b.end()
				if took := time.Since(stopped); took > 20*time.Millisecond {
					t.Errorf("it ended after %s", took)
				}
				close(release)
				synctest.Wait()
				if left := b.left(); !slices.Equal(left, []string{"1"}) {
					t.Errorf("the next process finds %v", left)
				}
			})
		})
	}
}

func TestACallbackIsRefusedOnlyIfNeitherTakesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBenchWithoutSpool(t)
		if sum := b.keep("1"); sum.New != 1 {
			t.Errorf("redis takes it: %+v", sum)
		}

		b.store.setDown(errors.New("redis is down"))
		cb, parsed := update("2")
		_, err := b.Keep(t.Context(), cb, parsed, false)
		if err == nil || !strings.Contains(err.Error(), "redis is down") || !strings.Contains(err.Error(), "spool") {
			t.Errorf("neither takes it: %v", err)
		}
	})
}

func TestATenantIsCaughtUpWithNothingWhereNothingIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		if err := b.CatchUp(t.Context(), "shop", event.Waybill{CPCode: "zt", Code: "1"}); err != nil {
			t.Error(err)
		}
	})
}
