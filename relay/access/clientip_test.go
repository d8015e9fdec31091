package access

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestTheAddressOfAClientIsReadHoweverProxiesWriteIt(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"127.0.0.1:5000", nil, "127.0.0.1"},
		{"127.0.0.1:5000", []string{"203.0.113.7"}, "203.0.113.7"},
		{"127.0.0.1:5000", []string{"203.0.113.7:44321"}, "203.0.113.7"},
		{"127.0.0.1:5000", []string{"[2001:db8::5]:443"}, "2001:db8::5"},
		{"127.0.0.1:5000", []string{"[2001:db8::5]"}, "2001:db8::5"},
		{"127.0.0.1:5000", []string{"2001:DB8:0::5"}, "2001:db8::5"},
		{"127.0.0.1:5000", []string{"fe80::5%eth0"}, "fe80::5"},
		{"127.0.0.1:5000", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"127.0.0.1:5000", []string{"203.0.113.7,"}, "203.0.113.7"},
		{"127.0.0.1:5000", []string{"\t203.0.113.7 , ,10.1.2.3 "}, "203.0.113.7"},
		// the client may have written the first one
		{"127.0.0.1:5000", []string{"198.51.100.1, 203.0.113.7:1"}, "203.0.113.7"},
		{"127.0.0.1:5000", []string{"198.51.100.1", "203.0.113.7", "10.1.2.3:80"}, "203.0.113.7"},
		{"127.0.0.1:5000", []string{"10.9.9.9, 10.1.2.3"}, "10.9.9.9"},
		{"[fd00::1]:5000", []string{"203.0.113.7"}, "203.0.113.7"},
		{"[::ffff:127.0.0.1]:5000", []string{"203.0.113.7"}, "203.0.113.7"},

		{"127.0.0.1:5000", []string{"unknown"}, "unknown"},
		{"127.0.0.1:5000", []string{"203.0.113.7, _hidden"}, "unknown"},
		{"127.0.0.1:5000", []string{"unknown, 203.0.113.7"}, "203.0.113.7"},
		{"127.0.0.1:5000", []string{"203.0.113.7:http"}, "unknown"},
		{"127.0.0.1:5000", []string{"203.0.113.7 203.0.113.8"}, "unknown"},
		{"127.0.0.1:5000", []string{"203.0.113"}, "unknown"},

		{"192.0.2.1:5000", []string{"203.0.113.7"}, "192.0.2.1"},
		{"[2001:db8::1]:5000", []string{"203.0.113.7"}, "2001:db8::1"},
		{"@", []string{"203.0.113.7"}, "unknown"},
	} {
		req := &http.Request{RemoteAddr: c.remote,
			Header: http.Header{"X-Forwarded-For": c.forwarded, "X-Real-Ip": {"192.0.2.9"}}}
		if got := ClientIP(trusted)(req); got != c.want {
			t.Errorf("%s, forwarded for %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}
