//go:build unix

package deliver

import "syscall"

// quiet says that nothing came on an idle connection: neither its end, nor an answer that nobody asked for.
func (c *connection) quiet() bool {
	if c.socket == nil {
		return true
	}
	quiet := false
	err := c.socket.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		quiet = err == syscall.EAGAIN
		return true
	})
	return err == nil && quiet
}
