package deliver

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"time"
)

const (
	// clientDial is how long a connection of a client of NewClient may take, and clientIdle how long it is kept.
	clientDial = 5 * time.Second
	clientIdle = 30 * time.Second
	// clientConns bounds the connections of such a client to one host.
	clientConns = 4
)

// NewClient makes a client for requests that are no deliveries, such as messages to people. They go where an endpoint
// with these allowed networks may go, through the proxy if there is one, and follow no redirect. lists names the keys
// of the config that have the networks: an address that is in none is refused with them. Errors are plain texts.
func NewClient(e Egress, allow []netip.Prefix, lists string) *http.Client {
	g := newGuard(e, allow)
	g.lists = lists
	t := &http.Transport{
		DialContext:            (&Endpoint{Timeout: clientDial}).dialer(e, g),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxConnsPerHost:        clientConns,
		IdleConnTimeout:        clientIdle,
		MaxResponseHeaderBytes: headMost,
	}
	if e.Proxy != nil {
		t.Proxy = http.ProxyURL(e.Proxy)
	}
	return &http.Client{
		Transport:     &guarded{guard: g, proxied: e.Proxy != nil, next: t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// guarded checks the host of a request before a proxy is asked for it, in its one spelling. Without a proxy, each
// address is checked when it is dialled.
type guarded struct {
	guard   *guard
	proxied bool
	next    *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	u, err := readTarget(request.URL.String())
	if err != nil {
		return nil, err
	}
	if t.proxied {
		if err := t.guard.checkHost(request.Context(), u.Hostname()); err != nil {
			return nil, plainError{err}
		}
	}
	request = request.Clone(request.Context())
	request.URL = u
	request.Host = u.Host
	answer, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, plainError{err}
	}
	return answer, nil
}

// CloseIdleConnections closes those that are not in use; http.Client calls it.
func (t *guarded) CloseIdleConnections() { t.next.CloseIdleConnections() }
