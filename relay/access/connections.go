package access

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// silentFor is how long a new connection may send nothing before others may replace it.
const silentFor = time.Second

// overloaded is the answer to a connection that is one too many.
const overloaded = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n" +
	"Retry-After: 1\r\nConnection: close\r\n" +
	"Content-Length: 97\r\n\r\n" +
	`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"too many connections"}`

// Connections bounds how many connections a listener has. At the bound, a new connection replaces one that is idle
// between requests, the longest idle first, or else one that has not sent anything yet. If all are busy, the new one is
// answered 503. Nothing of it was read, so nothing is lost.
type Connections struct {
	net.Listener
	most    int
	trusted []netip.Prefix // proxies, which connect for many

	refused prometheus.Counter

	mu   sync.Mutex
	open map[net.Conn]*connection
	from map[netip.Addr]int
}

// connection is what is known of an open one.
type connection struct {
	from  netip.Addr
	state http.ConnState
	since time.Time // it is in this state
}

// LimitConnections bounds the connections of a listener. trusted are proxies, which connect for many.
func LimitConnections(l net.Listener, most int, trusted []netip.Prefix, refused prometheus.Counter) *Connections {
	return &Connections{
		Listener: l, most: most, trusted: trusted, refused: refused,
		open: map[net.Conn]*connection{}, from: map[netip.Addr]int{},
	}
}

// Accept returns the next connection that there is room for.
func (c *Connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		evicted, ok := c.admit(conn)
		if evicted != nil {
			_ = evicted.Close()
		}
		if ok {
			return &countedConn{Conn: conn, of: c}, nil
		}
		_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = conn.Write([]byte(overloaded))
		_ = conn.Close()
	}
}

// admit notes a new connection, unless there are too many. evicted is one that it replaces, for the caller to close.
func (c *Connections) admit(conn net.Conn) (evicted net.Conn, ok bool) {
	from := addressOf(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most/4*3 && c.from[from] >= max(1, c.most/4) && !contains(c.trusted, from) && !from.IsLoopback() {
		c.refused.Inc()
		return nil, false
	}

	if len(c.open) >= c.most {
		evicted = c.weakest()
		if evicted == nil {
			c.refused.Inc()
			return nil, false
		}
		c.forget(evicted)
	}
	c.open[conn] = &connection{from: from, state: http.StateNew, since: time.Now()}
	c.from[from]++
	return evicted, true
}

// weakest returns the connection to replace first; nil: all are busy.
func (c *Connections) weakest() net.Conn {
	var idle, silent net.Conn
	for conn, x := range c.open {
		switch {
		case x.state == http.StateIdle && (idle == nil || x.since.Before(c.open[idle].since)):
			idle = conn
		case x.state == http.StateNew && time.Since(x.since) > silentFor &&
			(silent == nil || x.since.Before(c.open[silent].since)):
			silent = conn
		}
	}
	if idle != nil {
		return idle
	}
	return silent
}

// OnState is for http.Server.ConnState.
func (c *Connections) OnState(conn net.Conn, state http.ConnState) {
	if x, ok := conn.(*countedConn); ok {
		conn = x.Conn
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.open[conn]; x != nil {
		x.state = state
		x.since = time.Now()
	}
}

func (c *Connections) forget(conn net.Conn) {
	x := c.open[conn]
	if x == nil {
		return
	}
	delete(c.open, conn)
	c.from[x.from]--
	if c.from[x.from] == 0 {
		delete(c.from, x.from)
	}
}

// countedConn is a connection that is forgotten when it is closed.
type countedConn struct {
	net.Conn
	of   *Connections
	once sync.Once
}

// Close implements net.Conn.
func (x *countedConn) Close() error {
	x.once.Do(func() {
		x.of.mu.Lock()
		defer x.of.mu.Unlock()
		x.of.forget(x.Conn)
	})
	return x.Conn.Close()
}

func addressOf(conn net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
