package cli_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// migrated is what `migrate -o json` prints.
type migrated struct {
	OK, Nothing                             bool
	Events, Waybills, Subscriptions, Others int
	Unreadable                              []struct{ Key, Why string }
	Alive                                   []string
}

// keepBefore has a Redis hold what the version before would have kept of one event, which is open.
func keepBefore(t *testing.T, redis *redisserver.Server) {
	t.Helper()
	id := strings.Repeat("x", 43)
	for _, command := range [][]string{
		{"SET", "{kuairelay}:marker", "m"},
		{"HSET", "{kuairelay}:e:" + id, "w", "w:1", "q", "5", "t", "5", "c", "call", "o", "1", "shop/orders", "q"},
		{"SET", "{kuairelay}:b:" + id, "{}\n"},
		{"HSET", "{kuairelay}:w:1", "q", "5", "o", "1", "h", id, "i:" + id, "5"},
		{"ZADD", "{kuairelay}:q:shop/orders", "5", id},
	} {
		if _, err := redis.Do(command...); err != nil {
			t.Fatal(err)
		}
	}
}

// migrating runs migrate until Redis answers its first script in time, which it may not on a busy machine: then nothing
// was moved.
func migrating(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	until(t, "Redis answers in time", func() bool {
		code, stdout, stderr = run(t, "", append([]string{"migrate"}, args...)...)
		return !strings.Contains(stderr, " is down: ")
	})
	return code, stdout, stderr
}

func TestMigrateMovesWhatTheVersionBeforeHasKept(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	file := write(t, "config.yaml", forProduction(redis.URL()))
	do := func(command ...string) string {
		t.Helper()
		answer, err := redis.Do(command...)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}

	// A relay of the version before that is alive is named, and nothing is moved.
	keepBefore(t, redis)
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	do("ZADD", "{kuairelay}:reps", now, "box-1")
	code, stdout, stderr := migrating(t, "-c", file)
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 ||
		!strings.Contains(stderr, "are running: box-1: stop them") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = migrating(t, "-c", file, "-o", "json")
	if got := parse[migrated](t, stdout); code != 1 || got.OK || len(got.Alive) != 1 || got.Events != 0 {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	code, stdout, _ = checked(t, "-o", "json", file)
	if got := parse[production](t, stdout); code != 1 || got.codes() != "other_form" ||
		!strings.Contains(got.Points[0].Do, "kuairelay migrate") {
		t.Errorf("exit %d\n%s", code, stdout)
	}

	code, stdout, stderr = migrating(t, "-c", file, "--force")
	if code != 0 || stderr != "" ||
		!strings.HasPrefix(stdout, "1 event, 1 waybill, 0 subscribed waybills and 0 other keys moved in ") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if due := do("ZSCORE", "{kuairelay}2:q:shop/orders", strings.Repeat("x", 14)); due != "5" {
		t.Errorf("it is due at %q", due)
	}
	code, stdout, stderr = migrating(t, "-c", file)
	if code != 0 || stdout != "nothing to move: no older version has kept anything here\n" || stderr != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = migrating(t, "-c", file, "-o", "json")
	if got := parse[migrated](t, stdout); code != 0 || !got.OK || !got.Nothing || got.Unreadable == nil {
		t.Errorf("exit %d\n%s", code, stdout)
	}

	// What cannot be read stays.
	do("SET", "{kuairelay}:e:"+strings.Repeat("y", 43), "?")
	code, stdout, stderr = migrating(t, "-c", file)
	if code != 1 || !strings.HasPrefix(stdout, "0 events, ") || strings.Count(stderr, "\n") != 1 ||
		!strings.HasPrefix(stderr, `"{kuairelay}:e:yyyy`) ||
		!strings.Contains(stderr, "cannot be read, and stays as it is: WRONGTYPE") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestMigrateSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"callback: {tokens: [" + fitToken + "]}\n": "an embedded Redis keeps nothing over a restart",
		forProduction("redis://127.0.0.1:1"):       "redis at 127.0.0.1:1 is down: connection refused",
		"redis: {url: 5}\n":                        "config.yaml:1: redis.url",
	} {
		code, stdout, stderr := run(t, "", "migrate", "-c", write(t, "config.yaml", config))
		if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
	}
}
