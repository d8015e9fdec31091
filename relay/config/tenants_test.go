package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// write makes a folder of files, and gives its path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tenantFile is a good file of tenants_dir.
func tenantFile(name string) string {
	return "name: " + name + "\nendpoints: [{name: a, url: 'https://h.example', secrets: " +
		"[file:secret]}]\nroutes: [{to: a}]\n"
}

func TestTwentyMistakesInFourFilesAreTwentyLinesInFileOrder(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"config.yaml": `callback: {tokens: [short]}
retention: 5
dedupe: {windwo: 1h}
server:
  listen: nowhere
tenants:
  - name: Shop
`,
		"tenants.d/a.yaml": `name: a
endpoint: []
endpoints:
  - name: x
    url: ftp://h
    secrets: [whsec_x]
  - {name: x, url: "https://h.example", secrets: []}
`,
		"tenants.d/b.yml": `endpoints: [{name: x, url: "https://h.example", secrets: [` + goodSecret + `], timeout: 0}]
routes:
  - {to: y}
  - {to: x, match: {}}
  - {to: x, when: bad}
tests:
  - {event: {a: 1}}
`,
		"tenants.d/c.yaml": `name: a
routes: {}
tests:
  - {event: [], reaches: []}
  - {event: x, reaches: [nobody]}
`,
	})
	_, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env(), CheckWhen: rejectBad})
	if err == nil {
		t.Fatal("no mistake found")
	}
	var got []string
	for _, line := range strings.Split(err.Error(), "\n") {
		line = strings.TrimPrefix(line, dir+"/")
		if !regexp.MustCompile(`^[^:]+\.ya?ml:\d+: .+`).MatchString(line) {
			t.Errorf("not file:line: and a message: %q", line)
		}
		at, _, _ := strings.Cut(line, ": ")
		got = append(got, at)
	}
	want := "config.yaml:1 config.yaml:2 config.yaml:3 config.yaml:5 config.yaml:7 " +
		"tenants.d/a.yaml:2 tenants.d/a.yaml:5 tenants.d/a.yaml:6 tenants.d/a.yaml:7 tenants.d/a.yaml:7 " +
		"tenants.d/b.yml:1 tenants.d/b.yml:1 tenants.d/b.yml:3 tenants.d/b.yml:4 tenants.d/b.yml:5 tenants.d/b.yml:7 " +
		"tenants.d/c.yaml:1 tenants.d/c.yaml:2 tenants.d/c.yaml:4 tenants.d/c.yaml:5"
	if strings.Join(got, " ") != want || len(got) != 20 {
		t.Errorf("got\n%v\nwant\n%s\nin\n%v", strings.Join(got, " "), want, err)
	}
}

func TestATenantIsAFileOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"config.yaml":            "delivery: {timeout: 3s}\ntenants_dir: shops\n" + head + "tenants: [{name: z}]\n",
		"shops/b.yaml":           tenantFile("b"),
		"shops/a.yml":            tenantFile("a"),
		"shops/secret":           goodSecret + "\n",
		"shops/.b.yaml.swp.yaml": "half a ",
		"shops/README.md":        "half a ",
	})
	c, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env()})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tenant := range c.Tenants {
		names = append(names, tenant.Name)
	}
	equal(t, "tenants", names, []string{"z", "a", "b"})
	got := c.Tenants[2].Endpoints[0]
	equal(t, "default of the config file", got.Delivery.Timeout.String(), "3s")
	equal(t, "secret, beside the tenant's file", got.Secrets, []SigningSecret{{Secret: goodSecret}})
	equal(t, "position", got.Pos, Position{filepath.Join(dir, "shops/b.yaml"), 2})
}

// Kubernetes mounts a ConfigMap as links to files behind a link, which it swaps for all of them at once.
func TestAMountedConfigMapIsRead(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"config.yaml": head, "tenants.d/..2026_11_24/a.yaml": tenantFile("a"),
		"tenants.d/..2026_11_24/secret": goodSecret})
	for link, to := range map[string]string{"..data": "..2026_11_24", "a.yaml": "..data/a.yaml",
		"secret": "..data/secret"} {
		if err := os.Symlink(to, filepath.Join(dir, "tenants.d", link)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env()})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Tenants) != 1 || c.Tenants[0].Name != "a" {
		t.Errorf("got %+v", c.Tenants)
	}
}

func TestAFolderOfTenantsThatCannotBeReadIsAMistake(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, config, want string
		files              map[string]string
	}{
		{"missing", "tenants_dir: shops\n", "config.yaml:2: tenants_dir: cannot read the folder: no such file or directory",
			nil},
		{"a file", "tenants_dir: f\n", "config.yaml:2: tenants_dir: cannot read the folder: not a directory",
			map[string]string{"f": ""}},
		{"not set", "tenants_dir: ${D}\n", "config.yaml:2: tenants_dir: variable D is not set", nil},
		{"the default is a file", "", "config.yaml:1: cannot read the folder tenants.d beside this file: not a directory",
			map[string]string{"tenants.d": ""}},
		{"a folder in it", "", "tenants.d/x.yaml:1: cannot read the file: not a regular file",
			map[string]string{"tenants.d/x.yaml/y": ""}},
		{"a link to nothing", "", "tenants.d/gone.yaml:1: cannot read the file: no such file or directory",
			map[string]string{"tenants.d/a.yaml": "name: a"}},
		{"empty", "", "tenants.d/a.yaml:1: the file is empty", map[string]string{"tenants.d/a.yaml": ""}},
		{"the default is missing", "", "", nil},
		{"the default is missing, and named", "tenants_dir: tenants.d\n", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, tt.files)
			if strings.Contains(tt.want, "gone") {
				if err := os.Symlink("nowhere", filepath.Join(dir, "tenants.d/gone.yaml")); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, "config.yaml")
			if err := os.WriteFile(path, []byte(head+tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path, Options{LookupEnv: env()})
			got := ""
			if err != nil {
				got = strings.TrimPrefix(err.Error(), dir+"/")
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatIsLegalButSurelyNotMeantIsWarnedOf(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"config.yaml": head + `tenants:
  - name: none
  - name: shop
    endpoints:
      - {name: a, url: "http://shop.internal/hooks", secrets: [` + goodSecret + `, ` + goodSecret + `]}
      - {name: b, url: "http://127.0.0.1/", secrets: [` + otherSecret + `]}
    routes: [{to: [a, b]}]
`,
		"tenants.d/other.yaml": "name: other\nendpoints:\n  - {name: a, url: 'https://h.example', secrets: [" + goodSecret +
			"]}\nroutes: [{to: a}]\n",
	})
	c, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env()})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range c.Warnings {
		got = append(got, strings.ReplaceAll(w.String(), dir+"/", ""))
	}
	equal(t, "warnings", got, []string{
		"config.yaml:3: tenant none has no endpoints: it receives nothing",
		"config.yaml:6: endpoint shop/a has a plain http URL: its bodies can be read on the way",
		"config.yaml:6: endpoint shop/a has a private name as its host, but neither its allow_cidrs nor egress.allow_cidrs " +
			"has a network that it can be in: its deliveries become dead letters at their first attempt",
		"tenants.d/other.yaml:3: endpoint other/a has the same secret as shop/a (config.yaml:6): " +
			"who holds it can sign for both",
	})
}

func TestAConfigIsTheSameUntilSomethingThatItWasReadFromChanges(t *testing.T) {
	t.Parallel()
	for change, same := range map[string]bool{
		"": true, "tenants.d/notes.txt": true, "config.yaml": false, "tenants.d/a.yaml": false, "tenants.d/secret": false,
		"tenants.d/b.yaml": false,
	} {
		dir := write(t, map[string]string{"config.yaml": head, "tenants.d/a.yaml": tenantFile("a"),
			"tenants.d/secret": goodSecret})
		var read []string
		c, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env(), OnRead: func(path string) {
			read = append(read, path)
		}})
		if err != nil {
			t.Fatal(err)
		}
		if change != "" {
			if err := os.WriteFile(filepath.Join(dir, change), []byte("#"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := Same(read, c.Fingerprint); got != same {
			t.Errorf("after a change of %q: the same is %t", change, got)
		}
		if Same(nil, c.Fingerprint) || Same(read[1:], c.Fingerprint) {
			t.Error("it is the same without a part of it")
		}
	}
}

func TestWhatAConfigDependsOnIsNotedAndHasAFingerprint(t *testing.T) {
	t.Parallel()
	files := map[string]string{"config.yaml": head, "tenants.d/a.yaml": tenantFile("a"), "tenants.d/secret": goodSecret}
	load := func(change, text string) (fingerprint string, read []string, err error) {
		changed := maps.Clone(files)
		changed[change] = text
		dir := write(t, changed)
		c, err := Load(filepath.Join(dir, "config.yaml"), Options{LookupEnv: env(), OnRead: func(path string) {
			read = append(read, strings.TrimPrefix(path, dir+"/"))
		}})
		if err != nil {
			return "", read, err
		}
		return c.Fingerprint, read, nil
	}
	first, read, err := load("notes.txt", "")
	if err != nil || len(first) != 16 {
		t.Fatalf("fingerprint %q, %v", first, err)
	}
	equal(t, "what was read", read, []string{"config.yaml", "tenants.d", "tenants.d/a.yaml", "tenants.d/secret"})
	if again, _, _ := load("tenants.d/notes.txt", "of no concern"); again != first {
		t.Errorf("the same files elsewhere have another fingerprint: %s and %s", again, first)
	}
	for change, text := range map[string]string{
		"config.yaml": head + "\n", "tenants.d/a.yaml": tenantFile("a") + "\n", "tenants.d/secret": otherSecret,
		"tenants.d/b.yaml": "name: b",
	} {
		if changed, _, err := load(change, text); changed == first || err != nil {
			t.Errorf("after a change of %s: fingerprint %q, %v", change, changed, err)
		}
	}
	var missing []string
	if _, err := Load("nowhere.yaml", Options{OnRead: func(path string) { missing = append(missing, path) }}); err ==
		nil || !slices.Equal(missing, []string{"nowhere.yaml"}) {
		t.Errorf("of a config that is not there, %v was read, %v", missing, err)
	}
	_, read, err = load("tenants.d/secret", "whsec_wrong")
	if err == nil || !slices.Contains(read, "tenants.d/secret") {
		t.Errorf("of a config that is wrong, %v was read, %v", read, err)
	}
}
