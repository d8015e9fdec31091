//go:build unix && !linux

package redisserver

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }

func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(pid, sig) }
