package deliver

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"
)

// exchanged is what came of one request on a connection.
type exchanged struct {
	reply
	// usable says that nothing can come on the connection but the next answer, as far as can be seen.
	usable bool
	// more says that more than the answer has come.
	more bool
}

// exchange sends the request, and reads its answer. A receiver may answer before it has read everything, and then read
// no more.
func (c *connection) exchange(b *buffers) (exchanged, error) {
	c.left = headMost + answerMost
	w := c.send(b.request)
	// While others have their turn the answer may come: then the first attempt to read it is the last.
	runtime.Gosched()

	resp, err := readAnswer(b)
	if err != nil {
		if unsent, cut := w.end(); unsent != nil && !cut {
			err = unsent
		}
		return exchanged{}, err
	}
	r, whole, err := readReply(resp)
	unsent, _ := w.end()

	final := whole && err == nil && resp.StatusCode >= http.StatusOK
	more := final && b.answer.Buffered() > 0
	return exchanged{reply: r, usable: final && !more && unsent == nil && !resp.Close, more: more}, err
}

// readAnswer reads the head of the answer, and passes over interim ones (RFC 9110, section 15.2).
func readAnswer(b *buffers) (*http.Response, error) {
	for range interimMost + 1 {
		resp, err := http.ReadResponse(b.answer, nil)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode < http.StatusContinue:
			return nil, errors.New("a status below 100")
		case resp.StatusCode >= http.StatusOK, resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
	}
	return nil, errors.New("too many interim answers")
}

// writing is a request that is sent, or being sent.
type writing struct {
	c    *connection
	done chan error // nil: it has ended, with err
	err  error
}

// send writes a short request at once, and a long one while its answer is read.
func (c *connection) send(request []byte) writing {
	w := writing{c: c}
	if len(request) <= sentAtOnce {
		_, w.err = c.Write(request)
		return w
	}
	w.done = make(chan error, 1)
	go func() {
		_, err := c.Write(request)
		w.done <- err
	}()
	return w
}

// end cuts what is still being sent. It returns the error of the request, and whether that was cut.
func (w *writing) end() (err error, cut bool) { //nolint:revive // an error and what it comes of
	if w.done == nil {
		return w.err, false
	}
	select {
	case err = <-w.done:
		return err, false
	default:
		_ = w.c.SetWriteDeadline(time.Unix(1, 0))
		return <-w.done, true
	}
}

// idleState is what checkIdle finds on a connection that has no request.
type idleState uint8

const (
	quiet    idleState = iota // nothing has come, at any layer
	stray                     // something that nobody asked for
	unusable                  // its end, or what only says that it will come; or it cannot be told
)

// checkIdle says what is on a connection that has no request: in its socket, in records of TLS that have not been
// opened, and in those that have. It does not wait.
func (c *connection) checkIdle() idleState {
	c.socket.looking = true
	n, err := c.Conn.Read(c.seen[:])
	c.socket.looking = false

	switch {
	case n > 0 && isGoodbye(string(c.seen[:n])):
		return unusable
	case n > 0:
		return stray
	case errors.Is(err, nothing{}) && (c.records == nil || !c.records.part()):
		return quiet
	}
	return unusable
}

// isGoodbye says whether what a receiver sends on an idle connection is a 408: some say so before they close it (RFC
// 9110, section 15.5.9). It is no second answer.
func isGoodbye(begin string) bool {
	return slices.ContainsFunc([]string{"HTTP/1.1 408", "HTTP/1.0 408"}, func(s string) bool {
		return strings.HasPrefix(begin, s)
	})
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
