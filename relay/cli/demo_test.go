package cli_test

import (
	"strings"
	"testing"
)

func TestDemoShowsEveryDeliveryAndSumsThemUp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"demo", "--once"}, {"demo"}} { // without a terminal it ends by itself
		code, stdout, stderr := run(t, "", args...)
		if code != 0 || stderr != "" {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
		for text, times := range map[string]int{
			"  shop    ✓    200": 12, "  alerts  ✓    200": 5, "  catch-up  ": 1, "  subscribed  ": 5, "  shop    ✓    500": 1,
			"  retry  ": 1, "✗": 0, "whsec_": 0,
			"callbacks   19, in 6 encodings; every one answered success\n": 1,
			"events      18 new, 4 of them of a parcel or status that nobody subscribed; 1 duplicate " +
				"(in another encoding) dropped\n": 1,
			"calls       3 to kuaidihelp, for 5 subscriptions of 3 parcels":                  1,
			"deliveries  shop 12, alerts 5; every signature verified, each waybill in order": 1,
			"retries     1: shop answered 500 once":                                          1, "latency     p50 ": 1,
			"Still serving": 0,
		} {
			if n := strings.Count(stdout, text); n != times {
				t.Errorf("%d times %q, want %d, in\n%s", n, text, times, stdout)
			}
		}
	}
}

func TestDemoShowsTheLogOnDemand(t *testing.T) {
	t.Parallel()
	code, _, stderr := run(t, "", "demo", "--once", "--log-level", "warn")
	if code != 0 || !strings.Contains(stderr, "WARN") || strings.Contains(stderr, "INFO") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestDemoEndsWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	c := start(t, "", "demo")
	until(t, "the first webhook is shown", func() bool { return strings.Contains(c.stdout.String(), "✓") })
	c.interrupt()
	if code := c.wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, c.stderr)
	}
}
