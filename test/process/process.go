// Package process runs programs for the benchmark and the faults program: each is ended by its id, and by the kernel
// when the program that started it ends, however that happened. It finds ports for them, and for the crash tests.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one that this program started. It is ended by its id, and by the kernel if this program ends first.
type Process struct {
	// Stdout is what the program prints; its stderr goes to the file given.
	Stdout *bufio.Reader

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has been reaped, and err is there
	err   error
}

// Start runs a program. When ctx ends it is killed.
func Start(ctx context.Context, stderr *os.File, path string, args ...string) (*Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	p := &Process{cmd: exec.CommandContext(ctx, path, args...), Stdout: bufio.NewReader(r), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = w, stderr, attributes()
	started := make(chan error)
	go func() {
		// The kernel kills the child when the thread that forked it ends, not the process: hold on to that thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.ended)
		}
	}()
	err = <-started
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	return p, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process at once, and returns when it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Terminate ends the process in good order (SIGTERM). One that will not go within 10 seconds is killed.
func (p *Process) Terminate() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Signal sends a signal, and is an error if the process is gone.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait returns when the process is gone: nil if it ended with exit code 0.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// CPUOf returns the CPU seconds that a process has used, with those of its children that have ended (the rewrites of
// Redis' append-only file): fields 14 to 17 of /proc/PID/stat, in hundredths of a second.
func CPUOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before it may hold blanks
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, fmt.Errorf("read CPU time: /proc/%d/stat has %d fields", pid, len(fields))
	}
	ticks := 0
	for _, f := range fields[11:15] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ticks += n
	}
	return float64(ticks) / 100, nil
}

// MemoryOf returns the resident memory of a process, and the most that it ever was, in bytes.
func MemoryOf(pid int) (now, peak float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch name {
		case "VmRSS":
			now = kib * 1024
		case "VmHWM":
			peak = kib * 1024
		}
	}
	return now, peak, nil
}

// given are the ports that FreePort has handed out to this program.
var given sync.Map

// FreePort finds a port of the loopback address on which nothing listens, between 22000 and 31999, which is below those
// that systems give to outgoing connections. No two calls of one program get the same.
func FreePort(ctx context.Context) (int, error) {
	for range 1000 {
		port := 22000 + rand.IntN(10000)
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if err = l.Close(); err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		if _, had := given.LoadOrStore(port, true); !had {
			return port, nil
		}
	}
	return 0, errors.New("find a free port from 22000 to 31999: all taken")
}
