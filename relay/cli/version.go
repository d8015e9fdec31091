package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X kuairelay/relay/cli.version=1.2.3".
var version string

// versionInfo is what `version -o json` prints.
type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// currentVersion returns the version of the build, or the one that Go notes for a module, or "dev".
func currentVersion() versionInfo {
	noted := ""
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		noted = info.Main.Version
	}
	return versionInfo{
		Version: cmp.Or(version, noted, "dev"),
		Go:      runtime.Version(),
		OS:      runtime.GOOS,
		Arch:    runtime.GOARCH,
	}
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
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "kuairelay %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
		return err
	}
	return cmd
}
