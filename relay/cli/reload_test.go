package cli_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReloadSaysWhatTheRelayMadeOfItsFiles(t *testing.T) {
	t.Parallel()
	config := anyPort("") + "spool: {dir: '" + filepath.Join(t.TempDir(), "spool") + "'}\n"
	file := write(t, "config.yaml", config)
	c := start(t, "", "serve", "-c", file)
	admin := "http://" + after(t, c.stderr, `"admin":"`, `"`)
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	code, stdout, stderr := run(t, "", "reload", "--url", admin)
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "unchanged: the relay serves config ") {
		t.Errorf("nothing has changed: exit %d\n%s%s", code, stdout, stderr)
	}

	change(config + "retention: 24h\nredis: {wait_replicas: 1}\ntenants: [{name: shop}]\n")
	code, stdout, _ = run(t, "", "reload", "--url", admin+"/")
	if code != 0 || !strings.Contains(stdout, "a restart is needed for redis.wait_replicas\n") ||
		!strings.Contains(stdout, "the relay serves config ") {
		t.Errorf("a key waits for a restart: exit %d\n%s", code, stdout)
	}
	if code, stdout, _ := run(t, "", "reload", "--url", admin, "-o", "json"); code != 0 ||
		!strings.Contains(stdout, `"fingerprint"`) {
		t.Errorf("as JSON: exit %d\n%s", code, stdout)
	}

	// Every mistake is printed, and the exit code is for systemctl reload.
	change(config + "retentoin: 24h\nredis: {url: nonsense}\n")
	code, stdout, stderr = run(t, "", "reload", "--url", admin)
	if code != 1 || stdout != "" || !strings.Contains(stderr, file+":7: unknown key") ||
		!strings.Contains(stderr, file+":8: redis.url") || !strings.HasSuffix(stderr, "config from before (2 mistakes)\n") {
		t.Errorf("two mistakes: exit %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, _ := run(t, "", "reload", "--url", admin, "-o", "json"); code != 1 ||
		!strings.Contains(stdout, `"errors"`) {
		t.Errorf("two mistakes as JSON: exit %d\n%s", code, stdout)
	}
}

func TestReloadSaysWhereItShouldHaveAsked(t *testing.T) {
	t.Parallel()
	_, public := serve(t, anyPort(""))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>"))
	}))
	t.Cleanup(web.Close)
	for url, want := range map[string]string{
		"http://" + public:   "give the private listener",
		web.URL:              "does not answer as a relay does",
		"http://127.0.0.1:1": "no relay answers at 127.0.0.1:1",
	} {
		if code, _, stderr := run(t, "", "reload", "--url", url); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d\n%s", url, code, stderr)
		}
	}
}
