package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"kuairelay/relay/cli"
)

func TestAnAnchorIsAsGitHubMakesIt(t *testing.T) {
	t.Parallel()
	got := readMarkdown(lines(
		"# What a tenant's answer means: `2xx`", "## 401 / bad signature", "## 收不到回调？", "## Same", "'''sh", "# no heading",
		"'''",
		"## Same", "## [Linked](x.md) **bold** _id_", "### Trailing ##", `<a id="own"></a>`))
	var anchors []string
	for _, h := range got.headings {
		anchors = append(anchors, fmt.Sprint(h.level, " ", h.anchor))
	}
	want := []string{"1 what-a-tenants-answer-means-2xx", "2 401--bad-signature", "2 收不到回调", "2 same", "2 same-1",
		"2 linked-bold-_id_", "3 trailing", "0 own"}
	if !slices.Equal(anchors, want) {
		t.Errorf("the anchors are %q\nwant %q", anchors, want)
	}
}

func TestLinksAndCodeAreFoundWithTheirLines(t *testing.T) {
	t.Parallel()
	got := readMarkdown(lines("a [b](c.md#d) `[no](link.md)`", "![e](f.png \"title\") [`g`](h.md)", "`kuairelay",
		"listen`", "",
		"'''", "[in](block.md)", "'''", "[i]: j.md", `<img src="k.svg">`))
	if want := []link{{1, "c.md#d"}, {2, "f.png"}, {2, "h.md"}, {9, "j.md"}, {10, "k.svg"}}; !slices.Equal(got.links,
		want) {
		t.Errorf("the links are %v, want %v", got.links, want)
	}
	if want := []span{{1, "[no](link.md)"}, {2, "g"}, {3, "kuairelay listen"}}; !slices.Equal(got.spans, want) {
		t.Errorf("the spans are %v, want %v", got.spans, want)
	}
}

// markdown reads a page of the repository.
func markdown(t *testing.T, path string) (read text, size int) {
	t.Helper()
	page := fileText(t, path)
	return readMarkdown(page), len(page)
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	known := map[string]text{} // a page is the target of many links
	of := func(path string) text {
		if _, ok := known[path]; !ok {
			known[path], _ = markdown(t, path)
		}
		return known[path]
	}
	for _, path := range append(pages(t), readmes...) {
		for _, l := range of(path).links {
			if strings.Contains(l.target, "://") || strings.HasPrefix(l.target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(l.target, "#")
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s:%d: there is no %s", path, l.line, to)
				continue
			}
			if anchor == "" || filepath.Ext(to) != ".md" {
				continue
			}
			if !slices.ContainsFunc(of(to).headings, func(h heading) bool { return h.anchor == anchor }) {
				t.Errorf("%s:%d: %s has no heading #%s", path, l.line, to, anchor)
			}
		}
	}
}

func TestAPageIsTheSameInBothLanguages(t *testing.T) {
	t.Parallel()
	pairs := map[string]string{}
	for _, path := range append(pages(t), readmes...) {
		switch name, isTenant := strings.CutPrefix(path, "docs/tenant/"); {
		case isTenant:
			pairs[path] = "docs/zh/tenant/" + name
		case strings.HasPrefix(path, "docs/zh/"):
			pairs[strings.Replace(path, "docs/zh/", "docs/", 1)] = path
		case path == "README.md":
			pairs[path] = "README.zh-CN.md"
		}
	}
	for english, chinese := range pairs {
		en, _ := markdown(t, english)
		zh, _ := markdown(t, chinese)
		levels := func(t text) (all []int) {
			for _, h := range t.headings {
				all = append(all, h.level)
			}
			return all
		}
		if a, b := levels(en), levels(zh); !slices.Equal(a, b) {
			t.Errorf("the levels of the headings differ: %s %v, %s %v", english, a, chinese, b)
		}
		if len(en.blocks) != len(zh.blocks) {
			t.Errorf("%s has %d code blocks, %s %d", english, len(en.blocks), chinese, len(zh.blocks))
		}
	}
}

// readmeSize is how long README may be, so that it stays one that is read.
const readmeSize = 10 << 10

func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	for _, path := range readmes {
		if _, size := markdown(t, path); size > readmeSize {
			t.Errorf("%s has %d bytes, and may have %d: put it into a page of docs, and link to it", path, size, readmeSize)
		}
	}
}

// skipped returns the lines of the commands of a page that are not run.
func skipped(t *testing.T, path string) (lines []span) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	p, err := parsePage(path, string(content))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.steps {
		if s.kind == skip {
			for i, line := range strings.Split(s.text, "\n") {
				lines = append(lines, span{s.line + i, strings.TrimPrefix(line, "sudo ")})
			}
		}
	}
	return lines
}

func TestEveryCommandInTheTextExists(t *testing.T) {
	t.Parallel()
	seen := 0
	commands := cli.Commands()
	for _, path := range append(pages(t), readmes...) {
		page, _ := markdown(t, path)
		for _, s := range append(page.spans, skipped(t, path)...) {
			if strings.HasPrefix(s.code, "kuairelay ") {
				seen++
				if wrong := unknownIn(commands, s.code); wrong != "" {
					t.Errorf("%s:%d: `%s`: %s", path, s.line, s.code, wrong)
				}
			}
		}
	}
	t.Logf("%d commands", seen)
}

func TestEveryExampleOfACommandExists(t *testing.T) {
	t.Parallel()
	root := cli.Commands()
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "kuairelay ") {
				if wrong := unknownIn(root, line); wrong != "" {
					t.Errorf("%s: %s", line, wrong)
				}
			}
		}
		for _, below := range cmd.Commands() {
			look(below)
		}
	}
	look(root)
}

func TestACommandThatDoesNotExistIsFound(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"kuairelay serve -c FILE":               "",
		"kuairelay replay list":                 "",
		"kuairelay COMMAND --help":              "",
		"kuairelay waybill CODE -o json | jq .": "",
		"kuairelay events --status=signed -n 5": "",
		"kuairelay server":                      `there is no command "server"`,
		"kuairelay replay lists":                `there is no command "lists"`,
		"kuairelay waybill CODE --keys":         "there is no flag --keys",
		"kuairelay waybill CODE -z":             "there is no flag -z",
	} {
		if got := unknownIn(cli.Commands(), code); got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
}

var placeholder = regexp.MustCompile(`^[A-Z][A-Z_./-]*…?$`)

// unknownIn says which command or flag of a command line does not exist; empty: all do.
func unknownIn(cmd *cobra.Command, line string) string {
	if i := strings.IndexAny(line, "|>&;"); i >= 0 {
		line = line[:i]
	}
	arguments := false // no more commands come
	value := false     // of the flag before
	for _, word := range strings.Fields(line)[1:] {
		if value {
			value = false
			continue
		}
		switch name, _, given := strings.Cut(word, "="); {
		case len(name) > 1 && name[0] == '-':
			cmd.InitDefaultHelpFlag()
			flag := cmd.Flags().Lookup(strings.TrimPrefix(name, "--"))
			if len(name) == 2 {
				flag = cmd.Flags().ShorthandLookup(name[1:])
			}
			if flag == nil {
				return "there is no flag " + name
			}
			value = !given && flag.NoOptDefVal == ""
		case arguments || placeholder.MatchString(word):
			arguments = true
		default:
			below := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
			if below < 0 && cmd.HasSubCommands() && (cmd.Args == nil || cmd.Args(cmd, []string{word}) != nil) {
				return fmt.Sprintf("there is no command %q", word)
			}
			if below < 0 {
				arguments = true
				continue
			}
			cmd = cmd.Commands()[below]
		}
	}
	return ""
}

// odd are turns of phrase that readers had to read twice: the thing is not named, or a word stands for another one.
var odd = []string{
	"whatever it says is an answer", "what hangs holds", "is left alone", "what was in flight then", "what it is off",
	"what has gathered", "no more than that and", "what was delivered (", "fared better",
	"is what `retention` costs", "named by both, not decided", "nothing that is open ever expires",
	"as many as it takes in a second", "or as many within",
}

func TestNoPageHasAnOddSentence(t *testing.T) {
	t.Parallel()
	for _, path := range append(pages(t), readmes...) {
		page, _ := markdown(t, path)
		words := strings.ToLower(strings.Join(strings.Fields(page.prose), " "))
		for _, phrase := range odd {
			if strings.Contains(words, phrase) {
				t.Errorf("%s says %q: name the thing, in a plain sentence", path, phrase)
			}
		}
	}
}
