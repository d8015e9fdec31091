package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"kuairelay/relay/event"
)

// noon is the time in these tests.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// unused is a store that no handler may ask: a test puts a fake in place of the part that its handler needs.
type unused struct{ Store }

func (unused) Now() time.Time { return noon }

// NoteEndpoint takes what any handler may write into the log of an endpoint.
func (unused) NoteEndpoint(context.Context, string, event.LogEntry) error { return nil }

// bench is an API with two tenants, shop and other. It records the log, and the endpoints that have something due.
type bench struct {
	*API
	logs *observer.ObservedLogs
	due  []string
}

func newBench(o Options) *bench {
	b := &bench{}
	core, logs := observer.New(zapcore.DebugLevel)
	b.logs = logs
	o.Store = unused{}
	o.Logger = zap.New(core)
	o.OnDue = func(endpoint string) { b.due = append(b.due, endpoint) }
	b.API = New(o)
	b.latest.value = &snapshot{} // no endpoint was removed
	b.latest.until = time.Now().Add(time.Hour)
	b.latest.soon = b.latest.until
	b.subscriptions = noSubscribers{}
	b.Use(Settings{Tenants: []Tenant{
		{Name: "shop", Endpoints: []Endpoint{{ID: "shop/orders", URL: "https://u:p@shop/hooks?token=x"}, {ID: "shop/b"},
			{ID: "shop/a"}}},
		{Name: "other", Endpoints: []Endpoint{{ID: "other/mail"}}},
	}})
	return b
}

// noSubscribers has no subscriptions of tenants that were removed.
type noSubscribers struct{ subscriptionStore }

func (noSubscribers) Subscribers(context.Context) ([]string, error) { return nil, nil }

// call is a request of a tenant (empty: the operator), with its answer.
func (b *bench) call(tenant, target, body string) (*call, *httptest.ResponseRecorder) {
	req := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	answer := httptest.NewRecorder()
	c := &call{Context: echo.New().NewContext(req, answer), API: b.API, settings: b.current.Load(), tenant: tenant}
	return c, answer
}

// ask calls a handler, and gives its result.
func ask[T any](b *bench, handle func(*call) (T, error), tenant, target, body string) (T, error) {
	c, _ := b.call(tenant, target, body)
	return handle(c)
}

// problem is the status and the detail of the answer to an error; 0: there is no error.
func problem(err error) (status int, detail string) {
	he, ok := errors.AsType[*echo.HTTPError](err)
	switch {
	case err == nil:
		return 0, ""
	case !ok:
		return http.StatusInternalServerError, err.Error()
	}
	detail, _ = he.Message.(string)
	return he.Code, detail
}

// refused fails the test unless an error has this status, and its detail holds a text.
func refused(t *testing.T, what string, err error, status int, text string) {
	t.Helper()
	if got, detail := problem(err); got != status || !strings.Contains(detail, text) {
		t.Errorf("%s: %d %q, want %d and %q in it", what, got, detail, status, text)
	}
}

func TestAnAnswerIsWrittenAsJSONAndNothingWithoutABody(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	c, answer := b.call("", "/", "")
	if err := write(c, http.StatusCreated, DeadLettersResult{Done: 2}); err != nil || answer.Code != 201 ||
		strings.TrimSpace(answer.Body.String()) != `{"done":2}` || answer.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v: %d %s %v", err, answer.Code, answer.Body, answer.Header())
	}
	c, answer = b.call("", "/", "")
	if err := write(c, http.StatusNoContent, nil); err != nil || answer.Code != 204 || answer.Body.Len() > 0 {
		t.Errorf("%v: %d %q", err, answer.Code, answer.Body)
	}
}

func TestAHandlerIsCalledOnlyForOneWhoIsLetIn(t *testing.T) {
	t.Parallel()
	nobody, tooMuch := echo.NewHTTPError(401, "nobody"), echo.NewHTTPError(429, "too much")
	var known, entered error
	left := 0
	b := newBench(Options{
		Tenant:   func(echo.Context) (string, string, error) { return "shop", "ci", known },
		Operator: func(echo.Context) (string, error) { return "", known },
		Enter: func(echo.Context, string) (func(), error) {
			return func() { left++ }, entered
		},
	})
	called := map[string]int{}
	r := route{handler: doing(func(c *call) error { called[c.tenant]++; return nil })}
	for _, x := range []struct {
		known, entered error
		status         int
	}{{known: nobody, status: 401}, {entered: tooMuch, status: 429}, {status: 0}} {
		known, entered = x.known, x.entered
		for _, handle := range []echo.HandlerFunc{b.asTenant(r), b.asOperator(r)} {
			c, _ := b.call("", "/", "")
			if status, detail := problem(handle(c.Context)); status != x.status {
				t.Errorf("%d %s, want %d", status, detail, x.status)
			}
		}
	}
	if called["shop"] != 1 || called[""] != 1 || left != 2 {
		t.Errorf("called %v, left %d times", called, left)
	}
}

func TestWhoeverHasGoneLeavesNoErrorInTheLog(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		b := newBench(Options{})
		c, _ := b.call("shop", "/", "")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if gone {
			cancel()
		}
		c.SetRequest(c.Request().WithContext(ctx))
		refused(t, "a store that failed", c.failed("list events", context.Canceled), 503, "cannot list events")
		if n := b.logs.FilterMessage("the store failed").Len(); n == 0 != gone {
			t.Errorf("gone: %v, and %d errors are logged", gone, n)
		}
	}
}

// trouble is an error that says what is wrong with Redis.
type trouble struct{ error }

func (trouble) Trouble() bool { return true }

func TestAFaultOfTheStoreTellsATenantNothingOfRedis(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	down, odd := trouble{errors.New("redis at 10.0.0.1 is down")}, errors.New("ERR odd")
	for _, x := range []struct {
		tenant string
		err    error
		status int
		detail string
	}{
		{tenant: "", err: down, status: 503, detail: "cannot list events: redis at 10.0.0.1 is down"},
		{tenant: "", err: odd, status: 503, detail: "cannot list events: ERR odd"},
		{tenant: "shop", err: down, status: 503, detail: "cannot list events: the relay's redis does not answer, " +
			"or refuses the command; try again"},
		{tenant: "shop", err: odd, status: 503, detail: "cannot list events: the relay's redis refuses " +
			"the command; the operator's log says why"},
		{tenant: "shop", err: event.ErrCursor, status: 400, detail: "cursor: must be the next of an earlier page"},
	} {
		c, _ := b.call(x.tenant, "/", "")
		if status, detail := problem(c.failed("list events", x.err)); status != x.status || detail != x.detail {
			t.Errorf("%q, %v: %d %s", x.tenant, x.err, status, detail)
		}
	}
	if n := b.logs.Len(); n != 2 {
		t.Errorf("%d lines in the log, want one for each fault", n)
	}
}

// An outage is a line in the log, and not one for each time that an open page asks.
func TestAFaultOfTheStoreThatGoesOnIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Options{})
		c, _ := b.call("", "/", "")
		down := trouble{errors.New("redis is down: connection refused")}
		logged := func(want int, why string) {
			t.Helper()
			if n := b.logs.FilterMessage("the store failed").Len(); n != want {
				t.Errorf("%d lines in the log, want %d: %s", n, want, why)
			}
		}
		for range 60 { // an hour, at the slowest pace of an open page
			_ = c.failed("look at endpoints", down)
			time.Sleep(time.Minute)
		}
		logged(1, "the outage goes on")
		_ = c.failed("look at endpoints", errors.New("ERR odd"))
		logged(2, "it fails otherwise")
		_ = c.failed("list events", down)
		logged(3, "something else fails")
		time.Sleep(complaintFor)
		_ = c.failed("look at endpoints", down)
		logged(4, "the next outage")
	})
}
