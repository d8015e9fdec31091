package relay_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kuairelay/test/redisserver"
)

// readyz is the status and the answer of /readyz.
func (r *running) readyz() (int, map[string]any) {
	r.t.Helper()
	status, body := r.get(r.public + "/readyz")
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		r.t.Fatal(err)
	}
	return status, answer
}

func (r *running) mustPush(body string) {
	r.t.Helper()
	if status, answer := r.push("application/json", body); status != 200 || answer != "success" {
		r.t.Errorf("answer %d %q", status, answer)
	}
}

// spooled lists the callbacks in a spool.
func spooled(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.callback"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWhileRedisIsDownCallbacksGoToTheSpoolAndAreDeliveredInOrderAfterwards(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+"}"+one(shop.URL, ""))
	if status, answer := r.readyz(); status != 200 || answer["status"] != "ready" || answer["redis"] != "up" || answer["spooled"] != 0.0 {
		t.Errorf("readyz: %d %v", status, answer)
	}
	update := func(n int) string { return callback(item("1", "sending", fmt.Sprintf("%05d", n))) }
	r.mustPush(update(0))
	shop.wait(1)
	redis.Kill()
	for n := range 10 {
		r.mustPush(update(n)) // the first is a duplicate
	}
	r.mustPush(`{"nonsense":`)
	if status, answer := r.readyz(); status != 200 || answer["status"] != "degraded" || answer["redis"] != "down: connection refused" || answer["spooled"] != 11.0 {
		t.Errorf("readyz: %d %v", status, answer)
	}
	for series, want := range map[string]string{
		`kuairelay_redis_state{state="down"}`:                    "1",
		`kuairelay_spool_waiting`:                                "11",
		`kuairelay_spool_bytes`:                                  "45056",
		`kuairelay_spool_callbacks_total{result="written"}`:      "11",
		`kuairelay_callbacks_total{answer="success"}`:            "12",
		`kuairelay_callbacks_total{answer="failure"}`:            "0",
		`kuairelay_events_total{result="new"}`:                   "1",
		`kuairelay_redis_state{state="up"}`:                      "0",
		`kuairelay_spool_callbacks_total{result="quarantined"}`:  "0",
		`kuairelay_outcomes_held`:                                "0",
		`kuairelay_spool_callbacks_total{result="unreadable"}`:   "0",
		`kuairelay_spool_callbacks_total{result="adopted"}`:      "0",
		`kuairelay_spool_callbacks_total{result="failed"}`:       "0",
		`kuairelay_spool_callbacks_total{result="drained"}`:      "0",
		`kuairelay_attempts_total{endpoint="x",outcome="never"}`: "",
	} {
		if got := r.metric(series); got != want {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}
	files := spooled(t, dir)
	if len(files) != 11 {
		t.Fatalf("files: %v", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(text), "\n")
	if !strings.HasPrefix(head, `{"received_at":"20`) || body != update(0) || strings.Contains(string(text), token) {
		t.Errorf("file: %s", text)
	}
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	shop.wait(10)
	checkOrder(t, "shop", shop.all(), 10)
	until(t, "the spool is empty", func() bool { _, answer := r.readyz(); return answer["status"] == "ready" && answer["spooled"] == 0.0 })
	until(t, "its files are gone", func() bool { return len(spooled(t, dir)) == 0 })
	for series, want := range map[string]string{
		`kuairelay_events_total{result="new"}`:              "10",
		`kuairelay_events_total{result="duplicate"}`:        "1",
		`kuairelay_events_total{result="quarantined"}`:      "1",
		`kuairelay_spool_callbacks_total{result="drained"}`: "11",
		`kuairelay_spool_files`:                             "0",
		`kuairelay_spool_bytes`:                             "0",
	} {
		until(t, series+" is "+want, func() bool { return r.metric(series) == want })
	}
	r.mustPush(update(3))
	until(t, "the duplicate is known", func() bool { return r.metric(`kuairelay_events_total{result="duplicate"}`) == "2" })
}
