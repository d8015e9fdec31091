package logonce

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestAChangeIsNoticedOnce(t *testing.T) {
	t.Parallel()
	full, away := errors.New("the disk is full"), errors.New("the disk is gone")
	var c Change[string]
	for i, step := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {full, true}, {full, false}, {errors.New("the disk is full"), false}, {away, true}, {full, true},
		{nil, true}, {nil, false}, {full, true},
	} {
		if got := c.To(Text(step.err)); got != step.want || c.Latest() != Text(step.err) {
			t.Errorf("step %d, %v: %t, and %q is remembered", i, step.err, got, c.Latest())
		}
	}
}

func TestAThrottleAllowsOncePerSpan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var throttle Throttle
		for i, step := range []struct {
			wait time.Duration
			want bool
		}{
			{0, true}, {0, false}, {time.Minute - 1, false}, {1, true}, {time.Minute - 1, false}, {time.Hour, true}, {0, false},
		} {
			time.Sleep(step.wait)
			if got := throttle.Allow(time.Minute); got != step.want {
				t.Errorf("step %d, %s later: %t", i, step.wait, got)
			}
		}
	})
}

func TestWhatComesUpAgainAndAgainIsNewOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r Repeats
		for i, step := range []struct {
			wait time.Duration
			text string
			want bool
		}{
			{0, "down", true}, {time.Minute - 1, "down", false}, {time.Minute - 1, "down", false}, {0, "full", true},
			{0, "down", false}, {time.Minute, "down", true}, {0, "full", true}, {0, "full", false},
		} {
			time.Sleep(step.wait)
			if got := r.New(step.text, time.Minute); got != step.want {
				t.Errorf("step %d, %s after %s: %t", i, step.text, step.wait, got)
			}
		}

		for i := range 3 * repeatsMost {
			r.New(strconv.Itoa(i), time.Minute)
		}
		if len(r.last) > repeatsMost {
			t.Errorf("%d texts are remembered", len(r.last))
		}
	})
}
