package access

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// unknownIP stands for a client whose address a trusted proxy does not tell, or tells in a form that cannot be read. It
// is not an address, so it is in no list of networks.
const unknownIP = "unknown"

// ClientIP returns the function that finds a request's client address (echo.Context.RealIP): the address that the
// connection came from, or, if that is a trusted proxy, the last address in X-Forwarded-For that is not a trusted
// proxy. If all of them are, it is the first one. Headers from anybody else are ignored.
func ClientIP(trusted []netip.Prefix) echo.IPExtractor {
	isTrusted := func(ip netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	return func(req *http.Request) string {
		ip, ok := readIP(req.RemoteAddr)
		if !ok {
			return unknownIP
		}
		if !isTrusted(ip) {
			return ip.String()
		}

		// Each proxy appends the address that it sees, to the last header of that name or in one more.
		path := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
		for _, entry := range slices.Backward(path) {
			entry = strings.Trim(entry, " \t")
			if entry == "" {
				continue
			}
			ip, ok = readIP(entry)
			if !ok {
				return unknownIP
			}
			if !isTrusted(ip) {
				break
			}
		}
		return ip.String()
	}
}

// readIP reads an address as servers and proxies write it: alone, in brackets, and with a port.
func readIP(text string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return plain(ap.Addr()), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	ip, err := netip.ParseAddr(text)
	return plain(ip), err == nil
}

// plain returns the address without a zone, which no network has, and as IPv4 if it is one.
func plain(ip netip.Addr) netip.Addr { return ip.WithZone("").Unmap() }
