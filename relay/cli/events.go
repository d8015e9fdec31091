package cli

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
)

func newEvents() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "List events, the latest first",
		GroupID: groupAPI,
		Example: "  kuairelay events --since 1h --state dead\n  kuairelay events --endpoint shop/orders -n 500 -o json\n" +
			"  kuairelay events --status signed,question --brand zt,sto",
		Args: takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	filter := addFilterFlags(cmd, flags)
	count := numberFlag(cmd)
	data := cmd.Flags().Bool("data", false, "with -o json: each with its data, as it came")
	callback := cmd.Flags().String("callback", "", "that came in the callback of this `ID`, cb_…")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		filter.warn(cmd.ErrOrStderr())

		q := filter.query()
		if *callback != "" {
			q.Set("callback", *callback)
		}
		all, err := c.events(cmd.Context(), q, *count, *data)
		if err != nil {
			return err
		}

		return writeList(cmd.OutOrStdout(), asJSON, all, "ACCEPTED WAYBILL BRAND STATUS STATE AGAIN DELIVERIES",
			func(e api.Event) []cell { return eventRow(e, time.Now()) })
	})
	return cmd
}

// events gets the latest events, with their data if data is set.
func (c *client) events(ctx context.Context, q url.Values, most int, data bool) ([]api.Event, error) {
	if data {
		q.Set("data", "true")
	}
	return pages(ctx, c, "/events", q, most, func(p api.Events) ([]api.Event, string) { return p.Events, p.Next })
}

func eventRow(e api.Event, now time.Time) []cell {
	deliveries := ""
	for i, d := range e.Deliveries {
		if i > 0 {
			deliveries += ", "
		}
		deliveries += d.Endpoint + " " + string(d.State)
		if d.Attempts > 1 {
			deliveries += " after " + strconv.Itoa(d.Attempts)
		}
	}

	repeats := ""
	if e.Repeats > 0 {
		repeats = strconv.Itoa(e.Repeats)
	}

	return []cell{
		text("%s", clock(e.AcceptedAt, now)), text("%s", e.WaybillCode), text("%s", e.CPCode),
		text("%s", event.Word(e.Type, e.WaybillCode, e.Status)),
		state(e.State), text("%s", repeats), text("%s", deliveries),
	}
}

func newTail() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tail",
		Short:   "Show events as they are accepted, until Ctrl-C",
		GroupID: groupAPI,
		Long: "Shows the latest events, and then each new one as it is accepted. The state is the one at the moment\n" +
			"when the event is shown.",
		Example: "  kuairelay tail --endpoint shop/orders\n  kuairelay tail -o json | jq -r .waybill_code",
		Args:    takes(0, 0, ""),
	}

	flags := addAPIFlags(cmd)
	filter := addFilterFlags(cmd, flags)
	count := cmd.Flags().IntP("number", "n", 10, "how many of the latest events to show first")
	every := cmd.Flags().Duration("interval", time.Second, "how often to look")
	flags.runs(cmd, func(cmd *cobra.Command, c *client, _ []string, asJSON bool) error {
		filter.warn(cmd.ErrOrStderr())
		switch {
		case *count < 0 || *count > 500:
			return usagef("--number must be from 0 to 500")
		case *every < 10*time.Millisecond:
			return usagef("--interval must be at least 10ms")
		}

		out := newScreen(cmd.OutOrStdout())
		show := func(e api.Event) error {
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), e, "")
			}

			// Rows come one at a time, so the widths of the columns are fixed.
			row := bounded(eventRow(e, time.Now()))
			for i, width := range []int{14, 18, 6, 12, 9, 2, 0} {
				row[i].width = width
			}
			out.row(row...)
			return nil
		}

		return follow(cmd, c, filter.query(), *count, *every, show)
	})
	return cmd
}

// showLatest shows the latest count events, the oldest of them first, and returns when the last one was accepted.
// Without one, that is now.
func showLatest(
	ctx context.Context, c *client, q url.Values, count int, show func(api.Event) error,
) (time.Time, error) {
	latest := time.Now()
	if count == 0 {
		return latest, nil
	}

	q.Set("limit", strconv.Itoa(count))
	var page api.Events
	if err := c.get(ctx, "/events", q, &page); err != nil {
		return latest, err
	}

	slices.Reverse(page.Events)
	for i, e := range page.Events {
		if i == 0 || e.AcceptedAt.After(latest) {
			latest = e.AcceptedAt
		}
		if err := show(e); err != nil {
			return latest, err
		}
	}
	return latest, nil
}

// follow shows the latest events, and then each new one, until the command is interrupted. It remembers its place as
// the cursor of the last page of newer events.
func follow(
	cmd *cobra.Command, c *client, q url.Values, count int, every time.Duration, show func(api.Event) error,
) error {
	// Its own list begins a minute before now, so that nothing is missed between the two; what is shown already is
	// skipped below.
	newer := url.Values{"newer": {"true"}, "limit": {"500"}}
	for name, v := range q {
		newer[name] = v
	}
	if q.Get("since") == "" {
		newer.Set("since", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
	}

	latest, err := showLatest(cmd.Context(), c, q, count, show)
	if err != nil {
		return err
	}

	first := true
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var page api.Events
		err := c.get(cmd.Context(), "/events", newer, &page)
		if cmd.Context().Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}

		for _, e := range page.Events {
			if first && !e.AcceptedAt.After(latest) {
				continue
			}
			if err := show(e); err != nil {
				return err
			}
		}

		if page.Next != "" {
			newer.Set("cursor", page.Next)
		}

		// A full page: more is there already.
		if len(page.Events) == 500 {
			continue
		}

		first = false
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}
