package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestAReceiverThatGoesAwayAgainAndAgainGetsFewConnectionsAnAttempt(t *testing.T) {
	t.Parallel()
	f := &twoFaced{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := poster(t, "https://"+l.Addr().String(), loopback, func(e *Endpoint) {
		e.Timeout = 10 * time.Second
		e.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a test
	})
	config := &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	config.Certificates = []tls.Certificate{newCertificate(t, x509.NewCertPool())}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.connections.Add(1)
			go goAway(tls.Server(conn, config))
		}
	}()
	if got := try(t, c); got != "protocol: "+errDials.Error() && !strings.HasPrefix(got, "protocol: ") &&
		!strings.HasPrefix(got, "reset: ") {
		t.Error(got)
	}
	if n := f.connections.Load(); n > dialsMost+1 {
		t.Errorf("%d connections for one attempt", n)
	}
}

// goAway reads a request of HTTP/2, and says that it was not taken.
func goAway(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if _, err := conn.Read(make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(conn, conn)
	if fr.WriteSettings() != nil {
		return
	}
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			return
		}
		if frame.Header().Type == http2.FrameHeaders {
			_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
			return
		}
	}
}

func TestBehindAProxyEachAttemptHasAConnectionOfItsOwn(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	proxy.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	proxy.Start()
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := poster(t, "http://8.8.8.8/", Egress{Proxy: u})
	for range 3 {
		if got := try(t, c); got != "200" {
			t.Fatal(got)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 3 attempts", n)
	}
}

func TestABrokenAnswerBehindAProxyIsNoAnswer(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := try(t, poster(t, "http://8.8.8.8/", Egress{Proxy: u})); got == "200" {
		t.Error("an answer that broke off is taken for a delivery")
	}
}

func TestWhereARedirectLeadsToIsShownWithoutItsQuery(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"https://new.example/hooks?token=hunter2#x": "redirects to https://new.example/hooks\n",
		"/login":                         "redirects to /login\n",
		"https://u:hunter2@new.example/": "redirects to (an address with a password, or none)\n",
		"/" + strings.Repeat("x", 2000):  "redirects to /" + strings.Repeat("x", locationMost-1) + "\n",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		}))
		t.Cleanup(server.Close)
		a := poster(t, server.URL, loopback).post(t.Context(), newDelivery(time.Minute), time.Now())
		if string(a.Answer) != want {
			t.Errorf("%.60s: %q", location, a.Answer)
		}
	}
}

func TestAnErrorNamesNoAddressOfTheOperators(t *testing.T) {
	t.Parallel()
	source := &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 1}
	to := &net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 443}
	for err, want := range map[error]string{
		&net.DNSError{Err: "no such host", Name: "shop.example", Server: "10.9.8.7:53",
			IsNotFound: true}: "dns: lookup shop.example: no such host",
		&net.DNSError{Err: "read udp 10.9.8.7:1->10.9.8.7:53: refused",
			Name: "shop.example"}: "dns: lookup shop.example: the resolver failed",
		&net.OpError{Op: "read", Net: "tcp", Source: source, Addr: to,
			Err: errors.New("broken")}: "network: the connection to 8.8.8.8:443 broke: broken",
		&net.OpError{Op: "proxyconnect", Net: "tcp",
			Err: &net.OpError{Op: "dial", Net: "tcp", Addr: source,
				Err: errors.New("broken")}}: "network: the proxy (egress.proxy): broken",
	} {
		if got := describeError(err); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
