package deliver

import (
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"kuairelay/relay/event"
)

func TestJitterAddsUpToATenthAndNeverTakesAway(t *testing.T) {
	t.Parallel()
	for i, base := range testPolicy.Retry {
		least, more := backoff(testPolicy.Retry, i+1, 0)
		most, _ := backoff(testPolicy.Retry, i+1, math.Nextafter(1, 0))
		if least != base || most <= base || most > base+base/10 || !more {
			t.Errorf("after attempt %d: %s to %s, want %s and a tenth", i+1, least, most, base)
		}
		for range 100 {
			if got, _ := backoff(testPolicy.Retry, i+1, rand.Float64()); got < least || got > most {
				t.Errorf("after attempt %d: %s is not in %s to %s", i+1, got, least, most)
			}
		}
	}
	if _, more := backoff(testPolicy.Retry, len(testPolicy.Retry)+1, 0); more {
		t.Error("the schedule has a pause after its last one")
	}
}

func TestJitterReachesTheVerdict(t *testing.T) {
	t.Parallel()
	got := Decide(event.Attempt{Status: 500}, 2, testPolicy, testNow, testAccepted, 0.5)
	if want := testNow.Add(5*time.Minute + 15*time.Second); !got.Due.Equal(want) {
		t.Errorf("due %s, want %s", got.Due, want)
	}
}

func TestRetryAfterIsReadInEveryFormOfHTTP(t *testing.T) {
	t.Parallel()
	now := time.Date(1994, 11, 6, 8, 48, 37, 0, time.UTC)
	cases := map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		" 7\t":                           7 * time.Second,
		"007":                            7 * time.Second,
		"9223372036":                     9223372036 * time.Second,
		"9223372037":                     math.MaxInt64,
		"99999999999999999999":           math.MaxInt64,
		"Sun, 06 Nov 1994 08:49:37 GMT":  time.Minute,
		"Sunday, 06-Nov-94 08:49:37 GMT": time.Minute,
		"Sun Nov  6 08:49:37 1994":       time.Minute,
		"Sun, 06 Nov 1994 08:48:37 GMT":  0,
		"Sun, 06 Nov 1994 08:00:00 GMT":  0,
		"Fri, 31 Dec 9999 23:59:59 GMT":  math.MaxInt64,
		"-5":                             0,
		"+5":                             0,
		"1.5":                            0,
		"5s":                             0,
		"1e3":                            0,
		"soon":                           0,
		"٣":                              0,
		"2026-03-01T00:00:00Z":           0,
	}
	for header, want := range cases {
		if got := parseRetryAfter(header, now); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

// FuzzParseRetryAfter checks that no header gives a negative span, and that what we write ourselves is read back.
func FuzzParseRetryAfter(f *testing.F) {
	for _, header := range []string{"120", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "-1",
		"9e9"} {
		f.Add(header, int64(90))
	}
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string, seconds int64) {
		if got := parseRetryAfter(header, now); got < 0 {
			t.Fatalf("%q: %s", header, got)
		}
		span := time.Duration(max(0, seconds%1e9)) * time.Second
		if got := parseRetryAfter(now.Add(span).Format(http.TimeFormat), now); got != span {
			t.Fatalf("%s ahead: got %s", span, got)
		}
	})
}
