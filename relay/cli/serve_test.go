package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// anyPort is a config on free ports, with more in it.
func anyPort(more string) string {
	return "server: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}\ncallback: {tokens: [callback-token]}\n" +
		more + "\negress: {allow_cidrs: [127.0.0.0/8]}\n"
}

// serve starts a relay, and returns it with its public address.
func serve(t *testing.T, config string, flags ...string) (*command, string) {
	t.Helper()
	dir := "dir: " + filepath.Join(t.TempDir(), "spool")
	if strings.Contains(config, "dir: ./spool") {
		config = strings.Replace(config, "dir: ./spool", dir, 1)
	} else {
		config += "\nspool: {" + dir + "}\n"
	}
	c := start(t, "", append([]string{"serve", "-c", write(t, "config.yaml", config)}, flags...)...)
	return c, after(t, c.stderr, `"public":"`, `"`)
}

// delivered is a line of `listen -o json`.
type delivered struct {
	ID, Path, Type, Waybill, Reason, Error, Body string
	Sequence                                     int64
	Verified                                     bool
	Seen, Answer                                 int
	Time                                         time.Time
}

// listen starts a tenant, and returns it with its address.
func listen(t *testing.T, flags ...string) (*command, string) {
	t.Helper()
	c := start(t, "", append([]string{"listen", "--listen", "127.0.0.1:0", "-o", "json"}, flags...)...)
	return c, after(t, c.stderr, "Listening on http://", ",")
}

func lines(t *testing.T, o *output) []delivered {
	t.Helper()
	var out []delivered
	for line := range strings.Lines(o.String()) {
		if strings.HasSuffix(line, "\n") {
			out = append(out, parse[delivered](t, line))
		}
	}
	return out
}

func TestSendServeAndListenWorkTogetherWithTheExampleConfig(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tenant, address := listen(t)
	text := string(example)
	for _, change := range [][2]string{{"127.0.0.1:8080", "127.0.0.1:0"}, {"127.0.0.1:8081", "127.0.0.1:0"},
		{"127.0.0.1:9000", address}} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("no %s in the example", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	relay, public := serve(t, text)

	var code int
	var stdout, stderr string
	var sent sum
	// What a busy machine refuses is sent again, as the provider does. The rest are duplicates then.
	until(t, "all are taken", func() bool {
		code, stdout, stderr = run(t, "", "send", "--to", "http://"+public+"/callback/change-me-please", "-n", "60",
			"--encoding", "all", "--duplicates", "0.2", "--seed", "7", "-o", "json")
		sent = parse[sum](t, stdout)
		return sent.Failed == 0 || sent.Failed != sent.Failures["503 Service Unavailable"]
	})
	if code != 0 || sent.Sent != 60 || sent.Accepted != 60 || sent.Failed != 0 || sent.Repeats == 0 || sent.Updates != 60 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	orders := func() (got []delivered) {
		for _, d := range lines(t, tenant.stdout) {
			if d.Path == "/hooks" {
				got = append(got, d)
			}
		}
		return got
	}
	until(t, "every update arrives", func() bool { return len(orders()) >= sent.Sent-sent.Repeats })
	relay.interrupt()
	if code := relay.wait(); code != 0 {
		t.Errorf("serve ended with exit %d: %s", code, relay.stderr)
	}
	tenant.interrupt()
	if code := tenant.wait(); code != 0 {
		t.Errorf("listen ended with exit %d", code)
	}
	last := map[string]int64{}
	for _, d := range orders() {
		if !d.Verified || d.Seen != 1 || d.Answer != 200 || d.Reason != "new" || d.Sequence <= last[d.Waybill] ||
			!strings.HasPrefix(d.ID, "evt_") ||
			!strings.HasPrefix(d.Type, "waybill.") || !json.Valid([]byte(d.Body)) || !strings.Contains(d.Body, d.Waybill) {
			t.Errorf("delivery %+v", d)
		}
		last[d.Waybill] = d.Sequence
	}
	if got := len(orders()); got != sent.Sent-sent.Repeats {
		t.Errorf("%d deliveries of %d updates", got, sent.Sent-sent.Repeats)
	}
	for _, o := range []string{stdout, stderr, relay.stderr.String(), relay.stdout.String(), tenant.stderr.String(),
		tenant.stdout.String()} {
		if strings.Contains(o, "whsec_") || strings.Contains(o, "change-me-please") {
			t.Errorf("a secret is printed:\n%s", o)
		}
	}
}

func TestServeFinishesWhatIsUnderWayWhenItIsStopped(t *testing.T) {
	t.Parallel()
	tenant, address := listen(t, "--secret", secret, "--delay", "300ms")
	relay, public := serve(t, anyPort(`
tenants:
  - name: shop
    endpoints: [{name: orders, url: "http://`+address+`", secrets: [`+secret+`]}]
    routes: [{to: orders}]
`))
	if code, _, stderr := run(t, "", "send", "-n", "1", "--to", "http://"+public+"/callback/callback-token"); code != 0 {
		t.Fatalf("send: exit %d: %s", code, stderr)
	}
	until(t, "the attempt is under way", func() bool { return len(lines(t, tenant.stdout)) == 1 })
	relay.interrupt()
	if code := relay.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if log := relay.stderr.String(); !strings.Contains(log, `"outcome":"delivered"`) ||
		!strings.Contains(log, `"stopped"`) {
		t.Errorf("the attempt was not finished:\n%s", log)
	}
	if resp, err := http.Get("http://" + public + "/healthz"); err == nil {
		_ = resp.Body.Close()
		t.Error("it still listens")
	}
}

func TestServeSaysToPeopleWhereItListens(t *testing.T) {
	t.Parallel()
	c := start(t, "", "serve", "-c", write(t, "config.yaml", anyPort("spool: {dir: "+t.TempDir()+"}")), "--log-format",
		"console", "--log-level", "error")
	public := after(t, c.stderr, "callbacks  ", "/callback/<token>\n")
	if code, stdout, stderr := run(t, "", "healthcheck", "--url", public+"/readyz"); code != 0 {
		t.Errorf("not ready: %s%s", stdout, stderr)
	}
	if !strings.Contains(c.stderr.String(), "config.yaml: 0 tenants, 0 endpoints, 0 routes\n") ||
		strings.Contains(c.stderr.String(), "WARN") {
		t.Errorf("%s", c.stderr)
	}
}

func TestServeRefusesWhatCannotWorkInOneLine(t *testing.T) {
	t.Parallel()
	busy := taken(t)
	for name, c := range map[string]struct{ file, want string }{
		"no file": {"nowhere.yaml", "kuairelay: read config: open nowhere.yaml: no such file or directory\n"},
		"public port in use": {write(t, "c.yaml", "server: {listen: '"+busy+"'}\nadmin: {listen: '127.0.0.1:0'}\n"+
			"callback: {tokens: [callback-token]}\n"), "kuairelay: server.listen: another program listens at " + busy +
			" (address already in use)\n"},
		"private port in use": {write(t, "c.yaml", "server: {listen: '127.0.0.1:0'}\nadmin: {listen: '"+busy+
			"'}\ncallback: {tokens: [callback-token]}\n"), "kuairelay: admin.listen: another program listens at " + busy +
			" (address already in use)\n"},
		"Redis URL of no kind": {write(t, "c.yaml", anyPort("redis: {url: 'redis://:hunter2@host/notadb'}")),
			"c.yaml:4: redis.url: must end behind the host, or in / and the number of a database\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, "", "serve", "-c", c.file, "--log-level", "error")
			if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 ||
				strings.Contains(stderr, "hunter2") {
				t.Errorf("exit %d, stderr:\n%s", code, stderr)
			}
		})
	}
}

const mistaken = `server: {lisen: ":8080"}
callback: {tokens: [short]}
tenants:
  - name: shop
    endpoints: [{name: orders, url: ftp://shop, secrets: [hunter2]}]
    routes: [{to: order, when: 'event.stat == 1'}]
`

func TestServeAndCheckShowEveryMistakeWithItsLine(t *testing.T) {
	t.Parallel()
	file := write(t, "config.yaml", mistaken)
	for _, args := range [][]string{{"serve", "-c", file}, {"check", file}} {
		code, stdout, stderr := run(t, "", args...)
		got := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
		if code != 1 || stdout != "" || len(got) != 6 || strings.Contains(stderr, "hunter2") {
			t.Fatalf("%s: exit %d, stderr:\n%s", args[0], code, stderr)
		}
		for i, line := range []string{"1", "2", "5", "5", "6", "6"} {
			if !strings.HasPrefix(got[i], file+":"+line+": ") {
				t.Errorf("%s: %s is not about line %s", args[0], got[i], line)
			}
		}
	}
}

// findings is what `check -o json` prints.
type findings struct {
	OK                 bool
	Mistakes, Warnings []struct {
		File, Msg string
		Line      int
	}
	Tenants, Endpoints, Routes int
}

func TestCheckForPrograms(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "", "check", "-o", "json", write(t, "config.yaml", mistaken))
	got := parse[findings](t, stdout)
	if code != 1 || stderr != "" || got.OK || len(got.Mistakes) != 6 || got.Mistakes[2].Line != 5 ||
		got.Mistakes[2].Msg == "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, "", "check", "-o", "json", "../../config.example.yaml")
	got = parse[findings](t, stdout)
	if code != 0 || !got.OK || got.Mistakes == nil || got.Tenants != 1 || got.Endpoints != 2 || got.Routes != 3 {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestCheckSaysThatAFileIsFine(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "", "check", "../../config.example.yaml")
	if code != 0 || strings.Count(stderr, "\n") != 10 || strings.Count(stderr, "which everybody knows") != 10 ||
		stdout != "../../config.example.yaml: ok, 1 tenant, 2 endpoints, 3 routes\n" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestCheckWarnsAndFindsWhatOnlyTheRelayRefuses(t *testing.T) {
	t.Parallel()
	file := write(t, "config.yaml", anyPort(`
tenants:
  - name: shop
    endpoints:
      - {name: orders, url: "http://127.0.0.1:9", secrets: [`+secret+`]}
      - {name: spare, url: "http://127.0.0.1:9", secrets: [`+other+`]}
    routes: [{to: orders}]
`))
	code, stdout, stderr := run(t, "", "check", file)
	if code != 0 || stderr != file+":9: warning: no route leads to endpoint shop/spare\n" ||
		!strings.HasSuffix(stdout, ": ok, 1 tenant, 2 endpoints, 1 route\n") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	file = write(t, "config.yaml", anyPort("redis: {url: 'redis://:hunter2@host/notadb'}"))
	code, stdout, stderr = run(t, "", "check", file)
	if code != 1 || stdout != "" || !strings.HasPrefix(stderr, file+":4: redis.url: must end behind the host") ||
		strings.Contains(stderr, "hunter2") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := run(t, "", "check", "nowhere.yaml"); code != 1 ||
		!strings.Contains(stderr, "nowhere.yaml: no such file") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/readyz":
			http.Error(w, "redis does not take\na write", http.StatusServiceUnavailable)
		case "/hang":
			<-hang
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	for _, c := range []struct {
		url, timeout, want string
		code               int
	}{
		{server.URL + "/healthz", "1m", "healthy: " + server.URL + "/healthz: 200 OK\n", 0},
		{server.URL + "/readyz", "1m", "503 Service Unavailable redis does not take a write\n", 1},
		{server.URL + "/hang", "500ms", "no answer in time\n", 1},
		{"http://127.0.0.1:1/healthz", "1m", "connection refused\n", 1},
	} {
		code, stdout, stderr := run(t, "", "healthcheck", "--url", c.url, "--timeout", c.timeout)
		if code != c.code || !strings.HasSuffix(stdout+stderr, c.want) || strings.Count(stdout+stderr, "\n") != 1 {
			t.Errorf("%s: exit %d: %s%s", c.url, code, stdout, stderr)
		}
	}
}
