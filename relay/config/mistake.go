package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Position is a line of a config file. Lines count from 1.
type Position struct {
	File string
	Line int
}

// String is "file:line".
func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Mistake says what is wrong at a position, without any secret or expanded value.
type Mistake struct {
	Pos Position
	Msg string
	// Others says that Msg names what stands in another file, or another tenant: it is not for the tenant whose file it
	// is about.
	Others bool
}

// ofOther is the name of another tenant, in a message.
type ofOther string

// newMistake makes one of a format and its arguments.
func newMistake(pos Position, format string, args ...any) Mistake {
	m := Mistake{Pos: pos, Msg: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		switch arg := arg.(type) {
		case Position:
			m.Others = m.Others || arg.File != pos.File
		case ofOther:
			m.Others = true
		}
	}
	return m
}

// String is "file:line: what is wrong".
func (m Mistake) String() string { return m.Pos.String() + ": " + m.Msg }

// Mistakes are all that is wrong with a config, in file order.
type Mistakes []Mistake

// Error has one line for each mistake: "file:line: what is wrong".
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, mistake := range m {
		lines[i] = mistake.String()
	}
	return strings.Join(lines, "\n")
}

// found is a mistake with its place in the line.
type found struct {
	Mistake
	column int
}

// rankOf is the place of each file in a list.
func rankOf(files []string) map[string]int {
	rank := make(map[string]int, len(files))
	for i, file := range files {
		rank[file] = i
	}
	return rank
}

// comparePlaces compares two places by file and line.
func comparePlaces(rank map[string]int, a, b Position) int {
	return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.Line, b.Line))
}

// inOrderOf sorts mistakes by file, in the order of files, and by their place in it.
func inOrderOf(files []string, all []found) []Mistake {
	rank := rankOf(files)
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(comparePlaces(rank, a.Pos, b.Pos), cmp.Compare(a.column, b.column))
	})

	var out []Mistake
	for _, f := range all {
		out = append(out, f.Mistake)
	}
	return out
}

// quote returns a key or name as it is written in the file, on one line, cut to 60 bytes.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		cut := most
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strconv.Quote(s)
}

// didYouMean returns `; did you mean "…"?` with the candidate that s may be a misspelling of; empty: there is none.
func didYouMean(s string, candidates []string) string {
	if len(s) > 64 {
		return ""
	}

	best := ""
	least := min(3, (len(s)+2)/3) + 1 // about one slip in three letters
	for _, c := range candidates {
		if d := distance(s, c); d < least {
			best = c
			least = d
		}
	}

	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance counts the letters to insert, drop, replace or swap with a neighbour to make b of a (optimal string
// alignment).
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}

	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
