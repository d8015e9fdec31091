package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// planted has each mistake once, and beside it what is no mistake.
const planted = `package planted

type five struct{ a, b, c, d, e int }

var (
	named = five{a: 1, b: 2, c: 3, d: 4, e: 5}
	bare  = five{1, 2, 3, 4, 5}
	list  = []five{{1, 2, 3, 4, 5}}
	ints  = []int{1, 2, 3, 4, 5, 6}
)

func folded(n int, f func() error) (err error) {
	if n++; n > 1 {
		return nil
	}
	if m := n; m > 1 {
		return nil
	}
	if err = f(); err != nil {
		return err
	}
	for more := true; more; {
		more = false
	}
	for i := 0; i < n; i++ {
		n--
	}
	return nil
}
`

func TestEachMistakeIsNamedWithItsPlace(t *testing.T) {
	t.Parallel()
	statements := strings.Repeat("\t_ = 0\n", 26)
	folder := t.TempDir()
	for name, text := range map[string]string{
		"a.go":      planted,
		"b.go":      "package planted\n\nfunc wall() {\n" + statements + "}\n",
		"c.go":      "package planted\n\nfunc steps() {\n\t// first\n" + statements + "\n\t_ = 1\n}\n",
		"b_test.go": "package planted\n\nfunc tested() {\n" + statements + "}\n",
		"wall.lua":  strings.Repeat("x = 1\n", 26),
		"wide.lua":  "-- " + strings.Repeat("快", 117) + "\n-- " + strings.Repeat("快", 118) + "\n",
		"paragraphs.lua": strings.Repeat("x = 1\n", 25) + "\n" + strings.Repeat("x = 1\n", 25) + "-- then\n" +
			strings.Repeat("x = 1\n", 25),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	r, err := read(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range r.broken {
		got = append(got, strings.TrimPrefix(line, folder+"/"))
	}
	want := []string{
		"a.go:13: an if that does something before its condition: put that before the if",
		"a.go:22: a for that begins with a statement and ends with none: put that before the for",
		"a.go:7: a literal of 5 fields without their names",
		"a.go:8: a literal of 5 fields without their names",
		"b.go:3: wall has 26 lines without a blank line",
		"wall.lua:26: more than 25 lines without a blank line or a comment",
		"wide.lua:2: more than 120 columns",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("found:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	counts := [...]int{r.functions, r.long, r.unbroken, r.uncommented, r.folded, r.positional, r.largest}
	if counts != [...]int{3, 2, 1, 1, 2, 2, 33} {
		t.Errorf("functions, long, unbroken, uncommented, folded, positional, largest: %v", counts)
	}
}
