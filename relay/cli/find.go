package cli

import (
	"bufio"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

// findAtOnce is how many texts a relay is asked about in one request.
const findAtOnce = 100

func newFind() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "find TEXT...",
		Short:   "Say what waybills, ids and names are, and what is going on with each",
		GroupID: groupAPI,
		Long: "Says of each TEXT what it is (a waybill, the id of an event, of a callback, of a replay or of\n" +
			"something in quarantine, an endpoint, a tenant), and what is going on with it. With - it\n" +
			"reads them from stdin, one to a line. It exits with 1 if nothing is known of one of them.",
		Example: "  kuairelay find 777005949070187\n  kuairelay find - <waybills.txt",
		Args: func(cmd *cobra.Command, args []string) error {
			return takes(1, max(1, len(args)), "TEXT")(cmd, args)
		},
	}

	addAPIFlags(cmd).runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		texts := args
		if slices.Equal(args, []string{"-"}) {
			var err error
			if texts, err = readLines(cmd.InOrStdin()); err != nil {
				return err
			}
		}

		var all []api.Found
		known := true
		for part := range slices.Chunk(texts, findAtOnce) {
			var page api.Finds
			q := url.Values{"q": {strings.Join(part, "\n")}}
			if err := c.get(cmd.Context(), "/find", q, &page); err != nil {
				return err
			}
			for _, x := range page.Found {
				known = known && x.Path != ""
			}
			all = append(all, page.Found...)
		}

		if err := writeFound(cmd.OutOrStdout(), asJSON, all); err != nil {
			return err
		}
		if !known {
			return errSaid
		}
		return nil
	})
	return cmd
}

// writeFound writes what one text is on several lines, and what many are as a list.
func writeFound(w io.Writer, asJSON bool, all []api.Found) error {
	if len(all) == 1 && !asJSON {
		newScreen(w).row(text("%s %s: %s", all[0].Kind, all[0].Query, all[0].Verdict.Code))
		printVerdict(w, all[0].Verdict)
		return nil
	}
	return writeList(w, asJSON, all, "TEXT IS STATE WHAT_IS_GOING_ON", func(x api.Found) []cell {
		return []cell{
			text("%s", x.Query), text("%s", x.Kind), state(x.Verdict.Code), text("%s", x.Verdict.Text),
		}
	})
}

// readLines reads all lines that are not empty.
func readLines(r io.Reader) (lines []string, err error) {
	all := bufio.NewScanner(r)
	for all.Scan() {
		if line := strings.TrimSpace(all.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, all.Err()
}
