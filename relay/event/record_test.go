package event_test

import (
	"testing"

	"kuairelay/relay/event"
)

func TestEveryStateIsOpenOrAnEnd(t *testing.T) {
	t.Parallel()
	open := map[event.State]bool{
		event.StateQueued: true, event.StateSending: true, event.StateRetrying: true, event.StateWaiting: true,
		event.StateDelivered: false, event.StateDead: false, event.StateDismissed: false,
	}
	if len(event.States()) != len(open) {
		t.Errorf("%d states, the table has %d", len(event.States()), len(open))
	}
	for _, s := range event.States() {
		if want, known := open[s]; !known || s.Open() != want {
			t.Errorf("%s is open: %v", s, s.Open())
		}
	}
}

// Only 2xx is a delivery; everything else has a text that says why it is none.
func TestAnAttemptThatAnswers2xxIsGoodAndNoOther(t *testing.T) {
	t.Parallel()
	for status, good := range map[int]bool{0: false, 199: false, 200: true, 204: true, 299: true, 300: false, 500: false} {
		if got := (event.AttemptRecord{Status: status}).Good(); got != good {
			t.Errorf("%d is good: %v", status, got)
		}
		want := "no\uFFFD"
		if good {
			want = ""
		}
		if text := (event.Attempt{Status: status, Answer: []byte("no\xff")}).Text(); text != want {
			t.Errorf("the text of %d is %q, want %q", status, text, want)
		}
	}
	if got := (event.Attempt{Err: "timeout: 10 s", Answer: []byte("x")}).Text(); got != "timeout: 10 s" {
		t.Errorf("the text of an error is %q", got)
	}
}
