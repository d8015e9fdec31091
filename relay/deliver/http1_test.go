package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// spoken is a receiver that answers each request with what the test says, byte for byte: of the n-th connection (from
// 1), the m-th request.
type spoken struct {
	addr        string
	connections atomic.Int64
	mu          sync.Mutex
	requests    []string // as they came, with their bodies
}

func speak(t *testing.T, answer func(conn net.Conn, n, m int)) *spoken {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &spoken{addr: "http://" + l.Addr().String()}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			n := int(s.connections.Add(1))
			serving.Go(func() { s.serve(conn, func(m int) { answer(conn, n, m) }) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return s
}

func (s *spoken) serve(conn net.Conn, answer func(m int)) {
	defer func() { _ = conn.Close() }()
	var came strings.Builder
	in := bufio.NewReader(io.TeeReader(conn, &came))
	for m := 1; ; m++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		s.mu.Lock()
		s.requests = append(s.requests, came.String())
		s.mu.Unlock()
		came.Reset()
		answer(m)
	}
}

func say(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

// age has the connections of a client look as if they had been idle for so long.
func age(c *client, idle time.Duration) {
	c.http1.mu.Lock()
	defer c.http1.mu.Unlock()
	c.http1.slowest = 0
	for _, conn := range c.http1.idle {
		conn.since = time.Now().Add(-idle)
	}
}

func TestAnswersAsReceiversGiveThem(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", answerMost)
	for name, c := range map[string]struct {
		answer string // of each request
		want   string // what the attempt says: its status and answer, or its error
		kept   bool   // whether the second attempt has the same connection
	}{
		"a length": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok", true},
		"nothing":  {"HTTP/1.1 204 No Content\r\n\r\n", "204 ", true},
		"chunks":   {"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "500 ok", true},
		"just as much": {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), "200 " + long,
			true},
		"more than is kept": {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sy", len(long)+1, long),
			"200 " + long, false},
		"until it closes": {"HTTP/1.1 200 OK\r\n\r\nok", "200 ok", false},
		"HTTP/1.0":        {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok", false},
		"it will close":   {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "200 ok", false},
		"another one":     {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", "200 ok", false},
		"first others": {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" +
			"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n", "202 ", true},
		"only others": {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 7), "protocol: the answer is not valid HTTP",
			false},
		"another protocol": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "101 ", false},
		"a part":           {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "reset: unexpected EOF", false},
		"nothing at all":   {"", "reset: unexpected EOF", false},
		"no HTTP":          {"SSH-2.0-OpenSSH_9.2\r\n", "protocol: the answer is not valid HTTP", false},
		"an endless header": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", headMost+answerMost),
			"protocol: the answer is not valid HTTP", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := speak(t, func(conn net.Conn, _, _ int) {
				say(conn, c.answer)
				if !c.kept {
					_ = conn.Close()
				}
			})
			client := poster(t, s.addr, loopback)
			for range 2 {
				a := client.post(t.Context(), newDelivery(time.Minute), time.Now())
				got := a.Err
				if a.Err == "" {
					got = fmt.Sprintf("%d %s", a.Status, a.Answer)
				}
				if got != c.want {
					t.Errorf("%.100q, want %.100q", got, c.want)
				}
				age(client, time.Second)
			}
			if n := s.connections.Load(); (n == 1) != c.kept {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestWhatIsWrittenIsARequestOfHTTP(t *testing.T) {
	t.Parallel()
	s := speak(t, func(conn net.Conn, _, _ int) { say(conn, "HTTP/1.1 204 No Content\r\n\r\n") })
	host := strings.TrimPrefix(s.addr, "http://")
	with := func(e *Endpoint) { e.Headers = http.Header{"X-Two": {"a", "b"}, "Authorization": {"Bearer x"}} }
	c := poster(t, s.addr+"/hooks/a%2Fb?q=1&r=%E5%BF%AB", loopback, with)
	at, d := time.Unix(1_700_000_000, 0), newDelivery(time.Minute)
	posted := c.post(t.Context(), d, at)
	if posted.Status != http.StatusNoContent {
		t.Fatalf("%+v", posted)
	}
	m := c.message(d, at)
	m.own[len(m.own)-1] = posted.Traceparent // of the attempt that was made: each has another one
	body := string(m.body)
	want := "POST /hooks/a%2Fb?q=1&r=%E5%BF%AB HTTP/1.1\r\nHost: " + host +
		"\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nUser-Agent: test\r\n" +
		"X-Two: a\r\nX-Two: b\r\nWebhook-Id: evt_1\r\nWebhook-Timestamp: 1700000000\r\nWebhook-Signature: " + m.own[2] +
		"\r\nKuairelay-Sequence: 0\r\nKuairelay-Reason: new\r\nTraceparent: " + posted.Traceparent +
		"\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body
	if got := s.requests[0]; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// By net/http it is the same.
	var other strings.Builder
	if err := m.request(t.Context()).Write(&other); err != nil {
		t.Fatal(err)
	}
	fields := func(text string) map[string]bool {
		lines := map[string]bool{}
		for line := range strings.Lines(text) {
			lines[line] = true
		}
		return lines
	}
	a, b := fields(string(m.appendTo(nil))), fields(other.String())
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("%v\n%v", a, b)
	}
}

func TestAConnectionThatHasEndedIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(net.Conn){
		"closed": func(conn net.Conn) { _ = conn.Close() },
		"reset": func(conn net.Conn) {
			_ = conn.(*net.TCPConn).SetLinger(0) //nolint:forcetypeassert // it is one
			_ = conn.Close()
		},
		"an answer to nothing": func(conn net.Conn) {
			say(conn, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answered, ended := make(chan struct{}), make(chan struct{})
			s := speak(t, func(conn net.Conn, n, _ int) {
				say(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				if n == 1 {
					<-answered
					end(conn)
					close(ended)
				}
			})
			c := poster(t, s.addr, loopback)
			got := try(t, c)
			close(answered)
			if got != "204" {
				t.Fatal(got)
			}
			<-ended
			age(c, time.Second)
			for range 2 {
				if got := try(t, c); got != "204" {
					t.Error(got)
				}
				age(c, time.Second)
			}
			if n := s.connections.Load(); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestATimeoutOrTheEndOfItsContextEndsAnAttempt(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 3)
	s := speak(t, func(conn net.Conn, _, m int) {
		arrived <- struct{}{}
		if m > 1 { // the first of a connection is answered
			return
		}
		say(conn, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	c := poster(t, s.addr, loopback)
	if got := try(t, c); got != "204" {
		t.Fatal(got)
	}
	age(c, time.Second)
	enough := c.endpoint.Timeout
	c.endpoint.Timeout = time.Second
	if got := try(t, c); got != "timeout: no whole answer in time" {
		t.Error(got)
	}
	c.endpoint.Timeout = enough
	if got := try(t, c); got != "204" { // by a new connection
		t.Error(got)
	}
	for range 3 {
		<-arrived
	}
	if s.connections.Load() != 2 {
		t.Errorf("%d connections", s.connections.Load())
	}

	ctx, cancel := context.WithCancel(t.Context())
	c = poster(t, s.addr, loopback)
	c.post(ctx, newDelivery(time.Minute), time.Now())
	<-arrived
	age(c, time.Second)
	done := make(chan string)
	go func() { done <- c.post(ctx, newDelivery(time.Minute), time.Now()).Err }()
	<-arrived
	cancel()
	if err := <-done; err == "" {
		t.Error("it was answered")
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 2)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			gone <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := poster(t, server.URL, loopback)
	try(t, c)
	age(c, idleMost)
	c.http1.reap()
	<-gone
	if got := try(t, c); got != "200" {
		t.Error(got)
	}
	c.close()
	<-gone
}

func TestHTTP1BySecureConnections(t *testing.T) {
	t.Parallel()
	server, got := secure(t, func(s *httptest.Server) { s.EnableHTTP2 = false })
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := poster(t, server.URL, loopback, func(e *Endpoint) {
		e.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	})
	var remote string
	for range 3 {
		if answer := try(t, c); answer != "200" {
			t.Fatal(answer)
		}
		r := <-got
		if r.ProtoMajor != 1 || (remote != "" && remote != r.RemoteAddr) {
			t.Errorf("%s from %s, before from %s", r.Proto, r.RemoteAddr, remote)
		}
		remote = r.RemoteAddr
		age(c, time.Second)
	}
}
