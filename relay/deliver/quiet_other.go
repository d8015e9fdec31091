//go:build !unix

package deliver

// quiet cannot be told here: an attempt on a connection that has ended fails, and is made again.
func (c *connection) quiet() bool { return true }
