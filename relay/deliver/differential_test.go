package deliver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is a connection on which a request gets the bytes given as its answer, and then the end.
type script struct {
	net.Conn // nil: what is not here is not used
	asked    chan struct{}
	once     sync.Once
	closed   chan struct{}
	ended    sync.Once
	answer   io.Reader
}

func newScript(answer string) *script {
	return &script{asked: make(chan struct{}), closed: make(chan struct{}), answer: strings.NewReader(answer)}
}

func (s *script) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.asked) })
	return len(p), nil
}

func (s *script) Read(p []byte) (int, error) {
	select {
	case <-s.asked:
		return s.answer.Read(p)
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

func (s *script) Close() error {
	s.ended.Do(func() { close(s.closed) })
	return nil
}

func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// readings are what http1 and net/http make of an answer: its status, Retry-After and body, or that it is none.
func readings(t testing.TB, answer string) (ours, theirs string) {
	t.Helper()
	show := func(r reply, err error) string {
		if err != nil {
			return "no answer"
		}
		return fmt.Sprintf("%d %q %q", r.status, r.retryAfter, r.answer)
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return newScript(answer), nil }
	c := poster(t, "http://receiver.example/", Egress{Dial: dial})
	defer c.close()
	m := c.message(newDelivery(time.Minute), time.Now())
	ours = show(c.http1.post(t.Context(), time.Now().Add(time.Minute), m))

	transport := &http.Transport{DialContext: dial, DisableCompression: true, DisableKeepAlives: true,
		MaxResponseHeaderBytes: headMost}
	resp, err := transport.RoundTrip(m.request(t.Context()))
	if err != nil {
		return ours, show(reply{}, err)
	}
	r, _, err := readReply(resp)
	_ = resp.Body.Close()
	return ours, show(r, err)
}

// mayDiffer says why http1 and net/http may read an answer differently; "" if they must not.
func mayDiffer(answer, ours, theirs string) string {
	switch {
	case strings.HasPrefix(theirs, "0 "), len(theirs) > 2 && theirs[1] == ' ', len(theirs) > 3 && theirs[2] == ' ':
		return "a status below 100 is none to us (RFC 9110, section 15)"
	case strings.HasPrefix(theirs, "101 ") && strings.HasPrefix(ours, "101 "):
		return "what follows a change of the protocol is no body"
	case ours == "no answer" && len(answer) > headMost/2:
		return "we read no more than 64 KiB of all heads of an answer together"
	case ours == "no answer" && strings.Count(answer, "HTTP/1.") > interimMost:
		return "we take no more than 5 interim answers"
	}
	return ""
}

func TestAnswersAreReadAsNetHTTPReadsThem(t *testing.T) {
	t.Parallel()
	reasons := map[string]int{}
	for name, answer := range oddAnswers() {
		ours, theirs := readings(t, answer)
		if ours == theirs {
			continue
		}
		why := mayDiffer(answer, ours, theirs)
		if why == "" {
			t.Errorf("%s: %s, by net/http %s", name, ours, theirs)
		}
		reasons[why]++
	}
	t.Log(reasons)
}

func FuzzAnswersAreReadAsNetHTTPReadsThem(f *testing.F) {
	for _, answer := range oddAnswers() {
		if len(answer) < 10<<10 {
			f.Add(answer)
		}
	}
	f.Fuzz(func(t *testing.T, answer string) {
		ours, theirs := readings(t, answer)
		if ours != theirs && mayDiffer(answer, ours, theirs) == "" {
			t.Errorf("%s, by net/http %s", ours, theirs)
		}
	})
}
