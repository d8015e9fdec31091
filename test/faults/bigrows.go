package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var bigRows = []row{
	{name: "mixed", fault: "all of it at random", does: "three relays with a spool each, one Redis behind a proxy, " +
		"three endpoints; faults overlap", run: func(s *stage) {
		relays, redis := 5*s.kills, s.kills
		if !s.strict {
			relays, redis = 2*s.kills, s.kills/2
		}
		s.mix(func(m *mix) bool { return m.relayKills.Load() >= int64(relays) && m.redisKills.Load() >= int64(redis) })
	}},
	{name: "outage", fault: "Redis down for a minute at 1,000 callbacks a second",
		does: "one relay, one endpoint; Redis is killed, and started again after 60 s", run: outage, alone: true},
}

// longRow is the mixed row for so long.
func longRow(d time.Duration) row {
	return row{name: "long", fault: "all of it at random", does: fmt.Sprintf("as in the row mixed, for %s", d),
		run: func(s *stage) {
			end := time.Now().Add(d)
			s.mix(func(*mix) bool { return time.Now().After(end) })
		}}
}

// mix is a run in which three actors, one for relays, one for Redis, one for endpoints, each do one thing after the
// other.
type mix struct {
	*stage
	done                   func() bool
	failed                 atomic.Bool
	relayKills, redisKills atomic.Int64
	troubles               atomic.Int64 // after which requests may come again

	mu     sync.Mutex
	counts map[string]int
}

// mix goes on until done says so.
func (s *stage) mix(done func(*mix) bool) {
	redis := s.redis()
	p := s.proxy(redis.Addr)
	o := relayOptions{redis: p.url(), quiet: true}
	relays := []*relay{s.relay(o), s.relay(o), s.relay(o)}
	s.push(relays...)
	m := &mix{stage: s, counts: map[string]int{}}
	m.done = func() bool { return m.failed.Load() || done(m) }
	start := relays[0].memory()
	m.together(
		func(r *rand.Rand) { m.disturbRelays(r, relays) },
		func(r *rand.Rand) { m.disturbRedis(r, redis, p) },
		func(r *rand.Rand) { m.disturbEndpoints(r) },
	)
	a := s.load.phase()
	s.heal(answers{})
	s.result.during = a
	s.figure("%s", m.seen())
	s.figure("memory of a relay %.0f MB at the start, %.0f MB at the end", start/1e6, relays[0].memory()/1e6)
	open, began := s.check.missing(), time.Now()
	s.load.end()
	s.arrives()
	s.figure("%d deliveries open when the faults ended, the last of them delivered %s later", open,
		round(time.Since(began)))
	s.finish(int(m.troubles.Load()), s.most())
}

// seen says what happened, and how often: "20 × endpoint hangs, 1 × kill -9 of a relay".
func (m *mix) seen() string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(m.counts)) {
		all = append(all, fmt.Sprintf("%d × %s", m.counts[what], what))
	}
	return strings.Join(all, ", ")
}

// together runs actors at the same time, each with its own chances. When one fails, the others end after what they are
// at.
func (m *mix) together(actors ...func(*rand.Rand)) {
	errs := make([]error, len(actors))
	var group sync.WaitGroup
	for i, act := range actors {
		group.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					a, ok := p.(aborted)
					if !ok {
						panic(p)
					}
					errs[i] = a.error
					m.failed.Store(true)
				}
			}()
			r := rand.New(rand.NewPCG(m.seed, uint64(10+i)))
			for !m.done() {
				act(r)
			}
		})
	}
	group.Wait()
	m.must(errors.Join(errs...))
}

// count notes that something was done; trouble says that requests may come again after it.
func (m *mix) count(what string, trouble bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[what]++
	m.stage.done = append(m.stage.done, time.Now().Format(clock)+" "+what)
	if trouble {
		m.troubles.Add(1)
	}
}

// between waits for a time that is drawn, in milliseconds.
func (m *mix) between(r *rand.Rand, from, to int) {
	m.wait(time.Duration(from+r.IntN(to-from)) * time.Millisecond)
}

func (m *mix) disturbRelays(r *rand.Rand, relays []*relay) {
	m.between(r, 100, 1500)
	victim := relays[r.IntN(len(relays))]
	switch r.IntN(12) {
	case 0:
		m.count("SIGTERM", true) // Redis may be down meanwhile: then outcomes are not settled
		if took, err := victim.terminate(); err != nil {
			m.failf("after SIGTERM and %s: %w", took, err)
		}
	case 1:
		m.count("SIGSTOP of a relay", true)
		victim.signal(syscall.SIGSTOP)
		m.between(r, 500, 9000)
		victim.signal(syscall.SIGCONT)
		return
	default:
		m.count("kill -9 of a relay", true)
		m.relayKills.Add(1)
		victim.kill()
	}
	m.between(r, 1, 500)
	victim.start()
}

func (m *mix) disturbRedis(r *rand.Rand, redis redisServer, p *proxy) {
	m.between(r, 500, 4000)
	do := func(command ...string) {
		_, err := redis.Do(command...)
		m.must(err)
	}
	switch n := r.IntN(12); n {
	case 0:
		m.count("SIGSTOP of Redis", true)
		redis.Suspend()
		m.between(r, 200, 4000)
		redis.Continue()
	case 1:
		m.count("READONLY", true)
		do("REPLICAOF", "127.0.0.1", "1")
		m.between(r, 200, 2000)
		do("REPLICAOF", "NO", "ONE")
	case 2:
		m.count("maxmemory 1", true)
		do("CONFIG", "SET", "maxmemory", "1")
		m.between(r, 200, 2000)
		do("CONFIG", "SET", "maxmemory", "0")
	case 3:
		m.count("SCRIPT FLUSH", false)
		do("SCRIPT", "FLUSH")
	case 4:
		m.count("replies lost", true)
		p.lose.Store(20)
		m.between(r, 200, 3000)
		p.lose.Store(0)
	case 5:
		m.count("slow replies", true)
		p.delay.Store(int64(500 * time.Millisecond))
		m.between(r, 200, 3000)
		p.delay.Store(0)
	default:
		m.count("kill -9 of Redis", true)
		m.redisKills.Add(1)
		redis.Kill()
		m.between(r, 1, 3000)
		m.must(redis.Restart())
	}
}

// redisServer is what a Redis is to a mix.
type redisServer interface {
	Do(command ...string) (string, error)
	Suspend()
	Continue()
	Kill()
	Restart() error
}

func (m *mix) disturbEndpoints(r *rand.Rand) {
	m.between(r, 500, 4000)
	e := m.endpoints[r.IntN(len(m.endpoints))]
	answer := func(what string, a answerer) {
		m.count("endpoint "+what, false)
		e.behave(a)
		m.between(r, 200, 3000)
		e.behave(nil)
	}
	switch r.IntN(4) {
	case 0:
		m.count("endpoint refuses", false)
		e.close()
		m.between(r, 200, 3000)
		m.must(e.open(m.ctx))
	case 1:
		answer("errs", func(w http.ResponseWriter, _ *http.Request, _ update, _ func() int) {
			w.WriteHeader(http.StatusBadGateway)
		})
	case 2:
		answer("hangs", func(_ http.ResponseWriter, req *http.Request, _ update, _ func() int) { <-req.Context().Done() })
	default:
		answer("errs at random", m.flaky())
	}
}
