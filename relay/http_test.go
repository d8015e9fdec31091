package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
	"kuairelay/relay/config"
	"kuairelay/relay/spool"
)

// A long answer is what encoding/json writes, gives its turn back before each part is sent, and has the next one before
// it goes on.
func TestALongAnswerIsWrittenInTurns(t *testing.T) {
	t.Parallel()
	value := api.Events{Next: "<&>", Events: make([]api.Event, 300)}
	for i := range value.Events {
		value.Events[i] = api.Event{ID: "evt_快递<&>", AcceptedAt: time.Unix(int64(i), 0),
			Data: json.RawMessage(`{"a": [1, "` + strings.Repeat("单", 100) + `"]}`)}
	}
	var want bytes.Buffer
	if err := json.NewEncoder(&want).Encode(value); err != nil {
		t.Fatal(err)
	}

	held, turns := 0, 0
	e := echo.New()
	e.JSONSerializer = answers{aside: func(context.Context) func() {
		turns++
		held++
		return func() { held-- }
	}}
	e.GET("/", func(c echo.Context) error { return c.JSON(http.StatusOK, value) })
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	if answer.Code != 200 || answer.Body.String() != want.String() {
		t.Errorf("%d, and %d bytes that are not the %d of encoding/json: %.300s", answer.Code, answer.Body.Len(), want.Len(),
			answer.Body)
	}
	if least := want.Len() / answerPart; turns < least || held != 0 {
		t.Errorf("%d turns of at least %d, of which %d were not given back", turns, least, held)
	}
}

func TestStrangersLearnNoMoreThanWhetherTheRelayIsReady(t *testing.T) {
	t.Parallel()
	r := startForReady(t)
	answer := httptest.NewRecorder()
	r.public.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	for _, word := range []string{"fingerprint", "spooled", "redis", "spool", "loaded_at"} {
		if strings.Contains(answer.Body.String(), word) {
			t.Errorf("the public /readyz tells %s: %s", word, answer.Body)
		}
	}
	private := httptest.NewRecorder()
	r.admin.ServeHTTP(private, httptest.NewRequest(http.MethodGet, "http://localhost/readyz", nil))
	if !strings.Contains(private.Body.String(), "fingerprint") {
		t.Errorf("the private /readyz is %d %s", private.Code, private.Body)
	}
}

// startForReady makes a relay that does not run: its handlers answer all the same.
func startForReady(t *testing.T) *Relay {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("callback: {tokens: [callback-token]}\nspool: {dir: "+t.TempDir()+"}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a client may send before it is known, and how long it may take for it, is bounded at both listeners.
func TestBothListenersBoundHeadersAndTimes(t *testing.T) {
	t.Parallel()
	r := startForReady(t)
	for name, e := range map[string]*echo.Echo{"public": r.public, "private": r.admin} {
		s := e.Server
		if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 {
			t.Errorf("%s: a time is not bounded: %s, %s, %s, %s", name, s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout,
				s.IdleTimeout)
		}

		listener := httptest.NewUnstartedServer(e)
		listener.Config.MaxHeaderBytes = s.MaxHeaderBytes
		listener.Start()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, listener.URL+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", 100<<10))
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = answer.Body.Close()
		listener.Close()
		if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: a header of 100 KiB is answered %d", name, answer.StatusCode)
		}
	}
}

func TestTheTroubleOfTheSpoolIsSaidWithoutPaths(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"full: it holds spool.max_bytes":             spool.ErrFull,
		"full: its callbacks name too many waybills": spool.ErrWaybills,
		"hanging: its disk does not answer":          spool.ErrHangs,
		"unwritable: no space left on device":        &fs.PathError{Op: "write", Path: "/secret", Err: syscall.ENOSPC},
		"unwritable: file already closed":            &fs.PathError{Op: "write", Path: "/secret", Err: fs.ErrClosed},
		"unwritable":                                 errors.New("/secret does not work"),
	} {
		if got := spoolTrouble(fmt.Errorf("spool: %w", err)); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
