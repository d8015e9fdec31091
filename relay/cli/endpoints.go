package cli

import (
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/console"
)

func newEndpoints() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "endpoints",
		Short:   "List endpoints with their health",
		GroupID: groupAPI,
		Example: "  kuairelay endpoints\n  kuairelay endpoints --state failing -o json",
		Args:    takes(0, 0, ""),
	}
	api, output := addAPIFlags(cmd), outputFlag(cmd)
	tenant := cmd.Flags().String("tenant", "", "of this `TENANT`")
	state := cmd.Flags().String("state", "", "in this `STATE`: ok, failing, idle, paused, gone, …")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := api.client()
		if err != nil {
			return err
		}
		q, all := url.Values{"limit": {"500"}}, []console.EndpointHealth{}
		if *tenant != "" {
			q.Set("tenant", *tenant)
		}
		if *state != "" {
			q.Set("state", *state)
		}
		for {
			var page console.Endpoints
			if err := c.get(cmd.Context(), "/endpoints", q, &page); err != nil {
				return err
			}
			all = append(all, page.Endpoints...)
			if page.Next == "" {
				break
			}
			q.Set("cursor", page.Next)
		}
		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), all, "  ")
		}
		printEndpoints(cmd.OutOrStdout(), all, time.Now())
		return nil
	}
	return cmd
}

func printEndpoints(w io.Writer, all []console.EndpointHealth, now time.Time) {
	var rows [][]cell
	for _, e := range all {
		good, took, last := "-", "-", "-"
		if e.Sample > 0 {
			good, took = fmt.Sprintf("%.0f%%", 100*e.SuccessRate), fmt.Sprintf("%d/%d ms", e.P50MS, e.P95MS)
		}
		if e.LastError != nil {
			last = describeAttempt(*e.LastError)
		}
		rows = append(rows, []cell{text("%s", e.Endpoint), state(e.State), text("%d", e.Open), text("%d", e.Waiting), text("%d", e.Dead),
			text("%s", age(e.OldestAt, now)), text("%s", good), text("%s", took), text("%s", last)})
	}
	newScreen(w).table("ENDPOINT STATE OPEN WAITING DEAD OLDEST GOOD P50/P95 LAST_ERROR", rows)
}

// describeAttempt is what an attempt came to, on one line.
func describeAttempt(a console.Attempt) string {
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

// newPark makes pause, resume and test: each does something with one endpoint.
func newPark(name, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name + " TENANT/ENDPOINT",
		Short:   short,
		GroupID: groupAPI,
		Long:    long,
		Example: "  kuairelay " + name + " shop/orders",
		Args:    takes(1, 1, "TENANT/ENDPOINT"),
	}
	api, output := addAPIFlags(cmd), outputFlag(cmd)
	cmd.ValidArgsFunction = completeEndpoints(api)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := api.client()
		if err != nil {
			return err
		}
		var e console.EndpointHealth
		if err := c.post(cmd.Context(), c.endpointPath(args[0])+"/"+name, nil, &e); err != nil {
			return err
		}
		if output.isJSON() {
			return writeJSON(cmd.OutOrStdout(), e, "  ")
		}
		printEndpoints(cmd.OutOrStdout(), []console.EndpointHealth{e}, time.Now())
		return nil
	}
	return cmd
}

func newPause() *cobra.Command {
	return newPark("pause", "Send nothing to an endpoint until it is resumed",
		"Stops sending to an endpoint, over restarts too. Its deliveries wait, and nothing is lost; what is under way ends.")
}

func newResume() *cobra.Command {
	return newPark("resume", "Go on sending to an endpoint",
		"Goes on sending to an endpoint that was paused, or that answered 410.")
}

func newTest() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "test TENANT/ENDPOINT",
		Short:   "Send a signed test event to an endpoint, and show its answer",
		GroupID: groupAPI,
		Long:    "Sends one signed event of type test to an endpoint at once, paused or not, and shows what came back.\nExits with 1 if the answer was not 2xx.",
		Example: "  kuairelay test shop/orders",
		Args:    takes(1, 1, "TENANT/ENDPOINT"),
	}
	api, output := addAPIFlags(cmd), outputFlag(cmd)
	cmd.ValidArgsFunction = completeEndpoints(api)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := api.client()
		if err != nil {
			return err
		}
		var r console.TestResult
		if err := c.post(cmd.Context(), c.endpointPath(args[0])+"/test", nil, &r); err != nil {
			return err
		}
		if output.isJSON() {
			err = writeJSON(cmd.OutOrStdout(), r, "  ")
		} else {
			came := console.Attempt{Status: r.Status, Text: r.Error + r.Answer}
			mark := bad
			if r.Delivered {
				mark = good
			}
			newScreen(cmd.OutOrStdout()).row(cell{printable(r.Endpoint), 0, plain}, cell{printable(describeAttempt(came)), 0, mark}, text("in %d ms", r.DurationMS))
		}
		if err == nil && !r.Delivered {
			err = errSaid
		}
		return err
	}
	return cmd
}
