package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzLoad(f *testing.F) {
	fixtures, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, file := range append(fixtures, "testdata/full.yaml", example) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add([]byte(strings.ReplaceAll(string(text), goodSecret, "\"x${TOKEN}\"")))
	}
	const secret = "Never/Shown"
	options := Options{CheckWhen: rejectBad, LookupEnv: func(name string) (string, bool) {
		return secret, name != "UNSET"
	}}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := load("fuzz.yaml", text, options)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if err == nil {
			return
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("an expanded value is in the error:\n%v", err)
		}
		lines := strings.Count(string(text), "\n") + 1
		last := 0
		for _, m := range err.(Mistakes) {
			if strings.ContainsAny(m.Msg, "\n\r") {
				t.Errorf("more than one line: %q", m.Msg)
			}
			if m.Pos.Line < last || m.Pos.Line > lines && !strings.ContainsAny(string(text), "\r\u0085\u2028\u2029") {
				t.Errorf("line %d after %d of %d: %s", m.Pos.Line, last, lines, m.Msg)
			}
			last = m.Pos.Line
		}
	})
}

// FuzzSecretsStayOutOfErrors puts a secret as it is in every place where one may stand, and where a slip may put it.
func FuzzSecretsStayOutOfErrors(f *testing.F) {
	for _, s := range []string{"", "whsec_x", "a/b", "redis://:p@h:x/", "${X", "$x", "file:x", "*a", "!a", "&a b", ": x",
		"]", "\"", "'", "\n", "\t", "%"} {
		f.Add(s)
	}
	const mark = "S3cr3t"
	f.Fuzz(func(t *testing.T, s string) {
		for _, quoted := range []string{mark + s, s + mark, fmt.Sprintf("%q", mark+s),
			"'" + strings.ReplaceAll(mark+s, "'", "''") + "'"} {
			text := fmt.Sprintf(`
redis: {url: %[1]s}
callback: {tokens: [%[1]s, {a: b}, "x%[1]s"]}
tenants:
  - name: a
    endpoints:
      - {name: a, url: "http://h/#", secrets: [%[1]s]}
      - name: b
        url: %[1]s
        secrets: %[1]s
`, quoted)
			_, err := load("fuzz.yaml", []byte(text), Options{LookupEnv: env()})
			if err == nil {
				t.Fatal("no mistake found")
			}
			// A key, the path of a file and the name of a variable have to be named.
			for _, line := range strings.Split(err.Error(), "\n") {
				named := strings.Contains(line, "key ") || strings.Contains(line, "cannot read") ||
					strings.Contains(line, "variable ")
				if strings.Contains(line, mark) && !named {
					t.Errorf("%s\nin\n%s", line, text)
				}
			}
		}
	})
}

func BenchmarkLoadOf10000Tenants(b *testing.B) {
	var text strings.Builder
	text.WriteString(head + "tenants:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - name: t%d\n    endpoints:\n"+
			"      - {name: a, url: 'http://h.example', secrets: [%s]}\n    routes:\n",
			i, goodSecret)
		for j := range 10 {
			fmt.Fprintf(&text, "      - {to: a, match: {cp_code: [zt, sto], status: s%d}}\n", j)
		}
	}
	for b.Loop() {
		if _, err := load("bench.yaml", []byte(text.String()), Options{LookupEnv: env()}); err != nil {
			b.Fatal(err)
		}
	}
}
