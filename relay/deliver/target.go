package deliver

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// readTarget reads the URL of an endpoint into the one form that is used from then on: to check the address, to resolve
// and dial it, to ask a proxy for it, and in the request. So nothing reads a spelling that was not checked.
func readTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("url: it is not an absolute URL")
	}
	host, err := readHost(u.Hostname())
	if err != nil {
		return nil, err
	}

	port := u.Port()
	switch {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}

	path := u.RawPath
	if path == "" {
		path = u.EscapedPath()
	}
	u.RawPath = escape(path, pathMarks)
	u.RawQuery = escape(u.RawQuery, pathMarks+"?")
	return u, nil
}

// readHost returns the canonical spelling of a host, as the URL Standard has it
// (https://url.spec.whatwg.org/#host-parsing): a name in ASCII, or an address. Everything that inet_aton, and so a
// resolver or a proxy, may read as an IPv4 address becomes one ("0x7f.1", "2852039166", full-width digits, a dot at the
// end), or is refused.
func readHost(host string) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.WithZone("").String(), nil // only link-local addresses need a zone, and those are refused
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", errors.New("url: its host is no name that can be looked up (IDNA)")
		}
		host = ascii
	}
	if strings.ContainsFunc(host, notInHost) {
		return "", errors.New("url: its host has a character that no name has")
	}

	name := strings.TrimSuffix(host, ".")
	if name == "" {
		return "", errors.New("url: its host is empty") // to dial nothing is to dial this machine
	}
	if strings.HasSuffix(name, ".") {
		return "", errors.New("url: its host ends in more than one dot")
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if !isNumber(last) {
		return host, nil
	}
	addr, ok := readIPv4(name)
	if !ok {
		return "", errors.New("url: its host ends in a number, and is no IPv4 address")
	}
	return addr.String(), nil
}

// notInHost says whether a character is in no host name.
func notInHost(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`"#%/:<>?@[\]^|`, r)
}

// isNumber says whether the last label of a host makes an address of it: digits, or what begins as a hexadecimal
// number.
func isNumber(label string) bool {
	if label != "" && strings.Trim(label, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(strings.ToLower(label), "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// readIPv4 reads one to four numbers, decimal, octal or hexadecimal, of which the last fills what is left of the
// address.
func readIPv4(name string) (netip.Addr, bool) {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var whole uint64
	for i, part := range parts {
		n, ok := readPart(part)
		room := uint64(1) << 8
		if i == len(parts)-1 {
			room = 1 << (8 * (5 - len(parts)))
		}
		if !ok || n >= room {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			whole |= n << (8 * (3 - i))
		} else {
			whole |= n
		}
	}
	return netip.AddrFrom4([4]byte{byte(whole >> 24), byte(whole >> 16), byte(whole >> 8), byte(whole)}), true
}

func readPart(part string) (uint64, bool) {
	if part == "" {
		return 0, false
	}
	base := 10
	switch lower := strings.ToLower(part); {
	case strings.HasPrefix(lower, "0x"):
		part = "0" + part[2:] // "0x" alone is 0
		base = 16
	case len(part) > 1 && part[0] == '0':
		base = 8
	}
	if strings.ContainsAny(part, "+-_") {
		return 0, false
	}
	n, err := strconv.ParseUint(part, base, 64)
	return n, err == nil
}

// pathMarks are the characters that a path may have unencoded, besides letters and digits (pchar and "/" of RFC 3986,
// section 3.3).
const pathMarks = "-._~!$&'()*+,;=:@/"

// escape percent-encodes the characters that a part of a URL may not have. What is encoded already stays as it is.
func escape(part, marks string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(part) {
		c := part[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		encoded := c == '%' && i+2 < len(part) && isHex(part[i+1]) && isHex(part[i+2])
		if letter || encoded || strings.IndexByte(marks, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
