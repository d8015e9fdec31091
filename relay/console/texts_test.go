package console

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"kuairelay/relay/api"
	"kuairelay/relay/kuaidihelp"
)

// made are the beginnings of keys whose end is a state, a status and the like.
var made = []string{"state.", "means.", "status.", "last.", "zone.", "endpoint.is.", "did.", "title.", "verdict.",
	"brand.", "log.", "problem.", "subject.", "colors.", "reason.", "sort.", "attempts.", "some.", "delivery.",
	"endpoint.one", "endpoint.many", "letter.", "callback.one", "callback.many",
	"refusal.", "subscribed.", "so.", "sent.", "try.", "class.", "found.",
	"sure.", "dead.by.", "quarantine.as.", "audit.", "word."}

func TestEveryTextThatPagesUseIsThereAndNoOther(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	find := func(text string, pattern string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			used[m[1]] = true
		}
	}
	templates := []string{}
	for _, pattern := range []string{"web/*.html", "web/frame/*.html"} {
		names, err := fs.Glob(web, pattern)
		if err != nil {
			t.Fatal(err)
		}
		templates = append(templates, names...)
	}
	for _, name := range templates {
		text, err := web.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		find(string(text), `\bt "([^"]+)"`)
	}
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(name, "texts") && !strings.HasSuffix(name, "_test.go") {
			find(string(text), `"([a-z0-9]+(?:\.[a-z0-9]+)+)"`) // also those that a function is handed
			find(string(text), `\bt\("([^"]+)"`)
		}
	}

	for key := range used {
		if _, ok := texts[key]; !ok && !strings.HasSuffix(key, ".") && !strings.HasSuffix(key, ".html") {
			t.Errorf("there is no text %q", key)
		}
	}
	for key := range texts {
		fromMade := false
		for _, beginning := range made {
			fromMade = fromMade || strings.HasPrefix(key, beginning)
		}
		if !used[key] && !fromMade {
			t.Errorf("no page uses the text %q", key)
		}
	}
}

// What a text says is in both languages, with the same places.
func TestEveryTextIsInBothLanguages(t *testing.T) {
	t.Parallel()
	sum := 0
	for _, some := range allTexts {
		sum += len(some)
	}
	if sum != len(texts) {
		t.Errorf("%d keys are in more than one list", sum-len(texts))
	}

	places := regexp.MustCompile(`%[sd]`)
	for key, x := range texts {
		if x.en == "" || x.zh == "" {
			t.Errorf("%s has no text in one language", key)
		}
		if len(places.FindAllString(x.en, -1)) != len(places.FindAllString(x.zh, -1)) {
			t.Errorf("%s has other places in Chinese: %q, %q", key, x.en, x.zh)
		}
		if strings.ContainsFunc(x.en, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s has Chinese in English: %q", key, x.en)
		}
	}
}

func TestEveryStateAndStatusHasItsWord(t *testing.T) {
	t.Parallel()
	for name := range signs {
		if !english.has("state." + name) {
			t.Errorf("the state %s has no word", name)
		}
	}
	for _, s := range words() {
		if !english.has("status." + s) {
			t.Errorf("the status %s has no word", s)
		}
	}
	for _, b := range kuaidihelp.Brands() {
		if !english.has("brand." + b) {
			t.Errorf("the brand %s has no name", b)
		}
	}
	for _, code := range api.ProblemCodes() {
		if !english.has("problem." + code) {
			t.Errorf("the problem %s has no name", code)
		}
	}
	for _, name := range api.ActNames() {
		if !english.has("audit." + name) {
			t.Errorf("the act %s has no words", name)
		}
	}
	for _, s := range api.EndpointStates() {
		if s == "open" {
			s = "breaker"
		}
		if _, ok := signs[s]; !ok || !english.has("endpoint.is."+s) {
			t.Errorf("the state %s of an endpoint is not explained", s)
		}
	}
}

func TestEveryTemplateCanBeRead(t *testing.T) {
	t.Parallel()
	for of, make := range looks {
		if l := make(); l.language != of.language || len(l.pages) < 10 {
			t.Errorf("%v: %d pages in %s", of, len(l.pages), l.language)
		}
	}
}
