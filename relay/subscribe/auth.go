package subscribe

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/kuaidihelp"
)

// keys knows the tenants by their API keys. What is compared are digests under a key of this process, so that the time that a
// comparison takes says nothing of an API key.
type keys struct {
	mix     []byte
	owners  map[[sha256.Size]byte]*Tenant
	tenants map[string]*Tenant
}

func newKeys(tenants []Tenant) *keys {
	k := &keys{mix: make([]byte, 32), owners: map[[sha256.Size]byte]*Tenant{}, tenants: map[string]*Tenant{}}
	_, _ = rand.Read(k.mix) // never fails (crypto/rand)
	for i := range tenants {
		t := &tenants[i]
		k.tenants[t.Name] = t
		for _, key := range t.Keys {
			k.owners[k.digest(key)] = t
		}
	}
	return k
}

func (k *keys) digest(text string) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, k.mix)
	m.Write([]byte(text))
	m.Sum(sum[:0])
	return sum
}

// owner finds the tenant whose key this is; nil: nobody's.
func (k *keys) owner(key string) *Tenant { return k.owners[k.digest(key)] }

// signer finds the tenant of a call to /api, if the sign was made with one of its keys; nil: it was not, or there is no such tenant.
func (k *keys) signer(appID, method, ts, sign string) *Tenant {
	t := k.tenants[appID]
	candidates := []string{""}
	if t != nil && len(t.Keys) > 0 {
		candidates = t.Keys
	}
	ok := 0
	for _, key := range candidates {
		ok |= subtle.ConstantTimeCompare([]byte(kuaidihelp.Sign(appID, method, ts, key)), []byte(sign))
	}
	if t == nil || len(t.Keys) == 0 || ok == 0 {
		return nil
	}
	return t
}

// authenticated lets a tenant in that shows one of its keys.
func (p *Proxy) authenticated(handle func(echo.Context, *Tenant) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		scheme, key, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
		var t *Tenant
		if strings.EqualFold(scheme, "bearer") {
			t = p.current.Load().keys.owner(strings.TrimSpace(key))
		}
		if t == nil {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
			return echo.NewHTTPError(http.StatusUnauthorized, "the header Authorization must be Bearer and one of the tenant's api_keys")
		}
		leave, err := p.o.Enter(c, t.Name)
		if err != nil {
			return p.turnedAway(t, "limited", err)
		}
		defer leave()
		return handle(c, t)
	}
}
