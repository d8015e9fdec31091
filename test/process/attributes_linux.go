package process

import "syscall"

// attributes put a child in a process group of its own, so that a Ctrl-C is ours alone to handle, and end it when this
// program ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
