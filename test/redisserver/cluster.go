package redisserver

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	slots         = 16384
	settleTimeout = 60 * time.Second // for the nodes to agree; two to three seconds on a machine with nothing else to do
)

// Cluster is a Redis Cluster of masters that share the slots evenly, without replicas: while a node is down, the whole
// Cluster is.
type Cluster struct {
	Nodes []*Server
}

// NewCluster starts a Cluster of at least three nodes below dir, each with args as in New, and returns when all agree
// that it is up.
func NewCluster(dir string, nodes int, args ...string) (*Cluster, error) {
	if nodes < 3 {
		return nil, fmt.Errorf("start a cluster of %d: Redis asks for three masters", nodes)
	}
	c := &Cluster{}
	if err := c.start(dir, nodes, args); err != nil {
		c.Kill()
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	return c, nil
}

func (c *Cluster) start(dir string, nodes int, args []string) error {
	args = append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-announce-ip",
		"127.0.0.1"}, args...)
	for i := range nodes {
		node, err := newIn(dir, fmt.Sprintf("node-%d", i), args...)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, node)
	}
	for i, node := range c.Nodes {
		command := []string{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / nodes; slot < (i+1)*slots/nodes; slot++ {
			command = append(command, strconv.Itoa(slot))
		}
		if _, err := node.Do(command...); err != nil {
			return err
		}
		// Different epochs before they meet, or they would spend a while on settling who has which.
		if _, err := node.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return err
		}
	}
	for _, node := range c.Nodes[1:] {
		host, port, _ := net.SplitHostPort(node.Addr)
		if _, err := c.Nodes[0].Do("CLUSTER", "MEET", host, port); err != nil {
			return err
		}
	}
	return c.WaitUntilUp()
}

// WaitUntilUp returns when every node sees all nodes and all slots served, as after the Restart of a node. It gives up
// after a minute.
func (c *Cluster) WaitUntilUp() error {
	return poll(settleTimeout, func() error {
		for _, node := range c.Nodes {
			info, err := node.ask(time.Second, "CLUSTER", "INFO")
			if err != nil {
				return err
			}
			for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384",
				fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes))} {
				if !strings.Contains(info, want+"\r\n") {
					return fmt.Errorf("wait for the cluster: node %s does not say %s:\n%s", node.Addr, want, info)
				}
			}
		}
		return nil
	})
}

// URL returns the Cluster's addresses in the form of go-redis' ParseClusterURL: redis://host:port?addr=host:port&addr=…
func (c *Cluster) URL() string {
	return c.Nodes[0].URL() + "?" + otherAddrs(c.Nodes)
}

// Kill ends all nodes as a crash would.
func (c *Cluster) Kill() { killAll(c.Nodes) }

// newIn is New in a new folder of dir.
func newIn(dir, name string, args ...string) (*Server, error) {
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return New(dir, args...)
}

func otherAddrs(servers []*Server) string {
	var addrs []string
	for _, s := range servers[1:] {
		addrs = append(addrs, "addr="+s.Addr)
	}
	return strings.Join(addrs, "&")
}

func killAll(servers []*Server) {
	for _, s := range servers {
		s.Kill()
	}
}
