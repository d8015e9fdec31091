package deliver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/signature"
)

// answerMost is how much of an answer is read and kept.
const answerMost = 1 << 10

// The relay's own headers, in addition to those of Standard Webhooks.
const (
	HeaderSequence = "kuairelay-sequence"
	HeaderReason   = "kuairelay-reason"
)

// client posts to one endpoint.
type client struct {
	given    *Endpoint
	endpoint Endpoint // with its defaults
	url      *url.URL
	header   http.Header // that is the same in every request
	head     []byte      // the same, as it is written
	egress   Egress
	guard    *guard

	direct bool // there is no proxy
	http1  *http1
	other  atomic.Pointer[http.Transport] // instead of http1: for a receiver that has chosen HTTP/2, or behind a proxy
}

func newClient(given *Endpoint, egress Egress, userAgent string) (*client, error) {
	e := *given
	e.Timeout = cmp.Or(e.Timeout, 15*time.Second)
	e.MaxInFlight = cmp.Or(e.MaxInFlight, 32)
	e.Format = cmp.Or(e.Format, FormatStandard)
	if !slices.Contains(Formats(), e.Format) {
		return nil, fmt.Errorf("there is no format %q", e.Format)
	}
	u, err := readTarget(e.URL)
	if err != nil {
		return nil, err
	}
	if len(e.Keys) == 0 {
		return nil, errors.New("it has no secret to sign with")
	}

	g := newGuard(egress, e.AllowCIDRs)
	c := &client{given: given, endpoint: e, url: u, egress: egress, guard: g, header: make(http.Header)}
	maps.Copy(c.header, e.Headers)
	c.header.Set("Content-Type", "application/json")
	c.header.Set("User-Agent", userAgent)
	for _, name := range ownHeader {
		c.header.Del(name)
	}

	// The head of an HTTP/1.1 request is written once. The headers that change are appended for each request.
	c.head = append(c.head, "POST "+u.RequestURI()+" HTTP/1.1\r\nHost: "+u.Host+"\r\n"...)
	for _, name := range slices.Sorted(maps.Keys(c.header)) {
		for _, value := range c.header[name] {
			c.head = appendField(c.head, name, value)
		}
	}

	c.direct = egress.Proxy == nil
	c.http1 = &http1{
		url:     u,
		dial:    c.endpoint.dialer(egress, g),
		tls:     c.endpoint.tls,
		trust:   &trust{},
		maxIdle: max(2*e.MaxInFlight, idleAtLeast),
	}
	return c, nil
}

func (c *client) close() {
	c.http1.closeIdle()
	if t := c.other.Load(); t != nil {
		t.CloseIdleConnections()
	}
}

// post makes one attempt. The context ends it. Redirects are not followed.
func (c *client) post(ctx context.Context, d *event.Delivery, now time.Time) event.Attempt {
	started := time.Now()
	m := c.message(d, now)
	r, err := c.send(ctx, m)
	a := event.Attempt{Duration: time.Since(started), Traceparent: m.traceparent()}
	if err != nil {
		a.Err = describeError(err)
		return a
	}
	a.Status, a.Answer, a.Headers = r.status, r.answer, r.headers
	a.RetryAfter = parseRetryAfter(r.retryAfter, now)
	return a
}

// send posts by HTTP/1.1 or HTTP/2, directly or through the proxy, as URL, receiver and config say.
func (c *client) send(ctx context.Context, m *message) (reply, error) {
	deadline := time.Now().Add(c.endpoint.Timeout)
	if c.direct && c.other.Load() == nil {
		r, err := c.http1.post(ctx, deadline, m)
		if !errors.Is(err, errHTTP2) {
			return r, err
		}
	}

	// The receiver has chosen HTTP/2, or there is a proxy: the standard client does that.
	bounded, cancel := context.WithDeadline(withDials(ctx), deadline)
	defer cancel()
	if c.egress.Proxy != nil {
		if err := c.guard.checkHost(bounded, c.url.Hostname()); err != nil {
			return reply{}, err
		}
	}
	if c.other.Load() == nil {
		c.other.CompareAndSwap(nil, c.transport())
	}
	t := c.other.Load()
	if t == nil { // the receiver has given HTTP/2 up just now
		return c.http1.post(ctx, deadline, m)
	}

	resp, err := t.RoundTrip(m.request(bounded))
	if errors.Is(err, errHTTP1) {
		c.other.CompareAndSwap(t, nil)
		return c.http1.post(ctx, deadline, m)
	}
	if err != nil {
		return reply{}, err
	}

	r, _, err := readReply(resp)
	// The rest of a longer answer is not read, and the connection is closed.
	_ = resp.Body.Close()
	return r, err
}

// message is what is sent to a receiver. It has no header of the callback that brought the event.
type message struct {
	client *client
	own    [len(ownHeader)]string
	body   []byte
}

// ownHeader names the headers that differ from message to message.
var ownHeader = [...]string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Kuairelay-Sequence",
	"Kuairelay-Reason", event.TraceHeader}

// message signs exactly the bytes that are sent.
func (c *client) message(d *event.Delivery, now time.Time) *message {
	body := Body(c.endpoint.Format, d.Event)
	return &message{client: c, body: body, own: [...]string{
		d.Event.ID, strconv.FormatInt(now.Unix(), 10), signature.Sign(c.keys(now), d.Event.ID, now, body),
		strconv.FormatInt(d.Event.Sequence, 10), string(d.Reason), d.Event.Traceparent(rand.Uint64N(math.MaxUint64) + 1),
	}}
}

// traceparent is the header of that name.
func (m *message) traceparent() string { return m.own[len(ownHeader)-1] }

// request is the message as net/http takes it.
func (m *message) request(ctx context.Context) *http.Request {
	c, header := m.client, m.client.header.Clone()
	for i, value := range m.own {
		header[ownHeader[i]] = []string{value}
	}
	r := &http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        header,
		ContentLength: int64(len(m.body)),
		Body:          io.NopCloser(bytes.NewReader(m.body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.body)), nil },
	}
	return r.WithContext(ctx)
}

// appendTo writes the message as HTTP/1.1 to the end of a buffer.
func (m *message) appendTo(b []byte) []byte {
	b = append(b, m.client.head...)
	for i, value := range m.own {
		b = appendField(b, ownHeader[i], value)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(m.body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, m.body...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// reply is what the pool needs of an answer.
type reply struct {
	status     int
	retryAfter string
	answer     []byte   // its beginning
	headers    []string // some of an answer other than 2xx, see toldHeaders
}

// readReply reads as much of an answer as is kept, and says whether that was all.
func readReply(resp *http.Response) (r reply, whole bool, err error) {
	r = reply{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After")}
	if r.status/100 != 2 {
		r.headers = toldHeaders(resp)
	}
	if resp.ContentLength == 0 {
		return r.withLocation(resp), true, nil
	}
	r.answer, err = io.ReadAll(io.LimitReader(resp.Body, answerMost+1))
	whole = len(r.answer) <= answerMost
	r.answer = r.answer[:min(len(r.answer), answerMost)]
	return r.withLocation(resp), whole, err
}

// locationMost is how much of a Location is shown.
const locationMost = 300

// withLocation puts the target of a redirect before the answer; redirects are not followed. It leaves out the query,
// which may hold a secret.
func (r reply) withLocation(resp *http.Response) reply {
	to := shownLocation(resp)
	if r.status/100 != 3 || to == "" {
		return r
	}
	to = strings.ToValidUTF8(to[:min(len(to), locationMost)], "")
	answer := append([]byte("redirects to "+to+"\n"), r.answer...)
	r.answer = answer[:min(len(answer), answerMost)]
	return r
}

// shownLocation returns the Location of an answer without its query, which may hold a secret; empty: it has none.
func shownLocation(resp *http.Response) string {
	to := resp.Header.Get("Location")
	to, _, _ = strings.Cut(to, "#")
	to, _, _ = strings.Cut(to, "?")
	if u, err := url.Parse(to); err != nil || u.User != nil {
		return "(an address with a password, or none)"
	}
	return to
}

// toldMost bounds the headers of an answer that are kept, in bytes.
const toldMost = 256

// toldHeaders returns those headers of an answer that help to find out why it failed, as event.Attempt has them. The
// ones that may be long come last, and are cut.
func toldHeaders(resp *http.Response) (told []string) {
	left := toldMost
	for _, name := range []string{
		"Server", "Content-Type", "Retry-After", "X-Request-Id", "Www-Authenticate", "Location",
	} {
		value := resp.Header.Get(name)
		if name == "Location" {
			value = shownLocation(resp)
		}
		name = strings.ToLower(name) + ": "
		if value == "" || len(name) >= left {
			continue
		}

		printable := func(r rune) rune {
			if r < ' ' || r > '~' {
				return '?'
			}
			return r
		}
		field := name + strings.Map(printable, value[:min(len(value), left-len(name))])
		left -= len(field)
		told = append(told, field)
	}
	return told
}

// keys returns the keys that still sign.
func (c *client) keys(now time.Time) []signature.Key {
	keys := make([]signature.Key, 0, len(c.endpoint.Keys))
	for _, k := range c.endpoint.Keys {
		if k.Until.IsZero() || now.Before(k.Until) {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// describeError puts the class (see event.Classes) of a network error before its text.
func describeError(err error) string {
	class := ""
	var dns *net.DNSError
	var timeout net.Error
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var refused *refusedAddress
	var protocol protocolError

	switch {
	case errors.As(err, &refused):
		return PlainError(err)
	case errors.As(err, &protocol):
		return "protocol: " + protocol.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout: no whole answer in time"
	case errors.As(err, &dns):
		class = event.ClassDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		class = event.ClassRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF):
		class = event.ClassReset
	case errors.As(err, &alert), errors.As(err, &record), errors.As(err, &verify), errors.As(err, &authority):
		class = event.ClassTLS
	}

	if class == "" {
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			// net/http quotes an answer that it cannot read, and the answer may quote the event.
			return "protocol: the answer is not valid HTTP"
		}
		class = event.ClassNetwork
	}
	return fmt.Sprintf("%s: %.200s", class, strings.TrimPrefix(PlainError(err), class+": "))
}
