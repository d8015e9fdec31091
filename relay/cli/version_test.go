package cli

import (
	"runtime/debug"
	"testing"
)

func TestTheVersionIsWhatTheBuildWasToldOrElseWhatGoHasNoted(t *testing.T) {
	t.Parallel()
	noted := func(version string, settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	commit := []string{"vcs.revision", "0123456789abcdef", "vcs.time", "2026-12-01T08:00:00Z", "vcs.modified", "true"}
	const pseudo = "v0.0.0-20261201080000-0123456789ab+dirty"
	for _, c := range []struct {
		name            string
		told            versionInfo
		noted           *debug.BuildInfo
		version, source string
	}{
		{"nothing is known", versionInfo{}, nil, "dev", ""},
		{"built without its repository", versionInfo{}, noted("(devel)"), "dev", ""},
		{"built in its repository", versionInfo{}, noted(pseudo, commit...), pseudo,
			"commit 0123456789ab of 2026-12-01 with changes, "},
		{"no changes", versionInfo{}, noted("v1.0.0", "vcs.revision", "0123456789abcdef", "vcs.modified", "false"),
			"v1.0.0", "commit 0123456789ab, "},
		{"only the version is told", versionInfo{Version: "1.0.0"}, noted(pseudo, commit...), "1.0.0",
			"commit 0123456789ab of 2026-12-01 with changes, "},
		{"all is told", versionInfo{Version: "1.0.0", Revision: "ffff", Time: "2026-11-30T08:00:00Z"},
			noted(pseudo, commit...), "1.0.0", "commit ffff of 2026-11-30, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := c.told.or(c.noted)
			if source := got.source(); got.Version != c.version || source != c.source {
				t.Errorf("it is %q, %q, want %q, %q", got.Version, source, c.version, c.source)
			}
		})
	}
}
