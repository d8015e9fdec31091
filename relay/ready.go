package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/store"
)

// readiness answers /readyz: ready, or degraded, which is able to accept callbacks durably as well, with something wrong.
type readiness struct {
	Status  string   `json:"status"`
	Redis   string   `json:"redis"`
	Spool   string   `json:"spool"`
	Spooled int      `json:"spooled"` // callbacks that wait to be accepted
	Config  readyFor `json:"config"`
}

// readyFor is the config that is served by.
type readyFor struct {
	Fingerprint string    `json:"fingerprint"`
	LoadedAt    time.Time `json:"loaded_at"`
	Reload      string    `json:"reload"` // "ok", or "failed": the file has mistakes, and the config from before goes on serving
}

// ready says whether callbacks can be accepted durably: by Redis, or by the spool. An embedded Redis is durable by the spool only.
func (relay *Relay) ready(c echo.Context) error {
	k := relay.keeper
	r := readiness{Status: "ready", Redis: "up", Spool: "ok", Spooled: k.spool.Stats().Waiting, Config: relay.reload.readyFor()}
	redisErr, spoolErr := k.store.Ready(c.Request().Context()), k.spool.Check()
	if redisErr != nil {
		state, why := store.Trouble(redisErr)
		r.Redis = state.String() + ": " + why
	}
	if k.open != nil {
		r.Redis = "embedded"
	}
	if spoolErr != nil {
		r.Spool = spoolTrouble(spoolErr)
	}
	switch {
	case spoolErr != nil && (redisErr != nil || k.open != nil):
		return echo.NewHTTPError(http.StatusServiceUnavailable,
			fmt.Sprintf("not able to accept callbacks durably: redis is %s; the spool is %s", r.Redis, r.Spool))
	case redisErr != nil || spoolErr != nil || r.Config.Reload != "ok":
		r.Status = "degraded"
	}
	return c.JSON(http.StatusOK, r)
}

// spoolTrouble says what is wrong, without paths.
func spoolTrouble(err error) string {
	var number syscall.Errno
	var path *fs.PathError
	switch {
	case errors.Is(err, store.ErrSpoolFull):
		return "full: it holds spool.max_bytes"
	case errors.As(err, &number):
		return "unwritable: " + number.Error()
	case errors.As(err, &path):
		return "unwritable: " + path.Err.Error()
	}
	return "unwritable"
}
