package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// units returns the names of the files of deploy/systemd that are units.
func units(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(files + "systemd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".yaml" {
			names = append(names, e.Name())
		}
	}
	if len(names) < 3 {
		t.Fatalf("the units are %v: are they found?", names)
	}
	return names
}

func TestSystemdTakesTheUnits(t *testing.T) {
	t.Parallel()
	need(t, "systemd-analyze", "systemd")
	for _, name := range units(t) {
		if output := verify(t, name, text(t, "systemd/"+name)); output != "" {
			t.Errorf("%s: %s", name, output)
		}
	}
	if output := verify(t, "x@.service", "[Service]\nExecStart=/bin/true\nProtectHomes=yes\n"); !strings.Contains(output,
		"ProtectHomes") {
		t.Errorf("of a unit with a mistake systemd says %q", output)
	}
}

// verify returns what systemd says of a unit; empty: nothing is wrong. It starts nothing.
func verify(t *testing.T, name, unit string) string {
	t.Helper()
	folder := t.TempDir()
	const timed = "kuairelay-backup.service" // the timer wants it
	write(t, filepath.Join(folder, timed), text(t, "systemd/"+timed))
	file := filepath.Join(folder, strings.Replace(name, "@.", "@1.", 1))
	write(t, file, strings.ReplaceAll(unit, "/usr/local/bin/kuairelay", "/bin/true")) // it must be there
	output, err := run(t, "systemd-analyze", "verify", "--man=no", file)
	if err != nil && output == "" {
		return err.Error()
	}
	return output
}

// systemd gives a service an exposure from 0 to 10: 9.6 without any hardening. What remains is the network.
func TestTheServicesAreConfined(t *testing.T) {
	t.Parallel()
	need(t, "systemd-analyze", "systemd")
	for _, name := range units(t) {
		if filepath.Ext(name) != ".service" {
			continue
		}
		output, err := run(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15",
			files+"systemd/"+name)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, output)
		}
	}
}

func TestTheUnitGivesTheRelayTheTimeAndTheFoldersThatItNeeds(t *testing.T) {
	t.Parallel()
	unit := text(t, "systemd/kuairelay@.service")
	one := func(pattern string) string {
		found := all(pattern, unit)
		if len(found) != 1 {
			t.Fatalf("the unit has %q of %s", found, pattern)
		}
		return found[0]
	}

	grace, err := time.ParseDuration(one(`ExecStart=/usr/local/bin/kuairelay serve .*--grace (\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	stop, err := strconv.Atoi(one(`(?m)^TimeoutStopSec=(\d+)$`))
	if err != nil || time.Duration(stop)*time.Second < grace+5*time.Second {
		t.Errorf("the relay may take %v to stop, and systemd waits %d s (%v)", grace, stop, err)
	}
	if state := one(`(?m)^StateDirectory=(\S+)$`); one(`(?m)^WorkingDirectory=(\S+)$`) != "/var/lib/"+state {
		t.Errorf("the state is in %s", state)
	}

	_, admin := replicas(t)
	for _, port := range all(`http://(127\.0\.0\.1:808%i)/`, unit) {
		for i, listen := range admin {
			if asked := strings.ReplaceAll(port, "%i", strconv.Itoa(i+1)); asked != listen {
				t.Errorf("the unit asks %s, and the replica listens on %s", asked, listen)
			}
		}
	}
	if asks := all(`(http://127\.0\.0\.1:)`, unit); len(asks) != 2 {
		t.Errorf("the unit asks the relay %d times", len(asks))
	}
}

func TestTheRedisOfTheUnitsKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	conf := text(t, "redis/redis-kuairelay.conf")
	for _, setting := range []string{"appendonly yes", "appendfsync always", "maxmemory-policy noeviction",
		"bind 127.0.0.1", "aclfile /etc/redis/kuairelay.acl"} {
		if !slices.Contains(strings.Split(conf, "\n"), setting) {
			t.Errorf("redis-kuairelay.conf has no %q", setting)
		}
	}
	if !regexp.MustCompile(`(?m)^maxmemory \d+gb$`).MatchString(conf) {
		t.Error("redis-kuairelay.conf has no maxmemory")
	}
}
