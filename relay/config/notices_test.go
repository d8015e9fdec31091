package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withCodes are options that know two codes of problems, of which tenants have one.
func withCodes(vars ...string) Options {
	return Options{
		LookupEnv: env(vars...), ProblemCodes: []string{"redis_down", "breaker_open"},
		TenantProblemCodes: []string{"breaker_open"},
		CheckEndpointURL: func(url string, allow []netip.Prefix) error {
			addr := netip.MustParseAddr("10.1.2.3")
			within := func(p netip.Prefix) bool { return p.Contains(addr) }
			if strings.Contains(url, "10.1.2.3") && !slices.ContainsFunc(allow, within) {
				return errTest
			}
			if strings.Contains(url, "10.6.6.6") { // whatever is allowed
				return errTest
			}
			return nil
		},
	}
}

type testError string

func (e testError) Error() string { return string(e) }

const errTest = testError("a private address of https://token is not allowed")

func TestNoticesThatCannotWorkAreMistakes(t *testing.T) {
	t.Parallel()
	const wecom = "to: 'https://qyapi.weixin.qq.com/send?key=TOKEN', format: wecom"
	for notice, want := range map[string]string{
		wecom: "",
		wecom + ", on: [redis_down, critical, all], every: 1m, language: en": "",
		wecom + ", on: [redis_donw]": `"redis_donw" is no code of a problem, no severity, and not ` +
			`all; did you mean "redis_down"?`,
		wecom + ", on: []":                                                      "must not be empty",
		wecom + ", on: ['${CODE}']":                                             "must be written out",
		wecom + ", every: 59s":                                                  "must be from 1m to 7d",
		wecom + ", every: 8d":                                                   "must be from 1m to 7d",
		wecom + ", every: 0":                                                    "must be from 1m to 7d",
		wecom + ", every: 0s":                                                   "must be from 1m to 7d",
		wecom + ", every: 5":                                                    "a duration from 1m to 7d, like 30m",
		wecom + ", secret: SEC123":                                              "is of no use: messages of this",
		wecom + ", language: fr":                                                "must be en or zh",
		"format: wecom":                                                         `missing key "to"`,
		"to: 'ftp://h/TOKEN', format: slack":                                    "must be an absolute http or https URL",
		"to: 'https://user:TOKEN@h/', format: slack":                            "must not hold a user or password",
		"to: 'https://h/TOKEN', format: email":                                  "must be wecom or feishu or",
		"to: 'https://h/TOKEN', format: dingtalk, secret: TOKEN":                "must begin with SEC",
		"to: 'https://h/TOKEN', format: dingtalk, secret: SECTOKEN":             "",
		"to: 'https://h/TOKEN', format: feishu, secret: any":                    "",
		"to: 'https://h/TOKEN', format: webhook":                                `missing key "secret": a webhook is signed`,
		"to: 'https://h/TOKEN', format: webhook, secret: TOKEN":                 "must begin with whsec_",
		"to: 'https://h/TOKEN', format: webhook, secret: " + string(goodSecret): "",
		"to: 'https://10.1.2.3/TOKEN', format: slack":                           "it is in none of egress.allow_cidrs",
		"to: 'https://10.6.6.6/TOKEN', format: slack":                           "leads to an address that is never",
		"to: 'http://h.example/TOKEN', format: slack":                           "is plain http",
	} {
		text := head + "notices:\n  - {" + notice + "}\n"
		c, err := load("test.yaml", []byte(text), withCodes("CODE", "redis_down"))
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case len(c.Warnings) > 0:
			got = "warning: " + c.Warnings[0].Msg
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", notice, got, want)
		}
		if strings.Contains(got, "TOKEN") {
			t.Errorf("%s: the token is shown: %s", notice, got)
		}
	}
}

// Where the secrets of receivers are not, as in the checks of a pull request, they are no mistakes.
func TestNoticesAreCheckedWithoutTheirSecrets(t *testing.T) {
	t.Parallel()
	o := withCodes()
	o.Placeholder = func() {}
	for _, format := range noticeFormats {
		text := head + "notices:\n  - {to: '${TO}', format: " + format
		if format != "wecom" && format != "slack" {
			text += ", secret: file:nowhere"
		}
		if _, err := load("test.yaml", []byte(text+"}\n"), o); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestAFileOfATenantHasFewReceiversInTheNetworksOfTenants(t *testing.T) {
	t.Parallel()
	one := "  - {to: 'https://10.1.2.3/x', format: slack}\n"
	for _, tt := range []struct{ main, own, want string }{
		{"", one, "leads to an address that is not allowed: it is in none of egress.allow_cidrs and egress.tenant_cidrs"},
		{"egress: {tenant_cidrs: [10.0.0.0/8]}\n", one, ""},
		{"egress: {tenant_cidrs: [10.0.0.0/8]}\n", strings.Repeat(one, 5), ""},
		{"egress: {tenant_cidrs: [10.0.0.0/8]}\n", strings.Repeat(one, 6), "has more than 5 receivers"},
		{"", "  - {to: 'https://h/x', format: slack, on: [breaker_open]}\n", ""},
		{"", "  - {to: 'https://h/x', format: slack, on: [redis_down]}\n",
			`"redis_down" is no problem that tenants are told of`},
		{"", "  - {to: '${KUAIRELAY_X}', format: slack}\n", "variable KUAIRELAY_X is the operator's"},
		{"egress: {tenant_cidrs: [10.0.0.0/8]}\nnotices:\n" + one, "  []\n", "config.yaml:4: notices[0].to: leads to"},
	} {
		dir := write(t, map[string]string{"config.yaml": head + tt.main, "tenants.d/a.yaml": "name: a\nnotices:\n" + tt.own})
		_, err := Load(filepath.Join(dir, "config.yaml"), withCodes("KUAIRELAY_X", "https://h/x"))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s%s: got %q, want %q", tt.main, tt.own, got, tt.want)
		}
	}
}
