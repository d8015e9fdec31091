package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// changes are the new lines of mutants, by the old one.
func changes(all []mutant) map[string][]string {
	out := make(map[string][]string)
	for _, m := range all {
		old := strings.TrimSpace(m.old)
		out[old] = append(out[old], strings.TrimSpace(m.new))
	}
	return out
}

func check(t *testing.T, got map[string][]string, want map[string][]string) {
	t.Helper()
	for old, news := range want {
		for _, n := range news {
			if !slices.Contains(got[old], n) {
				t.Errorf("%q is not changed to %q, only to %q", old, n, got[old])
			}
		}
		if len(news) == 0 && len(got[old]) > 0 {
			t.Errorf("%q is changed to %q", old, got[old])
		}
	}
}

func TestALineOfGoIsChangedInItsBehaviour(t *testing.T) {
	t.Parallel()
	all, err := goMutants("x.go", []byte(`package x

import "sync"

func f(a int, mu *sync.Mutex, log logger) (bool, error) {
	mu.Lock()
	defer mu.Unlock()
	if a < 10 && len(s) > 0 {
		count(a)
	}
	x := a * 2
	a++
	defer end()
	log.Info("text", a+1)
	for {
		break
	}
	return true, nil
}
`))
	if err != nil {
		t.Fatal(err)
	}
	check(t, changes(all), map[string][]string{
		`import "sync"`: nil, "mu.Lock()": nil, "defer mu.Unlock()": nil, `log.Info("text", a+1)`: nil,
		"if a < 10 && len(s) > 0 {": {
			"if a <= 10 && len(s) > 0 {", "if a >= 10 && len(s) > 0 {", "if a < 11 && len(s) > 0 {",
			"if a < 100 && len(s) > 0 {",
			"if a < 10 || len(s) > 0 {", "if a < 10 && len(s) > 1 {", "if !(a < 10 && len(s) > 0) {",
			"if (a < 10 && len(s) > 0) && false {",
		},
		"count(a)": {""}, "x := a * 2": {"x := a / 2", "x := a * 3"}, "a++": {"a--", ""}, "defer end()": {""}, "break": {""},
		"return true, nil": {"return false, nil"},
	})
}

func TestALineOfLuaIsChangedInItsBehaviour(t *testing.T) {
	t.Parallel()
	all := luaMutants("x.lua", `
-- a comment, of 1 < 2
if a <= 1 and not b then return 'x and 1' end
rcall('HSET', key, 'a', num(b)) -- this
local n = min(1, 2)
v.n = v.n + 1
return n == 0
`)
	check(t, changes(all), map[string][]string{
		"-- a comment, of 1 < 2": nil,
		"if a <= 1 and not b then return 'x and 1' end": {
			"if a < 1 and not b then return 'x and 1' end", "if a <= 2 and not b then return 'x and 1' end",
			"if a <= 1 or not b then return 'x and 1' end",
			"if a <= 1 and  b then return 'x and 1' end", "if not (a <= 1 and not b) then return 'x and 1' end",
		},
		"rcall('HSET', key, 'a', num(b)) -- this": {""}, "local n = min(1, 2)": {"local n = min(2, 2)"},
		"v.n = v.n + 1": {"", "v.n = v.n - 1"},
		"return n == 0": {"return n ~= 0", "return n == 1"},
	})
}

func TestAMutantIsMadeWhereItsLineIsNow(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("# a comment\n\nx.go:4\ta\tb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := readMutants(file)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if got, err := all[0].apply("a\n\n\n\n\n\ta\nc"); err != nil || got != "a\n\n\n\n\nb\nc" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := all[0].apply("c"); err == nil {
		t.Error("a line that is not there is changed")
	}
}

func TestAMutantIsNoticedByAFailureOrATimeoutAndTakenBack(t *testing.T) {
	t.Parallel()
	tr := trial{root: t.TempDir()}
	path := filepath.Join(tr.root, "x.go")
	if err := os.WriteFile(path, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		"grep a x.go || { echo ok; echo '--- FAIL: TestA (0s)'; false; }": "TestA", "true": "",
		"grep -q a x.go || sleep 100":                             "timeout",
		"grep a x.go || { echo 'FAIL x [build failed]'; false; }": "",
	} {
		tr.tests, tr.timeout = nil, 0
		if want == "timeout" {
			tr.timeout = time.Millisecond
		}
		if err := tr.unchanged(t.Context(), []string{command}); err != nil {
			t.Fatal(err)
		}
		if became, by, err := tr.try(t.Context(), mutant{"x.go", 1, "a", "c"}); (became == noticed) != (want != "") ||
			by != want || err != nil {
			t.Errorf("%s: %v, by %q, %v", command, became, by, err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "a\nb\n" {
		t.Errorf("the file is left as %q, %v", text, err)
	}
	if err := tr.unchanged(t.Context(), []string{"false"}); err == nil {
		t.Error("tests that fail on the unchanged code are taken")
	}
}

func TestWhatIsNoticedIsCountedByPackage(t *testing.T) {
	t.Parallel()
	text := summary([]result{{mutant{file: "a/x.go"}, true}, {mutant{file: "a/y.go"}, false},
		{mutant{file: "b/z.lua"}, true}})
	for _, want := range []string{"| a       | 2       | 1       | 1 ", "| b       | 1       | 1       | 0 ",
		"| all     | 3       | 2       | 1 "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
