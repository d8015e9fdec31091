package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

func TestTheHeadersOfAnAnswerThatFailedAreFewShortAndPrintable(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		header http.Header
		want   []string
	}{
		"none":   {header: http.Header{}, want: nil},
		"others": {header: http.Header{"Set-Cookie": {"hunter2"}, "X-Powered-By": {"x"}}, want: nil},
		"all": {header: http.Header{
			"Server": {"nginx"}, "Content-Type": {"text/html"}, "Retry-After": {"5"}, "X-Request-Id": {"r1", "r2"},
			"Www-Authenticate": {"Bearer"}, "Location": {"/new"},
		}, want: []string{"server: nginx", "content-type: text/html", "retry-after: 5", "x-request-id: r1",
			"www-authenticate: Bearer", "location: /new"}},
		"hostile": {header: http.Header{"Server": {"a\tb\x1b[31m\u202e\xff"}}, want: []string{"server: a?b?[31m??"}},
		"a location with secrets": {header: http.Header{"Location": {"https://h/x?token=hunter2#hunter2"}},
			want: []string{"location: https://h/x"}},
		"a location with a password": {header: http.Header{"Location": {"https://u:hunter2@h/"}},
			want: []string{"location: (an address with a password, or none)"}},
	} {
		got := toldHeaders(&http.Response{Header: x.header})
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
	}

	long := http.Header{}
	for _, name := range []string{"Server", "Content-Type", "Location"} {
		long.Set(name, strings.Repeat("x", 200))
	}
	if got := strings.Join(toldHeaders(&http.Response{Header: long}), ""); len(got) != toldMost {
		t.Errorf("%d bytes", len(got))
	}
}

// The history counts as the breaker does.
func TestWhatAnAttemptSaysOfItsEndpointIsTheSameInTheHistory(t *testing.T) {
	t.Parallel()
	attempts := []event.Attempt{}
	for status := -1; status <= 1100; status++ {
		attempts = append(attempts, event.Attempt{Status: status})
	}
	for _, class := range event.Classes() {
		attempts = append(attempts, event.Attempt{Err: class + ": why"})
	}
	for _, a := range attempts {
		r := event.AttemptRecord{Status: a.Status, Class: event.ClassOf(a.Err)}
		if got := signalOf(a); (got == queue.Fails) != r.Fails() {
			t.Errorf("%s: signal %d, and in the history it fails: %v", fmt.Sprint(a.Status, a.Err), got, r.Fails())
		}
	}
}

// The class of an attempt is read from its error, so every error begins with one.
func TestEveryErrorOfAnAttemptHasAClass(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		context.DeadlineExceeded, protocolError("x"), &net.DNSError{}, syscall.ECONNREFUSED, syscall.ECONNRESET, io.EOF,
		tls.AlertError(0), &net.OpError{Err: errors.New("x")}, errors.New("x"), &refusedAddress{},
	} {
		if got := describeError(err); event.ClassOf(got) == "" {
			t.Errorf("%T: %q", err, got)
		}
	}
}
