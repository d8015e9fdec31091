package deliver

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// jitterShare is how much of a pause the jitter adds at most. It spreads the retries of many deliveries that failed
// together, and never makes a pause shorter.
const jitterShare = 0.1

// backoff returns the pause after attempt n (1-based) of a schedule: schedule[n-1], made longer by up to a tenth as
// jitter, in [0,1), says; false where the schedule has no pause left. With the schedule of config.example.yaml an
// endpoint that stays down is tried ten times in a little over three days; the pauses between the attempts are
//
//	after attempt    1    2    3    4    5    6    7    8    9
//	at least        5s   5m  30m   2h   5h  10h  14h  20h  24h
//	less than     5.5s 5.5m  33m 2.2h 5.5h  11h 15.4h 22h 26.4h
func backoff(schedule []time.Duration, n int, jitter float64) (time.Duration, bool) {
	if n > len(schedule) {
		return 0, false
	}
	pause := schedule[n-1]
	return pause + time.Duration(float64(pause)*jitterShare*jitter), true
}

// parseRetryAfter reads a Retry-After header (RFC 9110, 10.2.3) as a span from now: whole seconds, or a date in any of
// the three forms of HTTP. It returns 0 for an absent header, a date that has passed, and anything that is neither. It
// does not cap what a receiver asks for: Decide does.
func parseRetryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseInt(header, 10, 64)
		if err != nil || seconds > int64(math.MaxInt64/time.Second) {
			return math.MaxInt64 // more seconds than a Duration has room for
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}
