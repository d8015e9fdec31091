package console

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The API gives its reasons in English: why a delivery was given up, what a problem is and what to do, why a route does
// not match. Pages in Chinese show them by a table of patterns (see reasons_*.go). In both languages the times in them
// are shown in the reader's zone.

// said is a reason as a page shows it.
type said []saidPart

// saidPart is a part of a reason: words, or a time.
type saidPart struct {
	Text string
	Kind saidKind
	At   moment
}

// saidKind says whose words they are.
type saidKind string

const (
	saidOwn     saidKind = ""     // in the reader's language
	saidEnglish saidKind = "en"   // there is no translation
	saidName    saidKind = "name" // of somebody else: names, answers, values
	saidTime    saidKind = "time"
)

// String is the reason where there is only room for text.
func (s said) String() string {
	var b strings.Builder
	for _, p := range s {
		b.WriteString(p.Text)
	}
	return b.String()
}

// pattern is a reason with places: %s for a text, %d for a number.
type pattern struct {
	between []string // what stands before, between and after the places
	numbers []bool   // whether a place is a number
	zh      []string // the same in Chinese, with places in between
	order   []int    // which place of the reason that is
}

// placeOf finds the places of a pattern; in Chinese they may have another order: %[2]s.
var placeOf = regexp.MustCompile(`%(?:\[(\d)\])?([sd])`)

// newPattern reads a pattern.
func newPattern(t text) pattern {
	p := pattern{between: placeOf.Split(t.en, -1), zh: placeOf.Split(t.zh, -1)}
	for _, m := range placeOf.FindAllStringSubmatch(t.en, -1) {
		p.numbers = append(p.numbers, m[2] == "d")
	}
	for i, m := range placeOf.FindAllStringSubmatch(t.zh, -1) {
		at := i
		if m[1] != "" {
			n, _ := strconv.Atoi(m[1]) // it is a digit
			at = n - 1
		}
		p.order = append(p.order, at)
	}
	return p
}

// literal is how many bytes of a reason the pattern knows.
func (p pattern) literal() int { return len(strings.Join(p.between, "")) }

// several parts of a reason, each of which says something of its own, are joined by this.
const several = "; "

// match gives what stands at the places of a reason. one says that the reason is to be one part: then only what stands
// at its end, behind a colon, may be several.
func (p pattern) match(reason string, one bool) (places []string, ok bool) {
	rest, ok := strings.CutPrefix(reason, p.between[0])
	if !ok {
		return nil, false
	}
	for i, after := range p.between[1:] {
		end := strings.Index(rest, after)
		if i == len(p.numbers)-1 { // the last place goes to the end
			end = len(rest) - len(after)
			if !strings.HasSuffix(rest, after) {
				end = -1
			}
		}
		if end < 1 || p.numbers[i] && !isNumber(rest[:end]) {
			return nil, false
		}
		toTheEnd := after == "" && strings.HasSuffix(p.between[i], ": ")
		if one && !toTheEnd && strings.Contains(rest[:end], several) {
			return nil, false
		}
		places = append(places, rest[:end])
		rest = rest[end+len(after):]
	}
	return places, rest == ""
}

func isNumber(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsDigit(r) })
}

// patterns are all of them: those that know the most of a reason come first.
var patterns = func() (all []pattern) {
	for _, list := range allReasons {
		for _, t := range list {
			all = append(all, newPattern(t))
		}
	}
	for _, s := range words() {
		all = append(all, newPattern(text{s, s + " " + texts["status."+s].zh}))
	}
	slices.SortStableFunc(all, func(a, b pattern) int { return b.literal() - a.literal() })
	return all
}()

// mostReason bounds a reason that is translated, in bytes. A longer one holds somebody's answer, or is none.
const mostReason = 4 << 10

// say shows a reason of the API.
func (v *visit) say(reason string) said {
	if reason == "" {
		return nil
	}
	if v.look.language == chinese && len(reason) <= mostReason {
		return v.chinese(reason, 0)
	}
	kind := saidOwn
	if v.look.language == chinese {
		kind = saidEnglish
	}
	return v.timed(reason, kind)
}

// chinese translates a reason, and what stands at its places.
func (v *visit) chinese(reason string, depth int) said {
	const deepest = 5
	if depth > deepest {
		return said{{Text: visible(reason), Kind: saidName}}
	}
	if out := v.parts(reason, "\n", depth); out != nil {
		return out
	}
	if out := v.byPattern(reason, true, depth); out != nil {
		return out
	}
	if out := v.parts(reason, several, depth); out != nil {
		return out
	}
	if out := v.byPattern(reason, false, depth); out != nil {
		return out
	}
	switch {
	case depth > 0:
		return v.timed(reason, saidName)
	case strings.ContainsFunc(reason, func(r rune) bool { return unicode.Is(unicode.Han, r) }): // kuaidihelp's own words
		return v.timed(reason, saidOwn)
	}
	return v.timed(reason, saidEnglish)
}

// byPattern translates a reason by the first pattern that knows it; nil: none does. An answer may have anything in it,
// and a reason with one is tried as several parts before it is taken for one.
func (v *visit) byPattern(reason string, one bool, depth int) said {
	for _, p := range patterns {
		places, ok := p.match(reason, one)
		if !ok {
			continue
		}
		out := own(p.zh[0])
		for i, at := range p.order {
			out = append(out, v.chinese(places[at], depth+1)...)
			out = append(out, own(p.zh[i+1])...)
		}
		return out
	}
	return nil
}

// mostParts bounds the parts of a reason that are translated.
const mostParts = 20

// parts translates a reason of several, if that is possible with the first of them.
func (v *visit) parts(reason, by string, depth int) (out said) {
	rest := reason
	more := strings.Contains(reason, by)
	if !more {
		return nil
	}

	for n := 0; more && n < mostParts; n++ {
		var part string
		part, rest, more = strings.Cut(rest, by)
		one := v.chinese(part, depth+1)
		if n == 0 && !slices.ContainsFunc(one, func(p saidPart) bool { return p.Kind == saidOwn }) {
			return nil
		}
		out = append(append(out, one...), own("；")...)
		if whole := v.byPattern(rest, true, depth+1); whole != nil {
			return append(out, whole...)
		}
	}
	if more {
		return append(out, v.timed(rest, saidName)...)
	}
	return append(out, v.chinese(rest, depth+1)...)
}

// placeIn is where a mistake of the config is: its file and line, and its key.
var placeIn = regexp.MustCompile(`^(?:[^:]+:\d+: )?(?:[^\s:"]+: )?`)

// sayMistakes shows mistakes of the config, one in a line.
func (v *visit) sayMistakes(text string) (out said) {
	if v.look.language != chinese {
		return v.say(text)
	}
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			out = append(out, own("；")...)
		}
		place := placeIn.FindString(line)
		if place != "" {
			out = append(out, saidPart{Text: visible(strings.TrimSuffix(place, ": ")), Kind: saidName}, saidPart{Text: "："})
		}
		out = append(out, v.say(line[len(place):])...)
	}
	return out
}

// own are words of the pages.
func own(words string) said {
	if words == "" {
		return nil
	}
	return said{{Text: words}}
}

var timesIn = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)

// timed shows a text with the times in it.
func (v *visit) timed(words string, kind saidKind) (out said) {
	at := 0
	add := func(words string) {
		if words != "" {
			out = append(out, saidPart{Text: visible(words), Kind: kind})
		}
	}
	for _, m := range timesIn.FindAllStringIndex(words, -1) {
		when, err := time.Parse(time.RFC3339Nano, words[m[0]:m[1]])
		if err != nil {
			continue
		}
		add(words[at:m[0]])
		at = m[1]
		out = append(out, saidPart{Kind: saidTime, At: v.moment(when), Text: v.moment(when).Text})
	}
	add(words[at:])
	return out
}

// Say gives a text of the API, or the name or subject of a problem, in a language, for messages to people. The name of
// a problem is asked for by its code. Times in a text stay as they are.
func Say(to, words string) string {
	v := &visit{look: &look{language: language(to)}, zone: time.UTC}
	for _, kind := range []string{"problem.", "subject."} {
		if v.look.language.has(kind + words) {
			return v.t(kind + words)
		}
	}
	var b strings.Builder
	for _, p := range v.say(words) {
		if p.Kind == saidTime {
			b.WriteString(p.At.ISO)
		} else {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}
