package deliver

import (
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"
)

// exchangeResult is the result of one request on a connection.
type exchangeResult struct {
	reply
	// usable says that, as far as can be seen, only the next answer can come on the connection.
	usable bool
	// more says that bytes came behind the answer.
	more bool
}

// exchange sends the request, and reads its answer. A receiver may answer before it has read the whole request, and
// then read no further.
func (c *connection) exchange(b *buffers) (exchangeResult, error) {
	c.left = headMost + answerMost
	w := c.send(b.request)
	// Other goroutines run first: the answer may come meanwhile, and is then read at the first try.
	runtime.Gosched()

	resp, err := readAnswer(b)
	if err != nil {
		if unsent, cut := w.end(); unsent != nil && !cut {
			err = unsent
		}
		return exchangeResult{}, err
	}
	r, whole, err := readReply(resp)
	unsent, _ := w.end()

	final := whole && err == nil && resp.StatusCode >= http.StatusOK
	more := final && b.answer.Buffered() > 0
	return exchangeResult{reply: r, usable: final && !more && unsent == nil && !resp.Close, more: more}, err
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

// sentRequest is a request that is sent, or being sent.
type sentRequest struct {
	c    *connection
	done chan error // nil: it has ended, with err
	err  error
}

// send writes a short request at once, and a long one while the answer is read.
func (c *connection) send(request []byte) sentRequest {
	w := sentRequest{c: c}
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

// end stops what is still being sent. It returns the error of the request, and whether the request was cut.
func (w *sentRequest) end() (err error, cut bool) { //nolint:revive // an error and what it comes of
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
	stray                     // something came that no request asked for
	unusable                  // it has ended, or is about to end; or that cannot be told
)

// checkIdle says what is on a connection that has no request: in its socket, in TLS records that have not been opened,
// and in those that have. It does not wait.
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

// isGoodbye says whether the bytes that came on an idle connection are a 408. Some receivers send one before they close
// the connection (RFC 9110, section 15.5.9). It is not a second answer.
func isGoodbye(begin string) bool {
	return slices.ContainsFunc([]string{"HTTP/1.1 408", "HTTP/1.0 408"}, func(s string) bool {
		return strings.HasPrefix(begin, s)
	})
}

// Read reads at most what is left for this answer.
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
