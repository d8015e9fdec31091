//go:build unix

package deliver

import (
	"io"
	"syscall"
)

// readNow reads what has come, without waiting for more.
func (s *socket) readNow(p []byte) (n int, err error) {
	if s.raw == nil {
		return 0, errCannotLook
	}
	failed := s.raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), p)
		return true
	})

	switch {
	case failed != nil:
		return 0, failed
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return 0, nothing{}
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
