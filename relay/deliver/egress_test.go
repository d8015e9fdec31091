package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"kuairelay/relay/signature"
)

// addresses is every form of address that the guard has to judge: its class, "" if anybody may be reached there, and
// whether a list may allow it.
var addresses = []struct {
	addr, class string
	listable    bool
}{
	{"8.8.8.8", "", true},
	{"1.1.1.1", "", true},
	{"223.5.5.5", "", true},
	{"2400:3200::1", "", true},
	{"2606:4700:4700::1111", "", true},
	{"::ffff:8.8.8.8", "", true},
	{"64:ff9b::8.8.8.8", "", true},
	{"2002:808:808::1", "", true},
	{"172.15.255.255", "", true},
	{"172.32.0.1", "", true},
	{"100.128.0.1", "", true},

	{"127.0.0.1", "loopback", true},
	{"127.255.255.254", "loopback", true},
	{"::1", "loopback", true},
	{"::ffff:127.0.0.1", "loopback", true},
	{"10.0.0.7", "private", true},
	{"172.16.0.1", "private", true},
	{"172.31.255.255", "private", true},
	{"192.168.1.1", "private", true},
	{"::ffff:192.168.1.1", "private", true},
	{"fd12:3456::1", "private", true},
	{"fc00::1", "private", true},
	{"fec0::1", "private", true},
	{"100.64.0.1", "shared (carrier-grade NAT)", true},
	{"100.127.255.255", "shared (carrier-grade NAT)", true},
	{"198.18.0.1", "benchmarking", true},
	{"2001:2::1", "benchmarking", true},
	{"192.0.2.1", "documentation", true},
	{"198.51.100.1", "documentation", true},
	{"203.0.113.1", "documentation", true},
	{"2001:db8::1", "documentation", true},
	{"3fff::1", "documentation", true},
	{"240.0.0.1", "reserved", true},
	{"192.0.0.8", "reserved", true},
	{"192.88.99.1", "reserved", true},
	{"100::1", "reserved", true},
	{"4000::1", "reserved", true},
	{"64:ff9b::10.0.0.7", "private", true},
	{"64:ff9b::7f00:1", "loopback", true},
	{"2002:7f00:1::", "loopback", true},
	{"2002:a00:7::1", "private", true},
	{"::10.0.0.7", "private", true},
	{"::ffff:0:10.0.0.7", "private", true},
	{"2001:0:808:808:0:0:f5ff:fff8", "Teredo", true}, // by a public server, for 10.0.0.7
	{"2606:4700::5efe:10.0.0.7", "private", true},
	{"2606:4700::200:5efe:192.168.0.1", "private", true},
	{"64:ff9b:1::8.8.8.8", "local NAT64", true},

	{"169.254.169.254", "metadata", false},
	{"169.254.170.2", "metadata", false},
	{"100.100.100.200", "metadata", false},
	{"192.0.0.192", "metadata", false},
	{"168.63.129.16", "metadata", false},
	{"fd00:ec2::254", "metadata", false},
	{"fd20:ce::254", "metadata", false},
	{"::ffff:169.254.169.254", "metadata", false},
	{"64:ff9b::169.254.169.254", "metadata", false},
	{"64:ff9b:1::169.254.169.254", "metadata", false},
	{"64:ff9b:1:a9fe:a9:fe00::", "metadata", false},   // RFC 6052, a prefix of 48 bits
	{"64:ff9b:1:a9:fe:a9fe::", "metadata", false},     // … of 56
	{"64:ff9b:1:0:a9:fea9:fe00:0", "metadata", false}, // … of 64
	{"2002:a9fe:a9fe::1", "metadata", false},
	{"::169.254.169.254", "metadata", false},
	{"::ffff:0:169.254.169.254", "metadata", false},
	{"2001:0:a9fe:a9fe:0:0:f7f7:f7f7", "metadata", false}, // Teredo by that server
	{"2001:0:808:808:0:0:5601:5601", "metadata", false},   // Teredo for that client
	{"fd00::5efe:169.254.169.254", "metadata", false},
	{"169.254.0.1", "link-local", false},
	{"fe80::1", "link-local", false},
	{"fe80::1%eth0", "link-local", false},
	{"::ffff:169.254.1.1", "link-local", false},
	{"0.0.0.0", "unspecified", false},
	{"0.1.2.3", "unspecified", false},
	{"::", "unspecified", false},
	{"::ffff:0.0.0.0", "unspecified", false},
	{"::2", "unspecified", false}, // IPv4-compatible for 0.0.0.2
	{"64:ff9b::", "unspecified", false},
	{"255.255.255.255", "broadcast", false},
	{"::ffff:255.255.255.255", "broadcast", false},
	{"224.0.0.1", "multicast", false},
	{"ff02::1", "multicast", false},
}

func TestTheEgressGuardKnowsEveryFormOfAddress(t *testing.T) {
	t.Parallel()
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	strict, lax, own := newGuard(Egress{}, nil), newGuard(Egress{AllowCIDRs: everything}, nil),
		newGuard(Egress{}, everything)
	for _, a := range addresses {
		addr := netip.MustParseAddr(a.addr)
		class := func(g *guard) string {
			refused, ok := errors.AsType[*refusedAddress](g.check(addr))
			if !ok {
				return ""
			}
			return refused.class
		}
		if got := class(strict); got != a.class {
			t.Errorf("%s: %q, want %q", a.addr, got, a.class)
		}
		want := a.class
		if a.listable {
			want = ""
		}
		if got := class(lax); got != want {
			t.Errorf("%s, with everything allowed: %q, want %q", a.addr, got, want)
		}
		if got := class(own); got != want {
			t.Errorf("%s, with everything allowed by the endpoint: %q, want %q", a.addr, got, want)
		}
	}
}

func TestAListAllowsWhatItHoldsAndNothingElse(t *testing.T) {
	t.Parallel()
	g := newGuard(Egress{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		[]netip.Prefix{netip.MustParsePrefix("fd00:1::/32")})
	for addr, allowed := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00:1::2": true, "64:ff9b::10.1.2.3": true, "2002:a01:203::1": true,
		"10.2.0.1": false, "fd00:2::1": false, "127.0.0.1": false, "64:ff9b::10.2.0.1": false, "fd00:1::5efe:10.2.0.1": true,
		"fd00:1::5efe:169.254.169.254": false, "2001:0:a01:203:0:0:f5fe:fdfc": false,
	} {
		if err := g.check(netip.MustParseAddr(addr)); (err == nil) != allowed {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// names is a DNS server on loopback. It answers a name with the next of its addresses at every question, and the last
// one from then on.
type names struct {
	mu    sync.Mutex
	hosts map[string][]string
	asked atomic.Int64
}

func (n *names) next(host string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.hosts[host]
	if len(all) == 0 {
		return nil
	}
	if len(all) > 1 {
		n.hosts[host] = all[1:]
	}
	return strings.Fields(all[0])
}

// resolver starts the server, and returns a resolver that asks it, and nobody else.
func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			answer, _ := n.answer(m).Pack()
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (n *names) answer(m dnsmessage.Message) *dnsmessage.Message {
	q := m.Questions[0]
	out := &dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true},
		Questions: m.Questions}
	if q.Type != dnsmessage.TypeA { // the names here have IPv4 addresses, each question for one counts
		return out
	}
	n.asked.Add(1)
	for _, a := range n.next(strings.TrimSuffix(q.Name.String(), ".")) {
		out.Answers = append(out.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
		})
	}
	return out
}

// poster makes a client to the URL, by an egress that only the test knows.
func poster(t testing.TB, target string, egress Egress, change ...func(*Endpoint)) *client {
	t.Helper()
	key, err := signature.ParseKey(signature.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	e := Endpoint{URL: target, Keys: []Key{{Key: key}}, Timeout: 20 * time.Second, MaxInFlight: 2}
	for _, f := range change {
		f(&e)
	}
	c, err := newClient(&e, egress, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func try(t *testing.T, c *client) string {
	t.Helper()
	a := c.post(t.Context(), newDelivery(time.Minute), time.Now())
	if a.Err != "" {
		return a.Err
	}
	return strconv.Itoa(a.Status)
}

// counting is a receiver that counts its requests.
func counting(t *testing.T) (server *httptest.Server, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	return server, requests
}

func TestANameThatChangesItsAddressIsJudgedByTheAddressThatIsDialled(t *testing.T) {
	t.Parallel()
	server, requests := counting(t)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	// Loopback stands for the tenant's own address: allowed as 127.0.0.1, and not as any other.
	one := Egress{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	for _, c := range []struct {
		answers []string
		want    []string
	}{
		{[]string{"127.0.0.1", "169.254.169.254"}, []string{"200", "forbidden: metadata address 169.254.169.254"}},
		{[]string{"127.0.0.1", "127.0.0.2"}, []string{"200", "forbidden: loopback address 127.0.0.2"}},
		{[]string{"10.0.0.7", "127.0.0.1"}, []string{"forbidden: private address 10.0.0.7", "200"}},
		{[]string{"169.254.169.254 127.0.0.1"}, []string{"200"}}, // the one that is allowed is taken
		{[]string{"169.254.169.254 10.0.0.7"}, []string{"forbidden: metadata address 169.254.169.254"}},
	} {
		n := &names{hosts: map[string][]string{"hooks.example": c.answers}}
		one.Resolver = n.resolver(t)
		client := poster(t, "http://hooks.example:"+port+"/", one)
		for i, want := range c.want {
			before := requests.Load()
			if got := try(t, client); got != want &&
				!(strings.HasPrefix(want, "forbidden") && strings.HasPrefix(got, "forbidden")) {
				t.Errorf("%v, attempt %d: %q, want %q", c.answers, i+1, got, want)
			}
			if reached := requests.Load() > before; reached != (want == "200") {
				t.Errorf("%v, attempt %d: reached %t", c.answers, i+1, reached)
			}
			client.close() // the next attempt dials anew, and so asks anew
		}
		if n.asked.Load() < int64(len(c.want)) {
			t.Errorf("%v: asked %d times", c.answers, n.asked.Load())
		}
	}
}

func TestEveryURLFormOfAForbiddenAddressIsRefused(t *testing.T) {
	t.Parallel()
	server, requests := counting(t)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1.2.3", "[::1]", "0.0.0.0",
		"[::]"} {
		if got := try(t, poster(t, "http://"+host+":"+port+"/", Egress{})); !strings.HasPrefix(got, "forbidden: ") {
			t.Errorf("%s: %s", host, got)
		}
	}
	// Another spelling is read as the address that it is, and no resolver is asked.
	for _, host := range []string{"0x7f000001", "2130706433", "0177.0.0.1", "127.1", "１２７.0.0.1", "127.0.0.1."} {
		if got := try(t, poster(t, "http://"+host+":"+port+"/", Egress{})); !strings.HasPrefix(got,
			"forbidden: loopback address 127.0.0.1 (not in egress.allow_cidrs") {
			t.Errorf("%s: %s", host, got)
		}
	}
	if requests.Load() != 0 {
		t.Errorf("%d requests got through", requests.Load())
	}
	if got := try(t, poster(t, server.URL, Egress{}, func(e *Endpoint) { e.AllowCIDRs = loopback.AllowCIDRs })); got !=
		"200" {
		t.Errorf("allowed by the endpoint's own list: %s", got)
	}
}

func TestAnEndpointWhoseAddressCanNeverBeDialledIsNotTaken(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"http://10.0.0.7/":              "endpoint t/a: url: a private address 10.0.0.7 is not allowed",
		"http://169.254.169.254/latest": "endpoint t/a: url: a metadata address 169.254.169.254 is never allowed",
		"http://2852039166/":            "endpoint t/a: url: a metadata address 169.254.169.254 is never allowed",
		"http://1.2.3.4.5/":             "endpoint t/a: url: its host ends in a number, and is no IPv4 address",
		"http://[::ffff:127.0.0.1]:80/": "", "https://8.8.8.8/": "", "https://a.name/": "",
	} {
		key, err := signature.ParseKey(signature.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(Options{Store: &memory{},
			Settings: Settings{Egress: loopback, Endpoints: []*Endpoint{{Name: "t/a", URL: target, Keys: []Key{{Key: key}}}}}})
		if got := fmt.Sprint(err); got != want && !(err == nil && want == "") {
			t.Errorf("%s: %s", target, got)
		}
	}
}

func TestWithAProxyTheTargetIsCheckedAndTheProxyItselfIsNot(t *testing.T) {
	t.Parallel()
	server, requests := counting(t)
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied.Add(1)
		to, _ := url.Parse(server.URL)
		r.URL.Host, r.RequestURI = to.Host, ""
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
	}))
	t.Cleanup(proxy.Close)
	n := &names{hosts: map[string][]string{"inner.example": {"10.0.0.7"}, "outer.example": {"8.8.8.8"},
		"mixed.example": {"8.8.8.8 10.0.0.7"}}}
	egress := Egress{Resolver: n.resolver(t)}
	egress.Proxy, _ = url.Parse(proxy.URL)
	for host, want := range map[string]string{
		"outer.example": "200", "8.8.8.8": "200",
		"unknown.example": "200", // is the proxy's affair
		"inner.example":   "forbidden: private address 10.0.0.7", "mixed.example": "forbidden: private address 10.0.0.7",
		"169.254.169.254": "forbidden: metadata address 169.254.169.254",
		"0xA9FEA9FE":      "forbidden: metadata address 169.254.169.254",
		"127.1":           "forbidden: loopback address 127.0.0.1", "[::1]": "forbidden: loopback address ::1",
	} {
		before := proxied.Load()
		if got := try(t, poster(t, "http://"+host+"/", egress)); got != want && !strings.HasPrefix(got, want+" (") {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
		if (proxied.Load() > before) != (want == "200") {
			t.Errorf("%s: the proxy was asked %d times", host, proxied.Load()-before)
		}
	}
	if requests.Load() != 3 {
		t.Errorf("%d requests arrived", requests.Load())
	}
}
