package main

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
)

var relayRows = []row{
	{name: "relay-kill", fault: "relay killed (-9)", does: "one relay, killed and started again under load",
		run: relayKill},
	{name: "replica-kill", fault: "one of two relays killed (-9)",
		does: "two relays take callbacks in turn; one is killed and started again", run: replicaKill},
	{name: "other-goes-on", fault: "one of two relays killed (-9), seen from the other",
		does: "a relay dies with a delivery in flight; the other's own arrive before that lease falls due", run: otherGoesOn},
	{name: "sigterm", fault: "SIGTERM", does: "two relays, stopped in turn in good order and started again", run: sigterm},
	{name: "relay-hung", fault: "relay held still past its leases",
		does: "one of two relays is stopped (SIGSTOP) for longer than its leases last, and goes on", run: relayHung},
	{name: "embedded-kill", fault: "embedded mode, kill -9", does: "a relay without Redis, killed " +
		"and started again under load", run: embeddedKill},
	{name: "quarantine", fault: "callback not understood", does: "callbacks that nobody understands, among " +
		"others, before and after a kill -9", run: quarantine},
	{name: "config-broken", fault: "config broken on reload", does: "a relay's config is broken in five ways and mended " +
		"again under load; it is read on SIGHUP, POST /-/reload, or by itself", run: brokenConfig},
}

func relayKill(s *stage) {
	r := s.relay(relayOptions{redis: s.redis().URL()})
	s.push(r)
	kills := max(s.kills, 10)
	for range kills {
		s.some()
		r.kill()
		r.start()
	}
	s.finish(kills, s.most())
}

func replicaKill(s *stage) {
	o := relayOptions{redis: s.redis().URL()}
	victim, other := s.relay(o), s.relay(o)
	s.pushInTurn(other, victim)
	kills := max(s.kills, 10)
	for range kills {
		s.some()
		victim.kill()
		s.some()
		victim.start()
	}
	s.finish(kills, s.most())
}

func otherGoesOn(s *stage) {
	o := relayOptions{redis: s.redis().URL(), timeout: 2 * time.Second}
	victim, other := s.relay(o), s.relay(o)
	s.relays = []*relay{other}
	all := s.endpoints[0]
	stuck := update{"ydstuck", 1} // of a brand that only this endpoint gets
	reached, killed := make(chan struct{}), make(chan struct{})
	all.behave(func(_ http.ResponseWriter, _ *http.Request, u update, take func() int) {
		if take() == 1 && u == stuck {
			close(reached)
			<-killed
		}
	})
	begun := time.Now()
	s.pushOne(victim, stuck)
	select {
	case <-reached:
	case <-time.After(patience):
		s.failf("the delivery does not come")
	}
	victim.kill()
	died := time.Now()
	close(killed)
	const own, lease = 50, 9 * time.Second
	for n := range own {
		s.pushOne(other, update{"ydown", n + 1})
	}
	s.await("the other's own deliveries arrive", func() error {
		if s.check.seen(all.name, update{"ydown", own}) == 0 {
			return errors.New("they do not")
		}
		return nil
	})
	s.figure("%d of the other's own arrive in %s", own, round(time.Since(died)))
	if seen := s.check.seen(all.name, stuck); seen > 1 && time.Since(begun) < lease {
		s.failf("the dead relay's delivery was repeated first: its lease did not hold")
	}
	s.await("the dead relay's delivery falls due", func() error {
		if s.check.seen(all.name, stuck) < 2 {
			return errors.New("it does not")
		}
		return nil
	})
	s.figure("the dead one's is repeated after %s (lease: %s)", round(time.Since(died)), lease)
	s.result.times, s.result.repeated = 1, 1
	s.settle()
}

// pushOne pushes one update to a relay, until it is answered success.
func (s *stage) pushOne(r *relay, u update) {
	s.check.pushing([]update{u})
	s.await("a callback is taken", func() error {
		if status, answer := post(s.ctx, r.url, callback([]update{u})); status != http.StatusOK || answer != "success" {
			return fmt.Errorf("%d %s", status, answer)
		}
		return nil
	})
	s.check.acknowledged([]update{u})
}

func sigterm(s *stage) {
	o := relayOptions{redis: s.redis().URL()}
	a, b := s.relay(o), s.relay(o)
	s.pushInTurn(a, b)
	var longest time.Duration
	for i := range s.kills {
		s.some()
		r := []*relay{a, b}[i%2]
		took, err := r.terminate()
		if err != nil {
			s.failf("after SIGTERM: %w", err)
		}
		longest = max(longest, took)
		s.some()
		r.start()
	}
	s.figure("exit 0 each time, after at most %s", round(longest))
	s.bar("the end after SIGTERM", longest, 9*time.Second) // the grace is 8
	s.finish(s.kills, 0)
}

func relayHung(s *stage) {
	o := relayOptions{redis: s.redis().URL()}
	sleeper, other := s.relay(o), s.relay(o)
	s.pushInTurn(sleeper, other)
	stops := max(1, s.kills/10)
	for range stops {
		s.more(100)
		sleeper.signal(syscall.SIGSTOP)
		s.wait(8 * time.Second) // a lease lasts 7
		sleeper.signal(syscall.SIGCONT)
	}
	s.more(100)
	s.finish(stops, s.most())
}

func embeddedKill(s *stage) {
	r := s.relay(relayOptions{})
	s.push(r)
	open := 0.0
	for range s.kills {
		s.some()
		s.wait(time.Duration(s.rand.IntN(1000)) * time.Millisecond) // to get over the last kill, or not
		open += r.metric("kuairelay_spool_files")
		r.kill()
		r.start()
	}
	// A file stays until its events are delivered to every endpoint, and brings back those deliveries that were already
	// made.
	s.figure("%.0f callbacks in the spool, all in all, when it was killed", open)
	s.result.repeated = int(open) * len(s.endpoints) * s.load.o.waybills
	s.finish(s.kills, s.most())
}

// quarantine counts in Redis itself, through the store, as no command lists it yet.
func quarantine(s *stage) {
	redis := s.redis()
	r := s.relay(relayOptions{redis: redis.URL()})
	s.push(r)
	want := 0
	junk := func() {
		for range 10 {
			want++
			body := fmt.Sprintf(`{"type":"express_sub_msg","data":"nobody understands this %d`, want)
			s.await("a callback that cannot be understood is taken", func() error {
				if status, answer := post(s.ctx, r.url, body); status != http.StatusOK || answer != "success" {
					return fmt.Errorf("%d %s", status, answer)
				}
				return nil
			})
		}
	}
	junk()
	s.some()
	r.kill()
	r.start()
	s.trouble(func() { redis.Kill(); junk() }, func() { s.must(redis.Restart()) })
	d, err := db.New(db.Options{URL: redis.URL()})
	s.must(err)
	s.cleanup(func() { _ = d.Close() })
	kept := store.New(d, store.Options{})
	s.await("all of it is in quarantine", func() error {
		got, _, err := kept.Quarantined(s.ctx, 0, 2*want)
		if err == nil && len(got) != want {
			err = fmt.Errorf("%d of %d are", len(got), want)
		}
		return err
	})
	s.figure("%d of %d in quarantine, 10 of them pushed while Redis was down", want, want)
	s.finish(1, s.most())
}
