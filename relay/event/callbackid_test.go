package event

import (
	"testing"
	"time"
)

func TestTheIDOfACallbackSaysWhenItCame(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	before := ""
	for _, at := range []time.Time{
		time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(1_795_452_584_123), time.UnixMilli(2_821_109_907_455),
	} {
		id := NewCallbackID(at)
		got, ok := CallbackTime(id)
		if !ok || !got.Equal(at) || len(id) != len("cb_mir3k9x2a7q2f8") {
			t.Errorf("%s: %s, %v, want %s", id, got, ok, at)
		}
		if id <= before {
			t.Errorf("%s is not behind %s", id, before)
		}
		before = id
	}

	for range 50 {
		seen[NewCallbackID(time.UnixMilli(1_795_452_584_123))] = true
	}
	if len(seen) < 49 { // two may have the same by chance
		t.Errorf("50 callbacks of one millisecond have %d ids", len(seen))
	}
	for _, id := range []string{
		"", "cb_", "cb_mir3k9x2a7q2f", "cb_mir3k9x2a7q2f88", "cb_MIR3k9x2a7q2f8", "cb_-ir3k9x2a7q2f8",
		"evt_mir3k9x2a7q2f8", "cb_mir3k9x2a7q2f ",
	} {
		if at, ok := CallbackTime(id); ok {
			t.Errorf("%q is read as an id of %s", id, at)
		}
	}
}
