package signature

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestVerifySaysWhyASignatureFails(t *testing.T) {
	t.Parallel()
	now := time.Unix(vectorTime, 0)
	short := base64.StdEncoding.EncodeToString([]byte("too short"))
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	at := func(seconds int64) func(http.Header) {
		return set(HeaderTimestamp, strconv.FormatInt(seconds, 10))
	}
	cases := map[string]struct {
		change func(http.Header)
		kind   error
		want   string
	}{
		"no id":        {set(HeaderID, ""), ErrMissing, "missing header webhook-id"},
		"no timestamp": {set(HeaderTimestamp, ""), ErrMissing, "missing header webhook-timestamp"},
		"no signature": {set(HeaderSignature, ""), ErrMissing, "missing header webhook-signature"},
		"timestamp in words": {set(HeaderTimestamp, "today"), ErrMalformed,
			`webhook-timestamp "today" is not a number`},
		"timestamp with a sign":      {set(HeaderTimestamp, "+1614265330"), ErrMalformed, "is not a number"},
		"timestamp negative":         {at(-1), ErrMalformed, "is not a number"},
		"timestamp with fraction":    {set(HeaderTimestamp, "1614265330.5"), ErrMalformed, "is not a number"},
		"timestamp in milliseconds":  {at(vectorTime * 1000), ErrMalformed, "is not a number of seconds"},
		"timestamp endless":          {set(HeaderTimestamp, strings.Repeat("9", 5000)), ErrMalformed, "999…"},
		"too old":                    {at(vectorTime - 12*60), ErrTimestamp, "too old by 7m0s (12m0s old, 5m0s allowed)"},
		"too old by a second":        {at(vectorTime - 301), ErrTimestamp, "too old by 1s"},
		"too old by decades":         {at(0), ErrTimestamp, "too old by 448"},
		"in the future":              {at(vectorTime + 8*60), ErrTimestamp, "in the future by 8m0s (5m0s allowed)"},
		"in the future by millennia": {at(1 << 39), ErrTimestamp, "in the future by 2562047h47m"},
		"only another version": {set(HeaderSignature, "v1a,AAAA v2,BBBB"), ErrMalformed,
			"no v1 signature in header webhook-signature"},
		"no version":       {set(HeaderSignature, vectorValue[3:]), ErrMalformed, "no v1 signature in header"},
		"malformed base64": {set(HeaderSignature, "v1,%%%"), ErrMalformed, "malformed base64"},
		"base64 without padding": {set(HeaderSignature, strings.TrimRight(vectorValue, "=")), ErrMalformed,
			"malformed base64"},
		"signature cut short": {set(HeaderSignature, "v1,"+short), ErrMalformed, "has 9 bytes, not 32"},
		"empty signature":     {set(HeaderSignature, "v1,"), ErrMalformed, "has 0 bytes, not 32"},
		"another id": {set(HeaderID, "msg_other"), ErrMismatch,
			"another secret, or over another id, timestamp or body"},
		"another timestamp":         {at(vectorTime + 1), ErrMismatch, "another secret"},
		"leading zero in timestamp": {set(HeaderTimestamp, "01614265330"), ErrMismatch, "another secret"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := signed([]Key{parse(t, vectorSecret)}, now, vectorBody)
			c.change(header)
			err := Verify([]Key{parse(t, vectorSecret)}, header, []byte(vectorBody), now, 0)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q of kind %v", err, c.want, c.kind)
			}
			if err != nil && len(err.Error()) > 250 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestVerifyRefusesAnotherSecretOrAnotherBodyWithoutShowingTheRightOne(t *testing.T) {
	t.Parallel()
	now, key := time.Unix(vectorTime, 0), parse(t, vectorSecret)
	header := signed([]Key{key}, now, vectorBody)
	for name, err := range map[string]error{
		"another secret": Verify([]Key{parse(t, NewSecret())}, header, []byte(vectorBody), now, 0),
		"no key at all":  Verify(nil, header, []byte(vectorBody), now, 0),
		"body changed":   Verify([]Key{key}, header, []byte(vectorBody+"\n"), now, 0),
		"body emptied":   Verify([]Key{key}, header, nil, now, 0),
	} {
		if !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: got %v", name, err)
		} else if strings.Contains(err.Error(), vectorValue[3:20]) {
			t.Errorf("%s: the error shows the signature that would have been right: %v", name, err)
		}
	}
}

func TestVerifyAcceptsAnyOfSeveralKeysAndSignatures(t *testing.T) {
	t.Parallel()
	now := time.Unix(vectorTime, 0)
	old, current, other := parse(t, NewSecret()), parse(t, vectorSecret), parse(t, NewSecret())
	header := signed([]Key{other, old, current}, now, vectorBody)
	header.Set(HeaderSignature, "v1a,xyz v1,%%% v1,AAAA "+header.Get(HeaderSignature)+" v9,")
	for name, keys := range map[string][]Key{"first": {old, other}, "second": {parse(t, NewSecret()), current}} {
		if err := Verify(keys, header, []byte(vectorBody), now, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyHoldsTheToleranceItIsGiven(t *testing.T) {
	t.Parallel()
	keys, sent := []Key{parse(t, vectorSecret)}, time.Unix(vectorTime, 0)
	header := signed(keys, sent, vectorBody)
	cases := []struct {
		now       time.Time
		tolerance time.Duration
		ok        bool
	}{
		{sent.Add(5 * time.Minute), 0, true},
		{sent.Add(5*time.Minute + 1), 0, false},
		{sent.Add(-5 * time.Minute), 0, true},
		{sent.Add(-5*time.Minute - 1), 0, false},
		{sent.Add(time.Second), time.Millisecond, false},
		{sent.Add(time.Hour), time.Hour, true},
		{sent.Add(24 * 365 * time.Hour), -1, true},
		{sent.Add(-24 * 365 * time.Hour), -1, true},
	}
	for _, c := range cases {
		if err := Verify(keys, header, []byte(vectorBody), c.now, c.tolerance); (err == nil) != c.ok {
			t.Errorf("%s after, tolerance %s: %v", c.now.Sub(sent), c.tolerance, err)
		}
	}
}

// FuzzVerify feeds hostile headers, and checks that a right signature among them is still found, and only that one.
func FuzzVerify(f *testing.F) {
	f.Add(vectorID, "1614265330", vectorValue, []byte(vectorBody))
	f.Add("", "", "", []byte(nil))
	f.Add("a.b", "99999999999999999999", "v1, v1,= v1,AAAA", []byte(".1."))
	key, err := ParseKey(vectorSecret)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(vectorTime, 0)
	f.Fuzz(func(t *testing.T, id, timestamp, value string, body []byte) {
		header := http.Header{}
		header.Set(HeaderID, id)
		header.Set(HeaderTimestamp, timestamp)
		header.Set(HeaderSignature, value)
		if err := Verify([]Key{key}, header, body, now, 0); err == nil &&
			!strings.Contains(value, Sign([]Key{key}, id, timeOf(t, timestamp), body)) {
			t.Fatalf("accepted %q %q %q", id, timestamp, value)
		}
		if id == "" {
			return
		}
		header.Set(HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
		header.Set(HeaderSignature, value+" "+Sign([]Key{key}, id, now, body))
		if err := Verify([]Key{key}, header, body, now, 0); err != nil {
			t.Fatalf("right signature refused after %q: %v", value, err)
		}
		if err := Verify([]Key{key}, header, append(body, '.'), now, 0); err == nil {
			t.Fatal("a changed body was accepted")
		}
	})
}

func timeOf(t *testing.T, timestamp string) time.Time {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		t.Fatalf("accepted timestamp %q", timestamp)
	}
	return time.Unix(seconds, 0)
}

// FuzzParseKey checks that no text panics, and that an error never repeats the text.
func FuzzParseKey(f *testing.F) {
	f.Add(vectorSecret)
	f.Add("whsec_====")
	f.Add("")
	f.Fuzz(func(t *testing.T, secret string) {
		key, err := ParseKey(secret)
		if err == nil {
			Sign([]Key{key}, "id", time.Unix(0, 0), nil)
			return
		}
		if value := strings.TrimPrefix(secret, secretPrefix); len(value) > 12 && strings.Contains(err.Error(), value) {
			t.Fatalf("the error repeats the secret: %v", err)
		}
	})
}
