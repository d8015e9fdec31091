package deliver

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// spellings are hosts that inet_aton, a resolver or a proxy may read as an address, with what they are to us; "":
// refused.
var spellings = map[string]string{
	"2852039166": "169.254.169.254", "0xA9FEA9FE": "169.254.169.254", "0xa9fea9fe.": "169.254.169.254",
	"025177524776":  "169.254.169.254",
	"169.254.43518": "169.254.169.254", "169.16689662": "169.254.169.254", "0251.0376.0251.0376": "169.254.169.254",
	"0xA9.0xFE.0xA9.0xFE": "169.254.169.254", "169.0xFE.0251.254": "169.254.169.254",
	"169.254.169.254.": "169.254.169.254",
	"１６９.２５４.１６９.２５４":  "169.254.169.254", "①⑥⑨.②⑤④.①⑥⑨.②⑤④": "169.254.169.254", "169。254。169。254": "169.254.169.254",
	"１２７．１": "127.0.0.1", "127.1": "127.0.0.1", "127.0.1": "127.0.0.1", "0x7f.1": "127.0.0.1", "0177.1": "127.0.0.1",
	"0":  "0.0.0.0",
	"0x": "0.0.0.0", "00000127.1": "87.0.0.1", "0127.1": "87.0.0.1", "08.1": "", "256.1.1.1": "", "1.2.3.4.5": "",
	"4294967296": "", "1..1": "", "1.1..": "", "\u00ad": "", ".": "", "\u3002": "",
	"name.1": "", "a.0x10": "", "0x1g": "0x1g", "1.2.3.example": "1.2.3.example", "shop.internal": "shop.internal",
	"my_service": "my_service",
	"例え.テスト":     "xn--r8jz45g.xn--zckzah", "ｓｈｏｐ.example": "shop.example",
	"[::ffff:169.254.169.254]": "::ffff:169.254.169.254", "[::FFFF:a9fe:a9fe]": "::ffff:169.254.169.254",
	"[fe80::1%25eth0]":        "fe80::1",
	"[0:0:0:0:0:ffff:7f00:1]": "::ffff:127.0.0.1", "8.8.8.8": "8.8.8.8",
}

func TestEverySpellingOfAnAddressIsReadOnce(t *testing.T) {
	t.Parallel()
	for spelled, want := range spellings {
		u, err := readTarget("http://" + spelled + ":8080/x")
		got := ""
		if err == nil {
			got = u.Hostname()
		}
		if got != want {
			t.Errorf("%s: %q (%v), want %q", spelled, got, err, want)
		}
	}
}

func TestTheCheckOfAConfigReadsAddressesAsAnAttemptDoes(t *testing.T) {
	t.Parallel()
	for spelled, want := range spellings {
		_, err := netip.ParseAddr(want)
		allowed := CheckURL("http://"+spelled+":8080/x", nil)
		if want == "" && allowed == nil {
			t.Errorf("%s: it is refused by an attempt, and taken by check", spelled)
		}
		if err == nil && newGuard(Egress{}, nil).checkLiteral(want) != nil && allowed == nil {
			t.Errorf("%s: an attempt refuses it as %s, and check takes it", spelled, want)
		}
	}
}

// aton reads a host as inet_aton(3) does, by the rules of its page and nothing of ours.
func aton(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var nums []uint64
	for _, p := range parts {
		base := uint64(10)
		digits := p
		if len(p) > 1 && p[0] == '0' {
			base, digits = 8, p[1:]
			if p[1] == 'x' || p[1] == 'X' {
				base, digits = 16, p[2:]
			}
		}
		if p == "" {
			return netip.Addr{}, false
		}
		var n uint64
		for _, c := range strings.ToLower(digits) {
			d := uint64(strings.IndexRune("0123456789abcdef", c))
			if d >= base || n > 1<<32 {
				return netip.Addr{}, false
			}
			n = n*base + d
		}
		nums = append(nums, n)
	}
	var whole uint64
	for i, n := range nums {
		bits := uint64(8)
		if i == len(nums)-1 {
			bits = uint64(8 * (5 - len(nums)))
		}
		if n >= 1<<bits {
			return netip.Addr{}, false
		}
		whole = whole<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(whole >> 24), byte(whole >> 16), byte(whole >> 8), byte(whole)}), true
}

func FuzzAHostIsReadAsAResolverReadsIt(f *testing.F) {
	for spelled := range spellings {
		f.Add(spelled)
	}
	f.Fuzz(func(t *testing.T, host string) {
		u, err := readTarget("http://" + host + "/")
		if err != nil {
			return // nobody is asked for it
		}
		got := u.Hostname()
		again, err := readTarget("http://" + u.Host + "/")
		if err != nil || again.Host != u.Host {
			t.Fatalf("%q is read as %q, and that as %v", host, u.Host, again)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q is read as %q", host, got)
		}
		// What is taken for a name is none that a resolver reads as an address, with or without a dot at its end.
		for _, name := range []string{host, got} {
			want, isAddress := aton(strings.TrimSuffix(name, "."))
			if isAddress && got != want.String() {
				t.Errorf("%q is read as %q, by a resolver as %s", host, got, want)
			}
		}
	})
}

func TestPathAndQueryAreSentAsRFC3986HasThem(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"http://h":                           "/",
		"http://h/AZaz09?AZaz09":             "/AZaz09?AZaz09",
		"http://h?a=1":                       "/?a=1",
		"http://h/?name=中文":                  "/?name=%E4%B8%AD%E6%96%87",
		"http://h/钩子?名=1&b=é":                "/%E9%92%A9%E5%AD%90?%E5%90%8D=1&b=%C3%A9",
		"http://h/a%2Fb/中":                   "/a%2Fb/%E4%B8%AD",
		"http://h/a%2fb?c=%e4&d=100%":        "/a%2fb?c=%e4&d=100%25",
		`http://h/a|b^{c}?d="e"&f[]=<g>'|\`:  "/a%7Cb%5E%7Bc%7D?d=%22e%22&f%5B%5D=%3Cg%3E'%7C%5C",
		"http://h/a+b;c=1,2!$&'()*:@~?x=a+b": "/a+b;c=1,2!$&'()*:@~?x=a+b",
		"http://h/a//b/../c/":                "/a//b/../c/",
		"http://h/?":                         "/?",
	} {
		c := poster(t, target, Egress{})
		head, _, _ := strings.Cut(string(c.head), "\r\n")
		if got := strings.TrimSuffix(strings.TrimPrefix(head, "POST "), " HTTP/1.1"); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
		if got := c.message(newDelivery(0), time.Now()).request(t.Context()).URL.RequestURI(); got != want {
			t.Errorf("%s by net/http: %s, want %s", target, got, want)
		}
	}
}

func FuzzPathAndQueryKeepTheirMeaning(f *testing.F) {
	f.Add("/a%2Fb/中", "name=中文&x=100%")
	f.Add("/ |^{}", `a[]="<>'`)
	f.Fuzz(func(t *testing.T, path, query string) {
		given, err := url.Parse("http://h/" + path + "?" + query)
		if err != nil || given.Host != "h" {
			return
		}
		u, err := readTarget("http://h/" + path + "?" + query)
		if err != nil {
			t.Fatal(err)
		}
		uri := u.RequestURI()
		for i := range len(uri) {
			if c := uri[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^{}|[]#`+"`", c) >= 0 {
				t.Errorf("%q has %q", uri, c)
			}
		}
		back, err := url.ParseRequestURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		if back.Path != given.Path {
			t.Errorf("%q has the path %q, not %q", uri, back.Path, given.Path)
		}
		want, errWant := url.ParseQuery(given.RawQuery)
		got, errGot := url.ParseQuery(back.RawQuery)
		if errWant == nil && (errGot != nil || got.Encode() != want.Encode()) {
			t.Errorf("%q has the query %q, not %q", uri, got.Encode(), want.Encode())
		}
	})
}

func TestAHostWithACharacterThatNoNameHasIsRefused(t *testing.T) {
	t.Parallel()
	for _, host := range []string{`a"b`, "a<b", "a>b", "a b", "a|b", "a%7Cb", "a\x7fb"} {
		if _, err := readTarget("http://" + host + "/"); err == nil {
			t.Errorf("%q is taken", host)
		}
	}
}

func TestAnEndpointOfAFormatThatThereIsNotIsAnError(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, "https://example.com")
	for format, want := range map[string]string{
		"": "", "standard": "", "kuaidihelp": "", "no-such": `there is no format "no-such"`,
	} {
		e.Format = format
		_, err := newClient(e, Egress{}, "test")
		if got := fmt.Sprint(err); err != nil && got != want || err == nil && want != "" {
			t.Errorf("format %q: %v, want %q", format, err, want)
		}
	}
}
