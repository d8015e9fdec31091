package cli_test

import (
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// production is what `check --production -o json` prints.
type production struct {
	findings
	Points []struct {
		Code, File, Msg, Do string
		Line                int
	}
	Unknown []string
}

// codes are the codes of its points, each once.
func (p production) codes() string {
	var all []string
	for _, point := range p.Points {
		if len(all) == 0 || all[len(all)-1] != point.Code {
			all = append(all, point.Code)
		}
	}
	return strings.Join(all, " ")
}

const fitToken = "4f1c9a7e2b8d60354f1c9a7e"

// checked runs check --production until Redis has answered in time, which it may not on a busy machine.
func checked(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	until(t, "Redis answers in time", func() bool {
		code, stdout, stderr = run(t, "", append([]string{"check", "--production"}, args...)...)
		return !strings.Contains(stdout+stderr, "Redis, and how many replicas there are: ")
	})
	return code, stdout, stderr
}

// forProduction is a config without a point, on a Redis.
func forProduction(redis string) string {
	return "server: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}\nredis: {url: '" + redis + "'}\n" +
		"callback: {tokens: [" + fitToken + "], allow_cidrs: [0.0.0.0/0]}\n"
}

func TestCheckForProductionListsWhatTheExampleHas(t *testing.T) {
	t.Parallel()
	const example = "../../config.example.yaml"
	code, stdout, stderr := run(t, "", "check", "--production", example)
	points := strings.Count(stderr, ": production: ")
	if code != 1 || points < 8 || strings.Count(stderr, "\n    do: ") != points || strings.Contains(stderr, "warning:") ||
		!strings.HasPrefix(stdout, example+": not for production: ") {
		t.Errorf("exit %d, %d points\n%s%s", code, points, stdout, stderr)
	}

	code, stdout, _ = run(t, "", "check", "--production", "-o", "json", example)
	got := parse[production](t, stdout)
	if code != 1 || !got.OK || len(got.Points) != points || len(got.Warnings) > 0 || got.Points[0].Line != 20 ||
		got.Points[0].File != example || got.Points[0].Do == "" {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if _, stdout, _ := run(t, "", "check", "-o", "json", example); !strings.Contains(stdout, `"points": null`) {
		t.Errorf("points that nobody asked for:\n%s", stdout)
	}
}

func TestCheckForProductionAsksRedisHowItIsSetUp(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t, "--maxmemory-policy", "allkeys-lru")
	file := write(t, "config.yaml", forProduction(redis.URL()))
	code, stdout, stderr := checked(t, "-o", "json", file)
	got := parse[production](t, stdout)
	if code != 1 || got.codes() != "evicting no_aof no_maxmemory" || got.Points[0].Line != 3 || got.Points[0].Do == "" ||
		len(got.Unknown) != 1 || !strings.Contains(got.Unknown[0], "two replicas") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}

	for _, set := range [][]string{
		{"maxmemory-policy", "noeviction"}, {"appendonly", "yes"}, {"maxmemory", "1gb"},
	} {
		if _, err := redis.Do("CONFIG", "SET", set[0], set[1]); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr = checked(t, file)
	if code != 0 || !strings.Contains(stdout, ": ok for production as far as it is known, ") ||
		strings.Count(stderr, ": not known: ") != 2 {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}

	// With one replica there is a point, and with two there is none.
	one, _ := serve(t, forProduction(redis.URL()))
	until(t, "a replica is alive", func() bool {
		_, stdout, _ := run(t, "", "check", "--production", "-o", "json", file)
		return parse[production](t, stdout).codes() == "one_replica"
	})
	serve(t, forProduction(redis.URL()))
	until(t, "two replicas are alive", func() bool {
		code, _, stderr := run(t, "", "check", "--production", file)
		return code == 0 && strings.Count(stderr, "not known") == 1 // how many events there are
	})
	if log := one.stderr.String(); strings.Contains(log, "not for production") {
		t.Errorf("a relay with a good config warns:\n%s", log)
	}
}

func TestCheckForProductionSaysThatItLooksAtNothingIfThereIsAMistake(t *testing.T) {
	t.Parallel()
	file := write(t, "config.yaml", "callback: {tokens: [short-token], akc: success}\n")
	code, stdout, stderr := run(t, "", "check", "--production", file)
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 2 ||
		!strings.HasSuffix(stderr, "\n"+file+": not known: what should not go into production: with a mistake in the "+
			"config, --production looks at nothing else\n") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, "", "check", "--production", "-o", "json", file)
	if got := parse[production](t, stdout); code != 1 || got.OK || got.Points != nil || len(got.Unknown) != 1 {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if code, _, stderr := run(t, "", "check", file); code != 1 || strings.Contains(stderr, "not known") {
		t.Errorf("without the flag: exit %d\n%s", code, stderr)
	}
}

func TestCheckNamesTheLineOfASecretAndOfAnAddressThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	const changed = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAB==" // the last letter: AA== is meant
	file := write(t, "config.yaml", anyPort(`tenants:
  - name: shop
    endpoints:
      - {name: a, url: "https://h.example", secrets: ["`+changed+`"]}
      - {name: b, url: "https://10.0.0.1/", secrets: [whsec_AAAA]}
notices:
  - {to: "https://10.0.0.1/token", format: webhook, secret: "`+changed+`"}`))
	code, _, stderr := run(t, "", "check", file)
	for _, want := range []string{
		"tenants[0].endpoints[0].secrets[0]: must be whsec_ and then base64, and the end of this one was changed",
		"tenants[0].endpoints[1].secrets[0]: must be whsec_ and then the base64 of 24 to 64 bytes, not of 3",
		"tenants[0].endpoints[1].url: a private address 10.0.0.1 is not allowed: it is in none of egress.allow_cidrs " +
			"and the endpoint's own",
		"notices[0].to: leads to an address that is not allowed: it is in none of egress.allow_cidrs\n",
		"notices[0].secret: must be whsec_ and then base64, and the end of this one was changed",
	} {
		before, _, found := strings.Cut(stderr, ": "+want)
		place := before[strings.LastIndexByte(before, '\n')+1:]
		if !found || strings.TrimRight(place, "0123456789") != file+":" {
			t.Errorf("no line with %q", want)
		}
	}
	if code != 1 || strings.Contains(stderr, "MfKQ") || strings.Contains(stderr, "token") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestCheckForProductionNamesWhatRedisRefuses(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t, "--user", "relay", "on", ">secret", "~*", "+@all", "-zadd")
	for user, want := range map[string]string{"relay:secret": "ZADD", "relay:wrong": "it refuses the password"} {
		file := write(t, "config.yaml", forProduction("redis://"+user+"@"+redis.Addr))
		code, stdout, stderr := checked(t, file)
		if code != 1 || !strings.Contains(stderr, ":3: production: redis.url: ") || !strings.Contains(stderr, want) ||
			!strings.Contains(stderr, " [refuses") || strings.Contains(stdout+stderr, "secret") {
			t.Errorf("%s: exit %d\n%s%s", want, code, stdout, stderr)
		}
	}
	if keys, err := redis.Do("KEYS", "*"); err != nil || strings.TrimSpace(keys) != "" {
		t.Errorf("it has left %q, %v", keys, err)
	}
}

func TestCheckForProductionSaysThatRedisDoesNotAnswerWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	redis.Suspend()
	defer redis.Continue()
	for _, url := range []string{redis.URL(), "redis://127.0.0.1:1"} {
		began := time.Now()
		code, stdout, stderr := run(t, "", "check", "--production", write(t, "config.yaml", forProduction(url)))
		if code != 0 || !strings.Contains(stderr, "not known: Redis, and how many replicas there are: ") ||
			!strings.Contains(stderr, strings.TrimPrefix(url, "redis://")) || !strings.Contains(stdout, "as far as") {
			t.Errorf("%s: exit %d\n%s%s", url, code, stdout, stderr)
		}
		// A busy machine makes two seconds longer; without a bound there would be no end.
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %s", url, took)
		}
	}
}

// A relay warns once at its start of each point, and not of what another warning says.
func TestARelayWarnsAtItsStartOfWhatShouldNotGoIntoProduction(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, anyPort(""))
	until(t, "it serves", func() bool { return strings.Contains(c.stderr.String(), "no kuaidihelp.api_key") })
	log := c.stderr.String()
	for point, times := range map[string]int{
		`"point":"no_allow_cidrs"`: 1, `"point":"short_key"`: 1, `"point":"egress_loopback"`: 1,
		"not for production": 3, "no redis.url": 1, "embedded_redis": 0,
	} {
		if got := strings.Count(log, point); got != times {
			t.Errorf("%s stands %d times in the log, want %d:\n%s", point, got, times, log)
		}
	}
}

func TestCheckWithoutSecretsNeedsNoneAndSaysHowManyThereWouldBe(t *testing.T) {
	t.Parallel()
	good := anyPort(`tenants:
  - name: shop
    api_keys: ["${SHOP_KEY}"]
    endpoints: [{name: orders, url: "https://h.example", secrets: ["file:shop.secret"]}]
    routes: [{to: orders}]
    tests: [{event: {waybill_code: "1"}, reaches: []}]`)
	file := write(t, "config.yaml", strings.Replace(good, "reaches: []", "reaches: [orders]", 1))
	code, stdout, stderr := run(t, "", "check", "--no-secrets", file)
	if code != 0 || stdout != file+": ok, 1 tenant, 1 endpoint, 1 route\n" ||
		stderr != file+": not known: 2 values from variables that are not set, or files that are missing: "+
			"placeholders stand for them\n" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := run(t, "", "check", file); code != 1 || strings.Count(stderr, "\n") != 2 {
		t.Errorf("without the flag: exit %d\n%s", code, stderr)
	}
	if code, _, stderr := run(t, "", "check", "--no-secrets", "--production", file); code != 2 {
		t.Errorf("both flags: exit %d\n%s", code, stderr)
	}

	// The tests of tenants are run.
	code, _, stderr = run(t, "", "check", "--no-secrets", write(t, "config.yaml", good))
	if code != 1 || !strings.Contains(stderr, "test fails") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}
