package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// clone returns a clone of the repository, whose changelog has the version 9.9.9.
func clone(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "clone")
	git(t, "../..", "clone", "--quiet", "--no-tags", ".", root)
	note(t, root, "\n## 9.9.9\n")
	git(t, root, "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false",
		"commit", "--quiet", "--all", "--message=Release 9.9.9", "--date=2026-12-01T08:00:00+08:00")
	return root
}

func git(t *testing.T, root string, arguments ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", arguments...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-12-01T08:00:00+08:00")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", arguments, err, output)
	}
}

// note adds to the changelog of a clone.
func note(t *testing.T, root, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(root, "docs/changelog.md"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOneCommitGivesTheSameReleaseFromTwoFolders(t *testing.T) {
	t.Parallel()
	var sums [2]string
	var folder string
	var revision string
	for i := range sums {
		root := clone(t)
		r, err := open(t.Context(), root, "9.9.9")
		if err != nil {
			t.Fatal(err)
		}
		r.platforms = []string{runtime.GOOS + "/" + runtime.GOARCH}
		revision, folder = r.revision, filepath.Join(root, "dist")
		if sums[i], err = r.build(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t.Context(), root, "9.9.9"); err != nil {
			t.Errorf("what was built is taken for a change: %v", err)
		}
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 2 {
		t.Errorf("the checksums are\n%sand then\n%s", sums[0], sums[1])
	}

	name := fmt.Sprintf("kuairelay_9.9.9_%s_%s", runtime.GOOS, runtime.GOARCH)
	files := unpacked(t, filepath.Join(folder, name+".tar.gz"))
	for _, want := range []string{"kuairelay", "README.md", "config.example.yaml", "deploy/systemd/kuairelay@.service",
		"deploy/secrets", "docs/alerts.yaml", "docs/dashboard.json"} {
		if _, ok := files[name+"/"+want]; !ok {
			t.Errorf("the archive has no %s", want)
		}
	}
	binary := filepath.Join(t.TempDir(), "kuairelay")
	if err := os.WriteFile(binary, files[name+"/kuairelay"], 0o700); err != nil {
		t.Fatal(err)
	}
	says, err := exec.CommandContext(t.Context(), binary, "version").Output()
	want := "kuairelay 9.9.9 (commit " + revision[:12] + " of 2026-12-01, "
	if err != nil || !strings.HasPrefix(string(says), want) {
		t.Errorf("the binary says %q, want %q (%v)", says, want, err)
	}
	billed(t, filepath.Join(folder, name+".cdx.json"))
}

// unpacked returns the files of an archive by their names.
func unpacked(t *testing.T, path string) map[string][]byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
		executable := slices.Contains([]string{"kuairelay", "secrets"}, filepath.Base(header.Name))
		if header.Mode != 0o644 && (!executable || header.Mode != 0o755) || header.Uname != "" || header.Uid != 0 ||
			header.ModTime.UTC().Format("2006-01-02T15:04:05") != "2026-12-01T00:00:00" {
			t.Errorf("%s: %+v", header.Name, header)
		}
	}
}

// billed holds that a bill of materials names what is in the binary.
func billed(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		BOMFormat string `json:"bomFormat"`
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(content, &bill); err != nil {
		t.Fatal(err)
	}
	if c := bill.Metadata.Component; bill.BOMFormat != "CycloneDX" || c.Name != "kuairelay" || c.Version != "9.9.9" {
		t.Errorf("it is a %s of %+v", bill.BOMFormat, c)
	}
	for _, name := range []string{"github.com/redis/go-redis/v9", "gopkg.in/yaml.v3", "std"} {
		if !slices.ContainsFunc(bill.Components, func(c struct{ Name, Version string }) bool {
			return c.Name == name && c.Version != ""
		}) {
			t.Errorf("the bill has no %s", name)
		}
	}
}

func TestWhatIsNoReleaseIsRefused(t *testing.T) {
	t.Parallel()
	root := clone(t)
	for version, want := range map[string]string{
		"v9.9.9": "is no version", "9.9": "is no version", "9.9.9+x": "is no version", "": "is no version",
		"9.9.8": `no heading "## 9.9.8"`, "9.9.9": "",
	} {
		_, err := open(t.Context(), root, version)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", version, err, want)
		}
	}
	note(t, root, "more\n")
	if _, err := open(t.Context(), root, "9.9.9"); err == nil || !strings.Contains(err.Error(), "docs/changelog.md") {
		t.Errorf("with a change: %v", err)
	}
}
