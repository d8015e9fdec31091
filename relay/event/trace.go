package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// TraceHeader is the header of W3C Trace Context (https://www.w3.org/TR/trace-context/) by which a request joins a
// trace.
const TraceHeader = "Traceparent"

// Trace is what is kept of a traceparent: its trace id and flags, as "<32 hex digits>-<2 hex digits>".
type Trace string

// sampled are the flags of a trace that nobody else has begun: a receiver whose tracer follows its caller records it.
const sampled = "01"

// ReadTrace reads a traceparent. It is empty for a text that is none: the trace then begins here, as the specification
// asks for.
func ReadTrace(traceparent string) Trace {
	version, rest, _ := strings.Cut(traceparent, "-")
	// A later version may have more behind the flags.
	if !isHex(version, 2) || version == "ff" || version == "00" && len(rest) != 32+1+16+1+2 {
		return ""
	}
	parts := strings.SplitN(rest, "-", 4)
	if len(parts) < 3 || !isHex(parts[0], 32) || !isHex(parts[1], 16) || !isHex(parts[2], 2) ||
		strings.Trim(parts[0], "0") == "" || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	return Trace(parts[0] + "-" + parts[2])
}

// Traceparent is the header of an attempt of the event, whose span id is given and not 0. All attempts at all endpoints
// have one trace id: that of the callback, or else the first 32 digits of the event's id (of a recurrence, of the
// SHA-256 of its id).
func (e *Event) Traceparent(span uint64) string {
	id, flags := e.trace()
	b := append(make([]byte, 0, 55), "00-"...)
	b = append(append(b, id...), '-')
	hexed := strconv.FormatUint(span, 16)
	b = append(append(b, "0000000000000000"[len(hexed):]...), hexed...)
	return string(append(append(b, '-'), flags...))
}

// trace gives the trace id and flags of all attempts of an event.
func (e *Event) trace() (id, flags string) {
	if e.Origin != nil && e.Origin.Trace != "" {
		id, flags, _ = strings.Cut(string(e.Origin.Trace), "-")
		return id, flags
	}
	digits := strings.TrimPrefix(e.ID, "evt_")
	if len(digits) == 2*sha256.Size {
		return digits[:32], sampled
	}
	sum := sha256.Sum256([]byte(e.ID))
	return hex.EncodeToString(sum[:16]), sampled
}

// isHex says whether a text is so many hex digits, in small letters.
func isHex(text string, digits int) bool {
	return len(text) == digits && strings.Trim(text, "0123456789abcdef") == ""
}
