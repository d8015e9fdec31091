//go:build !linux

package main

import "syscall"

// attributes: only Linux can tie a child to its parent; only Linux has the /proc that this program reads.
func attributes() *syscall.SysProcAttr { return nil }
