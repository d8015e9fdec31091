package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newRetry() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "retry TENANT/ENDPOINT",
		Short:   "Try deliveries at once that wait for their next attempt",
		GroupID: groupAPI,
		Long: "Tries deliveries of an endpoint at once that wait for their next attempt: that of one event, those of a\n" +
			"waybill, or all. It is one of the attempts of the schedule. What waits behind an older update of its\n" +
			"waybill keeps its place. While the breaker of the endpoint is open, nothing is sent before its next probe.",
		Example: "  kuairelay retry shop/orders --waybill 777005949070187\n  kuairelay retry shop/orders --all",
		Args:    takes(1, 1, "TENANT/ENDPOINT"),
	}

	flags := addAPIFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints(flags)
	event := cmd.Flags().String("event", "", "that of this event `ID`")
	waybill := cmd.Flags().String("waybill", "", "those of this waybill `CODE`")
	all := cmd.Flags().Bool("all", false, "all of the endpoint")
	cmd.MarkFlagsMutuallyExclusive("event", "waybill", "all")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		body := map[string]any{}
		switch {
		case *event != "":
			body["event_id"] = *event
		case *waybill != "":
			body["waybill_code"] = *waybill
		case *all:
			body["all"] = true
		default:
			return usagef("which ones? --event ID, --waybill CODE, or --all")
		}
		path, err := c.endpointPath(args[0])
		if err != nil {
			return err
		}

		result, err := retryAll(cmd, c, path+"/retry", body)
		if err != nil {
			return err
		}
		return showRetry(cmd.OutOrStdout(), result, asJSON)
	})
	return cmd
}

// retryAll tries what body selects, page by page, and shows its progress.
func retryAll(cmd *cobra.Command, c *client, path string, body map[string]any) (sum api.RetryResult, err error) {
	progress := newProgress(cmd.ErrOrStderr())
	defer progress.end()

	for {
		var page api.RetryResult
		if err := c.post(cmd.Context(), path, body, &page); err != nil {
			return sum, endedAfter(sum.Done, err)
		}
		sum.Done += page.Done
		sum.Parked = page.Parked
		if page.Next == "" {
			return sum, nil
		}
		body["cursor"] = page.Next
		progress.show("%d so far", sum.Done)
	}
}

func showRetry(w io.Writer, r api.RetryResult, asJSON bool) error {
	if asJSON {
		return writeJSON(w, r, "  ")
	}
	what := "deliveries are"
	if r.Done == 1 {
		what = "delivery is"
	}
	_, err := fmt.Fprintf(w, "%d %s due at once\n", r.Done, what)
	if r.Parked != nil {
		fmt.Fprintf(w, "The breaker is open: the next probe is sent at %s, and the others follow if it is answered.\n",
			clock(r.Parked.Until, time.Now()))
	}
	return err
}
