package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultTolerance is how far a timestamp may lie from now if Verify is given no tolerance. The official libraries of
// Standard Webhooks allow the same.
const DefaultTolerance = 5 * time.Minute

// The kinds of failure of Verify.
var (
	// ErrMissing: one of the three headers is missing, so the request was not signed at all.
	ErrMissing = errors.New("not signed")
	// ErrMalformed: the headers are there, but one is not in a form that Standard Webhooks 1.0.0 allows.
	ErrMalformed = errors.New("signed wrongly")
	// ErrTimestamp: the request is too old or lies in the future: a replay, or a clock that is wrong.
	ErrTimestamp = errors.New("timestamp outside the tolerance")
	// ErrMismatch: the signature was made with another secret, or over another id, timestamp or body.
	ErrMismatch = errors.New("signature does not match")
)

// Verify checks that a request with these headers and this body, the raw bytes as received, was signed with one of
// the keys, at most tolerance before or after now. A tolerance of 0 means DefaultTolerance; a negative one accepts
// any time. It returns nil, or an error that wraps ErrMissing, ErrMalformed, ErrTimestamp or ErrMismatch and tells
// the developer of the receiver what was found. Signatures are compared in constant time.
func Verify(keys []Key, header http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if header.Get(name) == "" {
			return fmt.Errorf("%w: missing header %s", ErrMissing, name)
		}
	}

	timestamp := header.Get(HeaderTimestamp)
	if err := checkTimestamp(timestamp, now, tolerance); err != nil {
		return err
	}
	signatures, err := parseSignatures(header.Get(HeaderSignature))
	if err != nil {
		return err
	}

	// Any key may have made any of the signatures: during a rotation, the sender and the receiver may hold two each.
	for _, key := range keys {
		var want [sha256.Size]byte
		key.sum(&want, header.Get(HeaderID), []byte(timestamp), body)
		for _, got := range signatures {
			if hmac.Equal(got, want[:]) {
				return nil
			}
		}
	}

	return fmt.Errorf("%w: made with another secret, or over another id, timestamp or body "+
		"(the body must be the raw bytes as they came)", ErrMismatch)
}

func checkTimestamp(text string, now time.Time, tolerance time.Duration) error {
	// Digits only, hence Uint. 40 bits reach past the year 36000, and refuse today's time in milliseconds.
	seconds, err := strconv.ParseUint(text, 10, 40)
	if err != nil {
		return fmt.Errorf("%w: %s %q is not a number of seconds", ErrMalformed, HeaderTimestamp, shorten(text))
	}

	if tolerance < 0 {
		return nil
	}
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}

	age := now.Sub(time.Unix(int64(seconds), 0))
	switch {
	case age > tolerance:
		return fmt.Errorf("%w: %s is too old by %s (%s old, %s allowed)", ErrTimestamp, HeaderTimestamp,
			round(age-tolerance), round(age), tolerance)
	case age < -tolerance:
		return fmt.Errorf("%w: %s lies in the future by %s (%s allowed)", ErrTimestamp, HeaderTimestamp,
			round(age.Abs()), tolerance)
	}
	return nil
}

// parseSignatures returns the v1 signatures of a header, decoded. Other versions are skipped, as the standard asks. A
// malformed v1 signature is an error only if there is no well-formed one to check.
func parseSignatures(header string) ([][]byte, error) {
	var found [][]byte
	var malformed error
	for _, token := range strings.Fields(header) {
		text, ok := strings.CutPrefix(token, version+",")
		if !ok {
			continue
		}

		sum, err := encoding.DecodeString(text)
		switch {
		case err != nil:
			malformed = fmt.Errorf("%w: the %s signature in %s is malformed base64", ErrMalformed, version, HeaderSignature)
		case len(sum) != sha256.Size:
			malformed = fmt.Errorf("%w: the %s signature in %s has %d bytes, not %d", ErrMalformed, version,
				HeaderSignature, len(sum), sha256.Size)
		default:
			found = append(found, sum)
		}
	}

	// The caller is told what is wrong only if there is nothing to check.
	if found == nil && malformed == nil {
		malformed = fmt.Errorf("%w: no %s signature in header %s", ErrMalformed, version, HeaderSignature)
	}
	if found == nil {
		return nil, malformed
	}
	return found, nil
}

// round makes a span readable: it keeps whole seconds, or milliseconds if the span is under a second.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// shorten cuts text to at most 40 bytes, so that a hostile header cannot fill a log.
func shorten(text string) string {
	const limit = 40
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "…"
}
