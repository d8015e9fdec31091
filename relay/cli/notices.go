package cli

import (
	"io"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newNotices() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "notices",
		Short:   "Try the messages that tell people of problems",
		GroupID: groupAPI,
		Long: "Messages tell people when something needs them, and when it is over: see `notices` in the config. What\n" +
			"needs somebody now is in `kuairelay status`.",
		Example: "  kuairelay notices test",
	}
	cmd.AddCommand(newNoticesTest())
	onlyGroups(cmd)
	return cmd
}

func newNoticesTest() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [NAME]",
		Short: "Send a test message to the receivers of notices, and show what became of it",
		Long: "Sends a test message to each receiver of your notices, or to the one of a name, and shows what became of\n" +
			"it. A receiver has the name of its format and its place in the list: wecom-1 is the first, slack-2 the\n" +
			"second. Before those of tenants stands the tenant: shop/wecom-1; the operator tries them by their names.\n" +
			"It exits with 1 if a message was not taken.",
		Example: "  kuairelay notices test\n  kuairelay notices test wecom-1",
		Args:    takes(0, 1, "[NAME]"),
	}

	flags := addAPIFlags(cmd)
	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		body := map[string]any{}
		if len(args) > 0 {
			body["receiver"] = args[0]
		}
		var result api.NoticeTests
		if err := c.post(cmd.Context(), "/notices/test", body, &result); err != nil {
			return err
		}

		if asJSON {
			if err := writeJSON(cmd.OutOrStdout(), result, "  "); err != nil {
				return err
			}
		} else {
			printNoticeTests(cmd.OutOrStdout(), result.Tests)
		}

		for _, t := range result.Tests {
			if !t.Sent {
				return errSaid
			}
		}
		return nil
	})
	return cmd
}

func printNoticeTests(w io.Writer, tests []api.NoticeTest) {
	out := newScreen(w)
	if len(tests) == 0 {
		out.row(text("There are no receivers: notices in the config has none."))
		return
	}
	var rows [][]cell
	for _, t := range tests {
		result := "sent"
		if !t.Sent {
			result = "failed: " + t.Why
		}
		rows = append(rows, []cell{text("%s", t.Receiver), text("%s", t.Host), text("%s", printable(result))})
	}
	out.table("RECEIVER HOST RESULT", rows)
}
