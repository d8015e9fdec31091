package api

import (
	"testing"

	"kuairelay/relay/event"
)

func TestTheStateOfAnEventIsTheWorstOfItsDeliveries(t *testing.T) {
	t.Parallel()
	for _, s := range event.States() {
		want := string(s)
		if s.Open() {
			want = "open"
		}
		if got := stateOf([]Delivery{{State: s}}); got != want {
			t.Errorf("one delivery that is %s: %s, want %s", s, got, want)
		}
	}
	for want, states := range map[string][]event.State{
		"unrouted": {}, "dead": {event.StateDelivered, event.StateQueued, event.StateDead},
		"open":      {event.StateDismissed, event.StateDelivered, event.StateWaiting},
		"delivered": {event.StateDismissed, event.StateDelivered}, "dismissed": {event.StateDismissed, event.StateDismissed},
	} {
		var ds []Delivery
		for _, s := range states {
			ds = append(ds, Delivery{State: s})
		}
		if got := stateOf(ds); got != want {
			t.Errorf("%v: %s, want %s", states, got, want)
		}
	}
}
