package console

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"kuairelay/relay/api"
)

// hostileTexts are what others may write where a page makes a command of it.
var hostileTexts = []string{
	"", "plain", `{"a":1}`, "it's", `'`, `''`, "$(touch pwned)", "`touch pwned`", "@/etc/passwd",
	"-o pwned", "a\nb\n", "\n", "a\r\nb", `\`, `\'`, "!x", "*", "~", "BODY_", "'; touch pwned; '", "\u202e\u0000\u001b",
	"中文",
	strings.Repeat("x'", longBody),
	strings.Repeat("a\n", longBody), strings.Repeat("$(touch pwned)\n", 2000) + "BODY_0123",
}

// A command that is copied from a page is run by sh. It calls curl once, with the request as it is, and nothing else.
func TestACopiedCommandSendsTheRequestAndDoesNothingElse(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	for _, hostile := range hostileTexts {
		hostile = strings.ReplaceAll(hostile, "\x00", "") // no text of sh has one, and no JSON
		r := api.DeliveryRequest{
			Method: "POST", URL: "https://shop.example/" + strings.ReplaceAll(hostile, "\n", ""), Body: hostile,
			Headers: map[string]string{"X-Plain": "a 'b'", "X-Team": "(hidden)", "Webhook-Signature": "v1,(signature)"},
		}
		script := curlOf(r, "Not signed\n; touch pwned", "Left out:")

		// In place of curl: a function that writes its arguments and what comes in.
		cmd := exec.CommandContext(t.Context(), sh)
		cmd.Dir = t.TempDir()
		stand := "curl() { for a; do printf '%s\\001' \"$a\"; done; case \"$*\" in *--data-binary*) cat;; esac; }\n"
		cmd.Stdin = strings.NewReader(stand + script)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%.80q: %v\n%s", hostile, err, script)
		}

		args := bytes.Split(out, []byte("\x01"))
		body := string(args[len(args)-1])
		if len(r.Body) <= longBody {
			body = string(args[len(args)-2])
		}
		if body != r.Body || !bytes.Contains(out, []byte("--url\x01"+r.URL+"\x01")) ||
			!bytes.Contains(out, []byte("-H\x01X-Plain: a 'b'\x01")) {
			t.Errorf("%.80q: the body is %.80q, of %s bytes; all is %.200q",
				hostile, body, strconv.Itoa(len(body)), out)
		}
		if bytes.Contains(out, []byte("X-Team")) || bytes.Contains(out, []byte("Signature")) {
			t.Errorf("what is not shown is sent: %.200q", out)
		}
		made, err := exec.CommandContext(t.Context(), "ls", "-A", cmd.Dir).Output()
		if err != nil || len(made) > 0 {
			t.Errorf("%.80q: sh has made %q, %v", hostile, made, err)
		}
	}
}

func TestNoTextIsAFormulaOfASpreadsheet(t *testing.T) {
	t.Parallel()
	for _, formula := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"} {
		if got := plain(formula); !strings.HasPrefix(got, "'") && !strings.HasPrefix(got, "⟪") {
			t.Errorf("%q is written as %q", formula, got)
		}
	}
	if got := plain("777005949070187"); got != "777005949070187" {
		t.Errorf("a number is written as %q", got)
	}
	w := newCSVWriter()
	err := w.write(api.Event{
		ID: "evt_1", WaybillCode: "=HYPERLINK(\"http://evil\")", Status: "a,\"b\"\nc", State: "unrouted",
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := string(w.bytes()); !strings.Contains(out, `"'=HYPERLINK(""http://evil"")"`) || strings.Contains(out, "\n=") {
		t.Errorf("the file is %q", out)
	}
}
