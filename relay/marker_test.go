package relay_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

func TestARedisThatCameBackEmptyIsNoticed(t *testing.T) {
	t.Parallel()
	const metric, line = "kuairelay_redis_emptied_timestamp_seconds", "redis has lost its data"
	shop, redis, dir := newTenant(t, nil), redisserver.Start(t), filepath.Join(t.TempDir(), "spool")
	config := "admin: {token: " + adminToken + "}\nredis: {url: '" + redis.URL() + "'}\nspool: {dir: " + dir + "}" +
		one(shop.URL, "")
	file := filepath.Join(dir, ".redis.json")
	remembered := func() string {
		text, _ := os.ReadFile(file) // there is none yet
		return string(text)
	}
	begin := func() *running {
		r := start(t, config)
		until(t, "the marker is remembered", func() bool { return strings.Contains(remembered(), `"marker":"`) })
		return r
	}
	noticed := func(r *running) bool {
		logged := 0
		for _, entry := range r.logs.All() {
			if strings.HasPrefix(entry.Message, line) {
				logged++
			}
		}
		return logged == 1 && r.metric(metric) != "0" && r.metric(metric) != ""
	}
	flush := func() {
		if _, err := redis.Do("FLUSHALL"); err != nil {
			t.Fatal(err)
		}
	}

	// The first start is no loss, nor is a restart of the relay.
	r := begin()
	first := remembered()
	r.end()
	r = begin()
	r.mustPush(callback(item("1", "signed", "1")))
	shop.wait(1)
	if noticed(r) || r.metric(metric) != "0" || remembered() != first {
		t.Errorf("a loss is told where there is none: %s", remembered())
	}

	// Emptied under a running relay.
	flush()
	until(t, "a flush is noticed", func() bool { return noticed(r) })
	status, text := (&apiClient{running: r, t: t}).plain(adminToken, "GET", "/admin/v1/status", "")
	if status != 200 || !strings.Contains(text, "without what it had held") {
		t.Errorf("status: %d %s", status, text)
	}

	// Emptied while none ran, which the next one finds; what it has found it still tells after another restart.
	r.end()
	flush()
	r = begin()
	until(t, "a flush before the start is noticed", func() bool { return noticed(r) })
	told := r.metric(metric)
	r.end()
	r = begin()
	until(t, "it is still told", func() bool { return r.metric(metric) == told })
}
