package crash

import (
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

const kills = 20

// timeout of an attempt. A delivery of a relay that was killed stays leased to it for 2 × timeout + 5 s.
const timeout = time.Second

func TestNothingIsLostWhenTheRelayIsKilledTwentyTimes(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t, "--appendonly", "yes")
	a, b := newReceiver(t), newReceiver(t)
	r := newRelay(t, redis.URL(), timeout, a, b)
	r.start()
	l := startLoad(t, 8, func() string { return r.url })
	for range kills {
		moreBy(t, l, 20+rand.IntN(200))
		r.kill()
		r.start()
	}
	finish(t, l, kills, a, b)
}

func TestNothingIsLostWhenOneOfTwoReplicasIsKilled(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t, "--appendonly", "yes")
	a, b := newReceiver(t), newReceiver(t)
	victim, other := newRelay(t, redis.URL(), timeout, a, b), newRelay(t, redis.URL(), timeout, a, b)
	victim.start()
	other.start()
	var n atomic.Int64
	l := startLoad(t, 8, func() string { return []string{victim.url, other.url}[n.Add(1)%2] })
	for range kills {
		moreBy(t, l, 20+rand.IntN(100))
		victim.kill()
		moreBy(t, l, 20+rand.IntN(100))
		victim.start()
	}
	finish(t, l, kills, a, b)
}

// The other replica goes on with its own deliveries at once, long before the leases of the dead one fall due.
func TestAKilledReplicaDoesNotHoldUpTheOther(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t)
	a := newReceiver(t)
	reached := make(chan struct{})
	killed := make(chan struct{})
	a.hold = func(u update) {
		if u.waybill == "stuck" && a.seen(u) == 1 {
			close(reached)
			<-killed
		}
	}
	victim, other := newRelay(t, redis.URL(), 5*time.Second, a), newRelay(t, redis.URL(), 5*time.Second, a)
	victim.start()
	other.start()
	l := &load{t: t, stop: make(chan struct{})}
	stuck := update{"stuck", 1}
	l.push(stuck, func() string { return victim.url })
	<-reached
	victim.kill()
	close(killed)
	for i := range 50 {
		l.push(update{"own", i + 1}, func() string { return other.url })
	}
	until(t, "the other replica's own deliveries arrive", func() bool { return a.seen(update{"own", 50}) == 1 })
	if a.seen(stuck) != 1 {
		t.Error("the dead replica's delivery was repeated first: its lease did not hold")
	}
	until(t, "the dead replica's delivery falls due", func() bool { return a.seen(stuck) == 2 })
	a.check("a", l.acked)
}

func TestARelayStoppedPastItsLeasesDoesNoHarmWhenItGoesOn(t *testing.T) {
	t.Parallel()
	redis := redisserver.Start(t, "--appendonly", "yes")
	a, b := newReceiver(t), newReceiver(t)
	sleeper, other := newRelay(t, redis.URL(), timeout, a, b), newRelay(t, redis.URL(), timeout, a, b)
	sleeper.start()
	other.start()
	var n atomic.Int64
	l := startLoad(t, 8, func() string { return []string{sleeper.url, other.url}[n.Add(1)%2] })
	const stops = 2
	for range stops {
		moreBy(t, l, 200)
		sleeper.signal(syscall.SIGSTOP)
		stopped := time.Now()
		until(t, "its leases lapse", func() bool { return time.Since(stopped) > 2*timeout+6*time.Second })
		sleeper.signal(syscall.SIGCONT)
	}
	finish(t, l, stops, a, b)
}

// moreBy waits until n more events were acknowledged.
func moreBy(t *testing.T, l *load, n int) {
	t.Helper()
	before := l.count()
	until(t, "more events are acknowledged", func() bool { return l.count() >= before+n })
}

// finish ends the load, waits until everything acknowledged has arrived, and checks it.
func finish(t *testing.T, l *load, interruptions int, receivers ...*receiver) {
	t.Helper()
	acked := l.end()
	repeated := 0
	for _, r := range receivers {
		until(t, "everything acknowledged arrives", func() bool { return r.has(acked) })
		repeated += r.check(r.URL, acked)
	}
	most := interruptions * inFlight * len(receivers)
	t.Logf("%d events acknowledged, %d interruptions, %d deliveries repeated (at most %d may be)", len(acked), interruptions, repeated, most)
	if repeated > most {
		t.Errorf("%d deliveries were repeated, and at most %d were in flight", repeated, most)
	}
}
