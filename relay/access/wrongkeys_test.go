package access

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// While as many wrong keys wait as may, the next one that would have to wait is told to come again.
func TestTooManyWrongKeysAreToldToComeAgain(t *testing.T) {
	t.Parallel()
	g := NewWrongKeys(zap.NewNop(), prometheus.NewRegistry())
	for range maxPaused {
		g.paused <- struct{}{}
	}
	wrong := g.Watch(func(echo.Context) error { return echo.ErrUnauthorized })
	answer := func() (status int, again string) {
		c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder())
		he, _ := errors.AsType[*echo.HTTPError](wrong(c))
		if he == nil {
			return 0, ""
		}
		return he.Code, c.Response().Header().Get("Retry-After")
	}

	for i := range freeGuesses {
		if status, _ := answer(); status != http.StatusUnauthorized {
			t.Errorf("the answer to wrong key %d is %d", i, status)
		}
	}
	if status, again := answer(); status != http.StatusTooManyRequests || again != "60" {
		t.Errorf("the answer is %d, to come again after %q", status, again)
	}
	<-g.paused
	g.SlowBy(time.Millisecond)
	if status, _ := answer(); status != http.StatusUnauthorized {
		t.Errorf("with room to wait, the answer is %d", status)
	}
}
