package db

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

// answers listens, and says something to everybody who comes; nothing: it closes the connection at once.
func answers(t *testing.T, text string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		var open []net.Conn // one that nobody knows is closed by the garbage collector
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			_, _ = conn.Write([]byte(text)) // who has gone does not read it
			if text == "" {
				_ = conn.Close()
				continue
			}
			open = append(open, conn)
		}
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestAnErrorNamesTheRedisThatItIsAboutAndTheCause(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	if _, err := redis.Do("ACL", "SETUSER", "weakling", "on", ">weak", "~*", "+ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := redis.Do("CONFIG", "SET", "requirepass", "secret"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../../docs/operator/install.md")
	if err != nil {
		t.Fatal(err)
	}
	sentinels, guarded := redisserver.StartSentinel(t), redisserver.StartSentinel(t)
	if _, err := guarded.Master.Do("CONFIG", "SET", "requirepass", "secret"); err != nil {
		t.Fatal(err)
	}
	behind := guarded.Sentinels[0].Addr
	cluster := redisserver.StartCluster(t, 3)
	web := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	closes, speaksSSH, hangs := answers(t, ""), answers(t, "SSH-2.0-OpenSSH_9.6\r\n"), answers(t, "+")
	https, sentinel := strings.TrimPrefix(web.URL, "https://"), sentinels.Sentinels[0].Addr
	for _, c := range []struct{ url, at, why string }{
		{"redis://127.0.0.1:1", "127.0.0.1:1", "connection refused"},
		{"unix:///nowhere/redis.sock", "/nowhere/redis.sock", "no such file or directory"},
		{"redis://no-such-host.invalid", "no-such-host.invalid:6379", "no such host"},
		{"redis://" + hangs, hangs, "no answer in time"},
		{"redis://" + closes, closes, "the connection was closed (does that port want TLS? rediss:// speaks it)"},
		{"redis://" + speaksSSH, speaksSSH, "what answers there is no redis"},
		{"rediss://" + redis.Addr, redis.Addr, "no answer in time (rediss:// speaks TLS: does that port?)"},
		{"rediss://" + https, https, "its certificate is not trusted"},
		{"rediss://" + https + "?skip_verify=true", https, "what answers there is no redis"},
		{"redis://" + https, https, "the connection was closed (does that port want TLS?"},
		{"redis://" + redis.Addr, redis.Addr, "it wants a password"},
		{"redis://someone:wrong@" + redis.Addr, redis.Addr, "it refuses the password"},
		{"redis://weakling:weak@" + redis.Addr, redis.Addr, "its user may not run EVALSHA (ACL)"},
		{"redis://:secret@" + redis.Addr + "/99", redis.Addr, "it has no database of the number in redis.url"},
		{"redis://" + sentinel, sentinel, "it runs no scripts"},
		{"redis://" + sentinel + "?master_name=other", sentinel, "no Sentinel knows a master of the name in redis.url"},
		{"redis://127.0.0.1:1?master_name=m", "127.0.0.1:1", "no Sentinel answers: connection refused"},
		{"redis://:secret@" + redis.Addr + "?master_name=m", redis.Addr,
			"what answers at the addresses of the Sentinels is no Sentinel"},
		{"redis://:secret@" + behind + "?master_name=" + redisserver.MasterName, behind,
			"it wants a password (password= behind the ? is that of the servers;"},
		{"redis://someone:secret@" + behind + "?master_name=" + redisserver.MasterName, behind,
			"no Sentinel is of use: it refuses the password (password= behind the ?"},
		{"redis://" + behind + "?password=wrong&master_name=" + redisserver.MasterName, behind,
			"it refuses the password (password= behind the ?"},
		{"redis://127.0.0.1:1?addr=127.0.0.1:2", "127.0.0.1:", "connection refused"},
		{"redis://:secret@" + redis.Addr + "?addr=" + redis.Addr, redis.Addr, "it is no node of a Cluster"},
		{"redis://" + strangerTo(t, cluster), "127.0.0.1:", "a slot has moved to another node (it is a node of a Cluster, " +
			"which is written redis://HOST:PORT?addr=HOST:PORT)"},
	} {
		if !strings.Contains(string(page), "| `"+c.why) {
			t.Errorf("docs/operator/install.md has no row for %q", c.why)
		}
		err := readyOf(t, c.url)
		for range 5 { // on a busy machine, all that an answer says may be that it was late
			if err == nil || !strings.Contains(err.Error(), "no answer in time") || strings.Contains(c.why, "no answer") {
				break
			}
			err = readyOf(t, c.url)
		}
		if err == nil || !strings.Contains(err.Error(), " at "+c.at) || !strings.Contains(err.Error(), " is down: "+c.why) {
			t.Errorf("%s: %v; want %q, at %s", c.url, err, c.why, c.at)
		}
		for _, secret := range []string{"secret", "wrong", "someone"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: credentials are repeated: %v", c.url, err)
			}
		}
		if state, why := Trouble(err); state != Down || strings.Contains(why, "127.0.0.1") {
			t.Errorf("%s: everybody is told %s, %q", c.url, state, why)
		}
	}
}

// readyOf says whether the Redis of a URL is ready.
func readyOf(t *testing.T, url string) error {
	t.Helper()
	s, err := New(Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return s.Ready(ctx)
}

// strangerTo is a node of a Cluster that does not hold the keys of a store.
func strangerTo(t *testing.T, c *redisserver.Cluster) string {
	t.Helper()
	for _, node := range c.Nodes {
		if _, err := node.Do("GET", "{kuairelay}2:heard"); err != nil && strings.Contains(err.Error(), "MOVED") {
			return node.Addr
		}
	}
	t.Fatal("every node holds the store")
	return ""
}
