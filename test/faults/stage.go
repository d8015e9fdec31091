package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kuairelay/test/redisserver"
)

// patience is how long a condition may take that has to come about.
const patience = 90 * time.Second

// size is how much of a fault a row makes.
type size struct {
	kills  int           // how often something is killed
	lasts  time.Duration // how long a fault lasts that has a length
	rate   float64       // callbacks a second
	strict bool          // figures of time are judged, too: not in tests, which share the machine with others
}

var (
	full  = size{kills: 20, lasts: 5 * time.Second, rate: 200, strict: true}
	short = size{kills: 4, lasts: time.Second, rate: 40}
)

// stage is what a row plays on: its own endpoints, checker, load, relays and servers. Its methods are for the row's
// goroutine. Whatever fails in them ends the row, as it does in a test, and whatever they start ends with the row.
type stage struct {
	*session
	size
	ctx       context.Context
	seed      uint64
	rand      *rand.Rand
	dir       string
	check     *checker
	endpoints []*endpoint
	relays    []*relay
	load      *load
	loads     int      // so far
	started   []*relay // all of them
	dead      string   // an endpoint whose deliveries have to be given up
	inTurn    bool     // each waybill is pushed to all relays
	done      []string // in a row of chance: what was done, and when
	cleanups  []func()
	result    result
}

// result is what a row has shown.
type result struct {
	row      row
	err      error
	took     time.Duration
	acked    int // events
	times    int // how often the fault happened
	faults   faults
	repeated int     // how many requests may have come again
	during   answers // while the fault lasted
	resumed  time.Duration
	drained  time.Duration
	figures  []string // of its own
}

// aborted is how a stage's methods end a row.
type aborted struct{ error }

// play runs one row, and returns what it has shown.
func (s *session) play(ctx context.Context, r row, z size) (res result) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.name))
	seed := s.seed ^ h.Sum64()
	ctx, cancel := context.WithCancel(ctx)
	st := &stage{session: s, size: z, ctx: ctx, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), result: result{row: r}}
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			a, ok := p.(aborted)
			if !ok {
				panic(p)
			}
			st.result.err = st.blame(a.error)
		}
		cancel()
		st.close()
		res = st.result
		res.took = time.Since(began)
	}()
	var err error
	st.dir, err = os.MkdirTemp(s.scratch, r.name)
	st.must(err)
	st.check = newChecker(st.owed)
	st.endpoint("shop/all", "")
	st.endpoint("shop/zt", "zt")
	st.endpoint("mail/sto", "sto")
	r.run(st)
	return st.result
}

// close ends everything that was started, the last first.
func (s *stage) close() {
	if s.load != nil {
		s.load.end()
	}
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	_ = os.RemoveAll(s.dir)
}

func (s *stage) cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// must ends the row if something failed that has to go well.
func (s *stage) must(err error) {
	if err != nil {
		panic(aborted{err})
	}
}

func (s *stage) failf(format string, args ...any) { s.must(fmt.Errorf(format, args...)) }

// blame adds the ends of the relays' logs to an error.
func (s *stage) blame(err error) error {
	if all := s.check.disorder; len(all) > 0 {
		err = errors.Join(err, fmt.Errorf("out of order:\n%s\ndone:\n%s", strings.Join(all, "\n"),
			strings.Join(s.done, "\n")))
	}
	for _, r := range s.started {
		text, _ := os.ReadFile(r.log.Name())
		lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
			return strings.Contains(line, `"level":"info"`)
		})
		err = errors.Join(err, fmt.Errorf("the end of a relay's log:\n%.3000s",
			strings.Join(lines[max(0, len(lines)-8):], "\n")))
	}
	return err
}

// finalError is an error that no waiting mends.
type finalError struct{ error }

func final(err error) error { return finalError{err} }

// await waits until a condition holds, which says in an error what is missing, and returns how long that took.
func (s *stage) await(what string, ok func() error) time.Duration {
	began := time.Now()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := ok()
		if err == nil {
			return time.Since(began)
		}
		if _, isFinal := errors.AsType[finalError](err); isFinal || time.Since(began) > patience {
			s.failf("not within %s: %s: %w", time.Since(began).Round(time.Second), what, err)
		}
		s.must(sleep(s.ctx, pause))
	}
}

// wait lets time pass.
func (s *stage) wait(d time.Duration) { s.must(sleep(s.ctx, d)) }

// folder makes a new one.
func (s *stage) folder(name string) string {
	dir, err := os.MkdirTemp(s.dir, name)
	s.must(err)
	return dir
}

// endpoint adds one. Relays that are made later deliver to it.
func (s *stage) endpoint(name, brand string) *endpoint {
	e, err := newEndpoint(s.ctx, s.check, name, brand, "127.0.0.2:0")
	s.must(err)
	s.cleanup(e.close)
	s.endpoints = append(s.endpoints, e)
	return e
}

// owed says by the routes that the config has.
func (s *stage) owed(name, brand string) bool {
	return slices.ContainsFunc(s.endpoints, func(e *endpoint) bool {
		return e.name == name && (e.brand == "" || e.brand == brand)
	})
}

// redis starts a Redis that loses nothing by itself.
func (s *stage) redis(args ...string) *redisserver.Server {
	r, err := redisserver.New(s.folder("redis"),
		append([]string{"--appendonly", "yes", "--appendfsync", "always"}, args...)...)
	s.must(err)
	s.cleanup(r.Kill)
	return r
}

// do sends a command to a server.
func (s *stage) do(r *redisserver.Server, command ...string) string {
	reply, err := r.Do(command...)
	s.must(err)
	return reply
}

// pushInTurn starts the load of a row, which takes the relays in turn, whatever the waybill is.
func (s *stage) pushInTurn(relays ...*relay) {
	var turn atomic.Int64
	s.inTurn = true
	s.pushTo(func(int) string { return relays[int(turn.Add(1))%len(relays)].url }, relays...)
}

// push starts the load of a row, in which each pusher, and so each waybill, has one of the relays: there is no order
// between replicas while one of them spools. A second load has waybills of its own.
func (s *stage) push(relays ...*relay) {
	s.pushTo(func(p int) string { return relays[p%len(relays)].url }, relays...)
}

func (s *stage) pushTo(where func(int) string, relays ...*relay) {
	s.relays = relays
	s.startLoad(loadOptions{pushers: 16, waybills: 4, rate: s.rate, where: where})
}

func (s *stage) startLoad(o loadOptions) {
	if s.load != nil {
		s.load.end()
	}
	s.loads++
	o.prefix = fmt.Sprintf("%d.", s.loads)
	s.load = startLoad(s.ctx, s.seed+uint64(s.loads), s.check, o)
}

// more waits until so many more events were acknowledged.
func (s *stage) more(n int) {
	before := s.check.count()
	s.await(fmt.Sprintf("%d more events are acknowledged", n), func() error {
		if got := s.check.count() - before; got < n {
			return fmt.Errorf("%d were", got)
		}
		return nil
	})
}

// some is more by a number that is drawn.
func (s *stage) some() { s.more(10 + s.rand.IntN(int(s.rate)/2)) }

// resumes waits until something new arrives.
func (s *stage) resumes() time.Duration {
	before := s.check.firsts("")
	return s.await("deliveries resume", func() error {
		if s.check.firsts("") == before {
			return errors.New("nothing arrives")
		}
		return nil
	})
}

// drains waits until no relay has anything in its spool, and all say that they are ready.
func (s *stage) drains() time.Duration {
	return s.await("the relays are ready, and their spools empty", func() error {
		for _, r := range s.relays {
			if err := r.drained(); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish ends the load, waits until everything acknowledged has arrived and nothing is owed any more, and judges it.
// The fault happened so many times, and each time so many requests may have come again.
func (s *stage) finish(times, repeated int) {
	s.load.end()
	s.result.times = times
	s.result.repeated += times * repeated
	s.settle()
}

// settle waits until everything acknowledged has arrived and nothing is owed any more, and judges it.
func (s *stage) settle() {
	s.result.acked = s.check.count()
	defer func() { s.result.faults = s.check.verdict() }()
	s.arrives()
	var dead float64
	s.await("nothing is owed any more", func() error {
		open, err := s.relays[0].depth("open")
		if err == nil && open > 0 {
			err = fmt.Errorf("%v deliveries are open", open)
		}
		if err == nil {
			dead, err = s.relays[0].depth("dead")
		}
		return err
	})
	if s.dead != "" {
		dead -= s.relays[0].metric("kuairelay_queue_depth", `state="dead"`, `endpoint="`+s.dead+`"`)
	}
	if dead > 0 {
		s.failf("%v deliveries were given up", dead)
	}
	if !s.strict {
		s.result.repeated += s.excused()
	}
	f := s.check.verdict()
	if n := s.spooled(); s.inTurn && n > 0 {
		// Redis took longer than a callback waits, as it may on a busy machine.
		s.figure("%d callbacks went through a spool, and there is no order between replicas then: it is not judged", n)
		f.Disordered = 0
	}
	s.must(f.judge(s.result.repeated))
}

// arrives waits until everything acknowledged has arrived, as long as something does: a waybill's updates come one
// after the other, and where relays were killed for long, its line is long.
func (s *stage) arrives() {
	least := s.check.missing()
	for least > 0 {
		s.await("more of what was acknowledged arrives", func() error {
			if n := s.check.missing(); n >= least {
				return fmt.Errorf("%d deliveries did not", n)
			}
			return nil
		})
		least = s.check.missing()
	}
}

// spooled is how many callbacks the relays say that they have put into their spools.
func (s *stage) spooled() (n int) {
	for _, r := range s.started {
		n += r.logged(`"spooled":true`)
	}
	return n
}

// excused is how many more requests may come again because the machine is busy: those that were answered too late, and,
// where Redis was too late, those in flight then.
func (s *stage) excused() (n int) {
	for _, r := range s.started {
		n += r.logged(`"outcome":"retry"`) + r.logged("outcome not settled") + s.most()*r.logged("redis cannot take events")
	}
	return n
}

// most is how many requests may come again when a relay dies.
func (s *stage) most() int { return inFlight * len(s.endpoints) }

// figure notes one of the row's own.
func (s *stage) figure(format string, args ...any) {
	s.result.figures = append(s.result.figures, fmt.Sprintf(format, args...))
}

// bar judges a figure of time, where that is wanted.
func (s *stage) bar(what string, got, most time.Duration) {
	if s.strict && got > most {
		s.failf("%s: %s, at most %s", what, got.Round(time.Millisecond), most)
	}
}

// join is the path of something in the stage's folder.
func (s *stage) join(name string) string { return filepath.Join(s.dir, name) }
