package db

import (
	"context"
	"testing"
	"time"

	"kuairelay/test/redisserver"
)

func TestTheTimeOfTheStoreGoesOnWhenTheClockOfRedisIsSet(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t).URL()
	a, b := newDB(t, url), newDB(t, url)
	for _, step := range []time.Duration{-time.Minute, time.Minute, -time.Hour} {
		before := a.Now()
		// The clock of Redis cannot be set here: the offset is, behind the backs of the replicas, which comes to the
		// same.
		if err := a.Client.HIncrBy(t.Context(), a.Key("clock"), "offset", step.Milliseconds()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := a.Client.HDel(t.Context(), a.Key("clock"), "last").Err(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*DB{a, b, a, b} {
			if err := s.clock.sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []*DB{a, b, newDB(t, url)} {
			if d := s.Now().Sub(before); d < -time.Millisecond || d > 30*time.Second { // the clock is told in milliseconds
				t.Errorf("after a step of %s a store's time has moved by %s", step, d)
			}
		}
	}
}

func TestTheTimeOfTheStoreDoesNotGoBackWhileNobodyLooks(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t).URL()
	s := newDB(t, url)
	before := s.Now()
	if err := s.Client.HIncrBy(t.Context(), s.Key("clock"), "offset", -60_000).Err(); err != nil {
		t.Fatal(err)
	}
	if now := newDB(t, url).Now(); now.Before(before.Add(-time.Second)) {
		t.Errorf("a store that starts says %s, another said %s before", now, before)
	}
}

func TestAnOffsetOfTheClockGoesAwaySlowly(t *testing.T) {
	t.Parallel()
	s := newDB(t, redisserver.Start(t).URL())
	for _, minute := range []int64{60_000, -60_000} {
		now := time.Now().UnixMilli()
		// 10 s ago an offset of a minute was told.
		if err := s.Client.HSet(t.Context(), s.Key("clock"), "offset", minute, "last", now+minute-10_000).Err(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.readClock(t.Context(), 0, 0); err != nil {
			t.Fatal(err)
		}
		offset, err := s.Client.HGet(t.Context(), s.Key("clock"), "offset").Int64()
		if went := 60_000 - max(offset, -offset); err != nil || went < 500 || went > 3000 {
			t.Errorf("offset %d, %v; want a twentieth of the time that has passed less than %d", offset, err, minute)
		}
	}
}

func TestALateReadingOfTheClockIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := newDB(t, redisserver.Start(t).URL())
	before := s.Now()
	read := s.clock.read
	local, late := s.clock.local, time.Duration(0)
	s.clock.local = func() time.Time { return local().Add(late) }
	s.clock.read = func(ctx context.Context, moves int64, step time.Duration) (time.Time, int64, error) {
		v, moves, err := read(ctx, moves, step)
		late += time.Minute // the process was held still with the answer in its hands
		return v, moves, err
	}
	if err := s.clock.sync(t.Context()); err == nil {
		t.Error("it was believed")
	}
	if d := s.Now().Sub(before) - time.Minute; d < 0 || d > 30*time.Second {
		t.Errorf("the time is off by %s", d)
	}
}
