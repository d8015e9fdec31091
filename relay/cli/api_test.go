package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// served is a relay with a tenant, to call commands on.
type served struct {
	t             *testing.T
	public, admin string
	tenant        *command
}

const (
	operator = "operator-token"
	shopKey  = "key-of-shop"
)

// serveAPI starts a relay with two tenants, of which shop gets everything; more are further keys of its endpoint.
func serveAPI(t *testing.T, more string, listenFlags ...string) *served {
	t.Helper()
	tenant, address := listen(t, append([]string{"--secret", secret}, listenFlags...)...)
	relay := start(t, "", "serve", "-c", write(t, "config.yaml", fmt.Sprintf(`
server: {listen: '127.0.0.1:0'}
admin: {listen: '127.0.0.1:0', token: %s}
egress: {allow_cidrs: [127.0.0.0/8]}
callback: {tokens: [callback-token]}
spool: {dir: '%s'}
tenants:
  - name: shop
    api_keys: [%s]
    endpoints:
      - {name: orders, url: 'http://%s/hooks', secrets: [%s]%s}
    routes: [{to: orders}]
  - name: other
    api_keys: [key-of-other]
    endpoints:
      - {name: mail, url: 'http://%s/mail', secrets: [%s]}
    routes: [{to: mail, match: {status: signed}}]
`, operator, t.TempDir(), shopKey, address, secret, more, address, secret)))
	return &served{t: t, public: "http://" + after(t, relay.stderr, `"public":"`, `"`),
		admin: "http://" + after(t, relay.stderr, `"admin":"`, `"`), tenant: tenant}
}

// push sends one update, until it is taken: a busy machine may refuse it, and then the provider sends it again.
func (s *served) push(waybill, status string) {
	s.t.Helper()
	body := fmt.Sprintf(`{"type":"express_sub_msg","data":[{"waybill_code":%q,"cp_code":"zt","status":%q,`+
		`"data":[{"time":"2026-11-23 09:12:31"}]}]}`, waybill, status)
	until(s.t, "the update is taken", func() bool {
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.public+"/callback/callback-token",
			strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
			s.t.Fatal(resp.Status)
		}
		return resp.StatusCode == http.StatusOK
	})
}

// ask runs a command as the operator.
func (s *served) ask(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	return run(s.t, "", append(args, "--url", s.admin, "--token", operator)...)
}

// says runs a command as the operator, which has to succeed and to print all of the texts.
func (s *served) says(command string, texts ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.ask(strings.Fields(command)...)
	if code != 0 {
		s.t.Errorf("%s: exit %d: %s", command, code, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stdout, text) {
			s.t.Errorf("%s: no %q in\n%s", command, text, stdout)
		}
	}
	return stdout
}

func TestWaybillSaysWhatBecameOfEveryUpdate(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, ", retry: [62m]", "--status", "503") // a retry is due at least that late, and a tenth at most later
	s.push("1001", "collected")
	s.push("1001", "collected")
	s.push("1001", "signed")
	until(t, "the first update is tried", func() bool {
		_, out, _ := s.ask("waybill", "1001")
		return strings.Contains(out, "503 ") && strings.Contains(out, "retrying")
	})
	s.says("waybill 1001", "waybill 1001: 2 updates", "again once", "shop/orders  retrying", "due in 1h0",
		"behind update 1 of this waybill",
		`status "collected" is not signed`, "matches every event")
	// A tenant sees its own.
	code, out, stderr := run(t, "", "waybill", "1001", "--url", s.public, "--key", shopKey)
	if code != 0 || strings.Contains(out, "other/mail") || !strings.Contains(out, "shop/orders") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	type waybill struct{ Events []struct{ ID string } }
	w := parse[waybill](t, s.says("waybill 1001 -o json"))
	s.says("waybill "+w.Events[1].ID, "1 update", "other/mail")

	s.says("event "+w.Events[0].ID, "event "+w.Events[0].ID, "1001 zt collected, sequence", " in cb_",
		", as json, from 127.0.0.1, at ", "by the config ", "that is in use now", "dropped as a duplicate",
		"shop/orders  retrying", "matches every event")
	s.says("event "+w.Events[0].ID+" --request shop/orders", "POST http://", "Webhook-Signature:  v1,(signature)",
		`"type":"waybill.collected"`)
	type event struct{ Callback struct{ ID string } }
	e := parse[event](t, s.says("event -o json "+w.Events[0].ID))
	s.says("events --callback "+e.Callback.ID, "1001")
	if _, out, _ := s.ask("events", "--callback", e.Callback.ID, "--status", "signed,question"); strings.Contains(out,
		"1001") {
		t.Errorf("events of the callback that are signed or questioned: %s", out)
	}
	s.says("events --status signed,collected", "collected", "signed")
	s.says("pause shop/orders", "shop/orders", "paused")
	s.says("waybill 1001", "the endpoint is paused since", "kuairelay resume shop/orders")

	// Another config makes something else of the same updates.
	other := write(t, "other.yaml", "callback: {tokens: [callback-token]}\ntenants:\n  - name: shop\n"+
		"    endpoints: [{name: orders, url: 'https://shop.example', secrets: ["+
		secret+"]}]\n    routes: [{to: orders, match: {status: signed}, when: 'len(event.tracks) == 1 && "+
		"event.data.waybill_code == \"1001\"'}]\n")
	s.says("explain -c "+other+" --waybill 1001", "  no   shop/orders, is retrying\n", `status "collected" is not signed`,
		"  yes  shop/orders, is waiting\n", "matches")
	one := parse[[]explained](t, s.says("explain -o json -c "+other+" --waybill "+w.Events[1].ID))
	if len(one) != 1 || len(one[0].Endpoints) != 1 || !one[0].Endpoints[0].Owed || one[0].Endpoints[0].State != "waiting" {
		t.Errorf("%+v", one)
	}

	// Without a config the relay explains by its own.
	s.says("explain --waybill 1001", "  yes  shop/orders, is retrying\n", "  no   other/mail\n")
	s.says("explain --waybill "+w.Events[1].ID, "status signed", "  yes  other/mail")
	s.says("explain "+write(t, "event.json", `{"waybill_code":"1001","cp_code":"zt","status":"signed","data":[{"time":`+
		`"2026-11-23 09:12:31"}]}`), "It would be dropped as a duplicate of "+w.Events[1].ID, "  yes  other/mail\n")
	if code, out, stderr := run(t, "", "explain", "--waybill", "1001", "--url", s.public, "--key", shopKey); code != 0 ||
		strings.Contains(out, "other/mail") || !strings.Contains(out, "shop/orders") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}

	if code, _, stderr := s.ask("explain", "-c", other, "--waybill", "9999"); code != 1 ||
		!strings.Contains(stderr, "no update of this waybill is known") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	code, _, stderr = s.ask("waybill", "9999")
	if code != 1 || !strings.Contains(stderr, "no update of this waybill is known") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestFindSaysWhatEachTextIs(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, "")
	s.push("777001", "signed")
	until(t, "it is delivered", func() bool {
		code, out, _ := s.ask("find", "777001")
		return code == 0 && strings.Contains(out, "waybill 777001: delivered")
	})
	code, out, stderr := s.ask("find", "7770\u300001", "shop/orders")
	if code != 0 || !strings.Contains(out, "777001       waybill") || !strings.Contains(out, "shop/orders  endpoint  ok") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	var lines []string
	for i := range 150 {
		lines = append(lines, fmt.Sprint("88000", i))
	}
	code, out, _ = run(t, strings.Join(lines, "\n"), "find", "-", "-o", "json", "--url", s.admin, "--token", operator)
	type found struct{ Query, Kind, Path string }
	if all := parse[[]found](t, out); code != 1 || len(all) != 150 || all[149].Query != "88000149" || all[0].Path != "" {
		t.Errorf("exit %d, %d found", code, len(all))
	}
	code, out, stderr = s.ask("waybill", "880001")
	if code != 1 || out != "" || !strings.Contains(stderr, "no update of this waybill is known") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
}

// explained is what explain says of an event.
type explained struct {
	Waybill   string `json:"waybill_code"`
	Endpoints []struct {
		Endpoint, State string
		Owed            bool
		Routes          []struct{ At, Why string }
	}
}

func TestCommandsListAndChangeWhatARelayHolds(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, ", retry: [1ms]", "--status", "422")
	for i := range 3 {
		s.push(fmt.Sprint(2000+i), "collected")
	}
	until(t, "there are dead letters", func() bool {
		_, out, _ := s.ask("dead-letters")
		return strings.Count(out, "shop/orders") == 3
	})
	type sums struct{ Total struct{ Failed, Dead int } }
	until(t, "statistics are written", func() bool { // a dead letter is counted after its last attempt
		_, out, _ := s.ask("stats", "shop/orders", "-o", "json")
		got := parse[sums](t, out).Total
		return got.Failed == 6 && got.Dead == 3
	})
	s.says("stats", "FROM", "ATTEMPT P50/P95", "total", "6 4xx", "~")
	s.says("stats --callbacks --since 30m --step 15m", "QUARANTINED", "total")
	if got := parse[sums](t, s.says("stats --tenant shop -o json")).Total; got.Failed != 6 || got.Dead != 3 {
		t.Errorf("%+v", got)
	}
	until(t, "the status counts them", func() bool { // the longer that took, the longer it is kept
		_, out, _ := s.ask("status")
		return strings.Contains(out, "3 dead letters")
	})
	s.says("status", "callbacks   the latest ", "ready, version", "2: ", "shop/orders")
	s.says("events", "WAYBILL", "2002", "dead")
	s.says("events --waybill 2001 -n 1", "2001")
	s.says("endpoints --tenant shop", "shop/orders", "ok", "0%", "422")
	s.says("endpoint shop/orders -n 2", "shop/orders  ok", "3 dead letters", "retry 1ms", "REASON", "422")
	type page struct {
		Endpoint struct {
			Settings struct {
				AttemptsMax int `json:"attempts_max"`
			}
		}
		Attempts []struct{ Outcome string }
		Log      []any
	}
	if page := parse[page](t, s.says("endpoint shop/orders --failed -o json")); len(page.Attempts) != 6 ||
		page.Attempts[0].Outcome != "dead" || page.Endpoint.Settings.AttemptsMax != 2 || page.Log == nil {
		t.Errorf("%+v", page)
	}
	s.says("dead-letters --endpoint shop/orders", "2000", "422")
	type letters []struct {
		EventID string `json:"event_id"`
	}
	all := parse[letters](t, s.says("dead-letters -o json"))
	s.says("dead-letters dismiss "+all[0].EventID+" shop/orders", "dismissed: 1 dead letter")
	s.says("dead-letters redrive --endpoint shop/orders", "queued again: 2 dead letters")
	until(t, "they are dead again", func() bool {
		_, out, _ := s.ask("dead-letters")
		return strings.Count(out, "shop/orders") == 2
	})
	if code, out, _ := s.ask("test", "shop/orders"); code != 1 || !strings.Contains(out, "422") {
		t.Errorf("exit %d: %s", code, out)
	}
	s.says("replay --endpoint shop/orders --dry-run --state dismissed", "1 deliveries would be queued again")
	s.says("replay --endpoint shop/orders --state dead --rate 1000", "is done", "2 deliveries queued again")
	s.says("replay list", "done", "operator")
	s.says("quarantine", "REASON")
	s.says("quarantine --group", "COUNT", "the latest 0 of 0; of 0 that were parsed again, 0 would be understood now")
	s.says("quarantine --contains 2001", "REASON")
	s.says("subscriptions --tenant shop", "WAYBILL")
	s.says("pause shop/orders -o json", `"state": "paused"`)
	s.says("resume shop/orders", "shop/orders")
	s.says("audit", "WHEN", "operator  127.0.0.1  redrive", "shop/orders", "answered 422")
	if out := s.says("audit --what pause"); strings.Count(out, "\n") != 2 || strings.Contains(out, "resume") {
		s.t.Errorf("its pauses:\n%s", out)
	}

	for command, want := range map[string]string{
		"dead-letters redrive":       "which ones?",
		"dead-letters redrive evt_1": "needs a TENANT/ENDPOINT",
		"replay":                     "which events?",
		"replay --since monday":      "--since must be a time",
		"events -n 0":                "--number must be at least 1",
		"subscriptions":              "whose? --tenant",
		"quarantine replay":          "either IDs or --all",
		"quarantine dismiss":         "dismiss needs ID",
		"tail --interval 1ms":        "--interval must be",
		"status --key x --token y":   "not both",
		"status --url nonsense":      "--url must be an http or https URL",
		"pause orders":               `"orders" does not say whose: TENANT/ENDPOINT`,
	} {
		if code, _, stderr := run(t, "", strings.Fields(command)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s", command, code, stderr)
		}
	}
	for command, want := range map[string]string{
		"pause shop/nope":       `there is no endpoint "shop/nope"`,
		"events --state lost":   "state: must be one of",
		"events --endpoint a/b": `there is no endpoint "a/b"`,
		"replay cancel rpl_0":   "there is no such replay",
		"quarantine show qtn_0": "nothing in quarantine has this id",
		"quarantine dismiss x":  "nothing in quarantine has this id",
		"audit --what sneeze":   "what: must be one of pause",
	} {
		if code, _, stderr := s.ask(strings.Fields(command)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s", command, code, stderr)
		}
	}
}

func TestATenantsCommandsDoNothingForTheNameOfAnothersEndpoint(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, "")
	s.push("5001", "collected")
	as := func(key, command string) (int, string) {
		code, out, stderr := run(t, "", append(strings.Fields(command), "--url", s.public, "--key", key)...)
		return code, out + stderr
	}

	// Each would have found the key's own endpoint of the same short name.
	for _, command := range []string{
		"pause other/orders", "resume other/orders", "test other/orders", "pause other/mail", "pause nobody/orders",
		"events --endpoint other/orders", "dead-letters --endpoint other/mail", "replay --dry-run --endpoint other/orders",
		"dead-letters redrive --endpoint other/orders", "dead-letters dismiss evt_" + strings.Repeat("0", 64) +
			" other/orders",
	} {
		if code, out := as(shopKey, command); code != 1 || !strings.Contains(out, "is not yours") {
			t.Errorf("%s: exit %d: %s", command, code, out)
		}
	}
	if code, out := as(shopKey, "subscriptions --tenant other"); code != 2 ||
		!strings.Contains(out, "--tenant is the operator's") {
		t.Errorf("subscriptions of another tenant: exit %d: %s", code, out)
	}
	if out := s.says("endpoints"); strings.Contains(out, "paused") {
		t.Errorf("something was paused:\n%s", out)
	}

	// Its own it may name in full, or not.
	for _, name := range []string{"shop/orders", "orders"} {
		if code, out := as(shopKey, "pause "+name); code != 0 || !strings.Contains(out, "shop/orders  paused") {
			t.Errorf("pause %s: exit %d: %s", name, code, out)
		}
		if code, out := as(shopKey, "resume "+name); code != 0 || strings.Contains(out, "paused") {
			t.Errorf("resume %s: exit %d: %s", name, code, out)
		}
	}
}

func TestTailShowsEventsAsTheyComeAndEachOnce(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, "")
	for i := range 5 {
		s.push(fmt.Sprint(3000+i), "collected")
	}
	tail := start(t, "", "tail", "-n", "2", "--interval", "10ms", "-o", "json", "--url", s.admin, "--token", operator)
	until(t, "the latest are shown", func() bool { return strings.Contains(tail.stdout.String(), "3004") })
	for i := range 20 {
		s.push(fmt.Sprint(4000+i), "collected")
	}
	until(t, "new ones are shown", func() bool { return strings.Contains(tail.stdout.String(), "4019") })
	tail.interrupt()
	if code := tail.wait(); code != 0 {
		t.Errorf("exit %d: %s", code, tail.stderr)
	}
	out := tail.stdout.String()
	if n := strings.Count(out, "\n"); n != 22 {
		t.Errorf("%d lines, want 22:\n%s", n, out)
	}
	for i := range 20 {
		if strings.Count(out, fmt.Sprintf(`"waybill_code":"%d"`, 4000+i)) != 1 {
			t.Errorf("%d is not shown once", 4000+i)
		}
	}
}

func TestCommandsSayWhatIsWrongWithTheRelayTheyAsk(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, "")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"wrong token": {[]string{"status", "--url", s.admin, "--token", "wrong"},
			"does not take this token (--token, or KUAIRELAY_ADMIN_TOKEN"},
		"wrong key": {[]string{"status", "--url", s.public, "--key", "wrong"}, "does not know this key"},
		"public port": {[]string{"status", "--url", s.public, "--token", operator},
			"has no such API: the operator's is on admin.listen"},
		"nothing there": {[]string{"status", "--url", "http://127.0.0.1:1", "--token", operator},
			"no relay answers at 127.0.0.1:1: connection refused"},
		"no host": {[]string{"status", "--url", "http://no-such-host.invalid", "--token", operator},
			"no relay answers at no-such-host.invalid: lookup no-such-host.invalid: "}, // no such host, or no resolver
		"no port": {[]string{"status", "--url", "http://127.0.0.1:99999", "--token", operator},
			"no relay answers at 127.0.0.1:99999: cannot connect: address 99999: invalid port (is it"},
		"no TLS": {[]string{"status", "--url", strings.Replace(s.admin, "http:", "https:", 1), "--token", operator},
			": what answers there does not speak TLS (is it running?"},
	} {
		code, _, stderr := run(t, "", c.args...)
		if code != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("hello"))
	}))
	t.Cleanup(other.Close)
	if code, _, stderr := run(t, "", "status", "--url", other.URL, "--token", "x"); code != 1 ||
		!strings.Contains(stderr, "does not answer as a relay does") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestTheShellCompletesNamesOfEndpoints(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, "")
	for _, args := range [][]string{{"pause", ""}, {"events", "--endpoint", ""}} {
		until(t, "the relay answers in time for a completion", func() bool {
			code, out, stderr := run(t, "", append([]string{"__complete", args[0], "--url", s.admin, "--token", operator},
				args[1:]...)...)
			if code != 0 {
				t.Fatalf("%v: exit %d: %s%s", args, code, out, stderr)
			}
			return strings.Contains(out, "shop/orders\n") && strings.Contains(out, "other/mail\n")
		})
	}
	began := time.Now()
	if code, out, _ := run(t, "", "__complete", "pause", "--url", "http://127.0.0.1:1", ""); code != 0 ||
		strings.Contains(out, "/") || time.Since(began) > 20*time.Second {
		t.Errorf("without a relay: exit %d: %s", code, out)
	}
}
