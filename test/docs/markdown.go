package main

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// text is a Markdown page as a reader sees it.
type text struct {
	headings []heading
	links    []link
	spans    []span // of code
	blocks   []string
	prose    string // without blocks, which leave empty lines
}

type heading struct {
	level  int
	anchor string // as GitHub makes it
}

// link is the target of a link or an image.
type link struct {
	line   int
	target string
}

// span is code in the text.
type span struct {
	line int
	code string
}

var (
	headingLine = regexp.MustCompile(`^(#{1,6}) +(.*?)( +#+)?$`)
	codeSpan    = regexp.MustCompile("`[^`]+`")
	linkText    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	linkTarget  = regexp.MustCompile(`\]\(<?([^)\s>]+)[^)]*\)|(?m:^ *\[[^\]]+\]: +(\S+))|(?:href|src)="([^"]+)"`)
	ownAnchor   = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	tag         = regexp.MustCompile(`</?[a-z][^>]*>`)
)

// readMarkdown finds what the checks look at. Blocks are told by their info strings.
func readMarkdown(page string) text {
	var t text
	var prose []string
	fenceNow := ""
	for line := range strings.SplitSeq(page, "\n") {
		open := fence.FindStringSubmatch(line)
		switch {
		case fenceNow == "" && open != nil:
			fenceNow = open[1] + open[2]
			t.blocks = append(t.blocks, open[3])
			line = ""
		case fenceNow != "":
			if strings.TrimRight(line, " ") == fenceNow {
				fenceNow = ""
			}
			line = ""
		}
		prose = append(prose, line)
	}
	t.prose = strings.Join(prose, "\n")

	anchors := map[string]int{}
	for _, line := range prose {
		if m := headingLine.FindStringSubmatch(line); m != nil {
			t.headings = append(t.headings, heading{len(m[1]), unique(anchors, slug(m[2]))})
		}
	}
	for _, m := range ownAnchor.FindAllStringSubmatch(t.prose, -1) {
		t.headings = append(t.headings, heading{0, m[1]})
	}

	lineOf := func(at int) int { return 1 + strings.Count(t.prose[:at], "\n") }
	blank := func(code string) string {
		return strings.Map(func(r rune) rune {
			if r == '\n' {
				return r
			}
			return ' '
		}, code)
	}
	for _, at := range codeSpan.FindAllStringIndex(t.prose, -1) {
		code := t.prose[at[0]+1 : at[1]-1]
		if !strings.Contains(code, "\n\n") {
			t.spans = append(t.spans, span{lineOf(at[0]), strings.Join(strings.Fields(code), " ")})
		}
	}
	plain := codeSpan.ReplaceAllStringFunc(t.prose, blank)
	for _, m := range linkTarget.FindAllStringSubmatchIndex(plain, -1) {
		for group := 2; group < len(m); group += 2 {
			if m[group] >= 0 {
				t.links = append(t.links, link{1 + strings.Count(plain[:m[0]], "\n"), plain[m[group]:m[group+1]]})
			}
		}
	}
	return t
}

// slug is GitHub's anchor of a heading: in lower case, without what is neither letter, mark, number, _ nor -, and with
// - for each space.
func slug(heading string) string {
	heading = linkText.ReplaceAllString(heading, "$1")
	heading = tag.ReplaceAllString(heading, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsMark(r), unicode.IsNumber(r), r == '-', unicode.Is(unicode.Pc, r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// unique appends -1, -2 and so on to an anchor that the page has already.
func unique(seen map[string]int, anchor string) string {
	n, known := seen[anchor]
	seen[anchor] = n + 1
	if !known {
		return anchor
	}
	return unique(seen, anchor+"-"+strconv.Itoa(n))
}
