package console

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestASessionAsksSoOftenASecond(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	r := newRates(func() time.Time { return now })
	ask := func(token string) time.Duration {
		leave, wait := r.enter(t.Context(), token, 20)
		if leave != nil {
			leave()
		}
		return wait
	}
	for n := range 20 {
		if wait := ask("a"); wait > 0 {
			t.Fatalf("number %d waits %s", n+1, wait)
		}
	}
	if wait := ask("a"); wait != time.Second/20 {
		t.Errorf("one more waits %s", wait)
	}
	if wait := ask("b"); wait > 0 {
		t.Errorf("another session waits %s", wait)
	}
	now = now.Add(time.Second / 20)
	if wait := ask("a"); wait > 0 {
		t.Errorf("after its time it waits %s", wait)
	}
}

func TestASessionIsAnsweredAFewAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRates(time.Now)
		var leaves []func()
		for range sessionAtOnce {
			leave, _ := r.enter(t.Context(), "a", 100)
			leaves = append(leaves, leave)
		}

		// One more waits for a place, for a while.
		began := time.Now()
		if leave, wait := r.enter(t.Context(), "a", 100); leave != nil || wait <= 0 || time.Since(began) != sessionWait {
			t.Errorf("one more got in: %v, or waited %s, to come again after %s", leave != nil, time.Since(began), wait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if leave, _ := r.enter(ctx, "a", 100); leave != nil {
			t.Error("one that has gone got in")
		}
		time.AfterFunc(time.Second, leaves[0])
		began = time.Now()
		if leave, _ := r.enter(t.Context(), "a", 100); leave == nil || time.Since(began) != time.Second {
			t.Errorf("it got in: %v, after %s", leave != nil, time.Since(began))
		}
	})
}

func TestSoManySessionsAreRememberedAtMost(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	r := newRates(func() time.Time { return now })
	ask := func(token string) {
		if leave, _ := r.enter(t.Context(), token, 20); leave != nil {
			leave()
		}
	}
	for n := range 2 * maxSessions {
		ask(strconv.Itoa(n))
	}
	if len(r.of) > maxSessions+1 {
		t.Errorf("%d are remembered", len(r.of))
	}
	now = now.Add(time.Minute)
	ask("one more")
	if len(r.of) != 1 {
		t.Errorf("%d are remembered after a minute", len(r.of))
	}
}
