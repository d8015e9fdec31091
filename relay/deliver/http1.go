package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	idleMost = 90 * time.Second // that a connection waits for its next request
	// idleAtLeast is how many connections may wait for a request, or twice as many as attempts, if that is more.
	idleAtLeast = 64
	restLeast   = time.Millisecond // that a connection is left alone after an answer, see http1.rest
	headMost    = 64 << 10         // bytes of an answer's header: a receiver must not fill the memory, or the log
	interimMost = 5                // answers before the answer: 100 Continue, 103 Early Hints, …
	sentAtOnce  = 16 << 10         // bytes that a new socket takes whether the receiver reads or not
)

// errHTTP2 is the error of a receiver that chose HTTP/2. Nothing has been sent to it.
var errHTTP2 = errors.New("the receiver speaks HTTP/2")

// errHTTP1 is the error of a receiver that chose HTTP/2 before, and HTTP/1.1 now.
var errHTTP1 = errors.New("the receiver speaks HTTP/1.1")

// protocolError says what is wrong with an answer, and quotes nothing of it.
type protocolError string

func (e protocolError) Error() string { return string(e) }

const (
	errUnasked = protocolError("the receiver answers before it is asked")
	errTwice   = protocolError("the receiver answers twice: this may be the answer to another request")
)

// http1 posts to one receiver over HTTP/1.1 (RFC 9112), one request at a time on each connection. The caller's
// goroutine writes the request and reads the answer itself. http.Transport has two more goroutines for each connection,
// and hands every message over twice: that is a third of the cost of an attempt. Answers are still read by net/http.
//
// HTTP/1.1 does not say which request an answer belongs to. So an answer counts only if nothing waited at any layer
// when its request was written: a connection is checked before each request (see connection.checkIdle), even if it was
// idle for only a moment. An answer that is still on its way cannot be seen. So a connection rests after each answer,
// for as long as the receiver's answers have taken lately, and others are used meanwhile. Most second answers come in
// that time, and so do those that are late because a second answer was taken for them. A receiver that was seen to
// answer twice gets a connection for each attempt (see trust). http.Transport does neither: one of its goroutines
// watches the idle connections, and is late if the next request comes at once (see transport).
type http1 struct {
	url     *url.URL
	dial    dialContext
	tls     func() *tls.Config // a new one at each call
	trust   *trust
	maxIdle int

	mu      sync.Mutex
	idle    []*connection // the one used last at the end
	slowest time.Duration // answer of late: an older one counts less with each that follows
	reaping bool          // a timer runs that looks for those that have been idle too long
	closing bool          // those that become idle are closed, until the next request
}

type dialContext func(ctx context.Context, network, address string) (net.Conn, error)

// connection has one request at a time.
type connection struct {
	net.Conn
	socket  *socket
	records *records    // nil without TLS
	forget  func() bool // undoes endWith
	since   time.Time   // when it became idle
	used    bool        // it has had a request before
	left    int         // bytes that may still be read for this answer
	seen    [16]byte    // by a look
}

// buffers are what a connection needs while it has a request.
type buffers struct {
	request []byte
	answer  *bufio.Reader
}

// requestKept is the largest buffer that is kept for the next request.
const requestKept = 64 << 10

var spare = sync.Pool{New: func() any { return &buffers{answer: bufio.NewReader(nil)} }}

// endWith ends the connection when the context of its request ends, until it waits for the next request.
func (c *connection) endWith(ctx context.Context) {
	c.forget = context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
}

// post sends a request and reads its answer, by the deadline, or until ctx ends. The error is errHTTP2 if the receiver
// does not want HTTP/1.1.
func (h *http1) post(ctx context.Context, deadline time.Time, m *message) (reply, error) {
	c, err := h.connect(ctx, deadline)
	if err != nil {
		return reply{}, err
	}

	b := spare.Get().(*buffers) //nolint:forcetypeassert // the pool has no others
	b.request = m.appendTo(b.request[:0])
	b.answer.Reset(c)
	began := time.Now()
	x, err := c.exchange(b)
	b.answer.Reset(nil)
	if cap(b.request) <= requestKept {
		spare.Put(b)
	}

	reused := c.used
	if x.more {
		h.trust.lose("more than the answer came")
	}
	if x.usable {
		h.keep(c, time.Since(began))
	} else {
		_ = c.Close()
	}

	// Trust may have been lost meanwhile, by this attempt or another: then the answer may belong to another request.
	if err == nil && reused && h.trust.lost() {
		return reply{}, errTwice
	}
	return x.reply, err
}

// connect returns an idle connection on which nothing has come, or a new one.
func (h *http1) connect(ctx context.Context, deadline time.Time) (*connection, error) {
	for c := h.idleConn(); c != nil; c = h.idleConn() {
		if c.SetDeadline(deadline) == nil && time.Since(c.since) < idleMost {
			switch c.checkIdle() {
			case quiet:
				c.endWith(ctx)
				return c, nil
			case stray:
				h.trust.lose("an answer came that nobody asked for")
			case unusable:
			}
		}
		_ = c.Close()
	}

	c, err := h.open(ctx, deadline)
	if err != nil {
		return nil, err
	}
	c.endWith(ctx)
	if err = c.SetDeadline(deadline); err == nil && c.checkIdle() == stray {
		err = errUnasked
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (h *http1) open(ctx context.Context, deadline time.Time) (*connection, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	c, protocol, err := h.connectTo(ctx)
	if err == nil && protocol == "h2" {
		_ = c.Conn.Close()
		return nil, errHTTP2
	}
	return c, err
}

// openHTTP2 makes a connection over which the receiver chooses HTTP/2. The error is errHTTP1 if it does not.
func (h *http1) openHTTP2(ctx context.Context) (net.Conn, error) {
	c, protocol, err := h.connectTo(ctx)
	if err != nil {
		return nil, err
	}
	if protocol != "h2" {
		_ = c.Conn.Close()
		return nil, errHTTP1
	}
	return c.Conn, nil
}

// connectTo makes a connection, and says which protocol the receiver chose over TLS.
func (h *http1) connectTo(ctx context.Context) (c *connection, protocol string, err error) {
	port := h.url.Port()
	if port == "" {
		port = h.url.Scheme
	}
	conn, err := h.dial(ctx, "tcp", net.JoinHostPort(h.url.Hostname(), port))
	if err != nil {
		return nil, "", err
	}
	c = &connection{socket: newSocket(conn)}
	c.Conn = c.socket
	if h.url.Scheme != "https" {
		return c, "", nil
	}

	config := h.tls()
	config.NextProtos = []string{"h2", "http/1.1"}
	if config.ServerName == "" {
		config.ServerName = h.url.Hostname()
	}
	c.records = &records{Conn: c.socket}
	secure := tls.Client(c.records, config)
	if err = secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, "", err
	}
	c.Conn = secure
	return c, secure.ConnectionState().NegotiatedProtocol, nil
}

// idleConn returns the connection that was used last, of those that have rested: the receiver is the least likely to
// have closed it.
func (h *http1) idleConn() *connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = false
	if h.trust.lost() {
		h.drop()
		return nil
	}

	rested := time.Now().Add(-h.rest())
	at := len(h.idle) - 1
	for at >= 0 && h.idle[at].since.After(rested) {
		at--
	}
	if at < 0 {
		return nil
	}
	c := h.idle[at]
	h.idle = slices.Delete(h.idle, at, at+1)
	return c
}

// rest is how long a connection is left alone after an answer. h.mu is held.
func (h *http1) rest() time.Duration { return max(h.slowest, restLeast) }

// keep puts a connection back, for the next request. took is how long its last answer took.
func (h *http1) keep(c *connection, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slowest = max(took, h.slowest-h.slowest/16)
	if !c.forget() || h.closing || h.trust.lost() {
		_ = c.Close()
		return
	}
	if len(h.idle) >= h.maxIdle {
		_ = h.idle[0].Close()
		h.idle = slices.Delete(h.idle, 0, 1)
	}
	c.since = time.Now()
	c.used = true
	h.idle = append(h.idle, c)
	if !h.reaping {
		h.reaping = true
		time.AfterFunc(idleMost, h.reap)
	}
}

// reap closes the connections that have been idle too long, and runs again as long as there are others.
func (h *http1) reap() {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := 0
	for old < len(h.idle) && time.Since(h.idle[old].since) >= idleMost {
		_ = h.idle[old].Close()
		old++
	}
	h.idle = append([]*connection(nil), h.idle[old:]...)
	h.reaping = len(h.idle) > 0
	if h.reaping {
		time.AfterFunc(idleMost-time.Since(h.idle[0].since), h.reap)
	}
}

// closeIdle closes the connections that have no request, and each other one when its answer is read.
func (h *http1) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	h.drop()
}

// drop closes the connections that have no request. h.mu is held.
func (h *http1) drop() {
	for _, c := range h.idle {
		_ = c.Close()
	}
	h.idle = nil
}
