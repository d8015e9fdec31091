package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestErrorsOfConnectionsAreSaidInPlainWords(t *testing.T) {
	t.Parallel()
	at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}
	op := func(name string, number syscall.Errno) error {
		return &net.OpError{Op: name, Net: "tcp", Source: &net.TCPAddr{Port: 9}, Addr: at,
			Err: os.NewSyscallError("connect", number)}
	}
	for err, want := range map[error]string{
		op("dial", syscall.ECONNREFUSED): "nothing listens at 10.0.0.1:80 (connection refused)",
		op("dial", syscall.EHOSTUNREACH): "cannot connect to 10.0.0.1:80: no route to host",
		op("read", syscall.ECONNRESET):   "the connection to 10.0.0.1:80 broke: connection reset by peer",
		op("write", syscall.EPIPE):       "the connection to 10.0.0.1:80 broke: broken pipe",
		op("listen", syscall.EADDRINUSE): "another program listens at 10.0.0.1:80 (address already in use)",
		op("listen", syscall.EACCES):     "cannot listen at 10.0.0.1:80: permission denied",
		&net.OpError{Op: "dial", Err: &net.AddrError{Err: "invalid port", Addr: "99999"}}: "cannot connect: " +
			"address 99999: invalid port",
		&net.OpError{Op: "listen", Err: &net.DNSError{Err: "unknown port", Name: "tcp/xx", IsNotFound: true}}: "tcp/xx: " +
			"unknown port",
		&net.OpError{Op: "remote error", Err: tls.AlertError(40)}: "remote error: tls: handshake failure",
		&url.Error{Op: "Post", URL: "https://h/TOKEN", Err: tls.RecordHeaderError{}}: "what answers there does not speak " +
			"TLS",
		&url.Error{Op: "Post", URL: "https://h/TOKEN", Err: http.ErrSchemeMismatch}: "what answers there does not speak TLS",
		&url.Error{Op: "Post", URL: "https://h/TOKEN", Err: errors.New("broken")}:   "broken",
	} {
		if got := PlainError(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAClientSaysInPlainWordsWhatIsWrongAndWhichKeysAllowAnAddress(t *testing.T) {
	t.Parallel()
	const lists = "egress.allow_cidrs, nor in egress.tenant_cidrs"
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	own := loopback.AllowCIDRs
	proxy := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	for _, x := range []struct {
		address string
		egress  Egress
		allow   []netip.Prefix
		want    string
	}{
		{"http://127.0.0.1:1/TOKEN", Egress{}, own, "nothing listens at 127.0.0.1:1 (connection refused)"},
		{"http://127.0.0.1:1/TOKEN", Egress{}, nil, "forbidden: loopback address 127.0.0.1 (not in " + lists + ")"},
		{"http://127.0.0.1:1/TOKEN", Egress{Proxy: proxy}, nil, "forbidden: loopback address 127.0.0.1 (not in " + lists +
			")"},
		{"http://169.254.169.254/TOKEN", Egress{}, own, "forbidden: metadata address 169.254.169.254 (never allowed)"},
		{strings.Replace(slow.URL, "http:", "https:", 1) + "/TOKEN", Egress{}, own, "what answers there does not speak TLS"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, x.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := NewClient(x.egress, x.allow, lists).Do(request)
		if err == nil {
			_ = answer.Body.Close()
			t.Errorf("%s: %s", x.address, answer.Status)
			continue
		}
		if of, ok := errors.AsType[*url.Error](err); !ok || of.Err.Error() != x.want || of.Timeout() {
			t.Errorf("%s: %v, want %s", x.address, err, x.want)
		}
	}

	// An answer that is late is still told apart.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, slow.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := NewClient(Egress{}, own, lists).Do(request)
	if err == nil {
		_ = answer.Body.Close()
	}
	if of, ok := errors.AsType[*url.Error](err); !ok || !of.Timeout() {
		t.Errorf("an answer that is late: %v", err)
	}
}
