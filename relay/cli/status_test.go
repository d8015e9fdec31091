package cli_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

func TestStatusTellsTheTruthAlsoWithoutRedis(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t, "--appendonly", "yes")
	config := func(more string) string {
		return fmt.Sprintf(`
server: {listen: '127.0.0.1:0'}
admin: {listen: '127.0.0.1:0', token: %s}
egress: {allow_cidrs: [127.0.0.0/8]}
callback: {tokens: [callback-token]}
redis: {url: '%s'}
spool: {dir: '%s'}
tenants:
  - name: shop
    api_keys: [%s]
    endpoints: [{name: orders, url: 'http://127.0.0.1:1/', secrets: [%s]}]
    routes: [{to: orders}]
%s`, operator, redis.URL(), t.TempDir()+"/spool", shopKey, secret, more)
	}
	good := config("")
	file := write(t, "config.yaml", good)
	relay := start(t, "", "serve", "-c", file)
	s := &served{t: t, public: "http://" + after(t, relay.stderr, `"public":"`, `"`),
		admin: "http://" + after(t, relay.stderr, `"admin":"`, `"`)}
	ready := func() string {
		code, out, stderr := run(t, "", "healthcheck", "--url", s.admin+"/readyz")
		if code != 0 {
			t.Errorf("healthcheck: exit %d: %s", code, stderr)
		}
		return out
	}

	if out := s.says("status", "ready, version", "1: 1 idle", "last event  none"); strings.Contains(out, "problem") {
		t.Errorf("nothing is wrong, but status says\n%s", out)
	}
	if out := ready(); !strings.HasPrefix(out, "healthy: ") {
		t.Errorf("healthcheck: %s", out)
	}

	// A config with mistakes: which.
	if err := os.WriteFile(file, []byte(good+"nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the mistake is named", func() bool {
		_, out, _ := s.ask("status")
		return strings.Contains(out, "DEGRADED") && strings.Contains(out, "unknown key \"nonsense\"") &&
			strings.Contains(out, " [config_refused]\n")
	})
	if out := ready(); !strings.HasPrefix(out, "healthy, but degraded (the config's files have mistakes") {
		t.Errorf("healthcheck: %s", out)
	}
	code, out, _ := s.ask("config")
	if code != 1 || !strings.Contains(out, file+":") || !strings.Contains(out, `mistake     `) {
		t.Errorf("config: exit %d\n%s", code, out)
	}
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the mistake is over", func() bool { _, out, _ := s.ask("status"); return !strings.Contains(out, "problem") })

	s.says("config", "served      ", "1 tenant, 1 endpoint")
	shown := s.says("config --effective", "callback:\n  tokens:\n", "<secret> # written in the file")
	if strings.Contains(shown, secret) {
		t.Errorf("config --effective shows a secret:\n%s", shown)
	}
	if out := s.says("system", "redis       up, answers in", "persistence aof", "no callback came yet, credentials none",
		"(answers)  "); strings.Contains(out, "advice") {
		t.Errorf("system:\n%s", out)
	}

	// Without Redis callbacks go to the spool: not ready is another thing.
	redis.Kill()
	s.push("7001", "collected")
	down := "redis at " + redis.Addr + " is down: connection refused"
	until(t, "the relay knows why redis is down", func() bool { // first it only knows that its connections were closed
		_, out, _ := s.ask("status")
		return strings.Contains(out, down)
	})
	out = s.says("status", "DEGRADED", down, "callbacks go to the spool until it takes them", " [redis_down]\n",
		"1 callback waits for redis", "1: what they hold is not known")
	if strings.Contains(out, "0 deliveries") {
		t.Errorf("what is not known is told as none:\n%s", out)
	}
	type status struct {
		Ready, Partial bool
		Status, Redis  string
		Problems       []string
	}
	if got := parse[status](t, s.says("status -o json")); !got.Ready || !got.Partial || got.Status != "degraded" ||
		got.Redis != "down: connection refused" || len(got.Problems) != 2 {
		t.Errorf("%+v", got)
	}
	if out := ready(); !strings.HasPrefix(out, "healthy, but degraded (redis is down: connection refused)") {
		t.Errorf("healthcheck: %s", out)
	}
	until(t, "system knows that too", func() bool {
		_, out, _ := s.ask("system")
		return strings.Contains(out, "redis       down for ") && strings.Contains(out, "what only redis knows is missing")
	})
	code, out, stderr := run(t, "", "status", "--url", s.public, "--key", shopKey)
	if code != 0 || !strings.Contains(out, "the relay's redis does not answer") || strings.Contains(out, redis.Addr) {
		t.Errorf("a tenant's status: exit %d: %s%s", code, out, stderr)
	}

	// What waits in the spool is known.
	code, out, _ = s.ask("waybill", "7001")
	if code != 1 || !strings.Contains(out, "nothing else is known: ") {
		t.Errorf("a waybill of the spool: exit %d: %s", code, out)
	}

	// Other commands fail, with the host and the cause.
	for _, command := range []string{"endpoints", "waybill 7009", "events", "dead-letters", "quarantine", "replay list",
		"pause shop/orders", "subscriptions --tenant shop"} {
		if code, _, stderr := s.ask(strings.Fields(command)...); code != 1 || !strings.Contains(stderr, down) ||
			!strings.Contains(stderr, "kuairelay: cannot ") {
			t.Errorf("%s: exit %d: %s", command, code, stderr)
		}
	}
}
