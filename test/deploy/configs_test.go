package deploy

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"kuairelay/relay/cli"
	"kuairelay/test/redisserver"
)

// No config of deploy/ has anything that should not go into production, on the Redis that comes with it. The pages
// check the one of systemd where it is installed.
func TestTheConfigsAreFitForProduction(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"compose":    text(t, "compose/kuairelay/config.yaml"),
		"kubernetes": configMap(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t, composeRedis(t)...)
			here := strings.NewReplacer("/run/secrets/", "secrets/", "/etc/kuairelay-tenants", t.TempDir())
			file := installed(t, here.Replace(config))
			write(t, filepath.Join(filepath.Dir(file), "secrets/redis-url"), server.URL())

			var out, err bytes.Buffer
			code := cli.Run(t.Context(), []string{"check", "--production", file}, nil, &out, &err)
			fit := file + ": ok for production as far as it is known, 0 tenants, 0 endpoints, 0 routes\n"
			if code != 0 || out.String() != fit || strings.Contains(err.String(), "warning") {
				t.Errorf("%d\n%s%s", code, &out, &err)
			}
		})
	}
}

// configMap returns the config of the manifests. What they are apart from it is held by the package manifests.
func configMap(t *testing.T) string {
	t.Helper()
	var m struct {
		Data map[string]string `yaml:"data"`
	}
	if err := yaml.Unmarshal([]byte(text(t, "kubernetes/config.yaml")), &m); err != nil {
		t.Fatal(err)
	}
	return m.Data["config.yaml"]
}

// composeRedis returns how the Redis of Compose is set, apart from its users: the test has none.
func composeRedis(t *testing.T) []string {
	t.Helper()
	var c struct {
		Services map[string]struct {
			Command []string `yaml:"command"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(text(t, "compose/compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	command := c.Services["redis"].Command
	users := slices.Index(command, "--aclfile")
	if users < 1 || command[0] != "redis-server" {
		t.Fatalf("Redis runs %q", command)
	}
	return slices.Delete(command, users, users+2)[1:]
}
