package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kuairelay/relay/api"
	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/queue"
)

func newWaybill() *cobra.Command {
	var maxAge string
	cmd := &cobra.Command{
		Use:     "waybill CODE",
		Short:   "Show where the updates of a waybill are: received, routed, attempted, and the next step",
		GroupID: groupAPI,
		Long: "Shows where the events of a waybill are: when each was received, and how often again; the endpoints\n" +
			"it goes to, and why not to the others; each attempt; and the next step. If there is no event, it says\n" +
			"why, and exits with 1. CODE may also be the id of one event, evt_….\n\n" +
			"Of a waybill that is subscribed it says how it stands, and when kuaidihelp last said anything of it.",
		Example: "  kuairelay waybill 777005949070187\n  kuairelay waybill 777005949070187 --max-age 10m",
		Args:    takes(1, 1, "CODE"),
	}

	cmd.Flags().StringVar(&maxAge, "max-age", "", "have kuaidihelp asked if nothing was heard of it for longer, like 10m")
	addAPIFlags(cmd).runs(cmd, func(cmd *cobra.Command, c *client, args []string, asJSON bool) error {
		w, err := c.waybill(cmd.Context(), args[0], maxAge)
		if err != nil {
			return err
		}
		if asJSON {
			err = writeJSON(cmd.OutOrStdout(), w, "  ")
		} else {
			printWaybill(cmd.OutOrStdout(), w, time.Now())
		}
		if err == nil && len(w.Events) == 0 {
			return errSaid
		}
		return err
	})
	return cmd
}

// waybill gets all events of a waybill, or the one event with this id, with their data.
func (c *client) waybill(ctx context.Context, code, maxAge string) (w api.Waybill, err error) {
	if !strings.HasPrefix(code, "evt_") {
		query := url.Values{}
		if maxAge != "" {
			query.Set("max_age", maxAge)
		}
		return w, c.get(ctx, "/waybills/"+url.PathEscape(code), query, &w)
	}

	w.Events = make([]api.Event, 1)
	err = c.get(ctx, "/events/"+url.PathEscape(code), nil, &w.Events[0])
	w.WaybillCode = w.Events[0].WaybillCode
	return w, err
}

func printWaybill(w io.Writer, all api.Waybill, now time.Time) {
	out := newScreen(w)
	count := plural(len(all.Events), "update")
	if api.HasOwn(all.Events) {
		count = plural(len(all.Events), "event")
	}
	if len(all.Events) == 0 {
		count = "no update"
	}
	out.row(text("waybill %s: %s", all.WaybillCode, count))
	printVerdict(w, all.Verdict)
	printState(w, all.State, now)

	// A delivery that waits names the event before it by its id. People get the number of the update instead.
	sequences := map[string]int{}

	for i, e := range all.Events {
		sequences[e.ID] = i + 1
	}
	for i, e := range all.Events {
		fmt.Fprintln(w)

		again := ""
		if e.Repeats > 0 {
			again = fmt.Sprintf(", and again %s, last at %s: dropped as duplicates",
				times(e.Repeats), clock(e.LastRepeatAt, now))
		}

		what := e.CPCode + " " + event.Word(e.Type, e.WaybillCode, e.Status)
		out.row(text("%d. %s", i+1, cut(strings.Trim(what, " "), maxCell)), state(e.State))
		out.row(label("   id", 12), text("%s", e.ID))
		out.row(label("   received", 12), text("%s%s%s", clock(e.ReceivedAt, now), inCallback(e), again))

		for _, d := range e.Deliveries {
			printDelivery(out, d, sequences, now)
		}
		printRoutes(out, e)
	}
}

// printVerdict shows a verdict, whole even where the terminal is narrow. A relay of an older version gives none.
func printVerdict(w io.Writer, v api.Verdict) {
	name := "verdict"
	for _, said := range strings.Split(v.Text, "; ") {
		if said != "" {
			fmt.Fprintf(w, "%-12s  %s\n", name, printable(said))
		}
		name = ""
	}
	if v.Next != "" {
		fmt.Fprintf(w, "%-12s  %s\n", "next", printable(v.Next))
	}
}

// printState shows how a waybill stands; nothing, if nobody has subscribed it.
func printState(w io.Writer, s *ledger.ParcelState, now time.Time) {
	if s == nil {
		return
	}
	said := fmt.Sprintf("%s %s, subscription %s", s.CPCode, cmp.Or(s.Status, "without a status"), s.Subscription)
	if !s.HeardAt.IsZero() {
		said += fmt.Sprintf(", heard of %s by %s", clock(s.HeardAt, now), s.Source)
	}
	if s.Stale {
		said += ", stale: " + s.StaleBecause
	}
	fmt.Fprintf(w, "%-12s  %s\n", "state", printable(said))
}

// inCallback says in which callback an event came, as far as that is known.
func inCallback(e api.Event) string {
	c := e.Callback
	if c == nil {
		return ""
	}
	out := " in " + c.ID
	if c.Items > 1 {
		out += fmt.Sprintf(", item %d of %d", c.Item, c.Items)
	}
	return out
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// printDelivery shows a delivery with its attempts, and what comes next.
func printDelivery(out *screen, d api.Delivery, sequences map[string]int, now time.Time) {
	out.row(label("   to", 12), text("%s", d.Endpoint), state(d.State), text("%s", next(d, sequences, now)))
	for _, t := range d.Tries {
		m := bad
		if t.Status/100 == 2 {
			m = good
		}
		out.row(column("", 12), text("%s", clock(t.At, now)), marked(printable(describeAttempt(t)), m),
			text("in %d ms", t.DurationMS))
	}
}

// next says what comes next for a delivery, and what holds it up.
func next(d api.Delivery, sequences map[string]int, now time.Time) string {
	parked := ""
	switch {
	case d.Orphan:
		parked = "; the endpoint is not in the relay's config: this becomes a dead letter after delivery.orphan_grace, " +
			"unless it is put back"
	case d.Parked != nil:
		parked = fmt.Sprintf("; the endpoint is %s since %s (kuairelay resume %s)",
			d.Parked.State, clock(d.Parked.Since, now), d.Endpoint)
		if d.Parked.State == queue.ParkedOpen {
			parked = fmt.Sprintf("; the endpoint's breaker is open since %s, until %s",
				clock(d.Parked.Since, now), clock(d.Parked.Until, now))
		}
	}

	switch d.State {
	case event.StateDead:
		if d.AttemptsMax == 0 {
			return d.Why + "; the endpoint is not in the relay's config: put it back, then kuairelay dead-letters redrive"
		}
		return d.Why + " (kuairelay dead-letters redrive)"
	case event.StateDismissed:
		return d.Why
	case event.StateWaiting:
		if n := sequences[d.Behind]; n > 0 {
			return fmt.Sprintf("behind update %d of this waybill%s", n, parked)
		}
		return "behind an older update of this waybill" + parked
	case event.StateQueued, event.StateRetrying:
		if due := d.DueAt.Sub(now); due > 0 {
			return fmt.Sprintf("due in %s, at %s%s", span(due), clock(d.DueAt, now), parked)
		}
		return "due now" + parked
	case event.StateSending:
		return "an attempt is under way" + parked
	}

	return "as " + d.Reason // delivered
}

// printRoutes shows why routes match an event or not, first those that match.
func printRoutes(out *screen, e api.Event) {
	for _, matched := range []bool{true, false} {
		for _, r := range e.Routes {
			if r.Matched != matched {
				continue
			}

			m := faint
			if matched {
				m = plain
			}
			out.row(label("   route", 12), marked(printable(r.At), m), marked(printable(strings.Join(r.Endpoints, ", ")), m),
				marked(printable(r.Why), m))
		}
	}

	if e.RoutesLeft > 0 {
		out.row(label("   route", 12), text("and %d more do not match", e.RoutesLeft))
	}
}
