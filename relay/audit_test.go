package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

// acts is a page of the audit.
type acts struct {
	Acts []struct {
		By                            struct{ Name, Key, From string }
		What, Tenant, Subject, Result string
		Count, Times                  int
	}
	Next string
}

// said is each act in a line, the oldest first.
func (a acts) said() (out []string) {
	for _, x := range slices.Backward(a.Acts) {
		out = append(out, fmt.Sprintf("%s (%s) %s %s: %d %s", x.By.Name, x.By.Key, x.What, x.Subject, x.Count, x.Result))
	}
	return out
}

func TestTheAuditSaysWhoDidWhat(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	yaml := strings.Replace(twoTenants(shop.URL, shop.URL), "api_keys: ["+shopKey+"]",
		"api_keys: [{key: "+shopKey+", name: ci}]", 1)
	yaml = withToken(redisserver.Start(t).URL()) + "admin: {token: " + adminToken + "}\n" + yaml
	a := startAPI(t, yaml)

	// A tenant, another one, and the operator.
	ok[any](a, shopKey, "POST", "/v1/endpoints/orders/pause", "")
	ok[any](a, otherKey, "POST", "/v1/endpoints/mail/test", "")
	ok[any](a, adminToken, "POST", "/admin/v1/endpoints/shop/orders/resume", "")
	ok[any](a, adminToken, "POST", "/admin/v1/endpoints/other/mail/pause", "")
	replay := ok[struct{ ID string }](a, shopKey, "POST", "/v1/replays", `{"endpoint":"orders"}`)
	if status, answer := a.reload(); status != 200 {
		t.Fatalf("%d %+v", status, answer)
	}

	// A reload that is refused is in it, too: the files are not what the relay serves.
	a.write(strings.Replace(yaml, "routes:", "rotues:", 1))
	if status, answer := a.reload(); status != 422 {
		t.Fatalf("%d %+v", status, answer)
	}

	// What is refused, and what only counts or reads, is not in it.
	a.call(shopKey, "POST", "/v1/endpoints/mail/pause", "")
	a.call("wrong", "POST", "/v1/endpoints/orders/pause", "")
	ok[any](a, shopKey, "POST", "/v1/replays", `{"dry_run":true}`)
	ok[any](a, shopKey, "POST", "/v1/dead-letters/redrive", `{"all":true}`)
	ok[any](a, shopKey, "GET", "/v1/endpoints", "")

	all := ok[acts](a, adminToken, "GET", "/admin/v1/audit", "")
	want := []string{
		"shop (ci) pause shop/orders: 1 done",
		"other () test other/mail: 1 answered 200",
		"operator () resume shop/orders: 1 done",
		"operator () pause other/mail: 1 done",
		"shop (ci) replay " + replay.ID + ": 1 done",
		"operator () reload config: 0 unchanged",
		"operator () reload config: 0 refused",
	}
	got := all.said()
	for i, line := range got {
		if reload, result, found := strings.Cut(line, "reload "); found {
			_, result, _ = strings.Cut(result, ": ") // behind the fingerprint
			got[i] = reload + "reload config: " + result
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit has\n%q, want\n%q", got, want)
	}
	for _, x := range all.Acts {
		if x.By.From != "127.0.0.1" || x.Times != 1 {
			t.Errorf("%+v", x)
		}
	}

	// A tenant sees its part, page by page, and nothing of another.
	var mine []string
	path := "/v1/audit?limit=1"
	for range 5 {
		page := ok[acts](a, shopKey, "GET", path, "")
		for _, x := range page.Acts {
			mine = append(mine, x.What+" "+x.By.Name+" "+x.By.From)
		}
		if page.Next == "" {
			break
		}
		path = "/v1/audit?limit=1&cursor=" + page.Next
	}
	if want := []string{"replay shop 127.0.0.1", "resume operator ", "pause shop 127.0.0.1"}; !slices.Equal(mine, want) {
		t.Errorf("shop sees %q, want %q", mine, want)
	}
	if status, text := a.call(shopKey, "GET", "/v1/audit?cursor=x", ""); status != 400 {
		t.Errorf("a wrong cursor: %d %s", status, text)
	}
	if n := len(ok[acts](a, adminToken, "GET", "/admin/v1/audit?what=pause&tenant=other", "").Acts); n != 1 {
		t.Errorf("%d pauses of other", n)
	}

	// Each is a line of the log, too.
	if n := a.logs.FilterMessage("API action").Len(); n != len(want) {
		t.Errorf("%d lines in the log, want %d", n, len(want))
	}
}
