//go:build !linux

package process

import "syscall"

// attributes: only Linux can tie a child to its parent; only Linux has the /proc that this package reads.
func attributes() *syscall.SysProcAttr { return nil }
