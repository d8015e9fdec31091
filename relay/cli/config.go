package cli

import (
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Show which config a running relay serves",
		GroupID: groupAPI,
		Long: "Shows which config a running relay serves and since when, the mistakes of its files if they were not\n" +
			"taken, warnings, and the keys that wait for a restart. With --effective it prints the config itself as\n" +
			"YAML, with the defaults of what the files leave out. Secrets are not shown, only where they come from.\n" +
			"A tenant sees its own part. Exits with 1 if the files have mistakes.",
		Example: "  kuairelay config\n  kuairelay config --effective\n" +
			"  kuairelay config --key $SHOP_API_KEY    # as a tenant sees it",
		Args: takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	effective := cmd.Flags().Bool("effective", false, "print the config as YAML")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		switch {
		case *effective && asJSON:
			return usagef("--effective is YAML: not with -o json")
		case *effective:
			var text []byte
			if err := c.get(cmd.Context(), "/config/effective", nil, &text); err != nil {
				return err
			}
			_, err := cmd.OutOrStdout().Write(text)
			return err
		}

		var state api.ConfigState
		err := c.get(cmd.Context(), "/config", nil, &state)
		switch {
		case err != nil:
			return err
		case asJSON:
			err = writeJSON(cmd.OutOrStdout(), state, "  ")
		default:
			printConfig(cmd.OutOrStdout(), state, time.Now())
		}
		if err == nil && len(state.Mistakes) > 0 {
			err = errSaid
		}
		return err
	})
	return cmd
}

func printConfig(w io.Writer, s api.ConfigState, now time.Time) {
	out := newScreen(w)
	line := func(name, format string, args ...any) { out.row(label(name, 10), text(format, args...)) }

	line("served", "%s, since %s (%s)", s.Fingerprint, s.Since.UTC().Format(time.RFC3339), age(s.Since, now))
	line("read", "%s ago without a mistake", age(s.CheckedAt, now))
	if s.Tenants > 0 {
		line("holds", "%s, %s", plural(s.Tenants, "tenant"), plural(s.Endpoints, "endpoint"))
	} else {
		line("holds", "%s", plural(s.Endpoints, "endpoint"))
	}

	if s.Reload != "ok" {
		line("refused", "the files have mistakes for %s: the relay keeps the one from before", age(s.RefusedAt, now))
	}
	note := func(name string, m mark, n api.ConfigNote) {
		out.row(cell{text: name, width: 10, mark: m}, text("%s", printable(place(n)+n.Text)))
	}
	for _, n := range s.Mistakes {
		note("mistake", bad, n)
	}
	if s.More > 0 {
		line("mistake", "and %d more: kuairelay check lists them", s.More)
	}
	for _, n := range s.Warnings {
		note("warning", plain, n)
	}
	if len(s.Restart) > 0 {
		line("restart", "needed for %s, which keep their values until then", strings.Join(s.Restart, ", "))
	}
}

// place is "file:line: ", as kuairelay check has it; empty: the note is about no place.
func place(n api.ConfigNote) string {
	if n.File == "" {
		return ""
	}
	return n.File + ":" + strconv.Itoa(n.Line) + ": "
}
