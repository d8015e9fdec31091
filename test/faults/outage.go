package main

import (
	"fmt"
	"time"
)

// outage is a minute without Redis at full load: what it costs in memory, how long callbacks wait for their answers,
// and how long the backlog takes to go away while new callbacks come in. Each callback is of a waybill of its own.
func outage(s *stage) {
	const rate, warm = 1000, 3 * time.Second
	lasts := 12 * s.lasts // a minute
	s.endpoints = s.endpoints[:1]
	redis := s.redis("--appendfsync", "everysec")
	r := s.relay(relayOptions{redis: redis.URL(), quiet: true})
	s.relays = []*relay{r}
	s.startLoad(loadOptions{pushers: 256, waybills: 1000, rate: rate, single: true, catchUp: true,
		where: func(int) string {
			return r.url
		}})
	s.wait(warm)
	s.load.phase()
	before, most := r.memory(), 0.0
	redis.Kill()
	for began := time.Now(); time.Since(began) < lasts; s.wait(200 * time.Millisecond) {
		most = max(most, r.memory())
	}
	a := s.load.phase()
	s.result.during = a
	waiting := r.metric("kuairelay_spool_waiting")
	s.must(redis.Restart())
	s.result.resumed = s.resumes()
	peak := 0.0
	s.result.drained = s.await("what was in the spool is drained", func() error {
		peak = max(peak, r.memory())
		// The oldest go first, so that so many are those of the outage.
		if n := r.metric("kuairelay_spool_callbacks_total", `result="drained"`); n < waiting {
			return fmt.Errorf("%.0f of %.0f are", n, waiting)
		}
		return nil
	})
	after := s.load.phase()
	s.figure("%d callbacks in %s, %.0f in the spool at the end", a.all(), lasts, waiting)
	s.figure("relay %.0f MiB before, at most %.0f MiB more in the outage, %.0f MiB while it drains", before/(1<<20),
		(most-before)/(1<<20), peak/(1<<20))
	s.figure("drained in %s (%.0f/s), while %d new callbacks were taken (p99 %s)", round(s.result.drained),
		waiting/s.result.drained.Seconds(), after.Success, round(after.quantile(0.99)))
	s.load.end()
	s.figure("nothing in the spool %s after that", round(s.drains()))
	s.finish(1, s.most())
	s.bar("deliveries resume", s.result.resumed, 10*time.Second)
	s.bar("answers, p99", a.quantile(0.99), 500*time.Millisecond)
	s.bar("answers, the slowest", a.quantile(1), time.Second)
	s.bar("the spool is drained", s.result.drained, time.Minute)
	if s.strict {
		s.must(problems(a, waiting, (most-before)/(1<<20)))
	}
}

func problems(a answers, waiting, grown float64) error {
	switch {
	case a.Failure+a.None > 0:
		return fmt.Errorf("of %d callbacks %d were answered failure, %d not at all", a.all(), a.Failure, a.None)
	case waiting < 50_000:
		return fmt.Errorf("only %.0f callbacks were in the spool: the load was too small", waiting)
	case grown >= 64:
		return fmt.Errorf("the relay grew by %.0f MiB, at most 64", grown)
	}
	return nil
}
