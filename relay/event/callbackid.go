package event

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// CallbackPrefix begins the id of a callback.
const CallbackPrefix = "cb_"

const (
	// An id has the time in ms as 8 digits of base 36 (until 2059), and 6 random ones: of 1,000 callbacks a second, two
	// have the same id once in 50 days.
	callbackBase   = 36
	callbackDigits = 8
	callbackRandom = 6
	callbackSpan   = 36 * 36 * 36 * 36 * 36 * 36 // values of the random digits
)

// NewCallbackID makes an id for a callback that came at this time: "cb_" and 14 digits and small letters, of which the
// first eight are the time. So ids sort by time, and CallbackTime reads it back.
func NewCallbackID(at time.Time) string {
	ms := strconv.FormatInt(max(0, at.UnixMilli()), callbackBase)
	random := strconv.FormatUint(rand.Uint64N(callbackSpan), callbackBase)
	return CallbackPrefix + padded(ms, callbackDigits) + padded(random, callbackRandom)
}

// padded puts zeros before digits until there are n.
func padded(digits string, n int) string { return strings.Repeat("0", max(0, n-len(digits))) + digits }

// CallbackTime is when the callback of an id came, to the millisecond; false: the text is no id of a callback.
func CallbackTime(id string) (at time.Time, ok bool) {
	digits, ok := strings.CutPrefix(id, CallbackPrefix)
	if !ok || len(digits) != callbackDigits+callbackRandom || strings.Trim(digits, base36) != "" {
		return time.Time{}, false
	}
	ms, err := strconv.ParseInt(digits[:callbackDigits], callbackBase, 64)
	return time.UnixMilli(ms), err == nil
}

const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"
