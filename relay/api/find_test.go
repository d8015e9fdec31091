package api

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestWhatPeoplePasteIsMended(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"777005949070187":          {"777005949070187"},
		" 7770 0594 9070 187 \r\n": {"777005949070187"},
		"７７７００５":                   {"777005"},
		"JD００１\u200b\ufeff":        {"JD001"},
		"1\n2\r\n\n1\t3,4，5":       {"1", "2", "3", "4", "5"},
		`"777", '888'`:             {"777", "888"},
		"shop/orders":              {"shop/orders"},
		" \n\t":                    nil,
		"７７７\u3000００５\n" + strings.Repeat("x", 10): {"777005", "xxxxxxxxxx"},
	} {
		if got, err := readLines(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q (%v), want %q", text, got, err, want)
		}
	}
	many := ""
	for i := range maxLines + 1 {
		many += fmt.Sprintln(i)
	}
	b := newBench(Options{})
	_, err := ask(b, find, "shop", "/?q="+url.QueryEscape(many), "")
	refused(t, "too many lines", err, 400, "q: at most 100 lines at a time")
	_, err = ask(b, find, "shop", "/?q=+", "")
	refused(t, "no line", err, 400, "q: it must say what is looked for")
}

func TestANameIsFoundAmongWhatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	b := newBench(Options{})
	b.endpoints = healthy{paused: map[string]bool{"shop/b": true}}
	for _, x := range []struct{ tenant, q, want string }{
		{tenant: "shop", q: "orders", want: "endpoint /endpoints/orders idle"},
		{tenant: "shop", q: "shop/b", want: "endpoint /endpoints/b paused"},
		{tenant: "shop", q: "shop", want: "tenant /endpoints?tenant=shop tenant"},
		{tenant: "", q: "other/mail", want: "endpoint /endpoints/other/mail idle"},
		{tenant: "", q: "other", want: "tenant /endpoints?tenant=other tenant"},
	} {
		got, err := ask(b, find, x.tenant, "/?q="+url.QueryEscape(x.q), "")
		if err != nil || len(got.Found) != 1 {
			t.Fatalf("%s: %+v, %v", x.q, got, err)
		}
		f := got.Found[0]
		if said := fmt.Sprint(f.Kind, " ", f.Path, " ", f.Verdict.Code); said != x.want {
			t.Errorf("%s of %q: %s, want %s", x.q, x.tenant, said, x.want)
		}
	}
}
