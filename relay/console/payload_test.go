package console

import (
	"strings"
	"testing"
)

func TestWhatOthersWriteIsMadeVisible(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"已签收 signed":      "已签收 signed",
		"a\u202eb":        "a⟪U+202E⟫b",
		"a\x00b\x1b[31m":  "a⟪U+0000⟫b⟪U+001B⟫[31m",
		"a\u200bb\u2066c": "a⟪U+200B⟫b⟪U+2066⟫c",
		"\xff\xfe":        "\uFFFD",
		"line\nline\ttab": "line\nline\ttab",
		"a\u2028b":        "a⟪U+2028⟫b",
	} {
		if got := visible(given); got != want {
			t.Errorf("%q is shown as %q", given, got)
		}
	}
}

func TestJSONIsShownFromItsBytes(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		`{"b":9007199254740993,"a":1e400,"a":-0}`: "{\n  \"b\": 9007199254740993,\n  \"a\": 1e400,\n  \"a\": -0\n}",
		`[]`:                  `[]`,
		`{"x":{},"y":[ ]}`:    "{\n  \"x\": {},\n  \"y\": []\n}",
		`{"x":"{,\"}:["}`:     "{\n  \"x\": \"{,\\\"}:[\"\n}",
		`[1,[2]]`:             "[\n  1,\n  [\n    2\n  ]\n]",
		`not JSON {`:          `not JSON {`,
		`"` + "a\u202e" + `"`: `"a⟪U+202E⟫"`,
		strings.Repeat("[", 101) + strings.Repeat("]", 101): strings.Repeat("[", 101) + strings.Repeat("]", 101),
	} {
		if got := newPayload([]byte(given)); got.Text != want || got.Cut {
			t.Errorf("%.60q is shown as %.200q", given, got.Text)
		}
	}
	if got := newPayload([]byte(strings.Repeat("x", 1<<20))); !got.Cut || len(got.Text) != maxShown {
		t.Errorf("%d bytes, %t", len(got.Text), got.Cut)
	}
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"\"\\"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := newPayload(raw)
		for _, r := range got.Text {
			if hidden(r) {
				t.Fatalf("%q is shown with %U", raw, r)
			}
		}
	})
}
