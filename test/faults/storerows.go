package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kuairelay/test/redisserver"
)

var storeRows = []row{
	{name: "maxmemory", fault: "Redis at `maxmemory`", does: "`maxmemory` is set to what is used, with a backlog that " +
		"an endpoint refuses at first", run: func(s *stage) {
		maxmemory(s, 0)
	}},
	{name: "maxmemory-1", fault: "Redis at `maxmemory`, far below", does: "the same with `maxmemory 1`",
		run: func(s *stage) {
			maxmemory(s, 1)
		}},
	{name: "redis-emptied", fault: "Redis lost with all its data",
		does: "Redis, which keeps nothing on disk here, is killed and started again empty", run: redisEmptied},
	{name: "advice", fault: "Redis with an evicting policy or without AOF",
		does: "Redis runs with `appendonly no` and `allkeys-lru`", run: advice},
	{name: "sentinel", fault: "Redis replica promoted (Sentinel)", does: "the master is killed, its replica is " +
		"promoted, and the old master comes back as a replica; `wait_replicas: 1`", run: sentinel},
	{name: "cluster-slot", fault: "slot moved (Cluster)", does: "the store's slot is moved to " +
		"another node, key by key, and back", run: clusterSlot},
	{name: "cluster-node", fault: "node lost (Cluster)", does: "the node with the store's slot is killed and comes back",
		run: clusterNode},
}

// maxmemory has a backlog wait when Redis becomes full: it has to be delivered all the same. most 0 is what Redis uses
// then.
func maxmemory(s *stage, most int) {
	redis := s.redis("--maxmemory-policy", "noeviction")
	r := s.relay(relayOptions{redis: redis.URL()})
	s.endpoints[0].close()
	s.push(r)
	s.more(100)
	waiting := s.check.acknowledgedNow()
	s.drains() // all of that is in Redis
	limit := strconv.Itoa(most)
	if most == 0 {
		limit = field(s.do(redis, "INFO", "memory"), "used_memory")
	}
	s.load.phase()
	s.do(redis, "CONFIG", "SET", "maxmemory", limit)
	s.await("the relay says that Redis is full", func() error {
		st, err := r.ready()
		if err == nil && !strings.HasPrefix(st.Redis, "full") {
			err = fmt.Errorf("it says %+v", st)
		}
		return err
	})
	full := time.Now()
	backlog := s.check.missingOf(waiting)
	s.must(s.endpoints[0].open(s.ctx))
	s.await("the backlog is delivered although Redis is full", func() error {
		if n := s.check.missingOf(waiting); n > 0 {
			return fmt.Errorf("%d of %d are not", n, backlog)
		}
		return nil
	})
	s.figure("a backlog of %d is delivered in %s while Redis is full", backlog, round(time.Since(full)))
	if rest := s.lasts - time.Since(full); rest > 0 {
		s.wait(rest)
	}
	a := s.load.phase()
	s.do(redis, "CONFIG", "SET", "maxmemory", "0")
	s.heal(a)
	s.finish(1, s.most())
}

// field finds a value in what INFO prints.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key == name {
			return value
		}
	}
	return ""
}

// redisEmptied ends with everything pushed and delivered before: what was open in Redis is lost with it, and nobody can
// help that. Then the ids have to be the same, and the sequences to rise on.
func redisEmptied(s *stage) {
	redis, err := redisserver.New(s.folder("redis"))
	s.must(err)
	s.cleanup(redis.Kill)
	r := s.relay(relayOptions{redis: redis.URL()})
	old := update{"ydold", 1}
	s.relays = []*relay{r}
	s.pushOne(r, old)
	s.await("it arrives", func() error { return s.came(old, 1) })
	s.push(r)
	s.more(50)
	// Stop pushing for a moment: what is in the spool when Redis comes back empty must not be lost, what is in Redis is.
	s.load.end()
	s.settle()
	redis.Kill()
	s.push(r)
	s.more(100)
	a := s.load.phase()
	s.must(redis.Restart())
	s.heal(a)
	s.pushOne(r, old)
	s.await("what came before comes again", func() error { return s.came(old, 2) })
	s.figure("an event that Redis had known comes again, under its old id")
	s.finish(1, 1)
}

// came returns nil if an update has come to the first endpoint so often.
func (s *stage) came(u update, times int) error {
	if n := s.check.seen(s.endpoints[0].name, u); n < times {
		return fmt.Errorf("it came %d times", n)
	}
	return nil
}

func advice(s *stage) {
	redis, err := redisserver.New(s.folder("redis"), "--maxmemory-policy", "allkeys-lru")
	s.must(err)
	s.cleanup(redis.Kill)
	r := s.relay(relayOptions{redis: redis.URL()})
	s.push(r)
	for _, a := range []string{"no_aof", "evicting"} {
		s.await("a metric says "+a, func() error {
			if r.metric("kuairelay_redis_advice", `advice="`+a+`"`) != 1 {
				return errors.New("it does not")
			}
			return nil
		})
		if n := r.logged(`"advice":"` + a + `"`); n != 1 {
			s.failf("%d lines of the log warn of %s, and not one", n, a)
		}
	}
	s.figure("a warning at the start and a metric for each")
	s.more(100)
	s.finish(1, 0)
}

// sentinel waits for one replica at each accept, so that a promotion loses nothing: until the old master is back, as a
// replica, callbacks go to the spool. One endpoint errs until then, so that something is left to be delivered.
func sentinel(s *stage) {
	servers, err := redisserver.NewSentinel(s.folder("sentinel"), "--appendonly", "yes", "--appendfsync", "always")
	s.must(err)
	s.cleanup(servers.Kill)
	s.push(s.relay(relayOptions{redis: servers.URL(), replicas: 1}))
	s.more(100)
	s.endpoints[0].behave(func(w http.ResponseWriter, _ *http.Request, _ update, _ func() int) {
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	s.more(10)
	s.load.phase()
	killed := time.Now()
	servers.Master.Kill()
	s.await("the replica is promoted", func() error {
		addr, err := servers.MasterAddr()
		if err == nil && addr != servers.Replica.Addr {
			err = errors.New("it is not")
		}
		return err
	})
	s.figure("promoted after %s", round(time.Since(killed)))
	s.endpoints[0].behave(nil)
	s.figure("deliveries go on %s after that", round(s.resumes()))
	s.must(servers.Master.Restart())
	s.await("the old master is a replica, and in step", func() error {
		info, err := servers.Replica.Do("INFO", "replication")
		if err == nil && !strings.Contains(info, "state=online") {
			err = errors.New("it is not")
		}
		return err
	})
	s.figure("a replica again after %s", round(time.Since(killed)))
	s.heal(s.load.phase())
	s.finish(1, s.most())
}

func (s *stage) cluster() *redisserver.Cluster {
	c, err := redisserver.NewCluster(s.folder("cluster"), 3, "--appendonly", "yes", "--appendfsync", "always")
	s.must(err)
	s.cleanup(c.Kill)
	return c
}

// slotOf finds the slot that a store lives in, and the node that has it.
func (s *stage) slotOf(c *redisserver.Cluster) (slot string, owner int) {
	for i, node := range c.Nodes {
		if key := s.do(node, "RANDOMKEY"); key != "" {
			return s.do(node, "CLUSTER", "KEYSLOT", key), i
		}
	}
	s.failf("no node has a key")
	return "", 0
}

func clusterSlot(s *stage) {
	c := s.cluster()
	s.push(s.relay(relayOptions{redis: c.URL()}))
	s.more(100)
	slot, from := s.slotOf(c)
	to := (from + 1) % len(c.Nodes)
	s.load.phase()
	for _, move := range [][2]int{{from, to}, {to, from}} {
		began := time.Now()
		keys := s.moveSlot(c, slot, c.Nodes[move[0]], c.Nodes[move[1]])
		s.figure("%d keys moved in %s", keys, round(time.Since(began)))
		s.heal(s.load.phase())
		s.more(100)
	}
	s.finish(2, s.most())
}

// moveSlot does what redis-cli does to move a slot that is being written to.
func (s *stage) moveSlot(c *redisserver.Cluster, slot string, from, to *redisserver.Server) (moved int) {
	fromID, toID := s.do(from, "CLUSTER", "MYID"), s.do(to, "CLUSTER", "MYID")
	s.do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	s.do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	host, port, _ := strings.Cut(to.Addr, ":")
	for {
		keys := s.do(from, "CLUSTER", "GETKEYSINSLOT", slot, "100")
		if keys == "" {
			break
		}
		batch := strings.Split(keys, "\n")
		s.do(from, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, batch...)...)
		moved += len(batch)
	}
	for _, node := range append([]*redisserver.Server{to, from}, c.Nodes...) { // the new owner first
		s.do(node, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
	return moved
}

func clusterNode(s *stage) {
	c := s.cluster()
	s.push(s.relay(relayOptions{redis: c.URL()}))
	s.more(100)
	_, owner := s.slotOf(c)
	s.trouble(c.Nodes[owner].Kill, func() {
		s.must(c.Nodes[owner].Restart())
		s.must(c.WaitUntilUp())
	})
	s.finish(1, s.most())
}
