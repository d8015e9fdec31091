package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// Pages name files and tests, which move.
func TestFilesAndTestsThatPagesNameExist(t *testing.T) {
	t.Parallel()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	tests := make(map[string]bool)
	for _, path := range tree(t) {
		if !strings.HasSuffix(path, "_test.go") {
			continue
		}
		text := fileText(t, path)
		for _, m := range function.FindAllStringSubmatch(text, -1) {
			tests[m[1]] = true
		}
	}

	seen := 0
	file := regexp.MustCompile("`((?:relay|test|docs|deploy)/[\\w./-]+)`")
	name := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	for _, path := range append(pages(t), readmes...) {
		text := fileText(t, path)
		for _, m := range file.FindAllStringSubmatch(text, -1) {
			seen++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: there is no %s", path, m[1])
			}
		}
		for _, m := range name.FindAllString(text, -1) {
			if seen++; !tests[m] && m != "TestPages" && m != "TestResult" { // a shape of the API
				t.Errorf("%s: there is no test %s", path, m)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d names: are they found?", seen)
	}
}

func TestThePagesForReceiversNameEveryStatusBrandAndFormat(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"docs/tenant/receiving.md", "docs/zh/tenant/receiving.md"} {
		page := fileText(t, path)
		for _, word := range slices.Concat(kuaidihelp.Statuses(), kuaidihelp.Brands(), deliver.Formats()) {
			if !strings.Contains(page, "`"+word+"`") {
				t.Errorf("%s does not name `%s`", path, word)
			}
		}
	}
}

func TestThePagesNameEveryAliasOfAStatus(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tenant/receiving.md", "tenant/routes.md"} {
		for _, path := range []string{"docs/" + name, "docs/zh/" + name} {
			page := fileText(t, path)
			for _, alias := range kuaidihelp.Aliases() {
				if !strings.Contains(page, "`"+alias+"`") {
					t.Errorf("%s does not name `%s`", path, alias)
				}
			}
		}
	}
}

func TestThePagesOfRoutesNameEveryMatchKey(t *testing.T) {
	t.Parallel()
	text, err := config.JSONSchema(true)
	if err != nil {
		t.Fatal(err)
	}
	var at any
	if err := json.Unmarshal(text, &at); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"properties", "routes", "items", "properties", "match", "properties"} {
		at = at.(map[string]any)[step]
	}
	keys := at.(map[string]any)
	if len(keys) < 6 {
		t.Fatalf("match has %d keys: are they found?", len(keys))
	}
	for _, path := range []string{"docs/tenant/routes.md", "docs/zh/tenant/routes.md"} {
		page := fileText(t, path)
		for key := range keys {
			if !strings.Contains(page, "| `"+key) {
				t.Errorf("%s has no row for %s", path, key)
			}
		}
	}
}

func TestTheIndexListsEveryPage(t *testing.T) {
	t.Parallel()
	index, _ := markdown(t, "docs/README.md")
	for _, path := range pages(t) {
		listed := slices.ContainsFunc(index.links, func(l link) bool { return "docs/"+l.target == path })
		if !listed && path != "docs/README.md" && !strings.HasPrefix(path, "docs/zh/") {
			t.Errorf("docs/README.md does not list %s", path)
		}
	}
}

func TestTheDiagramOfADeliveryHasItsStates(t *testing.T) {
	t.Parallel()
	page := fileText(t, "docs/design/lifecycle.md")
	_, rest, _ := strings.Cut(page, "## A delivery\n")
	_, rest, _ = strings.Cut(rest, "stateDiagram-v2\n")
	diagram, _, _ := strings.Cut(rest, "```")
	var drawn []string
	for _, m := range regexp.MustCompile(`(?m)^ +(\S+) --> ([\w*\[\]]+)`).FindAllStringSubmatch(diagram, -1) {
		drawn = append(drawn, m[1], m[2])
	}
	drawn = slices.DeleteFunc(drawn, func(state string) bool { return state == "[*]" })
	slices.Sort(drawn)
	drawn = slices.Compact(drawn)

	var states []string
	for _, s := range event.States() {
		states = append(states, string(s))
	}
	slices.Sort(states)
	if !slices.Equal(drawn, states) {
		t.Errorf("the diagram has the states %q, and there are %q", drawn, states)
	}
}

// fileText returns what is in a file, by its path from the root.
func fileText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
