package access

import (
	"cmp"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sessionRounds make a guess at admin.token from a stolen session cost a tenth of a second.
	sessionRounds = 600_000
	// operatorIdle is after how long without a request a session of the operator ends.
	operatorIdle = 2 * time.Hour
	// maxSession bounds the length of a token, in bytes.
	maxSession = 512
)

// Sessions make tokens for people who have shown their key to a page, and read them again. Nothing is kept: every
// replica with the same config accepts a token, and a key that is taken out of the config ends its sessions.
//
// A token is v1.TENANT.BEGAN.ENDS.NONCE.MAC: no tenant is the operator, times are Unix seconds, and the MAC is an
// HMAC-SHA-256 in base64url. Its key is made of the first token of the operator, so slowly that a stolen token is no
// way to guess it, and for a tenant, or another token of the operator, also of its own key. Without any token of the
// operator the key is random: then sessions are those of one process.
type Sessions struct {
	random  [32]byte
	current atomic.Pointer[sessionKeys]
	now     func() time.Time
	rounds  int // of the slow function that makes a key of admin.token
}

// sessionKeys are the keys of one config.
type sessionKeys struct {
	life      time.Duration
	operators []Key
	tenants   map[string][]Key
	// master is made of first, the first of operators, when it is first needed: that takes a tenth of a second.
	first  string
	master func() []byte
}

// Session is who a token was made for.
type Session struct {
	Tenant string // empty: the operator
	Key    string // name of the key or token that was shown; empty: it has none
	// Began is when the person logged in. Ends is when the token ends, if it is not renewed.
	Began, Ends time.Time
	key         string // that was shown
}

// Secret is the key or token that was shown.
func (s Session) Secret() string { return s.key }

// NewSessions makes Sessions that accept nobody, until Use. They go by the clock given. rounds is how slowly a key is
// made of admin.token; 0: so slowly that a guess costs a tenth of a second. All replicas need the same.
func NewSessions(now func() time.Time, rounds int) *Sessions {
	s := &Sessions{now: now, rounds: cmp.Or(rounds, sessionRounds)}
	_, _ = rand.Read(s.random[:]) // never fails (crypto/rand)
	s.Use(nil, nil, time.Hour)
	return s
}

// Use sets the API keys by tenant, the operator's tokens, and how long a session lasts at most. Without a token nobody
// is the operator.
func (s *Sessions) Use(tenants map[string][]Key, operators []Key, life time.Duration) {
	k := &sessionKeys{life: life, operators: operators, tenants: tenants}
	if len(operators) > 0 {
		k.first = operators[0].Secret
	}
	old := s.current.Load()
	switch {
	case k.first == "":
		k.master = func() []byte { return s.random[:] }
	case old != nil && old.first == k.first:
		k.master = old.master
	default:
		k.master = sync.OnceValue(func() []byte {
			key, err := pbkdf2.Key(sha256.New, k.first, []byte("kuairelay console session"), s.rounds, sha256.Size)
			if err != nil {
				return s.random[:] // only where FIPS 140 forbids it
			}
			return key
		})
	}
	s.current.Store(k)
}

// Open begins the session of whoever shows a key: of the operator with admin.token, or of the tenant whose API key it
// is. ok is false if it is nobody's.
func (s *Sessions) Open(key string, operator bool) (session Session, token string, ok bool) {
	k := s.current.Load()
	session = Session{Began: s.now(), key: key}
	switch {
	case key == "":
		return Session{}, "", false
	case operator:
		ok = session.isOf("", k.operators)
	default:
		for tenant, keys := range k.tenants {
			ok = session.isOf(tenant, keys) || ok
		}
	}
	if !ok {
		return Session{}, "", false
	}
	token = s.sign(k, &session)
	return session, token, true
}

// isOf notes whose the session is, if it began with one of the keys. All are compared, so that the time tells nothing.
func (s *Session) isOf(tenant string, keys []Key) (ok bool) {
	for _, own := range keys {
		if equal(own.Secret, s.key) && own.good(s.Began) {
			s.Tenant = tenant
			s.Key = own.Name
			ok = true
		}
	}
	return ok
}

// Read returns the session of a token; ok is false if there is none, or if it has ended. For one that has been in use
// for a while, renewed is a token that lasts longer; empty: the token stays as it is.
func (s *Sessions) Read(token string, operator bool) (session Session, renewed string, ok bool) {
	text, mac, found := cutLast(token, ".")
	parts := strings.Split(text, ".")
	if len(token) > maxSession || !found || len(parts) != 5 || parts[0] != "v1" || operator != (parts[1] == "") {
		return Session{}, "", false
	}
	began, err1 := strconv.ParseInt(parts[2], 10, 64)
	ends, err2 := strconv.ParseInt(parts[3], 10, 64)
	if err1 != nil || err2 != nil {
		return Session{}, "", false
	}
	session = Session{Tenant: parts[1], Began: time.Unix(began, 0), Ends: time.Unix(ends, 0)}

	// A tenant's token belongs to the key that was shown.
	k := s.current.Load()
	keys := k.tenants[session.Tenant]
	if operator {
		keys = k.operators
	}
	now := s.now()
	for _, key := range keys {
		if key.Secret != "" && key.good(now) && equal(mac, k.mac(text, session.Tenant, key.Secret)) {
			session.key = key.Secret
			session.Key = key.Name
			ok = true
		}
	}

	if !ok || !now.Before(session.Ends) || !now.Before(session.Began.Add(k.life)) {
		return Session{}, "", false
	}
	if left := session.Ends.Sub(now); left < k.idle(session.Tenant)/2 && session.Ends.Before(session.Began.Add(k.life)) {
		renewed = s.sign(k, &session)
	}
	return session, renewed, true
}

// sign sets the end of a session, and makes its token.
func (s *Sessions) sign(k *sessionKeys, session *Session) string {
	session.Ends = s.now().Add(k.idle(session.Tenant))
	if last := session.Began.Add(k.life); session.Ends.After(last) {
		session.Ends = last
	}

	nonce := make([]byte, 9)
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	text := fmt.Sprintf("v1.%s.%d.%d.%s", session.Tenant, session.Began.Unix(), session.Ends.Unix(),
		base64.RawURLEncoding.EncodeToString(nonce))
	return text + "." + k.mac(text, session.Tenant, session.key)
}

// idle is how long a session lasts without a request.
func (k *sessionKeys) idle(tenant string) time.Duration {
	if tenant == "" {
		return min(operatorIdle, k.life)
	}
	return k.life
}

// mac authenticates a token that was made for whoever has a key.
func (k *sessionKeys) mac(text, tenant, key string) string {
	with := k.master()
	if tenant != "" || key != k.first {
		with = sum256(with, key)
	}
	return base64.RawURLEncoding.EncodeToString(sum256(with, text))
}

func sum256(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// equal compares secrets in a time that tells nothing about them.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return hmac.Equal(x[:], y[:])
}

func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}
