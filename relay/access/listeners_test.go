package access

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestAConnectionTooManyTakesTheLongestIdleOneOrIsAnswered503(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := LimitConnections(l, 2, nil, prometheus.NewCounter(prometheus.CounterOpts{Name: "refused"}))
	inside, release := make(chan struct{}, 9), make(chan struct{})
	e := echo.New()
	e.HideBanner = true
	e.HidePort = true
	e.GET("/fast", func(c echo.Context) error { return c.String(http.StatusOK, "fast") })
	e.GET("/slow", func(c echo.Context) error {
		inside <- struct{}{}
		<-release
		return c.String(http.StatusOK, "slow")
	})
	e.Listener = limited
	e.Server.ConnState = limited.OnState
	go func() { _ = e.Start("") }()
	t.Cleanup(func() { _ = e.Close() })

	dial := func(path string) net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		return conn
	}
	status := func(conn net.Conn) int {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}

	busy := dial("/slow")
	<-inside
	idle := dial("/fast")
	if got := status(idle); got != http.StatusOK {
		t.Fatalf("fast: %d", got)
	}
	for deadline := time.Now().Add(time.Minute); !hasIdle(limited); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection did not become idle")
		}
	}
	second := dial("/slow")
	<-inside
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection was not closed: %v", err)
	}
	// All are busy now.
	if got := status(dial("/fast")); got != http.StatusServiceUnavailable {
		t.Errorf("the third connection is answered %d, want 503", got)
	}
	close(release)
	if a, b := status(busy), status(second); a != http.StatusOK || b != http.StatusOK {
		t.Errorf("those that were busy are answered %d and %d", a, b)
	}
}

func hasIdle(c *Connections) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.open {
		if x.state == http.StateIdle {
			return true
		}
	}
	return false
}

func TestThePrivateListenerTakesNothingFromAnotherSiteOrUnderAnotherName(t *testing.T) {
	t.Parallel()
	e := echo.New()
	p := NewPrivate("0.0.0.0:8081", []string{"Relay.example"})
	e.Pre(p.Guard)
	e.Any("/*", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	for _, tt := range []struct {
		method, host, origin, site string
		want                       int
	}{
		{"GET", "localhost:8081", "", "", 200},
		{"GET", "127.0.0.1:8081", "", "", 200},
		{"GET", "[::1]:8081", "", "", 200},
		{"GET", "10.0.0.7:8081", "", "", 200},
		{"GET", "relay.EXAMPLE.:8081", "", "", 200},
		{"GET", "relay:8081", "", "", 421},
		{"GET", "evil.example", "", "", 421},
		{"GET", "127.0.0.1.evil.example", "", "", 421},
		{"POST", "localhost:8081", "", "", 200}, // no browser
		{"POST", "localhost:8081", "http://localhost:8081", "same-origin", 200},
		{"POST", "localhost:8081", "http://evil.example", "cross-site", 403},
		{"POST", "localhost:8081", "http://evil.example", "", 403},
		{"POST", "localhost:8081", "null", "cross-site", 403},
		{"POST", "localhost:8081", "http://localhost:3000", "same-site", 403},
	} {
		req := httptest.NewRequest(tt.method, "/-/reload", nil)
		req.Host = tt.host
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		if tt.site != "" {
			req.Header.Set("Sec-Fetch-Site", tt.site)
		}
		answer := httptest.NewRecorder()
		e.ServeHTTP(answer, req)
		if answer.Code != tt.want {
			t.Errorf("%+v: %d", tt, answer.Code)
		}
		if answer.Code == 421 && !strings.Contains(answer.Body.String(), "console.hosts") {
			t.Errorf("%s: the answer does not name the key: %s", tt.host, answer.Body)
		}
	}
}

func TestOneProfileAtATimeAndNoneForLong(t *testing.T) {
	t.Parallel()
	e := echo.New()
	p := NewPrivate("127.0.0.1:8081", nil)
	inside, release := make(chan struct{}), make(chan struct{})
	e.GET("/profile", p.Profile(func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-release
	}))
	get := func(query string) int {
		answer := httptest.NewRecorder()
		e.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/profile"+query, nil))
		return answer.Code
	}
	first := make(chan int)
	go func() { first <- get("?seconds=30") }()
	<-inside
	if got := get(""); got != http.StatusTooManyRequests {
		t.Errorf("a second profile: %d", got)
	}
	close(release)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the first: %d", got)
	}
	for _, seconds := range []string{"61", "1e9", "-1", "x"} {
		if got := get("?seconds=" + seconds); got != http.StatusBadRequest {
			t.Errorf("%s seconds: %d", seconds, got)
		}
	}
}

func TestWrongKeysAreCountedToldOnceAMinuteAndSlowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		g := NewWrongKeys(zap.New(core), prometheus.NewRegistry())
		e := echo.New()
		e.IPExtractor = echo.ExtractIPDirect()
		e.Use(g.Watch)
		e.GET("/v1/endpoints", func(c echo.Context) error {
			if c.Request().Header.Get("Authorization") == "Bearer right" {
				return c.NoContent(http.StatusOK)
			}
			return echo.NewHTTPError(http.StatusUnauthorized)
		})
		e.POST("/callback/:token", func(echo.Context) error { return echo.ErrNotFound })
		ask := func(method, path, key string) (int, time.Duration) {
			req := httptest.NewRequest(method, path, nil)
			req.Header.Set("Authorization", "Bearer "+key)
			answer, began := httptest.NewRecorder(), time.Now()
			e.ServeHTTP(answer, req)
			return answer.Code, time.Since(began)
		}

		for i := range freeGuesses {
			if code, took := ask("GET", "/v1/endpoints", "a-secret-guess"); code != 401 || took != 0 {
				t.Fatalf("guess %d: %d after %s", i, code, took)
			}
		}
		for range 25 {
			ask("POST", "/callback/another-guess", "")
		}
		if code, took := ask("GET", "/v1/endpoints", "wrong"); code != 401 || took != maxGuessPause {
			t.Errorf("after many: %d after %s, want %s", code, took, maxGuessPause)
		}
		if code, took := ask("GET", "/v1/endpoints", "right"); code != 200 || took != 0 {
			t.Errorf("the right key: %d after %s", code, took)
		}
		registry := prometheus.NewRegistry()
		registry.MustRegister(g.total)
		families, err := registry.Gather()
		if err != nil || len(families) != 1 {
			t.Fatal(families, err)
		}
		counted := 0.0
		for _, m := range families[0].GetMetric() {
			counted += m.GetCounter().GetValue()
		}
		if counted != freeGuesses+26 {
			t.Errorf("counted %v", counted)
		}
		// All of them took less than a minute.
		if n := logs.Len(); n != 1 {
			t.Errorf("%d lines in the log", n)
		}
		for _, line := range logs.All() {
			if context := line.ContextMap(); context["address"] != "192.0.2.1" ||
				strings.Contains(context["path"].(string), "guess") {
				t.Errorf("logged %v", context)
			}
		}
	})
}
