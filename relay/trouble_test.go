package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// readyz is the status and the answer of /readyz.
func (r *running) readyz() (int, map[string]any) {
	r.t.Helper()
	status, body := r.get(r.admin + "/readyz")
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
	until(t, "it is ready", func() bool {
		status, answer := r.readyz()
		return status == 200 && answer["status"] == "ready" && answer["redis"] == "up" && answer["spooled"] == 0.0
	})
	update := func(n int) string { return callback(item("1", "sending", fmt.Sprintf("%05d", n))) }
	r.mustPush(update(0))
	shop.wait(1)
	until(t, "redis knows that it was delivered", func() bool {
		return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == "1"
	})
	r.drained()
	// On a busy machine the first one was in the spool, too.
	written := r.count(`kuairelay_spool_callbacks_total{result="written"}`)
	done := r.count(`kuairelay_spool_callbacks_total{result="drained"}`)
	redis.Kill()
	for n := range 10 {
		r.mustPush(update(n)) // the first is a duplicate
	}
	r.mustPush(`{"nonsense":`)
	until(t, "the relay knows why redis is down", func() bool { // first it only knows that its connections were closed
		_, answer := r.readyz()
		return answer["redis"] == "down: connection refused"
	})
	if status, answer := r.readyz(); status != 200 || answer["status"] != "degraded" || answer["spooled"] != 11.0 {
		t.Errorf("readyz: %d %v", status, answer)
	}
	for series, want := range map[string]string{
		`kuairelay_redis_state{state="down"}`:                    "1",
		`kuairelay_spool_waiting`:                                "11",
		`kuairelay_spool_bytes`:                                  "45056",
		`kuairelay_spool_callbacks_total{result="written"}`:      fmt.Sprint(written + 11),
		`kuairelay_callbacks_total{answer="success"}`:            "12",
		`kuairelay_callbacks_total{answer="failure"}`:            "0",
		`kuairelay_events_total{result="new"}`:                   "1",
		`kuairelay_redis_state{state="up"}`:                      "0",
		`kuairelay_spool_callbacks_total{result="quarantined"}`:  "0",
		`kuairelay_outcomes_held`:                                "0",
		`kuairelay_spool_callbacks_total{result="unreadable"}`:   "0",
		`kuairelay_spool_callbacks_total{result="adopted"}`:      "0",
		`kuairelay_spool_callbacks_total{result="failed"}`:       "0",
		`kuairelay_spool_callbacks_total{result="drained"}`:      fmt.Sprint(done),
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
	until(t, "the spool is empty", func() bool {
		_, answer := r.readyz()
		return answer["status"] == "ready" && answer["spooled"] == 0.0
	})
	until(t, "its files are gone", func() bool { return len(spooled(t, dir)) == 0 })
	for series, want := range map[string]string{
		`kuairelay_events_total{result="new"}`:              "10",
		`kuairelay_events_total{result="duplicate"}`:        "1",
		`kuairelay_events_total{result="quarantined"}`:      "1",
		`kuairelay_spool_callbacks_total{result="drained"}`: fmt.Sprint(done + 11),
		`kuairelay_spool_files`:                             "0",
		`kuairelay_spool_bytes`:                             "0",
	} {
		until(t, series+" is "+want, func() bool { return r.metric(series) == want })
	}
	r.mustPush(update(3))
	until(t, "the duplicate is known", func() bool {
		return r.metric(`kuairelay_events_total{result="duplicate"}`) == "2"
	})
}

// fault is something that happens to Redis for a while. Its url is in the form of redis.url.
type fault struct {
	url      string
	replicas int // wait_replicas
	do, mend func(t *testing.T)
	state    string // that /readyz tells of meanwhile, how it begins
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, s *redisserver.Server, command ...string) string {
	t.Helper()
	answer, err := s.Do(command...)
	must(t, err)
	return answer
}

var faults = map[string]func(t *testing.T) fault{
	"refusing, and back with its append-only file": func(t *testing.T) fault {
		s := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		return fault{url: s.URL(), state: "down: ", do: func(*testing.T) { s.Kill() }, mend: func(t *testing.T) {
			must(t, s.Restart())
		}}
	},
	"back without its data": func(t *testing.T) fault {
		s := redisserver.Start(t)
		return fault{url: s.URL(), state: "down: ", do: func(*testing.T) { s.Kill() }, mend: func(t *testing.T) {
			must(t, s.Restart())
		}}
	},
	"hanging": func(t *testing.T) fault {
		s := redisserver.Start(t)
		return fault{url: s.URL(), state: "down: no answer", do: func(*testing.T) { s.Suspend() }, mend: func(*testing.T) {
			s.Continue()
		}}
	},
	"loading": func(t *testing.T) fault {
		s := redisserver.Start(t, "--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")
		loaded := make(chan error, 1)
		return fault{url: s.URL(), state: "down: it is loading", do: func(t *testing.T) {
			ask(t, s, "CONFIG", "SET", "key-load-delay", "200000") // µs for each key
			go func() {
				_, err := s.Do("DEBUG", "RELOAD")
				loaded <- err
			}()
			until(t, "redis is loading", func() bool {
				_, err := s.Do("GET", "x")
				return err != nil && strings.Contains(err.Error(), "LOADING")
			})
		}, mend: func(t *testing.T) {
			ask(t, s, "CONFIG", "SET", "key-load-delay", "0")
			must(t, <-loaded)
		}}
	},
	"a read-only replica": func(t *testing.T) fault {
		s := redisserver.Start(t)
		return fault{url: s.URL(), state: "down: it is a read-only replica",
			do:   func(t *testing.T) { ask(t, s, "REPLICAOF", "127.0.0.1", "1") },
			mend: func(t *testing.T) { ask(t, s, "REPLICAOF", "NO", "ONE") }}
	},
	"full": func(t *testing.T) fault {
		s := redisserver.Start(t)
		return fault{url: s.URL(), state: "full: ",
			do:   func(t *testing.T) { ask(t, s, "CONFIG", "SET", "maxmemory", "1") },
			mend: func(t *testing.T) { ask(t, s, "CONFIG", "SET", "maxmemory", "0") }}
	},
	"forgetting its scripts": func(t *testing.T) fault {
		s := redisserver.Start(t)
		return fault{url: s.URL(), state: "up", do: func(t *testing.T) {
			ask(t, s, "SCRIPT", "FLUSH")
		}, mend: func(*testing.T) {}}
	},
	"a master that is lost, and its replica promoted": func(t *testing.T) fault {
		s := redisserver.StartSentinel(t)
		return fault{url: s.URL(), state: "down: ", do: func(*testing.T) { s.Master.Kill() }, mend: func(*testing.T) {}}
	},
	"a replica that is too slow": func(t *testing.T) fault {
		s := redisserver.StartSentinel(t)
		return fault{url: s.URL(), replicas: 1, state: "short: only 0 of 1 replicas",
			do: func(*testing.T) { s.Replica.Suspend() }, mend: func(*testing.T) { s.Replica.Continue() }}
	},
	"a cluster that loses a node": func(t *testing.T) fault {
		c := redisserver.StartCluster(t, 3, "--appendonly", "yes", "--appendfsync", "always")
		node := c.Nodes[owner(t, c)]
		return fault{url: c.URL(), state: "down: ", do: func(*testing.T) { node.Kill() }, mend: func(t *testing.T) {
			must(t, node.Restart())
			must(t, c.WaitUntilUp())
		}}
	},
	"a cluster that moves the slot": func(t *testing.T) fault {
		c := redisserver.StartCluster(t, 3)
		from := owner(t, c)
		to := (from + 1) % 3
		return fault{url: c.URL(), state: "down: a slot", do: func(t *testing.T) {
			beginMove(t, c, from, to)
		}, mend: func(t *testing.T) { endMove(t, c, from, to) }}
	},
}

const slotOfTag = "kuairelay"

// owner is the node that has the slot of the store.
func owner(t *testing.T, c *redisserver.Cluster) int {
	t.Helper()
	for i, n := range c.Nodes {
		if _, err := n.Do("EXISTS", "{"+slotOfTag+"}"); err == nil {
			return i
		}
	}
	t.Fatal("nobody has the slot")
	return 0
}

func beginMove(t *testing.T, c *redisserver.Cluster, from, to int) {
	slot := ask(t, c.Nodes[0], "CLUSTER", "KEYSLOT", slotOfTag)
	ask(t, c.Nodes[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", ask(t, c.Nodes[from], "CLUSTER", "MYID"))
	ask(t, c.Nodes[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", ask(t, c.Nodes[to], "CLUSTER", "MYID"))
	moveKeys(t, c, from, to, 5) // some are here, some there
}

func endMove(t *testing.T, c *redisserver.Cluster, from, to int) {
	for moveKeys(t, c, from, to, 100) {
	}
	slot, id := ask(t, c.Nodes[0], "CLUSTER", "KEYSLOT", slotOfTag), ask(t, c.Nodes[to], "CLUSTER", "MYID")
	for _, i := range []int{to, from, 3 - to - from} {
		ask(t, c.Nodes[i], "CLUSTER", "SETSLOT", slot, "NODE", id)
	}
}

func moveKeys(t *testing.T, c *redisserver.Cluster, from, to, n int) bool {
	keys := ask(t, c.Nodes[from], "CLUSTER", "GETKEYSINSLOT", ask(t, c.Nodes[0], "CLUSTER", "KEYSLOT", slotOfTag),
		fmt.Sprint(n))
	if keys == "" {
		return false
	}
	host, port, _ := strings.Cut(c.Nodes[to].Addr, ":")
	ask(t, c.Nodes[from], append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"},
		strings.Split(keys, "\n")...)...)
	return true
}

func TestWhateverHappensToRedisNothingIsRefusedLostOrOutOfOrder(t *testing.T) {
	t.Parallel()
	for name, begin := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := begin(t)
			shop := newTenant(t, nil)
			r := start(t, fmt.Sprintf("redis: {url: '%s', wait_replicas: %d}", f.url, f.replicas)+one(shop.URL, ""))
			sent := 0
			push := func() {
				for range 4 {
					for w := range 5 {
						r.mustPush(callback(item(fmt.Sprint("w", w), "sending", fmt.Sprintf("%05d", sent))))
						sent++
					}
				}
			}
			push()
			shop.wait(sent)
			until(t, "all outcomes are settled", func() bool {
				return r.metric(`kuairelay_queue_depth{endpoint="shop/orders",state="open"}`) == "0"
			})
			f.do(t)
			push()
			until(t, "readyz says "+f.state, func() bool {
				status, answer := r.readyz()
				redis, _ := answer["redis"].(string)
				return status == 200 && strings.HasPrefix(redis, f.state)
			})
			push()
			f.mend(t)
			push()
			shop.wait(sent)
			checkOrder(t, "shop", shop.all(), sent)
			until(t, "it is ready again", func() bool {
				_, answer := r.readyz()
				return answer["status"] == "ready" && answer["spooled"] == 0.0
			})
			r.mustPush(callback(item("w0", "sending", fmt.Sprintf("%05d", sent-5))))
			until(t, "a duplicate is known", func() bool {
				return r.metric(`kuairelay_events_total{result="duplicate"}`) != "0"
			})
			if n := len(shop.all()); n != sent {
				t.Errorf("%d requests for %d events", n, sent)
			}
		})
	}
}

func TestDeliveriesGoOnAndAreSettledWhileRedisIsFull(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	shop := newTenant(t, func(w http.ResponseWriter, n int, _ received) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		<-release
	})
	redis := redisserver.Start(t)
	r := start(t, "redis: {url: '"+redis.URL()+"'}"+one(shop.URL, ", max_in_flight: 2, retry: [100ms]"))
	for w := range 20 {
		r.mustPush(callback(item(fmt.Sprint(w), "sending", "1"), item(fmt.Sprint(w), "signed", "2")))
	}
	shop.wait(2)
	r.drained()
	ask(t, redis, "CONFIG", "SET", "maxmemory", "1")
	r.mustPush(callback(item("20", "signed", "1")))
	close(release)
	until(t, "all that Redis has is delivered", func() bool {
		return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == "40"
	})
	until(t, "readyz says that Redis is full, and one callback waits", func() bool {
		_, answer := r.readyz()
		return answer["status"] == "degraded" && answer["spooled"] == 1.0 &&
			answer["redis"] == "full: it is full (maxmemory)"
	})
	ask(t, redis, "CONFIG", "SET", "maxmemory", "0")
	shop.wait(42) // and the one that was refused at first
}

func TestOutcomesThatRedisMissedAreNotForgotten(t *testing.T) {
	t.Parallel()
	under, release := make(chan struct{}), make(chan struct{})
	shop := newTenant(t, func(_ http.ResponseWriter, n int, _ received) {
		if n == 1 {
			close(under)
			<-release
		}
	})
	redis := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	r := start(t, "redis: {url: '"+redis.URL()+"'}"+one(shop.URL, ""))
	r.mustPush(callback(item("1", "sending", "1")))
	<-under
	redis.Kill()
	close(release)
	until(t, "the outcome is held", func() bool { return r.metric("kuairelay_outcomes_held") == "1" })
	r.mustPush(callback(item("1", "signed", "2")))
	must(t, redis.Restart())
	shop.wait(2)
	until(t, "both are settled", func() bool {
		return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == "2" &&
			r.metric("kuairelay_outcomes_held") == "0"
	})
	if n := len(shop.all()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestShutdownDoesNotWaitForARedisThatStaysAway(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name string
		away func(*redisserver.Server)
	}{
		{"killed", (*redisserver.Server).Kill},
		{"hung", (*redisserver.Server).Suspend},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			const before, more = 200, 40
			under, release := make(chan struct{}, more), make(chan struct{})
			shop := newTenant(t, func(_ http.ResponseWriter, n int, _ received) {
				if n > before {
					under <- struct{}{}
					<-release
				}
			})
			redis := redisserver.Start(t)
			r := start(t, "redis: {url: '"+redis.URL()+"'}"+one(shop.URL, ", max_in_flight: 1"))
			push := func(name string, n int) {
				var items []string
				for i := range n {
					items = append(items, item(fmt.Sprint(name, i), "sending", "1"))
				}
				r.mustPush(callback(items...))
			}
			push("before", before) // the endpoint is known to be quick, and gets deliveries ahead
			until(t, "they are delivered", func() bool {
				return r.metric(`kuairelay_deliveries_total{endpoint="shop/orders",outcome="delivered"}`) == fmt.Sprint(before)
			})
			push("more", more)
			<-under
			f.away(redis)
			push("new", 1)
			close(release)
			began := time.Now()
			r.end()
			if took := time.Since(began); took > 3*grace { // it is a busy machine
				t.Errorf("it took %s, and the grace is %s", took, grace)
			}
			if n := len(spooled(t, r.spool)); n != 1 {
				t.Errorf("%d files are left", n)
			}
		})
	}
}

func TestCallbacksAreRefusedOnlyIfNeitherRedisNorTheSpoolTakesThem(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+", max_bytes: 8KiB}"+one(shop.URL, ""))
	push := func(n int) int {
		status, answer := r.push("application/json", callback(item(fmt.Sprint(n), "signed", "1")))
		if (status == 200) != (answer == "success") || status != 200 && (status != 503 || answer != "failure") {
			t.Errorf("answer %d %q", status, answer)
		}
		return status
	}
	redis.Kill()
	if a, b, c := push(1), push(2), push(3); a != 200 || b != 200 || c != 503 {
		t.Errorf("answers %d %d %d", a, b, c)
	}
	status, answer := r.readyz()
	if detail, _ := answer["detail"].(string); status != 503 || !strings.Contains(detail, "redis is down: ") ||
		!strings.Contains(detail, "the spool is full: ") {
		t.Errorf("readyz: %d %v", status, answer)
	}
	must(t, redis.Restart())
	shop.wait(2)
	until(t, "the spool is empty", func() bool {
		_, answer := r.readyz()
		return answer["status"] == "ready" && answer["spooled"] == 0.0
	})

	// A spool that cannot be written is no trouble as long as Redis is there.
	must(t, os.RemoveAll(dir))
	must(t, os.WriteFile(dir, nil, 0o600))
	until(t, "it is taken by Redis, which may be slow for a while", func() bool { return push(4) == 200 })
	redis.Kill()
	if push(5) != 503 {
		t.Error("taken by nobody")
	}
	until(t, "it is not ready", func() bool { status, _ := r.readyz(); return status == 503 })
	must(t, os.Remove(dir))
	until(t, "the spool heals", func() bool { return push(6) == 200 })
	must(t, redis.Restart())
	shop.wait(4)
}

func TestACallbackThatRedisRefusesForGoodGoesToQuarantine(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	r := start(t, "redis: {url: '"+redis.URL()+"'}"+one(shop.URL, ""))
	ask(t, redis, "SET", "{kuairelay}2:w:poisoned", "no hash")
	r.mustPush(callback(item("poisoned", "signed", "1")))
	r.mustPush(callback(item("fine", "signed", "1")))
	shop.wait(1)
	until(t, "it is in quarantine", func() bool {
		return r.metric(`kuairelay_spool_callbacks_total{result="quarantined"}`) == "1"
	})
	if n := ask(t, redis, "ZCARD", "{kuairelay}2:quarantine"); n != "1" {
		t.Errorf("%s in quarantine", n)
	}
	until(t, "the spool is empty", func() bool { _, answer := r.readyz(); return answer["spooled"] == 0.0 })
}

func TestADamagedFileOfTheSpoolGoesToQuarantine(t *testing.T) {
	t.Parallel()
	shop := newTenant(t, nil)
	redis := redisserver.Start(t)
	dir := t.TempDir()
	left := filepath.Join(dir, "20261124T081203Z-abcdef")
	must(t, os.Mkdir(left, 0o700))
	body := callback(item("1", "signed", "1"))
	for name, text := range map[string]string{
		"lock": "",
		"0000000001-20261124T081203.000Z.callback": `{"received_at":"2026-11-24T08:12:03Z","bytes":999}` + "\n" + body,
		"0000000002-20261124T081203.000Z.callback": fmt.Sprintf(`{"received_at":"2026-11-24T08:12:03Z","bytes":%d}`,
			len(body)) + "\n" + body,
		".0000000003-20261124T081203.000Z.callback": "half writ",
	} {
		must(t, os.WriteFile(filepath.Join(left, name), []byte(text), 0o600))
	}
	r := start(t, "redis: {url: '"+redis.URL()+"'}\nspool: {dir: "+dir+"}"+one(shop.URL, ""))
	shop.wait(1)
	until(t, "the other one is in quarantine", func() bool {
		return ask(t, redis, "ZCARD", "{kuairelay}2:quarantine") == "1"
	})
	until(t, "the folder is gone", func() bool { _, err := os.Stat(left); return os.IsNotExist(err) })
	if n := r.metric(`kuairelay_spool_callbacks_total{result="adopted"}`); n != "2" {
		t.Errorf("%s adopted", n)
	}
	if entries := r.logs.FilterMessage("spool folder adopted").All(); len(entries) != 1 ||
		entries[0].ContextMap()["callbacks"] != int64(2) {
		t.Errorf("%v", entries)
	}
}
