package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one that this program started. It is ended by its id, and by the kernel if this program ends first.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	ended  chan struct{} // closed when the process has been reaped, and err is there
	err    error
}

// startProcess runs a program. When ctx ends it is killed.
func startProcess(ctx context.Context, stderr *os.File, path string, args ...string) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	p := &process{cmd: exec.CommandContext(ctx, path, args...), stdout: bufio.NewReader(r), ended: make(chan struct{})}
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

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process at once, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// terminate ends the process in good order (SIGTERM). One that will not go within 10 seconds is killed.
func (p *process) terminate() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// startPart runs one of the parts of this program as a process of its own.
func startPart(ctx context.Context, part string, options any) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	text, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", part, err)
	}
	return startProcess(ctx, os.Stderr, self, part, string(text))
}

// startServer runs a part that serves, and returns its base URL, which is the first line that it prints.
func startServer(ctx context.Context, part string, options any) (*process, string, error) {
	p, err := startPart(ctx, part, options)
	if err != nil {
		return nil, "", err
	}
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.kill()
		return nil, "", fmt.Errorf("%s ended at once: %w", part, p.err)
	}
	return p, strings.TrimSpace(line), nil
}

// call runs a part that ends by itself, and reads the JSON that it prints.
func call(ctx context.Context, part string, options, result any) error {
	p, err := startPart(ctx, part, options)
	if err != nil {
		return err
	}
	err = json.NewDecoder(p.stdout).Decode(result)
	<-p.ended
	if p.err != nil {
		return fmt.Errorf("%s: %w", part, p.err)
	}
	if err != nil {
		return fmt.Errorf("%s: read its result: %w", part, err)
	}
	return nil
}

// cpuOf returns the CPU seconds that a process has used, with those of its children that have ended (the rewrites of
// Redis' append-only file): fields 14 to 17 of /proc/PID/stat, in hundredths of a second.
func cpuOf(pid int) (float64, error) {
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

// memoryOf returns the resident memory of a process, and the most that it ever was, in bytes.
func memoryOf(pid int) (now, peak float64, err error) {
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

// freePort finds a port on which nothing listens, this one or above, but below those that the system gives to outgoing connections.
func freePort(ctx context.Context, from int) (int, error) {
	for port := from; port < 32000; port++ {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("find a free port below 32000: all taken")
}
