package cli_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kuairelay/relay/kuaidihelp"
)

func TestFakeTakesSubscriptionsAndPushesUntilTheParcelIsSigned(t *testing.T) {
	t.Parallel()
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "success")
	}))
	t.Cleanup(relay.Close)
	c := start(t, "", "fake", "--listen", "127.0.0.1:0", "--pause", "1ms", "--scenario", "no-record",
		"--to", relay.URL+"/callback/a-secret-token")
	api := "http://" + after(t, c.stderr, "kuaidihelp is played at http://", ",")
	client := &kuaidihelp.Client{URL: api, AppID: "laptop", APIKey: "laptop-account"}
	for _, want := range []int{kuaidihelp.CodeNoRecord, kuaidihelp.CodeNoRecord, 0} {
		e, err := client.Call(t.Context(), kuaidihelp.MethodSubscribe, kuaidihelp.CallData("zt", []string{"77001"}))
		if err != nil || e.Code != want {
			t.Fatalf("%+v, %v, want %d", e, err, want)
		}
	}
	until(t, "the parcel is signed for", func() bool { return strings.Contains(c.stdout.String(), "zt 77001 signed") })
	out := c.stdout.String()
	if !strings.Contains(out, "201101") || !strings.Contains(out, "push") || !strings.Contains(out, "success") {
		t.Errorf("it prints\n%s", out)
	}
	if all := out + c.stderr.String(); strings.Contains(all, "a-secret-token") {
		t.Errorf("the token is printed:\n%s", all)
	}
}

func TestFakeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--scenario lost":        "--scenario lost is unknown; known are plain, no-record, lost-push, returned, silent",
		"--pause 0s":             "--pause must be at least 1ms",
		"--to ftp://x":           "--to",
		"--listen 127.0.0.1:xx1": "unknown port",
	} {
		code, _, stderr := run(t, "", append([]string{"fake"}, strings.Fields(args)...)...)
		if code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d, %s", args, code, stderr)
		}
	}
}
