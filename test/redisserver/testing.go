package redisserver

import (
	"os"
	"os/exec"
	"testing"
)

// Start is New for a test, in a directory that goes with it. If the test fails, it prints the end of the server's log.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	needRedis(t)
	s, err := New(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, s) })
	return s
}

// StartCluster is NewCluster for a test.
func StartCluster(t testing.TB, nodes int, args ...string) *Cluster {
	t.Helper()
	needRedis(t)
	c, err := NewCluster(t.TempDir(), nodes, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, c.Nodes...) })
	return c
}

// StartSentinel is NewSentinel for a test.
func StartSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	needRedis(t)
	s, err := NewSentinel(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, append(s.Sentinels, s.Master, s.Replica)...) })
	return s
}

// needRedis skips the test where redis-server is not installed. A CI that cannot run a test must not pass it.
func needRedis(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err == nil {
		return
	}
	const text = "redis-server is not installed (Debian: apt-get install redis-server)"
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
}

func end(t testing.TB, servers ...*Server) {
	killAll(servers)
	if t.Failed() {
		for _, s := range servers {
			t.Logf("the end of the log of redis-server %s:\n%s", s.Addr, s.logSince(0))
		}
	}
}
