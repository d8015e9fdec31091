package deliver

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"
)

// socket is the lowest layer of a connection. While looking is set, a read does not wait: it takes what has come, or
// fails with nothing. So a read through all layers, TLS too, shows whether something waits at any of them.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil if it has none
	looking bool
}

func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if has, ok := conn.(syscall.Conn); ok {
		s.raw, _ = has.SyscallConn()
	}
	return s
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if s.looking {
		return s.readNow(p)
	}
	return s.Conn.Read(p)
}

// errCannotLook is the error of a connection that cannot be read without waiting: it gets only one request.
var errCannotLook = errors.New("the connection cannot be looked at")

// nothing is the error of a read that found nothing. It is a temporary net.Error, because crypto/tls goes on after such
// an error as if there had been no read.
type nothing struct{}

func (nothing) Error() string { return "nothing has come" }

// Timeout implements net.Error.
func (nothing) Timeout() bool { return true }

// Temporary implements net.Error.
func (nothing) Temporary() bool { return true }

// records stands between TLS and its connection, and follows the records that are read (RFC 8446, section 5.1).
// crypto/tls reads as much as there is, and does not tell whether it has read a part of a record.
type records struct {
	net.Conn
	header [5]byte
	have   int // bytes of the header
	left   int // bytes of the record that are still to come
}

// Read implements net.Conn.
func (r *records) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.follow(p[:n])
	return n, err
}

func (r *records) follow(b []byte) {
	for len(b) > 0 {
		if r.left > 0 {
			n := min(r.left, len(b))
			r.left -= n
			b = b[n:]
			continue
		}
		n := copy(r.header[r.have:], b)
		r.have += n
		b = b[n:]
		if r.have == len(r.header) {
			r.left = int(binary.BigEndian.Uint16(r.header[3:]))
			r.have = 0
		}
	}
}

// part says that a part of a record has come, and the rest has not.
func (r *records) part() bool { return r.have > 0 || r.left > 0 }
