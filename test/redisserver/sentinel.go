package redisserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// MasterName is the name by which the Sentinels of this package know their master.
const MasterName = "mymaster"

// Sentinel is a master with one replica, watched by three Sentinels of which two must agree. They promote the replica
// about two seconds after the master stopped answering. A restarted master becomes the replica of its successor, some
// ten seconds later.
type Sentinel struct {
	// Master and Replica are so named by their roles at the start.
	Master, Replica *Server
	Sentinels       []*Server
}

// NewSentinel starts master, replica and Sentinels below dir, the first two with args as in New, and returns when the
// replica is in step and every Sentinel knows all others.
func NewSentinel(dir string, args ...string) (*Sentinel, error) {
	s := &Sentinel{}
	if err := s.start(dir, args); err != nil {
		s.Kill()
		return nil, fmt.Errorf("start redis with sentinels: %w", err)
	}
	return s, nil
}

func (s *Sentinel) start(dir string, args []string) (err error) {
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	if s.Master, err = newIn(dir, "master", args...); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(s.Master.Addr)
	if err != nil {
		return err
	}
	if s.Replica, err = newIn(dir, "replica", append(args, "--replicaof", host+" "+port)...); err != nil {
		return err
	}
	// Sentinels find replicas when they first ask the master, and then only every ten seconds: let them find it at once.
	err = poll(settleTimeout, func() error {
		info, err := s.Master.ask(time.Second, "INFO", "replication")
		if err == nil && !strings.Contains(info, "state=online") {
			err = fmt.Errorf("wait for the replica: it is not in step:\n%s", info)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range 3 {
		sentinel, err := newSentinel(filepath.Join(dir, fmt.Sprintf("sentinel-%d", i)), host, port)
		if err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	return s.waitUntilComplete()
}

func newSentinel(dir, masterHost, masterPort string) (*Server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sentinel.conf") // the Sentinel rewrites it with what it learns
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\nsentinel down-after-milliseconds %[1]s 1000\n"+
		"sentinel failover-timeout %[1]s 5000\n",
		MasterName, masterHost, masterPort)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(freePort, dir, []string{config, "--sentinel"})
}

func (s *Sentinel) waitUntilComplete() error {
	return poll(settleTimeout, func() error {
		for _, sentinel := range s.Sentinels {
			info, err := sentinel.ask(time.Second, "INFO", "sentinel")
			if err != nil {
				return err
			}
			if !strings.Contains(info, "status=ok,address="+s.Master.Addr+",slaves=1,sentinels=3") {
				return fmt.Errorf("wait for the sentinels: %s does not know all others:\n%s", sentinel.Addr, info)
			}
		}
		return nil
	})
}

// MasterAddr returns who is master now, by the word of the first Sentinel that answers. One that did not lead the
// promotion hears of it up to two seconds later.
func (s *Sentinel) MasterAddr() (string, error) {
	var errs []error
	for _, sentinel := range s.Sentinels {
		reply, err := sentinel.ask(time.Second, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
		if err == nil {
			return strings.ReplaceAll(reply, "\n", ":"), nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// URL returns the Sentinels' addresses in the form of go-redis' ParseFailoverURL:
// redis://host:port?master_name=…&addr=host:port&…
func (s *Sentinel) URL() string {
	return s.Sentinels[0].URL() + "?master_name=" + MasterName + "&" + otherAddrs(s.Sentinels)
}

// Kill ends all of them as a crash would.
func (s *Sentinel) Kill() {
	killAll(s.Sentinels)
	for _, server := range []*Server{s.Master, s.Replica} {
		if server != nil {
			server.Kill()
		}
	}
}
