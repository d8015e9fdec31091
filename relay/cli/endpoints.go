package cli

import (
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newEndpoints() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "endpoints",
		Short:   "List endpoints with their health",
		GroupID: groupAPI,
		Example: "  kuairelay endpoints\n  kuairelay endpoints --state failing -o json\n  kuairelay endpoints --trouble",
		Args:    takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	tenant := cmd.Flags().String("tenant", "", "of this `TENANT`")
	state := cmd.Flags().String("state", "", "in this `STATE`: ok, failing, idle, paused, gone, …")
	name := cmd.Flags().String("name", "", "with this `TEXT` in the name")
	trouble := cmd.Flags().Bool("trouble", false, "those first that need somebody most")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		// An unknown state is wrong usage, so it is found before the relay is asked.
		if *state != "" && !slices.Contains(api.EndpointStates(), *state) {
			return usagef("--state must be one of %s", strings.Join(api.EndpointStates(), ", "))
		}

		q := url.Values{}
		for name, v := range map[string]string{"tenant": *tenant, "state": *state, "name": *name} {
			if v != "" {
				q.Set(name, v)
			}
		}

		if *trouble {
			q.Set("sort", api.SortTrouble)
		}

		all, err := pages(cmd.Context(), c, "/endpoints", q, math.MaxInt,
			func(p api.Endpoints) ([]api.EndpointHealth, string) { return p.Endpoints, p.Next })
		switch {
		case err != nil:
			return err
		case asJSON:
			return writeJSON(cmd.OutOrStdout(), all, "  ")
		}
		printEndpoints(cmd.OutOrStdout(), all, time.Now())
		return nil
	})
	return cmd
}

func printEndpoints(w io.Writer, all []api.EndpointHealth, now time.Time) {
	var rows [][]cell
	for _, e := range all {
		good, took, last := "-", "-", "-"
		if e.Sample > 0 {
			good = fmt.Sprintf("%.0f%%", 100*e.SuccessRate)
			took = fmt.Sprintf("%d/%d ms", e.P50MS, e.P95MS)
		}

		if e.LastError != nil {
			last = describeAttempt(*e.LastError)
		}

		rows = append(rows, []cell{
			text("%s", e.Endpoint), state(e.State), text("%d", e.Open), text("%d", e.Waiting), text("%d", e.Dead),
			text("%s", atLeast(e, now)), text("%s", good), text("%s", took), text("%s", last),
		})
	}

	s := newScreen(w)
	s.table("ENDPOINT STATE OPEN WAITING DEAD OLDEST GOOD P50/P95 LAST_ERROR", rows)

	for _, e := range all {
		if !e.Twice.IsZero() {
			s.row(text("%s answers requests twice (seen %s ago): each attempt has a connection of its own until "+
				"`kuairelay resume %s`.", e.Endpoint, age(e.Twice, now), e.Endpoint))
		}
	}
}

// atLeast returns the age of the oldest open delivery. The relay only looks at the first and the last that are due:
// if there are more than two, another one may be older.
func atLeast(e api.EndpointHealth, now time.Time) string {
	text := age(e.OldestAt, now)
	if e.Open > 2 && !e.OldestAt.IsZero() {
		return "≥" + text
	}
	return text
}

// describeAttempt returns the result of an attempt on one line.
func describeAttempt(a api.Attempt) string {
	said := oneLine([]byte(a.Text))
	switch {
	case a.Status == 0 && said == "":
		return "no answer"
	case a.Status == 0:
		return said
	case said == "":
		return fmt.Sprint(a.Status)
	}
	return fmt.Sprintf("%d %s", a.Status, said)
}

// onEndpoint makes a command that posts a body (nil: none) to one endpoint, and shows the answer. The body is read when
// the command runs.
func onEndpoint[T any](
	name, short, long string, body any, show func(w io.Writer, answer T, asJSON bool) error,
) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name + " TENANT/ENDPOINT",
		Short:   short,
		GroupID: groupAPI,
		Long:    long,
		Example: "  kuairelay " + name + " shop/orders",
		Args:    takes(1, 1, "TENANT/ENDPOINT"),
	}

	flags := addAPIFlags(cmd)
	cmd.ValidArgsFunction = completeEndpoints(flags)
	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		path, err := c.endpointPath(args[0])
		if err != nil {
			return err
		}

		var answer T
		if err := c.post(cmd.Context(), path+"/"+name, body, &answer); err != nil {
			return err
		}

		return show(cmd.OutOrStdout(), answer, asJSON)
	})
	return cmd
}

func showEndpoint(w io.Writer, e api.EndpointHealth, asJSON bool) error {
	if asJSON {
		return writeJSON(w, e, "  ")
	}
	printEndpoints(w, []api.EndpointHealth{e}, time.Now())
	return nil
}

func newPause() *cobra.Command {
	return onEndpoint("pause", "Send nothing to an endpoint until it is resumed",
		"Stops sending to an endpoint, over restarts too. Its deliveries stay open, and nothing is lost; attempts that\n"+
			"are under way end.", nil, showEndpoint)
}

func newResume() *cobra.Command {
	return onEndpoint("resume", "Go on sending to an endpoint",
		"Goes on sending to an endpoint that was paused, or that answered 410. If the endpoint was found to\n"+
			"answer one request twice, each attempt has had a connection of its own since then: resume ends that.",
		nil, showEndpoint)
}

func newTest() *cobra.Command {
	var body struct {
		Status string `json:"status,omitempty"`
	}
	cmd := onEndpoint("test", "Send a signed test event to an endpoint, and show its answer",
		"Sends one signed event of type test to an endpoint at once, paused or not, and shows what came back.\n"+
			"With --status it is an update with that status, whose data says that it is a test.\n"+
			"Exits with 1 if the answer was not 2xx.",
		&body, showTest)
	cmd.Flags().StringVar(&body.Status, "status", "", "an update with this `STATUS`: signed, delivering, …")
	return cmd
}

func showTest(w io.Writer, r api.TestResult, asJSON bool) (err error) {
	if asJSON {
		err = writeJSON(w, r, "  ")
	} else {
		came := api.Attempt{Status: r.Status, Text: r.Error + r.Answer}
		mark := bad
		if r.Delivered {
			mark = good
		}
		newScreen(w).row(column(printable(r.Endpoint), 0), marked(printable(describeAttempt(came)), mark),
			text("in %d ms", r.DurationMS))
	}

	if err == nil && !r.Delivered {
		err = errSaid
	}
	return err
}
