package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newStats() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "stats [TENANT/ENDPOINT]",
		Short:   "Show what was delivered and failed over time",
		GroupID: groupAPI,
		Long: "Shows what was delivered and failed over time, and how long it took: of one endpoint, of a tenant, of\n" +
			"all, or of the callbacks of kuaidihelp. Without --since, it shows the last 24 hours by the hour. Times\n" +
			"marked with ~ are interpolated: they are right within a factor of two. Counts of the last 10 seconds\n" +
			"may be missing.",
		Example: "  kuairelay stats shop/orders\n  kuairelay stats shop/orders --since 3h --step 5m\n" +
			"  kuairelay stats --callbacks -o json",
		Args: takes(0, 1, "TENANT/ENDPOINT"),
	}

	flags := addAPIFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints(flags)
	var tenant, since, until, step string
	cmd.Flags().StringVar(&tenant, "tenant", "", "of all endpoints of this `TENANT`")
	callbacks := cmd.Flags().Bool("callbacks", false, "of the callbacks of kuaidihelp; for the operator")
	cmd.Flags().StringVar(&since, "since", "", "from this `TIME` on (RFC 3339), or a span before now like 90m or 7d")
	cmd.Flags().StringVar(&until, "until", "", "before this `TIME`")
	cmd.Flags().StringVar(&step, "step", "", "`LENGTH` of a row: 1m, 5m, 10m, 15m, 30m, 1h, 2h, 3h, 6h, 12h or 24h")

	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		if since == "" && step == "" {
			step = "1h"
		}
		q := url.Values{}
		for name, v := range map[string]string{
			"endpoint": strings.Join(args, ""), "tenant": tenant, "since": since, "until": until, "step": step,
		} {
			if v != "" {
				q.Set(name, v)
			}
		}
		if *callbacks {
			q.Set("of", "callbacks")
		}

		var s api.Stats
		if err := c.get(cmd.Context(), "/stats", q, &s); err != nil {
			return err
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), s, "  ")
		}
		printStats(cmd.OutOrStdout(), s, time.Now(), *callbacks)
		return nil
	})
	return cmd
}

func printStats(w io.Writer, s api.Stats, now time.Time, callbacks bool) {
	head := "FROM DELIVERED FAILED DEAD OPEN WAITING OLDEST ATTEMPT_P50/P95 DELIVERY_P50/P95 FAILURES"
	row := statsRow
	if callbacks {
		head = "FROM SUCCESS REFUSED FAILED NEW DUPLICATE UNROUTED QUARANTINED DURABLE_P50/P95"
		row = callbacksRow
	}

	var rows [][]cell
	for _, p := range s.Points {
		rows = append(rows, append([]cell{text("%s", clock(p.At, now))}, row(p)...))
	}
	rows = append(rows, append([]cell{text("total")}, row(s.Total)...))
	newScreen(w).table(head, rows)
}

// statsRow has the columns of endpoints.
func statsRow(p api.StatsPoint) []cell {
	oldest := "-"
	if p.OldestS > 0 {
		oldest = span(time.Duration(p.OldestS) * time.Second)
	}
	var failures []string
	for _, class := range sortedKeys(p.Failures) {
		failures = append(failures, fmt.Sprintf("%d %s", p.Failures[class], class))
	}
	return []cell{
		text("%d", p.Delivered), text("%d", p.Failed), text("%d", p.Dead), text("%d", p.Open), text("%d", p.Waiting),
		text("%s", oldest), percentiles(p.Attempt), percentiles(p.Delivery), text("%s", strings.Join(failures, ", ")),
	}
}

// callbacksRow has the columns of callbacks.
func callbacksRow(p api.StatsPoint) []cell {
	failed := p.Answers["failure"] + p.Answers["unread"] + p.Answers["no_room"]
	return []cell{
		text("%d", p.Answers["success"]), text("%d", p.Answers["refused"]), text("%d", failed),
		text("%d", p.Events["new"]), text("%d", p.Events["duplicate"]), text("%d", p.Events["unrouted"]),
		text("%d", p.Events["quarantined"]), percentiles(p.Durable),
	}
}

// percentiles shows percentiles.
func percentiles(p *api.Percentiles) cell {
	if p == nil {
		return text("-")
	}
	return text("~%s/%s", span(time.Duration(p.P50MS)*time.Millisecond), span(time.Duration(p.P95MS)*time.Millisecond))
}
