package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kuairelay/relay/kuaidihelp/fake"
	"kuairelay/test/redisserver"
)

// subscribeConfig writes the config of a relay with an account at a provider that is played.
func subscribeConfig(t *testing.T, redis string) string {
	t.Helper()
	p := httptest.NewServer(fake.NewProvider(
		fake.Options{AppID: "50001", APIKey: "shared-key", Decide: func(c fake.Call) fake.Reply {
			if slices.ContainsFunc(c.Codes, func(code string) bool { return strings.HasPrefix(code, "no") }) {
				return fake.Reply{Code: 201101, Msg: "查询暂无记录"}
			}
			return fake.Reply{}
		}}))
	t.Cleanup(p.Close)
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
server: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
redis: {url: %q}
spool: {dir: %q}
callback: {tokens: [callback-token]}
kuaidihelp: {api_url: "%s/api", app_id: "50001", api_key: shared-key}
tenants: [{name: shop, api_keys: [the-key-of-shop]}]
`, redis, filepath.Join(t.TempDir(), "spool"), p.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serving starts a relay, and returns its public address and a file with the key of its tenant.
func serving(t *testing.T, config string) (url, key string) {
	t.Helper()
	c := start(t, "", "serve", "-c", config, "--log-format", "console")
	until(t, "it listens", func() bool { return strings.Contains(c.stderr.String(), "/callback/") })
	_, rest, _ := strings.Cut(c.stderr.String(), "callbacks  ")
	url, _, _ = strings.Cut(rest, "/callback/")
	key = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("the-key-of-shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return url, key
}

// subscribed runs subscribe until the relay takes the waybills, for which Redis may be too slow on a busy machine.
func subscribed(t *testing.T, args ...string) {
	t.Helper()
	until(t, "the waybills are taken", func() bool {
		code, _, _ := run(t, "", append([]string{"subscribe"}, args...)...)
		return code == 0
	})
}

func TestSubscribeSaysWhatBecameOfEachWaybill(t *testing.T) {
	t.Parallel()
	url, key := serving(t, subscribeConfig(t, ""))
	code, stdout, stderr := run(t, "", "subscribe", "yt", "1", "no2", "--to", url, "--key-file", key)
	if code != 0 || stderr != "" || !strings.Contains(stdout, "ytsd     1                   subscribed  -") ||
		!strings.Contains(stdout, "ytsd     no2                 pending     201101  查询暂无记录; the relay asks again at ") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, _ = run(t, "", "subscribe", "sf", "1", "--url", url, "--key", "the-key-of-shop"); code != 1 ||
		!strings.Contains(stdout, "201103  不支持的快递品牌") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	code, stdout, stderr = run(t, "1\n3\n", "subscribe", "ytsd", "-", "--to", url, "--key-file", key, "-o", "json")
	var got []struct {
		WaybillCode string `json:"waybill_code"`
		Result      string
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || len(got) != 2 ||
		got[0].Result != "already" || got[1].Result != "subscribed" || got[1].WaybillCode != "3" {
		t.Errorf("exit %d %v\n%s%s", code, err, stdout, stderr)
	}
}

func TestSubscribeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	url, key := serving(t, subscribeConfig(t, ""))
	limited := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
		_, _ = w.Write([]byte(`{"detail":"too many"}`))
	}))
	t.Cleanup(limited.Close)
	private := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		_, _ = w.Write([]byte(`{"status":404,"title":"Not Found","type":"about:blank"}`))
	}))
	t.Cleanup(private.Close)
	away := withAdmin(t, subscribeConfig(t, ""), "127.0.0.1:1")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"subscribe"}, 2, "needs CP_CODE and at least one WAYBILL"},
		{[]string{"subscribe", "zt", "1", "--to", "nowhere"}, 2, "--to must be an http or https URL"},
		{[]string{"subscribe", "zt", "-", "--to", url, "--key-file", key}, 2, "stdin holds no waybill"},
		{[]string{"subscribe", "zt", "1", "--to", "http://127.0.0.1:1", "--key-file", key}, 1,
			"no relay answers at 127.0.0.1:1: connection refused"},
		{[]string{"subscribe", "zt", "1", "--to", url, "--key-file", os.DevNull}, 2, "/dev/null is empty"},
		{[]string{"subscribe", "zt", "1", "--url", url, "--key", "another"}, 1,
			"does not know this key (--key, or KUAIRELAY_API_KEY"},
		{[]string{"subscribe", "zt", "1", "--url", url}, 1, "does not know this key"}, // that of the example
		{[]string{"subscribe", "zt", "1", "--url", "http://relay.invalid"}, 2,
			"no key for the relay at relay.invalid: give --key, or set KUAIRELAY_API_KEY"},
		{[]string{"status", "--url", "http://relay.invalid"}, 2, "no key for the relay at relay.invalid: give --token, " +
			"or set KUAIRELAY_ADMIN_TOKEN"},
		{[]string{"subscribe", "zt", "1", "--url", url, "--to", url}, 2, "--to is the same as --url"},
		{[]string{"subscribe", "zt", "1", "--url", url, "--key", "a", "--key-file", "b"}, 2, "--key and --key-file"},
		{[]string{"subscribe", "zt", "1", "--url", private.URL, "--key", "a"}, 1,
			"has no such API: the operator's is on admin.listen, a tenant's (--key) on server.listen"},
		{[]string{"subscribe", "ZTO", "1", "--url", url, "--key-file", key}, 1, "cp_code ZTO is not a brand's code"},
		{[]string{"endpoints", "--state", "ramp", "--url", private.URL}, 2,
			"--state must be one of ok, failing, idle, paused, gone, open"},
		{[]string{"events", "--status", "singed", "--brand", "ZTO", "--url", private.URL}, 1,
			"warning: --status singed is none that kuaidihelp is known to send (collected, sending, delivering, allograph, " +
				"signed, question)\nwarning: --brand ZTO is none"},
		{[]string{"subscribe", "zt", "1", "--to", url, "--key-file", "/nowhere"}, 1, "no such file"},
		{[]string{"subscribe", "zt", "a b", "--to", url, "--key-file", key}, 1, "waybill_codes[0] must be"},
		{[]string{"subscribe", "zt", "1", "--to", limited.URL, "--key-file", key}, 1, "too many; try again in 7 s"},
		{[]string{"subscriptions"}, 2, "whose? --tenant TENANT"},
		{[]string{"subscriptions", "export"}, 2, "-c FILE"},
		{[]string{"subscriptions", "import", "-c", "../../config.example.yaml"}, 1, "has no redis.url"},
		{[]string{"subscriptions", "export", "-c", away}, 1, "without redis.url the ledger is in the relay's own process: " +
			"no relay answers at 127.0.0.1:1"},
		{[]string{"subscriptions", "export", "-c", subscribeConfig(t, "")}, 1, "has no API without a token (admin.token)"},
	} {
		code, stdout, stderr := run(t, "", c.args...)
		if code != c.code || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "the-key-of-shop") {
			t.Errorf("%v: exit %d\n%s%s", c.args, code, stdout, stderr)
		}
	}
}

func TestTheLedgerGoesFromAnEmbeddedRelayToRedis(t *testing.T) {
	t.Parallel()
	embedded := withAdmin(t, subscribeConfig(t, ""), "127.0.0.1:0")
	c := start(t, "", "serve", "-c", embedded)
	admin := after(t, c.stderr, `"admin":"`, `"`)
	subscribed(t, "zt", "1", "2", "no3", "--url", "http://"+after(t, c.stderr, `"public":"`, `"`), "--key",
		"the-key-of-shop")

	code, lines, stderr := run(t, "", "subscriptions", "export", "-c", withAdmin(t, embedded, admin))
	if code != 0 || stderr != "3 subscriptions exported\n" {
		t.Fatalf("exit %d\n%s%s", code, lines, stderr)
	}
	anew := subscribeConfig(t, redisserver.Start(t).URL())
	if code, _, stderr := run(t, lines, "subscriptions", "import", "-c", anew); code != 0 ||
		stderr != "3 subscriptions read, 3 new in the ledger\n" {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	// now and what is left
	withoutEnd := func(lines string) string { return regexp.MustCompile(`"expires":"[^"]*",`).ReplaceAllString(lines, "") }
	if _, again, _ := run(t, "", "subscriptions", "export", "-c", anew); withoutEnd(again) != withoutEnd(lines) ||
		strings.Count(again, `"uid":`) != 3 {
		t.Errorf("%s became\n%s", lines, again)
	}
}

// withAdmin writes a config anew with another address of the private listener, and the operator's token.
func withAdmin(t *testing.T, config, address string) string {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^admin: .*$`).ReplaceAllString(string(text),
		fmt.Sprintf("admin: {listen: %q, token: %s}", address, operator))
	return write(t, "config.yaml", line)
}

func TestTheLedgerGoesFromOneRedisToAnother(t *testing.T) {
	t.Parallel()
	config := subscribeConfig(t, redisserver.Start(t).URL())
	url, key := serving(t, config)
	subscribed(t, "zt", "1", "2", "--to", url, "--key-file", key)
	code, lines, stderr := run(t, "", "subscriptions", "export", "-c", config)
	if code != 0 || stderr != "2 subscriptions exported\n" || strings.Count(lines, "\n") != 2 ||
		!strings.Contains(lines, `{"tenant":"shop","cp_code":"zt","waybill_code":"1","since":"`) {
		t.Fatalf("exit %d\n%s%s", code, lines, stderr)
	}
	anew := subscribeConfig(t, redisserver.Start(t).URL())
	for _, want := range []string{"2 subscriptions read, 2 new in the ledger\n",
		"2 subscriptions read, 0 new in the ledger\n"} {
		if code, _, stderr := run(t, lines, "subscriptions", "import", "-c", anew); code != 0 || stderr != want {
			t.Errorf("exit %d\n%s", code, stderr)
		}
	}
	if _, again, _ := run(t, "", "subscriptions", "export", "-c", anew); strings.Count(again, `"state":"live"`) != 2 {
		t.Errorf("%s", again)
	}
	odd := strings.ReplaceAll(strings.ReplaceAll(lines, `"waybill_code":"1"`, `"waybill_code":"7.77006E+14"`),
		`"waybill_code":"2"`, `"waybill_code":"JT1E5/3"`)
	if code, _, stderr := run(t, odd, "subscriptions", "import", "-c", anew); code != 0 ||
		!strings.Contains(stderr, "is passed over: waybill_code is 7.77006E+14, a number as a spreadsheet") ||
		!strings.HasSuffix(stderr, "1 subscription read, 1 new in the ledger\n") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	lost := subscribeConfig(t, "redis://127.0.0.1:1/0")
	if code, _, stderr := run(t, lines, "subscriptions", "import", "-c", lost); code != 1 ||
		!strings.HasPrefix(stderr, "kuairelay: not all of 2 subscriptions are in the ledger (0 new; import them again): ") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	for text, says := range map[string]string{
		"{":            "line 1: not a subscription",
		lines + `{}`:   "line 3: tenant, cp_code and waybill_code must be words",
		`{"tenant":1}`: "line 1: not a subscription",
		strings.ReplaceAll(lines, `"live"`, `"alive"`): "line 1: state must be",
		strings.ReplaceAll(lines, `"since"`, `"when"`): "line 1: not a subscription",
	} {
		if code, _, stderr := run(t, text, "subscriptions", "import", "-c", anew); code != 1 ||
			!strings.Contains(stderr, says) {
			t.Errorf("exit %d %s, want %s", code, stderr, says)
		}
	}
}
