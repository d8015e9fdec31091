package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"kuairelay/test/slowdisk"
)

var spoolRows = []row{
	{name: "spool-full", fault: "spool full, and Redis down", does: "`spool.max_bytes: 64KiB` while Redis is down",
		run: spoolFull},
	{name: "spool-unwritable", fault: "spool unwritable, and Redis down",
		does: "the spool's folder is gone, with a file in its place, while Redis is down", run: spoolUnwritable},
	{name: "spool-hangs", fault: "the spool's disk hangs, and Redis is down", does: "writes to a disk (FUSE) do not " +
		"return while Redis is down, and not yet when it is back", run: spoolHangs, needs: slowdisk.Possible},
	{name: "spool-kill", fault: "relay killed (-9) while it spools",
		does: "Redis is down; the relay is killed and started again meanwhile", run: spoolKill},
	{name: "spool-sigterm", fault: "SIGTERM with callbacks in the spool", does: "the relay is stopped in good order and " +
		"started again, in turn while Redis is down and while the spool drains to a slow Redis", run: spoolSigterm},
	{name: "spool-adopted", fault: "a dead relay's spool", does: "three relays share a spool folder; one spools, dies " +
		"and stays dead; the two others see its files at the same time", run: spoolAdopted},
}

// refused waits until callbacks are refused, and says how many were since the phase began.
func (s *stage) refused() answers {
	var sum answers
	s.await("callbacks are refused", func() error {
		a := s.load.phase()
		sum.add(a)
		if sum.Failure < 20 {
			return fmt.Errorf("%d were", sum.Failure)
		}
		return nil
	})
	return sum
}

func spoolFull(s *stage) {
	redis := s.redis()
	s.push(s.relay(relayOptions{redis: redis.URL(), maxSpool: "64KiB"}))
	s.spoolBroken(redis.Kill, func() { s.must(redis.Restart()) })
}

func spoolUnwritable(s *stage) {
	redis := s.redis()
	r := s.relay(relayOptions{redis: redis.URL()})
	s.push(r)
	s.more(50)
	s.spoolBroken(func() {
		s.must(os.Rename(r.spool, r.spool+".away"))
		s.must(os.WriteFile(r.spool, nil, 0o600))
		redis.Kill()
	}, func() {
		s.must(os.Remove(r.spool))
		s.must(os.Rename(r.spool+".away", r.spool))
		s.must(redis.Restart())
	})
}

// spoolHangs has writes of the spool hang. Callbacks are refused in time then, and taken as soon as Redis takes them.
func spoolHangs(s *stage) {
	redis := s.redis()
	disk, err := slowdisk.Mount(s.folder("disk"), s.folder("behind"))
	s.must(err)
	s.cleanup(func() { _ = disk.Close() })
	r := s.relay(relayOptions{redis: redis.URL(), spool: filepath.Join(disk.Dir, "spool")})
	s.push(r)
	s.more(100)
	s.load.phase()
	disk.Hang()
	redis.Kill()
	a := s.refused()
	s.await("/readyz says that nothing can be accepted", func() error {
		if _, err := r.ready(); err == nil {
			return errors.New("it does not")
		}
		return nil
	})
	s.figure("%d answered `503 failure`, the slowest after %s", a.Failure, round(a.quantile(1)))
	if _, series := r.series("kuairelay_spool_max_bytes"); series == 0 { // a scrape must not hang with the disk
		s.failf("there are no metrics")
	}
	s.must(redis.Restart())
	s.more(50)
	disk.Continue()
	s.result.during = a
	s.result.resumed = s.resumes()
	s.result.drained = s.result.resumed + s.drains()
	s.bar("deliveries resume", s.result.resumed, 10*time.Second)
	s.bar("answers, the slowest", a.quantile(1), 1500*time.Millisecond)
	s.more(50)
	s.finish(1, s.most())
}

// spoolBroken is a fault in which neither Redis nor the spool takes anything: failure is then the right answer, and a
// success that is none shows as a loss.
func (s *stage) spoolBroken(begin, end func()) {
	s.more(100)
	s.load.phase()
	begin()
	a := s.refused()
	s.await("/readyz says that nothing can be accepted", func() error {
		if _, err := s.relays[0].ready(); err == nil {
			return errors.New("it does not")
		}
		return nil
	})
	s.figure("%d answered `503 failure`, p99 %s", a.Failure, round(a.quantile(0.99)))
	end()
	s.result.during = a
	s.result.resumed = s.resumes()
	s.result.drained = s.result.resumed + s.drains()
	s.bar("deliveries resume", s.result.resumed, 10*time.Second)
	s.more(50)
	s.finish(1, s.most())
}

func spoolKill(s *stage) {
	redis := s.redis()
	r := s.relay(relayOptions{redis: redis.URL()})
	s.push(r)
	s.more(100)
	redis.Kill()
	for range s.kills {
		s.some()
		r.kill()
		r.start()
	}
	s.some()
	s.figure("%v callbacks in the spool at the end", r.metric("kuairelay_spool_files"))
	s.load.phase()
	s.must(redis.Restart())
	s.heal(s.load.phase())
	s.finish(s.kills, s.most())
}

func spoolSigterm(s *stage) {
	redis := s.redis()
	p := s.proxy(redis.Addr)
	r := s.relay(relayOptions{redis: p.url()})
	s.push(r)
	var longest time.Duration
	left := 0
	times := max(2, s.kills/2)
	for i := range times {
		s.more(50)
		redis.Kill()
		s.more(50)
		draining := i%2 == 1
		if draining {
			p.delay.Store(int64(100 * time.Millisecond)) // each round trip of the drain takes that
			s.must(redis.Restart())
			s.await("the spool drains", func() error {
				state, err := r.ready()
				if err == nil && state.Redis != "up" {
					err = fmt.Errorf("redis is %s", state.Redis)
				}
				return err
			})
		}
		took, err := r.terminate()
		if err != nil {
			s.failf("after SIGTERM: %w", err)
		}
		longest = max(longest, took)
		files, err := filepath.Glob(filepath.Join(r.spool, "*", "*.callback"))
		s.must(err)
		if draining {
			left += len(files)
		} else {
			s.must(redis.Restart())
		}
		p.delay.Store(0)
		r.start()
		s.drains()
	}
	if left == 0 {
		s.failf("each time the spool had drained before the relay ended: the row shows nothing")
	}
	s.figure("exit 0 each time, after at most %s; %d callbacks were still in the spool when a "+
		"relay that drained it had ended", round(longest), left)
	s.bar("the end after SIGTERM", longest, 9*time.Second) // the grace is 8
	s.finish(times, s.most())
}

func spoolAdopted(s *stage) {
	redis := s.redis()
	o := relayOptions{redis: redis.URL(), spool: s.join("spool")}
	victim := s.relay(o)
	s.push(victim)
	s.more(50)
	redis.Kill()
	s.more(100)
	s.load.end()
	victim.kill()
	a, b := s.newRelay(o), s.newRelay(o)
	a.launch()
	b.launch()
	a.takesCallbacks()
	b.takesCallbacks()
	waiting := a.metric("kuairelay_spool_waiting") + b.metric("kuairelay_spool_waiting")
	s.push(a, b)
	s.must(redis.Restart())
	s.result.resumed = s.resumes()
	s.result.drained = s.result.resumed + s.drains()
	adopted := a.metric("kuairelay_spool_callbacks_total", `result="adopted"`) +
		b.metric("kuairelay_spool_callbacks_total", `result="adopted"`)
	s.figure("%v callbacks adopted, each once (%v waited before Redis was back)", adopted, waiting)
	s.more(50)
	s.finish(1, s.most())
}
