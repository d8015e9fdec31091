package cli

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen writes text for people. On a terminal it cuts rows at the terminal's width, and shows marks as colours.
type screen struct {
	w        io.Writer
	terminal bool
	colours  bool
	// columns returns the width of the terminal. It is asked for each row, because windows change their size. Nil:
	// rows are not cut.
	columns func() int
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, terminal: isTerminal(w)}
	if s.terminal {
		s.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		s.columns = func() int {
			width, _, _ := term.GetSize(int(w.(*os.File).Fd())) // 0 if it does not say
			return width
		}
	}
	return s
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// cell is a text in a column of at least this width. Each character of the text has to take one column.
type cell struct {
	text  string
	width int
	mark  mark
}

// column is a text in a column, label is one that names what stands beside or below it, and marked is a text with a
// mark.
func column(text string, width int) cell { return cell{text: text, width: width} }
func label(text string, width int) cell  { return cell{text: text, width: width, mark: faint} }
func marked(text string, m mark) cell    { return cell{text: text, mark: m} }

type mark int

const (
	plain mark = iota
	good
	bad
	faint
)

var marks = map[mark]string{good: "\x1b[32m", bad: "\x1b[31m", faint: "\x1b[2m"}

// row writes cells beside each other as one line, in one write.
func (s *screen) row(cells ...cell) {
	left := 0
	if s.columns != nil {
		left = s.columns()
	}
	if left <= 0 {
		left = math.MaxInt
	}

	var b strings.Builder
	for i, c := range cells {
		text := c.text + strings.Repeat(" ", max(0, c.width-utf8.RuneCountInString(c.text)))
		if i > 0 {
			text = "  " + text
		}

		if left == 0 {
			break
		}

		// The cell that does not fit is cut, and those behind it are left out.
		if utf8.RuneCountInString(text) > left {
			text = cut(strings.TrimRight(text, " "), left)
			left = 0
		} else {
			left -= utf8.RuneCountInString(text)
		}

		// Colours come last: their bytes take no columns.
		if colour := marks[c.mark]; colour != "" && s.colours {
			text = colour + text + "\x1b[0m"
		}
		b.WriteString(text)
	}

	_, _ = io.WriteString(s.w, strings.TrimRight(b.String(), " ")+"\n")
}

// cut shortens text to at most most characters.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// writeJSON writes v as JSON: on one line if indent is empty, otherwise on several.
func writeJSON(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	return e.Encode(v)
}
