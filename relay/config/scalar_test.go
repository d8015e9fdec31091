package config

import (
	"strings"
	"testing"
	"time"
)

// accepts checks a form of scalars; an input whose want is the zero value must be refused, without being repeated. What
// is taken, an editor must not mark.
func accepts[T comparable](t *testing.T, name string, f form[T], tests map[string]T) {
	t.Helper()
	var zero T
	for in, want := range tests {
		if err := f.shows(t, in); want != zero && err != nil {
			t.Errorf("%s(%q): the schema refuses it: %v", name, in, err)
		}
		got, err := f.parse(in)
		if got != want || (err != nil) != (want == zero) {
			t.Errorf("%s(%q) = %#v, %v; want %#v", name, in, got, err, want)
		}
		if err != nil && len(in) > 6 && strings.Contains(err.Error(), in) {
			t.Errorf("%s(%q) repeats its input: %v", name, in, err)
		}
	}
}

func TestDurationsNeedAUnit(t *testing.T) {
	t.Parallel()
	accepts(t, "duration", duration, map[string]time.Duration{
		"1ms": time.Millisecond, "15s": 15 * time.Second, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute,
		"1d": 24 * time.Hour, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "0d1s": time.Second,
		"36500d": 36500 * 24 * time.Hour, "1000000us": time.Second,
		"": 0, "0": 0, "15": 0, "0s": 0, "0d": 0, "-1s": 0, "+1s": 0, "-1d": 0, "1d-1h": 0, "s": 0, "d": 0, "1x": 0, "1 s": 0,
		" 1s": 0, "1s ": 0, "1h1d": 0, "1d1d": 0, "1e3s": 0, "1w": 0, "1D": 0, "1ns": 0, "999us": 0, "infd": 0, "nand": 0,
		"0x1d":   0,
		"36501d": 0, "36500d1h": 0, "99999999999999999999d": 0, "99999999999999999999h": 0, "9000000h": 0, "1.d": 0, ".5d": 0,
	})
	if d, err := durationOrZero.parse("0"); d != 0 || err != nil || durationOrZero.shows(t, "0") != nil {
		t.Errorf("where 0 means never it is refused: %s, %v", d, err)
	}
	accepts(t, "durationOrZero", durationOrZero, map[string]time.Duration{"6h": 6 * time.Hour, "0s": 0, "1": 0, "": 0})
}

func TestSizesNeedAUnit(t *testing.T) {
	t.Parallel()
	accepts(t, "size", size, map[string]int64{
		"1B": 1, "1KB": 1000, "1KiB": 1024, "4MiB": 4 << 20, "4MB": 4e6, "2GB": 2e9, "2GiB": 2 << 30, "4 MiB": 4 << 20,
		"": 0, "4": 0, "0B": 0, "-1B": 0, "1.5MiB": 0, "4M": 0, "4mib": 0, "MiB": 0, "4  MiB": 0, "0x4B": 0,
		"99999999999999999999B": 0, "9223372036854775807KiB": 0, "9223372036854775807B": 1<<63 - 1,
	})
}

func TestWholeNumbersAreDecimalAndInRange(t *testing.T) {
	t.Parallel()
	accepts(t, "wholeNumber", wholeNumber(1, 100), map[string]int{
		"1": 1, "100": 100, "010": 10,
		"": 0, "0": 0, "101": 0, "-1": 0, "1.0": 0, "1e1": 0, "0x1": 0, "1_0": 0, " 1": 0, "99999999999999999999": 0,
	})
}

func TestListenAddressesHaveAPort(t *testing.T) {
	t.Parallel()
	accepts(t, "listenAddress", listenAddress, map[string]string{
		":8080": ":8080", "localhost:1": "localhost:1", "[::1]:0": "[::1]:0",
		"": "", "8080": "", "h": "", "h:": "", "h:http": "", "h:65536": "", "::1:80": "", "http://h:80": "", "a b:80": "",
		"h:+80": "",
	})
}

func TestNetworksAreMaskedPrefixesOrSingleAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "::1": "::1/128",
		"fd00::/8": "fd00::/8", "0.0.0.0/0": "0.0.0.0/0",
		"": "", "h": "", "10.0.0.0/33": "", "10.0.0": "", "fe80::1%eth0": "", "::ffff:10.0.0.1": "",
		"::ffff:10.0.0.0/104": "", "10.0.0.0-10.0.0.9": "",
	} {
		got, err := network.parse(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("network(%q) = %v, %v; want %q", in, got, err, want)
		}
	}
}

func TestCallbackTokensAreOnePathSegment(t *testing.T) {
	t.Parallel()
	accepts(t, "callbackToken", callbackToken, map[string]Secret{
		"12345678": "12345678", "aB3-._~=+": "aB3-._~=+",
		"": "", "1234567": "", "12345/678": "", "1234 5678": "", "1234567?": "", "1234567#": "", "1234%2F567": "",
		"12345678\n": "", "令牌令牌令牌": "",
	})
}

func TestEndpointURLsAreAbsoluteHTTPWithNothingUnsent(t *testing.T) {
	t.Parallel()
	accepts(t, "endpointURL", endpointURL, map[string]string{
		"http://h.example": "http://h.example", "HTTPS://H:8443/x?y=z": "HTTPS://H:8443/x?y=z",
		"http://[::1]:9/": "http://[::1]:9/",
		"":                "", "/x": "", "//h/x": "", "h": "", "http:x": "", "http:///x": "", "ftp://h": "", "http://u@h": "",
		"http://u:p@h": "",
		"http://h#":    "", "http://h/#x": "", "http://h:0": "", "http://h:": "", "http://h:65536": "", "http://h:x": "",
		"http://h/\n":       "",
		" http://h.example": "", "http://h.example ": "", "http://h/%zz": "", "http://:80": "", `http://h\x`: "",
	})
}

func TestRedisURLsHaveAKnownScheme(t *testing.T) {
	t.Parallel()
	accepts(t, "redisURL", redisURL, map[string]Secret{
		"redis://h:6379/0": "redis://h:6379/0", "rediss://u:p@h": "rediss://u:p@h",
		"unix:///run/redis.sock":               "unix:///run/redis.sock",
		"redis://h?addr=h2:6379&master_name=m": "redis://h?addr=h2:6379&master_name=m",
		"h:6379":                               "", "http://h.example": "", "redis://:p%@h": "", "redis//h": "",
	})
	// Other tools write several servers otherwise: who does is told how it is written here.
	for in, want := range map[string]string{
		"redis://h1:1,h2:2":                   "?master_name=NAME&addr=",
		"rediss://u:p,w@h1,h2:2/0":            "redis://HOST1:6379?addr=HOST2:6379",
		"redis+sentinel://h1:26379/name":      "write redis://HOST1:26379?master_name=NAME",
		"redis-sentinel://h1:26379/name":      "write redis://HOST1:26379?master_name=NAME",
		"redis-cluster://h1:6379,h2:6379":     "write redis://HOST1:6379?addr=",
		"valkey://h1:6379":                    "must begin with redis://",
		"redis://u:p,w@h1:26379?addr=h2:2379": "",
	} {
		_, err := redisURL.parse(in)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("redisURL(%q): %v; want %q", in, err, want)
		}
	}
	if got, err := redisURL.parse(""); got != "" || err != nil {
		t.Errorf("the empty URL is the embedded store: got %q, %v", got.Reveal(), err)
	}
}

func TestSigningSecretsAreStandardWebhooks(t *testing.T) {
	t.Parallel()
	least := "whsec_" + strings.Repeat("AAAA", 8)          // 24 bytes
	most := "whsec_" + strings.Repeat("AAAA", 21) + "AA==" // 64 bytes
	accepts(t, "signingSecret", signingSecret, map[string]Secret{
		goodSecret: goodSecret, least: Secret(least), most: Secret(most),
		"": "", "whsec_": "", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "",
		"whsec_" + strings.Repeat("AAAA", 7) + "AAA=": "", "whsec_" + strings.Repeat("AAAA", 21) + "AAA=": "",
		"whsec_" + strings.Repeat("AAAA", 8) + "AB==": "", "whsec_" + strings.Repeat("AAAA", 8) + "AAB=": "",
		goodSecret + "A": "", goodSecret + "\n": "", "whsec_" + strings.Repeat("-_-_", 8): "", goodSecret + " ": "",
	})
}

func TestASuggestionIsTheNearestWordIfAnyIsNear(t *testing.T) {
	t.Parallel()
	words := []string{"listen", "url", "retry", "max_age"}
	for in, want := range map[string]string{
		"lisetn": "listen", "lsten": "listen", "ulr": "url", "urls": "url", "retries": "retry", "maxage": "max_age",
		"max-age": "max_age",
		"LISTEN":  "", "spool": "", "x": "", "": "", strings.Repeat("url", 30): "",
	} {
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		if got := didYouMean(in, words); got != want {
			t.Errorf("didYouMean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestQuotedNamesStayShortAndOnOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"orders":                      `"orders"`,
		"a\nb\"":                      `"a\nb\""`,
		strings.Repeat("x", 61):       `"` + strings.Repeat("x", 60) + `…"`,
		"x" + strings.Repeat("单", 30): `"x` + strings.Repeat("单", 19) + `…"`,
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
