package access

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"kuairelay/relay/logonce"
)

// A few wrong keys are answered at once, because people mistype and rotate them. From an address with more than
// freeGuesses in guessEvery, each answer takes guessPause longer than the one before, up to maxGuessPause. Only wrong
// keys wait, because many clients may share the address of a proxy. At most maxPaused requests wait at the same time;
// others are answered 429. At most maxGuessers addresses are remembered.
const (
	freeGuesses   = 10
	guessEvery    = time.Minute
	guessPause    = 100 * time.Millisecond
	maxGuessPause = 2 * time.Second
	maxPaused     = 64
	maxGuessers   = 4096
)

// wrongKey is the key of the context that MarkWrongKey sets.
const wrongKey = "wrong key"

// MarkWrongKey tells WrongKeys that the key of a request was wrong. It is for a handler whose answer does not show that
// by its status.
func MarkWrongKey(c echo.Context) { c.Set(wrongKey, true) }

// WrongKeys counts wrong keys, logs them, and slows their answers.
type WrongKeys struct {
	log    *zap.Logger
	total  *prometheus.CounterVec
	paused chan struct{}

	mu     sync.Mutex
	pause  time.Duration // that each wrong key takes longer: guessPause
	since  time.Time     // when counting began
	by     map[string]int
	logged logonce.Throttle
	quiet  int // wrong keys since the last warning
}

// NewWrongKeys makes WrongKeys that has seen none.
func NewWrongKeys(log *zap.Logger, registry prometheus.Registerer) *WrongKeys {
	w := &WrongKeys{log: log, paused: make(chan struct{}, maxPaused), pause: guessPause, by: map[string]int{},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kuairelay_wrong_keys_total",
			Help: "Requests with a wrong key, token or signature, by path."}, []string{"path"})}
	registry.MustRegister(w.total)
	return w
}

// SlowBy sets how much longer each answer to a wrong key takes than the one before. Default 100 ms.
func (g *WrongKeys) SlowBy(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pause = d
}

// Watch is the middleware of a listener: it counts and slows the requests that were answered for a wrong key.
func (g *WrongKeys) Watch(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		kind := g.wrong(c, err)
		if kind == "" {
			return err
		}

		g.total.WithLabelValues(kind).Inc()
		pause := g.note(c.RealIP(), kind)
		if pause == 0 || c.Response().Committed {
			return err
		}

		// The answer is late, so that guessing takes long. Only so many requests may wait.
		select {
		case g.paused <- struct{}{}:
			defer func() { <-g.paused }()
		default:
			c.Response().Header().Set(echo.HeaderRetryAfter, "60")
			return echo.NewHTTPError(http.StatusTooManyRequests, "too many wrong keys")
		}

		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.Request().Context().Done():
		}
		return err
	}
}

// wrong returns the path of a request that had a wrong key; empty: the key was right, or none was needed.
func (g *WrongKeys) wrong(c echo.Context, err error) string {
	path := c.Path()
	he, _ := errors.AsType[*echo.HTTPError](err)
	switch {
	case c.Get(wrongKey) != nil:
		return path
	case he == nil:
		return ""
	case he.Code == http.StatusNotFound && strings.HasPrefix(path, "/callback/"):
		return "/callback"
	case he.Code == http.StatusUnauthorized && strings.HasPrefix(path, "/admin/v1"):
		return "/admin/v1"
	case he.Code == http.StatusUnauthorized:
		return "/v1"
	}
	return ""
}

// note counts a wrong key of an address, and returns how long its answer has to wait.
func (g *WrongKeys) note(address, kind string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Sub(g.since) > guessEvery {
		g.since = now
		clear(g.by)
	}
	if _, known := g.by[address]; !known && len(g.by) >= maxGuessers {
		address = "" // all others together
	}
	g.by[address]++

	g.quiet++
	if g.logged.Allow(guessEvery) {
		g.log.Warn("a wrong key", zap.String("address", address), zap.String("path", kind),
			zap.Int("since_last_warning", g.quiet))
		g.quiet = 0
	}
	over := max(g.by[address]-freeGuesses, 0)
	return min(time.Duration(over)*g.pause, maxGuessPause)
}
