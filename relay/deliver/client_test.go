package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kuairelay/relay/signature"
)

// secure is a receiver with TLS that asks for HTTP/2, and tells what it was asked.
func secure(t *testing.T, change func(*httptest.Server)) (server *httptest.Server, got chan *http.Request) {
	t.Helper()
	got = make(chan *http.Request, 10)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	server.EnableHTTP2 = true
	if change != nil {
		change(server)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, got
}

func TestHTTP2IsUsedWhereTheReceiverOffersItAndItsAuthorityIsChecked(t *testing.T) {
	t.Parallel()
	server, got := secure(t, nil)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting := func(e *Endpoint) { e.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12} }
	if answer := try(t, poster(t, server.URL, loopback, trusting)); answer != "200" {
		t.Fatal(answer)
	}
	if r := <-got; r.ProtoMajor != 2 {
		t.Errorf("it spoke %s", r.Proto)
	}
	if answer := try(t, poster(t, server.URL, loopback)); !strings.HasPrefix(answer, "tls: ") ||
		strings.Count(answer, "tls: ") != 1 {
		t.Errorf("an authority that nobody trusts: %s", answer)
	}
	// the test's certificate is for example.com
	for name, want := range map[string]string{"example.com": "200", "other.example": "tls: "} {
		answer := try(t, poster(t, server.URL, loopback, trusting, func(e *Endpoint) { e.TLS.ServerName = name }))
		if !strings.HasPrefix(answer, want) {
			t.Errorf("as %s: %s", name, answer)
		}
	}
}

func TestFindingOutThatAReceiverSpeaksHTTP2TakesNoMoreTimeThanAnAttemptHas(t *testing.T) {
	t.Parallel()
	// The first attempt needs two handshakes, which take more time than it has. The second one needs one.
	const timeout = 4 * time.Second
	var handshakes atomic.Int32
	//nolint:gosec // the test server's
	slow := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if handshakes.Add(1) <= 2 {
			time.Sleep(timeout * 6 / 10)
		}
		return nil, nil //nolint:nilnil // as it is
	}}
	server, _ := secure(t, func(s *httptest.Server) { s.TLS = slow })
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := poster(t, server.URL, loopback, func(e *Endpoint) {
		e.TLS, e.Timeout = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, timeout
	})
	for _, want := range []string{"timeout: no whole answer in time", "200"} {
		if answer := try(t, c); answer != want {
			t.Errorf("%s, want %s", answer, want)
		}
	}
	if n := handshakes.Load(); n != 3 {
		t.Errorf("%d handshakes", n)
	}
}

func TestAReceiverMayAskForACertificate(t *testing.T) {
	t.Parallel()
	server, got := secure(t, func(s *httptest.Server) { s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert} })
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	with := func(certs ...tls.Certificate) func(*Endpoint) {
		return func(e *Endpoint) {
			e.TLS = &tls.Config{RootCAs: roots, Certificates: certs, MinVersion: tls.VersionTLS12}
		}
	}
	if answer := try(t, poster(t, server.URL, loopback, with())); answer == "200" {
		t.Error("it got in without a certificate")
	}
	if answer := try(t, poster(t, server.URL, loopback, with(server.TLS.Certificates[0]))); answer != "200" {
		t.Fatal(answer)
	}
	if r := <-got; len(r.TLS.PeerCertificates) != 1 {
		t.Error("it was shown no certificate")
	}
}

func TestAnEndpointsHeadersAreSentAndReplaceNoneOfOurs(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
	}))
	t.Cleanup(server.Close)
	mine := http.Header{"Authorization": {"Bearer x"}, "Webhook-Id": {"forged"}, "Kuairelay-Reason": {"forged"},
		"Content-Type": {"text/plain"}}
	if answer := try(t, poster(t, server.URL, loopback, func(e *Endpoint) { e.Headers = mine })); answer != "200" {
		t.Fatal(answer)
	}
	h := <-got
	for name, want := range map[string]string{"Authorization": "Bearer x", "Webhook-Id": "evt_1",
		"Kuairelay-Reason": "new", "Content-Type": "application/json"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
	if mine.Get("Webhook-Id") != "forged" {
		t.Error("the endpoint's own headers were changed")
	}
}

func TestASecretSignsUntilItsTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var keys []Key
	for _, until := range []time.Time{{}, now.Add(time.Minute), now, now.Add(-time.Minute)} {
		k, err := signature.ParseKey(signature.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, Key{Key: k, Until: until})
	}
	c := poster(t, "https://shop.example/", Egress{}, func(e *Endpoint) { e.Keys = keys })
	for at, want := range map[time.Time]int{now: 2, now.Add(time.Minute): 1, now.Add(-time.Second): 3,
		now.Add(-time.Hour): 4} {
		r := c.message(newDelivery(time.Minute), at).request(t.Context())
		if n := len(strings.Fields(r.Header.Get("Webhook-Signature"))); n != want {
			t.Errorf("%s: %d signatures, want %d", at.Sub(now), n, want)
		}
	}
}
