package subscribe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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
func (l *leftovers) Admit(ctx context.Context, _ string, _ event.Limits, _ int) (time.Duration, bool, error) {
	return 0, false, cmp.Or(ctx.Err(), errors.New("redis does not answer"))
}

func TestAClientThatGoesAwayIsNoErrorOfTheLedger(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		core, logs := observer.New(zapcore.DebugLevel)
		registry := prometheus.NewRegistry()
		p := New(Options{Store: &leftovers{}, Logger: zap.New(core), Registry: registry, Settings: Settings{Tenants: []Tenant{{Name: "a", Keys: []string{"k"}}}}})
		e := echo.New()
		p.Register(e)
		ctx, cancel := context.WithCancel(t.Context())
		if gone {
			cancel()
		}
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/subscriptions", nil)
		req.Header.Set("Authorization", "Bearer k")
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
