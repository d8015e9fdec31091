package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// fate is what became of a mutant.
type fate int

const (
	survived fate = iota
	noticed
	noProgram // it does not build
)

// trial runs tests on mutants in a copy of the tree.
type trial struct {
	root    string
	timeout time.Duration // of every command, if it is given
	tests   []testCommand
}

type testCommand struct {
	command string
	timeout time.Duration
}

// unchanged runs the tests on the code as it is: they have to pass.
func (t *trial) unchanged(ctx context.Context, commands []string) error {
	for _, command := range commands {
		began := time.Now()
		passed, text := t.shell(ctx, command, time.Hour)
		if !passed {
			return fmt.Errorf("%q fails on the unchanged code:\n%s", command, text)
		}
		t.tests = append(t.tests, testCommand{command, 3*time.Since(began) + 20*time.Second})
		if t.timeout > 0 {
			t.tests[len(t.tests)-1].timeout = t.timeout
		}
	}
	return nil
}

// try makes a change, runs the tests, and takes it back. It says by what it was noticed.
func (t *trial) try(ctx context.Context, m mutant) (became fate, by string, err error) {
	path := filepath.Join(t.root, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return survived, "", err
	}
	changed, err := m.apply(string(text))
	if err != nil {
		return survived, "", err
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		return survived, "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, text, 0o644)) }()

	for _, c := range t.tests {
		if passed, text := t.shell(ctx, c.command, c.timeout); !passed {
			if strings.Contains(text, "[build failed]") {
				return noProgram, "", nil
			}
			return noticed, firstFailure(text), nil
		}
	}
	return survived, "", nil
}

// shell runs a command in the copy; at the end of the timeout it is killed with all that it started.
func (t *trial) shell(ctx context.Context, command string, timeout time.Duration) (passed bool, text string) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.root, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what was started in a group of its own, and holds the output open
	err := cmd.Run()
	if ctx.Err() != nil {
		return false, "timeout"
	}
	return err == nil, out.String()
}

var failure = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)|^(?:panic|fatal error): .*`)

// firstFailure names the first test that failed, or says what else happened.
func firstFailure(text string) string {
	if m := failure.FindStringSubmatch(text); m != nil {
		return cmp.Or(m[1], m[0])
	}
	first, _, _ := strings.Cut(text, "\n")
	return first
}
