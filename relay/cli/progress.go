package cli

import (
	"fmt"
	"io"
)

// progress shows on one line of a terminal how far long work has come. Elsewhere it shows nothing.
type progress struct {
	out   *screen
	shown bool
}

func newProgress(w io.Writer) *progress { return &progress{out: newScreen(w)} }

func (p *progress) show(format string, args ...any) {
	if !p.out.terminal {
		return
	}
	line := fmt.Sprintf(format, args...)
	if p.out.columns != nil && p.out.columns() > 0 {
		line = cut(line, p.out.columns())
	}
	fmt.Fprintf(p.out.w, "\r\x1b[K%s", line)
	p.shown = true
}

// end removes the line.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.out.w, "\r\x1b[K")
		p.shown = false
	}
}
