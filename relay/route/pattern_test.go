package route

import (
	"strings"
	"sync"
	"testing"
)

func TestGlobMatchesAnyRunOfCharacters(t *testing.T) {
	t.Parallel()
	cases := []struct {
		glob, value string
		want        bool
	}{
		{"77", "77", true},
		{"77", "777", false},
		{"77*", "77", true},
		{"77*", "7712", true},
		{"77*", "87", false},
		{"*9", "9", true},
		{"*9", "129", true},
		{"*9", "91", false},
		{"*", "", true},
		{"*", "x", true},
		{"**", "x", true},
		{"7*9", "79", true},
		{"7*9", "7", false},
		{"7*7", "7", false},
		{"7*1*9", "71919", true},
		{"7*1*9", "7919", true},
		{"7*1*9", "719", true},
		{"7*1*9", "791", false},
		{"*ab*ab*", "abab", true},
		{"*ab*ab*", "aba", false},
		{"a*b*c", "a*b*c", true},
		{"快*件", "快递邮件", true},
		{"7?", "77", false},
		{"[7]*", "77", false},
		{"", "", true},
		{"", "x", false},
	}
	for _, c := range cases {
		if got := matchGlob(c.glob, c.value); got != c.want {
			t.Errorf("%q on %q: got %v", c.glob, c.value, got)
		}
	}
}

func TestAListMatchesIfAnyPatternDoesButNeverTheAbsentValue(t *testing.T) {
	t.Parallel()
	p := newPatterns([]string{"77*", "7", "778*", "900", "900", "a*z", "a*", "*q*"})
	for value, want := range map[string]bool{
		"77": true, "7789": true, "7": true, "76": false, "900": true, "9000": false, "abz": true, "a": true, "xqx": true,
		"": false,
	} {
		if got := p.match(value); got != want {
			t.Errorf("%q: got %v", value, got)
		}
	}
	if got := strings.Join(p.prefix, " "); got != "77 a" {
		t.Errorf("prefixes: %s", got)
	}
	if newPatterns([]string{"*"}).match("") {
		t.Error("* matches an absent field")
	}
}

// FuzzGlob compares matchGlob, and the list made of the glob and its parts, with regular expressions.
func FuzzGlob(f *testing.F) {
	f.Add("77*", "7712")
	f.Add("*ab*ab*c", "xababxabc")
	f.Add("**", "")
	f.Add("a*\xff", "a\n\xff")
	f.Fuzz(func(t *testing.T, glob, value string) {
		if len(glob) > 100 {
			return
		}
		// A regular expression reads bytes that are no UTF-8 as U+FFFD, so the oracle gets bytes as letters.
		want := naiveGlob(widen(glob), widen(value), new(sync.Map))
		if got := matchGlob(glob, value); got != want {
			t.Fatalf("%q on %q: got %v, want %v", glob, value, got, want)
		}
		list := append(strings.Split(glob, "*"), glob, "a*", "ab*", "b")
		want = false
		for _, pattern := range list {
			want = want || value != "" && matchGlob(pattern, value)
		}
		if got := newPatterns(list).match(value); got != want {
			t.Fatalf("%q on %q: got %v, want %v", list, value, got, want)
		}
	})
}

// widen makes a letter of every byte.
func widen(text string) string {
	var wide strings.Builder
	for i := range len(text) {
		wide.WriteRune(rune(text[i]))
	}
	return wide.String()
}
