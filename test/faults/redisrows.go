package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kuairelay/test/redisserver"
)

var redisRows = []row{
	{name: "redis-down", fault: "Redis down", does: "Redis (`appendfsync always`) is killed (-9) and " +
		"started again, again and again", run: redisDown},
	{name: "redis-hung", fault: "Redis hung", does: "Redis is held still (SIGSTOP), and goes on", run: redisHung},
	{name: "redis-refusing", fault: "Redis refusing", does: "Redis throws out all clients and " +
		"takes no new ones (`maxclients`)", run: redisRefusing},
	{name: "redis-slow", fault: "Redis slow", does: "every reply takes 600 ms longer", run: redisSlow},
	{name: "redis-loading", fault: "Redis loading", does: "Redis is killed, and takes long to load its append-only file",
		run: redisLoading},
	{name: "redis-readonly", fault: "Redis read-only", does: "Redis becomes the replica of a master " +
		"that is not there (`READONLY`)", run: redisReadonly},
	{name: "reply-lost", fault: "a reply lost after the script ran",
		does: "one reply in 50 never reaches the relay: the connection is cut, or silent from then on", run: replyLost},
	{name: "redis-refuses", fault: "Redis refuses scripts", does: "a proxy answers each script as a Tair cluster does, " +
		"from before the relay starts, and later as Dragonfly does", run: redisRefuses},
	{name: "script-flush", fault: "script cache flushed", does: "`SCRIPT FLUSH`, again and again", run: scriptFlush},
	{name: "clock-step", fault: "clock of Redis set", does: "to two relays, the clock of Redis is set by a " +
		"minute, back and on, under them", run: clockStep},
}

// trouble lets a fault of Redis begin, last and end under load. While it lasts, every callback has to be answered
// success.
func (s *stage) trouble(begin, end func()) {
	s.more(50)
	s.load.phase()
	begin()
	s.wait(s.lasts)
	s.more(20)
	a := s.load.phase()
	end()
	s.heal(a)
}

// heal waits until all is as before a fault that has just ended, and judges the answers while it lasted.
func (s *stage) heal(a answers) {
	resumed := s.resumes()
	s.result.resumed = max(s.result.resumed, resumed)
	s.result.drained = max(s.result.drained, resumed+s.drains())
	s.result.during.add(a)
	if a.Failure > 0 {
		s.failf("%d of %d callbacks were answered failure, although the spool could take them", a.Failure, a.all())
	}
	s.bar("deliveries resume", resumed, 10*time.Second)
	s.bar("answers, p99", a.quantile(0.99), 500*time.Millisecond)
	s.bar("answers, the slowest", a.quantile(1), time.Second)
	if s.strict && a.None > 0 {
		s.failf("%d of %d callbacks had no answer within 2 s", a.None, a.all())
	}
}

func redisDown(s *stage) {
	redis := s.redis()
	s.push(s.relay(relayOptions{redis: redis.URL()}))
	times := max(1, s.kills/5)
	for range times {
		s.trouble(redis.Kill, func() { s.must(redis.Restart()) })
	}
	s.finish(times, 0)
}

func redisHung(s *stage) {
	redis := s.redis()
	s.push(s.relay(relayOptions{redis: redis.URL()}))
	s.trouble(redis.Suspend, redis.Continue)
	s.finish(1, s.most())
}

func redisRefusing(s *stage) {
	redis := s.redis()
	s.push(s.relay(relayOptions{redis: redis.URL()}))
	c := alone(s, redis) // keeps its place while the rest is locked out, and lets it in again
	s.trouble(func() {
		s.must(c.ConfigSet(s.ctx, "maxclients", "1").Err())
		s.must(c.Do(s.ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	}, func() { s.must(c.ConfigSet(s.ctx, "maxclients", "1000").Err()) })
	s.finish(1, 0)
}

// redisRefuses has a proxy refuse scripts in the words of two servers that check their keys. Each time the relay's log
// has to name the remedy.
func redisRefuses(s *stage) {
	p := s.proxy(s.redis().Addr)
	p.refuse("ERR bad lua script for redis cluster, all the keys that the script uses should be passed using the KEYS " +
		"array")
	r := s.relay(relayOptions{redis: p.url()})
	s.push(r)
	s.named(r, "script_check_enable")
	s.wait(s.lasts)
	s.more(20)
	a := s.load.phase()
	p.refuse("")
	s.heal(a)
	s.trouble(func() { p.refuse("ERR @user_script:2: script tried accessing undeclared key, key: k") }, func() {
		s.named(r, "allow-undeclared-keys")
		p.refuse("")
	})
	s.finish(2, s.most())
}

// named waits until a relay's log, its /readyz and its advice have named a remedy.
func (s *stage) named(r *relay, remedy string) {
	s.await("the remedy is named", func() error {
		ready, err := r.ready()
		advised := r.metric("kuairelay_redis_advice", `advice="refuses_scripts"`)
		if err == nil && (r.logged(remedy) < 2 || !strings.Contains(ready.Redis, remedy) || advised != 1) {
			err = fmt.Errorf("/readyz says %s; the log has it %d times; advice %v", ready.Redis, r.logged(remedy), advised)
		}
		return err
	})
}

// alone is a client with a single connection.
func alone(s *stage, r *redisserver.Server) *redis.Conn {
	client := redis.NewClient(&redis.Options{Addr: r.Addr, MaxRetries: -1, DisableIdentity: true})
	s.cleanup(func() { _ = client.Close() })
	return client.Conn()
}

func redisSlow(s *stage) {
	p := s.proxy(s.redis().Addr)
	s.push(s.relay(relayOptions{redis: p.url()}))
	s.trouble(func() { p.delay.Store(int64(600 * time.Millisecond)) }, func() { p.delay.Store(0) })
	s.finish(1, s.most())
}

// redisLoading has Redis wait for each key that it loads, and say LOADING meanwhile.
func redisLoading(s *stage) {
	redis := s.redis("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	s.push(s.relay(relayOptions{redis: redis.URL()}))
	s.more(100)
	s.load.phase()
	redis.Kill()
	began := time.Now()
	s.must(redis.Restart()) // returns when it has loaded
	s.figure("loading takes %s", round(time.Since(began)))
	s.heal(s.load.phase())
	s.finish(1, s.most())
}

func redisReadonly(s *stage) {
	redis := s.redis()
	s.push(s.relay(relayOptions{redis: redis.URL()}))
	s.trouble(func() { s.do(redis, "REPLICAOF", "127.0.0.1", "1") }, func() { s.do(redis, "REPLICAOF", "NO", "ONE") })
	s.finish(1, s.most())
}

func replyLost(s *stage) {
	p := s.proxy(s.redis().Addr)
	s.push(s.relay(relayOptions{redis: p.url()}))
	s.trouble(func() {
		p.lose.Store(20)
		s.await("replies are lost", func() error {
			if n := p.lost.Load(); n < int64(s.kills) {
				return fmt.Errorf("%d were", n)
			}
			return nil
		})
	}, func() { p.lose.Store(0) })
	s.figure("%d replies lost", p.lost.Load())
	s.finish(1, 0)
}

func scriptFlush(s *stage) {
	redis := s.redis()
	s.push(s.relay(relayOptions{redis: redis.URL()}))
	s.more(100)
	s.load.phase()
	for range s.kills {
		s.do(redis, "SCRIPT", "FLUSH")
		s.more(20)
	}
	s.result.during = s.load.phase()
	if n := s.relays[0].metric("kuairelay_spool_callbacks_total", `result="written"`); n > 0 {
		s.figure("%v callbacks went through the spool", n)
	}
	s.finish(s.kills, 0)
}

func clockStep(s *stage) {
	p := s.proxy(s.redis().Addr)
	p.shift.Store(60)
	o := relayOptions{redis: p.url()}
	s.push(s.relay(o), s.relay(o))
	s.endpoints[0].behave(s.flaky()) // so that there are retries, which fall due by the clock
	steps := []int64{0}              // back: what is due then lies in the future
	if s.strict {
		steps = append(steps, 60, 0, -60)
	}
	for _, shift := range steps {
		s.more(50)
		p.shift.Store(shift)
		s.wait(11 * time.Second) // the relays ask for the time every 10 s, one after the other: this long they may differ
		before := s.check.acknowledgedNow()
		took := s.await("what was acknowledged before arrives", func() error {
			if n := s.check.missingOf(before); n > 0 {
				return fmt.Errorf("%d deliveries do not", n)
			}
			return nil
		})
		s.result.drained = max(s.result.drained, took)
		if took > 30*time.Second {
			s.failf("after a step of the clock, deliveries were stuck for %s", round(took))
		}
		s.bar("what was acknowledged before arrives", took, 10*time.Second)
	}
	s.endpoints[0].behave(nil)
	s.finish(len(steps), 2*s.most())
}
