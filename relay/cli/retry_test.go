package cli_test

import (
	"strings"
	"testing"
)

func TestRetryTriesWhatWaitsAndCountsIt(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, ", retry: [1h, 1h, 1h, 1h]", "--status", "503")
	s.push("1001", "collected")
	s.push("1002", "collected")
	tried := func(waybill string, times int) func() bool {
		return func() bool {
			_, out, _ := s.ask("waybill", waybill)
			return strings.Contains(out, "retrying") && strings.Count(out, "503 ") == times
		}
	}
	until(t, "one is tried", tried("1001", 1))
	until(t, "the other one is tried", tried("1002", 1))

	s.says("retry shop/orders --waybill 1001", "1 delivery is due at once")
	until(t, "it is tried a second time", tried("1001", 2))
	s.says("retry shop/orders --all", "2 deliveries are due at once")
	until(t, "the other one is too", tried("1002", 2))
	until(t, "and the first again", tried("1001", 3))
	s.says("retry shop/orders --all -o json", `"done": 2`)
	s.says("pause shop/orders")
	for command, want := range map[string]string{
		"retry shop/orders --all":           "shop/orders is paused: nothing is sent before it is resumed",
		"retry shop/orders --event evt_1":   "shop/orders is paused",
		"retry other/mail --event evt_1":    "there is no such event",
		"retry other/mail --waybill 1001":   "no event of that waybill was routed to other/mail",
		"dead-letters redrive --event x":    "unknown flag: --event",
		"replay --event evt_1 --dry-run":    `event_ids: "evt_1" is no id of an event`,
		"test shop/orders --status lost":    "status: must be one of collected",
		"retry shop/orders":                 "which ones? --event ID, --waybill CODE, or --all",
		"retry shop/orders --all --event x": "none of the others can be",
	} {
		if code, _, stderr := s.ask(strings.Fields(command)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s", command, code, stderr)
		}
	}
}

func TestDeadLettersAreCountedWithoutBeingChanged(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, ", retry: [1ms]", "--status", "503")
	s.push("1001", "collected")
	s.push("1002", "signed")
	until(t, "all are dead", func() bool { return strings.Count(s.says("dead-letters"), "shop/orders") == 2 })
	s.says("dead-letters redrive --all --dry-run", "would be queued again: ", "dead letter")
	s.says("dead-letters redrive --status signed --endpoint shop/orders --dry-run", "queued again: 1 dead letter\n")
	s.says("dead-letters dismiss --endpoint shop/orders --dry-run", "would be dismissed: 2 dead letters\n")
	s.says("dead-letters dismiss --endpoint shop/orders --dry-run -o json", `"count": 2`)
	s.says("dead-letters dismiss --endpoint shop/orders --status lost --dry-run", "would be dismissed: 0 dead letters\n")
	if n := strings.Count(s.says("dead-letters"), "shop/orders"); n != 2 {
		t.Errorf("after counting, %d are left", n)
	}
	if code, _, stderr := s.ask("dead-letters", "redrive", "evt_1", "shop/orders", "--dry-run"); code != 2 ||
		!strings.Contains(stderr, "does not go with flags") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
