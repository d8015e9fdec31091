package kuaidihelp

import (
	"bytes"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// in writes text in another charset.
func in(t *testing.T, charset encoding.Encoding, text string) string {
	t.Helper()
	out, err := charset.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// decoded is the result of Decode and Parse.
func decoded(t *testing.T, contentType, body string) Result {
	t.Helper()
	plain, err := Decode(contentType, []byte(body), io.ReadAll)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(contentType, plain, time.Time{})
}

func TestACallbackInAnotherCharsetIsReadIfItSaysSo(t *testing.T) {
	t.Parallel()
	const item = `{"no":"1","data":[{"context":"已签收 50% & a=b+c, 单号"}]}`
	const body = `{"type":"express_sub_msg","data":[` + item + `]}`
	gbk, gb18030 := simplifiedchinese.GBK, simplifiedchinese.GB18030
	little, big := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	bare := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	const form = "application/x-www-form-urlencoded; charset="
	brackets := "type=express_sub_msg&data[0][no]=1&data[0][data][0][context]="
	for name, c := range map[string]struct{ contentType, body string }{
		"GBK":         {"application/json; charset=GBK", in(t, gbk, body)},
		"GB 2312":     {"text/plain;charset='gb2312'", in(t, gbk, body)},
		"GB 18030":    {"application/json; charset=gb18030", in(t, gb18030, body)},
		"GBK, a form": {form + "gbk", "type=express_sub_msg&data=" + url.QueryEscape(in(t, gbk, "["+item+"]"))},
		"GBK, a form in letters": {form + "gbk",
			brackets + strings.ReplaceAll(url.QueryEscape(in(t, gbk, "已签收 50% & a=b+c, 单号")), "%25", "%")},
		"GBK, brackets escaped": {form + "gbk", strings.NewReplacer("[", "%5B", "]", "%5D").Replace(brackets) +
			url.QueryEscape(in(t, gbk, "已签收 50% & a=b+c, 单号"))},
		"GBK, multipart": {multipartType + "; charset=gbk",
			in(t, gbk, multipartBody("type", "express_sub_msg", "data", "["+item+"]"))},
		"UTF-16 with a mark":    {"", in(t, little, body)},
		"UTF-16 the other way":  {"application/json; charset=utf-8", in(t, big, body)},
		"UTF-16 as it says":     {"application/json; charset=utf-16", in(t, bare, body)},
		"UTF-8 with a mark":     {"", "\uFEFF" + body},
		"UTF-8, said to be GBK": {"application/json; charset=gbk", body},
		"UTF-8, a form":         {form + "gbk", "type=express_sub_msg&data=" + url.QueryEscape("["+item+"]")},
		"UTF-8, said UTF-16":    {"application/json; charset=utf-16", body},
	} {
		got := decoded(t, c.contentType, c.body)
		if len(got.Events) != 1 || !strings.Contains(string(got.Events[0].Data), "已签收 50% & a=b+c, 单号") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestACharsetThatIsNotReadIsNamedInTheReason(t *testing.T) {
	t.Parallel()
	whole := "type=express_sub_msg&data=\xb3"
	for name, c := range map[string]struct{ contentType, body, want string }{
		"another one": {"application/json; charset=Big5", `{"type":"express_sub_msg","data":[{"no":"1","x":"` + "\xa4\xa4" +
			`"}]}`, `its charset is "big5": item 0: `},
		"damaged GBK": {"text/plain; charset=gbk", `{"type":"express_sub_msg","data":[{"no":"1","x":"` + "\xb3" + `"}]}`,
			`its charset is "gbk": item 0: `},
		"a whole one":   {"text/plain; charset=gbk", whole, `its charset is "gbk": data is `},
		"none is named": {"text/plain", `{"type":"express_sub_msg","data":[{"no":"1","x":"` + "\xb3" + `"}]}`, `item 0: `},
	} {
		got := decoded(t, c.contentType, c.body)
		if len(got.Rejected) != 1 || !strings.HasPrefix(got.Rejected[0].Reason, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := decoded(t, "text/plain; charset=gbk", whole); string(got.Rejected[0].Raw) != whole {
		t.Errorf("what is damaged is kept as %q", got.Rejected[0].Raw)
	}
}

// FuzzUnescape checks that a form means the same after unescape.
func FuzzUnescape(f *testing.F) {
	for _, body := range []string{"a%5B0%5d=1%26%3d%2B%25+&b=5%%32&%", "a=%B2%E2%zz%2", "%%3%25%32%35"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		plain, err := io.ReadAll(transform.NewReader(bytes.NewReader(body), unescape{}))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := ourURLEncoded(plain), ourURLEncoded(body); got.Encode() != want.Encode() {
			t.Errorf("%q is %q, not %q", plain, got, want)
		}
	})
}
