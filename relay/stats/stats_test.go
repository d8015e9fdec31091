package stats

import (
	"testing"
	"time"
)

func TestARowComesBackFromItsText(t *testing.T) {
	t.Parallel()
	var row Row
	row[Delivered] = 1_000_000
	row[Egress] = 35
	row[places-1] = 1
	if got := row.String(); got != "Alfls"+"Iz"+"_1" {
		t.Errorf("it is written as %q", got)
	}
	if got := ParseRow(row.String()); got != row {
		t.Errorf("it comes back as %v", got)
	}
	if got := (&Row{}).String(); got != "" || ParseRow(got) != (Row{}) {
		t.Errorf("an empty row is written as %q", got)
	}
}

func TestAPlaceThatIsNotKnownIsLeftOut(t *testing.T) {
	t.Parallel()
	want := Row{}
	want[Dead] = 2
	for _, text := range []string{"J2", "12J2", "`9J2", "J2~4", "\xff1J2"} {
		if got := ParseRow(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// The script that adds rows knows the gauges by their letters.
func TestMeasuresKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	for m, letter := range map[Measure]byte{Delivered: 'A', Timeout: 'B', Egress: 'I', Dead: 'J', firstGauge: 'K',
		lastGauge: 'N', Success: 'O', Stranger: 'S', New: 'T', Quarantined: 'W'} {
		var row Row
		row[m] = 1
		if got := row.String(); got != string(letter)+"1" {
			t.Errorf("measure %d is written as %s, and is stored as %c", m, got, letter)
		}
	}
}

func TestAQuantileIsRightWithinAFactorOfTwo(t *testing.T) {
	t.Parallel()
	for _, took := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 250 * time.Millisecond,
		15 * time.Second, 90 * time.Minute, 70 * time.Hour} {
		var h Row
		for range 1000 {
			h[bucket(took)]++
		}
		h[bucket(200*time.Hour)]++
		for _, q := range []float64{0.01, 0.5, 0.99} {
			got := h.Quantile(q)
			if got > 2*max(took, time.Millisecond) || got < took/2 {
				t.Errorf("%g of what took %s: %s", q, took, got)
			}
		}
		if got := h.Quantile(1); got < 100*time.Hour || got > 400*time.Hour {
			t.Errorf("the longest: %s", got)
		}
	}
	if got := (&Row{}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
}
