package relay

import (
	"slices"

	"github.com/labstack/echo/v4"
)

// Routes lists those of both listeners, for tests that try them all.
func (r *Relay) Routes() []*echo.Route { return slices.Concat(r.public.Routes(), r.admin.Routes()) }
