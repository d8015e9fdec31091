package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newQuarantine() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "quarantine",
		Short:   "List callbacks that could not be understood; show, replay or dismiss them",
		GroupID: groupAPI,
		Long: "Lists callbacks of kuaidihelp, and items of callbacks, that could not be understood, the latest\n" +
			"first, or with --group their reasons, and how many would be understood now. For the operator.",
		Example: "  kuairelay quarantine --group\n  kuairelay quarantine replay --all    # after an upgrade",
		Args:    takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	count := numberFlag(cmd)
	contains := cmd.Flags().String("contains", "", "only those with this `TEXT` in what came, such as a waybill code")
	group := cmd.Flags().Bool("group", false, "count the latest 500 by their reasons")
	flags.runsAsOperator(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		q := url.Values{}
		if *contains != "" {
			q.Set("contains", *contains)
		}
		if *group {
			q.Set("group", "reason")
			return groupQuarantine(cmd, c, q, asJSON)
		}

		all, err := pages(cmd.Context(), c, "/quarantine", q, *count,
			func(p api.QuarantineList) ([]api.Quarantined, string) { return p.Quarantined, p.Next })
		if err != nil {
			return err
		}

		return writeList(cmd.OutOrStdout(), asJSON, all, "RECEIVED ID BYTES REASON", func(x api.Quarantined) []cell {
			return []cell{
				text("%s", clock(x.ReceivedAt, time.Now())), text("%s", x.ID), text("%d", x.Bytes), text("%s", x.Reason),
			}
		})
	})

	cmd.AddCommand(newQuarantineShow(), newQuarantineReplay(), newQuarantineDismiss())
	return cmd
}

// groupQuarantine lists the reasons of what is in quarantine.
func groupQuarantine(cmd *cobra.Command, c *client, q url.Values, asJSON bool) error {
	var list api.QuarantineList
	if err := c.get(cmd.Context(), "/quarantine", q, &list); err != nil {
		return err
	}
	s := list.Grouped
	if s == nil {
		return errors.New("the relay is older than this command: it does not group")
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), s, "  ")
	}

	const head = "COUNT UNDERSTOOD_NOW LATEST LATEST_ID REASON"
	err := writeList(cmd.OutOrStdout(), false, s.Groups, head, func(g api.QuarantineGroup) []cell {
		return []cell{
			text("%d", g.Count), text("%d of %d", g.Understood, g.Parsed), text("%s", clock(g.LatestAt, time.Now())),
			text("%s", g.LatestID), text("%s", cmp.Or(g.Reason, "others")),
		}
	})
	fmt.Fprintf(cmd.OutOrStdout(), "the latest %d of %d; of %d that were parsed again, %d would be understood now\n",
		s.Looked, s.Total, s.Parsed, s.Understood)
	return err
}

// runsAsOperator is runs for what only the operator may see.
func (f *apiFlags) runsAsOperator(
	cmd *cobra.Command, run func(cmd *cobra.Command, c *client, args []string, asJSON bool) error,
) {
	f.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		if c.tenant {
			return usagef("this is for the operator: leave --key and %s out", apiKeyVariable)
		}
		return run(cmd, c, args, asJSON)
	})
}

func newQuarantineShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Write a callback or item from quarantine to stdout, byte for byte",
		Example: "  kuairelay quarantine show qtn_… > callback",
		Args:    takes(1, 1, "ID"),
	}

	addAPIFlags(cmd).runsAsOperator(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		var q api.Quarantined
		if err := c.get(cmd.Context(), "/quarantine/"+url.PathEscape(args[0]), nil, &q); err != nil {
			return err
		}

		if asJSON {
			return writeJSON(cmd.OutOrStdout(), q, "  ")
		}

		fmt.Fprintf(cmd.ErrOrStderr(), "received %s, not understood: %s\n", clock(q.ReceivedAt, time.Now()), q.Reason)
		if q.Now != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "now: %s\n", nowText(*q.Now))
		}
		_, err := cmd.OutOrStdout().Write(q.Raw)
		return err
	})
	return cmd
}

// nowText says what a callback from quarantine would come to now.
func nowText(n api.QuarantineNow) string {
	if n.Understood {
		return fmt.Sprintf("understood, with %s (kuairelay quarantine replay takes it in)", plural(n.Events, "event"))
	}
	return fmt.Sprintf("still not understood: %s (%d of %s would be events)",
		n.Reason, n.Events, plural(n.Events+n.Rejected, "item"))
}

func newQuarantineDismiss() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dismiss ID...",
		Short:   "Remove callbacks from quarantine for good",
		Example: "  kuairelay quarantine dismiss qtn_…",
		Args:    takes(1, 500, "ID"),
	}

	addAPIFlags(cmd).runsAsOperator(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		var r api.QuarantineDismissed
		err := c.post(cmd.Context(), "/quarantine/dismiss", map[string]any{"ids": args}, &r)
		switch {
		case err != nil:
			return err
		case asJSON:
			return writeJSON(cmd.OutOrStdout(), r, "  ")
		case r.Done == 0:
			return errors.New("nothing in quarantine has this id")
		}
		fmt.Fprintf(cmd.OutOrStdout(), "removed: %d\n", r.Done)
		return nil
	})
	return cmd
}

func newQuarantineReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay [ID...]",
		Short: "Parse callbacks from quarantine again, as if they had just come",
		Long: "Parses callbacks from quarantine again, as if they had just come: an upgrade may have taught the\n" +
			"relay their form. Those that are understood leave quarantine.",
		Example: "  kuairelay quarantine replay --all",
		Args:    takes(0, 500, "ID"),
	}

	flags := addAPIFlags(cmd)
	all := cmd.Flags().Bool("all", false, "all callbacks and items in quarantine")
	flags.runsAsOperator(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		if *all == (len(args) > 0) {
			return usagef("either IDs or --all must say which")
		}

		body := map[string]any{"ids": args}
		if *all {
			body = map[string]any{"all": true}
		}

		// The relay takes one page of quarantine at a time.
		total := api.QuarantineResult{Failed: []string{}}

		p := newProgress(cmd.ErrOrStderr())
		for {
			var r api.QuarantineResult
			if err := c.post(cmd.Context(), "/quarantine/replay", body, &r); err != nil {
				p.end()
				return endedAfter(total.Tried, err)
			}

			total.Tried += r.Tried
			total.Events += r.Events
			total.New += r.New
			total.Released += r.Released
			total.Failed = append(total.Failed, r.Failed...)

			if r.Next == "" {
				break
			}

			body["cursor"] = r.Next
			p.show("%d tried", total.Tried)
		}
		p.end()

		if asJSON {
			return writeJSON(cmd.OutOrStdout(), total, "  ")
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d tried: %d understood, with %s, %d of them new; %d stay\n",
			total.Tried, total.Released, plural(total.Events, "event"), total.New, len(total.Failed))
		return nil
	})
	return cmd
}
