package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// digest is what is compared in place of a key: the time that a comparison takes then says nothing of the key.
func (c *API) digest(key string) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, c.mix)
	m.Write([]byte(key))
	m.Sum(sum[:0])
	return sum
}

// asTenant lets a tenant in that shows one of its keys.
func (c *API) asTenant(handle func(*call) error) echo.HandlerFunc {
	return func(e echo.Context) error {
		view := c.current.Load()
		t := view.owners[c.digest(bearer(e))]
		if t == nil {
			return unauthorized(e, "the header Authorization must be Bearer and one of the tenant's api_keys")
		}
		return c.enter(handle, &call{e, c, view, t.Name})
	}
}

// asOperator lets the operator in. Without a token in the config there is none.
func (c *API) asOperator(handle func(*call) error) echo.HandlerFunc {
	return func(e echo.Context) error {
		view := c.current.Load()
		if view.operator == nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable, "the operator's API is off: the config has no admin.token")
		}
		sum := c.digest(bearer(e))
		if !hmac.Equal(sum[:], view.operator[:]) {
			return unauthorized(e, "the header Authorization must be Bearer and the config's admin.token")
		}
		return c.enter(handle, &call{e, c, view, ""})
	}
}

// enter handles a call whose caller is known, unless it is too much.
func (c *API) enter(handle func(*call) error, x *call) error {
	leave, err := c.o.Enter(x.Context, x.tenant)
	if err != nil {
		return err
	}
	defer leave()
	return handle(x)
}

// bearer is the key of a request. It is never one that somebody has: keys are not empty.
func bearer(e echo.Context) string {
	scheme, key, _ := strings.Cut(e.Request().Header.Get(echo.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

func unauthorized(e echo.Context, detail string) error {
	e.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
	return echo.NewHTTPError(http.StatusUnauthorized, detail)
}
