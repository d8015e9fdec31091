package console

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnAnswerIsAskedForOnceForAllWhoLook(t *testing.T) {
	t.Parallel()
	m := newMemo(10)
	asked := 0
	get := func(key string) (int, error) {
		return keep(m, time.Now(), key, always(time.Minute), func() (int, error) {
			asked++
			return asked, nil
		})
	}
	for range 3 {
		if got, err := get("operator"); err != nil || got != 1 {
			t.Errorf("asked %d times, %v", got, err)
		}
	}
	if got, _ := get("shop"); got != 2 {
		t.Error("another gets what was asked for the operator")
	}

	// An error is given to whoever asked, and not kept.
	down := errors.New("down")
	_, err := keep(m, time.Now(), "failing", always(time.Minute), func() (int, error) { return 0, down })
	if !errors.Is(err, down) {
		t.Errorf("an error is lost: %v", err)
	}
	if got, err := get("failing"); err != nil || got != 3 {
		t.Errorf("an error is kept: %d, %v", got, err)
	}

	m.forgetOf("oper")
	if got, _ := get("operator"); got != 4 {
		t.Error("what was forgotten by the beginning of its key is there")
	}
	if got, _ := get("shop"); got != 2 {
		t.Error("what others ask for is forgotten, too")
	}
	m.forget()
	if got, _ := get("operator"); got != 5 {
		t.Error("what was forgotten is there")
	}
	for i := range 30 {
		_, _ = get(strconv.Itoa(i))
	}
	if len(m.by) > 10 {
		t.Errorf("%d answers are kept", len(m.by))
	}
}

func TestAnAnswerThatTookLongIsKeptLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemo(10)
		asked := 0
		get := func() int {
			got, _ := keep(m, time.Now(), "all", countsFor, func() (int, error) {
				time.Sleep(time.Second)
				asked++
				return asked, nil
			})
			return got
		}
		get()
		time.Sleep(20*time.Second - 1)
		if got := get(); got != 1 {
			t.Errorf("it was asked for %d times", got)
		}
		time.Sleep(time.Nanosecond)
		if got := get(); got != 2 {
			t.Errorf("it was asked for %d times after its time", got)
		}
	})
	if got := countsFor(time.Millisecond); got != 3*time.Second {
		t.Errorf("a count that is quick to make is kept for %s", got)
	}
}

// What is asked for while all is forgotten may be of before: it is not kept.
func TestWhatIsAskedForWhileAllIsForgottenIsNotKept(t *testing.T) {
	t.Parallel()
	m := newMemo(10)
	_, _ = keep(m, time.Now(), "all", always(time.Minute), func() (int, error) {
		m.forget()
		return 1, nil
	})
	got, _ := keep(m, time.Now(), "all", always(time.Minute), func() (int, error) { return 2, nil })
	if got != 2 {
		t.Error("a count of before an act is shown after it")
	}
}
