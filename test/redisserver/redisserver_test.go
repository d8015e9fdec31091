package redisserver

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestServerKeepsItsAddressAndDataOverARestart(t *testing.T) {
	t.Parallel()
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	addr, pid := s.Addr, s.PID()
	do(t, s, "SET", "waybill", "777")

	s.Kill()
	if _, err := s.Do("PING"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a killed server answered PING with %v, want a refused connection", err)
	}
	restart(t, s)
	if s.Addr != addr || s.PID() == pid {
		t.Errorf("after the restart: address %s, pid %d; want %s and not %d", s.Addr, s.PID(), addr, pid)
	}
	if got := do(t, s, "GET", "waybill"); got != "777" {
		t.Errorf("GET after kill and restart = %q, want 777", got)
	}

	restart(t, s) // a running one
	if got := do(t, s, "GET", "waybill"); got != "777" {
		t.Errorf("GET after stop and restart = %q, want 777", got)
	}
}

func TestServerPersistsNothingUnlessTold(t *testing.T) {
	t.Parallel()
	s := Start(t)
	do(t, s, "SET", "waybill", "777")
	s.Stop()
	s.Stop() // twice does no harm
	restart(t, s)
	if got := do(t, s, "DBSIZE"); got != "0" {
		t.Errorf("keys after a restart: %s, want 0", got)
	}
}

func TestServerCountsItsCommandsThoseOfScriptsToo(t *testing.T) {
	t.Parallel()
	s := Start(t)
	count := func(names ...string) int {
		t.Helper()
		n, err := s.Calls(names...)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	do(t, s, "SET", "waybill", "777")
	do(t, s, "EVAL", "redis.call('SET', 'a', '1') redis.call('GET', 'a')", "0")
	if n := count() - before; n < 4 {
		t.Errorf("%d commands, want at least SET, EVAL, SET and GET", n)
	}
	if set, both := count("set"), count("set", "get"); set != 2 || both != 3 {
		t.Errorf("%d SET, %d SET or GET, want 2 and 3", set, both)
	}
}

func TestSuspendedServerAnswersWhenItContinues(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.Suspend()
	answer := make(chan error, 1)
	go func() {
		_, err := s.Do("PING")
		answer <- err
	}()
	select {
	case err := <-answer:
		t.Fatalf("a suspended server answered (%v)", err)
	case <-time.After(100 * time.Millisecond):
	}
	s.Continue()
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	s.Suspend()
	s.Stop() // ends a suspended one without the long wait; the test's time-out is the check
}

func TestStartPassesOverTakenPorts(t *testing.T) {
	t.Parallel()
	other := Start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := []int{other.port(), l.Addr().(*net.TCPAddr).Port}
	s, err := start(func() (int, error) {
		if len(taken) == 0 {
			return freePort()
		}
		port := taken[0]
		taken = taken[1:]
		return port, nil
	}, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	if len(taken) != 0 || s.Addr == other.Addr {
		t.Errorf("started on %s with %d taken ports untried", s.Addr, len(taken))
	}
}

func TestStartReportsWhyRedisRefused(t *testing.T) {
	t.Parallel()
	needRedis(t)
	_, err := New(t.TempDir(), "--no-such-option", "yes")
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("New with a wrong option = %v, want redis-server's own words", err)
	}
}

func TestErrorRepliesAndArraysAreRead(t *testing.T) {
	t.Parallel()
	s := Start(t)
	if _, err := s.Do("NOSUCH"); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("an unknown command = %v, want Redis' error", err)
	}
	do(t, s, "RPUSH", "list", "a", "b\r\nc")
	if got := do(t, s, "LRANGE", "list", "0", "-1"); got != "a\nb\r\nc" {
		t.Errorf("LRANGE = %q", got)
	}
	if got := do(t, s, "GET", "nothing"); got != "" {
		t.Errorf("GET of nothing = %q", got)
	}
}

func TestClusterServesAllSlotsAndRecovers(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3, "--appendonly", "yes", "--appendfsync", "always")
	options, err := redis.ParseClusterURL(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	if len(options.Addrs) != 3 {
		t.Errorf("go-redis reads %v from %s, want 3 addresses", options.Addrs, c.URL())
	}
	client := redis.NewClusterClient(options)
	defer client.Close()
	for i := range 100 {
		if err := client.Set(t.Context(), fmt.Sprint("key", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range c.Nodes {
		if do(t, node, "DBSIZE") == "0" {
			t.Errorf("node %s got none of 100 keys", node.Addr)
		}
	}

	c.Nodes[1].Kill()
	restart(t, c.Nodes[1])
	if err := c.WaitUntilUp(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if got, err := client.Get(t.Context(), fmt.Sprint("key", i)).Int(); err != nil || got != i {
			t.Fatalf("GET key%d after the restart of a node = %d, %v", i, got, err)
		}
	}
}

func TestSentinelPromotesTheReplica(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	options, err := redis.ParseFailoverURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if options.MasterName != MasterName || len(options.SentinelAddrs) != 3 {
		t.Errorf("go-redis reads master %q and %v from %s", options.MasterName, options.SentinelAddrs, s.URL())
	}
	if addr, err := s.MasterAddr(); err != nil || addr != s.Master.Addr {
		t.Fatalf("master at the start = %s, %v; want %s", addr, err, s.Master.Addr)
	}
	client := redis.NewFailoverClient(options)
	defer client.Close()
	if err := client.Set(t.Context(), "before", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}

	s.Master.Kill()
	// Sentinels on a machine that stood still for a moment do nothing for half a minute.
	err = poll(90*time.Second, func() error { return client.Set(t.Context(), "after", 1, 0).Err() })
	if err != nil {
		t.Fatalf("no write 90 s after the master was killed: %v", err)
	}
	err = poll(time.Minute, func() error {
		addr, err := s.MasterAddr()
		if err == nil && addr != s.Replica.Addr {
			err = fmt.Errorf("master after the failover = %s, want the replica %s", addr, s.Replica.Addr)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if got := do(t, s.Replica, "EXISTS", "before", "after"); got != "2" {
		t.Errorf("of the keys written before and after, the new master has %s", got)
	}
}

// The helper process of this test is the test binary itself, in TestMain.
func TestKilledProgramLeavesNoServer(t *testing.T) {
	t.Parallel()
	needRedis(t)
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), "REDISSERVER_HELPER="+t.TempDir())
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	_ = helper.Process.Kill()
	_ = helper.Wait()
	if err != nil {
		t.Fatal(err)
	}
	server := Server{Addr: strings.TrimSpace(addr)}
	err = poll(time.Minute, func() error {
		if _, err := server.Do("PING"); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("the server of a killed program answered PING (%w)", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("REDISSERVER_HELPER"); dir != "" {
		s, err := New(dir)
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Addr)
		select {}
	}
	os.Exit(m.Run())
}

func (s *Server) port() int {
	addr, err := net.ResolveTCPAddr("tcp", s.Addr)
	if err != nil {
		panic(err)
	}
	return addr.Port
}

func do(t *testing.T, s *Server, command ...string) string {
	t.Helper()
	reply, err := s.Do(command...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func restart(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
}
