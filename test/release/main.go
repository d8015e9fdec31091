// Command release builds a release of the commit that is checked out: go run ./test/release 1.2.3
//
// It writes to dist/, for each platform, an archive with the static binary and the files that operators copy, and a
// bill of materials (CycloneDX), and their checksums in SHA256SUMS. The same commit and version, built by the same
// version of Go, give the same bytes on every machine: --verify builds them again and compares, and writes nothing.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// sbomTool makes the bill of materials of a binary. It is built when a release is, and by nothing else.
const sbomTool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// platforms are those that a release is for.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}

// release is one version of one commit.
type release struct {
	root      string // of the repository
	version   string
	revision  string
	at        time.Time // of the revision: the only time in a release
	platforms []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	verify := flag.Bool("verify", false, "build again, and compare with dist/SHA256SUMS")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/release [--verify] VERSION")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(ctx, flag.Arg(0), *verify); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, version string, verify bool) error {
	r, err := open(ctx, ".", version)
	if err != nil {
		return err
	}
	dist := filepath.Join(r.root, "dist")
	if !verify {
		sums, err := r.build(ctx, dist)
		fmt.Print(sums)
		return err
	}

	want, err := os.ReadFile(filepath.Join(dist, sumsFile))
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "kuairelay-release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	got, err := r.build(ctx, scratch)
	if err != nil {
		return err
	}
	if got != string(want) {
		return fmt.Errorf("built again, it is not the same:\n%s%s has\n%s", got, sumsFile, want)
	}
	fmt.Println("the same:", version, "of", r.revision)
	return nil
}

const sumsFile = "SHA256SUMS"

var versions = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`)

// open looks whether the commit that is checked out may become the version.
func open(ctx context.Context, root, version string) (*release, error) {
	if !versions.MatchString(version) {
		return nil, fmt.Errorf("%q is no version like 1.2.3 or 1.2.3-rc.1", version)
	}
	r := &release{root: root, version: version, platforms: platforms}
	changed, err := r.output(ctx, nil, "git", "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	if changed != "" {
		return nil, fmt.Errorf("there are changes that no commit has:\n%s", changed)
	}
	changelog, err := os.ReadFile(filepath.Join(root, "docs/changelog.md"))
	if err != nil {
		return nil, err
	}
	if !regexp.MustCompile(`(?m)^## ` + regexp.QuoteMeta(version) + `\b`).Match(changelog) {
		return nil, fmt.Errorf("docs/changelog.md has no heading \"## %s\"", version)
	}

	head, err := r.output(ctx, nil, "git", "show", "--no-patch", "--format=%H %cI", "HEAD")
	if err != nil {
		return nil, err
	}
	revision, at, _ := strings.Cut(strings.TrimSpace(head), " ")
	r.revision = revision
	if r.at, err = time.Parse(time.RFC3339, at); err != nil {
		return nil, err
	}
	r.at = r.at.UTC()
	return r, nil
}

// build writes the files of a release to a folder, in place of what is there, and returns what SHA256SUMS says.
func (r *release) build(ctx context.Context, folder string) (sums string, err error) {
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	shared, err := r.shared(ctx)
	if err != nil {
		return "", err
	}
	for _, platform := range r.platforms {
		goos, arch, _ := strings.Cut(platform, "/")
		name := fmt.Sprintf("kuairelay_%s_%s_%s", r.version, goos, arch)
		if err := r.platform(ctx, folder, name, goos, arch, shared); err != nil {
			return "", fmt.Errorf("%s: %w", platform, err)
		}
	}
	if sums, err = checksums(folder); err != nil {
		return "", err
	}
	return sums, os.WriteFile(filepath.Join(folder, sumsFile), []byte(sums), 0o644)
}

// platform builds the archive and the bill of materials of one platform.
func (r *release) platform(ctx context.Context, folder, name, goos, arch string, shared []file) error {
	scratch, err := os.MkdirTemp("", "kuairelay-release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	path := filepath.Join(scratch, "kuairelay")
	const pkg = "kuairelay/relay/cli."
	told := fmt.Sprintf("-s -w -buildid= -X %sversion=%s -X %srevision=%s -X %scommitTime=%s",
		pkg, r.version, pkg, r.revision, pkg, r.at.Format(time.RFC3339))

	// What a machine has set otherwise would make other bytes.
	env := []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=",
		"GOEXPERIMENT=", "GOWORK=off", "GOTOOLCHAIN=local"}
	_, err = r.output(ctx, env, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", told, "-o", path, ".")
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	files := append([]file{{"kuairelay", 0o755, binary}}, shared...)
	if err := pack(filepath.Join(folder, name+".tar.gz"), name, files, r.at); err != nil {
		return err
	}
	sbom := filepath.Join(scratch, "sbom.json")
	if _, err := r.output(ctx, []string{"GOFLAGS=-trimpath"}, "go", "run", sbomTool, "bin", "-json", "-std", "-noserial",
		"-notimestamp", "-version", r.version, "-output", sbom, path); err != nil {
		return err
	}
	content, err := os.ReadFile(sbom)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name+".cdx.json"), content, 0o644)
}

// shared reads the files that an archive has beside the binary.
func (r *release) shared(ctx context.Context) (files []file, err error) {
	listed, err := r.output(ctx, nil, "git", "ls-files", "README.md", "README.zh-CN.md", "config.example.yaml",
		"docs/alerts.yaml", "docs/changelog.md", "docs/dashboard.json", "deploy/secrets", "deploy/systemd", "deploy/redis",
		"deploy/nginx", "deploy/caddy")
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Fields(listed) {
		path := filepath.Join(r.root, name)
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		mode := int64(0o644) // not what the umask of this machine has made of it
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		files = append(files, file{name, mode, content})
	}
	return files, nil
}

// checksums returns the lines of sha256sum of the files in a folder.
func checksums(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return "", err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(content), e.Name()))
	}
	return strings.Join(lines, ""), nil
}

// output runs a program in the root, with these variables beside those of the environment, and returns what it prints.
func (r *release) output(ctx context.Context, env []string, program string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Dir, cmd.Env = r.root, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return "", fmt.Errorf("%s %s: %w\n%s", program, arguments[0], err, &stderr)
	}
	return string(output), err
}
