package console

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a page shows of a body; all of it is in the API.
const (
	maxShown = 256 << 10 // bytes
	maxDepth = 100
	maxNodes = 2000
)

// visible is a text of somebody else with everything made visible that would hide or turn what is around it: control
// characters, marks of the direction of writing, and what has no width.
func visible(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&out, "⟪U+%04X⟫", r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// hidden says whether a character cannot be seen, or changes how others are.
func hidden(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
		return true
	}
	return unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cs, r)
}

// payload is a body as a page shows it.
type payload struct {
	Text  string // made visible, indented if it is JSON
	Bytes string // its size
	Cut   bool   // it is shown in part
}

// newPayload shows a body. JSON is indented from its bytes, so that numbers stay as they came.
func newPayload(raw []byte) payload {
	p := payload{Bytes: size(len(raw))}
	if len(raw) <= maxShown && json.Valid(raw) {
		if pretty, ok := indent(raw); ok {
			p.Text = visible(pretty)
			return p
		}
	}
	return rawPayload(raw)
}

// rawPayload shows a body as it is.
func rawPayload(raw []byte) payload {
	p := payload{Bytes: size(len(raw))}
	if len(raw) > maxShown {
		end := maxShown
		for end > maxShown-utf8.UTFMax && !utf8.RuneStart(raw[end]) { // no half of a character
			end--
		}
		raw = raw[:end]
		p.Cut = true
	}
	p.Text = visible(string(raw))
	return p
}

// indent writes valid JSON with a value in each line; ok is false if it is too deep or has too many values. What it
// writes of a value is as it came.
func indent(raw []byte) (out string, ok bool) {
	var b strings.Builder
	depth, nodes := 0, 0
	line := func() {
		b.WriteByte('\n')
		b.WriteString(strings.Repeat("  ", depth))
	}
	for i := 0; i < len(raw); i++ {
		if depth > maxDepth || nodes > maxNodes {
			return "", false
		}

		switch c := raw[i]; c {
		case ' ', '\t', '\n', '\r':
		case '{', '[':
			depth++
			nodes++
			b.WriteByte(c)
			if next := nextByte(raw, i+1); next == '}' || next == ']' {
				continue
			}
			line()
		case '}', ']':
			depth--
			if last := lastByte(raw, i-1); last != '{' && last != '[' {
				line()
			}
			b.WriteByte(c)
		case ',':
			nodes++
			b.WriteByte(c)
			line()
		case ':':
			b.WriteString(": ")
		case '"':
			end := i + 1
			for raw[end] != '"' {
				if raw[end] == '\\' {
					end++
				}
				end++
			}
			b.Write(raw[i : end+1])
			i = end
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

func nextByte(raw []byte, i int) byte {
	for ; i < len(raw); i++ {
		if !strings.ContainsRune(" \t\r\n", rune(raw[i])) {
			return raw[i]
		}
	}
	return 0
}

func lastByte(raw []byte, i int) byte {
	for ; i >= 0; i-- {
		if !strings.ContainsRune(" \t\r\n", rune(raw[i])) {
			return raw[i]
		}
	}
	return 0
}

// size is a number of bytes in words.
func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1000/1000)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1000/1000/1000)
}
