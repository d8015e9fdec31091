package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

const (
	// maxCell and maxLastCell bound the characters of a table's cell, and of one in its last column, because texts
	// from outside may have any length. An id fits.
	maxCell     = 72
	maxLastCell = 500
)

// bounded cuts the cells of a row that are too long, and returns the row.
func bounded(row []cell) []cell {
	for i := range row {
		most := maxCell
		if i == len(row)-1 {
			most = maxLastCell
		}
		row[i].text = cut(printable(row[i].text), most)
	}
	return row
}

// table writes rows under a head, each column as wide as its widest cell. The head names the columns, with _ for a
// space.
func (s *screen) table(head string, rows [][]cell) {
	for _, row := range rows {
		bounded(row)
	}

	var top []cell
	for _, title := range strings.Fields(head) {
		top = append(top, label(strings.ReplaceAll(title, "_", " "), 0))
	}

	all := append([][]cell{top}, rows...)

	// A column is as wide as its widest cell.
	for i := range top {
		width := 0

		for _, row := range all {
			width = max(width, utf8.RuneCountInString(row[i].text))
		}
		for _, row := range all {
			row[i].width = width
		}
	}
	for _, row := range all {
		s.row(row...)
	}
}

// writeList writes a list as JSON or as a table; row makes the cells of an item.
func writeList[T any](w io.Writer, asJSON bool, all []T, head string, row func(T) []cell) error {
	if asJSON {
		return writeJSON(w, all, "  ")
	}

	var rows [][]cell
	for _, x := range all {
		rows = append(rows, row(x))
	}
	newScreen(w).table(head, rows)
	return nil
}

// text is a cell of a formatted text, without a mark.
func text(format string, args ...any) cell {
	return column(printable(fmt.Sprintf(format, args...)), 0)
}

// stateMarks are the marks of states; all others are plain.
var stateMarks = map[string]mark{
	string(event.StateDelivered):  good,
	string(event.StateDead):       bad,
	string(event.StateDismissed):  faint,
	string(event.ReplayDone):      good,
	string(event.ReplayCancelled): faint,
	string(ledger.Live):           good,
	string(ledger.Failed):         bad,
	string(queue.ParkedGone):      bad,
	string(api.EndpointOK):        good,
	string(api.EndpointFailing):   bad,
	string(api.EndpointIdle):      faint,
	api.StateUnrouted:             faint,
}

func state[S ~string](s S) cell { return marked(printable(string(s)), stateMarks[string(s)]) }

// clock returns a time in this machine's zone, with the date if it is not today.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}

	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04:05")
	}
	return t.Format("01-02 15:04:05")
}

// span returns a duration in its two largest units.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// age returns how long ago t was.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t))
}
