package kuaidihelp_test

import (
	"compress/gzip"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"kuairelay/relay/kuaidihelp"
)

func TestSignIsThatOfTheProvidersPage(t *testing.T) {
	t.Parallel()
	got := kuaidihelp.Sign("10000", "cloud.print.do", "1524209949", "bdf3b5f50865ac813cbdfd6c9b572b79")
	if got != "5030cae3388ecdc2e686379753a0564c" {
		t.Errorf("got %s", got)
	}
}

// answering is a client of a provider that answers with this handler.
func answering(t *testing.T, answer http.HandlerFunc) *kuaidihelp.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return &kuaidihelp.Client{URL: s.URL + "/api", AppID: "50001", APIKey: "secret-key", Timeout: time.Minute,
		Now: func() time.Time { return time.Unix(1524209949, 5) }}
}

func TestACallIsMadeAsTheProvidersPageSays(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		text, _ := io.ReadAll(r.Body)
		body = string(text)
		_, _ = io.WriteString(w, `{"code":0,"msg":"成功","data":{},"uid":"6fb93a83"}`)
	})
	e, err := c.Call(t.Context(), kuaidihelp.MethodSubscribe, kuaidihelp.CallData("zt", []string{"1", "2&"}))
	if err != nil || e.Code != 0 || e.Msg != "成功" || e.UID != "6fb93a83" || string(e.Data) != "{}" {
		t.Errorf("%+v %v", e, err)
	}
	if got.Method != "POST" || got.URL.Path != "/api" ||
		got.Header.Get("Content-Type") != "application/x-www-form-urlencoded; charset=utf-8" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	form, err := url.ParseQuery(body)
	want := url.Values{"app_id": {"50001"}, "method": {"express.sub.msg"}, "ts": {"1524209949"},
		"data": {`{"cp_code":"zt","waybill_codes":"1,2\u0026"}`},
		"sign": {kuaidihelp.Sign("50001", "express.sub.msg", "1524209949", "secret-key")}}
	if err != nil || form.Encode() != want.Encode() {
		t.Errorf("%s", body)
	}
}

func TestWhateverStandsInTheEnvelopeIsAnAnswer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]kuaidihelp.Envelope{
		`{"code":1008,"msg":"余额不足","data":{},"uid":"u"}`:     {Code: 1008, Msg: "余额不足", UID: "u"},
		`{"code":"201101","msg":"查询暂无记录"}`:                   {Code: 201101, Msg: "查询暂无记录"},
		`{"code":0,"msg":null,"data":"text","uid":12345678}`: {Code: 0, UID: "12345678"},
		` {"code": 0 } `: {},
		"\uFEFF" + `{"code":0,"msg":"ok","data":{},"uid":"u1"}`: {Msg: "ok", UID: "u1"},
		"\r\n\uFEFF\n" + `{"code":" 0 "}`:                       {},
		`{"code":"0","msg":"` + "\xb3\xc9" + `"}`:               {Msg: "\uFFFD\uFFFD"}, // GBK
		"HTTP 400" + `{"code":1002,"msg":"非法请求"}`:               {Code: 1002, Msg: "非法请求"},
		"gzip" + `{"code":0,"uid":"u2"}`:                        {UID: "u2"},
	} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			body, bad := strings.CutPrefix(text, "HTTP 400")
			body, packed := strings.CutPrefix(body, "gzip")
			if bad {
				w.WriteHeader(http.StatusBadRequest)
			}
			if !packed {
				_, _ = io.WriteString(w, body)
				return
			}
			z := gzip.NewWriter(w) // without saying so
			_, _ = io.WriteString(z, body)
			_ = z.Close()
		})
		e, err := c.Call(t.Context(), "m", nil)
		if err != nil || e.Code != want.Code || e.Msg != want.Msg || e.UID != want.UID {
			t.Errorf("%s: %+v %v", text, e, err)
		}
	}
}

func TestWhatIsNoAnswerSaysWhetherToAskAgain(t *testing.T) {
	t.Parallel()
	write := func(status int, body string, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const page = "<!DOCTYPE html>\n<html><title>系统维护</title>"
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		refused bool
		says    string // to tenants too, unless it begins with "-"
	}{
		"HTTP 503":                  {write(503, "x"), false, `HTTP 503 without its envelope, but with "x"`},
		"HTTP 503 with an envelope": {write(503, `{"code":1001,"msg":"系统错误"}`), false, "HTTP 503 with code 1001: 系统错误"},
		"HTTP 429":                  {write(429, ""), false, "HTTP 429 without a body"},
		"HTTP 404":                  {write(404, "x"), true, "HTTP 404"},
		"success in a HTTP 403":     {write(403, `{"code":0,"msg":"ok"}`), true, "HTTP 403 with code 0: ok"},
		"a redirect": {write(307, "", "Location", "https://login.example/x?y=z"), true,
			"HTTP 307, a redirect to login.example, which is not followed"},
		"a redirect on the same host": {write(302, page, "Location", "/x"), true, "HTTP 302, a redirect, which"},
		"a page": {write(200, page), true, `HTTP 200 without its envelope, but with "<!DOCTYPE html> ` +
			`<html><title>系统维护</title>"`},
		"a long page":              {write(200, strings.Repeat("系统", 5000)), true, strings.Repeat("系统", 149) + "系…"},
		"a page in GBK":            {write(200, "<title>\xb3\xc9\xb9\xa6"), true, `"<title>?`},
		"no code":                  {write(200, `{"msg":"x"}`), true, `but with "{\"msg\":\"x\"}"`},
		"a code that is no number": {write(200, `{"code":"ok"}`), true, "without its envelope"},
		"an array":                 {write(200, `[{"code":0}]`), true, "without its envelope"},
		"nothing":                  {write(200, " \n"), false, "HTTP 200 without a body"},
		"too much": {write(200, `{"code":0,"msg":"`+strings.Repeat("x", 1<<20)+`"}`), true,
			"HTTP 200 with more than 1 MiB"},
		"another encoding": {write(200, "\x0b\x02", "Content-Encoding", "br"), true, `in the content-encoding "br"`},
		"half of a gzip":   {write(200, "\x1f\x8b\x08"), true, "with a broken gzip body"},
		"cut off":          {write(200, `{"code":0`, "Content-Length", "100"), false, "-broke off"},
		"a broken answer": {func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, false, "-does not answer"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client goes
			<-r.Context().Done()
		}, false, "-deadline exceeded"},
	} {
		client := answering(t, c.answer)
		if name == "no answer" {
			client.Timeout = 50 * time.Millisecond
		}
		_, err := client.Call(t.Context(), "m", nil)
		e, ok := errors.AsType[*kuaidihelp.ErrNoAnswer](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		says, quiet := strings.CutPrefix(c.says, "-")
		if e.Refused != c.refused || !strings.Contains(err.Error(), says) || strings.Contains(e.Said, says) == quiet {
			t.Errorf("%s: refused %v, %q, says %q", name, e.Refused, err, e.Said)
		}
		if strings.Contains(e.Said, "127.0.0.1") || len([]rune(e.Said)) > 400 {
			t.Errorf("%s: says %q", name, e.Said)
		}
	}
}

// spellings of a text that are not the text itself.
func spellings(secret string) []string {
	escaped, encoded := "", ""
	for _, b := range []byte(secret) {
		escaped += fmt.Sprintf(`\u%04X`, b)
		encoded += fmt.Sprintf(`%%%02x`, b)
	}
	return []string{
		secret, strings.ToUpper(secret), encoded, escaped, "%7B%22a%22:%22" + encoded,
		strings.ReplaceAll(encoded, "%", "%25"), strings.ReplaceAll(secret, "e", "&#101;"),
		hex.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte("a=" + secret + "?")),
		base64.StdEncoding.EncodeToString([]byte(`{"` + secret)),
		url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(secret + "ÿÿ"))),
	}
}

func TestAProviderThatRepeatsTheKeyDoesNotGiveItAwayInAnySpelling(t *testing.T) {
	t.Parallel()
	sign := kuaidihelp.Sign("50001", "m", "1524209949", "secret-key")
	digest := md5.Sum([]byte("secret-key"))
	secrets := slices.Concat(spellings("secret-key"), spellings(sign), spellings(hex.EncodeToString(digest[:])))
	for _, spelling := range secrets {
		// In the JSON text each character is escaped once more, as the provider may write it.
		var escaped strings.Builder
		for _, r := range spelling {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		}
		text := `before ` + escaped.String() + ` after`
		for name, body := range map[string]string{
			"an envelope": `{"code":1006,"msg":"` + text + `","data":{"` + text + `":["` + text + `"],"n":1.50},"uid":"` + text +
				`"}`,
			"data":    `{"code":0,"data":"` + text + `"}`,
			"a page":  `<p>` + spelling + `</p>`,
			"no code": `{"msg":"` + text + `"}`,
		} {
			c := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
			e, err := c.Call(t.Context(), "m", nil)
			var data any
			if len(e.Data) > 0 && json.Unmarshal(e.Data, &data) != nil {
				t.Errorf("%s: the data is not JSON: %s", name, e.Data)
			}
			shown := fmt.Sprint(e.Msg, e.UID, data, err)
			if strings.Contains(shown, spelling) || !strings.Contains(shown, "***") ||
				strings.Contains(strings.ToLower(shown), "secret-key") {
				t.Errorf("%s with %q: %s", name, spelling, shown)
			}
		}
	}
}

func TestTextsOfTheProviderAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("满", 100_000)
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"code":1008,"msg":"`+long+`\u0007\n!","data":{"x":"`+long+`","n":1.50},"uid":"`+long+`"}`)
	})
	e, err := c.Call(t.Context(), "m", nil)
	if want := strings.Repeat("满", 299) + "…"; err != nil || e.Msg != want || e.UID != want ||
		string(e.Data) != `{"x":"`+long+`","n":1.50}` {
		t.Errorf("%d and %d characters (%v)", len([]rune(e.Msg)), len([]rune(e.UID)), err)
	}
}

func TestACallGoesThroughNoProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	if kuaidihelp.NewHTTP(1).Transport.(*http.Transport).Proxy != nil {
		t.Error("it looks for a proxy")
	}
}

// counted is an answer whose body says when it is closed.
type counted struct {
	io.Reader
	closed *int
}

func (c counted) Close() error {
	*c.closed++
	return nil
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheBodyOfEveryAnswerIsClosed(t *testing.T) {
	t.Parallel()
	broken := iotest.ErrReader(errors.New("broken off"))
	for _, body := range []io.Reader{strings.NewReader(`{"code":0,"msg":"","data":{},"uid":""}`),
		strings.NewReader("no envelope"), broken} {
		closed := 0
		client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: counted{body, &closed}}, nil
		})}
		c := kuaidihelp.Client{URL: "http://kop.example/api", AppID: "1", APIKey: "2", HTTP: client}
		_, _ = c.Call(t.Context(), "m", nil)
		if closed != 1 {
			t.Errorf("a body was closed %d times", closed)
		}
	}
}
