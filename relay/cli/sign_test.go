package cli_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The vector of Standard Webhooks.
const (
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorBody      = `{"test": 2432232314}`
	vectorTime      = "1614265330"
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestSignGivesTheVectorOfStandardWebhooks(t *testing.T) {
	t.Parallel()
	args := []string{"sign", "--secret", secret, "--id", vectorID, "--timestamp", vectorTime}
	want := "webhook-id: " + vectorID + "\nwebhook-timestamp: " + vectorTime + "\nwebhook-signature: " + vectorSignature +
		"\n"
	for name, args := range map[string][]string{"stdin": args, "dash": append(args[:len(args):len(args)], "-"),
		"file": append(args[:len(args):len(args)], write(t, "body", vectorBody))} {
		if code, stdout, stderr := run(t, vectorBody, args...); code != 0 || stdout != want || stderr != "" {
			t.Errorf("%s: exit %d\n%s%s", name, code, stdout, stderr)
		}
	}
	_, stdout, _ := run(t, vectorBody, append(args, "-o", "json")...)
	if got := parse[map[string]string](t, stdout); got["webhook-id"] != vectorID ||
		got["webhook-timestamp"] != vectorTime || got["webhook-signature"] != vectorSignature {
		t.Errorf("%s", stdout)
	}
}

func TestSignAndVerifyGoTogetherAndWithTheOfficialLibrary(t *testing.T) {
	t.Parallel()
	const body = "中文 \xff\x00\n"
	code, stdout, stderr := run(t, body, "sign", "--secret", other, "--secret", secret)
	if code != 0 || !strings.Contains(stderr, "ends with a newline") {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	header := http.Header{}
	args := []string{"verify", "--secret", secret}
	for line := range strings.Lines(stdout) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		header.Set(name, value)
		args = append(args, "-H", strings.ToUpper(name)+":"+value)
	}
	for _, s := range []string{secret, other} {
		wh, err := webhook.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify([]byte(body), header); err != nil {
			t.Errorf("the official library: %v", err)
		}
	}
	if code, stdout, stderr := run(t, body, args...); code != 0 || stdout != "ok\n" || stderr != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if !strings.HasPrefix(header.Get("webhook-id"), "msg_") || header.Get("webhook-id") == vectorID {
		t.Errorf("id %s", header.Get("webhook-id"))
	}
}

func TestVerifySaysWhyASignatureFails(t *testing.T) {
	t.Parallel()
	now := strconv.FormatInt(time.Now().Unix(), 10)
	sign := func(key []byte, id, at, body string) string {
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	// What is signed, and what is then verified.
	type request struct{ id, at, signature, body string }
	signed := func(body, got string) request { return request{"evt_1", now, sign(key, "evt_1", now, body), got} }
	old := request{vectorID, vectorTime, vectorSignature, vectorBody}
	for name, c := range map[string]struct {
		request
		want  string
		flags []string
	}{
		"newline added":   {signed(`{"a":1}`, "{\"a\":1}\n"), "without the newline at the end", nil},
		"CRLF added":      {signed(`{"a":1}`, "{\"a\":1}\r\n"), "without the newline at the end", nil},
		"newline lost":    {signed("{\"a\":1}\n", `{"a":1}`), "with a newline at the end", nil},
		"line ends":       {signed("a\nb\nc", "a\r\nb\r\nc"), "LF line ends", nil},
		"byte order mark": {signed("{}", "\xef\xbb\xbf{}"), "byte order mark", nil},
		"indented": {signed(`{"b":1.50,"a":"\u4e2d\/"}`, "{\n  \"b\": 1.50,\n  \"a\": \"\\u4e2d\\/\"\n}"),
			"parsed and written anew", nil},
		"by Python": {signed(`{"a":"中<","b":1}`, `{"a": "\u4e2d<", "b": 1}`), "parsed and written anew", nil},
		"by Go":     {signed(`{"a":"<&>"}`, `{"a":"\u003c\u0026\u003e"}`), "parsed and written anew", nil},
		"for HTML":  {signed(`{"a":"\u003c"}`, `{"a":"<"}`), "parsed and written anew", nil},
		"key not decoded": {request{"evt_1", now, sign([]byte(secret), "evt_1", now, "{}"), "{}"},
			"the secret's text as the key", nil},
		"prefix only cut": {request{"evt_1", now, sign([]byte(secret[6:]), "evt_1", now, "{}"), "{}"},
			"the secret's text as the key", nil},
		"another secret": {request{"evt_1", now, sign(make([]byte, 24), "evt_1", now, "{}"), "{}"},
			"made with another secret", nil},
		"another body": {signed(`{"a":1}`, `{"a":2}`), "made with another secret, or over " +
			"another id, timestamp or body", nil},
		"empty body":        {signed(`{"a":1}`, ""), "the body is empty", nil},
		"another id":        {request{"evt_2", now, sign(key, "evt_1", now, "{}"), "{}"}, "signature does not match", nil},
		"too old":           {old, "too old by", nil},
		"right but too old": {old, "apart from its time the signature is right", nil},
		"wrong and too old": {request{vectorID, vectorTime, vectorSignature, "x"}, "the signature does not match, either",
			nil},
		"wrong at any time": {request{vectorID, vectorTime, vectorSignature, "x"}, "signature does not match",
			[]string{"--tolerance", "0"}},
		"in the future":        {request{"a", "9999999999", vectorSignature, "x"}, "in the future", nil},
		"milliseconds":         {request{"evt_1", now + "000", vectorSignature, "x"}, "looks like milliseconds", nil},
		"time in words":        {request{"evt_1", "today", vectorSignature, "x"}, `"today" is not a number of seconds`, nil},
		"no id":                {request{"", now, vectorSignature, "x"}, "missing header webhook-id", nil},
		"no signature":         {request{"evt_1", now, "", "x"}, "missing header webhook-signature", nil},
		"no version":           {request{"evt_1", now, vectorSignature[3:], "x"}, "no v1 signature", nil},
		"signature cut short":  {request{"evt_1", now, "v1,AAAA", "x"}, "has 3 bytes, not 32", nil},
		"signature not base64": {request{"evt_1", now, "v1,%%", "x"}, "malformed base64", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"verify", "--secret", secret, "--id", c.id, "--timestamp", c.at, "--signature", c.signature},
				c.flags...)
			code, stdout, stderr := run(t, c.body, args...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, secret[6:]) {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	args := []string{"verify", "--secret", secret, "--id", vectorID, "--timestamp", vectorTime, "--signature",
		vectorSignature}
	if code, stdout, _ := run(t, vectorBody, append(args, "--tolerance", "0")...); code != 0 || stdout != "ok\n" {
		t.Errorf("the vector at any time: exit %d %s", code, stdout)
	}
	if code, stdout, _ := run(t, vectorBody, append(args, "--tolerance", "1000000h")...); code != 0 || stdout != "ok\n" {
		t.Errorf("the vector with much tolerance: exit %d %s", code, stdout)
	}
}

func TestVerifyForPrograms(t *testing.T) {
	t.Parallel()
	args := []string{"verify", "-o", "json", "--secret", secret, "--id", vectorID, "--timestamp", vectorTime,
		"--signature", vectorSignature}
	type verdict struct {
		Verified    bool
		Error, Hint string
	}
	code, stdout, stderr := run(t, vectorBody, args...)
	if got := parse[verdict](t, stdout); code != 1 || stderr != "" || got.Verified || got.Error == "" || got.Hint == "" {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	code, stdout, _ = run(t, vectorBody, append(args, "--tolerance", "0")...)
	if code != 0 || parse[verdict](t, stdout) != (verdict{Verified: true}) {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestSignAndVerifyNeedAFileThatIsThereAndASecret(t *testing.T) {
	t.Setenv("SHOP_SECRET", "")
	t.Setenv("WEBHOOK_SECRET", "")
	for _, name := range []string{"sign", "verify"} {
		if code, _, stderr := run(t, "", name, "nowhere", "--secret", secret, "--id", "a"); code != 1 ||
			!strings.Contains(stderr, "open nowhere: no such file") {
			t.Errorf("%s: exit %d\n%s", name, code, stderr)
		}
		if code, _, stderr := run(t, "", name, "--id", "a"); code != 2 ||
			!strings.Contains(stderr, "a secret is missing: --secret whsec_…, or WEBHOOK_SECRET") {
			t.Errorf("%s: exit %d\n%s", name, code, stderr)
		}
	}
	for _, name := range []string{"WEBHOOK_SECRET", "SHOP_SECRET"} {
		t.Setenv(name, secret)
		if code, stdout, _ := run(t, vectorBody, "sign", "--id", vectorID, "--timestamp", vectorTime); code != 0 ||
			!strings.Contains(stdout, vectorSignature) {
			t.Errorf("%s: exit %d\n%s", name, code, stdout)
		}
		t.Setenv(name, "")
	}
}

func TestVerifyTakesHeadersFromAFile(t *testing.T) {
	t.Parallel()
	verify := func(lines string) (code int, stderr string) {
		file := write(t, "headers.txt", lines)
		code, _, stderr = run(t, vectorBody, "verify", "--secret", secret, "--tolerance", "0", "-H", "@"+file)
		return code, stderr
	}
	lines := "Host: a:1\r\nwebhook-id: " + vectorID + "\nWebhook-Timestamp: " + vectorTime + "\r\n" +
		"webhook-signature: " + vectorSignature + "\r\n\r\n"
	if code, stderr := verify(lines); code != 0 {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	if code, stderr := verify("no header"); code != 2 || !strings.Contains(stderr, `one on each line, not "no header"`) {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	if code, _, stderr := run(t, "", "verify", "--secret", secret, "-H", "@nowhere"); code != 1 ||
		!strings.Contains(stderr, "open nowhere: no such file") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}
