package cli

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNoTextFromOutsideBreaksATable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	long := strings.Repeat("长", 300)
	newScreen(&out).table("WAYBILL STATUS STATE DELIVERIES", [][]cell{
		{text("%s", "1"), text("%s", "signed"), state("open"), text("%s", "shop/orders delivered")},
		{column("2\x1b[31m\n", 0), text("%s", long), marked(long, bad), text("%s", strings.Repeat(long, 9))},
	})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 || strings.Contains(out.String(), "\x1b") {
		t.Fatalf("%d lines:\n%q", len(lines), out.String())
	}
	if n := utf8.RuneCountInString(lines[2]); n > 2+7+2*(maxCell+2)+maxLastCell {
		t.Errorf("a row has %d characters", n)
	}
	if at := utf8.RuneCountInString(lines[0][:strings.Index(lines[0], "STATE")]); at > 20+maxCell {
		t.Errorf("a column begins at %d", at)
	}
}
