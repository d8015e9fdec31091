package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// mustShow is a config as it is shown to a tenant (empty: to the operator).
func mustShow(t *testing.T, c *Config, tenant string) string {
	t.Helper()
	shown, err := c.Files.Effective()
	if err != nil {
		t.Fatal(err)
	}
	return string(shown.Text(tenant))
}

// secretsIn are all texts of type Secret in a value.
func secretsIn(v reflect.Value) (all []string) {
	switch {
	case v.Type() == reflect.TypeFor[Secret]():
		return []string{v.String()}
	case v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Type().PkgPath() == reflect.TypeFor[Config]().PkgPath():
		return secretsIn(v.Elem())
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		for i := range v.Len() {
			all = append(all, secretsIn(v.Index(i))...)
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[Files]():
		for i := range v.NumField() {
			all = append(all, secretsIn(v.Field(i))...)
		}
	}
	return all
}

func TestTheEffectiveConfigHoldsNoSecret(t *testing.T) {
	t.Parallel()
	c, err := Load("testdata/full.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := mustShow(t, c, "")
	secrets := secretsIn(reflect.ValueOf(*c))
	if len(secrets) < 8 {
		t.Fatalf("the config has %d secrets: are they found?", len(secrets))
	}
	for _, secret := range append(secrets, c.Kuaidihelp.AppID, "y=1", "user", "password") {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("it shows %q:\n%s", secret, text)
		}
	}
	for _, tenant := range c.Tenants {
		for _, secret := range secrets {
			if shown := mustShow(t, c, tenant.Name); secret != "" && strings.Contains(shown, secret) {
				t.Errorf("it shows %q to %s:\n%s", secret, tenant.Name, shown)
			}
		}
	}
}

// What is shown has every key of the file, with what the file says.
func TestTheEffectiveConfigHasEveryKeyOfTheFile(t *testing.T) {
	t.Parallel()
	c, err := Load("testdata/full.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := yaml.Unmarshal(written, &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(mustShow(t, c, "")), &got); err != nil {
		t.Fatalf("%v in\n%s", err, mustShow(t, c, ""))
	}
	compare(t, "", want, got)
}

// compare fails the test unless got has what want has, or hides it.
func compare(t *testing.T, path string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		of, _ := got.(map[string]any)
		for key, value := range want {
			compare(t, path+"."+key, value, of[key])
		}
	case []any:
		of, _ := got.([]any)
		if len(of) < len(want) {
			t.Errorf("%s: %v, want %v", path, got, want)
			return
		}
		for i, value := range want {
			compare(t, path+"[]", value, of[i])
		}
	default:
		if got != hidden && !strings.HasSuffix(path, "endpoints[].url") && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestTheEffectiveConfigSaysWhereSecretsAndDefaultsComeFrom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"token": "token-from-a-file\n",
		"config.yaml": `
# a comment with hunter2
callback: {tokens: ["file:token", "plain-token-1", "${A}-${B:-hunter2-default}"], max_body: 40MiB}
redis: {url: "redis://:hunter2@h/0"}
retention: ${KEEP:-36h}
tenants:
  - name: inline
    endpoints:
      - {name: a, url: "https://a.example/x?token=hunter2", secrets: ["${SECRET}"], headers: {X-Key: hunter2}, rate: 5}
`,
		"tenants.d/shop.yaml": `
name: shop
api_keys: ["${SHOP_KEY}"]
endpoints: [{name: orders, url: "${SHOP_URL}", secrets: ["${SHOP_SECRET}"]}]
routes: [{to: orders, match: {status: [signed]}}]
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signing := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	c, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env("A", "hunter2-a", "SECRET", signing,
		"SHOP_KEY", "hunter2-key", "SHOP_SECRET", signing, "SHOP_URL", "https://hunter2.example/", "KEEP", "30h")})
	if err != nil {
		t.Fatal(err)
	}
	all, own := mustShow(t, c, ""), mustShow(t, c, "shop")
	for _, want := range []string{
		"<secret> # from file:token", "<secret> # written in the file", "<secret> # from ${A}, ${B}",
		"retention: ${KEEP:-36h} # as it is written", "dead_letter_retention: 30d # default", "listen: :8080 # default",
		`url: "https://a.example/x"` + "\n", "X-Key: <secret>", "rate: 5", "parse_bytes: 160MiB # default",
		"- name: shop # " + filepath.Join(dir, "tenants.d/shop.yaml"), `url: "${SHOP_URL}" # as it is written`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all+own+fmt.Sprintf("%+v %#v %s", c.Files, c.Files, []Files{c.Files}), "hunter2") {
		t.Errorf("it shows what is secret:\n%s\n%s", all, own)
	}
	for _, want := range []string{"name: shop", "<secret> # from ${SHOP_KEY}", "status: [signed]"} {
		if !strings.Contains(own, want) {
			t.Errorf("no %q in\n%s", want, own)
		}
	}
	if strings.Contains(own, "inline") || strings.Contains(own, "retention") {
		t.Errorf("a tenant sees more than its own part:\n%s", own)
	}
	if text := mustShow(t, c, "nobody"); text != "" {
		t.Errorf("an unknown tenant sees\n%s", text)
	}
}
