package deliver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"kuairelay/relay/event"
)

// PlainError says in plain words why a request got no answer, or why a port cannot be listened at: without the URL, and
// without the addresses of the resolver, of the proxy and of this host, which are only for the operator.
func PlainError(err error) string {
	var of *url.Error
	var refused *refusedAddress
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var op *net.OpError

	switch {
	case errors.As(err, &refused):
		return event.ClassForbidden + ": " + refused.Error() + " (" + refused.advice() + ")"
	case errors.As(err, &dns) && dns.Err == "unknown port": // Go looks up names of ports, too
		return dns.Name + ": unknown port"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "lookup " + dns.Name + ": no such host"
	case errors.As(err, &dns):
		return "lookup " + dns.Name + ": the resolver failed"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "what answers there does not speak TLS"
	case errors.As(err, &op):
		return plainOp(op)
	case errors.As(err, &of):
		return of.Err.Error()
	}
	return err.Error()
}

// plainOp is PlainError for an error of a connection.
func plainOp(op *net.OpError) string {
	cause := causeOf(op).Error()
	switch {
	case op.Op == "proxyconnect":
		return "the proxy (egress.proxy): " + cause
	case op.Op == "dial" && errors.Is(op.Err, syscall.ECONNREFUSED) && op.Addr != nil:
		return fmt.Sprintf("nothing listens at %s (%s)", op.Addr, cause)
	case op.Op == "dial":
		return "cannot connect" + place(" to ", op) + ": " + cause
	case op.Op == "listen" && errors.Is(op.Err, syscall.EADDRINUSE) && op.Addr != nil:
		return fmt.Sprintf("another program listens at %s (%s)", op.Addr, cause)
	case op.Op == "listen":
		return "cannot listen" + place(" at ", op) + ": " + cause
	case op.Op == "read" || op.Op == "write":
		return "the connection" + place(" to ", op) + " broke: " + cause
	}
	return op.Op + ": " + cause // an alert of TLS
}

// place names the address of an error, if it has one.
func place(before string, op *net.OpError) string {
	if op.Addr == nil {
		return ""
	}
	return before + op.Addr.String()
}

// causeOf is the innermost error, without the names of operations and system calls.
func causeOf(op *net.OpError) error {
	cause := op.Err
	for in, ok := errors.AsType[*net.OpError](cause); ok; in, ok = errors.AsType[*net.OpError](cause) {
		cause = in.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](cause); ok {
		return call.Err
	}
	return cause
}

// plainError is an error of a request that reads as PlainError does.
type plainError struct{ error }

// Error is the plain text.
func (p plainError) Error() string { return PlainError(p.error) }

// Unwrap gives the error as it was.
func (p plainError) Unwrap() error { return p.error }

// Timeout says whether the answer did not come in time: net/http asks for it.
func (p plainError) Timeout() bool {
	timeout, ok := errors.AsType[net.Error](p.error)
	return ok && timeout.Timeout()
}
