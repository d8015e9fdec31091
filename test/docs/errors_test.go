package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each message of the page of errors is one that the program can print: its parts between … are texts of the source.
func TestEveryErrorOfTheReferenceExists(t *testing.T) {
	t.Parallel()
	source := sources(t)
	page, err := os.ReadFile(filepath.Join(root, reference, "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	row := regexp.MustCompile("^\\| (?:\\d+ \\| )?(`.*?`(?:, `.*?`)*)")
	for i, line := range strings.Split(string(page), "\n") {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, code := range codeSpan.FindAllString(m[1], -1) {
			messages++
			for part := range strings.SplitSeq(strings.Trim(code, "`"), "…") {
				part = strings.Trim(part, " :,.()")
				if len(part) > 2 && !strings.Contains(source, part) {
					t.Errorf("%s/errors.md:%d: no message has %q", reference, i+1, part)
				}
			}
		}
	}
	if messages < 60 {
		t.Errorf("only %d messages", messages)
	}
}

// sources returns the text of the program, with texts that go on in the next line put together.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := fs.WalkDir(os.DirFS(root), "relay", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			text, readErr := os.ReadFile(filepath.Join(root, path))
			all.Write(text)
			return readErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	joined := regexp.MustCompile("\" ?\\+\\s*\"").ReplaceAllString(all.String(), "")
	return strings.ReplaceAll(strings.ReplaceAll(joined, `\"`, `"`), "%q", `"tokens"`)
}
