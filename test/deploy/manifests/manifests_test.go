// Package manifests holds the Compose file and the Kubernetes manifests of deploy/ against the types that Compose and
// Kubernetes read them with, and against the config of the relay. Nothing is started.
package manifests

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	root  = "../../.."
	files = root + "/deploy/"
)

// relayConfig is what the files around a config have to agree with.
type relayConfig struct {
	Server struct {
		Listen         string   `json:"listen"`
		TrustedProxies []string `json:"trusted_proxies"`
	} `json:"server"`
	Admin   struct{ Listen, Token string } `json:"admin"`
	Console struct{ Hosts []string }       `json:"console"`
	Redis   struct{ URL string }           `json:"redis"`
	Spool   struct {
		Dir      string `json:"dir"`
		MaxBytes string `json:"max_bytes"`
	} `json:"spool"`
	TenantsDir string `json:"tenants_dir"`
}

func parse(t *testing.T, text string) (c relayConfig) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if c.Server.Listen == "" || c.Admin.Listen == "" || c.Spool.Dir == "" || len(c.Server.TrustedProxies) == 0 {
		t.Fatalf("the config is %+v", c)
	}
	return c
}

// port is the port of a listener on all addresses of its container, as ":8080".
func port(t *testing.T, listen string) string {
	t.Helper()
	number, ok := strings.CutPrefix(listen, ":")
	if !ok {
		t.Errorf("%s is not on all addresses of the container", listen)
	}
	return number
}

// secretsOf returns the paths that the config reads secrets from.
func secretsOf(text string) (paths []string) {
	for _, m := range regexp.MustCompile(`file:([\w./-]+)`).FindAllStringSubmatch(text, -1) {
		paths = append(paths, m[1])
	}
	slices.Sort(paths)
	return paths
}

// known are the secrets that there are: those that deploy/secrets makes, and those that kuaidihelp gives.
func known(t *testing.T) []string {
	t.Helper()
	folder := t.TempDir()
	if output, err := run(t, files+"secrets", folder, "redis:6379"); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	names := []string{"kuaidihelp-app-id", "kuaidihelp-api-key"}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// run runs a program to its end.
func run(t *testing.T, program string, arguments ...string) (output string, err error) {
	t.Helper()
	all, err := exec.CommandContext(t.Context(), program, arguments...).CombinedOutput()
	return string(all), err
}

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

var grace = regexp.MustCompile(`--grace.*\(default (\w+)\)`)

// graceOf is how long a relay takes to stop at most, if it is started as the image starts it.
var graceOf = sync.OnceValues(func() (time.Duration, error) {
	help := exec.Command("go", "run", ".", "serve", "--help")
	help.Dir = root
	output, err := help.CombinedOutput()
	m := grace.FindSubmatch(output)
	if err != nil || m == nil {
		return 0, err
	}
	return time.ParseDuration(string(m[1]))
})

// enough fails if a relay may be killed before its grace is over.
func enough(t *testing.T, wait time.Duration) {
	t.Helper()
	takes, err := graceOf()
	if err != nil || takes < time.Second {
		t.Fatalf("the grace is %v: %v", takes, err)
	}
	if command := imageCommand(t); strings.Contains(command, "--grace") {
		t.Fatalf("the image has a grace of its own: %s", command)
	}
	if wait < takes+5*time.Second {
		t.Errorf("a relay may take %v to stop, and is killed after %v", takes, wait)
	}
}

// imageCommand is what a container of the image runs without a command of its own.
func imageCommand(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^CMD (\[.*\])$`).FindStringSubmatch(text(t, root+"/Dockerfile"))
	if m == nil {
		t.Fatal("the image has no command")
	}
	return m[1]
}

// Both ways run the image as it is: it reads the config in the folder that they mount.
func TestTheImageReadsTheConfigThatIsMounted(t *testing.T) {
	t.Parallel()
	if command := imageCommand(t); command != `["serve", "-c", "`+mountedConfig+`/config.yaml"]` {
		t.Errorf("the image runs %s", command)
	}
	image := text(t, root+"/Dockerfile")
	for _, want := range []string{"USER 65532:65532\n", `image.version="$VERSION"`, `image.revision="$REVISION"`,
		`image.created="$CREATED"`, "cli.version=$VERSION ", "cli.revision=$REVISION ", `cli.commitTime=$CREATED"`} {
		if !strings.Contains(image, want) {
			t.Errorf("the image has no %q", want)
		}
	}
	last := image[strings.LastIndex(image, "\nFROM "):]
	if !strings.Contains(last, "\nARG VERSION=dev REVISION= CREATED=\n") {
		t.Error("the last stage does not know what its labels say")
	}
}

const mountedConfig = "/etc/kuairelay"

// under says whether a path is in a folder, or is it.
func under(folder, p string) bool {
	relative, err := filepath.Rel(folder, path.Clean(p))
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}
