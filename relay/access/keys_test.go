package access

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"kuairelay/relay/kuaidihelp"
)

// guarding are the keys of the tenants shop, with two, and mute, with none, and of an operator with a token.
func guarding(token string) *Keys {
	k := NewKeys()
	k.Use(map[string][]Key{"shop": {{Secret: "old", Name: "ci"}, {Secret: "new"}}, "mute": nil}, tokenOf(token))
	return k
}

// tokenOf is the operator's only token; empty: there is none.
func tokenOf(secret string) []Key {
	if secret == "" {
		return nil
	}
	return []Key{{Secret: secret}}
}

// visitor is a request with a header Authorization.
func visitor(authorization string) echo.Context {
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Authorization", authorization)
	return echo.New().NewContext(req, httptest.NewRecorder())
}

// refusal is the status of an answer that lets nobody in, with its header WWW-Authenticate; 0: somebody was let in.
func refusal(c echo.Context, err error) (status int, challenge string) {
	he, _ := errors.AsType[*echo.HTTPError](err)
	if he == nil {
		return 0, ""
	}
	return he.Code, c.Response().Header().Get("WWW-Authenticate")
}

func TestKeysTellATenantByEachOfItsKeys(t *testing.T) {
	t.Parallel()
	d := guarding("")
	for authorization, want := range map[string]string{
		"Bearer old": "shop", "bearer new": "shop", "BEARER  new ": "shop",
		"": "", "Bearer": "", "Bearer ": "", "Bearer OLD": "", "Bearer old new": "", "Basic old": "", "old": "",
	} {
		c := visitor(authorization)
		name, _, err := d.Tenant(c)
		status, challenge := refusal(c, err)
		if name != want || (want == "") != (status == 401 && challenge == "Bearer") {
			t.Errorf("%q is %q (%d, %s), want %q", authorization, name, status, challenge, want)
		}
	}

	d.Use(map[string][]Key{"shop": {{Secret: "new"}}}, nil)
	if name, _, _ := d.Tenant(visitor("Bearer old")); name != "" {
		t.Errorf("a key that left the config is still %s's", name)
	}
	if name, _, err := NewKeys().Tenant(visitor("Bearer old")); name != "" || err == nil {
		t.Errorf("without a config %q is let in", name)
	}
}

func TestKeysTellWhichKeyOfATenantItIs(t *testing.T) {
	t.Parallel()
	d := guarding("")
	for authorization, want := range map[string]string{"Bearer old": "ci", "Bearer new": ""} {
		if tenant, key, err := d.Tenant(visitor(authorization)); tenant != "shop" || key != want || err != nil {
			t.Errorf("%q is %q of %q (%v), want %q", authorization, key, tenant, err, want)
		}
	}
}

func TestAKeyThatHasEndedIsRefusedLikeAWrongOne(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	d := NewKeys()
	d.Use(map[string][]Key{"shop": {{Secret: "old", Name: "ci", Until: end}, {Secret: "new"}}}, nil)
	for _, x := range []struct {
		at   time.Time
		good bool
	}{{at: end.Add(-time.Nanosecond), good: true}, {at: end}, {at: end.Add(time.Hour)}} {
		d.now = func() time.Time { return x.at }
		tenant, key, err := d.Tenant(visitor("Bearer old"))
		if (tenant == "shop") != x.good || (key == "ci") != x.good || (err == nil) != x.good {
			t.Errorf("at %v the key %q is %q's (%v)", x.at, key, tenant, err)
		}
		if got := d.Signed("shop", "m", "1", kuaidihelp.Sign("shop", "m", "1", "old")); got != x.good {
			t.Errorf("at %v a signature with the key is taken: %v", x.at, got)
		}
		if !d.Signed("shop", "m", "1", kuaidihelp.Sign("shop", "m", "1", "new")) {
			t.Errorf("at %v a key without an end is refused", x.at)
		}

		// The answer does not tell that it was right once.
		ended, wrong := visitor("Bearer old"), visitor("Bearer none")
		_, _, errEnded := d.Tenant(ended)
		_, _, errWrong := d.Tenant(wrong)
		if !x.good && errEnded.Error() != errWrong.Error() {
			t.Errorf("it is answered %v, and a wrong one %v", errEnded, errWrong)
		}
	}
}

func TestKeysTellTheOperatorByTheToken(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		token         string
		authorization string
		want          int
	}{
		{token: "token", authorization: "Bearer token", want: 0},
		{token: "token", authorization: "Bearer old", want: 401},
		{token: "token", authorization: "", want: 401},
		{token: "", authorization: "Bearer ", want: 503},
		{token: "", authorization: "Bearer token", want: 503},
	} {
		c := visitor(x.authorization)
		_, err := guarding(x.token).Operator(c)
		if status, _ := refusal(c, err); status != x.want {
			t.Errorf("token %q, %q: %d, want %d", x.token, x.authorization, status, x.want)
		}
	}
}

func TestKeysTellASignatureByTheTenantsKeys(t *testing.T) {
	t.Parallel()
	d := guarding("")
	for _, x := range []struct {
		tenant, key string
		want        bool
	}{
		{tenant: "shop", key: "old", want: true},
		{tenant: "shop", key: "new", want: true},
		{tenant: "shop", key: "", want: false},
		{tenant: "shop", key: "other", want: false},
		{tenant: "mute", key: "", want: false},
		{tenant: "nobody", key: "", want: false},
		{tenant: "nobody", key: "old", want: false},
	} {
		if got := d.Signed(x.tenant, "m", "1", kuaidihelp.Sign(x.tenant, "m", "1", x.key)); got != x.want {
			t.Errorf("%s with the key %q: %v", x.tenant, x.key, got)
		}
	}
	if d.Signed("shop", "m", "2", kuaidihelp.Sign("shop", "m", "1", "old")) {
		t.Error("a signature of another time is taken")
	}
}

func TestEachTokenOfTheOperatorHasItsNameItsEndAndItsLastUse(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	k := NewKeys()
	k.now = func() time.Time { return now }
	k.Use(nil, []Key{{Secret: "first"}, {Secret: "anns", Name: "ann", Until: now.Add(time.Hour)}, {Secret: "third"}})

	used := func() string {
		registry := prometheus.NewRegistry()
		registry.MustRegister(k)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range families {
			for _, m := range f.GetMetric() {
				out = append(out, fmt.Sprintf("%s=%.0f", m.GetLabel()[0].GetValue(), m.GetGauge().GetValue()))
			}
		}
		return strings.Join(out, " ")
	}
	if got := used(); got != "1=0 3=0 ann=0" {
		t.Errorf("before any use: %s", got)
	}
	for _, x := range []struct{ token, name string }{{"first", ""}, {"anns", "ann"}} {
		if name, err := k.Operator(visitor("Bearer " + x.token)); err != nil || name != x.name {
			t.Errorf("%s is %q, %v", x.token, name, err)
		}
	}
	if got := used(); got != "1=1800000000 3=0 ann=1800000000" {
		t.Errorf("after two uses: %s", got)
	}

	// A token that has ended is none, and is not used.
	now = now.Add(time.Hour)
	if _, err := k.Operator(visitor("Bearer anns")); err == nil {
		t.Error("a token that has ended is taken")
	}

	// What is known of a place is gone with the token in it; what is known of a name stays as long as its token.
	k.Use(nil, []Key{{Secret: "third"}, {Secret: "anns", Name: "ann"}})
	if got := used(); got != "1=0 ann=1800000000" {
		t.Errorf("after another config: %s", got)
	}
}
