// Package report has what the benchmark and the faults program write alike: Markdown tables, and where the figures were
// taken.
package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Table is one in Markdown, with columns wide enough to be read as text.
type Table struct {
	// Head are the headings of the columns.
	Head []string
	// Rows are what Add has added.
	Rows [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

func (t *Table) String() string {
	width := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(" ", width[i]-len([]rune(cell))+1))
		}
		b.WriteString("|\n")
	}
	line(t.Head)
	for i := range t.Head {
		b.WriteString("|" + strings.Repeat("-", width[i]+2))
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// Count shows a number without decimals, in groups of three digits.
func Count(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Machine is where and when figures were taken.
type Machine struct {
	command, cpu, redis string
	load                string // averages over 1, 5 and 15 minutes, before it began
	began               time.Time
}

// ThisMachine looks around before a program begins to measure; command is how it was called.
func ThisMachine(ctx context.Context, command string, args []string) (Machine, error) {
	m := Machine{command: strings.Join(append([]string{command}, args...), " "), cpu: "unknown", load: "unknown",
		began: time.Now()}
	load, _ := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(load)); len(fields) > 3 {
		m.load = strings.Join(fields[:3], ", ")
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.cpu = strings.TrimSpace(value)
		}
	}
	version, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return m, fmt.Errorf("ask redis-server for its version: %w", err)
	}
	for field := range strings.FieldsSeq(string(version)) {
		if v, ok := strings.CutPrefix(field, "v="); ok {
			m.redis = v
		}
	}
	return m, nil
}

// String says where, when, by which command and in which time the figures were taken.
func (m Machine) String() string {
	return fmt.Sprintf("Written by `%s` on %s: %d cores (%s), %s, Redis %s, %s.\nLoad averages before it began: %s.\n",
		m.command, m.began.Format(time.DateOnly), runtime.NumCPU(), m.cpu, runtime.Version(), m.redis,
		time.Since(m.began).Round(time.Second), m.load)
}
