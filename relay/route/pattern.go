package route

import (
	"slices"
	"strings"
)

// patterns is one list of a match: values and globs, of which any may match. It is compiled so that a list of thousands
// is searched, not scanned.
type patterns struct {
	whole  []string // sorted: values without a glob
	prefix []string // sorted, none a prefix of another: globs like "77*"
	globs  []string // every other glob
}

// newPatterns sorts texts by how they are matched, and drops those that a shorter prefix covers.
func newPatterns(texts []string) *patterns {
	p := new(patterns)
	for _, text := range texts {
		head, rest, glob := strings.Cut(text, "*")
		switch {
		case !glob:
			p.whole = append(p.whole, text)
		case strings.Trim(rest, "*") == "":
			p.prefix = append(p.prefix, head)
		default:
			p.globs = append(p.globs, text)
		}
	}
	p.prefix = shortest(p.prefix)
	slices.Sort(p.whole)
	p.whole = slices.Compact(slices.DeleteFunc(p.whole, p.matchPrefix))
	slices.Sort(p.globs)
	p.globs = slices.Compact(p.globs)
	return p
}

// shortest sorts prefixes, and drops those that begin with another.
func shortest(prefixes []string) []string {
	slices.Sort(prefixes)
	kept := prefixes[:0]
	for _, prefix := range prefixes {
		if len(kept) == 0 || !strings.HasPrefix(prefix, kept[len(kept)-1]) {
			kept = append(kept, prefix)
		}
	}
	return kept
}

// match says whether any pattern holds for value. The empty value is that of an absent field, which nothing matches.
func (p *patterns) match(value string) bool {
	if value == "" {
		return false
	}
	if _, found := slices.BinarySearch(p.whole, value); found || p.matchPrefix(value) {
		return true
	}
	return slices.ContainsFunc(p.globs, func(glob string) bool { return matchGlob(glob, value) })
}

// matchPrefix needs to look at one prefix only: the greatest that does not sort after value. Whatever sorts between
// value and a prefix of it begins with that prefix too, and no two of the list begin alike.
func (p *patterns) matchPrefix(value string) bool {
	i, _ := slices.BinarySearchFunc(p.prefix, value, func(prefix, value string) int {
		if prefix <= value {
			return -1
		}
		return 1
	})
	return i > 0 && strings.HasPrefix(value, p.prefix[i-1])
}

// exact says whether the list holds values only, and no glob.
func (p *patterns) exact() bool { return len(p.prefix) == 0 && len(p.globs) == 0 }

// heads returns the beginnings that a value must have that is none of p.whole, or false if a pattern leaves that open,
// like "*9".
func (p *patterns) heads() ([]string, bool) {
	heads := slices.Clone(p.prefix)
	for _, glob := range p.globs {
		head, _, _ := strings.Cut(glob, "*")
		heads = append(heads, head)
	}
	heads = shortest(heads)
	return heads, !slices.Contains(heads, "")
}

// matchGlob says whether glob holds for the whole of value: "*" stands for any run of characters, also for none, and
// nothing else is special. It takes time linear in value for each "*".
func matchGlob(glob, value string) bool {
	part, rest, more := strings.Cut(glob, "*")
	if !more {
		return value == glob
	}
	value, found := strings.CutPrefix(value, part)
	for found {
		part, rest, more = strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(value, part)
		}
		_, value, found = strings.Cut(value, part)
	}
	return false
}
