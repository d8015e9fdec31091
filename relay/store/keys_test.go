package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The table at the head of lua/lib/base.lua has every key of the store, and no other.
func TestEveryKeyIsInTheTable(t *testing.T) {
	t.Parallel()
	table := make(map[string]bool) // whether it is used
	for _, m := range regexp.MustCompile(`(?m)^--   (\S+) .*\b(?:hash|zset|list|string|stream)  `).FindAllStringSubmatch(
		luaFile("lib/base"), -1) {
		family, _, _ := strings.Cut(m[1], "<")
		table[family] = false
	}
	if len(table) < 30 {
		t.Fatalf("the table has %d keys: is it read?", len(table))
	}

	use := func(file, text string, form *regexp.Regexp) {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			if _, known := table[m[1]]; !known {
				t.Errorf("%s: the key %q is not in the table of lua/lib/base.lua", file, m[1])
			}
			table[m[1]] = true
		}
	}
	err := fs.WalkDir(luaFiles, "lua", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			use(path, luaFile(strings.TrimSuffix(strings.TrimPrefix(path, "lua/"), ".lua")),
				regexp.MustCompile(`P \.\. '([^']*)'`))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			use(file, string(text), regexp.MustCompile(`s\.key\("([^"]*)"`))
		}
	}
	for key, used := range table {
		if !used {
			t.Errorf("nothing uses the key %q of the table", key)
		}
	}
}

// Each script has those files of lua/lib before it that it needs, and no other: a name that is missing would be found
// out only when its line is reached.
func TestEveryScriptHasWhatItNeeds(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("scripts.go")
	if err != nil {
		t.Fatal(err)
	}
	home := make(map[string]string) // of a function, by its name
	var libs []string
	entries, err := luaFiles.ReadDir("lua/lib")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		lib := strings.TrimSuffix(entry.Name(), ".lua")
		libs = append(libs, lib)
		for _, m := range regexp.MustCompile(`(?m)^local function (\w+)`).FindAllStringSubmatch(luaFile("lib/"+lib), -1) {
			home[m[1]] = lib
		}
	}
	needs := func(text string) map[string]bool {
		out := make(map[string]bool)
		text = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(text, "")
		for _, m := range regexp.MustCompile(`\b([a-z_]\w*)\(`).FindAllStringSubmatch(text, -1) {
			if lib := home[m[1]]; lib != "" {
				out[lib] = true
			}
		}
		return out
	}

	calls := regexp.MustCompile(`= script\(([^)]*)\)`).FindAllStringSubmatch(string(source), -1)
	if len(calls) < 20 {
		t.Fatalf("%d scripts: are they found?", len(calls))
	}
	for _, call := range calls {
		var names []string
		for _, name := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(call[1], -1) {
			names = append(names, name[1])
		}
		script, text, given := names[0], luaFile(names[0]), []string{"base"}
		for _, part := range names[1:] {
			if strings.Contains(part, "/") {
				text += luaFile(part)
			} else {
				given = append(given, part)
			}
		}
		wanted := needs(text)
		for _, lib := range given {
			for need := range needs(luaFile("lib/" + lib)) {
				if wanted[lib] || lib == "base" {
					wanted[need] = true
				}
			}
		}
		wanted["base"] = true
		for _, lib := range libs {
			if wanted[lib] != slices.Contains(given, lib) {
				t.Errorf("%s: it needs lib/%s: %v; it has it: %v", script, lib, wanted[lib], !wanted[lib])
			}
		}
	}
}

// The page about Redis has every key of the table in lua/lib/base.lua with its type, and no other. Who is said to write
// a key is a script that names it, or a file of this package.
func TestThePageAboutRedisHasEveryKey(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/design/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]string)  // the type of a key
	writers := make(map[string]string) // as the page has them
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\w+) \\|.*\\| (.+) \\|$").FindAllStringSubmatch(
		string(page), -1) {
		listed[m[1]], writers[m[1]] = m[2], m[3]
	}

	kinds := make(map[string]string)
	for _, m := range regexp.MustCompile(
		`(?m)^--   (\S+(?: <rec>)?) +(hash|zset|list|string|stream)  `).FindAllStringSubmatch(luaFile("lib/base"), -1) {
		kinds[m[1]] = m[2]
	}
	if len(kinds) < 30 {
		t.Fatalf("the table has %d keys: is it read?", len(kinds))
	}
	for key, kind := range kinds {
		if listed[key] != kind {
			t.Errorf("docs/design/redis.md: %s is a %s, and the page says %q", key, kind, listed[key])
		}
	}
	for key := range listed {
		if kinds[key] == "" {
			t.Errorf("docs/design/redis.md: there is no key %s in the table of lua/lib/base.lua", key)
		}
	}

	source, err := os.ReadFile("scripts.go")
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string) // of scripts, with their parts
	for _, call := range regexp.MustCompile(`= script\(([^)]*)\)`).FindAllStringSubmatch(string(source), -1) {
		var names []string
		for _, name := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(call[1], -1) {
			names = append(names, name[1])
		}
		text := luaFile(names[0])
		for _, part := range names[1:] {
			if !strings.Contains(part, "/") {
				part = "lib/" + part
			}
			text += luaFile(part)
		}
		texts[names[0]] = text
	}
	for key, by := range writers {
		family, _, _ := strings.Cut(key, "<")
		for _, name := range regexp.MustCompile(`[\w.]+`).FindAllString(by, -1) {
			text, script := texts[name]
			if strings.HasSuffix(name, ".go") {
				if _, err := os.Stat(name); err != nil {
					t.Errorf("docs/design/redis.md: %s: %v", key, err)
				}
			} else if script && family != "w:" && family != "yh:" && !strings.Contains(text, "P .. '"+family+"'") {
				t.Errorf("docs/design/redis.md: the script %s does not name %s", name, key)
			}
		}
	}
}
