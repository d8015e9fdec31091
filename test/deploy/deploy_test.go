// Package deploy holds the files of deploy/, which operators copy, against the programs that read them and against each
// other. The pages that lead through them, docs/operations.md and docs/operator/install.md, are run by test/docs: there
// the units start, and replicas are restarted behind nginx.
package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kuairelay/relay/config"
)

const files = "../../deploy/"

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(files + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// installed writes a config and makes the secrets that it names, as the pages do, and returns where the config is.
func installed(t *testing.T, config string) string {
	t.Helper()
	folder := t.TempDir()
	secrets := filepath.Join(folder, "secrets")
	if output, err := run(t, files+"secrets", secrets, "redis:6379"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, name := range []string{"kuaidihelp-app-id", "kuaidihelp-api-key"} {
		write(t, filepath.Join(secrets, name), "given-by-kuaidihelp")
	}
	to := filepath.Join(folder, "config.yaml")
	write(t, to, config)
	return to
}

// run runs a program to its end.
func run(t *testing.T, program string, arguments ...string) (output string, err error) {
	t.Helper()
	all, err := exec.CommandContext(t.Context(), program, arguments...).CombinedOutput()
	return string(all), err
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load reads a config of deploy/ with only these variables set.
func load(t *testing.T, path string, env map[string]string) *config.Config {
	t.Helper()
	c, err := config.Load(installed(t, text(t, path)), config.Options{LookupEnv: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, w := range c.Warnings {
		t.Errorf("%s: %s", path, w)
	}
	return c
}

func TestSecretsAreMadeOnceAndReadByNobodyElse(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	make := func() map[string]string {
		if output, err := run(t, files+"secrets", folder, "db:6380"); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		made := map[string]string{}
		entries, _ := os.ReadDir(folder)
		for _, e := range entries {
			content, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			made[e.Name()] = string(content)
			if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
			}
		}
		return made
	}

	first := make()
	url := regexp.MustCompile(`^redis://kuairelay:([0-9a-f]{48})@db:6380/0\n$`).FindStringSubmatch(first["redis-url"])
	if url == nil || !regexp.MustCompile(`(?m)^user kuairelay on >`+url[1]+` .*~\{kuairelay\}\* `).
		MatchString(first["redis.acl"]) {
		t.Errorf("redis-url is %q, and redis.acl\n%s", first["redis-url"], first["redis.acl"])
	}
	if strings.Contains(first["redis.acl"], "PASSWORD") || strings.Count(first["redis.acl"], "user ") != 2 {
		t.Errorf("redis.acl is\n%s", first["redis.acl"])
	}
	for name, secret := range make() {
		if secret != first[name] || len(secret) < 40 {
			t.Errorf("%s was %q, and is %q", name, first[name], secret)
		}
	}
	if len(first) != 4 {
		t.Errorf("made were %v", first)
	}
}

// replicas are the instances of the unit, and what its file makes of them.
func replicas(t *testing.T) (listen, admin []string) {
	t.Helper()
	for _, instance := range []string{"1", "2"} {
		c := load(t, "systemd/config.yaml", map[string]string{"INSTANCE": instance, "STATE_DIRECTORY": "/var/lib/kuairelay"})
		listen, admin = append(listen, c.Server.Listen), append(admin, c.Admin.Listen)
		if c.Spool.Dir != "/var/lib/kuairelay/spool" {
			t.Errorf("the spool is %s", c.Spool.Dir)
		}
	}
	return listen, admin
}

func TestTheProxiesAskTheReplicasAndTakeWhatTheRelayTakes(t *testing.T) {
	t.Parallel()
	listen, _ := replicas(t)
	c := load(t, "systemd/config.yaml", nil)
	if fmt.Sprint(c.Server.TrustedProxies) != "[127.0.0.1/32]" {
		t.Errorf("the proxies on this machine are not trusted: %v", c.Server.TrustedProxies)
	}
	nginx, caddy := text(t, "nginx/kuairelay.conf"), text(t, "caddy/Caddyfile")

	asked := all(`(?m)^\s*server (\S+) max_fails=0;`, nginx)
	if !slices.Equal(asked, listen) {
		t.Errorf("nginx asks %v, and the replicas listen on %v", asked, listen)
	}
	for _, upstreams := range all(`(?m)reverse_proxy (.+) \{`, caddy) {
		if !slices.Equal(strings.Fields(upstreams), listen) {
			t.Errorf("Caddy asks %s, and the replicas listen on %v", upstreams, listen)
		}
	}

	for name, sizes := range map[string][]string{
		"nginx": all(`client_max_body_size (\d+)m;`, nginx), "Caddy": all(`request_buffers (\d+)MB`, caddy),
	} {
		if len(sizes) != 1 || sizes[0] != "5" || c.Callback.MaxBody >= 5e6 {
			t.Errorf("%s takes bodies of %s MB, and the relay %d bytes", name, sizes, c.Callback.MaxBody)
		}
	}
	for _, path := range []string{"/callback/", "/api", "/v1/subscriptions", "/v1/", "/console/", "/healthz", "/readyz"} {
		if !regexp.MustCompile(`location (= )?` + path + ` `).MatchString(nginx) {
			t.Errorf("nginx hands on no %s", path)
		}
		if !regexp.MustCompile(`path .*` + path + `\*?`).MatchString(caddy) {
			t.Errorf("Caddy hands on no %s", path)
		}
	}
}

// all returns what the first group of the pattern matches.
func all(pattern, text string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

func TestNginxTakesItsFile(t *testing.T) {
	t.Parallel()
	need(t, "nginx", "nginx")
	folder := t.TempDir()
	certificate := folder + "/relay.example.com"
	if output, err := run(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
		"-nodes", "-subj", "/CN=localhost", "-keyout", certificate+".key", "-out", certificate+".crt"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	here := strings.NewReplacer("/etc/nginx/tls", folder, "/var/log/nginx", folder)
	conf := here.Replace(text(t, "nginx/kuairelay.conf"))
	write(t, folder+"/nginx.conf", "pid "+folder+"/pid;\nevents {}\nhttp {\n"+conf+"}\n")
	output, err := run(t, "nginx", "-t", "-q", "-e", folder+"/error.log", "-c", folder+"/nginx.conf")
	if err != nil || output != "" {
		t.Errorf("%v: %s", err, output)
	}
}

func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install %s)", program, pkg)
	}
}
