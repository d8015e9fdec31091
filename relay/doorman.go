package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/config"
	"kuairelay/relay/kuaidihelp"
)

// doorman tells who sends a request: which tenant, by its API keys, or the operator, by admin.token. It is the only part that knows
// these.
type doorman struct {
	// mix is a key of this process. What is compared are digests under it, so that the time that a comparison takes says nothing of
	// an API key or the token.
	mix     []byte
	current atomic.Pointer[credentials]
}

// digest stands for a key or token in comparisons.
type digest [sha256.Size]byte

// credentials are those of one config.
type credentials struct {
	owners   map[digest]string   // tenants, by the digests of their keys
	keys     map[string][]string // by tenant: kuaidihelp's signature is made with the key itself
	operator *digest             // nil: nobody is the operator
}

// newDoorman makes a doorman that lets nobody in.
func newDoorman() *doorman {
	d := &doorman{mix: make([]byte, 32)}
	_, _ = rand.Read(d.mix) // never fails (crypto/rand)
	d.current.Store(&credentials{})
	return d
}

// use has the keys of a config hold from now on.
func (d *doorman) use(c *config.Config) {
	now := &credentials{owners: make(map[digest]string), keys: make(map[string][]string)}
	for _, t := range c.Tenants {
		keys := reveal(t.APIKeys)
		now.keys[t.Name] = keys
		for _, key := range keys {
			now.owners[d.digest(key)] = t.Name
		}
	}
	if token := c.Admin.Token.Reveal(); token != "" {
		sum := d.digest(token)
		now.operator = &sum
	}
	d.current.Store(now)
}

func (d *doorman) digest(key string) (sum digest) {
	m := hmac.New(sha256.New, d.mix)
	m.Write([]byte(key))
	m.Sum(sum[:0])
	return sum
}

// tenant names the tenant whose key a request carries. The error is the answer to a request without one.
func (d *doorman) tenant(c echo.Context) (name string, err error) {
	owner := d.current.Load().owners[d.digest(bearer(c))]
	if owner == "" {
		return "", unauthorized(c, "the header Authorization must be Bearer and one of the tenant's api_keys")
	}
	return owner, nil
}

// operator lets a request through that carries the operator's token. The error is the answer to any other.
func (d *doorman) operator(c echo.Context) error {
	want := d.current.Load().operator
	if want == nil {
		return echo.NewHTTPError(http.StatusServiceUnavailable, "the operator's API is off: the config has no admin.token")
	}
	sum := d.digest(bearer(c))
	if !hmac.Equal(sum[:], want[:]) {
		return unauthorized(c, "the header Authorization must be Bearer and the config's admin.token")
	}
	return nil
}

// signed says whether a call to /api was signed with a key of the tenant that its app_id names.
func (d *doorman) signed(appID, method, ts, sign string) bool {
	keys := d.current.Load().keys[appID]

	// A tenant that does not exist costs as much time as one that does.
	candidates := keys
	if len(keys) == 0 {
		candidates = []string{""}
	}
	match := 0
	for _, key := range candidates {
		want := kuaidihelp.Sign(appID, method, ts, key)
		match |= subtle.ConstantTimeCompare([]byte(want), []byte(sign))
	}

	return match == 1 && len(keys) > 0
}

// bearer is the key of a request; empty, which is nobody's key, if it has none.
func bearer(c echo.Context) string {
	scheme, key, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

func unauthorized(c echo.Context, detail string) error {
	c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
	return echo.NewHTTPError(http.StatusUnauthorized, detail)
}
