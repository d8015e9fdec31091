package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// What a release sets by -ldflags "-X kuairelay/relay/cli.version=1.2.3 …". The time is that of the revision.
var version, revision, commitTime string

// versionInfo is what `version -o json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, if the build knows it
	Time     string `json:"time,omitempty"`     // of the revision, RFC 3339
	Modified bool   `json:"modified,omitempty"` // there were changes that the revision does not have
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// currentVersion returns what the build was told; otherwise what Go has noted of the module and its repository; and if
// there is neither, "dev".
func currentVersion() versionInfo {
	told := versionInfo{
		Version:  version,
		Revision: revision,
		Time:     commitTime,
		Go:       runtime.Version(),
		OS:       runtime.GOOS,
		Arch:     runtime.GOARCH,
	}
	info, _ := debug.ReadBuildInfo()
	return told.or(info)
}

// or fills in what the build was not told.
func (v versionInfo) or(noted *debug.BuildInfo) versionInfo {
	if noted != nil {
		if main := noted.Main.Version; main != "(devel)" {
			v.Version = cmp.Or(v.Version, main)
		}
		told := v.Revision != ""
		for _, s := range noted.Settings {
			switch {
			case told: // of another repository, if at all
			case s.Key == "vcs.revision":
				v.Revision = s.Value
			case s.Key == "vcs.time":
				v.Time = s.Value
			case s.Key == "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	v.Version = cmp.Or(v.Version, "dev")
	return v
}

// source is the revision in words.
func (v *versionInfo) source() string {
	if v.Revision == "" {
		return ""
	}
	day, _, _ := strings.Cut(v.Time, "T")
	text := "commit " + v.Revision[:min(len(v.Revision), 12)]
	if day != "" {
		text += " of " + day
	}
	if v.Modified {
		text += " with changes"
	}
	return text + ", "
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		GroupID: groupRelay,
		Example: "  kuairelay version -o json",
		Args:    takes(0, 0, ""),
	}

	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := currentVersion()
		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), v, "  ")
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "kuairelay %s (%s%s, %s/%s)\n", v.Version, v.source(), v.Go, v.OS, v.Arch)
		return err
	}
	return cmd
}
