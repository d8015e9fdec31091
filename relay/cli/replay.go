package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

func newReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "replay",
		Short:   "Send events again, or count them",
		GroupID: groupAPI,
		Long: "Sends the events that the flags select again, with kuairelay-reason: replay, if they were delivered,\n" +
			"given up or dismissed. Open deliveries are not affected. The relay sends --rate events a second.\n" +
			"This command shows the progress; if it is interrupted, the replay goes on. --reroute matches\n" +
			"unrouted events again, by today's routes.",
		Example: "  kuairelay replay --endpoint shop/orders --since 2h --dry-run\n" +
			"  kuairelay replay --endpoint shop/orders --since 2h --rate 500\n" +
			"  kuairelay replay --reroute --since 1d",
		Args: takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	filter := addFilterFlags(cmd, flags)
	dry := cmd.Flags().Bool("dry-run", false, "only count")
	reroute := cmd.Flags().Bool("reroute", false, "send unrouted events to the endpoints of today's routes")
	rate := cmd.Flags().Int("rate", 100, "events a second at most")
	events := cmd.Flags().StringSlice("event", nil, "only the event `ID`; may be given up to 100 times")
	detach := cmd.Flags().Bool("detach", false, "do not wait for the end")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		// All events must not be sent again by accident.
		body, err := filter.body()
		switch {
		case err != nil:
			return err
		case len(body)+len(*events) == 0:
			return usagef("which events? --since, --endpoint or other flags must say")
		}

		body["rate"] = *rate
		if len(*events) > 0 {
			body["event_ids"] = *events
		}
		for name, set := range map[string]bool{"dry_run": *dry, "reroute": *reroute} {
			if set {
				body[name] = true
			}
		}

		var r api.Replay
		if err := c.post(cmd.Context(), "/replays", body, &r); err != nil {
			return err
		}

		if !*detach {
			r = watchReplay(cmd, c, r)
		}
		return printReplay(cmd, asJSON, r)
	})

	cmd.AddCommand(newReplayList(), newReplayCancel())
	return cmd
}

// watchReplay shows how far a replay is, until it ends or the command is interrupted.
func watchReplay(cmd *cobra.Command, c *client, r api.Replay) api.Replay {
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()

	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for r.State == event.ReplayRunning {
		p.show("%s: %d events looked at, %d deliveries queued again (Ctrl-C leaves it running)", r.ID, r.Looked, r.Queued)

		select {
		case <-cmd.Context().Done():
			return r
		case <-tick.C:
		}

		// If the relay does not answer, the last state stays: the replay does not need this command.
		now := r
		if c.get(cmd.Context(), "/replays/"+url.PathEscape(r.ID), nil, &now) == nil {
			r = now
		}
	}
	return r
}

func printReplay(cmd *cobra.Command, asJSON bool, r api.Replay) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), r, "  ")
	}

	what := "queued again"
	if r.Request.DryRun {
		what = "would be queued again"
	}

	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is %s: of %d events %d match; %d deliveries %s, %d skipped\n",
		r.ID, r.State, r.Looked, r.Matched, r.Queued, what, r.Skipped)

	if r.Why != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "The relay has ended it: %s\n", r.Why)
	}
	if r.State == event.ReplayRunning {
		fmt.Fprintf(cmd.OutOrStdout(), "It goes on: kuairelay replay list, and kuairelay replay cancel %s\n", r.ID)
	}
	return err
}

func newReplayList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the replays of the last 30 days",
		Example: "  kuairelay replay list",
		Args:    takes(0, 0, ""),
	}
	addAPIFlags(cmd).runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		all := []api.Replay{}
		q := url.Values{}
		for {
			var list api.Replays
			if err := c.get(cmd.Context(), "/replays", q, &list); err != nil {
				return err
			}

			all = append(all, list.Replays...)
			if list.Next == "" {
				break
			}

			q.Set("cursor", list.Next)
		}

		const head = "REPLAY STATE BEGUN BY LOOKED MATCHED QUEUED SKIPPED"
		return writeList(cmd.OutOrStdout(), asJSON, all, head, func(r api.Replay) []cell {
			return []cell{
				text("%s", r.ID), state(r.State), text("%s", clock(r.CreatedAt, time.Now())),
				text("%s", cmp.Or(r.Tenant, "operator")),
				text("%d", r.Looked), text("%d", r.Matched), text("%d", r.Queued), text("%d", r.Skipped),
			}
		})
	})
	return cmd
}

func newReplayCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cancel REPLAY",
		Short:   "End a replay; deliveries that it has queued are made",
		Example: "  kuairelay replay cancel rpl_mhq3s8x1abcd",
		Args:    takes(1, 1, "REPLAY"),
	}

	flags := addAPIFlags(cmd)

	// The shell completes replays that run.
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
		var list api.Replays
		if c, err := flags.client(); err == nil {
			_ = c.get(cmd.Context(), "/replays", nil, &list) // without a relay there is nothing to complete
		}
		for _, r := range list.Replays {
			if r.State == event.ReplayRunning {
				ids = append(ids, r.ID)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}

	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		var r api.Replay
		if err := c.call(cmd.Context(), http.MethodDelete, "/replays/"+url.PathEscape(args[0]), nil, nil, &r); err != nil {
			return err
		}
		return printReplay(cmd, asJSON, r)
	})
	return cmd
}
