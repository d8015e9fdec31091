package relay_test

import (
	"strings"
	"testing"

	"kuairelay/relay/kuaidihelp/fake"
)

func TestEveryParameterOfAPathIsDecodedOnce(t *testing.T) {
	t.Parallel()
	r := start(t, "")
	routes := r.relay.Routes()
	params := r.relay.Params()
	for _, encoded := range []struct{ sent, want string }{
		{"A%2FB", "A/B"}, {"JD1%2B2", "JD1+2"}, {"JD1+2", "JD1+2"}, {"A%3BB", "A;B"}, {"A%252FB", "A%2FB"},
		{"%E5%8D%95", "单"}, {"a%25", "a%"},
	} {
		tried := 0
		for _, route := range routes {
			names := strings.Count(route.Path, ":")
			if names == 0 {
				continue
			}
			tried++
			var path []string
			for part := range strings.SplitSeq(route.Path, "/") {
				if strings.HasPrefix(part, ":") {
					part = encoded.sent
				}
				path = append(path, part)
			}
			got := params(route.Method, strings.Join(path, "/"))
			if len(got) != names || got[0] != encoded.want || got[names-1] != encoded.want {
				t.Errorf("%s with %s: %q, want %q", route.Path, encoded.sent, got, encoded.want)
			}
		}
		if tried < 20 {
			t.Errorf("only %d routes have parameters", tried)
		}
	}
}

func TestAWaybillWithASlashCanBeReadAndDeleted(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	r.subscribe(shopKey, "zt", "A/B", "JD1+2")
	r.push("application/json", callback(item("A/B", "signed", "0")))
	shop.wait(1)
	for _, path := range []string{"/v1/subscriptions/zt/A%2FB", "/v1/subscriptions/zt/JD1%2B2", "/v1/waybills/A%2FB"} {
		if status, text, _ := r.api("GET", path, shopKey, ""); status != 200 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, text, _ := r.api("DELETE", "/v1/subscriptions/zt/A%2FB", shopKey, ""); status != 204 {
		t.Errorf("%d %s", status, text)
	}
}

func TestABrandThatIsNotListedIsTakenWithAWarning(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	for brand, warning := range map[string]string{
		"ZT":  "",
		" Yt": "",
		"sf":  "no update may ever match sf: kuaidihelp's page lists sto, zt, ytsd, jt, yd, dbkd",
		"zto": "no update may ever match zto: kuaidihelp's page lists sto, zt, ytsd, jt, yd, dbkd; did you mean zt?",
	} {
		if got := r.subscribe(shopKey, brand, "1")[0]; got.Warning != warning {
			t.Errorf("%s: %+v", brand, got)
		}
	}
}

func TestAWaybillInSmallLettersIsTakenWithAWarning(t *testing.T) {
	t.Parallel()
	p := newProvider(t, fake.Options{})
	shop, alerts := newTenant(t, nil), newTenant(t, nil)
	r := start(t, account(p.URL, "")+two(shop, alerts))
	const warning = "no update for YT1 matches yt1: small and capital letters differ, and couriers print capitals"
	for code, want := range map[string]string{"YT1": "", "yt1": warning} {
		if got := r.subscribe(shopKey, "yt", code)[0]; got.Warning != want || got.Result != "subscribed" ||
			got.WaybillCode != code {
			t.Errorf("%s: %+v", code, got)
		}
	}
}
