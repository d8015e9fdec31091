package kuaidihelp

import (
	"testing"

	"kuairelay/relay/event"
)

// What routes are asked of an event again that the store had: its tracks, and whether it has any.
func TestAnEventIsReadAgainAsItCame(t *testing.T) {
	t.Parallel()
	for _, item := range []string{
		`{"waybill_code":"1","cp_code":"zt","data":[{"time":"2026-11-23 09:12:31","context":"a"},` +
			`{"time":"2026-11-23 10:00:00","context":"b"}]}`,
		`{"waybill_code":"1","cp_code":"zt","status":"signed"}`,
	} {
		came := Parse("", WithItem([]byte(item)), at).Events[0]
		stored := *came
		stored.ID, stored.Tracks, stored.Bare = "evt_with_a_suffix", nil, false
		again := Reread(stored)
		if len(again.Tracks) != len(came.Tracks) || again.Bare != came.Bare || again.ID != stored.ID ||
			string(again.Data) != item {
			t.Errorf("%s: %+v", item, again)
		}
	}

	other := event.Event{ID: "1", Type: "print", Data: []byte(`{"waybill_code":"1",` +
		`"data":[{"time":"2026-11-23 09:12:31"}]}`)}
	if again := Reread(other); len(again.Tracks) != 0 || again.Bare {
		t.Errorf("of another type: %+v", again)
	}
}
