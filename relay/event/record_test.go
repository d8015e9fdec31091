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
