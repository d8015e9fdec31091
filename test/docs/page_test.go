package main

import (
	"strings"
	"testing"
)

// lines makes a page, in which ' stands for `.
func lines(text ...string) string { return strings.ReplaceAll(strings.Join(text, "\n"), "'''", "```") }

func TestEachKindOfBlockIsAStep(t *testing.T) {
	t.Parallel()
	p, err := parsePage("x.md", lines("# X", setupRelay,
		"'''sh", "one", "two # with a comment", "'''",
		"", "'''text", "printed  by two", "", "…", "second…line", "'''",
		"'''sh fails", "three", "'''",
		"'''sh background", "four", "'''",
		"'''text", "at work", "'''",
		`'''sh skip="takes too long"`, "five", "'''",
		"'''yaml file=conf/relay.yaml", "a: 1", "'''",
		"'''sh root", "six", "'''",
		"says in text:",
		"'''text", "not what six prints", "'''",
		"'''yaml", "only: shown", "'''",
		"- in a list:",
		"  '''sh", "  seven", "    --goes on", "  '''"))
	if err != nil {
		t.Fatal(err)
	}

	if !p.relay {
		t.Error("the setup is not found")
	}
	kinds := []kind{run, fails, background, skip, file, run, run}
	if len(p.steps) != len(kinds) {
		t.Fatalf("%d steps: %+v", len(p.steps), p.steps)
	}
	for i, s := range p.steps {
		if s.kind != kinds[i] {
			t.Errorf("step %d is of kind %d, want %d", i, s.kind, kinds[i])
		}
	}
	first := p.steps[0]
	if got := first.commands(); len(got) != 2 || got[1] != (command{5, "two # with a comment"}) {
		t.Errorf("the commands are %+v", got)
	}
	if len(first.prints) != 2 || first.prints[0] != (expected{9, "printed by two"}) ||
		first.prints[1] != (expected{12, "second…line"}) {
		t.Errorf("it prints %+v", first.prints)
	}
	if p.steps[3].reason != "takes too long" || p.steps[4].path != "conf/relay.yaml" || p.steps[4].text != "a: 1\n" {
		t.Errorf("skip and file are %+v", p.steps[3:5])
	}
	if !p.steps[5].root || p.steps[6].root {
		t.Errorf("only the step that says so is for root: %+v", p.steps[5:])
	}
	if p.steps[5].prints != nil {
		t.Errorf("a text block after other text is taken for an output: %+v", p.steps[5].prints)
	}
	if got := p.steps[6].commands()[0].text; got != "seven\n  --goes on" {
		t.Errorf("the command of a list is %q", got)
	}
}

func TestAMistakeInAPageIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"unknown word", lines("", "'''sh fials", "x", "'''"), `x.md:2: nothing is known of "fials" after "sh"`},
		{"skip without a reason", lines("'''sh skip", "x", "'''"), `x.md:1: nothing is known of "skip"`},
		{"attribute of another language", lines("'''yaml fails", "x", "'''"), `x.md:1: nothing is known of "fails"`},
		{"other name of sh", lines("'''bash", "x", "'''"), "x.md:1: write sh instead of bash"},
		{"background without text", lines("'''sh background", "x", "'''"), "x.md:2: a text block after it has to say"},
		{"no end", lines("a", "'''sh", "x"), "x.md:2: the block has no end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parsePage("x.md", c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the mistake is %v, want %q", err, c.want)
			}
		})
	}
}

func TestALineMayGoOnWithTheCommandBefore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"a line each", "a\nb", []string{"a", "b"}},
		{"comments and empty lines are none", "# x\na\n\n# y\nb", []string{"a", "b"}},
		{"space", "a\n  b\nc", []string{"a\n  b", "c"}},
		{"backslash", "a \\\nb\nc", []string{"a \\\nb", "c"}},
		{"quotes", "a '\n# b\n\nc'\nd", []string{"a '\n# b\n\nc'", "d"}},
		{"here-document", "cat <<EOF\nb\n\nEOF\nc", []string{"cat <<EOF\nb\n\nEOF", "c"}},
		{"pipe", "a |\nb\nc", []string{"a |\nb", "c"}},
		{"loop", "for i in 1 2; do\necho $i\ndone\nc", []string{"for i in 1 2; do\necho $i\ndone", "c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, x := range split(1, strings.Split(c.text, "\n")) {
				got = append(got, x.text)
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("the commands are %q, want %q", got, c.want)
			}
		})
	}
}

func TestAnOutputIsComparedByLines(t *testing.T) {
	t.Parallel()
	const output = "first line\nNAME    STATE\nshop    open (1.2)\n"
	for _, c := range []struct {
		name, want string
		missing    string
	}{
		{"all", "first line\nNAME STATE\nshop open (1.2)", ""},
		{"some", "first line\nshop    open (1.2)", ""},
		{"anything", "…line\nshop … (…)", ""},
		{"a part of a line is none", "first", "first"},
		{"a dot is a dot", "shop open (1x2)", "shop open (1x2)"},
		{"another order", "shop…\nfirst line", "first line"},
		{"once is not twice", "first line\nfirst line", "first line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := page{steps: make([]step, 1)}
			p.expect(1, strings.Split(c.want, "\n"))
			got := ""
			if line := missing(output, p.steps[0].prints); line != nil {
				got = line.text
			}
			if got != c.missing {
				t.Errorf("missing is %q, want %q", got, c.missing)
			}
		})
	}
}
