package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/stats"
)

// Keys find out who sends a request: a tenant, by its API keys, or the operator, by its tokens. No other part has
// these secrets.
type Keys struct {
	// mix is a random key of this process. Digests under it are compared, so that the time of a comparison tells nothing
	// about a secret.
	mix         []byte
	now         func() time.Time
	current     atomic.Pointer[credentials]
	*stats.Uses // of the operator's tokens
}

// digest stands for a key or token in comparisons.
type digest [sha256.Size]byte

// Key is an API key of a tenant.
type Key struct {
	Secret string
	Name   string    // empty: it has none
	Until  time.Time // from then on it is nobody's key; zero: it has no end
}

// good says whether the key still lets its tenant in.
func (k Key) good(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// owned is a key with the tenant whose it is.
type owned struct {
	Key
	tenant string
}

// credentials are the secrets of one config.
type credentials struct {
	owners    map[digest]owned // by the digests of the keys
	keys      map[string][]Key // by tenant: kuaidihelp's signature is made with the key itself
	operators []operator       // none: nobody is the operator
}

// operator is a token of the operator.
type operator struct {
	Key
	sum digest
}

// NewKeys makes Keys that let nobody in.
func NewKeys() *Keys {
	k := &Keys{mix: make([]byte, 32), now: time.Now, Uses: stats.NewUses("kuairelay_admin_token_used_timestamp_seconds",
		"Unix time at which a token of the operator was last used at this replica, by its name or, without one, "+
			"its place (admin.token is the first); 0: not since the start.")}
	_, _ = rand.Read(k.mix) // never fails (crypto/rand)
	k.current.Store(&credentials{})
	return k
}

// Use sets the API keys, by tenant, and the operator's tokens. Without a token nobody is the operator.
func (k *Keys) Use(tenants map[string][]Key, operators []Key) {
	now := &credentials{owners: make(map[digest]owned), keys: tenants}
	for tenant, keys := range tenants {
		for _, key := range keys {
			now.owners[k.digest(key.Secret)] = owned{Key: key, tenant: tenant}
		}
	}
	used := make([]stats.Used, len(operators))
	for i, key := range operators {
		now.operators = append(now.operators, operator{Key: key, sum: k.digest(key.Secret)})
		used[i] = stats.Used{Secret: key.Secret, Name: key.Name}
	}
	k.current.Store(now)
	k.Uses.Use(used)
}

func (k *Keys) digest(key string) (sum digest) {
	m := hmac.New(sha256.New, k.mix)
	m.Write([]byte(key))
	m.Sum(sum[:0])
	return sum
}

// Tenant returns the tenant whose key a request carries, and the name of the key (empty: it has none). The error is the
// answer to a request without such a key. A key that has ended is none.
func (k *Keys) Tenant(c echo.Context) (tenant, key string, err error) {
	owner := k.current.Load().owners[k.digest(bearer(c))]
	if owner.tenant == "" || !owner.good(k.now()) {
		return "", "", unauthorized(c, "the header Authorization must be Bearer and one of the tenant's api_keys")
	}
	return owner.tenant, owner.Name, nil
}

// Operator lets a request through that carries a token of the operator, and returns the token's name (empty: it has
// none). The error is the answer to any other. A token that has ended is none.
func (k *Keys) Operator(c echo.Context) (name string, err error) {
	if len(k.current.Load().operators) == 0 {
		return "", echo.NewHTTPError(http.StatusServiceUnavailable,
			"the operator's API is off: the config has no admin.token")
	}
	name, ok := k.UsedByOperator(bearer(c))
	if !ok {
		return "", unauthorized(c, "the header Authorization must be Bearer and the config's admin.token")
	}
	return name, nil
}

// UsedByOperator notes that a token of the operator was used, and returns its name; ok is false if it is none.
func (k *Keys) UsedByOperator(token string) (name string, ok bool) {
	sum, now := k.digest(token), k.now()
	for i, o := range k.current.Load().operators { // all of them, so that the time tells nothing
		if hmac.Equal(sum[:], o.sum[:]) && o.good(now) {
			k.Mark(i, o.Name, now)
			name, ok = o.Name, true
		}
	}
	return name, ok
}

// Signed says whether a call to /api was signed with a key of the tenant that its app_id names. A key that has ended is
// none.
func (k *Keys) Signed(appID, method, ts, sign string) bool {
	now := k.now()
	var candidates []Key
	for _, key := range k.current.Load().keys[appID] {
		if key.good(now) {
			candidates = append(candidates, key)
		}
	}

	// A tenant that does not exist takes as much time as one that does.
	known := len(candidates) > 0
	if !known {
		candidates = []Key{{}}
	}
	match := 0
	for _, key := range candidates {
		want := kuaidihelp.Sign(appID, method, ts, key.Secret)
		match |= subtle.ConstantTimeCompare([]byte(want), []byte(sign))
	}

	return match == 1 && known
}

// bearer returns the key of a request; empty, which is nobody's key, if it has none.
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
