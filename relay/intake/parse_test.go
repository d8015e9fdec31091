package intake

import (
	"iter"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/spool"
)

// watchedTurn notes whether it is held.
type watchedTurn struct {
	held  bool
	taken int
}

func (t *watchedTurn) Lock() {
	t.held = true
	t.taken++
}

func (t *watchedTurn) Unlock() { t.held = false }

// callbackOf is one with so many bytes at least.
func callbackOf(bytes int) *event.Callback {
	const item = `{"no":"1"}`
	body := `{"type":"express_sub_msg","data":[` + strings.Repeat(item+",", bytes/len(item)) + item + `]}`
	return &event.Callback{Body: []byte(body), ReceivedAt: time.Now()}
}

func TestOnlyALargeCallbackIsParsedInTurn(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int]int{1000: 0, spool.LargeBytes + 1: 1} {
		turn := &watchedTurn{}
		in := &Intake{large: turn}
		parsed, _ := in.Parse(callbackOf(bytes))
		if len(parsed.Events) == 0 {
			t.Errorf("%d bytes: no events", bytes)
		}
		if turn.taken != want || turn.held {
			t.Errorf("%d bytes: the turn was taken %d times, not %d; it is held: %v", bytes, turn.taken, want, turn.held)
		}
	}
}

// While a part of a large callback is on its way to Redis, another large one can be read, and small ones have the
// processor.
func TestTheTurnIsGivenUpWhileAPartIsUsed(t *testing.T) {
	t.Parallel()
	turn := &watchedTurn{}
	in := &Intake{large: turn}
	n := 0
	for range in.parts(callbackOf(10_000)) {
		n++
		if turn.held || turn.taken != n {
			t.Fatalf("at part %d the turn was taken %d times; it is held: %v", n, turn.taken, turn.held)
		}
	}
	if n < 2 || turn.held {
		t.Errorf("%d parts; the turn is held: %v", n, turn.held)
	}
}

func TestInTurnHoldsTheTurnWhileValuesAreMade(t *testing.T) {
	t.Parallel()
	turn := &watchedTurn{}
	var made iter.Seq[int] = func(yield func(int) bool) {
		for n := 0; turn.held && yield(n); n++ {
		}
		if !turn.held {
			t.Error("the turn is not held")
		}
	}
	for n := range inTurn(turn, made) {
		if n == 2 {
			break
		}
	}
	if turn.held {
		t.Error("the turn is held after the end")
	}

	defer func() {
		if recover() == nil || turn.held {
			t.Errorf("a panic: the turn is held: %v", turn.held)
		}
	}()
	for range inTurn(turn, made) {
		panic("used badly")
	}
}
