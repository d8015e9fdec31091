package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kuairelay/relay/store/db"
)

// filesOf lists the files of this package, and of those with which it shares a Redis, whose names match a pattern.
func filesOf(t *testing.T, pattern string) (files []string) {
	t.Helper()
	for _, dir := range []string{".", "db", "subscriptions", "replays", "notices", "migrate"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if entry.IsDir() && path != dir && entry.Name() != "lua" && !strings.Contains(path, "lua/") {
				return fs.SkipDir
			}
			if ok, _ := filepath.Match(pattern, entry.Name()); ok {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// luaFile is a file of one of these packages by its name in their folders lua.
func luaFile(t *testing.T, name string) string {
	t.Helper()
	for _, file := range filesOf(t, "*.lua") {
		if strings.HasSuffix("/"+file, "/lua/"+name+".lua") {
			return read(t, file)
		}
	}
	t.Fatalf("there is no script %s", name)
	return ""
}

// scriptsOf are the names of every script and of its parts.
func scriptsOf(t *testing.T) (scripts [][]string) {
	t.Helper()
	for _, file := range filesOf(t, "*.go") {
		for _, call := range regexp.MustCompile(`= script\(([^)]*)\)`).FindAllStringSubmatch(read(t, file), -1) {
			var names []string
			for _, name := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(call[1], -1) {
				names = append(names, name[1])
			}
			if len(names) > 0 {
				scripts = append(scripts, names)
			}
		}
	}
	if len(scripts) < 30 {
		t.Fatalf("%d scripts: are they found?", len(scripts))
	}
	return scripts
}

// The table at the head of db/lua/lib/base.lua has every key of the store, and no other.
func TestEveryKeyIsInTheTable(t *testing.T) {
	t.Parallel()
	table := make(map[string]bool) // whether it is used
	for _, m := range regexp.MustCompile(`(?m)^--   (\S+) .*\b(?:hash|zset|list|string|stream)  `).FindAllStringSubmatch(
		luaFile(t, "lib/base"), -1) {
		family, _, _ := strings.Cut(m[1], "<")
		table[family] = false
	}
	if len(table) < 30 {
		t.Fatalf("the table has %d keys: is it read?", len(table))
	}

	use := func(file, text string, form *regexp.Regexp) {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			if _, known := table[m[1]]; !known {
				t.Errorf("%s: the key %q is not in the table of db/lua/lib/base.lua", file, m[1])
			}
			table[m[1]] = true
		}
	}
	for _, file := range filesOf(t, "*.lua") {
		use(file, read(t, file), regexp.MustCompile(`P \.\. '([^']*)'`))
	}
	for _, file := range filesOf(t, "*.go") {
		if !strings.HasSuffix(file, "_test.go") {
			use(file, read(t, file), regexp.MustCompile(`\bKey\("([^"]*)"`))
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
	home := make(map[string]string) // of a function, by its name
	var libs []string
	for _, file := range filesOf(t, "*.lua") {
		lib := strings.TrimSuffix(filepath.Base(file), ".lua")
		if filepath.Base(filepath.Dir(file)) != "lib" {
			continue
		}
		libs = append(libs, lib)
		for _, m := range regexp.MustCompile(`(?m)^local function (\w+)`).FindAllStringSubmatch(luaFile(t, "lib/"+lib), -1) {
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

	for _, names := range scriptsOf(t) {
		script, text, given := names[0], luaFile(t, names[0]), []string{"base"}
		for _, part := range names[1:] {
			if strings.Contains(part, "/") {
				text += luaFile(t, part)
			} else {
				given = append(given, part)
			}
		}
		wanted := needs(text)
		for _, lib := range given {
			for need := range needs(luaFile(t, "lib/"+lib)) {
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

// The page about Redis has every key of the table in db/lua/lib/base.lua with its type, and no other. Who is said to
// write a key is a script that names it, or a file of these packages.
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
		if listed[m[1]] != "" {
			t.Errorf("docs/design/redis.md has the key %s twice", m[1])
		}
		listed[m[1]], writers[m[1]] = m[2], m[3]
	}

	kinds := make(map[string]string)
	for _, m := range regexp.MustCompile(
		`(?m)^--   (\S+(?: <rec>)?) +(hash|zset|list|string|stream)  `).FindAllStringSubmatch(luaFile(t, "lib/base"), -1) {
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
			t.Errorf("docs/design/redis.md: there is no key %s in the table of db/lua/lib/base.lua", key)
		}
	}

	texts := make(map[string]string) // of scripts, with their parts
	for _, names := range scriptsOf(t) {
		text := luaFile(t, names[0])
		for _, part := range names[1:] {
			if !strings.Contains(part, "/") {
				part = "lib/" + part
			}
			text += luaFile(t, part)
		}
		texts[names[0]] = text
	}
	for key, by := range writers {
		family, _, _ := strings.Cut(key, "<")
		for _, name := range regexp.MustCompile(`[\w.]+`).FindAllString(by, -1) {
			text, script := texts[name]
			if strings.HasSuffix(name, ".go") {
				if len(filesOf(t, name)) == 0 {
					t.Errorf("docs/design/redis.md: %s: there is no file %s", key, name)
				}
			} else if script && family != "w:" && family != "yh:" && !strings.Contains(text, "P .. '"+family+"'") {
				t.Errorf("docs/design/redis.md: the script %s does not name %s", name, key)
			}
		}
	}
}

// A command that is not tried at the start could cut off a script in its middle.
func TestEveryCommandOfAScriptIsTriedAtTheStart(t *testing.T) {
	t.Parallel()
	rules := strings.Fields(db.ACL())
	commands := regexp.MustCompile(`\b(?:rcall|many|redis\.p?call)\('([A-Z]+)'`)
	found := 0
	for _, file := range filesOf(t, "*.lua") {
		for _, m := range commands.FindAllStringSubmatch(read(t, file), -1) {
			found++
			if !slices.Contains(rules, "+"+strings.ToLower(m[1])) {
				t.Errorf("%s runs %s, which lua/commands.lua does not try", file, m[1])
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d commands were found: the pattern is wrong", found)
	}
}
