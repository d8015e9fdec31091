package cli

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/console"
)

func newQuarantine() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "quarantine",
		Short:   "List what was not understood; show it, or take it in again",
		GroupID: groupAPI,
		Long:    "Lists callbacks of kuaidihelp, and items of them, that were not understood, the latest first. For the operator.",
		Example: "  kuairelay quarantine\n  kuairelay quarantine replay --all    # after an upgrade",
		Args:    takes(0, 0, ""),
	}
	api, output := addAPIFlags(cmd), outputFlag(cmd)
	count := cmd.Flags().IntP("number", "n", 50, "how many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := api.operator()
		if err != nil {
			return err
		}
		if *count < 1 {
			return usagef("--number must be at least 1")
		}
		q, all := url.Values{}, []console.Quarantined{}
		for len(all) < *count {
			q.Set("limit", strconv.Itoa(min(500, *count-len(all))))
			var page console.QuarantineList
			if err := c.get(cmd.Context(), "/quarantine", q, &page); err != nil {
				return err
			}
			all = append(all, page.Quarantined...)
			if page.Next == "" {
				break
			}
			q.Set("cursor", page.Next)
		}
		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), all, "  ")
		}
		var rows [][]cell
		for _, x := range all {
			rows = append(rows, []cell{text("%s", clock(x.ReceivedAt, time.Now())), text("%s", x.ID), text("%d", x.Bytes), text("%s", x.Reason)})
		}
		newScreen(cmd.OutOrStdout()).table("RECEIVED ID BYTES REASON", rows)
		return nil
	}
	cmd.AddCommand(newQuarantineShow(), newQuarantineReplay())
	return cmd
}

// operator is a client of the operator: a tenant sees nothing of quarantine.
func (f *apiFlags) operator() (*client, error) {
	c, err := f.client()
	if err == nil && c.tenant {
		return nil, usagef("this is for the operator: leave --key and %s out", apiKeyVariable)
	}
	return c, err
}

func newQuarantineShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Write what was not understood to stdout, byte for byte",
		Example: "  kuairelay quarantine show qtn_… > callback",
		Args:    takes(1, 1, "ID"),
	}
	api, output := addAPIFlags(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := api.operator()
		if err != nil {
			return err
		}
		var q console.Quarantined
		if err := c.get(cmd.Context(), "/quarantine/"+url.PathEscape(args[0]), nil, &q); err != nil {
			return err
		}
		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), q, "  ")
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "received %s, not understood: %s\n", clock(q.ReceivedAt, time.Now()), q.Reason)
		_, err = cmd.OutOrStdout().Write(q.Raw)
		return err
	}
	return cmd
}

func newQuarantineReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "replay [ID...]",
		Short:   "Take in what was not understood as if it had just come",
		Long:    "Takes in callbacks from quarantine as if they had just come, which may be of use after an upgrade. What is understood now leaves quarantine.",
		Example: "  kuairelay quarantine replay --all",
		Args:    takes(0, 500, "ID"),
	}
	api, output := addAPIFlags(cmd), outputFlag(cmd)
	all := cmd.Flags().Bool("all", false, "all there is")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all == (len(args) > 0) {
			return usagef("either IDs or --all must say which")
		}
		c, err := api.operator()
		if err != nil {
			return err
		}
		body := map[string]any{"ids": args}
		if *all {
			body = map[string]any{"all": true}
		}
		total := console.QuarantineResult{Failed: []string{}}
		p := newProgress(cmd.ErrOrStderr())
		for {
			var r console.QuarantineResult
			if err := c.post(cmd.Context(), "/quarantine/replay", body, &r); err != nil {
				p.end()
				return err
			}
			total.Tried, total.Events, total.New, total.Released = total.Tried+r.Tried, total.Events+r.Events, total.New+r.New, total.Released+r.Released
			total.Failed = append(total.Failed, r.Failed...)
			if r.Next == "" {
				break
			}
			body["cursor"] = r.Next
			p.show("%d tried", total.Tried)
		}
		p.end()
		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), total, "  ")
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d tried: %d understood, with %s, %d of them new; %d stay\n",
			total.Tried, total.Released, plural(total.Events, "event"), total.New, len(total.Failed))
		return nil
	}
	return cmd
}
