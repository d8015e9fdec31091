package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Egress says where attempts may go, in addition to each endpoint's own AllowCIDRs. The zero Egress allows public
// addresses only.
type Egress struct {
	// AllowCIDRs are networks that may be dialled although they are not public. Addresses that are always refused stay
	// refused.
	AllowCIDRs []netip.Prefix
	// Proxy, if not nil, gets every request (http, https or socks5). Its own address is not checked: the operator chose
	// it. The address of an endpoint is looked up here and checked before each attempt. But the proxy dials, and may
	// resolve the name to another address: it has to refuse what must not be reached.
	Proxy *url.URL
	// Resolver looks up names; tests replace it. Default net.DefaultResolver.
	Resolver *net.Resolver
	// Dial connects, without the guard; tests replace it. Default a net.Dialer with the guard in it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// refusedAddress is one that the egress guard does not let through.
type refusedAddress struct {
	class string // "private", "loopback", …
	addr  netip.Addr
	lists string // the keys that do not have it
}

func (f *refusedAddress) Error() string { return f.class + " address " + f.addr.String() }

// advice says what a person can do about it.
func (f *refusedAddress) advice() string {
	if always(f.addr) != "" || slices.ContainsFunc(carried(f.addr), func(v4 netip.Addr) bool { return always(v4) != "" }) {
		return "never allowed"
	}
	return "not in " + f.lists
}

// guard checks the addresses that an endpoint's connections go to.
type guard struct {
	allow    []netip.Prefix
	lists    string // the keys of the config that allow has its networks from, for errors
	resolver *net.Resolver
}

// listsOfEndpoints are the keys that have the networks of endpoints.
const listsOfEndpoints = "egress.allow_cidrs, nor in the endpoint's allow_cidrs"

func newGuard(e Egress, own []netip.Prefix) *guard {
	allow := slices.Concat(own, e.AllowCIDRs)
	return &guard{allow: allow, lists: listsOfEndpoints, resolver: e.Resolver}
}

// check returns nil if the address may be dialled, and otherwise a *refusedAddress. An IPv6 address that carries an
// IPv4 one (IPv4-mapped, NAT64, 6to4, Teredo, ISATAP, …) leads there, so both have to be allowed.
func (g *guard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if class := always(addr); class != "" {
		return &refusedAddress{class, addr, g.lists}
	}
	inner := carried(addr)
	for _, v4 := range inner {
		if class := always(v4); class != "" {
			return &refusedAddress{class, addr, g.lists}
		}
	}
	if g.allows(addr) {
		return nil
	}
	if class := special(addr); class != "" {
		return &refusedAddress{class, addr, g.lists}
	}
	for _, v4 := range inner {
		if class := special(v4); class != "" && !g.allows(v4) {
			return &refusedAddress{class, addr, g.lists}
		}
	}
	return nil
}

func (g *guard) allows(addr netip.Addr) bool {
	for _, p := range g.allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// dialer returns a DialContext that checks each address at the moment when it is dialled, so that an earlier answer for
// the name does not matter. If a name has several addresses, the forbidden ones are skipped.
func (g *guard) dialer(timeout time.Duration) dialContext {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var refused atomic.Pointer[refusedAddress]
		var allowed atomic.Bool
		d := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Resolver: g.resolver,
			ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
				at, err := netip.ParseAddrPort(address)
				if err != nil {
					return fmt.Errorf("dial %q: %w", address, err)
				}
				if f, ok := errors.AsType[*refusedAddress](g.check(at.Addr())); ok {
					refused.Store(f)
					return f
				}
				allowed.Store(true)
				return nil
			}}
		conn, err := d.DialContext(ctx, network, address)
		if f := refused.Load(); err != nil && f != nil && allowed.Load() {
			// Another address of the name may be used, and may answer the next time.
			return nil, &net.OpError{Op: "dial", Net: network,
				Err: fmt.Errorf("no address answers, and %s is not allowed", f.addr)}
		}
		return conn, err
	}
}

// CheckURL says whether a URL leads to an address that no attempt may go to, without looking up a name. It reads the
// URL as an attempt does.
func CheckURL(rawURL string, allow []netip.Prefix) error {
	u, err := readTarget(rawURL)
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "url: "))
	}
	return (&guard{allow: allow}).checkLiteral(u.Hostname())
}

// checkLiteral checks a host that is an address: it stays the same when it is dialled.
func (g *guard) checkLiteral(host string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // a name: it is known only when it is dialled
	}
	refused, ok := errors.AsType[*refusedAddress](g.check(addr))
	switch {
	case !ok:
		return nil
	case always(addr.Unmap().WithZone("")) != "":
		return fmt.Errorf("a %w is never allowed", refused)
	}
	return fmt.Errorf("a %w is not allowed", refused)
}

// checkHost checks an endpoint's host before a proxy is asked for it. A name that cannot be looked up here is left to
// the proxy: behind a proxy there may be no DNS for names outside.
func (g *guard) checkHost(ctx context.Context, host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.check(addr)
	}
	resolver := g.resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	for _, addr := range addrs {
		if err := g.check(addr); err != nil {
			return err
		}
	}
	return nil
}

// dialer connects to an endpoint, with the guard unless there is a proxy, which the operator chose.
func (e *Endpoint) dialer(egress Egress, g *guard) dialContext {
	switch {
	case egress.Dial != nil:
		return egress.Dial
	case egress.Proxy != nil:
		return (&net.Dialer{Timeout: e.Timeout, KeepAlive: 30 * time.Second, Resolver: g.resolver}).DialContext
	}
	return g.dialer(e.Timeout)
}

// tls is the TLS config of a connection to the endpoint.
func (e *Endpoint) tls() *tls.Config {
	if e.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return e.TLS.Clone()
}

// transport makes the client for receivers that http1 does not serve: those that chose HTTP/2, and all behind a proxy.
// HTTP/2 says which request an answer belongs to. Behind a proxy, net/http may speak HTTP/1.1, and could take a stray
// answer for that of the next request: so there each attempt gets a connection of its own.
func (c *client) transport() *http.Transport {
	e := &c.endpoint
	t := &http.Transport{
		DialContext:            withinDials(c.http1.dial),
		TLSClientConfig:        e.tls(),
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxConnsPerHost:        e.MaxInFlight,
		MaxIdleConnsPerHost:    e.MaxInFlight,
		IdleConnTimeout:        idleMost,
		MaxResponseHeaderBytes: headMost,
		// A connection that has died silently must not cost every stream on it a time-out.
		HTTP2: &http.HTTP2Config{SendPingTimeout: e.Timeout, PingTimeout: e.Timeout},
	}
	if c.egress.Proxy != nil {
		t.Proxy = http.ProxyURL(c.egress.Proxy)
		t.DisableKeepAlives = true
		return t
	}
	t.DialTLSContext = withinDials(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.http1.openHTTP2(ctx)
	})
	return t
}

// dialsMost is how many connections net/http may open for an attempt. It opens another one when the receiver ends the
// first before it has taken the request, and repeats that without a bound.
const dialsMost = 3

const errDials = protocolError("the receiver ends each connection before it takes the request")

type dialsKey struct{}

// withDials returns a context that counts the connections of an attempt.
func withDials(ctx context.Context) context.Context {
	return context.WithValue(ctx, dialsKey{}, new(atomic.Int64))
}

// withinDials makes a dial fail if its attempt has opened dialsMost connections.
func withinDials(dial dialContext) dialContext {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if n, ok := ctx.Value(dialsKey{}).(*atomic.Int64); ok && n.Add(1) > dialsMost {
			return nil, errDials
		}
		return dial(ctx, network, address)
	}
}
