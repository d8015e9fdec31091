package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
)

// TestMain lets this test binary be the parts of the benchmark, which starts itself again for each.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && parts[os.Args[1]] != nil {
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // or each part takes a second to end
	os.Exit(m.Run())
}

// A short run: the harness itself checks that every delivery arrives once, in order where that counts, and signed.
func TestAShortRunLosesNothing(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed (Debian: apt-get install redis-server)")
	}
	var o options
	if err := o.parse([]string{"--quick", "--duration", "200ms", "--only", "W1,bare drain,W8,replay"}); err != nil {
		t.Fatal(err)
	}
	s, err := newSession(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	text, err := s.all(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| W1  ", "| W8  ", "| replay ", "| evalsha "} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestCallbacksAreUnderstoodAndDistinct(t *testing.T) {
	t.Parallel()
	const n = 200
	ids, waybills, size := map[string]bool{}, map[string]bool{}, 0
	for run := range 2 {
		made, err := newCallbacks(run, false)
		if err != nil {
			t.Fatal(err)
		}
		for serial := range n {
			body := made.appendTo(nil, 1_700_000_000_123_456_789, serial, 1)
			size += len(body)
			got := kuaidihelp.Parse("application/json", body, time.Now())
			if len(got.Events) != 1 || len(got.Rejected) > 0 {
				t.Fatalf("%d events, %v from %s", len(got.Events), got.Rejected, body)
			}
			e := got.Events[0]
			ids[e.ID], waybills[e.WaybillCode] = true, true
			if sent, s, ok := readStamp(e.Data); !ok || s != serial || sent != 1_700_000_000_123_456_789 {
				t.Fatalf("read %d, %d, %v from %s", sent, s, ok, e.Data)
			}
			if e.Bare {
				t.Fatal("an item has no track times")
			}
		}
	}
	if len(ids) != 2*n || len(waybills) != 2*n {
		t.Errorf("%d ids and %d waybills of %d callbacks", len(ids), len(waybills), 2*n)
	}
	if mean := size / (2 * n); mean < 900 || mean > 1150 {
		t.Errorf("callbacks have %d bytes", mean)
	}
}

func TestUpdatesOfOneWaybillAreDistinctEventsOfIt(t *testing.T) {
	t.Parallel()
	made, err := newCallbacks(7, true)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, e := range kuaidihelp.Parse("application/json", made.appendTo(nil, 1, 300, 100), time.Now()).Events {
		if e.WaybillCode != "770007000000000" {
			t.Fatalf("waybill %s", e.WaybillCode)
		}
		ids[e.ID] = true
	}
	if len(ids) != 100 {
		t.Errorf("%d ids of 100 updates", len(ids))
	}
}

func TestTheTallyNoticesWhatIsWrong(t *testing.T) {
	t.Parallel()
	id := func(n int) string { return fmt.Sprintf("evt_%016x%048x", n+1, 0) }
	cases := map[string]struct {
		fill func(*tally)
		want string
	}{
		"nothing":     {func(*tally) {}, ""},
		"lost":        {func(t *tally) { t.Distinct-- }, "arrived"},
		"twice":       {func(t *tally) { t.add(3, id(3), 0, 0) }, "more than once"},
		"same id":     {func(t *tally) { t.Distinct--; t.ids[9] = 0; t.add(9, id(8), 0, 0) }, "webhook-ids"},
		"unsigned":    {func(t *tally) { t.Distinct--; t.ids[9] = 0; t.add(9, "", 0, 0) }, "no webhook-id"},
		"forged":      {func(t *tally) { t.Wrong++ }, "signatures"},
		"another one": {func(t *tally) { t.add(10, "nonsense", 0, 0) }, "no deliveries"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all tally
			for n := range 10 {
				all.add(n, id(n), 0, 0)
			}
			c.fill(&all)
			a, _ := all.sum()
			err := a.complete(10, true)
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheTallyNoticesDisorder(t *testing.T) {
	t.Parallel()
	var all tally
	for _, n := range []int{0, 1, 3, 2, 4} {
		all.add(n, "", 0, 0)
	}
	if a, _ := all.sum(); a.Disordered != 1 {
		t.Errorf("%d out of order, want 1", a.Disordered)
	}
}

func TestMedianAndQuantiles(t *testing.T) {
	t.Parallel()
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median of three: %v", got)
	}
	if got := median([]float64{9, 1, 5, 7}); got != 6 {
		t.Errorf("median of four: %v", got)
	}
	var spans []int64
	for i := range 1000 {
		spans = append(spans, int64(999-i)*1e9)
	}
	if got, want := quantilesOf(spans), (quantiles{P50: 500, P95: 950, P99: 990, Max: 999}); got != want {
		t.Errorf("quantiles: %v", got)
	}
}
