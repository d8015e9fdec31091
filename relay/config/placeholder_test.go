package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lackingAll has a value of every form from a variable or a file that is not here.
const lackingAll = `server: {listen: "${LISTEN}", trusted_proxies: ["${PROXY}"]}
admin: {listen: "127.0.0.1:808${INSTANCE}", token: file:secrets/admin}
redis: {url: "${REDIS}", wait_replicas: "${REPLICAS}"}
kuaidihelp: {api_url: "${URL}", app_id: "${ID}", api_key: "file:nowhere/key"}
callback: {tokens: [file:secrets/1, "${TOKEN}"], max_body: "${SIZE}", silence: "${SPAN}"}
delivery: {timeout: "${TIMEOUT}", rate: "${RATE}", order: "${ORDER}", breaker: {ratio: "${RATIO}"}}
console: {timezone: "${ZONE}", tenants: "${PAGES}"}
egress: {proxy: "http://u:${PASSWORD}@proxy:3128"}
`

const lackingTenant = `name: shop
api_keys: ["${SHOP_KEY}", {key: file:shop.key, until: "${SHOP_END}"}]
endpoints:
  - name: orders
    url: "https://${SHOP_HOST}/hooks"
    secrets: [file:shop.secret, "${SHOP_SECRET}"]
    headers: {authorization: "Bearer ${SHOP_BEARER}"}
    tls: {ca_file: shop.pem, cert_file: shop.crt, key_file: "${SHOP_FILE}"}
routes:
  - {to: orders, match: {status: "${SHOP_STATUS}"}, when: "${SHOP_WHEN}"}
tests:
  - {event: file:shop.json, reaches: [orders]}
  - {event: {waybill_code: "1", status: "${SHOP_STATUS}"}, reaches: []}
  - {event: {waybill_code: "1"}, reaches: []}
`

func TestWithoutSecretsWhatIsNotHereIsNoMistake(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"config.yaml": lackingAll, "tenants.d/shop.yaml": lackingTenant})
	file, count := filepath.Join(dir, "config.yaml"), 0
	o := Options{
		LookupEnv: env(), Placeholder: func() { count++ },
		CheckWhen: func(string) error { t.Error("a placeholder is checked as an expression"); return nil },
	}
	c, err := Load(file, o)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(lackingAll+lackingTenant, "\n")
	want := 0
	for _, line := range lines {
		want += strings.Count(line, "${") + strings.Count(line, "file:") - strings.Count(line, "_file:")
	}
	if want += 2; count != want { // ca_file and cert_file
		t.Errorf("%d values have placeholders, want %d", count, want)
	}
	shop := c.Tenants[0]
	if len(c.Callback.Tokens) != 2 || len(shop.APIKeys) != 2 || len(shop.Endpoints[0].Secrets) != 2 ||
		len(shop.Tests) != 1 {
		t.Errorf("values are left out: %+v", c)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("placeholders are warned of: %v", c.Warnings)
	}

	o.Placeholder = nil
	if _, err := Load(file, o); err == nil || strings.Count(err.Error(), "\n") < 30 {
		t.Errorf("with them needed: %v", err)
	}
}

func TestWithoutSecretsEverythingElseIsAMistakeAsAlways(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ old, new, want string }{
		{"file:shop.key", "file:../secrets/other.key", "outside of tenants_dir"},
		{"${SHOP_KEY}", "${OTHER_KEY}", "is not the tenant's"},
		{"file:shop.secret", "file:other.secret", "the file is that of tenant other"},
		{"${SHOP_KEY}", "${SHOP_KEY", `"${" without "}"`},
		{"${SHOP_KEY}", "${SHOP_KEY:-short}", "at least 8 characters"},
		{"to: orders", "to: order", "no endpoint"},
		{"url:", "uri:", "unknown key"},
	} {
		text := strings.Replace(lackingTenant, tt.old, tt.new, 1)
		dir := write(t, map[string]string{
			"config.yaml": lackingAll, "tenants.d/shop.yaml": text, "tenants.d/other.yaml": "name: other\n",
		})
		_, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env(), Placeholder: func() {}})
		if err == nil || strings.Count(err.Error(), tt.want) != 1 {
			t.Errorf("%s for %s: %v, want %q once", tt.new, tt.old, err, tt.want)
		}
	}

	// What is here is checked.
	dir := write(t, map[string]string{
		"config.yaml": lackingAll + "tenants_files: [secrets]\n", "secrets/1": "short\n",
		"tenants.d/shop.yaml": strings.Replace(lackingTenant, "file:shop.key", "file:../secrets/shop.key", 1),
	})
	_, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env(), Placeholder: func() {}})
	mistakes, _ := err.(Mistakes)
	if len(mistakes) != 1 || !strings.Contains(mistakes[0].Msg, "callback.tokens[0]: must be at least 8") {
		t.Errorf("a short token that is here, and a key that may be missing: %v", err)
	}
	if slices.ContainsFunc(mistakes, func(m Mistake) bool { return strings.Contains(m.Msg, "short") }) {
		t.Errorf("a mistake tells a secret: %v", mistakes)
	}
}
