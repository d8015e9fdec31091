package browser

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// needs finds what the checks need beside Go: the folder with the npm packages, which it fills, and Chromium. Where
// something is missing it skips the test; a CI that cannot run a test must not pass it.
func needs(t *testing.T) (modules, chromium string) {
	t.Helper()
	var missing []string
	for _, name := range []string{"redis-server", "node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		missing = append(missing, "chromium")
	}

	var err error
	if len(missing) == 0 {
		if modules, err = npm(t.Context()); err == nil {
			return modules, chromium
		}
	}
	text := fmt.Sprintf("the browser checks cannot run: %s is missing", strings.Join(missing, ", "))
	if len(missing) == 0 {
		text = fmt.Sprintf("the browser checks cannot run: %v", err)
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text + " (Debian: apt-get install redis-server nodejs npm chromium fonts-noto-cjk)")
	return "", ""
}

// npm returns a folder with the packages of package-lock.json. It is in the user's cache, named by what the lock file
// has, and is filled once: npm checks each archive against the lock file.
func npm(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	lists := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		lists[name] = text
		_, _ = sum.Write(text) // never fails (hash)
	}
	folder := filepath.Join(cache, "kuairelay-browser", hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}

	// Two that begin at once make two folders; the first to end gives its own the name.
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "new")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	for name, text := range lists {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o600); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = fresh
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	if err := os.Rename(fresh, folder); err != nil {
		if _, other := os.Stat(folder); other != nil {
			return "", err
		}
	}
	return folder, nil
}

// node runs the checks.
type node struct {
	modules, chromium string
	control           string // URL of the control server
	files             []string
}

// result is what reporter.js writes for a check.
type result struct {
	File, Name string
	OK         bool
	Skip       string  // why it was skipped
	Took       float64 // ms
	Error      string
}

func (r result) report(t *testing.T) {
	t.Logf("%s, %.1f s", r.File, r.Took/1000)
	switch {
	case !r.OK:
		t.Error(r.Error)
	case r.Skip != "":
		t.Skip(r.Skip)
	}
}

// run runs the files, and hands over each result as it comes. That a check fails is no error.
func (n node) run(ctx context.Context, t *testing.T, each func(result)) error {
	args := append([]string{"--test", "--test-concurrency=2", "--test-reporter=./reporter.js"}, n.files...)
	folder, err := filepath.Abs(*shots)
	if *shots == "" {
		folder, err = "", nil
	}
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends its browsers
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "BROWSER_CONTROL="+n.control, "BROWSER_MODULES="+n.modules,
		"BROWSER_CHROMIUM="+n.chromium, "BROWSER_VISIBLE="+strconv.FormatBool(*visible),
		"BROWSER_ONLY="+*only, "BROWSER_LONG="+strconv.FormatBool(*long), "BROWSER_SHOTS="+folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}

	failed := false
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil && line == "" {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		var r result
		if json.Unmarshal([]byte(line), &r) != nil || r.Name == "" {
			t.Logf("node says: %s", line)
			continue
		}
		r.File, r.Name = filepath.Base(r.File), filepath.Base(r.Name)
		failed = failed || !r.OK
		each(r)
	}
	if err := cmd.Wait(); err != nil && (!failed || ctx.Err() != nil) {
		return fmt.Errorf("node: %w (%w)", err, context.Cause(ctx))
	}
	return nil
}
