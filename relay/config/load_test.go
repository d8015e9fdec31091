package config

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// head is the least that a file must hold.
const head = "callback: {tokens: [long-enough]}\n"

// mustLoad loads text, with variables given as name, value, name, value.
func mustLoad(t *testing.T, text string, vars ...string) *Config {
	t.Helper()
	c, err := load("test.yaml", []byte(text), Options{LookupEnv: env(vars...)})
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return c
}

// equal compares what fmt would hide.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func TestAMinimalFileGetsTheDefaultsOfTheDesign(t *testing.T) {
	t.Parallel()
	want := &Config{
		Retention:           48 * time.Hour,
		DeadLetterRetention: 720 * time.Hour,
		Delivery: Delivery{
			Timeout: 15 * time.Second,
			Retry: []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
				10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour},
			MaxInFlight: 32, MaxAge: 168 * time.Hour, MaxBacklog: 1_000_000, OrphanGrace: 24 * time.Hour, Order: "waybill",
			Breaker: Breaker{10, 0.5, time.Minute, 5 * time.Second, 15 * time.Minute},
		},
	}
	want.Kuaidihelp = Kuaidihelp{APIURL: "https://kop.kuaidihelp.com/api", Methods: []string{"express.sub.msg"}, Rate: 10,
		Concurrency: 4, Timeout: 5 * time.Second, Query: Query{Rate: 1, MinInterval: 6 * time.Hour}}
	want.Subscriptions = Subscriptions{TTL: 60 * 24 * time.Hour, SignedTTL: 7 * 24 * time.Hour,
		TSWindow: 10 * time.Minute, Max: 1_000_000, Limits: Limits{Rate: 20}}
	want.Subscriptions.NoRecord.Retry = []time.Duration{30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		24 * time.Hour, 24 * time.Hour}
	want.Subscriptions.Reconcile.ResubscribeAfter = 3
	want.Server.Listen, want.Admin.Listen = ":8080", "127.0.0.1:8081"
	want.Callback.Tokens, want.Callback.Ack, want.Callback.MaxBody = []APIKey{{Key: "long-enough"}}, "success", 4<<20
	want.Callback.Silence = 6 * time.Hour
	want.Spool.Dir, want.Spool.MaxBytes = "./spool", 1<<30
	want.Dedupe.Window, want.Dedupe.BareWindow = 72*time.Hour, 2*time.Hour
	want.Limits.Allowance, want.Limits.ParseBytes, want.Limits.Connections = Allowance{20, 2, 2}, 64<<20, 4096
	want.Console.Tenants, want.Console.Session, want.Console.Language = true, 12*time.Hour, "en"
	want.TenantsDir, want.Console.History = "tenants.d", 24*time.Hour
	got := mustLoad(t, head)
	got.Fingerprint, got.Files, got.Production = "", Files{}, Production{}
	equal(t, "config", got, want)
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestEveryKeyArrivesInItsField(t *testing.T) {
	t.Parallel()
	got, err := Load("testdata/full.yaml", Options{LookupEnv: env()})
	if err != nil {
		t.Fatal(err)
	}
	at := func(line int) Position { return Position{"testdata/full.yaml", line} }
	in := func(line int) Position { return Position{"testdata/full.d/filed.yaml", line} }
	delivery := Delivery{
		Timeout: time.Second, Retry: []time.Duration{2 * time.Second, 3 * time.Minute}, MaxInFlight: 4, Rate: 2.5,
		MaxAge:     5 * time.Hour,
		MaxBacklog: 14, Breaker: Breaker{15, 0.25, 16 * time.Second, 17 * time.Second, 18 * time.Minute},
		OrphanGrace: 6 * time.Hour, Order: "none",
	}
	own := Delivery{
		Timeout: 7 * time.Second, Retry: []time.Duration{8 * time.Second}, MaxInFlight: 9, Rate: 50, MaxAge: 10 * time.Hour,
		MaxBacklog: 19, Breaker: Breaker{0, 0.25, 16 * time.Second, 17 * time.Second, 18 * time.Minute},
		OrphanGrace: 6 * time.Hour, Order: "waybill",
	}
	want := &Config{Retention: 11 * time.Hour, DeadLetterRetention: 12 * 24 * time.Hour, Delivery: delivery}
	want.Server.Listen = "0.0.0.0:1"
	want.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	want.Admin.Listen, want.Admin.Token = "[::1]:2", "operator-token"
	want.Redis.URL, want.Redis.WaitReplicas = "redis://user:password@h:6379/1", 3
	want.Spool.Dir, want.Spool.MaxBytes = "/var/spool/kuairelay", 64<<20
	want.Admin.Tokens = []APIKey{{Key: "other-token"}, {"third-token", "ann", time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC)}}
	want.Callback.Tokens = []APIKey{
		{"first-token", "old", time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC)}, {Key: "token-from-a-file"},
	}
	want.Callback.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("192.168.1.1/32")}
	want.Callback.Ack, want.Callback.MaxBody, want.Callback.Silence = "ok", 5_000_000, 9*time.Hour
	want.Dedupe.Window, want.Dedupe.BareWindow = 13*time.Hour, 90*time.Minute
	want.Egress.AllowCIDRs, want.Egress.Proxy = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		"http://user:password@proxy:3128"
	want.Kuaidihelp = Kuaidihelp{APIURL: "https://kop.example.com/api", AppID: "50001", APIKey: "shared-key",
		Methods: []string{"express.sub.msg", "express.info.get"}, Rate: 3, Concurrency: 2, Timeout: 4 * time.Second,
		Query: Query{Rate: 2, DailyBudget: 5000, MinInterval: 3 * time.Hour}}
	want.Subscriptions = Subscriptions{TTL: 30 * 24 * time.Hour, SignedTTL: 3 * 24 * time.Hour,
		TSWindow: 5 * time.Minute, Max: 5000, Limits: Limits{Rate: 5, DailyQuota: 1000}}
	want.Subscriptions.NoRecord.Retry = []time.Duration{10 * time.Minute, time.Hour}
	want.Subscriptions.Reconcile = Reconcile{After: 36 * time.Hour, ResubscribeAfter: 4, DryRun: true}
	want.Limits.Allowance, want.Limits.ParseBytes, want.Limits.Connections = Allowance{40, 3, 4}, 20_000_000, 500
	want.Console.Hosts, want.Console.Tenants, want.Console.Session = []string{"relay"}, false, 8*time.Hour
	want.Console.Timezone, want.Console.Language = zone(t, "Asia/Shanghai"), "zh"
	want.Console.History = 6 * time.Hour
	want.Tenants = []Tenant{
		{
			Name: "shop", Limits: Limits{5, 1000}, Allowance: Allowance{40, 3, 4},
			Endpoints: []Endpoint{
				{
					Name: "a", ID: "shop/a", URL: "https://h/x?y=1", Shown: "https://h/x?y=1", Format: "kuaidihelp", Delivery: own,
					Pos:        at(39),
					Secrets:    []SigningSecret{{Secret: goodSecret}, {goodSecret, time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC)}},
					Headers:    []Header{{"authorization", "Bearer x"}, {"X-Team", "logistics"}},
					AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("192.168.7.7/32")},
					TLS:        &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "inner.example"},
				},
				{Name: "b", ID: "shop/b", URL: "http://127.0.0.1:9/", Shown: "http://127.0.0.1:9/",
					Secrets: []SigningSecret{{Secret: goodSecret}}, Format: "standard", Delivery: delivery, Pos: at(55)},
			},
			Routes: []Route{
				{"shop", []string{"shop/a", "shop/b"},
					&Match{[]string{"t"}, []string{"zt", "sto"}, []string{"signed"}, []string{"77*"}, "status", true, nil},
					"len(event.tracks) > 0", at(57), 0, false},
				{"shop", []string{"shop/b"}, nil, "", at(66), 1, false},
			},
			Pos: at(37),
		},
		{
			Name:    "empty",
			APIKeys: []APIKey{{Key: "first-key"}, {"second-key", "ci", time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC)}},
			Limits:  Limits{0, 7}, Allowance: Allowance{40, 1, 4},
			Watch: Watch{NotCollected: 24 * time.Hour, Stalled: 48 * time.Hour, NotPickedUp: 72 * time.Hour, Lost: true},
			Notices: []Notice{{To: "https://hooks.slack.com/services/T0/B0/tenant", Format: "slack", On: []string{"warning"},
				Every: 2 * time.Hour, Language: "en", Pos: at(72)}},
			Pos: at(67),
		},
		{
			Name: "filed", Limits: Limits{5, 1000}, Allowance: Allowance{30, 2, 3},
			Tests: []Test{
				{"filed", "nobody gets it", []byte(`{"waybill_code":"077","n":1.50,"flag":true,"data":[{"time":"2026-01-02"},{}]}`),
					nil, false, in(3), false},
				{"filed", "", []byte(`{"waybill_code":"1"}`), nil, true, in(6), false},
			},
			Pos: in(1),
		},
	}
	want.TenantsDir, want.TenantsEnv, want.TenantsFiles = "full.d", []string{"SHARED_TOKEN", "_x9"},
		[]string{"/run/secrets", "shared.pem"}
	want.Notices = []Notice{
		{To: "https://oapi.dingtalk.com/robot/send?access_token=t", Format: "dingtalk", Secret: "SEC00",
			On: []string{"critical", "redis_full"}, Every: 15 * time.Minute, Language: "en", Pos: at(97)},
		{To: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k", Format: "wecom",
			On: []string{"critical", "warning"}, Every: 30 * time.Minute, Language: "zh", Pos: at(98)},
	}
	want.Egress.TenantCIDRs = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}
	got.Warnings, got.Fingerprint, got.Files = nil, "", Files{} // they have tests of their own
	got.Production = Production{}
	equal(t, "config", got, want)
}

func TestAnEndpointInheritsDefaultsThatStandLaterInTheFile(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `
tenants:
  - routes: [{to: a}]
    endpoints: [{timeout: 3s, secrets: [`+goodSecret+`], url: "http://h.example", name: a}]
    name: shop
delivery: {timeout: 2s, max_in_flight: 7}
`+head)
	got := c.Tenants[0].Endpoints[0]
	equal(t, "timeout", got.Delivery.Timeout, 3*time.Second)
	equal(t, "max in flight", got.Delivery.MaxInFlight, 7)
	equal(t, "id", got.ID, "shop/a")
	equal(t, "to", c.Tenants[0].Routes[0].To, []string{"shop/a"})
	equal(t, "tenant", c.Tenants[0].Routes[0].Tenant, "shop")
}

func TestAScalarIsItsTextAsWritten(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, head+`
tenants:
  - name: 2024-01-01
    endpoints: [{name: 0123, url: "http://h.example", secrets: [`+goodSecret+`]}]
    routes:
      - to: 0123
        match: {waybill_code: [0777005949070187, 1_000, 1e3, 0x1F, yes, no, true, .5, 2024-01-01, "null", 'a #b']}
`)
	want := []string{"0777005949070187", "1_000", "1e3", "0x1F", "yes", "no", "true", ".5", "2024-01-01", "null", "a #b"}
	equal(t, "waybills", c.Tenants[0].Routes[0].Match.WaybillCode, want)
	equal(t, "id", c.Tenants[0].Endpoints[0].ID, "2024-01-01/0123")
}

func TestLoadSaysWhichFileItCannotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(path, Options{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	var mistakes Mistakes
	if errors.As(err, &mistakes) {
		t.Errorf("%v is no mistake in a file", err)
	}
}

func TestLoadReadsTheEnvironmentByDefault(t *testing.T) {
	t.Setenv("KUAIRELAY_TEST_ACK", "from the environment")
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("callback: {tokens: [long-enough], ack: \"${KUAIRELAY_TEST_ACK}\"}"),
		0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "ack", c.Callback.Ack, "from the environment")
}

func TestRoutesThatAddNothingAndEndpointsWithoutRoutesAreWarnedOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, routes string
		line         int // of the warning, counted from the first route; 0: none
	}{
		{"different matches", "- {to: a, match: {status: x}}\n- {to: a, match: {status: y}}", 0},
		{"same match", "- {to: a, match: {status: x}}\n- {to: a, match: {status: x}}", 2},
		{"same values in another order", "- {to: a, match: {status: [x, y]}}\n- {to: a, match: {status: [y, x]}}", 2},
		{"fewer values", "- {to: a, match: {status: [x, y]}}\n- {to: a, match: {status: x}}", 2},
		{"more values", "- {to: a, match: {status: x}}\n- {to: a, match: {status: [x, y]}}", 1},
		{"one key more", "- {to: a, match: {status: x}}\n- {to: a, match: {status: x, type: t}}", 2},
		{"one key less", "- {to: a, match: {status: x, type: t}}\n- {to: a, match: {status: x}}", 1},
		{"any status", "- {to: a, match: {status: '*'}}\n- {to: a, match: {status: x}}", 2},
		{"any status does not cover none", "- {to: a, match: {status: '*'}}\n- {to: a, match: {type: x}}", 0},
		{"general first", "- {to: a}\n- {to: a, match: {status: x}}", 2},
		{"general last", "- {to: a, match: {status: x}}\n- {to: a}", 1},
		{"general, but when", "- {to: a, when: x}\n- {to: a, match: {status: x}}", 0},
		{"a later one sends to one of two only", "- {to: [a, b]}\n- {to: b}", 2},
		{"two later ones together", "- {to: [b, a], match: {status: x}}\n- {to: a}\n- {to: b}", 1},
		{"same when", "- {to: a, when: x}\n- {to: a, when: x, match: {status: x}}", 2},
		{"only changes first", "- {to: a, match: {changed: status}}\n- {to: a, match: {type: t}}", 0},
		{"only changes of what is sent already", "- {to: a, match: {type: t}}\n- {to: a, match: {type: t, changed: status}}",
			2},
		{"other endpoint too", "- {to: a}\n- {to: [a, b]}", 1},
		{"only subscribed ones first", "- {to: a, match: {subscribed: true}}\n" +
			"- {to: a, match: {type: t}}\n- {to: b, when: other}", 0},
		{"only subscribed ones of what is sent already", "- {to: a, match: {type: t}}\n" +
			"- {to: a, match: {type: t, subscribed: true}}\n- {to: b, when: other}", 2},
		{"subscribed and changed", "- {to: a, match: {subscribed: true}}\n- {to: a, match: {subscribed: true, changed: " +
			"status}}\n- {to: b, when: other}", 2},
		{"covered by two routes together", "- {to: a}\n- {to: b}\n- {to: [b, a]}", 3},
		{"no route to b", "- {to: a}", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := head + "tenants:\n- name: s\n  api_keys: [long-enough-for-pages]\n  endpoints:\n" +
				"  - {name: a, url: 'https://h.example', secrets: [" + goodSecret + "]}\n" +
				"  - {name: b, url: 'https://h.example', secrets: [" + otherSecret + "]}\n" +
				"  routes:\n  " + strings.ReplaceAll(tt.routes, "\n", "\n  ") + "\n"
			if tt.line >= 0 && !strings.Contains(tt.routes, "b") {
				text += "  - {to: b, when: other}\n"
			}
			var lines []int
			for _, w := range mustLoad(t, text).Warnings {
				lines = append(lines, w.Pos.Line-8)
			}
			var want []int
			switch {
			case tt.line > 0:
				want = []int{tt.line}
			case tt.line < 0:
				want = []int{7 - 8}
			}
			if !slices.Equal(lines, want) {
				t.Errorf("got warnings in lines %v, want %v\n%s", lines, want, text)
			}
		})
	}
}

const example = "../../config.example.yaml"

func TestTheExampleWorksWithNothingSetInTheEnvironment(t *testing.T) {
	t.Parallel()
	c, err := Load(example, Options{LookupEnv: env()})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 10 {
		t.Errorf("it is warned of its own secrets in %v", c.Warnings)
	}
	for _, w := range c.Warnings {
		if !strings.Contains(w.Msg, "which everybody knows") {
			t.Errorf("warning: %v", w)
		}
	}
	equal(t, "redis", c.Redis.URL, Secret(""))
	equal(t, "spool", c.Spool, defaults().Spool)
	equal(t, "tenant", c.Tenants[0].Name, "shop")
	equal(t, "url", c.Tenants[0].Endpoints[0].URL, "http://127.0.0.1:9000/hooks")
	d := defaults()
	d.Callback.Tokens, d.Server.TrustedProxies, d.Callback.AllowCIDRs = c.Callback.Tokens, c.Server.TrustedProxies,
		c.Callback.AllowCIDRs
	equal(t, "egress", c.Egress.AllowCIDRs, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}) // for its own endpoints
	d.Warnings, d.Server.Listen = c.Warnings, "127.0.0.1:8080"
	d.Files, d.Production = c.Files, c.Production
	d.Admin.Tokens = c.Admin.Tokens
	d.Notices = c.Notices
	d.Tenants, d.Fingerprint, d.Egress.AllowCIDRs, d.Admin.Token = c.Tenants, c.Fingerprint, c.Egress.AllowCIDRs,
		c.Admin.Token
	equal(t, "everything but tokens, server.listen, egress, notices and tenants is the default", c, d)
}

// TestEveryKeyArrivesInItsField tells nothing of a key that its file does not have.
func TestTheFullConfigHoldsEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	root, _, err := documents(text)
	if err != nil {
		t.Fatal(err)
	}
	present := map[string]bool{}
	collectKeys("", root, present)
	elsewhere := []string{"tenants.tests", "tenants.endpoints.tls.", "tenants.endpoints.breaker.", "tenants.limits."}
	for _, key := range knownKeys("", schema(&loading{config: defaults()}).fields) {
		isElsewhere := slices.ContainsFunc(elsewhere, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		if !present[key] && !isElsewhere {
			t.Errorf("testdata/full.yaml lacks %s", key)
		}
	}
}

func TestTheExampleHoldsEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	root, _, err := documents(text)
	if err != nil {
		t.Fatal(err)
	}
	present, known := map[string]bool{}, knownKeys("", schema(&loading{config: defaults()}).fields)
	collectKeys("", root, present)
	for _, key := range known {
		if !present[key] {
			t.Errorf("config.example.yaml lacks %s", key)
		}
	}
	if len(known) < 40 || !slices.Contains(known, "tenants.routes.match.status") {
		t.Errorf("the walk over the schema found only %v", known)
	}
}

// knownKeys are the dotted names of all keys of a schema, without the indexes of lists.
func knownKeys(path string, fields []field) []string {
	var keys []string
	for _, f := range fields {
		keys = append(keys, path+f.name)
		keys = append(keys, knownKeys(path+f.name+".", f.fields)...)
	}
	return keys
}

func collectKeys(path string, n *yaml.Node, into map[string]bool) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			collectKeys(path, item, into)
		}
	case yaml.MappingNode:
		for pair := range slices.Chunk(n.Content, 2) {
			into[path+pair[0].Value] = true
			collectKeys(path+pair[0].Value+".", pair[1], into)
		}
	}
}
