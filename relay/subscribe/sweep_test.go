package subscribe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// leftovers is a ledger with waybills that a replica which was killed has left: each is handed out once.
type leftovers struct {
	Store
	left          int
	tenant        string // whom they are to be caught up for; empty: the provider has to be asked
	handed, asked atomic.Int64
}

func (*leftovers) Aside(context.Context) (end func()) { return func() {} }

// tenant has room for requests that are written down.
func tenant(name string) *Tenant {
	return &Tenant{Name: name, writing: make(chan struct{}, writesAtOnce)}
}

func (l *leftovers) TakeOver(_ context.Context, most int) (todo []ledger.UnfinishedWork, _ error) {
	for ; l.left > 0 && len(todo) < most; l.left-- {
		todo = append(todo, ledger.UnfinishedWork{Tenant: l.tenant,
			Waybill: event.Waybill{CPCode: "zt", Code: fmt.Sprint(l.left)}})
	}
	l.handed.Add(int64(len(todo)))
	return todo, nil
}

func (l *leftovers) Claim(_ context.Context, _ string,
	waybills []event.Waybill) (time.Duration, []ledger.ClaimResult, error) {
	claimed := make([]ledger.ClaimResult, len(waybills))
	for i := range claimed {
		claimed[i] = ledger.ClaimResult{Mine: true, State: ledger.Pending}
	}
	return 0, claimed, nil
}

func (l *leftovers) Answered(_ context.Context, _ string, waybills []event.Waybill, _ ledger.Verdict,
	_ ledger.Answer) ([]ledger.AnswerResult, error) {
	l.asked.Add(int64(len(waybills)))
	return make([]ledger.AnswerResult, len(waybills)), nil
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

// deaf is a provider that never answers.
type deaf struct{}

func (deaf) Call(ctx context.Context, _ string, _ []byte) (kuaidihelp.Envelope, error) {
	<-ctx.Done()
	return kuaidihelp.Envelope{}, &kuaidihelp.ErrNoAnswer{}
}

func TestACallIsCutShortAtTheEndOfTheGraceAndLeftToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &leftovers{left: 1}
		p := New(Options{Store: l, Settings: Settings{Upstream: deaf{}}, ShutdownGrace: 3 * time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			_ = p.Run(ctx)
			close(ended)
		}()
		time.Sleep(time.Minute)
		cancel()
		stopped := time.Now()
		<-ended
		if took := time.Since(stopped); took != 3*time.Second || l.asked.Load() != 0 {
			t.Errorf("it ended after %s, and %d answers were written down", took, l.asked.Load())
		}
	})
}

// Admit fails as a store does whose caller has gone away.
func (l *leftovers) Admit(ctx context.Context, _ string, _ ledger.Limits, _ int) (time.Duration, bool, error) {
	return 0, false, cmp.Or(ctx.Err(), errors.New("redis does not answer"))
}

// isA takes every request for one of the tenant a.
func isA(echo.Context) (name, key string, err error) { return "a", "", nil }

// anySign takes every signature for one of a tenant.
func anySign(_, _, _, _ string) bool { return true }

func TestAClientThatGoesAwayIsNoErrorOfTheLedger(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		core, logs := observer.New(zapcore.DebugLevel)
		registry := prometheus.NewRegistry()
		p := New(Options{Store: &leftovers{}, Logger: zap.New(core), Registry: registry, Tenant: isA,
			Settings: Settings{Upstream: deaf{}, Tenants: []Tenant{{Name: "a"}}}})
		e := echo.New()
		p.Register(e)
		ctx, cancel := context.WithCancel(t.Context())
		if gone {
			cancel()
		}
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, createPath,
			strings.NewReader(`{"cp_code":"zt","waybill_codes":"1"}`))
		e.ServeHTTP(httptest.NewRecorder(), req)
		cancel()
		want := 1
		if gone {
			want = 0
		}
		counted := 0
		families, err := registry.Gather()
		for _, f := range families {
			if f.GetName() == "kuairelay_subscribe_requests_total" {
				counted += len(f.GetMetric())
			}
		}
		if err != nil || logs.Len() != want || counted != want {
			t.Errorf("gone %v: %d lines in the log, %d errors counted (%v)", gone, logs.Len(), counted, err)
		}
	}
}

func TestTheSweeperCatchesUpWhomAKilledReplicaHasLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &leftovers{left: 250, tenant: "late"}
		var caughtUp, under, most atomic.Int64
		p := New(Options{Store: l, Settings: Settings{Upstream: slow{}},
			CatchUp: func(ctx context.Context, tenant string, _ event.Waybill) error {
				if tenant != "late" || ctx.Err() != nil {
					t.Errorf("%s is caught up (%v)", tenant, ctx.Err())
				}
				most.Store(max(most.Load(), under.Add(1)))
				time.Sleep(time.Second)
				under.Add(-1)
				caughtUp.Add(1)
				return nil
			}})
		runs(t, p)
		time.Sleep(5 * time.Minute)
		if caughtUp.Load() != 250 || l.asked.Load() != 0 || most.Load() != catchUpWorkers {
			t.Errorf("%d of 250 were caught up, %d at a time; the provider was asked for %d", caughtUp.Load(), most.Load(),
				l.asked.Load())
		}
	})
}

// runs runs a proxy until the bubble ends.
func runs(t *testing.T, p *Proxy) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		_ = p.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func TestWithoutAnAccountWhatIsPendingStaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &leftovers{left: 1}
		runs(t, New(Options{Store: l}))
		time.Sleep(time.Minute)
		if l.handed.Load() != 1 || l.asked.Load() != 0 {
			t.Errorf("%d were handed out, %d answers were written down", l.handed.Load(), l.asked.Load())
		}
	})
}

// liveLedger is a ledger in which every waybill is live, and every tenant that is new to one has to be caught up with
// it.
type liveLedger struct{ leftovers }

func (w *liveLedger) Subscribe(_ context.Context, _ string,
	waybills []event.Waybill) ([]ledger.SubscribeResult, error) {
	out := make([]ledger.SubscribeResult, len(waybills))
	for i := range out {
		out[i] = ledger.SubscribeResult{State: ledger.Live, CatchUp: true}
	}
	return out, nil
}

func TestATenantThatHasMuchToCatchUpWithDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var large, own atomic.Int64
		p := New(Options{Store: &liveLedger{}, CatchUp: func(_ context.Context, tenant string, _ event.Waybill) error {
			time.Sleep(time.Second)
			if tenant == "large" {
				large.Add(1)
			} else {
				own.Add(1)
			}
			return nil
		}})
		runs(t, p)
		codes := make([]string, maxWaybills)
		for i := range codes {
			codes[i] = fmt.Sprint(i)
		}
		ctx, gone := context.WithCancel(t.Context())
		of := tenant("large")
		for range 5 { // of them, one finds room
			go func() { _, _ = p.subscribe(ctx, of, "zt", codes) }()
		}
		synctest.Wait()
		if _, err := p.subscribe(t.Context(), tenant("small"), "zt", codes[:3]); err != nil || own.Load() != 3 ||
			large.Load() > 3*catchUpWorkers {
			t.Errorf("%d of 3 are caught up, after %d of another tenant's (%v)", own.Load(), large.Load(), err)
		}
		gone() // what was begun is ended all the same
		time.Sleep(time.Hour)
		// room for some more came when the first had begun
		if n := large.Load(); n < maxWaybills || n > maxWaybills+catchUpWorkers {
			t.Errorf("%d of %d are caught up", n, maxWaybills)
		}
	})
}

// stuck is a ledger that gives nobody a turn.
type stuck struct{ leftovers }

func (*stuck) ReserveCall(context.Context) (time.Duration, error) {
	return 0, errors.New("redis does not answer")
}

func (*stuck) Admit(context.Context, string, ledger.Limits, int) (time.Duration, bool, error) {
	return 0, false, nil
}

func (*stuck) Now() time.Time { return time.Now() }

// counting is a provider that counts its calls.
type counting struct{ calls atomic.Int64 }

func (c *counting) Call(context.Context, string, []byte) (kuaidihelp.Envelope, error) {
	c.calls.Add(1)
	return kuaidihelp.Envelope{}, nil
}

func TestAMethodIsNotCalledOutOfTurnWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(3 * 365 * 24 * time.Hour) // to when a time has ten digits
		provider := &counting{}
		p := New(Options{Store: &stuck{}, Signed: anySign,
			Settings: Settings{Upstream: provider, Methods: []string{"m"}, Tenants: []Tenant{{Name: "a"}}}})
		runs(t, p)
		e := echo.New()
		p.Register(e)
		ts := strconv.FormatInt(time.Now().Unix(), 10)
		form := url.Values{"app_id": {"a"}, "method": {"m"}, "ts": {ts}, "sign": {"s"}, "data": {"{}"}}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api", strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer := httptest.NewRecorder()
		e.ServeHTTP(answer, req)
		if provider.calls.Load() != 0 || !strings.Contains(answer.Body.String(), `"code":1001`) {
			t.Errorf("%d calls, answer %s", provider.calls.Load(), answer.Body)
		}
	})
}

// shared is a ledger with a waybill that another replica asks the provider for, which takes a second. It notes whether
// what is written there can be cut short by a client that goes away.
type shared struct {
	leftovers
	answered time.Time
	claims   int
	cut      error
}

func (s *shared) Subscribe(ctx context.Context, _ string, waybills []event.Waybill) ([]ledger.SubscribeResult, error) {
	s.cut = ctx.Err()
	return make([]ledger.SubscribeResult, len(waybills)), nil
}

func (s *shared) Claim(_ context.Context, _ string,
	waybills []event.Waybill) (time.Duration, []ledger.ClaimResult, error) {
	s.claims++
	claimed := make([]ledger.ClaimResult, len(waybills))
	for i := range claimed {
		claimed[i].State = ledger.Pending
		if !time.Now().Before(s.answered) {
			claimed[i].State = ledger.Live
		}
	}
	return 0, claimed, nil
}

func TestWhoWaitsForTheCallOfAnotherLooksForItNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &shared{answered: time.Now().Add(time.Second)}
		p := New(Options{Store: l, Settings: Settings{Upstream: slow{}}})
		runs(t, p)
		results, err := p.subscribe(t.Context(), tenant("a"), "zt", []string{"1"})
		if err != nil || results[0].Result != Subscribed {
			t.Errorf("%+v, %v", results, err)
		}
		if late := time.Since(l.answered); late > waiterPause || l.claims < 2 || l.claims > 12 {
			t.Errorf("known after %s; the ledger was asked %d times in a second", late, l.claims)
		}
	})
}

func TestAClientThatGoesAwayDoesNotCutShortWhatIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &shared{answered: time.Now().Add(time.Hour)}
		p := New(Options{Store: l, Settings: Settings{Upstream: slow{}}})
		ctx, gone := context.WithCancel(t.Context())
		gone()
		if results, err := p.subscribe(ctx, tenant("a"), "zt", []string{"1"}); err != nil || results[0].Result != Pending ||
			l.cut != nil {
			t.Errorf("%+v, %v; the subscription was written with a context that says %v", results, err, l.cut)
		}
	})
}

// writing is a ledger that takes a second to write subscriptions down, and counts how many it writes at one time.
type writing struct {
	liveLedger
	now, most atomic.Int64
}

func (s *writing) Subscribe(ctx context.Context, tenant string,
	waybills []event.Waybill) ([]ledger.SubscribeResult, error) {
	if n := s.now.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	time.Sleep(time.Second)
	s.now.Add(-1)
	return s.liveLedger.Subscribe(ctx, tenant, waybills)
}

func TestFewRequestsOfATenantAreWrittenDownAtOneTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ledger := &writing{}
		p := New(Options{Store: ledger, Settings: Settings{Tenants: []Tenant{{Name: "shop"}}},
			CatchUp: func(context.Context, string, event.Waybill) error { return nil }})
		runs(t, p)
		shop := p.current.Load().tenants["shop"]
		var done, late atomic.Int64
		for range 64 { // 20 s have room for 40
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), p.o.Budget)
				defer cancel()
				if _, err := p.subscribe(ctx, shop, "zt", []string{"1"}); errors.Is(err, event.ErrTooMany) {
					late.Add(1)
				} else if err == nil {
					done.Add(1)
				}
			}()
		}
		time.Sleep(time.Minute)
		if n := ledger.most.Load(); n != writesAtOnce || done.Load() < 38 || done.Load()+late.Load() != 64 {
			t.Errorf("%d at one time, %d done, %d told to come later", n, done.Load(), late.Load())
		}
	})
}

func TestATenantThatTheConfigLostIsWrittenDownAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Store: &liveLedger{}, CatchUp: func(context.Context, string, event.Waybill) error { return nil }})
		runs(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), p.o.Budget)
		defer cancel()
		results, err := p.subscribe(ctx, p.current.Load().tenant("gone"), "zt", []string{"1"})
		if err != nil || results[0].Result != Subscribed {
			t.Errorf("%+v (%v)", results, err)
		}
	})
}

func TestACatchUpThatHasBegunIsEndedWhenTheRelayStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := errors.New("not ended")
		p := New(Options{Store: &leftovers{left: 1, tenant: "late"},
			CatchUp: func(ctx context.Context, _ string, _ event.Waybill) error {
				time.Sleep(time.Second)
				ended = ctx.Err()
				return nil
			}})
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer stop()
		if err := p.Run(ctx); err != nil || ended != nil {
			t.Errorf("Run: %v; the catch-up: %v", err, ended)
		}
	})
}
