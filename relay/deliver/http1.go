package deliver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	idleMost    = 90 * time.Second // that a connection waits for its next request
	idleTrusted = time.Millisecond // that it is taken to be alive without a look
	headMost    = 64 << 10         // bytes of an answer's header: what a receiver says is not to fill the memory, or the log
	interimMost = 5                // answers before the answer: 100 Continue, 103 Early Hints, …
)

// errHTTP2 is the error of a receiver that chose HTTP/2. Nothing has been sent to it.
var errHTTP2 = errors.New("the receiver speaks HTTP/2")

// http1 posts to one receiver over HTTP/1.1 (RFC 9112), one request at a time on each connection. The caller's goroutine writes
// the request and reads the answer itself, where http.Transport has two more for each connection, and hands every message over
// twice: that is a third of what an attempt costs. Answers are read by net/http all the same.
type http1 struct {
	url  *url.URL
	dial dialContext
	tls  func() *tls.Config // a new one at each call

	mu      sync.Mutex
	idle    []*connection // the one used last at the end
	reaping bool          // a timer runs that looks for those that have been idle too long
	closing bool          // those that become idle are closed, until the next request
}

type dialContext func(ctx context.Context, network, address string) (net.Conn, error)

// connection has one request at a time.
type connection struct {
	net.Conn
	socket syscall.RawConn // nil if it has none
	forget func() bool     // what the end of its context does to it
	since  time.Time       // when it became idle
	left   int             // bytes that may still be read for this answer
}

// buffers are what a connection needs while it has a request.
type buffers struct {
	request []byte
	answer  *bufio.Reader
}

// requestKept is the largest buffer that is kept for the next request.
const requestKept = 64 << 10

var spare = sync.Pool{New: func() any { return &buffers{answer: bufio.NewReader(nil)} }}

// post sends a request and reads its answer, both by the deadline. The context, which has to be the same at every call, ends
// all connections with it. The error is errHTTP2 if the receiver does not want HTTP/1.1.
func (h *http1) post(ctx context.Context, deadline time.Time, m *message) (reply, error) {
	c, err := h.connect(ctx, deadline)
	if err != nil {
		return reply{}, err
	}
	b := spare.Get().(*buffers) //nolint:forcetypeassert // the pool has no others
	b.request = m.appendTo(b.request[:0])
	b.answer.Reset(c)
	r, usable, err := c.exchange(b)
	b.answer.Reset(nil)
	if cap(b.request) <= requestKept {
		spare.Put(b)
	}
	if usable {
		h.keep(c)
	} else {
		_ = c.Close()
	}
	return r, err
}

// exchange sends the request, and says whether the connection is of use afterwards: if nothing more can come on it but the
// next answer.
func (c *connection) exchange(b *buffers) (r reply, usable bool, err error) {
	c.left = headMost + answerMost
	_, unsent := c.Write(b.request)
	// While others have their turn the answer may come: then the first attempt to read it is the last.
	runtime.Gosched()
	// A receiver may answer, and end the connection, before it has read everything.
	for range interimMost + 1 {
		resp, err := http.ReadResponse(b.answer, nil) //nolint:bodyclose // that would read all of it
		switch {
		case err != nil && unsent != nil:
			return reply{}, false, unsent
		case err != nil:
			return reply{}, false, err
		case resp.StatusCode < http.StatusOK && resp.StatusCode != http.StatusSwitchingProtocols:
			continue
		}
		r, whole, err := readReply(resp)
		usable = whole && err == nil && unsent == nil && !resp.Close && resp.StatusCode >= http.StatusOK && b.answer.Buffered() == 0
		return r, usable, err
	}
	return reply{}, false, errors.New("too many interim answers")
}

// connect takes the connection that was used last, because the receiver has had the least time to give it up, or a new one.
func (h *http1) connect(ctx context.Context, deadline time.Time) (*connection, error) {
	for c := h.take(); c != nil; c = h.take() {
		idle := time.Since(c.since)
		if c.SetDeadline(deadline) == nil && (idle < idleTrusted || idle < idleMost && c.quiet()) {
			return c, nil
		}
		_ = c.Close()
	}
	c, err := h.open(ctx, deadline)
	if err != nil {
		return nil, err
	}
	c.forget = context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
	return c, c.SetDeadline(deadline)
}

func (h *http1) open(ctx context.Context, deadline time.Time) (*connection, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	port := h.url.Port()
	if port == "" {
		port = h.url.Scheme
	}
	conn, err := h.dial(ctx, "tcp", net.JoinHostPort(h.url.Hostname(), port))
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn}
	if s, ok := conn.(syscall.Conn); ok {
		c.socket, _ = s.SyscallConn()
	}
	if h.url.Scheme != "https" {
		return c, nil
	}
	config := h.tls()
	config.NextProtos = []string{"h2", "http/1.1"}
	if config.ServerName == "" {
		config.ServerName = h.url.Hostname()
	}
	secure := tls.Client(conn, config)
	if err = secure.HandshakeContext(ctx); err == nil && secure.ConnectionState().NegotiatedProtocol == "h2" {
		err = errHTTP2
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	c.Conn = secure
	return c, nil
}

func (h *http1) take() *connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = false
	last := len(h.idle) - 1
	if last < 0 {
		return nil
	}
	c := h.idle[last]
	h.idle[last] = nil
	h.idle = h.idle[:last]
	return c
}

// keep has a connection wait for the next request.
func (h *http1) keep(c *connection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		_ = c.Close()
		return
	}
	c.since = time.Now()
	h.idle = append(h.idle, c)
	if !h.reaping {
		h.reaping = true
		time.AfterFunc(idleMost, h.reap)
	}
}

// reap closes the connections that have been idle too long, and looks again as long as there are others.
func (h *http1) reap() {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := 0
	for old < len(h.idle) && time.Since(h.idle[old].since) >= idleMost {
		_ = h.idle[old].Close()
		old++
	}
	h.idle = append([]*connection(nil), h.idle[old:]...)
	if h.reaping = len(h.idle) > 0; h.reaping {
		time.AfterFunc(idleMost-time.Since(h.idle[0].since), h.reap)
	}
}

// closeIdle closes the connections that have no request, and each of the others when its answer is read.
func (h *http1) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	for _, c := range h.idle {
		_ = c.Close()
	}
	h.idle = nil
}

// Read refuses to read more than what is left for this answer.
func (c *connection) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("the answer's header is too long")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Close ends the connection.
func (c *connection) Close() error {
	if c.forget != nil {
		c.forget()
	}
	return c.Conn.Close()
}
