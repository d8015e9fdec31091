package cli

import (
	"os"
	"strings"
	"unicode"
)

// printable makes a text from outside safe for a terminal: control characters become dots, and an empty text a dash.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

// oneLine returns the beginning of a text, on one line.
func oneLine(text []byte) string {
	const most = 120
	return cut(strings.Join(strings.FieldsFunc(strings.ToValidUTF8(string(text), "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " "), most)
}

// self returns how this program was called, for commands that people paste.
func self() string {
	if path, err := os.Executable(); err == nil && strings.Contains(path, "go-build") {
		return "go run ."
	}
	return "kuairelay"
}
