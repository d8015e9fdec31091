package relay_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kuairelay/relay/api"
)

func TestTheStateOfTheConfigIsToldAndATenantSeesItsOwnPart(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	yaml := "admin: {token: " + adminToken + "}\n" + twoTenants(shop.URL, shop.URL)
	own := func(more string) string {
		return "name: crm\napi_keys: [crm-api-key-1234]\nendpoints: [{name: sync, " +
			"url: 'https://crm.example/hook?token=hidden', secrets: [" + secret + "], headers: {x-key: hidden-header}}]\n" + more
	}
	a := startAPI(t, yaml)
	file := filepath.Join(filepath.Dir(a.file), "tenants.d", "crm.yaml")
	put := func(text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, []byte(text), 0o600))
	}
	put(own("routes: [{to: sync, match: {status: [sined]}}]\n"))
	before := ok[api.ReloadResult](a, adminToken, "POST", "/admin/v1/config/reload", "")
	state := func(key string) api.ConfigState {
		path := "/v1/config"
		if key == adminToken {
			path = "/admin" + path
		}
		return ok[api.ConfigState](a, key, "GET", path, "")
	}
	if s := state(adminToken); s.Fingerprint != before.Fingerprint || s.Reload != "ok" || s.Since.IsZero() ||
		len(s.Mistakes) > 0 || s.Tenants != 3 || s.Endpoints != 4 || len(s.Warnings) == 0 {
		t.Errorf("%+v", s)
	}
	if s := state("crm-api-key-1234"); len(s.Warnings) != 2 || s.Warnings[1].Line != 4 || s.Endpoints != 1 ||
		s.Tenants != 0 || !strings.HasPrefix(s.Warnings[0].Text, "it is the same as another tenant's") { // its secret
		t.Errorf("%+v", s)
	}

	// A refused reload: the tenant whose file it is sees the mistake, another one only that there is one.
	put(own("routes: [{to: snyc}]\nrotues: hidden-value\n"))
	status, answer := a.call(adminToken, "POST", "/admin/v1/config/reload", "")
	if status != http.StatusUnprocessableEntity || !strings.Contains(answer, `crm.yaml:4: routes[0].to`) {
		t.Errorf("%d %s", status, answer)
	}
	for _, x := range []struct {
		key      string
		mistakes int
	}{{adminToken, 2}, {"crm-api-key-1234", 2}, {shopKey, 0}} {
		s := state(x.key)
		if s.Reload != "failed" || s.RefusedAt.IsZero() || s.Fingerprint != before.Fingerprint ||
			len(s.Mistakes) != x.mistakes {
			t.Errorf("%s: %+v", x.key, s)
		}
		for _, m := range s.Mistakes {
			if m.File != file || m.Line < 4 || m.Text == "" || strings.Contains(m.Text, "hidden") {
				t.Errorf("%+v", m)
			}
		}
	}
	if status, _ := a.post("/v1/config/reload", "application/json", ""); status != http.StatusNotFound {
		t.Errorf("tenants have a path to reload the config: %d", status)
	}

	// What is served is shown, not the files.
	all := a.text(adminToken, "/admin/v1/config/effective")
	for _, want := range []string{"max_in_flight: 32 # default", "status: [sined]", "<secret> # written in the file",
		"name: shop"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	shops, crms := a.text(shopKey, "/v1/config/effective"), a.text("crm-api-key-1234", "/v1/config/effective")
	if !strings.Contains(crms, "name: sync") || strings.Contains(crms, "shop") || strings.Contains(shops, "crm") ||
		!strings.Contains(shops, "name: spare") {
		t.Errorf("shop sees\n%s\ncrm sees\n%s", shops, crms)
	}
	for _, hidden := range []string{"hidden", secret, adminToken, shopKey, token} {
		if strings.Contains(all+shops+crms, hidden) {
			t.Errorf("%q is shown", hidden)
		}
	}
}

// text is an answer that is no JSON.
func (a *apiClient) text(key, path string) string {
	a.t.Helper()
	base := a.public
	if key == adminToken {
		base = a.admin
	}
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, base+path, nil)
	must(a.t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	status, text := a.do(req)
	if status != http.StatusOK {
		a.t.Fatalf("GET %s: %d %s", path, status, text)
	}
	return text
}
