package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newDeadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dead-letters",
		Short:   "List deliveries that were given up; redrive or dismiss them",
		GroupID: groupAPI,
		Long:    "Lists dead letters, the latest first. --since and --until are times at which they were given up.",
		Example: "  kuairelay dead-letters --endpoint shop/orders\n  kuairelay dead-letters redrive --endpoint shop/orders",
		Args:    takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	filter := addFilterFlags(cmd, flags)
	count := numberFlag(cmd)
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		all, err := pages(cmd.Context(), c, "/dead-letters", filter.query(), *count,
			func(p api.DeadLetters) ([]api.DeadLetter, string) { return p.DeadLetters, p.Next })
		if err != nil {
			return err
		}

		const head = "DEAD_SINCE ENDPOINT WAYBILL BRAND STATUS ATTEMPTS REASON"
		return writeList(cmd.OutOrStdout(), asJSON, all, head, func(l api.DeadLetter) []cell {
			return []cell{
				text("%s", clock(l.DeadAt, time.Now())), text("%s", l.Endpoint), text("%s", l.WaybillCode),
				text("%s", l.CPCode), text("%s", l.Status), text("%d", l.Attempts), text("%s", l.Reason),
			}
		})
	})

	cmd.AddCommand(
		newDeadLetterChange("redrive", "Queue dead letters again",
			"Queues dead letters again, due at once: all that the flags select, or that of one event at one endpoint.\n"+
				"They carry kuairelay-reason: redrive."),
		newDeadLetterChange("dismiss", "Take dead letters off the list",
			"Takes dead letters off the list: all that the flags select, or that of one event at one endpoint. Their\n"+
				"events expire as delivered ones do."),
	)

	return cmd
}

// changeDeadLetters redrives or dismisses what body selects, page by page, and returns how many dead letters it
// changed. It shows its progress.
func changeDeadLetters(cmd *cobra.Command, c *client, name string, body map[string]any) (total int, err error) {
	progress := newProgress(cmd.ErrOrStderr())
	defer progress.end()

	for {
		var done api.DeadLettersResult
		if err := c.post(cmd.Context(), "/dead-letters/"+name, body, &done); err != nil {
			return total, endedAfter(total, err)
		}

		total += done.Done
		if done.Error != "" {
			return total, endedAfter(total, errors.New(done.Error))
		}
		if done.Next == "" {
			return total, nil
		}

		body["cursor"] = done.Next
		progress.show("%d so far", total)
	}
}

// endedAfter is the error that ended what was asked for in parts: so many were done before.
func endedAfter(done int, err error) error {
	if done == 0 {
		return err
	}
	return fmt.Errorf("ended after %d: %w", done, err)
}

// countDeadLetters shows how many dead letters redrive or dismiss would take.
func countDeadLetters(
	cmd *cobra.Command, c *client, name string, body map[string]any, would string, asJSON bool,
) error {
	body["dry_run"] = true
	var r api.DeadLettersResult
	if err := c.post(cmd.Context(), "/dead-letters/"+name, body, &r); err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), r, "  ")
	}

	count, least := 0, ""
	if r.Count != nil {
		count = *r.Count
	}
	if r.AtLeast {
		least = "at least "
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s%s\n", would, least, plural(count, "dead letter"))
	return err
}

// newDeadLetterChange makes the commands redrive and dismiss.
func newDeadLetterChange(name, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " [EVENT_ID TENANT/ENDPOINT]",
		Short: short,
		Long:  long + "\nWithout a flag that selects, --all is needed.",
		Example: "  kuairelay dead-letters " + name + " --endpoint shop/orders --since 2d --dry-run\n" +
			"  kuairelay dead-letters " + name + " --all",
		Args: takes(0, 2, ""),
	}

	flags := addAPIFlags(cmd)
	filter := addFilterFlags(cmd, flags)
	all := cmd.Flags().Bool("all", false, "all dead letters")
	dry := cmd.Flags().Bool("dry-run", false, "only count")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		// What to change must be said: one dead letter, a filter, or all.
		f, err := filter.body()
		switch {
		case err != nil:
			return err
		case len(args) == 1:
			return usagef("an event may have several dead letters: EVENT_ID needs a TENANT/ENDPOINT behind it")
		case len(args) == 2 && (*all || *dry || len(f) > 0):
			return usagef("EVENT_ID says which: it does not go with flags that do")
		case len(args) == 0 && len(f) == 0 && !*all:
			return usagef("which ones? --endpoint and other flags, an EVENT_ID, or --all")
		}

		body := map[string]any{"all": true, "filter": f}
		if len(args) == 2 {
			body = map[string]any{"dead_letters": []map[string]string{{"event_id": args[0], "endpoint": args[1]}}}
		}

		done := map[string]string{"redrive": "queued again", "dismiss": "dismissed"}[name]
		if *dry {
			return countDeadLetters(cmd, c, name, body, "would be "+done, asJSON)
		}
		total, err := changeDeadLetters(cmd, c, name, body)
		if err != nil {
			return err
		}

		if asJSON {
			return writeJSON(cmd.OutOrStdout(), api.DeadLettersResult{Done: total}, "  ")
		}

		if len(args) == 2 && total == 0 {
			return fmt.Errorf("there is no such dead letter")
		}

		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", done, plural(total, "dead letter"))
		return nil
	})
	return cmd
}
