package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	official "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The vector of Standard Webhooks.
const (
	vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime   = 1614265330
	vectorBody   = `{"test": 2432232314}`
	vectorValue  = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func parse(t testing.TB, secret string) Key {
	t.Helper()
	key, err := ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSignMakesTheStandardWebhooksVector(t *testing.T) {
	t.Parallel()
	key := parse(t, vectorSecret)
	at := time.Unix(vectorTime, 999_999_999)
	for range 3 { // the state of a key is reused: every use must give the same
		if got := Sign([]Key{key}, vectorID, at, []byte(vectorBody)); got != vectorValue {
			t.Fatalf("got %s, want %s", got, vectorValue)
		}
	}
}

func TestSignMakesOneSignaturePerKeyInTheirOrder(t *testing.T) {
	t.Parallel()
	first, second := parse(t, vectorSecret), parse(t, NewSecret())
	at, body := time.Unix(vectorTime, 0), []byte(vectorBody)
	want := Sign([]Key{second}, vectorID, at, body) + " " + vectorValue
	if got := Sign([]Key{second, first}, vectorID, at, body); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Sign(nil, vectorID, at, body); got != "" {
		t.Errorf("without keys: got %q, want nothing", got)
	}
}

func TestWhatWeSignTheOfficialLibraryVerifiesAndTheOtherWayRound(t *testing.T) {
	t.Parallel()
	bodies := []string{"", "{}", vectorBody, `{"context":"快件已签收"}`, "\x00\xff\n.", strings.Repeat("a.b", 100_000)}
	for _, secret := range []string{vectorSecret, NewSecret(), NewSecret()} {
		theirs, err := official.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		key := parse(t, secret)
		for _, body := range bodies {
			now := time.Now()
			header := signed([]Key{parse(t, NewSecret()), key}, now, body)
			if err := theirs.Verify([]byte(body), header); err != nil {
				t.Errorf("official library on our signature of %.20q: %v", body, err)
			}
			value, err := theirs.Sign(vectorID, now, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			header.Set(HeaderSignature, value)
			if err := Verify([]Key{key}, header, []byte(body), now, 0); err != nil {
				t.Errorf("we on the official signature of %.20q: %v", body, err)
			}
		}
	}
}

func TestHeaderNamesAreThoseOfTheOfficialLibrary(t *testing.T) {
	t.Parallel()
	ours := []string{HeaderID, HeaderTimestamp, HeaderSignature}
	theirs := []string{official.HeaderWebhookID, official.HeaderWebhookTimestamp, official.HeaderWebhookSignature}
	for i := range ours {
		if ours[i] != theirs[i] {
			t.Errorf("%s, official: %s", ours[i], theirs[i])
		}
	}
}

func TestSignIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	key := parse(t, vectorSecret)
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for i := range 200 {
				body := fmt.Appendf(nil, "%d-%d", worker, i)
				header := signed([]Key{key}, time.Unix(vectorTime, 0), string(body))
				if err := Verify([]Key{parse(t, vectorSecret)}, header, body, time.Unix(vectorTime, 0), 0); err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func TestParseKeySaysWhatIsWrongAndNeverTheValue(t *testing.T) {
	t.Parallel()
	sized := func(n int) string {
		return secretPrefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xA5}, n))
	}
	cases := map[string]struct{ secret, want string }{
		"empty":             {"", "does not begin with whsec_"},
		"no prefix":         {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"},
		"prefix in capital": {"WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"},
		"not base64":        {"whsec_pässword-pässword-pässword", "is not base64"},
		"url alphabet":      {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL_-w", "is not base64"},
		"padding missing":   {strings.TrimRight(sized(32), "="), "is not base64"},
		"nothing after it":  {"whsec_", "has 0 bytes, must have 24 to 64"},
		"23 bytes":          {sized(23), "has 23 bytes, must have 24 to 64"},
		"65 bytes":          {sized(65), "has 65 bytes, must have 24 to 64"},
		"24 bytes":          {sized(24), ""},
		"64 bytes":          {sized(64), ""},
		"the vector":        {vectorSecret, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseKey(c.secret)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if value := strings.TrimPrefix(c.secret, secretPrefix); value != "" && strings.Contains(err.Error(), value) {
				t.Errorf("the error contains the secret: %v", err)
			}
		})
	}
}

func TestAKeyNeverPrintsItself(t *testing.T) {
	t.Parallel()
	key := parse(t, vectorSecret)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(vectorSecret, secretPrefix))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(map[string]any{"key": key})
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Key    Key
		hidden Key
	}
	texts := []string{string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, key), fmt.Sprintf(verb, &key), fmt.Sprintf(verb, []Key{key}),
			fmt.Sprintf(verb, holder{key, key}), fmt.Sprintf(verb, &holder{key, key}))
	}
	for _, text := range texts {
		for _, leak := range []string{"MfKQ9r8GKY", string(raw), fmt.Sprintf("%x", raw), fmt.Sprint(raw),
			strconv.Quote(string(raw))} {
			if strings.Contains(text, leak) {
				t.Errorf("the key shows in %q", text)
			}
		}
	}
	if got := fmt.Sprintf("%v %s %#v", key, key, key); got != "<secret> <secret> <secret>" {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(string(asJSON), "secret") {
		t.Errorf("JSON: got %s", asJSON)
	}
}

func TestNewSecretsParseAndDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		secret := NewSecret()
		parse(t, secret)
		if seen[secret] {
			t.Fatal("the same secret twice")
		}
		seen[secret] = true
	}
}

// signed returns the three headers of a request with the vector's id.
func signed(keys []Key, at time.Time, body string) http.Header {
	header := http.Header{}
	header.Set(HeaderID, vectorID)
	header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	header.Set(HeaderSignature, Sign(keys, vectorID, at, []byte(body)))
	return header
}

func BenchmarkSign(b *testing.B) {
	key, err := ParseKey(vectorSecret)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{200, 2 << 10, 64 << 10} {
		body := bytes.Repeat([]byte("x"), size)
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.RunParallel(func(pb *testing.PB) {
				keys := []Key{key}
				for pb.Next() {
					Sign(keys, vectorID, time.Unix(vectorTime, 0), body)
				}
			})
		})
	}
}
