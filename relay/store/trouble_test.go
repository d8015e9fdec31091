package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/test/redisserver"
)

// deaf is a proxy to Redis that loses replies: the command arrives, and the connection is closed before its answer.
type deaf struct {
	url  string
	lose atomic.Int64 // how many of the next script calls
	lost atomic.Int64
}

func newDeaf(t *testing.T, to string) *deaf {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d := &deaf{url: "redis://" + l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.serve(c, to)
		}
	}()
	return d
}

func (d *deaf) serve(client net.Conn, to string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var losing atomic.Bool
	go func() {
		defer func() { _ = server.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(bytes.ToLower(buf[:n]), []byte("evalsha")) && d.lose.Add(-1) >= 0 {
				losing.Store(true)
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if losing.Load() {
			d.lost.Add(1)
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestAReplyThatIsLostIsAskedForAgain(t *testing.T) {
	t.Parallel()
	d := newDeaf(t, redisserver.Start(t).Addr)
	s := newStore(t, d.url)
	for _, waybill := range []string{"0", "1"} { // the first makes the scripts known
		d.lose.Store(map[string]int64{"0": 0, "1": 1}[waybill])
		got, err := s.Accept(t.Context(), []queue.Routed{newRouted(waybill, "a", "t/a")})
		if err != nil || len(got) != 1 || got[0].Duplicate || len(got[0].Leased) != 1 {
			t.Fatalf("accept: %+v, %v", got, err)
		}
		d.lose.Store(map[string]int64{"0": 0, "1": 1}[waybill])
		settled, err := s.Settle(t.Context(), queue.Outcome{Delivery: got[0].Leased[0], Kind: queue.Released})
		if err != nil || settled[0].Late {
			t.Fatalf("settle: %+v, %v", settled, err)
		}
		d.lose.Store(map[string]int64{"0": 0, "1": 1}[waybill])
		ds, _, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/a", Lease: time.Minute, Most: 1}})
		if err != nil || len(ds) != 1 {
			t.Fatalf("lease: %v, %v", ds, err)
		}
	}
	if n := d.lost.Load(); n != 3 {
		t.Errorf("%d replies were lost, want 3", n)
	}
}

func TestCallsThatMeetAHungRedisGetTheirAnswersWhenItGoesOn(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	s, err := New(Options{URL: server.URL(), Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	waiting := newRouted("1", "a", "t/b")
	waiting.To[0].Slot = false
	if _, err := s.Accept(t.Context(), []queue.Routed{waiting}); err != nil {
		t.Fatal(err)
	}
	server.Suspend()
	accepted, leased := make(chan []queue.Accepted, 1), make(chan []*event.Delivery, 1)
	go func() {
		got, err := s.Accept(t.Context(), []queue.Routed{newRouted("2", "a", "t/a")})
		if err != nil {
			t.Error(err)
		}
		accepted <- got
	}()
	go func() {
		ds, _, err := s.Lease(t.Context(), []queue.LeaseRequest{{Endpoint: "t/b", Lease: time.Minute, Most: 1}})
		if err != nil {
			t.Error(err)
		}
		leased <- ds
	}()
	poll(t, "the store knows that Redis hangs", func() bool { state, _ := s.Availability(); return state == Down })
	// Nobody else waits for it now.
	if _, err := s.Due(t.Context(), 0, 0, 1); err == nil || !strings.Contains(err.Error(), " is down: no answer in time") {
		t.Errorf("due: %v", err)
	}
	select {
	case <-accepted:
		t.Error("there is an answer, though Redis hangs")
	case <-leased:
		t.Error("there is an answer, though Redis hangs")
	default:
	}
	server.Continue()
	if got := <-accepted; len(got) != 1 || got[0].Duplicate || len(got[0].Leased) != 1 {
		t.Errorf("accept: %+v", got)
	}
	if ds := <-leased; len(ds) != 1 {
		t.Errorf("lease: %v", ds)
	}
	poll(t, "Redis is up", func() bool { state, _ := s.Availability(); return state == Up })
}

func TestTroubleEndsTheCallsOfAClosedStore(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	s := newStore(t, server.URL())
	server.Kill()
	done := make(chan error, 1)
	go func() {
		_, err := s.Accept(t.Context(), []queue.Routed{newRouted("2", "a", "t/a")})
		done <- err
	}()
	poll(t, "the store knows that Redis is away", func() bool { state, _ := s.Availability(); return state == Down })
	_ = s.Close()
	if err := <-done; err == nil {
		t.Error("no error")
	}
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
		if !slices.Equal(told, []string{"down the connection was closed", "up "}) {
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
	s := newStore(t, server.URL())
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
		err := s.client.Eval(withoutGate(t.Context()), "return redis.error_reply(ARGV[1])", nil, c.text).Err()
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

func TestAFewReplicasTakeNoEventUntilTheyAreBack(t *testing.T) {
	t.Parallel()
	set := redisserver.StartSentinel(t)
	s, err := New(Options{URL: set.URL(), WaitReplicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if got, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "a", "t/a")}); err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	set.Replica.Suspend()
	for i, content := range []string{"b", "a"} { // a is a duplicate, and has to wait for the replica too
		got, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", content, "t/b")})
		if err == nil || !strings.Contains(err.Error(), "only 0 of 1 replicas have what is written") {
			t.Errorf("accept: %v", err)
		}
		// It is in Redis all the same, and its lease is the caller's.
		if len(got) != 1 || len(got[0].Leased) != 1-i {
			t.Errorf("accept: %+v", got)
		}
	}
	if state, _ := s.Availability(); state != Short || s.Available() == nil {
		t.Errorf("state %s, %v", state, s.Available())
	}
	if _, err := s.Due(t.Context(), 0, 0, 1); err != nil {
		t.Errorf("deliveries do not go on: %v", err)
	}
	set.Replica.Continue()
	if err := s.WaitUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "b", "t/b")}); err != nil || !got[0].Duplicate {
		t.Errorf("accept: %+v, %v", got, err)
	}
}

func TestAdviceNamesWhatPutsEventsAtRisk(t *testing.T) {
	t.Parallel()
	advice := func(o Options) map[string]string {
		t.Helper()
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if err := s.clock.ensure(t.Context()); err != nil {
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
	(&Store{}).adviseInfo(readInfo("# Server\r\nredis_version:6.0.16\r\naof_enabled:1\r\n"), old)
	if !slices.Equal(names(old), []string{"old_version"}) {
		t.Errorf("an old one: %v", old)
	}
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
func TestAStoreWaitsASecondForARedisAndLongerForItsOwn(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]time.Duration{"": 5 * time.Second, "redis://127.0.0.1:1": time.Second} {
		s, err := New(Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if s.o.Timeout != want {
			t.Errorf("%q: %s, want %s", url, s.o.Timeout, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhoAsksWhetherRedisIsReadyNoticesThatItIsNot(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	s := newStore(t, redis.URL())
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
