// Package terminal runs commands as a reader of the documentation types them: one after the other in one bash, where
// the system allows it with a network and processes of its own, so that the ports of the documentation are free and
// nothing is left behind.
package terminal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a command may take; it only bounds what hangs.
const patience = 2 * time.Minute

// ports are those of the documentation. They have to be free where a terminal cannot have a network of its own.
var ports = []string{"8080", "8081", "9000"}

// shared is held by a terminal that has the machine's network: there can be one of these at a time.
var shared sync.Mutex

// Terminal is a bash. Its methods are for the goroutine of its test.
type Terminal struct {
	// OwnProcesses says that the processes of the terminal see only each other: pkill is then safe.
	OwnProcesses bool

	t     testing.TB
	in    io.WriteCloser
	lines <-chan string // what the shell itself prints; closed when it has ended
	dir   string        // of scripts and outputs
	count int
}

// Open starts a terminal in the folder dir. It ends with the test, and everything that was started in it as well. The
// environment is that of the test without the variables of a relay or a tenant, and with env.
func Open(t testing.TB, dir string, env ...string) *Terminal {
	t.Helper()
	x := &Terminal{t: t, dir: t.TempDir()}
	shell := x.alone()
	cmd := exec.Command(shell[0], shell[1:]...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "KUAI") && !strings.HasPrefix(name, "SHOP_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	x.in, x.lines = in, lines
	t.Cleanup(func() { x.end(cmd) })

	fmt.Fprintln(in, "ip link set lo up 2>/dev/null")
	return x
}

// alone returns the command of a bash that is as much alone as the system allows.
func (x *Terminal) alone() []string {
	x.t.Helper()
	network := "-n"
	if os.Geteuid() != 0 {
		network = "-rn"
	}
	for _, shell := range [][]string{
		{"unshare", network, "--pid", "--fork", "--kill-child", "--mount-proc", "bash"},
		{"unshare", network, "bash"},
	} {
		probe := append(append([]string{}, shell...), "-c", "ip link set lo up")
		if exec.Command(probe[0], probe[1:]...).Run() == nil {
			x.OwnProcesses = len(shell) > 3
			return shell
		}
	}

	shared.Lock()
	x.t.Cleanup(shared.Unlock)
	for _, port := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil && os.Getenv("CI") != "true" {
			x.t.Skipf("there can be no network of its own, and port %s is taken", port)
		}
		if err != nil {
			x.t.Fatalf("port %s is taken", port)
		}
		_ = l.Close()
	}
	return []string{"bash"}
}

// Run runs a command to its end, and returns what it printed on both outputs, and its exit code.
func (x *Terminal) Run(command string) (output string, code int) {
	x.t.Helper()
	script := x.write(command)
	fmt.Fprintf(x.in, "source %s >%[1]s.out 2>&1 </dev/null; echo \"ended $?\"\n", script)
	select {
	case line, ok := <-x.lines:
		if !ok {
			x.t.Fatalf("%s\nended the shell, after it had printed:\n%s", command, read(script+".out"))
		}
		var err error
		code, err = strconv.Atoi(strings.TrimPrefix(line, "ended "))
		if err != nil {
			x.t.Fatalf("%s: the shell says %q", command, line)
		}
	case <-time.After(patience):
		x.t.Fatalf("%s\nhas not ended after %v, and printed:\n%s", command, patience, read(script+".out"))
	}
	return read(script + ".out"), code
}

// Job is a command that goes on beside the terminal.
type Job struct{ script string }

// Start starts a command that goes on until it ends by itself or the terminal does.
func (x *Terminal) Start(command string) *Job {
	x.t.Helper()
	script := x.write(command)
	fmt.Fprintf(x.in, "{ source %s; echo $? >%[1]s.code; } >%[1]s.out 2>&1 </dev/null &\n", script)
	return &Job{script}
}

// Output returns what the job has printed so far.
func (j *Job) Output() string { return read(j.script + ".out") }

// Ended returns the exit code of a job that has ended.
func (j *Job) Ended() (code int, ok bool) {
	code, err := strconv.Atoi(strings.TrimSpace(read(j.script + ".code")))
	return code, err == nil
}

// Await waits until the job's output is as ready says. It returns false if the job has ended before, or does not get
// there.
func (j *Job) Await(ready func(output string) bool) bool {
	for deadline := time.Now().Add(patience / 2); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_, ended := j.Ended()
		if ready(j.Output()) {
			return true
		}
		if ended {
			return false
		}
	}
	return false
}

// write writes a script of its own for the command. In a file, a mistake in its syntax ends only itself.
func (x *Terminal) write(command string) (path string) {
	x.t.Helper()
	x.count++
	path = filepath.Join(x.dir, strconv.Itoa(x.count))
	if err := os.WriteFile(path, []byte(command+"\n"), 0o600); err != nil {
		x.t.Fatal(err)
	}
	return path
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(text)
}

// end ends the shell, and what was started in it: as processes of its own they end with the shell, otherwise as its
// group.
func (x *Terminal) end(cmd *exec.Cmd) {
	_ = x.in.Close()
	if !x.OwnProcesses || x.t.Failed() { // it may hang in a command
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	deadline := time.Now().Add(20 * time.Second)
	kill := time.AfterFunc(time.Until(deadline), func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	for range x.lines { // until the shell has ended
	}
	_ = cmd.Wait()
	for syscall.Kill(-cmd.Process.Pid, 0) == nil {
		if time.Now().After(deadline) {
			x.t.Error("what was started in the terminal does not end within 20 s of SIGTERM")
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
