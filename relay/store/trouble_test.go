package store

import (
	"bytes"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
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
	s := openStore(t, db.Options{URL: server.URL(), Timeout: 200 * time.Millisecond}, Options{})
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
	poll(t, "the store knows that Redis hangs", func() bool { state, _ := s.db.Availability(); return state == db.Down })
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
	poll(t, "Redis is up", func() bool { state, _ := s.db.Availability(); return state == db.Up })
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
	poll(t, "the store knows that Redis is away", func() bool { state, _ := s.db.Availability(); return state == db.Down })
	_ = s.db.Close()
	if err := <-done; err == nil {
		t.Error("no error")
	}
}

func TestAFewReplicasTakeNoEventUntilTheyAreBack(t *testing.T) {
	t.Parallel()
	set := redisserver.StartSentinel(t)
	s := openStore(t, db.Options{URL: set.URL(), WaitReplicas: 1}, Options{})
	poll(t, "an event is taken", func() bool { // a replica on a busy machine may not have it at once
		got, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "a", "t/a")})
		return err == nil && len(got) == 1
	})
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
	if state, _ := s.db.Availability(); state != db.Short || s.db.Available() == nil {
		t.Errorf("state %s, %v", state, s.db.Available())
	}
	if _, err := s.Due(t.Context(), 0, 0, 1); err != nil {
		t.Errorf("deliveries do not go on: %v", err)
	}
	set.Replica.Continue()
	if err := s.db.WaitUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	poll(t, "a duplicate is taken", func() bool {
		got, err := s.Accept(t.Context(), []queue.Routed{newRouted("1", "b", "t/b")})
		return err == nil && got[0].Duplicate
	})
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
