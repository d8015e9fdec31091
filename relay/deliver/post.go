package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/signature"
)

// answerMost is how much of an answer is read and kept.
const answerMost = 1 << 10

// The headers of ours beside those of Standard Webhooks.
const (
	HeaderSequence = "kuairelay-sequence"
	HeaderReason   = "kuairelay-reason"
)

// client posts to one endpoint.
type client struct {
	endpoint  Endpoint
	url       *url.URL
	userAgent string
	egress    Egress
	guard     *guard

	mu        sync.Mutex
	transport *http.Transport // nil until the first attempt: of a great many endpoints, most may never have one
}

func newClient(e Endpoint, egress Egress, userAgent string) (*client, error) {
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" {
		return nil, errors.New("url: it is not an absolute URL")
	}
	if len(e.Keys) == 0 {
		return nil, errors.New("it has no secret to sign with")
	}
	g := newGuard(egress, e.AllowCIDRs)
	if e.Headers == nil {
		e.Headers = make(http.Header)
	}
	return &client{endpoint: e, url: u, userAgent: userAgent, egress: egress, guard: g}, nil
}

func (c *client) connections() *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport == nil {
		c.transport = c.endpoint.transport(c.egress, c.guard)
	}
	return c.transport
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

// post makes one attempt. Redirects are not followed: the transport knows none.
func (c *client) post(ctx context.Context, d *event.Delivery, now time.Time) event.Attempt {
	var a event.Attempt
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.endpoint.Timeout)
	defer cancel()
	resp, err := c.send(ctx, c.request(ctx, d, now))
	if err == nil {
		a.Answer, err = io.ReadAll(io.LimitReader(resp.Body, answerMost))
		// Of a longer answer no more is read, and the connection is given up with it.
		_ = resp.Body.Close()
	}
	a.Duration = time.Since(started)
	if err != nil {
		a.Err = describeError(err)
		return a
	}
	a.Status = resp.StatusCode
	a.RetryAfter = ParseRetryAfter(resp.Header.Get("Retry-After"), now)
	return a
}

func (c *client) send(ctx context.Context, r *http.Request) (*http.Response, error) {
	if c.egress.Proxy != nil {
		if err := c.guard.checkHost(ctx, c.url.Hostname()); err != nil {
			return nil, err
		}
	}
	return c.connections().RoundTrip(r)
}

// request signs exactly the bytes that it sends. Of the callback that brought the event it has no header.
func (c *client) request(ctx context.Context, d *event.Delivery, now time.Time) *http.Request {
	body := Body(c.endpoint.Format, d.Event)
	header := c.endpoint.Headers.Clone()
	header["Content-Type"] = []string{"application/json"}
	header["User-Agent"] = []string{c.userAgent}
	header["Webhook-Id"] = []string{d.Event.ID}
	header["Webhook-Timestamp"] = []string{strconv.FormatInt(now.Unix(), 10)}
	header["Webhook-Signature"] = []string{signature.Sign(c.keys(now), d.Event.ID, now, body)}
	header["Kuairelay-Sequence"] = []string{strconv.FormatInt(d.Event.Sequence, 10)}
	header["Kuairelay-Reason"] = []string{string(d.Reason)}
	r := &http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        header,
		ContentLength: int64(len(body)),
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	return r.WithContext(ctx)
}

// keys are those that still sign.
func (c *client) keys(now time.Time) []signature.Key {
	keys := make([]signature.Key, 0, len(c.endpoint.Keys))
	for _, k := range c.endpoint.Keys {
		if k.Until.IsZero() || now.Before(k.Until) {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// describeError puts the class of a network error before its text.
func describeError(err error) string {
	class := ""
	var dns *net.DNSError
	var timeout net.Error
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var refused *refusedAddress
	switch {
	case errors.As(err, &refused):
		return ClassForbidden + ": " + refused.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout: no whole answer in time"
	case errors.As(err, &dns):
		class = "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		class = "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		class = "reset"
	case errors.As(err, &alert), errors.As(err, &record), errors.As(err, &verify), errors.As(err, &authority):
		class = "tls"
	}
	if class == "" {
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			// net/http quotes an answer that it cannot read, and the answer may quote the event.
			return "protocol: the answer is not valid HTTP"
		}
		class = "network"
	}
	return fmt.Sprintf("%s: %.200s", class, err)
}
