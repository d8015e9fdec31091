// Package signature signs and verifies webhooks by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com):
// HMAC-SHA256 over "id.timestamp.body", in base64, under the version "v1". Any official library of that standard
// verifies what it signs. It imports nothing of ours, and no secret ever appears in an error or in the text of a Key.
package signature

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The headers that carry a signature (Standard Webhooks 1.0.0, "Webhook headers").
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

const (
	secretPrefix  = "whsec_"
	version       = "v1"
	minKeyBytes   = 24
	maxKeyBytes   = 64
	newKeyBytes   = 32
	redacted      = "<secret>"
	signatureSize = len(version) + 1 + (sha256.Size+2)/3*4 // "v1," and padded base64
)

// encoding is strict, so that one signature has one spelling.
var encoding = base64.StdEncoding.Strict()

// Key is one parsed secret. It is small, may be copied, and is safe for concurrent use. It prints as "<secret>" in
// every format. The zero Key is not usable: ParseKey makes one.
type Key struct {
	states *sync.Pool // of *state, each with the key already absorbed
}

// state is what it takes to make one signature. It is reused, because setting up an HMAC costs as much as signing a
// small body.
type state struct {
	mac hash.Hash
	buf []byte
}

// ParseKey reads a secret as tenants and relay exchange it: "whsec_" and the standard base64 of 24 to 64 bytes
// (Standard Webhooks 1.0.0, "Signature scheme"). The error says what is wrong and never contains any of the secret.
func ParseKey(secret string) (Key, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return Key{}, errors.New("secret does not begin with " + secretPrefix)
	}

	raw, err := encoding.DecodeString(text)
	if err != nil {
		return Key{}, errors.New("secret is not base64 (standard alphabet, padded) after " + secretPrefix)
	}
	if len(raw) < minKeyBytes || len(raw) > maxKeyBytes {
		return Key{}, fmt.Errorf("secret has %d bytes, must have %d to %d", len(raw), minKeyBytes, maxKeyBytes)
	}

	return Key{states: &sync.Pool{New: func() any { return &state{mac: hmac.New(sha256.New, raw)} }}}, nil
}

// NewSecret makes a secret of 32 random bytes, in the form that ParseKey reads.
func NewSecret() string {
	raw := make([]byte, newKeyBytes)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return secretPrefix + encoding.EncodeToString(raw)
}

// String hides the key.
func (Key) String() string { return redacted }

// GoString hides the key from %#v.
func (Key) GoString() string { return redacted }

// MarshalText hides the key from JSON, YAML and structured logs.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Sign returns the value of the webhook-signature header for a request whose webhook-id is id, whose
// webhook-timestamp is at in whole unix seconds, and whose body is body: "v1,<base64>" once per key, in their order,
// separated by spaces, so that a receiver which knows any one of the secrets accepts it. Without keys the value is
// empty.
func Sign(keys []Key, id string, at time.Time, body []byte) string {
	var timestamp [20]byte
	seconds := strconv.AppendInt(timestamp[:0], at.Unix(), 10)

	value := make([]byte, 0, len(keys)*(signatureSize+1))
	for i, key := range keys {
		if i > 0 {
			value = append(value, ' ')
		}

		var sum [sha256.Size]byte
		key.sum(&sum, id, seconds, body)
		value = append(value, version+","...)
		value = encoding.AppendEncode(value, sum[:])
	}
	return string(value)
}

// sum writes the HMAC of "id.timestamp.body" to out.
func (k Key) sum(out *[sha256.Size]byte, id string, timestamp, body []byte) {
	s := k.states.Get().(*state)
	s.mac.Reset()
	s.buf = append(append(append(append(s.buf[:0], id...), '.'), timestamp...), '.')
	s.mac.Write(s.buf)
	s.mac.Write(body)

	s.buf = s.mac.Sum(s.buf[:0])
	copy(out[:], s.buf)
	k.states.Put(s)
}
