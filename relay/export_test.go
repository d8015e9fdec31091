package relay

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// Routes lists those of both listeners, for tests that try them all.
func (r *Relay) Routes() []*echo.Route { return slices.Concat(r.public.Routes(), r.admin.Routes()) }

// Params has every request that comes from now on answered without its handler, and returns a function that gives the
// parameters of one to a path.
func (r *Relay) Params() func(method, path string) []string {
	var values []string
	both := []*echo.Echo{r.public, r.admin}
	for _, e := range both {
		e.Use(func(echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if !strings.HasSuffix(c.Path(), "/*") { // where a listener has no such path
					values = append(values, c.ParamValues()...)
				}
				return c.NoContent(http.StatusNoContent)
			}
		})
	}
	return func(method, path string) []string {
		values = nil
		for _, e := range both {
			req := httptest.NewRequest(method, path, nil)
			req.Host = "localhost" // the private listener knows that name
			e.ServeHTTP(httptest.NewRecorder(), req)
		}
		return values
	}
}

// Unbounded says what is wrong with a path that nothing bounds.
func (r *Relay) Unbounded(method, path string) error {
	r.public.Add(method, path, func(echo.Context) error { return nil })
	return r.shares.Check(r.public)
}

// AnswerWrongKeysAtOnce is for a test that shows thousands of them.
func (r *Relay) AnswerWrongKeysAtOnce() {
	r.wrong.SlowBy(0)
}

// SettingsTold says whether the logs of endpoints tell what the config has changed.
func (r *Relay) SettingsTold() bool {
	r.settings.mu.Lock()
	defer r.settings.mu.Unlock()
	return !r.settings.all && len(r.settings.changed) == 0
}
