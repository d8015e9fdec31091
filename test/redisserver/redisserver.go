// Package redisserver starts real redis-server processes for tests and benchmarks: one server, a Cluster, or a master
// with its replica and Sentinels. Each listens on a free loopback port, keeps its files in a directory of its own, and
// can be killed, restarted on the same port and data, or held still.
//
// Start, StartCluster and StartSentinel are for tests: they clean up by themselves, and skip the test where
// redis-server is not installed (with CI=true they fail it). New, NewCluster and NewSentinel do the same for programs.
// On Linux a server also dies with the program that started it, however that ended.
package redisserver

import (
	"bytes"
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

const (
	startTimeout = 30 * time.Second // loading a large append-only file included
	stopTimeout  = 10 * time.Second
	pollPause    = 5 * time.Millisecond
)

var errPortTaken = errors.New("the port is taken")

// Server is one redis-server process, or several in a row on the same address and data. Its methods may be called from
// any goroutine.
type Server struct {
	// Addr is the server's host:port. It stays the same over Restart.
	Addr string
	// Dir holds the server's data and its log, redis.log.
	Dir string

	args    []string
	mu      sync.Mutex // serialises everything that starts or ends the process
	process *exec.Cmd
	ended   chan struct{} // closed when process has been reaped
}

// New starts redis-server with its data in dir, which must exist, and returns when it answers. It persists nothing
// unless args say so: they are options as on its command line ("--appendonly", "yes"). The default user must stay open,
// for it is how the server is watched; more users can be added with --user. End it with Kill or Stop.
func New(dir string, args ...string) (*Server, error) {
	return start(freePort, dir, append([]string{"--save", "", "--appendonly", "no"}, args...))
}

// start tries ports until it has one to itself: between the moment a port is found free and the moment Redis binds it,
// another process may have taken it.
func start(port func() (int, error), dir string, args []string) (*Server, error) {
	for {
		p, err := port()
		if err != nil {
			return nil, err
		}
		s := &Server{
			Addr: "127.0.0.1:" + strconv.Itoa(p),
			Dir:  dir,
			args: append(args[:len(args):len(args)], "--bind", "127.0.0.1", "--port", strconv.Itoa(p), "--dir", dir),
		}
		if err = s.launch(); err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
}

// freePort finds a port on which nothing listens, nor on the port of its Cluster bus, 10,000 above. Both are below the
// range from which systems choose the port of an outgoing connection: a client that dials a dead server there can meet
// itself.
func freePort() (int, error) {
	for range 1000 {
		port := 12000 + rand.IntN(10000)
		if listens(port) || listens(port+10000) {
			continue
		}
		return port, nil
	}
	return 0, errors.New("find a free port from 12000 to 21999: all taken")
}

func listens(port int) bool {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return true
	}
	_ = l.Close()
	return false
}

// launch starts the process and waits until it answers. It needs s.mu, or to be alone with s.
func (s *Server) launch() error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	defer log.Close()
	before, err := log.Stat()
	if err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}

	cmd := exec.Command("redis-server", s.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	cmd.SysProcAttr = attributes()
	ended := make(chan struct{})
	started := make(chan error)
	go func() {
		// The kernel kills the child when the thread that forked it ends, not the process: hold on to that thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.process, s.ended = cmd, ended

	err = poll(startTimeout, func() error {
		select {
		case <-ended:
			text := s.logSince(before.Size())
			if strings.Contains(text, "Address already in use") {
				return final(fmt.Errorf("start redis-server on %s: %w", s.Addr, errPortTaken))
			}
			return final(fmt.Errorf("start redis-server: it ended at once:\n%s", text))
		default:
			return s.answers()
		}
	})
	if err != nil {
		s.signal(syscall.SIGKILL)
		<-ended
	}
	return err
}

// answers reports whether this very process serves its address, and has loaded its data: another Redis may hold the
// port.
func (s *Server) answers() error {
	info, err := s.ask(time.Second, "INFO", "server")
	if err != nil {
		return err
	}
	if !strings.Contains(info, fmt.Sprintf("\nprocess_id:%d\r", s.process.Process.Pid)) {
		return fmt.Errorf("another server answers on %s", s.Addr)
	}
	_, err = s.ask(time.Second, "PING")
	return err
}

// URL returns the server's address as a Redis URL.
func (s *Server) URL() string { return "redis://" + s.Addr }

// PID returns the process id of the running server, or of the last that ran.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.Process.Pid
}

// Kill ends the server as a crash would (SIGKILL) and returns when it is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signal(syscall.SIGKILL)
	<-s.ended
}

// Stop ends the server in good order (SIGTERM), a suspended one too, and returns when it is gone. One that will not go
// within 10 seconds is killed.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *Server) stop() {
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGCONT)
	select {
	case <-s.ended:
	case <-time.After(stopTimeout):
		s.signal(syscall.SIGKILL)
		<-s.ended
	}
}

// Restart starts the server again on the same address, data and arguments, and returns when it answers. A running one
// is stopped first.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	return poll(startTimeout, func() error {
		err := s.launch()
		if err == nil || errors.Is(err, errPortTaken) {
			return err
		}
		return final(err)
	})
}

// Suspend holds the server still (SIGSTOP), as a hung machine would be: connections open and stay open, nothing is
// answered.
func (s *Server) Suspend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signal(syscall.SIGSTOP)
}

// Continue lets a suspended server go on.
func (s *Server) Continue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signal(syscall.SIGCONT)
}

// signal reaches the process and, on Linux, its children (a rewrite of the append-only file). One that is gone is left
// alone.
func (s *Server) signal(sig syscall.Signal) {
	select {
	case <-s.ended:
	default:
		signalGroup(s.process.Process.Pid, sig)
	}
}

// Do sends one command on a connection of its own and returns the answer as `redis-cli --raw` prints it: an array as
// lines, nil as nothing. An error reply, and no answer within 10 seconds, are errors.
func (s *Server) Do(command ...string) (string, error) {
	return s.ask(10*time.Second, command...)
}

func (s *Server) ask(timeout time.Duration, command ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, timeout)
	if err != nil {
		return "", fmt.Errorf("redis %s: %w", command[0], err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	reply, err := exchange(conn, command)
	if err != nil {
		return "", fmt.Errorf("redis %s: %w", command[0], err)
	}
	return reply, nil
}

func (s *Server) logFile() string { return filepath.Join(s.Dir, "redis.log") }

// logSince returns the last 4 KiB of what was logged after offset.
func (s *Server) logSince(offset int64) string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	text = text[min(offset, int64(len(text))):]
	return string(bytes.TrimSpace(text[max(0, len(text)-4096):]))
}

// finalError is an error that no waiting mends.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(err error) error { return finalError{err} }

// poll calls try until it returns nil or a final error, or until the time is up: then it returns the last error.
func poll(timeout time.Duration, try func() error) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(pollPause) {
		err := try()
		if f, ok := errors.AsType[finalError](err); ok {
			return f.error
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
