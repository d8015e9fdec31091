package access

import (
	"strings"
	"testing"
	"time"
)

const operatorToken = "the-operators-token"

// newTestSessions has two tenants, the operator, and a clock.
func newTestSessions(t *testing.T) (s *Sessions, clock *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	s = NewSessions(func() time.Time { return now }, 1)
	s.Use(map[string][]Key{
		"shop": {{Secret: "shop-key-1"}, {Secret: "shop-key-2"}},
		"crm":  {{Secret: "crm-key"}},
	}, tokenOf(operatorToken), 12*time.Hour)
	return s, &now
}

func TestASessionBelongsToWhoeverHasShownAKey(t *testing.T) {
	t.Parallel()
	s, _ := newTestSessions(t)
	for _, c := range []struct {
		key      string
		operator bool
		tenant   string
		ok       bool
	}{
		{key: operatorToken, operator: true, ok: true},
		{key: "shop-key-1", tenant: "shop", ok: true},
		{key: "shop-key-2", tenant: "shop", ok: true},
		{key: "crm-key", tenant: "crm", ok: true},
		{key: operatorToken},
		{key: "shop-key-1", operator: true},
		{key: "wrong"},
		{key: ""},
		{key: "", operator: true},
	} {
		opened, token, ok := s.Open(c.key, c.operator)
		if ok != c.ok || opened.Tenant != c.tenant || (token != "") != c.ok {
			t.Errorf("%q: %q, %q, %t", c.key, opened.Tenant, token, ok)
		}
		if !ok {
			continue
		}
		if strings.Contains(token, c.key) {
			t.Errorf("the token %q has the key in it", token)
		}
		read, renewed, ok := s.Read(token, c.operator)
		if !ok || read.Tenant != c.tenant || renewed != "" {
			t.Errorf("%q: its token gives %q, %q, %t", c.key, read.Tenant, renewed, ok)
		}
		if _, _, ok := s.Read(token, !c.operator); ok {
			t.Errorf("%q: its token is good for the other side", c.key)
		}
	}
}

func TestATokenThatWasChangedIsNoSession(t *testing.T) {
	t.Parallel()
	s, _ := newTestSessions(t)
	_, token, _ := s.Open("shop-key-1", false)
	for i := range token {
		changed := token[:i] + string(token[i]^1) + token[i+1:]
		if got, _, ok := s.Read(changed, false); ok && changed != token {
			t.Errorf("%q is a session of %q", changed, got.Tenant)
		}
	}
	parts := strings.Split(token, ".")
	parts[1] = "crm"
	for _, other := range []string{
		"", ".", "v1", "v1.shop", strings.Join(parts, "."), token + "x", strings.Replace(token, "shop", "", 1),
		strings.Repeat("a", 1<<20), "v1.shop.1.2.3.",
	} {
		if _, _, ok := s.Read(other, false); ok {
			t.Errorf("%.60q is a session", other)
		}
	}
}

func TestASessionEndsWithItsKey(t *testing.T) {
	t.Parallel()
	s, _ := newTestSessions(t)
	_, first, _ := s.Open("shop-key-1", false)
	_, second, _ := s.Open("shop-key-2", false)
	_, operator, _ := s.Open(operatorToken, true)
	good := func(token string, operator bool) bool {
		_, _, ok := s.Read(token, operator)
		return ok
	}

	s.Use(map[string][]Key{"shop": {{Secret: "shop-key-2"}}}, tokenOf(operatorToken), 12*time.Hour)
	if good(first, false) || !good(second, false) || !good(operator, true) {
		t.Error("after a key was taken out")
	}
	s.Use(map[string][]Key{"shop": {{Secret: "shop-key-2"}}}, tokenOf("another-operators-token"), 12*time.Hour)
	if good(second, false) || good(operator, true) {
		t.Error("after the operator's token was changed")
	}
	s.Use(map[string][]Key{"shop": {{Secret: "shop-key-2", Until: s.now()}}}, tokenOf(operatorToken), 12*time.Hour)
	if good(second, false) || !good(operator, true) {
		t.Error("after the end of a key")
	}
	s.Use(nil, nil, 12*time.Hour)
	if good(second, false) || good(operator, true) {
		t.Error("without keys")
	}
}

func TestEveryReplicaWithTheSameConfigReadsASession(t *testing.T) {
	t.Parallel()
	a, _ := newTestSessions(t)
	b, _ := newTestSessions(t)
	_, token, _ := a.Open("crm-key", false)
	if got, _, ok := b.Read(token, false); !ok || got.Tenant != "crm" {
		t.Errorf("%q, %t", got.Tenant, ok)
	}

	// Without admin.token there is nothing that others do not know.
	a.Use(map[string][]Key{"crm": {{Secret: "crm-key"}}}, nil, time.Hour)
	b.Use(map[string][]Key{"crm": {{Secret: "crm-key"}}}, nil, time.Hour)
	_, token, _ = a.Open("crm-key", false)
	if _, _, ok := a.Read(token, false); !ok {
		t.Error("its own")
	}
	if _, _, ok := b.Read(token, false); ok {
		t.Error("that of another process")
	}
}

// The key is made of admin.token as slowly as ever: a faster one would make another MAC.
func TestASessionOfAnEarlierVersionIsRead(t *testing.T) {
	t.Parallel()
	const earlier = "v1.crm.1796025600.1796068800.Kvpd7KchYdUi.plSXhZs78EDTL0irM_26MtTnSKam6m8Let9wc3YdBN0"
	s, clock := newTestSessions(t)
	real := NewSessions(func() time.Time { return *clock }, 0)
	real.Use(s.current.Load().tenants, tokenOf(operatorToken), 12*time.Hour)
	if got, _, ok := real.Read(earlier, false); !ok || got.Tenant != "crm" {
		t.Errorf("%q, %t", got.Tenant, ok)
	}
	if _, _, ok := s.Read(earlier, false); ok {
		t.Error("the key that it was made with is made by fewer rounds")
	}
}

func TestASessionEndsInTime(t *testing.T) {
	t.Parallel()
	s, now := newTestSessions(t)
	began := *now
	at := func(after time.Duration) { *now = began.Add(after) }
	_, tenant, _ := s.Open("shop-key-1", false)
	_, operator, _ := s.Open(operatorToken, true)

	at(12*time.Hour - time.Second)
	if _, _, ok := s.Read(tenant, false); !ok {
		t.Error("a tenant's has ended")
	}
	at(12 * time.Hour)
	if _, _, ok := s.Read(tenant, false); ok {
		t.Error("a tenant's is good for ever")
	}

	// The operator's is renewed while it is used, up to its whole life.
	at(2 * time.Hour)
	if _, _, ok := s.Read(operator, true); ok {
		t.Error("the operator's goes on without use")
	}
	token := operator
	for after := time.Duration(0); after < 12*time.Hour; after += 50 * time.Minute {
		at(after)
		_, renewed, ok := s.Read(token, true)
		if !ok {
			t.Fatalf("it has ended after %s", after)
		}
		if renewed != "" {
			token = renewed
		}
	}
	at(12 * time.Hour)
	if _, _, ok := s.Read(token, true); ok {
		t.Error("the operator's is good for ever")
	}
}

func TestATokenOfTheOperatorThatIsTakenOutEndsItsSessionsAlone(t *testing.T) {
	t.Parallel()
	s, _ := newTestSessions(t)
	_, before, _ := s.Open(operatorToken, true)
	s.Use(nil, []Key{{Secret: operatorToken}, {Secret: "anns-token", Name: "ann"}}, time.Hour)
	ann, token, ok := s.Open("anns-token", true)
	if !ok || ann.Key != "ann" || ann.Tenant != "" {
		t.Fatalf("ann is %+v, %v", ann, ok)
	}
	read, _, ok := s.Read(token, true)
	if !ok || read.Key != "ann" || read.Secret() != "anns-token" {
		t.Errorf("ann's session is read as %+v, %v", read, ok)
	}
	if read, _, ok := s.Read(before, true); !ok || read.Key != "" {
		t.Errorf("the session of before is read as %+v, %v", read, ok)
	}

	s.Use(nil, []Key{{Secret: operatorToken}, {Secret: "bobs-token", Name: "bob"}}, time.Hour)
	if _, _, ok := s.Read(token, true); ok {
		t.Error("a session goes on whose token was taken out")
	}
	if _, _, ok := s.Read(before, true); !ok {
		t.Error("a session of another token has ended")
	}
}
