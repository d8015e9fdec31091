package config

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestSecretsThatCanBeGuessedAndOpenDoorsAreWarnedOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ // the warning holds; empty: there is none
		"callback: {tokens: [aaaaaaaa]}":              "callback.tokens[0]: can be guessed",
		"callback: {tokens: ['........']}":            "callback.tokens[0]: can be guessed",
		"callback: {tokens: [long-enough, 12345678]}": "callback.tokens[1]: can be guessed",
		"callback: {tokens: [q7Lr2vXe9T]}":            "",
		head + "admin: {token: aaaaaaaa}":             "admin.token: can be guessed",
		head + "admin: {token: ''}":                   "",
		head + "tenants: [{name: a, api_keys: [abababab], endpoints: [{name: a, url: 'https://h.example', secrets: [" +
			goodSecret +
			"]}], routes: [{to: a}]}]": "tenants[0].api_keys[0]: can be guessed",
		head + "tenants: [{name: a, endpoints: [{name: a, url: 'https://h.example', secrets: [whsec_" +
			strings.Repeat("A", 32) +
			"]}], routes: [{to: a}]}]": "secrets[0]: can be guessed",
		head + "kuaidihelp: {api_url: 'http://kop.kuaidihelp.com/api'}": "kuaidihelp.api_url: is plain http",
		head + "kuaidihelp: {api_url: 'http://127.0.0.1:9/api'}":        "",
		head + "server: {trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]}":     "server.trusted_proxies: trusts almost everybody",
		head + "server: {trusted_proxies: ['::/1']}":                    "server.trusted_proxies: trusts almost everybody",
		head + "server: {trusted_proxies: [10.0.0.0/8, 'fd00::/8']}":    "",
		head + "egress: {allow_cidrs: [0.0.0.0/1]}":                     "egress.allow_cidrs: lets every tenant reach",
	} {
		warnings := mustLoad(t, text).Warnings
		switch {
		case want == "" && len(warnings) == 0:
		case len(warnings) != 1 || want == "" || !strings.Contains(warnings[0].Msg, want):
			t.Errorf("%s: got %v, want %q", text, warnings, want)
		}
	}
}

func TestShortKeysThatOpenPagesAreWarnedOf(t *testing.T) {
	t.Parallel()
	const tenant = "tenants: [{name: a, api_keys: [%s], endpoints: [{name: a, url: 'https://h.example', secrets: [" +
		goodSecret + "]}], routes: [{to: a}]}]"
	short, long := "q7Lr2vXe9TqZw4b", "q7Lr2vXe9TqZw4b1"
	for text, want := range map[string]string{ // the warning holds; empty: there is none
		head + "admin: {token: " + short + "}":                                         "admin.token: opens the pages",
		head + "admin: {token: " + long + "}":                                          "",
		head + strings.Replace(tenant, "%s", short, 1):                                 "api_keys[0]: opens the pages",
		head + strings.Replace(tenant, "%s", "{key: "+short+", name: x}", 1):           "api_keys[0]: opens the pages",
		head + strings.Replace(tenant, "%s", long, 1):                                  "",
		head + strings.Replace(tenant, "%s", short, 1) + "\nconsole: {tenants: false}": "",
		head + "admin: {token: " + short + "}\nconsole: {tenants: false}":              "admin.token: opens",
		"callback: {tokens: [" + short + "]}":                                          "",
		head + strings.Replace(tenant, "%s", "aaaaaaaa", 1):                            "can be guessed",
		"console: {tenants: false}\n" + head + strings.Replace(tenant, "%s", short, 1): "",
	} {
		warnings := mustLoad(t, text).Warnings
		switch {
		case want == "" && len(warnings) == 0:
		case len(warnings) != 1 || want == "" || !strings.Contains(warnings[0].Msg, want) ||
			strings.Contains(warnings[0].Msg, short):
			t.Errorf("%s: got %v, want %q", text, warnings, want)
		}
	}
}

func TestTheExamplesSecretsAreRefusedUnlessOnlyThisMachineCanReachTheRelay(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for i, line := range strings.Split(string(example), "\n") {
		if strings.Contains(line, ":-") && !strings.Contains(line, ":-}") && strings.Contains(line, "${") &&
			!strings.HasPrefix(line, "#") && !strings.Contains(line, "_URL:-") {
			lines = append(lines, i+1)
		}
	}
	for _, tt := range []struct {
		public, private string
		open            string // the listener that others can reach
	}{
		{"127.0.0.1:8080", "127.0.0.1:8081", ""},
		{"localhost:8080", "'[::1]:8081'", ""},
		{"127.9.9.9:8080", "'[::ffff:127.0.0.1]:8081'", ""},
		{":8080", "127.0.0.1:8081", "server.listen"},
		{"0.0.0.0:8080", "127.0.0.1:8081", "server.listen"},
		{"127.0.0.1:8080", "10.0.0.1:8081", "admin.listen"},
		{"127.0.0.1:8080", "'[::]:8081'", "admin.listen"},
		{"relay.internal:8080", ":8081", "server.listen"},
	} {
		text := strings.NewReplacer(`"127.0.0.1:8080"`, tt.public, `"127.0.0.1:8081"`, tt.private).Replace(string(example))
		c, err := load("config.yaml", []byte(text), Options{LookupEnv: env()})
		var found Mistakes
		if tt.open == "" && err == nil {
			found = c.Warnings
		} else if !errors.As(err, &found) {
			t.Errorf("%s and %s: %v", tt.public, tt.private, err)
			continue
		}
		var at []int
		for _, m := range found {
			at = append(at, m.Pos.Line)
			if !strings.Contains(m.Msg, "which everybody knows: set another") || !strings.Contains(m.Msg, tt.open) {
				t.Errorf("%s and %s: %s", tt.public, tt.private, m)
			}
		}
		if !slices.Equal(at, lines) || len(at) != 10 {
			t.Errorf("%s and %s: told of lines %v, the secrets are in %v", tt.public, tt.private, at, lines)
		}
	}
}

// The values that the mutants of these bounds would change.
func TestTheEdgesOfSomeForms(t *testing.T) {
	t.Parallel()
	if got, err := text.parse(" \t"); err == nil {
		t.Errorf("a blank text is taken: %q", got)
	}
	if got, err := perSecond.parse("0.001"); got != 0.001 || err != nil {
		t.Errorf("0.001 a second is %v, %v", got, err)
	}
	if got, err := perSecond.parse("100000"); got != 100_000 || err != nil {
		t.Errorf("100000 a second is %v, %v", got, err)
	}
	if got, err := perSecond.parse("100000.5"); err == nil {
		t.Errorf("100000.5 a second is taken: %v", got)
	}
	if got, err := headerText.parse(" \tx y "); got != "x y" || err != nil {
		t.Errorf("a header keeps the space around it: %q, %v", got.Reveal(), err)
	}
	dir := write(t, map[string]string{"most": strings.Repeat("x", maxFile), "more": strings.Repeat("x", maxFile+1)})
	if content, err := readSmall(dir + "/most"); len(content) != maxFile || err != nil {
		t.Errorf("a file of just 1 MiB: %d bytes, %v", len(content), err)
	}
	if _, err := readSmall(dir + "/more"); err == nil {
		t.Error("a file of more than 1 MiB is taken")
	}
}
