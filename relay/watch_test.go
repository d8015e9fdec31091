package relay

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAChangeIsReportedOnceAndOnlyWhenItHasSettled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, path(name+".new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path(name+".new"), path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"tenants.d", "..1", "..2"} {
		if err := os.Mkdir(path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put("config.yaml", "a")
	put("..1/mounted.yaml", "old")
	put("..2/mounted.yaml", "new")
	same, err := os.Stat(path("..1/mounted.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path("..2/mounted.yaml"), same.ModTime(), same.ModTime()); err != nil {
		t.Fatal(err)
	}
	link("..1", "..data")
	link("..data/mounted.yaml", "mounted.yaml")
	paths := []string{path("config.yaml"), path("tenants.d"), path("mounted.yaml"), path("absent")}
	w := watch{handled: look(paths), last: look(paths)}
	step := func(what string, want bool) {
		t.Helper()
		if got := w.changed(paths); got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	step("nothing changed", false)
	put("config.yaml", "half a")
	step("half written", false)
	put("config.yaml", "half a file, and now the other half")
	step("still being written", false)
	step("settled", true)
	step("reported already", false)
	put("tenants.d/x.yaml", "")
	step("a file more", false)
	step("a file more, settled", true)
	link("..2", "..data")
	step("a link was swapped", false)
	step("a link was swapped, settled", true)
	put("absent", "")
	step("a file is there now", false)
	put("absent", "more")
	if err := os.Remove(path("absent")); err != nil {
		t.Fatal(err)
	}
	step("it is gone again", false)
	step("as it was at the last report", false)
}
