package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

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
	// Points is null unless --production asks for them, and the config has no mistake. Unknown says what could not be
	// checked.
	Points  []point  `json:"points"`
	Unknown []string `json:"unknown"`
}

// point is something that should not go into production.
type point struct {
	Code string `json:"code"`
	finding
	Do string `json:"do"`
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
			"nothing and connects to nothing.\n\n" +
			"With --production it also lists what should not go into production: secrets of the example, short\n" +
			"keys, open listeners, an embedded Redis, and so on, each with why and what to do. It asks the Redis of\n" +
			"redis.url how it is set up, for two seconds at most, and says what it could not find out. It exits\n" +
			"with 1 if there is a point. A mistake comes first: with one it lists no points.\n\n" +
			"With --no-secrets it runs where no secrets are, as in the CI of a repository: a variable that is not\n" +
			"set, or a file:PATH that is missing, is no mistake then. A placeholder stands for it, and one line says\n" +
			"how many values have one.",
		Example: "  kuairelay check config.yaml\n  kuairelay check --production config.yaml\n" +
			"  kuairelay check --no-secrets config.yaml",
		Args: takes(1, 1, "FILE"),
	}

	output := outputFlag(cmd)
	noSecrets := cmd.Flags().Bool("no-secrets", false, "let variables be unset and files be missing: for pull requests")
	production := cmd.Flags().Bool("production", false, "also list what should not go into production")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := args[0]
		if *production && *noSecrets {
			return usagef("--production looks at the secrets: not with --no-secrets")
		}
		c, placeholders, err := loadForCheck(file, *noSecrets)
		mistakes, err := checkConfig(file, c, err)
		if err != nil {
			return err
		}
		if c == nil {
			c = &config.Config{}
		}

		result := checked{File: file, OK: len(mistakes) == 0, Mistakes: mistakes, Warnings: findings(c.Warnings)}
		result.Tenants, result.Endpoints, result.Routes = sizeOf(c)
		if placeholders > 0 {
			result.Unknown = []string{fmt.Sprintf("%s from variables that are not set, or files that are missing: "+
				"placeholders stand for them", plural(placeholders, "value"))}
		}
		switch {
		case *production && result.OK:
			result.forProduction(cmd.Context(), c)
		case *production:
			result.Unknown = []string{"what should not go into production: with a mistake in the config, --production looks " +
				"at nothing else"}
		}

		// For people, mistakes go to stderr, and stdout only says that the file is ok.
		if output.isJSON() {
			err = writeJSON(cmd.OutOrStdout(), result, "  ")
		} else {
			printFindings(cmd.ErrOrStderr(), result)
			fmt.Fprint(cmd.OutOrStdout(), result.sum(countConfig(c)))
		}

		if err == nil && (!result.OK || len(result.Points) > 0) {
			err = errSaid
		}
		return err
	}
	return cmd
}

// forProduction finds what should not go into production. What a warning says, too, is no longer a warning then.
func (c *checked) forProduction(ctx context.Context, of *config.Config) {
	ofRedis, unknown := relay.PointsOfRedis(ctx, of)
	c.Points = []point{}
	c.Unknown = append([]string{}, unknown...)
	for _, p := range slices.Concat(of.Production.Points, relay.PointsOfSpool(of), ofRedis) {
		at := finding{File: p.Pos.File, Line: p.Pos.Line, Msg: p.Why}
		c.Points = append(c.Points, point{Code: p.Code, finding: at, Do: p.Do})
		c.Warnings = slices.DeleteFunc(c.Warnings, func(w finding) bool {
			return w == finding{File: at.File, Line: at.Line, Msg: p.Warning}
		})
	}
}

// sum sums up the check in a line; empty: there are mistakes, which say enough.
func (c *checked) sum(counts string) string {
	switch {
	case !c.OK:
		return ""
	case len(c.Points) > 0:
		return fmt.Sprintf("%s: not for production: %s, %s\n", c.File, plural(len(c.Points), "point"), counts)
	case c.Points != nil && len(c.Unknown) > 0:
		return fmt.Sprintf("%s: ok for production as far as it is known, %s\n", c.File, counts)
	case c.Points != nil:
		return fmt.Sprintf("%s: ok for production, %s\n", c.File, counts)
	}
	return fmt.Sprintf("%s: ok, %s\n", c.File, counts)
}

// loadForCheck loads a config, without the secrets that are not here if it may.
func loadForCheck(file string, noSecrets bool) (c *config.Config, placeholders int, err error) {
	if noSecrets {
		return relay.LoadWithoutSecrets(file)
	}
	c, err = loadConfig(file)
	return c, 0, err
}

// checkConfig finds the mistakes of a config that was loaded, or could not be with an error: it builds everything that
// serve builds of it before it opens its first port, and runs the tests of its tenants. An error is a file that could
// not be read.
func checkConfig(file string, c *config.Config, err error) ([]finding, error) {
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		return findings(mistakes), nil
	}
	if err != nil {
		return nil, err
	}

	found := []finding{}
	if _, err := relay.New(relay.Options{Config: c}); err != nil {
		found = append(found, finding{File: file, Msg: err.Error()})
	} else if explainer, err := relay.NewExplainer(c); err != nil {
		found = append(found, finding{File: file, Msg: err.Error()})
	} else {
		found = append(found, findings(explainer.FailedTests())...)
	}
	return found, nil
}

func findings(mistakes []config.Mistake) []finding {
	out := []finding{}
	for _, m := range mistakes {
		out = append(out, finding{File: m.Pos.File, Line: m.Pos.Line, Msg: m.Msg})
	}
	return out
}

func printFindings(w io.Writer, c checked) {
	for _, m := range c.Mistakes {
		fmt.Fprintf(w, "%s: %s\n", m.place(), m.Msg)
	}
	for _, f := range c.Warnings {
		fmt.Fprintf(w, "%s: warning: %s\n", f.place(), f.Msg)
	}
	for _, p := range c.Points {
		fmt.Fprintf(w, "%s: production: %s [%s]\n    do: %s\n", p.place(), p.Msg, p.Code, p.Do)
	}
	for _, what := range c.Unknown {
		fmt.Fprintf(w, "%s: not known: %s\n", c.File, what)
	}
}

// place is "file:line", or the file alone.
func (f finding) place() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}
