package db

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/test/redisserver"
)

func newDB(t *testing.T, url string) *DB {
	t.Helper()
	d, err := New(Options{URL: url, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.EnsureClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOneProberAsksWithPausesThatGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var probes []time.Duration
		began := time.Now()
		heal := began.Add(20 * time.Second)
		var told []string
		h := newHealth(time.Second, func(context.Context) error {
			probes = append(probes, time.Since(began))
			if time.Now().Before(heal) {
				return io.EOF
			}
			return nil
		})
		h.changed = func(s Availability, why string, _ time.Duration) { told = append(told, s.String()+" "+why) }
		for range 100 {
			h.saw(errors.New("dial tcp: no route"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := h.wait(ctx, false); err == nil || time.Since(began) != time.Second {
			t.Errorf("a wait with a deadline of 1 s ended after %s with %v", time.Since(began), err)
		}
		cancel()
		if err := h.wait(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(heal); late < 0 || late > probeMost {
			t.Errorf("it was up %s after Redis was", late)
		}
		if n := len(probes); n < 20 || n > 60 || probes[0] != 0 {
			t.Errorf("%d probes in 20 s: %v", n, probes)
		}
		for i := 1; i < len(probes); i++ {
			if pause := probes[i] - probes[i-1]; pause < probeFirst/2 || pause > probeMost {
				t.Errorf("a pause of %s", pause)
			}
		}
		synctest.Wait()
		if len(told) != 2 || !strings.HasPrefix(told[0], "down the connection was closed (does") || told[1] != "up " {
			t.Errorf("told %v", told)
		}
		// One that is over at the first probe is not worth a word; one that comes back at once is asked with pauses.
		told, probes = nil, nil
		for range 10 {
			h.saw(io.EOF)
			if err := h.wait(t.Context(), true); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(told) != 0 || len(probes) != 10 || time.Since(heal) < time.Second {
			t.Errorf("told %v, %d probes in %s", told, len(probes), time.Since(heal))
		}
		h.close()
	})
}

func TestErrorsOfRedisAreTrouble(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	s := newDB(t, server.URL())
	for _, c := range []struct {
		text  string
		state Availability
	}{
		{"OOM command not allowed when used memory > 'maxmemory'. script: x, on @user_script:1.", Full},
		{"LOADING Redis is loading the dataset in memory", Down},
		{"READONLY You can't write against a read only replica.", Down},
		{"MASTERDOWN Link with MASTER is down", Down}, {"CLUSTERDOWN Hash slot not served", Down},
		{"TRYAGAIN Multiple keys request", Down},
		{"MOVED 1 127.0.0.1:1", Down}, {"ASK 1 127.0.0.1:1", Down}, {"NOREPLICAS Not enough good replicas to write.", Down},
		{"MISCONF Redis is configured to save", Down}, {"BUSY Redis is busy running a script.", Down},
		{"NOAUTH Authentication required.", Down},
		{"WRONGPASS invalid", Down}, {"NOPERM this user has no permissions", Down},
		{"ERR max number of clients reached", Down},
		{"ERR unknown command", Up}, {"WRONGTYPE Operation against a key", Up}, {"NOSCRIPT No matching script.", Up},
	} {
		// An error as the client makes it from Redis' words.
		err := s.Client.Eval(withoutGate(t.Context()), "return redis.error_reply(ARGV[1])", nil, c.text).Err()
		trouble := troubleOf(err)
		if err == nil || (trouble == nil) != (c.state == Up) || trouble != nil && trouble.state != c.state {
			t.Errorf("%v is %+v", err, trouble)
		}
		if Permanent(err) != strings.HasPrefix(c.text, "WRONGTYPE") {
			t.Errorf("%v is permanent, or not", err)
		}
	}
	if t2 := troubleOf(context.Canceled); t2 != nil {
		t.Errorf("a caller that went away is %v", t2)
	}
}

func TestAdviceNamesWhatPutsEventsAtRisk(t *testing.T) {
	t.Parallel()
	advice := func(o Options) map[string]string {
		t.Helper()
		o.Timeout = time.Minute
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if err := s.EnsureClock(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := s.Advice(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	names := func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
	safe := redisserver.Start(t, "--appendonly", "yes", "--user", "shy", "on", ">secret", "~*", "+@all", "-info",
		"-config")
	if got := advice(Options{URL: safe.URL()}); len(got) != 0 {
		t.Errorf("a safe one: %v", got)
	}
	if got := advice(Options{}); len(got) != 0 {
		t.Errorf("an embedded one: %v", got)
	}
	if got := names(advice(Options{URL: "redis://shy:secret@" + safe.Addr})); !slices.Equal(got, []string{"unreadable"}) {
		t.Errorf("one that tells nothing: %v", got)
	}
	// One that lets nobody in is down: that it does not tell its INFO is no advice.
	for _, url := range []string{"redis://shy:wrong@" + safe.Addr, "redis://nobody:secret@" + safe.Addr} {
		s, err := New(Options{URL: url, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if got, err := s.Advice(t.Context()); err == nil || !strings.Contains(err.Error(), "it refuses the password") {
			t.Errorf("one that refuses the password: %v, %v", got, err)
		}
	}
	if _, err := safe.Do("CONFIG", "SET", "appendfsync", "no"); err != nil {
		t.Fatal(err)
	}
	if got := names(advice(Options{URL: safe.URL()})); !slices.Equal(got, []string{"no_aof"}) {
		t.Errorf("one that does not sync: %v", got)
	}
	risky := redisserver.Start(t, "--maxmemory-policy", "allkeys-lru")
	ahead := func() time.Time { return time.Now().Add(time.Hour) }
	if got := names(advice(Options{URL: risky.URL(), WaitReplicas: 1, Clock: ahead})); !slices.Equal(got,
		[]string{"clock_skew", "evicting", "few_replicas", "no_aof"}) {
		t.Errorf("a risky one: %v", got)
	}
	if got := advice(Options{URL: redisserver.StartCluster(t, 3, "--appendonly", "yes").URL()}); !slices.Equal(names(got),
		[]string{"no_replicas"}) {
		t.Errorf("a cluster: %v", got)
	}
	old := make(map[string]string)
	(&DB{}).adviseInfo(readInfo("# Server\r\nredis_version:6.0.16\r\naof_enabled:1\r\n"), old)
	if !slices.Equal(names(old), []string{"old_version"}) {
		t.Errorf("an old one: %v", old)
	}
}

func TestAStoreWaitsASecondForARedisAndLongerForItsOwn(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]time.Duration{"": 5 * time.Second, "redis://127.0.0.1:1": time.Second} {
		s, err := New(Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if s.Timeout != want {
			t.Errorf("%q: %s, want %s", url, s.Timeout, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhoAsksWhetherRedisIsReadyNoticesThatItIsNot(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	s := newDB(t, redis.URL())
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	redis.Kill()
	if err := s.Ready(t.Context()); err == nil {
		t.Error("a Redis that is gone is ready")
	}
	if state, _ := s.Availability(); state == Up {
		t.Error("nobody is told")
	}
}

func TestARedisURLThatIsWrongIsRefusedWithoutBeingShown(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://:hunter2@host:port:1/x", "http://user:hunter2@host",
		"redis://:hunter2@h:1/0?nonsense=1", "redis://:hunter2@%zz", "redis://:hunter2@h:1?addr=x&nonsense=1"} {
		if _, err := New(Options{URL: url}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
