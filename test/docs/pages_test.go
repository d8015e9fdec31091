package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"kuairelay/test/terminal"
)

const root = "../.."

// readmes are the pages outside docs.
var readmes = []string{"README.md", "README.zh-CN.md"}

// pages returns the paths of the pages in docs, from the root.
func pages(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, path := range append(pages(t), readmes...) {
		name := strings.TrimSuffix(path, ".md")
		if below, ok := strings.CutPrefix(name, "docs/"); ok && below != "README" {
			name = below
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := parsed(t, path)
			if len(p.steps) == 0 {
				return
			}
			err := p.read(t, "PATH="+binary(t)+":"+os.Getenv("PATH"))
			if cannot := new(cannotRun); errors.As(err, cannot) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// parsed returns a page by its path from the root.
func parsed(t *testing.T, path string) *page {
	t.Helper()
	p, err := parsePage(path, fileText(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// read does all that a reader of the page does, from top to bottom, in a copy of the repository's files. It returns the
// first thing that is not as the page says it.
func (p *page) read(t *testing.T, env ...string) error {
	t.Helper()
	folder := copyTree(t)
	r := &reader{T: t, path: p.path, term: terminal.Open(t, folder, append(env, goEnv...)...)}
	steps := p.steps
	if p.relay {
		steps = append([]step{
			{kind: background, text: "kuairelay listen", prints: []expected{{1, "Listening on…"}}},
			{kind: background, text: "kuairelay serve -c config.example.yaml", prints: []expected{{1, `…"listening"…`}}},
		}, steps...)
	}
	for i := range steps {
		if err := r.do(&steps[i]); err != nil {
			for _, job := range r.jobs {
				t.Logf("beside it: %s\nprinted:\n%s", job.text, tail(job.Output()))
			}
			return err
		}
	}
	return nil
}

// reader does the steps of a page.
type reader struct {
	*testing.T
	path string
	term *terminal.Terminal
	jobs []job
}

type job struct {
	*terminal.Job
	text string
}

// cannotRun says why the rest of a page is not run on this machine.
type cannotRun string

func (e cannotRun) Error() string { return string(e) }

func (r *reader) do(s *step) error {
	r.Helper()
	switch name := killer.FindString(s.text); {
	case s.kind == skip:
		r.Logf("%s:%d: not run: %s", r.path, s.line, s.reason)
		return nil
	case s.kind == file:
		return r.write(s)
	case name != "" && !r.term.OwnProcesses:
		return cannotRun(fmt.Sprintf("%s:%d: %s would end processes of others on this machine", r.path, s.line, name))
	case s.root && (os.Geteuid() != 0 || !r.term.OwnProcesses):
		return cannotRun(fmt.Sprintf("%s:%d: only root can make a machine to install on: the rest of the page is not run",
			r.path, s.line))
	case s.kind == background:
		return r.start(s)
	default:
		return r.run(s)
	}
}

// write writes a file where the terminal is now.
func (r *reader) write(s *step) error {
	r.Helper()
	from := filepath.Join(r.TempDir(), "file")
	if err := os.WriteFile(from, []byte(s.text), 0o644); err != nil {
		return err
	}
	output, code := r.term.Run(fmt.Sprintf(`mkdir -p "$(dirname '%s')" && cp %s '%[1]s'`, s.path, from))
	if code != 0 {
		return fmt.Errorf("%s:%d: writing %s: %s", r.path, s.line, s.path, output)
	}
	return nil
}

func (r *reader) run(s *step) error {
	r.Helper()
	all := ""
	commands := s.commands()
	for i, c := range commands {
		output, code := r.term.Run(c.text)
		all += output
		if output != "" && !strings.HasSuffix(output, "\n") {
			all += "\n"
		}
		if err := r.installed(c.line, code, output); err != nil {
			return err
		}
		wantFailure := s.kind == fails && i == len(commands)-1
		if code != 0 && !wantFailure {
			return fmt.Errorf("%s:%d: %s\nexits with %d, and printed:\n%s", r.path, c.line, c.text, code, all)
		}
		if code == 0 && wantFailure {
			return fmt.Errorf("%s:%d: %s\nsucceeds, and should fail; it printed:\n%s", r.path, c.line, c.text, all)
		}
	}
	return r.prints(s, all)
}

func (r *reader) start(s *step) error {
	r.Helper()
	started := r.term.Start(s.text)
	r.jobs = append(r.jobs, job{started, strings.TrimSpace(s.text)})
	if started.Await(func(output string) bool { return missing(output, s.prints) == nil }) {
		return nil
	}
	if code, ended := started.Ended(); ended {
		if err := r.installed(s.line, code, started.Output()); err != nil {
			return err
		}
		return fmt.Errorf("%s:%d: %s\nended with %d, and printed:\n%s", r.path, s.line, s.text, code, started.Output())
	}
	return r.prints(s, started.Output())
}

// prints returns an error if the output of a step is not what its text block says.
func (r *reader) prints(s *step, output string) error {
	if line := missing(output, s.prints); line != nil {
		return fmt.Errorf("%s:%d: the line %q is not printed, or not after those before it, by the commands of line %d:\n%s",
			r.path, line.line, line.text, s.line, output)
	}
	return nil
}

var (
	killer  = regexp.MustCompile(`\b(pkill|killall)\b`)
	unknown = regexp.MustCompile(`(?m)([\w.-]+): (?:command not found|not found)$`)
)

// installed returns an error if a command is not installed. The program itself always is.
func (r *reader) installed(line, code int, output string) error {
	if m := unknown.FindStringSubmatch(output); code == 127 && m != nil && m[1] != "kuairelay" {
		return cannotRun(fmt.Sprintf("%s:%d: %s is not installed: the rest of the page is not run", r.path, line, m[1]))
	}
	return nil
}

func tail(text string) string {
	const most = 2000
	if len(text) > most {
		return "…" + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}

// built is the program, and the folder that it is in.
var built struct {
	sync.Once
	folder string
	err    error
}

// binary builds the program, and returns the folder that it is in.
func binary(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		if built.folder, built.err = os.MkdirTemp("", "kuairelay-docs"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(built.folder, "kuairelay"), ".")
		build.Dir = root
		build.Env = append(os.Environ(), goEnv...)
		if output, err := build.CombinedOutput(); err != nil {
			t.Logf("%s", output)
			built.err = err
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.folder
}

func TestMain(m *testing.M) {
	top = root
	code := m.Run()
	_ = os.RemoveAll(built.folder)
	os.Exit(code)
}

// goEnv makes a build in a copy of the repository as fast as one in the repository: with trimmed paths they have the
// same cache.
var goEnv = []string{"GOFLAGS=-mod=readonly -trimpath -buildvcs=false", "GOPROXY=off"}

func TestAPageThatIsNotTrueIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"all is true", lines(
			"'''sh", "cd docs", "echo one; echo two", "'''", "'''text", "one", "two", "'''",
			"'''yaml file=new/a.yaml", "a: $x", "'''",
			"'''sh", "cat new/a.yaml alerts.yaml", "'''", "'''text", "a: $x", "groups:", "'''",
			"'''sh fails", "x=1", "test $x = 2", "'''",
			"'''sh background", "echo begun", "sleep 1000", "'''", "'''text", "begun", "'''",
			"'''sh skip=never", "false", "'''"), ""},
		{"a command fails", lines("'''sh", "echo begins", "(echo says; exit 3)", "echo goes on", "'''"),
			"x.md:3: (echo says; exit 3)\nexits with 3, and printed:\nbegins\nsays\n"},
		{"a command that should fail succeeds", lines("'''sh fails", "echo fine", "'''"),
			"x.md:2: echo fine\nsucceeds, and should fail"},
		{"a command before one that fails", lines("'''sh fails", "false", "false", "'''"), "x.md:2: false\nexits with 1"},
		{"mistake in the syntax", lines("'''sh", "echo )", "'''"), "x.md:2: echo )\nexits with "},
		{"a line is missing", lines("'''sh", "echo one", "'''", "'''text", "one", "two", "'''"),
			`x.md:6: the line "two" is not printed`},
		{"it ends in the background", lines("'''sh background", "echo no room; (exit 4)", "'''", "'''text", "begun", "'''"),
			"x.md:2: echo no room; (exit 4)\n\nended with 4, and printed:\nno room"},
		{"a program is missing", lines("'''sh", "no-such-program --help", "'''"), "x.md:2: no-such-program is not installed"},
		{"a file cannot be written", lines("'''text file=README.md/x", "'''"), "x.md:2: writing README.md/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := parsePage("x.md", c.text)
			if err != nil {
				t.Fatal(err)
			}
			err = p.read(t)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v\nwant %q", err, c.want)
			}
		})
	}
}

// copyTree copies the repository's files to a folder that goes with the test.
func copyTree(t *testing.T) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "kuairelay")
	for _, path := range tree(t) {
		if err := copyFile(filepath.Join(root, path), filepath.Join(folder, path)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// tree returns the files of the repository, from its root: those that git knows or would take, or without git all.
func tree(t *testing.T) (paths []string) {
	t.Helper()
	git := exec.Command("git", "ls-files", "-z", "-co", "--exclude-standard")
	git.Dir = root
	if output, err := git.Output(); err == nil && len(output) > 0 {
		for path := range strings.SplitSeq(strings.Trim(string(output), "\x00"), "\x00") {
			if _, err := os.Stat(filepath.Join(root, path)); err == nil { // it may be deleted, but not yet for git
				paths = append(paths, path)
			}
		}
		return paths
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && path != "kuairelay" && !strings.HasPrefix(path, ".git/") &&
			!strings.HasPrefix(path, "spool/") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		_ = target.Close()
		return err
	}
	return target.Close()
}
