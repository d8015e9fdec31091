package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	goodToken = "4f1c9a7e2b8d6035"
	// fit is a config for production; each %s of it is where a test changes something.
	fit = `server: {listen: "127.0.0.1:8080"}
admin: {listen: "127.0.0.1:8081", token: "${TOKEN}"}
redis: {url: "redis://redis:6379"}
callback: {tokens: ["${TOKEN}"], allow_cidrs: [0.0.0.0/0, "::/0"]}
retention: 24h
tenants:
  - {name: a, api_keys: ["${TOKEN}A"], endpoints: [{name: a, url: "https://h", secrets: ["${SECRET}"]}],
     routes: [{to: a}]}
`
)

// pointsOf returns the codes of a config's points, with the lines that they are about.
func pointsOf(t *testing.T, text string, mode os.FileMode) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	c, err := Load(file, Options{LookupEnv: env("TOKEN", goodToken, "SECRET", goodSecret, "SHORT", goodToken[:15])})
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	codes := []string{}
	for _, p := range c.Production.Points {
		codes = append(codes, p.Code+":"+strconv.Itoa(p.Pos.Line))
		if p.Why == "" || p.Do == "" || p.Pos.File != file {
			t.Errorf("a point says not all: %+v", p)
		}
		if p.Warning != "" && !slices.ContainsFunc(c.Warnings, func(m Mistake) bool {
			return m.Pos == p.Pos && m.Msg == p.Warning
		}) {
			t.Errorf("%s is said to be a warning, and is none of %v", p.Warning, c.Warnings)
		}
		if strings.Contains(p.Why+p.Do, goodToken[:15]) || strings.Contains(p.Why+p.Do, "hunter2") {
			t.Errorf("a point tells a secret: %+v", p)
		}
	}
	return codes
}

func TestAConfigForProductionHasNoPointAndEachFlawHasItsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, old, new string
		mode           os.FileMode
		want           string
	}{
		{"as it is", "", "", 0o644, ""},
		{"the example's token", `token: "${TOKEN}"`, `token: example-admin-token-change-me`, 0o600, "example_secret:2"},
		{"a token that can be guessed", `["${TOKEN}"]`, `[aaaaaaaa]`, 0o600, "guessable_secret:4"},
		{"a short token of the operator", `token: "${TOKEN}"`, `token: "${SHORT}"`, 0o600, "short_key:2"},
		{"a short callback token", `tokens: ["${TOKEN}"]`, `tokens: ["${SHORT}"]`, 0o600, "short_key:4"},
		{"a short API key", `"${TOKEN}A"`, `"${SHORT}"`, 0o600, "short_key:7"},
		{"a short API key without pages", `retention: 24h
tenants:
  - {name: a, api_keys: ["${TOKEN}A"]`, `console: {tenants: false}
tenants:
  - {name: a, api_keys: ["${SHORT}"]`, 0o600, "short_key:7"},
		{"a plain token", `["${TOKEN}"]`, "[" + goodToken + "]", 0o600, ""},
		{"a plain token that the group can read", `["${TOKEN}"]`, "[" + goodToken + "]", 0o640, "plain_secret:4"},
		{"a plain token that all can read", `token: "${TOKEN}"`, "token: " + goodToken, 0o604, "plain_secret:2"},
		{"a default in plain text", `"${SECRET}"`, `"${NONE:-` + goodSecret + `}"`, 0o644, "plain_secret:7"},
		{"a plain secret with an end", `["${SECRET}"]`,
			`["${SECRET}", {secret: ` + otherSecret + `, until: 2099-01-01T00:00:00Z}]`, 0o644, "plain_secret:7"},
		{"a plain password of Redis", "redis://redis", "redis://u:hunter2%21@redis", 0o644, "plain_secret:3"},
		{"of the servers behind Sentinel", "redis://redis:6379", "redis://s:26379?master_name=m&password=hunter2", 0o644,
			"plain_secret:3"},
		{"a password from elsewhere", "redis://redis", "redis://u:${TOKEN}@redis", 0o644, ""},
		{"a plain key of kuaidihelp", "retention: 24h", "kuaidihelp: {app_id: x, api_key: " + goodToken + "}", 0o644,
			"plain_secret:5"},
		{"an open listener", `"127.0.0.1:8080"`, `":8080"`, 0o600, "server_open:1"},
		{"an open listener behind a proxy", `{listen: "127.0.0.1:8080"}`,
			`{listen: ":8080", trusted_proxies: [10.0.0.1]}`, 0o600, ""},
		{"no server at all", `server: {listen: "127.0.0.1:8080"}`, "# nothing", 0o600, "server_open:2"},
		{"an open private listener", `"127.0.0.1:8081"`, `":8081"`, 0o600, "admin_open:2"},
		{"anybody may call", `, allow_cidrs: [0.0.0.0/0, "::/0"]`, "", 0o600, "no_allow_cidrs:4"},
		{"loopback for all", "retention: 24h", "egress: {allow_cidrs: [10.0.0.0/8, 127.0.0.1]}", 0o600, "egress_loopback:5"},
		{"loopback for tenants", "retention: 24h", "egress: {tenant_cidrs: ['::1']}", 0o600, "egress_loopback:5"},
		{"private networks", "retention: 24h", "egress: {allow_cidrs: [10.0.0.0/8, 'fd00::/8']}", 0o600, ""},
		{"an embedded Redis", `redis: {url: "redis://redis:6379"}`, "redis: {}", 0o600, "embedded_redis:3"},
	} {
		text := fit
		if tt.old != "" {
			text = strings.Replace(fit, tt.old, tt.new, 1)
			if text == fit {
				t.Fatalf("%s: %q is not in the config", tt.name, tt.old)
			}
		}
		if got := strings.Join(pointsOf(t, text, tt.mode), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	open := strings.Replace(fit, `"127.0.0.1:8081"`, `":8081"`, 1) + "console: {hosts: [relay]}\n"
	if got := pointsOf(t, open, 0o600); len(got) > 0 {
		t.Errorf("a private listener that is reached by a name: %v", got)
	}
}

func TestTheExampleHasEightPointsOrMoreInTheOrderOfTheFile(t *testing.T) {
	t.Parallel()
	c, err := Load(example, Options{LookupEnv: env()})
	if err != nil {
		t.Fatal(err)
	}
	points := c.Production.Points
	if len(points) < 8 || !slices.IsSortedFunc(points, func(a, b Point) int { return a.Pos.Line - b.Pos.Line }) {
		t.Errorf("%d points: %+v", len(points), points)
	}
}

func TestWhatARunningRedisComesTo(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, head+"redis: {url: 'redis://h'}\nretention: 48h\n")
	const gb = 1_000_000_000
	good := Redis{Told: true, MaxMemory: 4 * gb, Replicas: 2, Callbacks: 1}
	for _, tt := range []struct {
		name          string
		change        func(*Redis)
		point, unsure string
	}{
		{"as it is", func(*Redis) {}, "", ""},
		{"without AOF", func(r *Redis) { r.Advice = []Point{{Code: "no_aof"}} }, "no_aof:2", ""},
		{"one replica", func(r *Redis) { r.Replicas = 1 }, "one_replica:2", ""},
		{"none", func(r *Redis) { r.Replicas = 0 }, "", "none is alive"},
		{"all the memory there is", func(r *Redis) { r.MaxMemory = 0 }, "no_maxmemory:2", ""},
		{"it tells nothing", func(r *Redis) { r.Told = false }, "", "does not tell"},
		{"too many callbacks", func(r *Redis) { r.Callbacks = 13.5 }, "retention_memory:3", ""},
		{"just as many as fit", func(r *Redis) { r.Callbacks = 13.2 }, "", ""},
		{"too many events", func(r *Redis) { r.Events = 2_400_000 }, "retention_memory:3", ""},
		{"nothing to tell by", func(r *Redis) { r.Callbacks = 0.1 }, "", "has room for 13,"},
	} {
		r := good
		tt.change(&r)
		points, unknown := c.Production.OfRedis(r)
		var got string
		if len(points) > 0 {
			got = points[0].Code + ":" + strconv.Itoa(points[0].Pos.Line)
		}
		unsure := strings.Join(unknown, "\n")
		if got != tt.point || len(points) > 1 || (tt.unsure == "") != (unsure == "") || !strings.Contains(unsure, tt.unsure) {
			t.Errorf("%s: %+v, not known: %s", tt.name, points, unsure)
		}
	}
}

func TestADiskThatIsSmallerThanTheSpoolMayBeIsAPoint(t *testing.T) {
	t.Parallel()
	p := mustLoad(t, head+"spool:\n  max_bytes: 100MiB\n").Production
	if points := p.OfSpoolDisk(100<<20, 100<<20); len(points) > 0 {
		t.Errorf("a disk that is just large enough: %+v", points)
	}
	points := p.OfSpoolDisk(99<<20, 100<<20)
	if len(points) != 1 || points[0].Code != "spool_disk" || points[0].Pos.Line != 3 ||
		!strings.Contains(points[0].Why, "99 MiB free, and the spool may take 100 MiB more") {
		t.Errorf("a disk that is too small: %+v", points)
	}
}

func TestThePageAboutSizesHasTheMemoryThatTheCheckCountsOn(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operator/sizing.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| ([\d.]+) GB \| ([\d.]+) GB \| ([\d.]+) GB \|`).FindAllStringSubmatch(
		string(page), -1)
	if len(rows) != 3 {
		t.Fatalf("%d rows are like those of the table", len(rows))
	}
	for _, row := range rows {
		rate, _ := strconv.ParseFloat(row[1], 64)
		for i, retention := range []time.Duration{24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour} {
			shown, _ := strconv.ParseFloat(row[2+i], 64)
			if got := RedisMemory(rate, retention, 72*time.Hour) / 1e9; got < 0.9*shown || got > 1.1*shown {
				t.Errorf("%s a second for %s: the page has %v GB, the check %.2f", row[1], retention, shown, got)
			}
		}
	}
}

func TestThePageHasEveryPoint(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operator/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## What the check for production looks at")
	source, err := os.ReadFile("production.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\t[pP]oint\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 12 {
		t.Fatalf("only %d codes are found in the source", len(codes))
	}
	advice, err := os.ReadFile("../store/db/advice.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\t[aA]dvice\w+ += "(\w+)"`)
	codes = append(codes, names.FindAllStringSubmatch(string(advice), -1)...)
	if len(codes) < 20 {
		t.Fatalf("only %d codes are found with those of advice", len(codes))
	}
	for _, code := range codes {
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + code[1] + "`").MatchString(table) {
			t.Errorf("docs/operator/install.md has no row for %s", code[1])
		}
	}
}
