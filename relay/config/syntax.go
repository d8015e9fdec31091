package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// parse returns the root of the one document in text; nil: there is none to read. It notes what is wrong.
func (s *source) parse(text []byte) *yaml.Node {
	// yaml.v3 would take UTF-16 as well, and names no line here. No text holds the byte 0xFF.
	if good, _, bad := bytes.Cut(bytes.ToValidUTF8(text, []byte{0xff}), []byte{0xff}); bad {
		s.note(1+bytes.Count(good, []byte("\n")), "the file must be UTF-8")
		return nil
	}

	root, second, err := documents(text)
	if err != nil {
		s.note(syntaxLine(text, err), syntaxMessage(err))
		return nil
	}

	if second > 0 {
		s.note(second, "a second YAML document begins here; a file holds one")
	}

	if root == nil || (value{node: root}).isNull() {
		s.note(1, "the file is empty")
		return nil
	}
	return root
}

func (s *source) note(line int, msg string) {
	s.mistakes = append(s.mistakes, found{Mistake: Mistake{Pos: Position{File: s.path, Line: line}, Msg: msg}})
}

// documents returns the root of the first document (nil: there is none) and the line of the second (0: there is
// none).
func documents(text []byte) (root *yaml.Node, second int, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))

	var first, next yaml.Node

	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}

	switch err := decoder.Decode(&next); {
	case errors.Is(err, io.EOF):
		return first.Content[0], 0, nil
	case err != nil:
		return nil, 0, err
	}
	return first.Content[0], next.Line, nil
}

// syntaxLine returns the line of a syntax error. The line that yaml.v3 names may be missing, one too low, or that of
// an outer value. So this looks for the shortest beginning of the file, in whole lines, that fails in the same way:
// its last line is where a wrong value stands, or where an unfinished one begins.
func syntaxLine(text []byte, err error) int {
	lines := bytes.SplitAfter(text, []byte("\n"))
	ends := make([]int, len(lines))
	end := 0
	for i, line := range lines {
		end += len(line)
		ends[i] = end
	}

	i := sort.Search(len(lines)-1, func(i int) bool {
		_, _, got := documents(text[:ends[i]])
		return got != nil && got.Error() == err.Error()
	})
	return i + 1
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// hints say in the words of this package what the most frequent messages of yaml.v3 mean. They also replace messages
// that hold text of the file.
var hints = []struct{ message, hint string }{
	{"unknown anchor", "quote a value that begins with *"},
	{"did not find expected alphabetic or numeric character", "quote a value that begins with * or &"},
	{"found character that cannot start any token",
		"indent with spaces, not tabs; quote a value that begins with @, % or `"},
	{"mapping values are not allowed in this context", `quote a value that holds ": "`},
	{"did not find expected ',' or '}'", "close the {; inside it, quote a value that holds ${VAR}"},
	{"did not find expected ',' or ']'", "close the [; inside it, quote a value that holds ${VAR}"},
	{"found unexpected end of stream", "close the quotes"},
	{"could not find expected ':'", "write a key as \"key: value\""},
	{"did not find expected key", "indent the keys of one mapping alike, and write nothing behind a value in quotes"},
	{"did not find expected '-' indicator", "indent the items of one list alike"},
	{"did not find expected node content", "a value is missing, or a [ or { is not closed"},
}

func syntaxMessage(err error) string {
	msg := yamlPrefix.ReplaceAllString(err.Error(), "")
	for _, h := range hints {
		if strings.Contains(msg, h.message) {
			return "not YAML: " + h.hint
		}
	}
	return "not YAML: " + msg
}
