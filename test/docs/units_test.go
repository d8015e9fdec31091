package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unitFolder is where the pages put units of systemd.
const unitFolder = "etc/systemd/system/"

// The units of the pages are installed by root, which no test does; systemd checks them here.
func TestSystemdTakesTheUnitsOfThePages(t *testing.T) {
	t.Parallel()
	needSystemd(t)
	units := 0
	for _, path := range pages(t) {
		for _, s := range parsed(t, path).steps {
			if name, isUnit := strings.CutPrefix(s.path, unitFolder); isUnit {
				units++
				if output := verifyUnit(t, name, s.text); output != "" {
					t.Errorf("%s:%d: %s", path, s.line, output)
				}
			}
		}
	}
	if units < 3 {
		t.Errorf("the pages have only %d units: are they found?", units)
	}
}

func needSystemd(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
}

// verifyUnit returns what systemd says of a unit; empty: nothing is wrong. It starts nothing.
func verifyUnit(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), strings.Replace(name, "@.", "@1.", 1))
	text = strings.ReplaceAll(text, "/usr/local/bin/kuairelay", "/bin/true") // it must be there
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	if err != nil && len(output) == 0 {
		return err.Error()
	}
	return string(output)
}

func TestAMistakeInAUnitIsFound(t *testing.T) {
	t.Parallel()
	needSystemd(t)
	output := verifyUnit(t, "x@.service", "[Service]\nExecStart=/usr/local/bin/kuairelay\nProtectHomes=yes\n")
	if !strings.Contains(output, "ProtectHomes") {
		t.Errorf("systemd says %q", output)
	}
}
