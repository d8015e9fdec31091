package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVariablesAreExpandedInsideAScalar(t *testing.T) {
	t.Parallel()
	lookup := env("A", "one", "B", "two", "EMPTY", "", "TRICKY", "${A} $$ file:x")
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{"", ""},
		{"${A}", "one"},
		{"${A}${B}", "onetwo"},
		{"https://${A}.example/${B}?x", "https://one.example/two?x"},
		{"${EMPTY}", ""},
		{"${EMPTY:-default}", "default"},
		{"${UNSET:-default}", "default"},
		{"${UNSET:-}", ""},
		{"${UNSET:-a:-b c}", "a:-b c"},
		{"${A:-default}", "one"},
		{"${UNSET:-100$$}", "100$"},
		{"$$", "$"},
		{"$${A}", "${A}"},
		{"$$$${A}", "$${A}"},
		{"$$$$", "$$"},
		{"100$", "100$"},
		{"^[0-9]+$|^x$", "^[0-9]+$|^x$"},
		{"$1", "$1"},
		{"${TRICKY}", "${A} $$ file:x"},
		{"}{", "}{"},
	}
	for _, tt := range tests {
		if got, problems := expand(tt.in, lookup); got != tt.want || len(problems) > 0 {
			t.Errorf("expand(%q) = %q, %v; want %q", tt.in, got, problems, tt.want)
		}
	}
}

func TestWhatIsNotAVariableIsAMistake(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"${UNSET}", "variable UNSET is not set"},
		{"a${UNSET}b${A}", "variable UNSET is not set"},
		{"${A", "without"},
		{"${A:-${B}}", "without"},
		{"${UNSET:-${B}}", "without"},
		{"${}", "a variable is"},
		{"${:-x}", "a variable is"},
		{"${1}", "a variable is"},
		{"${A-x}", "a variable is"},
		{"${A:x}", "a variable is"},
		{"${A b}", "a variable is"},
		{"${ A}", "a variable is"},
		{"$A", "write ${NAME}"},
		{"x$$$A", "write ${NAME}"},
		{"${A:-$B}", "write ${NAME}"},
	}
	for _, tt := range tests {
		_, problems := expand(tt.in, env("A", "one"))
		if len(problems) != 1 || !strings.Contains(problems[0], tt.want) {
			t.Errorf("expand(%q): %q, want one problem with %q", tt.in, problems, tt.want)
		}
	}
}

func TestAnExpandedValueIsCheckedLikeAWrittenOne(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `
callback: {tokens: ["${T}"], max_body: "${SIZE:-2}MiB"}
retention: ${D}
delivery: {max_in_flight: "${N:-32}", retry: ["${D}", 1s]}
`, "T", "long-enough", "D", "7s")
	equal(t, "max in flight", c.Delivery.MaxInFlight, 32)
	equal(t, "retention", c.Retention.String(), "7s")
	equal(t, "max body", c.Callback.MaxBody, int64(2<<20))
}

func TestAnExpandedValueNeverChangesTheStructure(t *testing.T) {
	t.Parallel()
	for _, tricky := range []string{
		"[a, b]", "{a: b}", "a\nretention: 1s", "null", "~", "*x", "# no comment", "a: b", "'", "${HOME}", "$$",
		"file:testdata/full.yaml",
	} {
		c := mustLoad(t, `callback: {tokens: [long-enough], ack: "${X}"}`, "X", tricky)
		equal(t, "ack", c.Callback.Ack, tricky)
		c = mustLoad(t, "retention: 9h\ncallback:\n  ack: ${X}\n  tokens: [long-enough]", "X", tricky)
		equal(t, "plain ack", c.Callback.Ack, tricky)
		equal(t, "retention", c.Retention.String(), "9h0m0s")
	}
}

func TestAFileStandsForItsContentWithoutTheLastNewline(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	load := func(content, written string) (*Config, error) {
		if err := os.WriteFile(filepath.Join(dir, "value"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(path, []byte("callback: {tokens: [long-enough], ack: \""+written+"\"}"), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(path, Options{LookupEnv: env("DIR", dir)})
	}
	tests := []struct{ content, written, want string }{
		{"x\n", "file:value", "x"},
		{"x", "file:./value", "x"},
		{"x\r\n", "file:value", "x"},
		{"x\n\n", "file:value", "x\n"},
		{"${DIR} $$ file:value", "file:value", "${DIR} $$ file:value"},
		{"x", "file:" + dir + "/value", "x"},
		{"x", "file:${DIR}/value", "x"},
		{"x", "not file:value", "not file:value"},
	}
	for _, tt := range tests {
		c, err := load(tt.content, tt.written)
		if err != nil {
			t.Errorf("%q: %v", tt.written, err)
			continue
		}
		equal(t, tt.written, c.Callback.Ack, tt.want)
	}
	if _, err := load(strings.Repeat("x", maxFile+1), "file:value"); err == nil ||
		!strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("a file that is too large: %v", err)
	}
	if _, err := load("", "file:${DIR}/none"); err == nil ||
		strings.Contains(strings.ReplaceAll(err.Error(), dir+"/config.yaml", ""), dir) {
		t.Errorf("a file that is missing, by its expanded path: %v", err)
	}
}
