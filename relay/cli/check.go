package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"kuairelay/relay"
	"kuairelay/relay/config"
)

// checked is what `check -o json` prints.
type checked struct {
	File      string    `json:"file"`
	OK        bool      `json:"ok"`
	Mistakes  []finding `json:"mistakes"`
	Warnings  []finding `json:"warnings"`
	Tenants   int       `json:"tenants"`
	Endpoints int       `json:"endpoints"`
	Routes    int       `json:"routes"`
}

type finding struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // 0: the file as a whole
	Msg  string `json:"msg"`
}

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check FILE",
		Short:   "Show every mistake in a config file",
		GroupID: groupRelay,
		Long: "Shows every mistake and warning in a config file and its tenants_dir at once, each with its line:\n" +
			"everything that serve would refuse. It also runs the tenants' tests (which endpoints an event has to\n" +
			"reach). Exits with 1 if there is a mistake, or a test fails; warnings do not count. It starts\n" +
			"nothing and connects to nothing.",
		Example: "  kuairelay check config.yaml",
		Args:    takes(1, 1, "FILE"),
	}

	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := args[0]
		c, mistakes, err := checkConfig(file)
		if err != nil {
			return err
		}

		result := checked{File: file, OK: len(mistakes) == 0, Mistakes: mistakes, Warnings: findings(c.Warnings)}
		result.Tenants, result.Endpoints, result.Routes = sizeOf(c)

		// For people, mistakes go to stderr, and stdout only says that the file is ok.
		if output.isJSON() {
			err = writeJSON(cmd.OutOrStdout(), result, "  ")
		} else {
			printFindings(cmd.ErrOrStderr(), result)
			if result.OK {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %s\n", file, countConfig(c))
			}
		}

		if err == nil && !result.OK {
			err = errSaid
		}
		return err
	}
	return cmd
}

// checkConfig loads a config, builds everything that serve builds of it before it opens its first port, and runs the
// tests of its tenants. An error is a file that could not be read.
func checkConfig(file string) (*config.Config, []finding, error) {
	c, err := loadConfig(file)
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		return &config.Config{}, findings(mistakes), nil
	}
	if err != nil {
		return nil, nil, err
	}

	found := []finding{}
	if _, err := relay.New(relay.Options{Config: c}); err != nil {
		found = append(found, finding{File: file, Msg: err.Error()})
	} else if explainer, err := relay.NewExplainer(c); err != nil {
		found = append(found, finding{File: file, Msg: err.Error()})
	} else {
		found = append(found, findings(explainer.FailedTests())...)
	}
	return c, found, nil
}

func findings(mistakes []config.Mistake) []finding {
	out := []finding{}
	for _, m := range mistakes {
		out = append(out, finding{File: m.Pos.File, Line: m.Pos.Line, Msg: m.Msg})
	}
	return out
}

func printFindings(w io.Writer, c checked) {
	print := func(kind string, all []finding) {
		for _, f := range all {
			at := f.File
			if f.Line > 0 {
				at = fmt.Sprintf("%s:%d", f.File, f.Line)
			}
			fmt.Fprintf(w, "%s: %s%s\n", at, kind, f.Msg)
		}
	}

	print("", c.Mistakes)
	print("warning: ", c.Warnings)
}
