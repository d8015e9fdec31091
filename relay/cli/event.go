package cli

import (
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
)

func newEvent() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "event ID",
		Short:   "Show one event: its callback, its deliveries and attempts, and why these",
		GroupID: groupAPI,
		Long: "Shows one event: the callback that it came in, each time that it came again, its deliveries with their\n" +
			"attempts and the next step, and how each route decides. With --request it shows what an attempt would\n" +
			"send now instead.",
		Example: "  kuairelay event evt_0f3c…\n  kuairelay event evt_0f3c… --request shop/orders",
		Args:    takes(1, 1, "ID"),
	}

	flags := addAPIFlags(cmd)
	request := cmd.Flags().String("request", "",
		"show the request to this endpoint, `TENANT/NAME`, without what is secret in it")
	_ = cmd.RegisterFlagCompletionFunc("request", completeEndpoints(flags)) // it fails only if there is no such flag
	flags.runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		path := "/events/" + url.PathEscape(args[0])
		if *request != "" {
			return showRequest(cmd, c, path, *request, asJSON)
		}

		var e api.Event
		if err := c.get(cmd.Context(), path, nil, &e); err != nil {
			return err
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), e, "  ")
		}
		printEvent(cmd.OutOrStdout(), e, time.Now())
		return nil
	})
	return cmd
}

// printEvent shows an event from its callback to its deliveries, and why these.
func printEvent(w io.Writer, e api.Event, now time.Time) {
	out := newScreen(w)
	out.row(text("event %s", e.ID))
	what := strings.Join(strings.Fields(strings.Join([]string{e.WaybillCode, e.CPCode, e.Status}, " ")), " ")
	out.row(label("   what", 12), text("%s, sequence %d", cut(what, maxCell), e.Sequence), state(e.State))

	out.row(label("   received", 12), text("%s%s%s", clock(e.ReceivedAt, now), inCallback(e), cameFrom(e.Callback)))
	later := span(e.AcceptedAt.Sub(e.ReceivedAt))
	out.row(label("   accepted", 12), text("%s, %s later%s", clock(e.AcceptedAt, now), later, byConfig(e)))
	for _, again := range e.Repeated {
		out.row(label("   again", 12), text("%s in %s, dropped as a duplicate", clock(again.At, now), again.Callback))
	}
	if e.Repeats > len(e.Repeated) {
		out.row(label("   again", 12), text("%s in all, last at %s", times(e.Repeats), clock(e.LastRepeatAt, now)))
	}

	for _, d := range e.Deliveries {
		printDelivery(out, d, nil, now)
	}
	printRoutes(out, e)
}

// cameFrom says how a callback came, as far as that is known and may be seen.
func cameFrom(c *api.Callback) (out string) {
	if c == nil {
		return ""
	}
	for _, x := range []struct{ before, value string }{{"as ", c.Form}, {"from ", c.From}, {"at ", c.Replica}} {
		if x.value != "" {
			out += ", " + x.before + x.value
		}
	}
	return out
}

// byConfig says by which config an event was matched, as far as that is known and may be seen.
func byConfig(e api.Event) string {
	if e.ConfigSame == nil {
		return ""
	}
	now := " that is in use now"
	if !*e.ConfigSame {
		now = " that is not in use any more"
	}
	if e.Config == "" {
		return ", by a config" + now
	}
	return ", by the config " + e.Config + now
}

// showRequest shows what an attempt would send to an endpoint now.
func showRequest(cmd *cobra.Command, c *client, path, endpoint string, asJSON bool) error {
	var r api.DeliveryRequest
	if err := c.get(cmd.Context(), path+"/request", url.Values{"endpoint": {endpoint}}, &r); err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), r, "  ")
	}

	out := newScreen(cmd.OutOrStdout())
	out.row(text("%s %s", r.Method, r.URL))
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		out.row(label(printable(name)+":", 0), text("%s", r.Headers[name]))
	}
	out.row(column("", 0))
	out.row(text("%s", r.Body))
	if r.ChangedSince {
		out.row(column("", 0))
		out.row(label("the config was changed since the event came: an attempt may have sent something else", 0))
	}
	return nil
}
