package deliver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// twoFaced is a receiver that says more than it is asked. Over TLS its records leave when it says so, several in one
// segment.
type twoFaced struct {
	url         string
	roots       *x509.CertPool
	connections atomic.Int64
}

// talk is one connection of a twoFaced receiver.
type talk struct {
	net.Conn // TLS, or the socket
	socket   *held
}

// held keeps what is written until it is let go.
type held struct {
	net.Conn
	mu      sync.Mutex
	holding bool
	waits   []byte
}

func (h *held) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holding {
		h.waits = append(h.waits, p...)
		return len(p), nil
	}
	return h.Conn.Write(p)
}

func (h *held) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = true
}

// let sends what waits: all of it, or all but the last bytes.
func (h *held) let(but int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.SetWriteDeadline(time.Time{}) // CloseWrite of TLS leaves one that has passed
	_, _ = h.Conn.Write(h.waits[:len(h.waits)-but])
	h.waits = h.waits[len(h.waits)-but:]
	h.holding = but > 0
}

// beTwoFaced starts a receiver that answers the m-th request of a connection with what the test says.
func beTwoFaced(t testing.TB, secure bool, answer func(conn *talk, m int)) *twoFaced {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &twoFaced{url: "http://" + l.Addr().String(), roots: x509.NewCertPool()}
	var config *tls.Config
	if secure {
		f.url = "https://" + l.Addr().String()
		config = &tls.Config{Certificates: []tls.Certificate{newCertificate(t, f.roots)}, MinVersion: tls.VersionTLS12}
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.connections.Add(1)
			serving.Go(func() { f.serve(conn, config, answer) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return f
}

func (f *twoFaced) serve(conn net.Conn, config *tls.Config, answer func(conn *talk, m int)) {
	defer func() { _ = conn.Close() }()
	c := &talk{socket: &held{Conn: conn}}
	c.Conn = c.socket
	if config != nil {
		c.Conn = tls.Server(c.socket, config)
	}
	in := bufio.NewReader(c)
	for m := 1; ; m++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		answer(c, m)
	}
}

func newCertificate(t testing.TB, roots *x509.CertPool) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (f *twoFaced) poster(t *testing.T) *client {
	t.Helper()
	return poster(t, f.url, loopback, func(e *Endpoint) {
		e.TLS = &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}
	})
}

const (
	refusal503  = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
	strayAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
)

// rounds is how often each timing is tried: go test -run 'Answer|Strays' ./relay/deliver -rounds 1000.
var rounds = flag.Int("rounds", 20, "how often each timing of an answer is tried")

func TestASecondAnswerThatIsThereBeforeTheNextRequestIsNotTakenForItsAnswer(t *testing.T) {
	t.Parallel()
	const first, right = "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nfirst",
		"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nright"
	for name, speak := range map[string]func(c *talk){
		"in one write": func(c *talk) { say(c, first+strayAnswer) },
		"in one segment": func(c *talk) {
			c.socket.hold()
			say(c, first)
			say(c, strayAnswer)
			c.socket.let(0)
		},
		"later": func(c *talk) {
			say(c, first)
			time.Sleep(100 * time.Microsecond)
			say(c, strayAnswer)
		},
		"a part of it in the same segment, the rest later": func(c *talk) {
			c.socket.hold()
			say(c, first)
			say(c, strayAnswer)
			c.socket.let(7)
			c.socket.let(0)
		},
	} {
		for _, secure := range []bool{false, true} {
			for _, idle := range []time.Duration{0, restLeast, time.Second, time.Minute} {
				t.Run(fmt.Sprintf("%s, TLS %t, after %s", name, secure, idle), func(t *testing.T) {
					t.Parallel()
					for range *rounds {
						said := make(chan struct{}, 1)
						f := beTwoFaced(t, secure, func(c *talk, m int) {
							if m > 1 {
								say(c, right)
								return
							}
							speak(c)
							said <- struct{}{}
						})
						c := f.poster(t)
						if got := try(t, c); got != "202" {
							t.Fatalf("the first: %s", got)
						}
						<-said
						age(c, idle)
						// Its own answer is that of a new connection.
						if got := try(t, c); got != "202" {
							t.Fatalf("the second: %s", got)
						}
						c.close()
					}
				})
			}
		}
	}
}

func TestAReceiverThatAnswersTwiceGetsAConnectionPerAttemptFromThenOn(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		for _, late := range []time.Duration{30 * time.Microsecond, 100 * time.Microsecond, 300 * time.Microsecond} {
			t.Run(fmt.Sprintf("TLS %t, after %s", secure, late), func(t *testing.T) {
				t.Parallel()
				f := beTwoFaced(t, secure, func(c *talk, _ int) {
					say(c, refusal503)
					time.Sleep(late)
					say(c, strayAnswer)
				})
				c := f.poster(t)
				told := 0
				c.http1.trust.tell = func(string) { told++ }
				delivered := 0
				for range 10 * *rounds {
					known, before := c.http1.trust.lost(), f.connections.Load()
					got := try(t, c)
					switch {
					case got == "200" && known:
						t.Fatal("delivered, after it was found out")
					case got == "200":
						delivered++
					case known && f.connections.Load() != before+1:
						t.Fatalf("%d connections for an attempt", f.connections.Load()-before)
					}
				}
				t.Logf("%d of %d were taken for delivered", delivered, 10**rounds)
				if delivered > 2 {
					t.Errorf("%d were taken for delivered", delivered)
				}
				if told != 1 || !c.http1.trust.lost() {
					t.Errorf("told %d times, trust lost: %t", told, c.http1.trust.lost())
				}
			})
		}
	}
}

func TestAnAnswerIsNotTrustedIfItsReceiverIsFoundOutMeanwhile(t *testing.T) {
	t.Parallel()
	var c *client
	f := beTwoFaced(t, false, func(conn *talk, m int) {
		if m > 1 {
			c.http1.trust.lose("by another attempt")
		}
		say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	c = f.poster(t)
	if got := try(t, c); got != "200" {
		t.Fatal(got)
	}
	age(c, time.Second)
	if got := try(t, c); got != "protocol: "+errTwice.Error() {
		t.Error(got)
	}
}

func TestAConnectionRestsForAsLongAsItsReceiverHasTakenToAnswer(t *testing.T) {
	t.Parallel()
	f := beTwoFaced(t, false, func(c *talk, _ int) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
	c := f.poster(t)
	for i, step := range []struct {
		idle time.Duration
		want int64 // connections so far
	}{{0, 1}, {0, 2}, {time.Minute, 2}} {
		age(c, step.idle)
		c.http1.slowest = time.Minute - time.Second // as if it had taken so long
		if got := try(t, c); got != "200" {
			t.Fatal(got)
		}
		if n := f.connections.Load(); n != step.want {
			t.Errorf("%d connections after %d attempts, want %d", n, i+1, step.want)
		}
	}
}

func TestTheEndOfAnAttemptsContextEndsNoConnectionOfTheNext(t *testing.T) {
	t.Parallel()
	f := beTwoFaced(t, false, func(c *talk, _ int) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
	c := f.poster(t)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		a := c.post(ctx, newDelivery(time.Minute), time.Now())
		cancel()
		if a.Status != http.StatusOK {
			t.Fatal(a.Err)
		}
		age(c, time.Second)
	}
	if n := f.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestAReceiverThatEndsTheConnectionWithItsAnswerFailsNoAttempt(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *talk){
		"close_notify": func(c *talk) {
			_ = c.Conn.(*tls.Conn).CloseWrite() //nolint:forcetypeassert // it is one
			c.socket.let(0)
		},
		"its end": func(c *talk) {
			c.socket.let(0)
			_ = c.socket.Conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it is one
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{}, 1)
			f := beTwoFaced(t, true, func(c *talk, _ int) {
				c.socket.hold()
				say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				end(c)
				ended <- struct{}{}
			})
			c := f.poster(t)
			for i := range *rounds {
				if got := try(t, c); got != "200" {
					t.Fatalf("attempt %d: %s", i, got)
				}
				<-ended
				age(c, time.Second)
			}
			if c.http1.trust.lost() {
				t.Error("its end is taken for an answer")
			}
		})
	}
}

func TestWhatComesBeforeAnyRequestIsNoAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conn := make(chan net.Conn)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		say(<-conn, strayAnswer)
		return c, nil
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conn <- c
		}
	}()
	c := poster(t, "http://"+l.Addr().String(), Egress{Dial: dial})
	if got := try(t, c); got != "protocol: "+errUnasked.Error() {
		t.Error(got)
	}
}

func TestAnAnswerThatComesWhileTheBodyIsSentIsJudged(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusGone, http.StatusRequestEntityTooLarge} {
		for _, ends := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, ends %t", status, ends), func(t *testing.T) {
				t.Parallel()
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				go func() {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 512))
					say(conn, fmt.Sprintf("HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n", status))
					if ends {
						_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it is one
					}
					<-t.Context().Done()
					_ = conn.Close()
				}()
				c := poster(t, "http://"+l.Addr().String(), loopback)
				d := newDelivery(time.Minute)
				d.Event.Data = []byte(`"` + strings.Repeat("x", 16<<20) + `"`)
				if a := c.post(t.Context(), d, time.Now()); a.Status != status {
					t.Errorf("%d %s", a.Status, a.Err)
				}
			})
		}
	}
}

func TestALongBodyIsSentWholeAndItsConnectionUsedAgain(t *testing.T) {
	t.Parallel()
	var length atomic.Int64
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		length.Store(n)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := poster(t, server.URL, loopback)
	d := newDelivery(time.Minute)
	d.Event.Data = []byte(`"` + strings.Repeat("x", 4<<20) + `"`)
	for range 3 {
		if a := c.post(t.Context(), d, time.Now()); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Err)
		}
		if want := int64(len(Body("", d.Event))); length.Load() != want {
			t.Errorf("%d bytes arrived, want %d", length.Load(), want)
		}
		age(c, time.Second)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
