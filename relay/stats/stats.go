// Package stats counts what happens, minute by minute: what came of the attempts of each endpoint, and of callbacks. It
// keeps what was counted in memory until that is written down, and makes series of what is read again. It does no I/O.
package stats

import (
	"math/bits"
	"strconv"
	"time"
)

// What is counted is counted for a subject: an endpoint ("tenant/endpoint"), all endpoints of a tenant (see Tenant),
// All endpoints, or Callbacks.
const (
	All       = "/"
	Callbacks = "callbacks"
)

// Tenant is the subject of all endpoints of a tenant.
func Tenant(name string) string { return name + "/" }

// Measure is one number of a row of counts. Its value is a part of what is stored: a new measure is put at the end.
type Measure uint8

// The measures of endpoints, of the endpoints of a tenant, and of all. Delivered and the failures count attempts.
const (
	Delivered   Measure = iota
	Timeout             // no whole answer in time
	Connect             // no connection, or no answer on it that can be read
	TLS                 // the receiver's certificate, or its TLS
	Redirect            // 3xx, which is not followed
	Denied              // 401, 403, 404
	Refused             // any other 4xx
	ServerError         // 5xx
	Egress              // refused by the egress guard
	Dead                // deliveries that were given up
	// Gauges: the most that was seen in a span.
	Open
	Waiting
	Oldest // age of the oldest open delivery, in seconds
	DeadLetters
	// The measures of callbacks, by their answer.
	Success
	Failure // 503: not durable
	Unread  // too large, or cut off
	NoRoom  // 503: limits.parse_bytes
	Stranger
	// Items of callbacks by result.
	New
	Duplicate
	Unrouted
	Quarantined
)

const (
	firstFailure, lastFailure = Timeout, Egress
	firstGauge, lastGauge     = Open, DeadLetters
)

// places is how many numbers a row has at most.
const places = 31

// Row is a list of numbers: counts by their Measure, or a histogram. As a text, it has the numbers that are not 0 in
// base 36, each behind the letter of its place, "A" to "_": "A3C1".
type Row [places]int64

// String writes the row as a text; empty: all numbers are 0.
func (r *Row) String() string {
	var text []byte
	for place, n := range r {
		if n > 0 {
			text = strconv.AppendInt(append(text, 'A'+byte(place)), n, 36)
		}
	}
	return string(text)
}

// ParseRow reads the text of a row. It leaves out what it does not know.
func ParseRow(text string) (r Row) {
	place := -1
	for _, c := range []byte(text) {
		digit := int64(0)
		switch {
		case c >= '0' && c <= '9':
			digit = int64(c - '0')
		case c >= 'a' && c <= 'z':
			digit = int64(c-'a') + 10
		default:
			place = int(c) - 'A'
			continue
		}
		if place >= 0 && place < places {
			r[place] = r[place]*36 + digit
		}
	}
	return r
}

// add adds the numbers of another row.
func (r *Row) add(other *Row) {
	for place, n := range other {
		r[place] += n
	}
}

// addCounts adds the counts of another row; of gauges it keeps the larger one.
func (r *Row) addCounts(other *Row) {
	for place, n := range other {
		if m := Measure(place); m >= firstGauge && m <= lastGauge {
			r[place] = max(r[place], n)
		} else {
			r[place] += n
		}
	}
}

// Failed is how many attempts failed.
func (r *Row) Failed() (sum int64) {
	for m := firstFailure; m <= lastFailure; m++ {
		sum += r[m]
	}
	return sum
}

// A histogram is a row of durations: place 0 counts those under 1 ms, place n those from 2^(n-1) ms to under 2^n ms,
// and the last place all that are longer.

// bucket is the place of a duration in a histogram.
func bucket(d time.Duration) int { return min(bits.Len64(uint64(d.Milliseconds())), places-1) }

// Quantile estimates of a histogram how long the share q (0 to 1) of all took at most: it is right within a factor of
// two. 0: the histogram is empty.
func (r *Row) Quantile(q float64) time.Duration {
	var total int64
	for _, n := range r {
		total += n
	}
	want := q * float64(total)

	below := int64(0)
	for place, n := range r {
		if n == 0 || float64(below+n) < want {
			below += n
			continue
		}

		// The durations of a place are taken to be spread evenly.
		most := time.Millisecond << place
		least := most / 2
		if place == 0 {
			least = 0
		}
		return least + time.Duration(float64(most-least)*(want-float64(below))/float64(n))
	}
	return 0
}
