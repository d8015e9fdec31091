package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"kuairelay/test/chats"
)

func TestNoticesAreTriedByACommand(t *testing.T) {
	t.Parallel()
	good, bad := chats.Start(t, "wecom"), chats.Start(t, "feishu")
	bad.Refuse(func(w http.ResponseWriter) bool {
		_, _ = io.WriteString(w, `{"code":19021,"msg":"sign match fail"}`)
		return true
	})
	relay := start(t, "", "serve", "-c", write(t, "config.yaml", fmt.Sprintf(`
server: {listen: '127.0.0.1:0'}
admin: {listen: '127.0.0.1:0', token: %s}
egress: {allow_cidrs: [127.0.0.0/8]}
callback: {tokens: [callback-token]}
spool: {dir: '%s'}
notices: [%s}, %s}]
tenants: [{name: shop, api_keys: [%s]}]
`, operator, t.TempDir(), good.Config(), bad.Config(), shopKey)))
	s := &served{t: t, public: "http://" + after(t, relay.stderr, `"public":"`, `"`),
		admin: "http://" + after(t, relay.stderr, `"admin":"`, `"`)}

	code, out, _ := s.ask("notices", "test")
	if code != 1 || !strings.Contains(out, "wecom-1   127.0.0.1  sent") ||
		!strings.Contains(out, "feishu-2  127.0.0.1  failed: it answers code 19021: the secret is wrong") {
		t.Errorf("exit %d\n%s", code, out)
	}
	s.says("notices test wecom-1", "sent")
	s.says("notices test wecom-1 -o json", `"sent": true`)
	if n := len(good.Messages()); n != 3 {
		t.Errorf("%d test messages", n)
	}
	_, _, stderr := s.ask("notices", "test", "wecom-2")
	if !strings.HasSuffix(stderr, "no receiver of notices of that name: there are wecom-1, feishu-2\n") {
		t.Error(stderr)
	}
	s.says("audit", "notices-test")
	s.says("audit", "failed: 1 of 2 not taken")
	code, out, _ = run(t, "", "notices", "test", "--url", s.public, "--key", shopKey)
	if code != 0 || !strings.Contains(out, "There are no receivers") {
		t.Errorf("exit %d: %s", code, out)
	}
}
