package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestASecretPrintsAsSecretEverywhere(t *testing.T) {
	t.Parallel()
	const value = "s3cr3t-value"
	secret := Secret(value)
	type holder struct {
		One  Secret
		Many []Secret
		Map  map[string]Secret
		Ptr  *Secret
	}
	h := holder{secret, []Secret{secret}, map[string]Secret{"k": secret}, &secret}
	var config Config
	config.Redis.URL, config.Callback.Tokens = secret, []APIKey{{Key: secret}}
	config.Tenants = []Tenant{
		{Endpoints: []Endpoint{{Secrets: []SigningSecret{{Secret: secret}}, Headers: []Header{{"a", secret}}}}}}

	outputs := map[string]string{"string": secret.String(), "gostring": secret.GoString(),
		"error": fmt.Errorf("%w: %v", fmt.Errorf("%s", secret), secret).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%c", "%U", "%t", "%e", "%b"} {
		outputs[verb] = fmt.Sprintf(verb, secret)
		outputs["holder "+verb] = fmt.Sprintf(verb, h)
		outputs["config "+verb] = fmt.Sprintf(verb, config)
	}
	asJSON, err := json.Marshal([]any{h, config})
	outputs["json"] = string(asJSON)
	if err != nil {
		t.Error(err)
	}
	asYAML, err := yaml.Marshal(h)
	outputs["yaml"] = string(asYAML)
	if err != nil {
		t.Error(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "secret", secret, "holder", h)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "secret", secret, "holder", h)
	outputs["slog"] = logged.String()

	for how, out := range outputs {
		if strings.Contains(out, value) || strings.Contains(out, fmt.Sprintf("%x", value)) {
			t.Errorf("%s shows the secret: %s", how, out)
		}
		if !strings.Contains(out, "secret>") && !strings.Contains(out, "secret\\u003e") {
			t.Errorf("%s does not say <secret>: %s", how, out)
		}
	}
	if secret.Reveal() != value {
		t.Errorf("Reveal gave %q", secret.Reveal())
	}
}
