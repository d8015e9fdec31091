package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The forms of this file turn the text of a scalar into a value. Their errors say what the text must be, and never
// repeat it: it may be a secret, or have come from one.

var text = form[string]{func(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", errors.New("must not be empty")
	}
	return s, nil
}, anyScalar}

func oneOf(words ...string) form[string] {
	return form[string]{func(s string) (string, error) {
		for _, w := range words {
			if s == w {
				return s, nil
			}
		}
		return "", fmt.Errorf("must be %s", strings.Join(words, " or "))
	}, shape{"enum": words}}
}

func wholeNumber(least, most int) form[int] {
	return form[int]{func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		return n, nil
	}, shape{"type": "integer", "minimum": least, "maximum": most}}
}

var (
	days     = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)d`)
	clock    = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$`)
	errUnit  = errors.New("must be a duration like 15s, 5m, 2h or 3d, not negative (units: ms, s, m, h, d)")
	errRange = errors.New("must be a duration from 1ms to 36500d")
)

// duration takes Go's syntax (time.ParseDuration) without a sign, and days before it: "15s", "1h30m", "7d", "1d12h".
// The shortest is 1ms, because the store counts in milliseconds.
var duration = form[time.Duration]{parseDuration, pattern(`^[0-9].*(ns|us|µs|ms|s|m|h|d)$`)}

func parseDuration(s string) (time.Duration, error) {
	var d time.Duration
	rest := s
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil || n > 36500 {
			return 0, errRange
		}
		d = time.Duration(math.Round(n * float64(24*time.Hour)))
		rest = s[len(m[0]):]
	}

	if s == "" || !clock.MatchString(rest) {
		return 0, errUnit
	}

	if rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil || more > 36500*24*time.Hour-d {
			return 0, errRange
		}
		d += more
	}

	if d < time.Millisecond {
		return 0, errRange
	}
	return d, nil
}

// attemptTimeout is how long an attempt may take. It holds a connection and a slot for as long, and the lease of its
// delivery twice as long.
var attemptTimeout = form[time.Duration]{func(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err == nil && d > 5*time.Minute {
		return 0, errors.New("must be 5m at most: an attempt holds its connection so long")
	}
	return d, err
}, duration.shape}

// durationOrZero is a duration, or 0 for "never".
var durationOrZero = form[time.Duration]{func(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	return parseDuration(s)
}, shape{"anyOf": []any{shape{"const": 0}, duration.shape}}}

// historySpan is how long statistics are kept, or 0 for "none".
var historySpan = form[time.Duration]{func(s string) (time.Duration, error) {
	d, err := durationOrZero.parse(s)
	if err == nil && d != 0 && (d < time.Hour || d > 7*24*time.Hour) {
		return 0, errors.New("must be 0, or from 1h to 7d")
	}
	return d, err
}, durationOrZero.shape}

var (
	sizeForm  = regexp.MustCompile(`^([0-9]+) ?(B|KB|MB|GB|KiB|MiB|GiB)$`)
	sizeUnits = map[string]int64{
		"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}
)

// size is a number of bytes with its unit.
var size = form[int64]{parseSize, pattern(sizeForm.String())}

func parseSize(s string) (int64, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("must be a size with a unit, like 512KiB or 4MiB (B, KB, MB, GB, KiB, MiB, GiB)")
	}

	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := sizeUnits[m[2]]
	if err != nil || n < 1 || n > math.MaxInt64/unit {
		return 0, errors.New("must be a size of at least 1B that fits into 63 bits")
	}
	return n * unit, nil
}

var listenAddress = form[string]{parseListenAddress, pattern(`:[0-9]+$`)}

func parseListenAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if _, numErr := strconv.ParseUint(port, 10, 16); err != nil || numErr != nil || strings.ContainsAny(host, " /") {
		return "", errors.New("must be host:port, like :8080 or 127.0.0.1:8081")
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.Trim(host, "0123456789.") == "" && host != "" {
		return "", errors.New("must be host:port, and the host is not an IP address, though it looks like one")
	}
	return s, nil
}

// sameListener says whether two addresses cannot both be listened on. Port 0 is any free port.
func sameListener(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}

	anywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || anywhere(hostA) || anywhere(hostB)
}

// network takes a CIDR prefix, or one address as a network of its own.
var network = form[netip.Prefix]{parseNetwork, pattern(`^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$`)}

func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(s); err == nil && addr.Zone() == "" {
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
	}

	if !p.IsValid() {
		return netip.Prefix{}, errors.New("must be a network like 10.0.0.0/8 or an address like 10.1.2.3")
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("must be written as IPv4: an IPv4-mapped IPv6 network matches nothing")
	}
	return p.Masked(), nil
}

// redisURL checks the scheme, and that there is one host. Options.CheckRedisURL knows the rest. Empty: the embedded
// store.
var redisURL = form[Secret]{parseRedisURL, pattern(`^$|^(redis|rediss|unix)://`)}

func parseRedisURL(s string) (Secret, error) {
	if s == "" {
		return "", nil
	}

	scheme, rest, _ := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case strings.Contains(scheme, "sentinel"):
		return "", errors.New("must begin with redis:// or rediss:// for Sentinels too: write " + sentinelForm)
	case strings.Contains(scheme, "cluster"):
		return "", errors.New("must begin with redis:// or rediss:// for a Cluster too: write " + clusterForm)
	case scheme == "redis", scheme == "rediss":
		authority, _, _ := strings.Cut(rest, "/")
		authority, _, _ = strings.Cut(authority, "?")
		if hosts := authority[strings.LastIndex(authority, "@")+1:]; strings.Contains(hosts, ",") {
			return "", errors.New("must have one host before its path: write Sentinels as " + sentinelForm +
				", a Cluster as " + clusterForm)
		}
	case scheme == "unix":
	default:
		return "", errors.New("must begin with redis://, rediss:// or unix://")
	}

	if _, err := url.Parse(s); err != nil {
		return "", errors.New("is not a URL; " + encoding)
	}
	return Secret(s), nil
}

// encoding says how to mend a URL that is read in another way than it was meant.
const encoding = "in a user or password write % as %25, / as %2F, ? as %3F, # as %23, @ as %40 and a space as %20"

// redisURLOf reads redis.url, and has it checked. The check quotes nothing of the URL, so its error is shown.
func redisURLOf(out *Secret) reader {
	return reader{shape: redisURL.scalar(), read: func(v value) {
		got, ok := scalar(v, redisURL)
		if !ok {
			return
		}
		*out = got
		if check := v.src.options.CheckRedisURL; check != nil && got != "" {
			if err := check(got.Reveal()); err != nil {
				v.mistake("%v", err)
			}
		}
	}}
}

// How to write several servers, for messages to people who write them in another way.
const (
	sentinelForm = "redis://HOST1:26379?master_name=NAME&addr=HOST2:26379&addr=HOST3:26379"
	clusterForm  = "redis://HOST1:6379?addr=HOST2:6379&addr=HOST3:6379"
)

var segment = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*+,;=:@-]+$`)

// callbackToken takes text that can be one segment of a URL's path without escapes (pchar of RFC 3986, section 3.3).
var callbackToken = form[Secret]{parseCallbackToken, shape{"type": []string{"string", "number"}, "minLength": 8}}

func parseCallbackToken(s string) (Secret, error) {
	if len(s) < 8 {
		return "", errors.New("must be at least 8 characters")
	}
	if !segment.MatchString(s) {
		return "", errors.New("must be letters, digits and -._~ only: it is one segment of a URL's path")
	}
	return Secret(s), nil
}

// endpointURL takes an absolute http or https URL with a host. A user and password are refused, because the signature
// authenticates, and so is a fragment, because it is never sent.
var endpointURL = form[string]{parseEndpointURL, pattern(`^[Hh][Tt][Tt][Pp][Ss]?://`)}

func parseEndpointURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil && strings.Contains(s, "@") {
		return "", errors.New("must be an absolute http or https URL with a host, and must not hold a user or password")
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(s, " \t") {
		return "", errors.New("must be an absolute http or https URL with a host")
	}

	if u.User != nil {
		return "", errors.New("must not hold a user or password")
	}
	if strings.Contains(s, "#") {
		return "", errors.New("must not hold a fragment (#)")
	}

	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", errors.New("must have a port from 1 to 65535, or none")
		}
	}
	return s, nil
}

// signingSecret takes a secret of Standard Webhooks: "whsec_" and the base64 of 24 to 64 bytes.
var signingSecret = form[Secret]{parseSigningSecret, pattern(`^whsec_`)}

func parseSigningSecret(s string) (Secret, error) {
	coded, ok := strings.CutPrefix(s, "whsec_")
	if !ok {
		return "", errors.New("must begin with whsec_")
	}

	key, err := base64.StdEncoding.DecodeString(coded)
	if err != nil || strings.ContainsAny(coded, "\r\n") {
		return "", errors.New("must be whsec_ and then base64 with its padding")
	}
	// Each secret has one spelling, as in package signature: unused bits at the end are zero.
	if base64.StdEncoding.EncodeToString(key) != coded {
		return "", errors.New("must be whsec_ and then base64, and the end of this one was changed: copy it again, or make " +
			"another one (kuairelay keygen)")
	}
	if len(key) < 24 || len(key) > 64 {
		return "", fmt.Errorf("must be whsec_ and then the base64 of 24 to 64 bytes, not of %d", len(key))
	}
	return Secret(s), nil
}

// variableName is the name of a variable of the environment.
var variableName = form[string]{func(s string) (string, error) {
	if !wholeName.MatchString(s) {
		return "", errors.New("must be the name of a variable: letters, digits and _")
	}
	return s, nil
}, pattern(wholeName.String())}

var wholeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// yesOrNo is true or false.
var yesOrNo = form[bool]{func(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("must be true or false")
}, shape{"type": "boolean"}}

// timeZone is the name of a time zone; nil stands for local, the zone of each reader's browser.
var timeZone = form[*time.Location]{func(s string) (*time.Location, error) {
	if s == "local" {
		return nil, nil //nolint:nilnil // no zone is one of the values
	}
	zone, err := time.LoadLocation(s)
	if err != nil || s == "" || s == "Local" {
		return nil, errors.New("must be local, or the name of a time zone like Asia/Shanghai or UTC")
	}
	return zone, nil
}, shape{"type": "string"}}

// language is that of pages. auto is English where a browser asks for neither.
var language = form[string]{func(s string) (string, error) {
	switch s {
	case "auto":
		return "en", nil
	case "en", "zh":
		return s, nil
	}
	return "", errors.New("must be auto or en or zh")
}, shape{"enum": []string{"auto", "en", "zh"}}}

// hostName is a name, or an address, as it stands in a Host header without its port.
var hostName = form[string]{func(s string) (string, error) {
	if s == "" || len(s) > 253 || strings.ContainsAny(s, ":/@*[] ") {
		return "", errors.New("must be a host name without a port, like relay or relay.example.com")
	}
	return s, nil
}, anyScalar}
